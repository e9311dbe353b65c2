"""An encoded program as lists, for what walks over it step by step.

The rule: the numbers of `Code`, in the same order; single elements of a numpy array are
slow to come by, and a program of a large layer has tens of thousands of steps.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from weakref import WeakKeyDictionary

from apsim.encoding import KEY, KEYS, WRITE, WRITES, Code

__all__ = ["Listed", "listed", "uncollected"]

Pairs = tuple[tuple[int, int], ...]


class Listed(NamedTuple):
    """Rows of `Code.steps`, and the (line, bit) pairs of each step."""

    rows: list[list[int]]
    key: list[Pairs]
    write: list[Pairs]


_known: WeakKeyDictionary[Code, Listed] = WeakKeyDictionary()


def listed(code: Code) -> Listed:
    """The program's lists, made once."""
    known = _known.get(code)
    if known is None:
        rows = code.steps.tolist()
        pool = [(line, int(bit != 0)) for line, bit in code.pool.tolist()]
        key, write = (
            [tuple(pool[row[first] : row[first] + row[count]]) for row in rows]
            for first, count in ((KEY, KEYS), (WRITE, WRITES))
        )
        known = _known[code] = Listed(rows, key, write)
    return known


@contextmanager
def uncollected() -> Iterator[None]:
    """No looking for garbage while many small objects are made that stay: it would find none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
