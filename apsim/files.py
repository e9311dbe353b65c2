"""Text files read with one message where they cannot be; result files whole or not at all.

The rule: text goes to a temporary file beside the target, which is then renamed,
so that an interrupted or failed write never leaves half a file or destroys an old one.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from apsim.errors import InputError

__all__ = ["read_text", "replacing", "require_writable", "write_json", "write_text"]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a binary file that takes the place of `path` when the block ends well.

    Raises `InputError` where the file cannot be written.
    """
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        Path(name).unlink(missing_ok=True)


def require_writable(*paths: str | os.PathLike[str] | None) -> None:
    """Refuse paths that cannot be written, before long work; None is passed over.

    Raises `InputError` as `replacing` would; nothing is left behind.
    """
    for target in (Path(path) for path in paths if path is not None):
        if target.is_dir():
            raise InputError(f"cannot write {target}: Is a directory")
        try:
            tempfile.TemporaryFile(dir=target.parent).close()
        except OSError as error:
            raise InputError(f"cannot write {target}: {error.strerror or error}") from error


def read_text(path: str | os.PathLike[str]) -> str:
    """The UTF-8 text of a file; raises `InputError` where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {path}: it is not UTF-8 text") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8; raises `InputError` where that is not possible."""
    with replacing(path) as stream:
        stream.write(text.encode())


def write_json(
    path: str | os.PathLike[str], value: Any, default: Callable[[Any], Any] | None = None
) -> None:
    """Write `value` as indented JSON; raises `InputError` where that is not possible."""
    write_text(path, json.dumps(value, indent=1, default=default) + "\n")
