"""Ctrl-C while a command runs: noted, and seen at the run's next call of the array."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupt"]


class Interrupt:
    """Whether somebody asked to stop; only the main thread is told of Ctrl-C."""

    def __init__(self) -> None:
        self.asked = False

    def is_asked(self) -> bool:
        """Whether the run should stop now."""
        return self.asked

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within this, Ctrl-C is a request and no exception."""
        self.asked = False
        try:
            before = signal.signal(signal.SIGINT, self._ask)
        except ValueError:  # not the main thread: Ctrl-C is somebody else's matter
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            self.asked = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
