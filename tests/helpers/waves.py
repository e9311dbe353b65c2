"""Dumps of waves as a parser reads them that is not ours."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

__all__ = ["dump_of"]


def dump_of(path: Path) -> Any:
    """The dump as `vcdvcd` reads it, whose import lets SIGPIPE kill the process: undone here."""
    before = signal.getsignal(signal.SIGPIPE)
    try:
        vcdvcd = pytest.importorskip("vcdvcd")
    finally:
        signal.signal(signal.SIGPIPE, before)
    return vcdvcd.VCDVCD(str(path))
