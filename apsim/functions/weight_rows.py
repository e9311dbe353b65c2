"""Rows of the instruction stream for sums whose weights are digits, as a sequencer makes them.

The rule: rows come from weights and presets alone, one group of outputs after another; what
they do is said once, in `apsim.cam.stream`, and with which LUTs, here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam import stream
from apsim.cam.jit import Operation, kernel
from apsim.cam.stream import POPULATE, READ, SET, SUM, Tile
from apsim.closed_form import WeightPlan
from apsim.functions.weights import layout_of
from apsim.lut.model import Lut, Pass

__all__ = ["Sequencer", "walk_with"]

Words = NDArray[np.uint64]
Integers = NDArray[np.int64]

SUBTRACT, ADD, MERGE = SUM, SUM + 1, SUM + 2
SUMS = (
    ("sub_first", "sub", "decrement"),
    ("add_first", "add", "increment"),
    ("ha2d", "fa3", "increment"),
)
"""LUTs of SUBTRACT, ADD and MERGE: on bit 0, on further bits, and on those that only carry."""


def walk_with(luts: Callable[[str], Lut]) -> Operation:
    """What carries rows out, each of `SUMS` with the passes of LUTs on columns A, B and C."""
    found = {name: tuple(map(_pass, luts(name).passes)) for names in SUMS for name in names}
    return stream.walk_of(tuple((found[a], found[b], found[c]) for a, b, c in SUMS))


def _pass(row: Pass) -> tuple[stream.Bits, stream.Bits]:
    key, write = (
        tuple(("ABC".index(name), bit) for name, bit in half) for half in (row.key, row.write)
    )
    return key, write


@kernel(f"int64({'CPointer(int64), ' * 6} int64, int64, int64, int64)")
def summed(
    plan: Any, words: Any, wanted: Any, digits: Any, rows: Any, bounds: Any, n: int,
    group: int, outputs: int, making: bool,
) -> int:  # fmt: skip
    """Rows of the sums of a group's words from row n on; gives where they end.

    Of a chunk negative digits come first, and where a plan stops ripples they go to the bit
    length of what the accumulator then holds at most (`bounds`, at first its preset).
    """
    bits, width, short, step, many, together = plan[0], plan[1], plan[2], plan[3], plan[4], plan[5]
    stops, common, short_at, sums_at, common_at = plan[6], plan[7], plan[8], plan[9], plan[10]
    size = (1 << bits) - 1
    for start in range(0, many, step):
        stop = start + step if start + step < many else many
        for j in range(start, stop):
            if wanted[group * many + j]:
                rows[2 * n], rows[2 * n + 1] = words[2 * j], words[2 * j + 1]
                n += 1
        for j in range(start, stop if making else start):
            word = 1 + bits * (j - start)
            rows[2 * n] = ADD | word << 4 | common_at << 20 | (common - bits) << 36
            rows[2 * n + 1] = bits
            n += 1
        for t in range(outputs):
            line, below, every = 2 * many * (group * together + t), 0, 0
            for j in range(line + start, line + stop):
                below += digits[j]
                every |= digits[j] | digits[j + many]
            if every == 0:
                continue
            target, bound, end = sums_at + t * width, bounds[t], 0 if stops else width
            if short:
                target, bound, end = short_at, below * size, 0 if stops else short
                rows[2 * n], rows[2 * n + 1] = SET | short_at << 4 | short << 36, bound
                n += 1
            for sign in range(2):
                for j in range(start, stop):
                    left, word, k = digits[line + sign * many + j], 1 + bits * (j - start), target
                    bound += sign * left * size
                    while left and bound >> end:
                        end += 1
                    while left:
                        if left & 1:
                            ripple = end - bits - (k - target)
                            rows[2 * n] = SUBTRACT + sign | word << 4 | k << 20 | ripple << 36
                            rows[2 * n + 1] = bits
                            n += 1
                        left >>= 1
                        k += 1
            if short:
                bound, target, top = bounds[t] + bound, sums_at + t * width, end if stops else width
                while top < width and bound >> top:
                    top += 1
                rows[2 * n] = MERGE | short_at << 4 | target << 20 | (top - end) << 36
                rows[2 * n + 1] = end
                n += 1
            bounds[t] = bound
    return n


class Sequencer:
    """The rows of each group of outputs of a layer.

    `digits` int64[i, 2, J] are the negative and the positive ones of weights, a bit for each;
    words come from `planes` [J, M, words], sums go to `out` [i, W, words], and those `received`
    are like it; all of these must outlive the rows.
    """

    def __init__(
        self, plan: WeightPlan, digits: Integers, presets: Integers, planes: Words, out: Words,
        received: Sequence[Words],
    ) -> None:  # fmt: skip
        layout, step, outputs = layout_of(plan), max(plan.chunk, 1), np.arange(plan.outputs)
        short, common, other = (layout[name][0] if name in layout else 0 for name in "QSD")
        self.plan, self.wanted = plan, _wanted(plan, digits)
        self._presets, self._offsets = presets, np.array(plan.offsets or outputs * 0)
        self._widest = int(digits.max()).bit_length()
        sums = layout["P0"][0] + outputs % plan.together * plan.width
        self._clear = stream.rows(SET, [0, common], [1, plan.common], 0, b=[0, 1])
        self._begin = stream.rows(SET, sums, plan.width, presets, b=1)
        adds = np.where(self._offsets > 0, ADD, SUBTRACT)
        self._shared = stream.rows(adds, common, plan.width - plan.common, plan.common, b=sums)
        self._received = np.zeros((len(received), plan.outputs, 2, 2), np.int64)
        for pairs, lines in zip(self._received, received, strict=True):
            pairs[:, 0] = stream.rows(POPULATE, other, plan.width, _places(lines))
            pairs[:, 1] = stream.rows(ADD, other, 0, plan.width, b=sums)
        self._read = stream.rows(READ, sums, plan.width, _places(out))
        at = 1 + np.arange(plan.words) % step * plan.bits
        words = stream.rows(POPULATE, at, plan.bits, _places(planes))
        numbers = np.array([
            plan.bits, plan.width, plan.short, step, plan.words, plan.together, plan.stop,
            plan.common, short, layout["P0"][0], common,
        ])  # fmt: skip
        arrays = numbers, words, self.wanted, digits
        given: list[Any] = [np.ctypeslib.as_ctypes(array.reshape(-1)) for array in arrays]
        self._summed: Callable[..., int] = partial(summed, *given)

    @property
    def most(self) -> int:
        """Rows of a group at most: of b bits, every second digit may be there."""
        plan, chunks = self.plan, -(-self.plan.words // max(self.plan.chunk, 1))
        each = plan.words * (self._widest + 1) // 2 + 2 * chunks + 2 * plan.received + 3
        return 2 + 2 * plan.words + plan.together * each

    def make(self, group: int, tile: Tile, read: bool) -> int:
        """Put a group's rows into those of a tile, and give how many they are.

        Its accumulators are not read where `read` says so.
        """
        plan = self.plan
        some = slice(group * plan.together, min((group + 1) * plan.together, plan.outputs))
        making, outputs = bool(plan.common) and group == 0, some.stop - some.start
        n = _put(tile, 0, self._clear[: 1 + making], self._begin[some])
        bounds = (ctypes.c_int64 * outputs)(*self._presets[some].tolist())
        n = self._summed(tile.pointer, bounds, n, group, outputs, making)
        shared = self._shared[some][self._offsets[some] != 0]
        received, sums = self._received[:, some].reshape(-1, 2), self._read[some]
        return _put(tile, n, shared, received, sums if read else sums[:0])

    def since(self, begin: int) -> int:
        """The last group from which on every column is written that any before `begin` writes.

        Presets write the carry and all accumulators; words of a chunk are written where some
        output of the group has a weight for them, and the short accumulator with them.
        """
        step = max(self.plan.chunk, 1)
        padded = np.pad(self.wanted[:begin], ((0, 0), (0, -self.plan.words % step)))
        written = padded.reshape(begin, padded.shape[1] // step, step).max(axis=1)
        found = np.maximum.accumulate(written[::-1])  # by the last group, the last two, ...
        return begin - 1 - int((found == found[-1:]).all(axis=1).argmax()) if begin else 0


def _wanted(plan: WeightPlan, digits: Integers) -> Integers:
    """Which words each group of outputs populates, 0 or 1: int64[groups, J]."""
    starts = np.arange(0, plan.outputs, plan.together)
    some: Any = np.logical_or.reduceat(digits.any(axis=1), starts, axis=0)
    some[: bool(plan.common)] = True  # the first group makes the sum of all words
    return np.asarray(some, np.int64)


def _put(tile: Tile, n: int, *parts: Integers) -> int:
    """Rows of a tile from row n on := these; gives where they end."""
    for part in parts:
        tile.rows[n : n + len(part)] = part
        n += len(part)
    return n


def _places(lines: Words) -> Integers:
    """Where the lines of each word stand."""
    return np.arange(len(lines)) * lines.strides[0] + np.int64(lines.ctypes.data)
