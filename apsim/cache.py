"""The user's own folder for what may be forgotten: results that can be had again.

The rule: a folder that somebody else could write, or exchange for another, is never used;
without one nothing is kept, and what would have been kept is done again.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["folder"]


def folder(name: str) -> Path | None:
    """The folder `name` in the user's own cache, made if need be; None where there is none.

    It is given without symbolic links, which somebody might turn elsewhere after the check.
    """
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = Path(os.path.realpath(root)) / "apsim" / name
    return path if _is_ours_and_writable(path) else None


def _is_ours_and_writable(path: Path) -> bool:
    """Make the folder; refuse one that is not this user's alone, or lies where others exchange."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = path.lstat()
        alone = own.st_uid == os.getuid() and not _others_write(own)
        above = all(_is_safe(parent.lstat()) for parent in path.parents)
        return alone and above and stat.S_ISDIR(own.st_mode) and os.access(path, os.W_OK)
    except OSError:
        return False


def _is_safe(parent: os.stat_result) -> bool:
    """Whether nobody else can put another folder in the place of one in this."""
    sticky = bool(parent.st_mode & stat.S_ISVTX)
    whose = parent.st_uid in (0, os.getuid())
    return stat.S_ISDIR(parent.st_mode) and whose and (sticky or not _others_write(parent))


def _others_write(status: os.stat_result) -> bool:
    return bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
