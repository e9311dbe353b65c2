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

__all__ = ["CHUNKS", "WIDEST_WEIGHT", "Spread", "WeightPlan", "spread", "weights"]

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


@dataclass(frozen=True)
class Spread:
    """Loads over the CAPs of a chip: `cycles` until the last is done.

    Each CAP sums `outputs` outputs at a time, and their words are split over `split` CAPs.
    """

    cycles: int
    outputs: int
    split: int


def spread(plan: WeightPlan, loads: int, caps: int) -> Spread:
    """The quickest way for `caps` CAPs to share `loads` loads.

    Loads and groups of up to T outputs go to CAPs of their own, each of which writes the words
    anew.  s CAPs may share the words of a group, whose accumulators are then merged pair by
    pair: W reads, W writes and 4W - 2 passes each.
    """
    terms, splits = plan.terms, np.arange(1, max(min(plan.words, caps), 1) + 1)
    depth = np.ceil(np.log2(splits))
    apart = terms["populate"].total / plan.groups + 1
    each = (plan.counts.total - terms["populate"].total - plan.groups) / plan.outputs
    found = []
    for outputs in range(1, plan.together + 1):
        groups = -(-plan.outputs // outputs)
        mean = plan.outputs / groups
        one = (apart + each * mean) / splits + depth * mean * (10 * plan.width - 4)
        cycles = np.ceil(-(-loads * groups * splits // caps) * one - 1e-6)
        best = int(cycles.argmin())
        found.append(Spread(int(cycles[best]), outputs, best + 1))
    return min(found, key=lambda one: one.cycles)


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
        wanted = facts.wanted
        raise ProgramError(
            f"weights: wants 1 + M + W = 1 + {bits} + {facts.width} = {wanted} columns, "
            f"a CAP has {columns}"
        )
    best = min(plans, key=lambda plan: plan.counts.total)
    return best.counts, best


@dataclass(frozen=True)
class _Facts:
    """What all plans of a layer share.

    `along` [i, J + 1] and `below` [i + 1, J] are running sums: of |digits| of each weight, which
    times 2**M - 1 is what its products may move an accumulator by, and of weights that are
    not 0.  `width` is W.
    """

    bits: int
    along: Integers
    below: Integers
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
        if max(int(wide.max()), ~int(wide.min())) >> (WIDEST_WEIGHT - 1) > 0:
            raise InputError(f"weights: wanted {WIDEST_WEIGHT} bits at most")
        reach = (wide ^ (3 * wide)) >> 1
        along = np.pad(reach.cumsum(axis=1), ((0, 0), (1, 0)))
        below = np.pad((reach != 0).cumsum(axis=0, dtype=np.int32), ((1, 0), (0, 0)))
        top = int(along[:, -1].max()) * ((1 << bits) - 1)
        digits, places = int(np.bitwise_count(reach).sum(dtype=np.int64)), _ranks(reach)
        return cls(bits, along, below, max(top.bit_length(), 1), digits, places)

    @property
    def wanted(self) -> int:
        """Columns of the smallest plan: 1 + M + W."""
        return 1 + self.bits + self.width

    def plan(self, chunk: int, columns: int) -> WeightPlan | None:
        """The plan with so many words in a chunk, None where it does not fit."""
        outputs, words = len(self.along), self.below.shape[1]
        short = live = 0
        if chunk:
            ends = [*range(0, words, chunk), words]
            sums = np.diff(self.along.take(ends, axis=1), axis=1)
            short = max((int(sums.max()) * ((1 << self.bits) - 1)).bit_length(), 1)
            live = int(np.count_nonzero(sums))
        room = columns - 1 - self.bits * max(chunk, 1) - short
        together = min(outputs, room // self.width)
        if together < 1:
            return None
        groups = np.diff(self.below[[*range(0, outputs, together), outputs]], axis=0)
        return WeightPlan(
            outputs, words, self.bits, chunk, self.width, short, together, self.digits,
            self.places, int(np.count_nonzero(groups)), live,
        )  # fmt: skip


def _ranks(reach: Integers) -> int:
    """The sum of the places of all digits, place k counted by the bits of k."""
    places = range(WIDEST_WEIGHT + 1)
    masks = {1 << b: sum(1 << k for k in places if k >> b & 1) for b in range(6)}
    return sum(
        rank * int(np.bitwise_count(reach & mask).sum(dtype=np.int64))
        for rank, mask in masks.items()
        if reach.max() >= mask & -mask
    )
