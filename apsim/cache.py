"""The user's own folder for what may be forgotten: results that can be had again.

The rule: a folder that somebody else could write, or exchange for another, is never used;
without one nothing is kept, and what would have been kept is done again.  What is kept as bytes
may be code that will run: each file stands beside its own digest, and only what this user alone
could have written, and wrote whole, is read.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["folder", "holds", "is_ours", "read", "write"]

DIGEST = hashlib.sha256().digest_size


def folder(name: str, *, written: bool = True) -> Path | None:
    """The folder `name` in the user's own cache, made if need be; None where there is none.

    One that is `written` must take files.  A relative XDG_CACHE_HOME is none, as its standard
    says; nor is a home that nobody knows.  It is given without symbolic links, which somebody
    might turn elsewhere after the check.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    root = named if os.path.isabs(named) else os.path.expanduser("~/.cache")
    path = Path(os.path.realpath(root)) / "apsim" / name
    return path if os.path.isabs(root) and _may_be_used(path, written) else None


def _may_be_used(path: Path, written: bool) -> bool:
    """Make the folder; refuse one that is not this user's alone, or lies where others exchange."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = path.lstat()
        above = all(_is_safe(parent.lstat()) for parent in path.parents)
        usable = not written or os.access(path, os.W_OK)
        return is_ours(own) and above and stat.S_ISDIR(own.st_mode) and usable
    except OSError:
        return False


def holds(path: Path | None, name: str) -> bool:
    """Whether the folder at `path` has a file of this name; not where it is None."""
    with suppress(OSError), _opened(path) as handle:
        os.stat(name, dir_fd=handle)
        return True
    return False


def read(path: Path | None, name: str) -> bytes | None:
    """What `write` has kept; None where it is not there, another's, or damaged."""
    with suppress(OSError), _opened(path) as handle:
        with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=handle), "rb") as file:
            _require_ours(os.fstat(file.fileno()))
            kept = file.read()
        if hashlib.sha256(kept[DIGEST:]).digest() == kept[:DIGEST]:
            return kept[DIGEST:]
    return None


def write(path: Path | None, name: str, kept: bytes) -> None:
    """Keep bytes in the folder at `path`, if that is possible.

    Aside under a name of this process, then renamed: who reads finds all of it or nothing.
    """
    aside = f"{name}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with suppress(OSError), _opened(path) as handle:
        try:
            with open(os.open(aside, flags, 0o600, dir_fd=handle), "wb") as file:
                file.write(hashlib.sha256(kept).digest() + kept)
            os.rename(aside, name, src_dir_fd=handle, dst_dir_fd=handle)
        except OSError:
            os.unlink(aside, dir_fd=handle)


@contextmanager
def _opened(path: Path | None) -> Iterator[int]:
    """A folder, checked as what is open: a descriptor is not exchanged; OSError if unfit."""
    if path is None:
        raise OSError("nothing is kept")
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _require_ours(os.fstat(handle))
        yield handle
    finally:
        os.close(handle)


def _require_ours(status: os.stat_result) -> None:
    """Refuse what is not this user's alone to write."""
    if not is_ours(status):
        raise OSError("another could have written this")


def is_ours(status: os.stat_result) -> bool:
    """Whether nobody but this user could have written it."""
    return status.st_uid == os.getuid() and not _others_write(status)


def _is_safe(parent: os.stat_result) -> bool:
    """Whether nobody else can put another folder in the place of one in this."""
    sticky = bool(parent.st_mode & stat.S_ISVTX)
    whose = parent.st_uid in (0, os.getuid())
    return stat.S_ISDIR(parent.st_mode) and whose and (sticky or not _others_write(parent))


def _others_write(status: os.stat_result) -> bool:
    return bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
