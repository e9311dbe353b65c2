"""What a session remembers of its past, in bounded memory: snapshots to replay from.

The rule: two shelves.  `recent` holds a snapshot before each of the latest single
steps, so that going back a step is one copy; `spaced` holds snapshots an even
distance apart over the whole past, and doubles the distance when it is full, so that
any place of a long run is a short replay away.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.counts import Activity
from apsim.debug.timeline import ByPhase

__all__ = ["History", "Record"]

SHELF_BYTES = 48 << 20
MOST_RECENT = 256
MOST_SPACED = 256
FIRST_INTERVAL = 512


@dataclass(frozen=True)
class Record:
    """The whole state at a point, words read out, counters and the last step's work included."""

    point: int
    cam: Any
    out: NDArray[np.uint64] | None
    counts: ByPhase
    activity: Activity
    last: Activity

    @property
    def bytes(self) -> int:
        """About how much memory the record holds."""
        return size_of(self.cam) + (0 if self.out is None else self.out.nbytes) + 1024


def size_of(saved: Any) -> int:
    """Bytes of the arrays in a snapshot, however it nests them."""
    if isinstance(saved, np.ndarray):
        return saved.nbytes
    if isinstance(saved, (tuple, list)):
        return sum(size_of(part) for part in saved)
    return sum(size_of(part) for part in vars(saved).values()) if hasattr(saved, "__dict__") else 64


class History:
    """Records by point; `first` is the state before the first step and is never dropped."""

    def __init__(self, first: Record, shelf_bytes: int = SHELF_BYTES) -> None:
        fits = max(shelf_bytes // first.bytes, 2)
        self.most_recent = min(fits, MOST_RECENT)
        self.most_spaced = min(fits, MOST_SPACED)
        self.interval = FIRST_INTERVAL
        self.first = first
        self.recent: list[Record] = []
        self.spaced: list[Record] = []

    def __len__(self) -> int:
        return 1 + len(self.recent) + len(self.spaced)

    def before(self, point: int) -> Record:
        """The latest record at `point` or before it."""
        shelves = (self.recent, self.spaced)
        found = [shelf[at - 1] for shelf in shelves if (at := _place(shelf, point))]
        return max([self.first, *found], key=lambda record: record.point)

    def keep_recent(self, record: Record) -> None:
        """Remember the state before a single step."""
        if self.recent and self.recent[-1].point >= record.point:
            del self.recent[_place(self.recent, record.point - 1) :]
        self.recent.append(record)
        del self.recent[: -self.most_recent]

    def keep_spaced(self, record: Record) -> None:
        """Remember a state at a multiple of the interval, unless it is known."""
        at = _place(self.spaced, record.point)
        if at and self.spaced[at - 1].point == record.point:
            return
        self.spaced.insert(at, record)
        if len(self.spaced) > self.most_spaced:
            self.interval *= 2
            self.spaced = [kept for kept in self.spaced if kept.point % (2 * self.interval) == 0]

    def forget_from(self, point: int) -> None:
        """Drop what was recorded at `point` and after it: the state there has been changed."""
        del self.recent[_place(self.recent, point - 1) :]
        del self.spaced[_place(self.spaced, point - 1) :]


def _place(shelf: list[Record], point: int) -> int:
    """How many records of a shelf lie at `point` or before it."""
    return bisect_right(shelf, point, key=lambda record: record.point)
