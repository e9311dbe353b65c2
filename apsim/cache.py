"""The user's own folder for what may be forgotten: results that can be had again.

The rule: a folder that somebody else could write, or exchange for another, is never used;
without one nothing is kept, and what would have been kept is done again.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["folder", "is_ours"]


def folder(name: str, *, written: bool = True) -> Path | None:
    """The folder `name` in the user's own cache, made if need be; None where there is none.

    One that is `written` must take files.  It is given without symbolic links, which somebody
    might turn elsewhere after the check.
    """
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = Path(os.path.realpath(root)) / "apsim" / name
    return path if _may_be_used(path, written) else None


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
