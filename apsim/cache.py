"""The user's own folder for what may be forgotten: results that can be had again.

The rule: a folder of another user is never used; without a writable one nothing is kept,
and what would have been kept is done again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["folder"]


def folder(name: str) -> Path | None:
    """The first writable folder `name` among the user's own caches, made if need be."""
    for root in _roots():
        if _is_ours_and_writable(root / name):
            return root / name
    return None


def _roots() -> Iterator[Path]:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    yield Path(home) / "apsim"
    yield Path(tempfile.gettempdir()) / f"apsim-{os.getuid() if hasattr(os, 'getuid') else 0}"


def _is_ours_and_writable(path: Path) -> bool:
    """Make the folder; refuse one of another user, who could have put anything into it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours = not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()
        return ours and os.access(path, os.W_OK)
    except OSError:
        return False
