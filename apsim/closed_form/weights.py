"""What the products of a layer take whose weights are digits in the instruction stream.

Rows are output pixels; a weight is its canonical signed digits, each an addition or a
subtraction of the word that stands in the row, at the digit's place of an accumulator.

The rule: formulas of the weights alone, which have seen no program.  Digits come from
w = (3w - w) / 2, whose bits of 3w and w differ exactly where a digit is not 0 (Reitwiesner,
Binary Arithmetic, 1960); programs take them from w one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apsim.closed_form.kinds import positive
from apsim.counts import Counts
from apsim.errors import InputError, ProgramError

__all__ = ["CHUNKS", "WIDEST_WEIGHT", "WeightPlan", "smallest_columns", "weights"]

CHUNKS = 0, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32
"""Words in a chunk that are tried; 0 adds every digit to the accumulator itself."""

WIDEST_WEIGHT = 32
PASS = Counts(compare=1, write=1)

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class WeightPlan:
    """How a load is laid out, and what its program holds.

    `outputs` (i) sums of `words` (J) words of `bits` (M) bits.  `chunk` (q) words stand in a
    row at once, 0 where one does and there is no short accumulator; `width` (W) bits of an
    accumulator, `short` (WQ) of the short one, `together` (T) accumulators in a row.
    `digits` digits in all, `places` the sum of their k; `populated` words over all groups of T
    outputs, `live` pairs of an output and a chunk with a digit.
    """

    outputs: int
    words: int
    bits: int
    chunk: int
    width: int
    short: int
    together: int
    digits: int
    places: int
    populated: int
    live: int

    @property
    def columns(self) -> int:
        """Columns used: a carry, the chunk's words, the short accumulator, the others."""
        held = self.bits * max(self.chunk, 1)
        return 1 + held + self.short + self.together * self.width

    @property
    def groups(self) -> int:
        """Groups of outputs that are summed together."""
        return -(-self.outputs // self.together)

    @property
    def terms(self) -> dict[str, Counts]:
        """What one load takes, by name; all of it together is `counts`.

        "digits" is bits 0 to M-1 of the digits, "ripple" their carries to the end of the
        accumulator, "merge" the short accumulators added to the others.
        """
        first = 4 * self.bits - 2
        ripple = 2 * self.digits * ((self.short or self.width) - self.bits) - 2 * self.places
        merge = 3 * self.short - 1 + 2 * (self.width - self.short) if self.chunk else 0
        return {
            "digits": PASS * (self.digits * first),
            "ripple": PASS * ripple,
            "merge": PASS * (self.live * merge),
            "preset": Counts(write=self.groups + self.live * bool(self.chunk)),
            "populate": Counts(write=self.bits * self.populated),
            "read_out": Counts(read=self.outputs * self.width),
        }

    @property
    def counts(self) -> Counts:
        """What one load takes, of however many rows."""
        return sum(self.terms.values(), Counts())

    @property
    def instructions(self) -> int:
        """Bytes of the instruction stream of a load: one for each digit, preset, word and merge."""
        return self.digits + self.populated + self.groups + 2 * self.live * bool(self.chunk)


def weights(
    w: ArrayLike, bits: int, columns: int, chunks: Iterable[int] = CHUNKS
) -> tuple[Counts, WeightPlan]:
    """Sums of x [u, J] times w [i, J], x of `bits` bits, rows of `columns` columns: one load.

    Of the plans with so many words in a `chunk` it is the one of least operations.  Raises
    `ProgramError` where none fits, with the columns that are wanted.

    >>> counts, plan = weights([[-128, 127, 85, -1]], 8, 160, chunks=[2])
    >>> counts.compare, counts.write, counts.read, plan.short
    (414, 449, 17, 16)
    """
    facts = _Facts.of(w, bits)
    plans = [plan for chunk in chunks if (plan := facts.plan(chunk, columns))]
    if not plans:
        wanted = min(facts.wanted(chunk) for chunk in chunks)
        raise ProgramError(
            f"weights: wants {wanted} columns (1 + {bits} of a word + {facts.width} of an "
            f"accumulator), a CAP has {columns}"
        )
    best = min(plans, key=lambda plan: plan.counts.total)
    return best.counts, best


def smallest_columns(w: ArrayLike, bits: int) -> int:
    """Columns that weights [i, J] want at least: 1 + M + W."""
    return _Facts.of(w, bits).wanted(0)


@dataclass(frozen=True)
class _Facts:
    """What all plans of a layer share.

    `reach` [i, J] is |digits| of each weight added up, which times 2**M - 1 is what its
    products may move an accumulator by; `width` is W.
    """

    bits: int
    reach: Integers
    some: NDArray[np.bool_]
    width: int
    digits: int
    places: int

    @classmethod
    def of(cls, w: ArrayLike, bits: int) -> _Facts:
        """From weights [i, J]; raises `InputError` for anything else."""
        positive(bits=bits)
        array = np.asarray(w)
        if array.ndim != 2 or not array.size or array.dtype.kind not in "iub":
            raise InputError(
                f"weights: wanted integers [outputs, words], got {array.dtype} {array.shape}"
            )
        wide = array.astype(np.int64)
        if wide.max() >> (WIDEST_WEIGHT - 1) or ~wide.min() >> (WIDEST_WEIGHT - 1):
            raise InputError(f"weights: wanted {WIDEST_WEIGHT} bits at most")
        places = (wide ^ (3 * wide)) >> 1
        reach, ones = places, np.bitwise_count(places).astype(np.int64)
        ranks = sum(k * int((places >> k & 1).sum()) for k in range(1, WIDEST_WEIGHT + 1)
                    if places.max() >> k)  # fmt: skip
        top = int(reach.sum(axis=1).max()) * ((1 << bits) - 1)
        return cls(bits, reach, places != 0, max(top.bit_length(), 1), int(ones.sum()), ranks)

    def wanted(self, chunk: int) -> int:
        """Columns for one accumulator."""
        return 1 + self.bits * max(chunk, 1) + self.short(chunk) + self.width

    def short(self, chunk: int) -> int:
        """WQ: what the widest chunk of an output may come to."""
        if not chunk:
            return 0
        sums = np.add.reduceat(self.reach, self._starts(chunk), axis=1)
        return max((int(sums.max()) * ((1 << self.bits) - 1)).bit_length(), 1)

    def _starts(self, chunk: int) -> Integers:
        return np.arange(0, self.reach.shape[1], chunk)

    def plan(self, chunk: int, columns: int) -> WeightPlan | None:
        """The plan with so many words in a chunk, None where it does not fit."""
        outputs, words = self.reach.shape
        room = columns - self.wanted(chunk) + self.width
        together = min(outputs, room // self.width)
        if together < 1:
            return None
        groups = np.arange(0, outputs, together)
        populated = int(np.logical_or.reduceat(self.some, groups, axis=0).sum())
        live = 0
        if chunk:
            live = int(np.logical_or.reduceat(self.some, self._starts(chunk), axis=1).sum())
        return WeightPlan(
            outputs, words, self.bits, chunk, self.width, self.short(chunk), together,
            self.digits, self.places, populated, live,
        )  # fmt: skip
