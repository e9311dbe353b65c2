"""Bytes in and out: files read up to a limit, results written whole or not at all.

The rule: no more is read than a declared limit, of devices too.  A regular file is written
beside its target and renamed, so that an interrupted or failed write never leaves half a
file or destroys an old one.  What a symbolic link names is written, not the link; what is no
regular file (`/dev/null`, a FIFO, `/dev/stdout`, `>(...)`) gets the whole text once it is there.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from apsim.errors import ApsimError, InputError

__all__ = [
    "appending", "drop_temporaries", "has_long_number", "read_bytes", "read_text", "replacing",
    "require_writable", "suffix_of", "write_json", "write_text",
]  # fmt: skip

MOST_DIGITS = 1000
MOST_TEXT = 64 << 20  # bytes of a text file

_OPEN = re.compile(r"/dev/(std(?:in|out|err))|/(?:dev|proc/self)/fd/(\d{1,9})")
_STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}
_temporaries: set[str] = set()


def suffix_of(path: str | os.PathLike[str]) -> str:
    """What a file's name ends with, in small letters: ".onnx" of "NET.ONNX"."""
    return Path(path).suffix.lower()


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a binary file that takes the place of `path` when the block ends well.

    Raises `InputError` where the file cannot be written.
    """
    try:
        with _through(path) if _is_special(path) else _beside(path) as stream:
            yield stream
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def _beside(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A regular file: written under another name in the same folder, then renamed."""
    target = Path(os.path.realpath(path))
    name = str(target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}"))
    _temporaries.add(name)  # before it is there: whatever comes between finds it
    try:
        with os.fdopen(os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), "wb") as stream:
            yield stream
        if target.exists():
            _keep(target.stat(), name)
        os.replace(name, target)
    finally:
        Path(name).unlink(missing_ok=True)
        _temporaries.discard(name)


def _keep(old: os.stat_result, name: str) -> None:
    """Owner and mode of the file whose place is taken."""
    with suppress(PermissionError):
        os.chown(name, old.st_uid, old.st_gid)
    os.chmod(name, stat.S_IMODE(old.st_mode))


@contextmanager
def _through(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A device, pipe or open descriptor: all of it at once, and nothing where the block fails."""
    with tempfile.TemporaryFile() as whole:
        yield whole
        whole.seek(0)
        if sys.stdout is not None:
            sys.stdout.flush()
        number = _descriptor(path)
        with open(path if number is None else os.dup(number), "wb") as stream:
            shutil.copyfileobj(whole, stream)


def _descriptor(path: str | os.PathLike[str]) -> int | None:
    """The descriptor that a path such as `/dev/stdout` stands for: it is open already."""
    found = _OPEN.fullmatch(os.path.abspath(path))
    return None if found is None else _STREAMS[found[1]] if found[1] else int(found[2])


def _is_special(path: str | os.PathLike[str]) -> bool:
    """Whether there is something that is written through; raises `OSError` for a folder."""
    if not os.fspath(path):
        raise FileNotFoundError(2, "the name is empty")
    if os.path.isdir(path):
        raise IsADirectoryError(21, "Is a directory")
    if os.path.islink(os.path.realpath(path)):
        raise OSError(40, "Too many levels of symbolic links")
    return _descriptor(path) is not None or (os.path.exists(path) and not os.path.isfile(path))


def _unwritable(path: str | os.PathLike[str], error: OSError) -> InputError:
    return InputError(f"cannot write {path or '(nothing)'}: {error.strerror or error}")


def require_writable(*paths: str | os.PathLike[str] | None) -> None:
    """Refuse paths that cannot be written, before long work; None is passed over.

    Raises `InputError` as `replacing` would, and for a file that is named twice; nothing is
    left behind.
    """
    seen = set()
    for path in (path for path in paths if path is not None):
        try:
            if _is_special(path):
                continue
            target = Path(os.path.realpath(path))
            if target.exists() and not os.access(target, os.W_OK):
                raise PermissionError(13, "Permission denied")
            if len(os.fsencode(target.name)) > 255:
                raise OSError(36, "File name too long")
            tempfile.TemporaryFile(dir=target.parent).close()
        except OSError as error:
            raise _unwritable(path, error) from error
        if target in seen:
            raise InputError(f"cannot write {path}: it is named twice")
        seen.add(target)


@contextmanager
def appending(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Give a file open for reading and appending, which no other apsim appends to meanwhile.

    Raises `InputError` where it cannot be, or where another process does.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError(22, "wanted a regular file, which can be gone on with")
        with _locked(path) as stream:
            yield stream
    except OSError as error:
        raise _unwritable(path, error) from error


def _locked(path: str | os.PathLike[str]) -> IO[bytes]:
    """The file under a lock; opened again where another process has replaced it meanwhile."""
    import fcntl

    while True:
        stream = open(path, "a+b")  # noqa: SIM115 - the caller closes it
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            raise InputError(f"cannot write {path}: another sweep is writing it") from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), os.stat(path)):
                return stream
        stream.close()


def read_bytes(
    path: str | os.PathLike[str],
    most: int = MOST_TEXT,
    error: type[ApsimError] = InputError,
    what: str = "",
) -> bytes:
    """All bytes of a file; raises `error` where it cannot be read or has more than `most`.

    `what` is what the file should be: "the checkpoint".
    """
    named = f"cannot read {what} {path}".replace("  ", " ")
    try:
        with open(path, "rb") as stream:
            found = stream.read(most + 1)
    except (OSError, ValueError) as reason:  # a NUL in the name is a ValueError
        raise error(f"{named}: {getattr(reason, 'strerror', None) or reason}") from None
    if len(found) > most:
        raise error(f"{named}: wanted at most {most:,} bytes")
    return found


def read_text(
    path: str | os.PathLike[str],
    most: int = MOST_TEXT,
    error: type[ApsimError] = InputError,
    what: str = "",
) -> str:
    """The UTF-8 text of a file, without a byte order mark; raises as `read_bytes`.

    A number of 1,000 digits and more, which no reader makes a number of, is refused as well.
    """
    named = f"cannot read {what} {path}".replace("  ", " ")
    try:
        text = read_bytes(path, most, error, what).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise error(f"{named}: it is not UTF-8 text") from None
    if has_long_number(text):
        raise error(f"{named}: wanted numbers of less than {MOST_DIGITS} digits")
    return text


def has_long_number(text: str) -> bool:
    """Whether there are more digits in a row than may be."""
    return re.search(rf"\d{{{MOST_DIGITS}}}", text) is not None


def drop_temporaries() -> None:
    """Remove what is half-written, where the process ends at once."""
    for name in list(_temporaries):
        Path(name).unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8; raises `InputError` where that is not possible."""
    with replacing(path) as stream:
        stream.write(text.encode())


def write_json(
    path: str | os.PathLike[str], value: Any, default: Callable[[Any], Any] | None = None
) -> None:
    """Write `value` as indented JSON; raises `InputError` where that is not possible."""
    write_text(path, json.dumps(value, indent=1, default=default) + "\n")
