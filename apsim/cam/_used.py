"""The lines that encoded steps compare and write, all at once.

The rule: one entry for each row of the pool that a step names, in the order of the steps, a
step's key before what it writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from apsim.encoding import KEY, KEYS, WRITE, WRITES, Code

__all__ = ["Used", "used"]

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Used:
    """Entries' lines and bits, whether they are written, and the steps that they belong to."""

    line: Numbers
    bit: Flags
    written: Flags
    step: Numbers  # counted from the first of the steps asked for
    place: Numbers  # which of its step's entries each is


_known: WeakKeyDictionary[Code, Used] = WeakKeyDictionary()


def used(code: Code, start: int = 0, stop: int | None = None) -> Used:
    """What the steps from `start` up to, not including, `stop` compare and write."""
    known = _known.get(code)
    if known is None:
        known = _known[code] = _used(code)
    end = len(code) if stop is None else stop
    part = slice(*np.searchsorted(known.step, (start, end)))
    return Used(
        known.line[part], known.bit[part], known.written[part], known.step[part] - start,
        known.place[part],
    )  # fmt: skip


def _used(code: Code) -> Used:
    sizes = code.steps[:, [KEYS, WRITES]].ravel()
    ends = np.cumsum(sizes)
    half = np.arange(len(sizes)).repeat(sizes)
    index = np.arange(len(half))
    entries = code.pool[(code.steps[:, [KEY, WRITE]].ravel() - ends + sizes)[half] + index]
    step = half // 2
    first = (ends - sizes)[::2]
    line, bit = np.ascontiguousarray(entries.T)
    return Used(line, bit != 0, half % 2 == 1, step, index - first[step])
