"""What the products of a layer take whose weights are digits in the instruction stream.

Rows are output pixels; a weight is its canonical signed digits, each an addition or a
subtraction of the word that stands in the row, at the digit's place of an accumulator.

The rule: formulas of the weights alone, which have seen no program.  Digits come from
w = (3w - w) / 2, whose bits of 3w and w differ exactly where a digit is not 0 (Reitwiesner,
Binary Arithmetic, 1960); programs take them from w one by one.

A carry is at its end where the accumulator can hold no more: a chunk's subtractions come
first, below what it was preset to, then each word's additions raise what it holds at most.
The term "stopped" is what that leaves out of ripples to the end of the columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apsim.closed_form.kinds import positive
from apsim.closed_form.weight_plan import Spread, WeightPlan, received
from apsim.counts import Counts
from apsim.errors import InputError, ProgramError

__all__ = ["CHUNKS", "WIDEST_WEIGHT", "signed_digits", "split", "weights"]

CHUNKS = 0, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32
"""Words in a chunk that are tried; 0 adds every digit to the accumulator itself."""

WIDEST_WEIGHT = 32
WIDEST_SUM = 62
PAYS = 1.05  # a second kind of program for less than that would not be worth its while

Integers = NDArray[np.int64]


def split(w: ArrayLike, whole: WeightPlan, columns: int, shared: Spread) -> tuple[WeightPlan, ...]:
    """Plans of the parts that the words of sums are split into, of nearly equal lengths.

    Accumulators of all are as wide as those of the `whole`, and the first holds its biases.
    Part k gets the partial sums of parts k + 1, k + 2, k + 4 ... up to its own lowest bit, the
    first of all of them.  Raises `ProgramError` where a CAP does not hold one beside the rest.
    """
    array, parts = np.asarray(w), shared.split
    bias = None if whole.raised is None else np.array(whole.raised) + whole.least
    cuts = [array.shape[1] * k // parts for k in range(parts + 1)]
    return tuple(
        weights(
            array[:, start:stop], whole.bits, columns, together=shared.outputs, width=whole.width,
            received=received(k, parts), bias=None if k else bias,
        )[1]
        for k, (start, stop) in enumerate(pairwise(cuts))
    )  # fmt: skip


def weights(
    w: ArrayLike,
    bits: int,
    columns: int,
    chunks: Iterable[int] = CHUNKS,
    *,
    stop: bool = True,
    bias: ArrayLike | None = None,
    together: int = 0,
    width: int = 0,
    received: int = 0,
) -> tuple[Counts, WeightPlan]:
    """Sums of x [u, J] times w [i, J], x of `bits` bits, rows of `columns` columns: one load.

    Of the plans with so many words in a `chunk` it is the one of least operations with whole
    ripples, which then end where nothing is left to carry if `stop` says so.  Weights that are
    all -1, 0 or 1 are taken less an offset where that takes a twentieth less.  Presets hold
    `bias` int[i] where they can without wider accumulators.  `together` is the most outputs of a
    group, `width` the least bits of an accumulator.  Raises `ProgramError` where no plan fits,
    with the columns that are wanted.

    >>> counts, plan = weights([[-128, 127, 85, -1]], 8, 160, chunks=[2], stop=False)
    >>> counts.compare, counts.write, counts.read, plan.short
    (414, 449, 17, 16)
    """
    tried = tuple(chunks)
    limits = _Limits(columns, together, width, received)
    plain = _Facts.of(w, bits)
    best = plain.best(tried, limits, bias, stop)
    if plain.small and not width:
        offsets = plain.offsets(best.width)
        if any(offsets):
            with suppress(ProgramError):
                other = _Facts.of(w, bits, offsets).best(tried, limits, bias, stop)
                if best.counts.total > PAYS * other.counts.total:
                    best = other
    return best.counts, best


@dataclass(frozen=True)
class _Limits:
    """Columns of a CAP, the most outputs of a group (0: any), the least W, partial sums."""

    columns: int
    together: int
    width: int
    received: int


@dataclass(frozen=True)
class _Facts:
    """What all plans of a layer share.

    `negative` and `positive` [i, J] are a weight's digits as numbers with a bit for each;
    `reach` both, which times 2**M - 1 is what a product may move an accumulator by.  `start` [i]
    is where an accumulator must begin, `top` [i] the most that it then comes to.
    """

    bits: int
    negative: Integers
    positive: Integers
    start: Integers
    top: Integers
    taken: tuple[int, ...] = ()

    @classmethod
    def of(cls, w: ArrayLike, bits: int, offsets: tuple[int, ...] = ()) -> _Facts:
        """From weights [i, J] less offsets [i]; raises `InputError` for anything else."""
        positive(bits=bits)
        array = np.asarray(w)
        if array.ndim != 2 or not array.size or array.dtype.kind not in "iub":
            raise InputError(
                f"weights: wanted integers [outputs, words], got {array.dtype} {array.shape}"
            )
        wide = array.astype(np.int64)
        if max(int(wide.max()), ~int(wide.min())) >> (WIDEST_WEIGHT - 1) > 0:
            raise InputError(f"weights: wanted {WIDEST_WEIGHT} bits at most")
        digits = wide - np.array(offsets)[:, None] if offsets else wide
        below, above = signed_digits(digits)
        down, up = below.sum(axis=1), above.sum(axis=1)
        if offsets:
            down = np.maximum(down, -np.minimum(wide, 0).sum(axis=1))
            up = np.maximum(up, np.maximum(wide, 0).sum(axis=1))
        if (int((down + up).max()) << bits).bit_length() > WIDEST_SUM:
            raise InputError(f"weights: wanted sums of {WIDEST_SUM} bits at most")
        size = (1 << bits) - 1
        return cls(bits, below, above, down * size, (down + up) * size, offsets)

    @property
    def width(self) -> int:
        """W."""
        return max(int(self.top.max()).bit_length(), 1)

    @property
    def small(self) -> bool:
        """Whether weights are -1, 0 and 1, some of each sign or none of them 0."""
        return int(self.reach.max()) == 1

    @cached_property
    def reach(self) -> Integers:
        """All digits of a weight."""
        return self.negative + self.positive

    @cached_property
    def along(self) -> Integers:
        """Running sums of `reach` along the words: [i, J + 1]."""
        return np.pad(self.reach.cumsum(axis=1), ((0, 0), (1, 0)))

    @cached_property
    def below(self) -> NDArray[np.int32]:
        """Running sums over the outputs, of weights that are not 0: [i + 1, J]."""
        found = (self.reach != 0).cumsum(axis=0, dtype=np.int32)
        return np.pad(found, ((1, 0), (0, 0)))

    @cached_property
    def counted(self) -> tuple[int, int]:
        """Digits in all, and the sum of their places."""
        return int(np.bitwise_count(self.reach).sum(dtype=np.int64)), _ranks(self.reach)

    def offsets(self, width: int) -> tuple[int, ...]:
        """-1, 0 or 1 for each output: what makes most weights 0, if the common sum pays then."""
        words, common = self.reach.shape[1], (self.reach.shape[1] << self.bits).bit_length()
        each = 4 * self.bits - 2 + 2 * (width - self.bits)
        left = [words - self.negative.sum(axis=1), self.reach.sum(axis=1),
                words - self.positive.sum(axis=1)]  # fmt: skip
        used = 4 * common - 2 + 2 * (width - common)
        costs = [left[0] * each + used, left[1] * each, left[2] * each + used]
        return tuple(int(best) - 1 for best in np.argmin(costs, axis=0))

    def best(
        self, chunks: tuple[int, ...], limits: _Limits, bias: ArrayLike | None, stop: bool
    ) -> WeightPlan:
        """The plan of least operations, its ripples stopped and biases in it where they are to."""
        plans = [plan for chunk in chunks if (plan := self.plan(chunk, limits))]
        if not plans:
            width = max(self.width, limits.width)
            received, more = (" + W", f" + {width}") if limits.received else ("", "")
            wanted = 1 + self.bits + width * (2 if limits.received else 1)
            raise ProgramError(
                f"weights: wants 1 + M + W{received} = 1 + {self.bits} + {width}{more} = {wanted} "
                f"columns, a CAP has {limits.columns}"
            )
        best = self._biased(min(plans, key=lambda plan: plan.counts.total), bias)
        return replace(best, stop=True, stopped=self.stopped(best)) if stop else best

    def _biased(self, plan: WeightPlan, bias: ArrayLike | None) -> WeightPlan:
        """The plan with biases in its presets, where accumulators hold them."""
        if bias is None:
            return plan
        values = np.broadcast_to(np.asarray(bias, np.int64), (plan.outputs,))
        raised = values - values.min()
        if int((self.top + raised).max()) >> plan.width:
            return plan
        return replace(plan, raised=tuple(raised.tolist()), least=int(values.min()))

    def plan(self, chunk: int, limits: _Limits) -> WeightPlan | None:
        """The plan with so many words in a chunk, None where it does not fit."""
        outputs, words = self.reach.shape
        width, short, live = max(self.width, limits.width), 0, 0
        if chunk:
            sums = np.diff(self.along.take([*range(0, words, chunk), words], axis=1), axis=1)
            short = max((int(sums.max()) * ((1 << self.bits) - 1)).bit_length(), 1)
            live = int(np.count_nonzero(sums))
        none = WeightPlan(outputs, words, self.bits, chunk, width, short, 0, *self.counted, 0, live,
                          offsets=self.taken, received=limits.received)  # fmt: skip
        together = min(
            limits.together or outputs, outputs, (limits.columns - none.columns) // width
        )
        if together < 1:
            return None
        groups = np.diff(self.below[[*range(0, outputs, together), outputs]], axis=0)
        if self.taken:  # the first group makes the sum of all words
            groups[0] = 1
        return replace(none, together=together, populated=int(np.count_nonzero(groups)))

    def stopped(self, plan: WeightPlan) -> int:
        """Passes of whole ripples that carry nothing, whatever the words are."""
        size = (1 << self.bits) - 1
        down, up = (np.bitwise_count(form) for form in (self.negative, self.positive))
        extra = self.start + (0 if plan.raised is None else np.array(plan.raised))
        step, words, full = max(plan.chunk, 1), self.reach.shape[1], plan.short or plan.width
        starts = np.arange(0, words, step)
        above = np.cumsum(self.positive, axis=1) * size
        gone = (above - self.positive * size)[:, starts]  # before each chunk
        begin = gone + extra[:, None]
        if plan.chunk:
            begin = np.add.reduceat(self.negative, starts, axis=1) * size
        after = above + np.repeat(begin - gone, np.diff([*starts, words]), axis=1)
        lower = np.add.reduceat(down, starts, axis=1, dtype=np.int64)
        passes = 2 * int(((full - _lengths(begin)) * lower).sum())
        passes += 2 * int(((full - _lengths(after)) * up).sum())
        if not plan.chunk:
            return passes
        held = np.add.reduceat(self.reach, starts, axis=1) * size
        spare = extra - self.negative.sum(axis=1) * size
        top = np.minimum(_lengths(np.cumsum(held, axis=1) + spare[:, None]), plan.width)
        merges = (plan.short - _lengths(held)) + 2 * (plan.width - top)
        return passes + int((merges * (held > 0)).sum())


def signed_digits(w: NDArray[np.integer[Any]]) -> tuple[Integers, Integers]:
    """The negative and the positive canonical digits of weights, a bit for each at its place."""
    wide = w.astype(np.int64)
    thrice = 3 * wide
    return (wide & ~thrice) >> 1, (thrice & ~wide) >> 1


def _lengths(values: Integers) -> Integers:
    """Bit lengths of whole numbers below 2**63."""
    high = values >> 32
    found: Integers = np.where(high, np.frexp(high)[1] + 32, np.frexp(values & 0xFFFFFFFF)[1])
    return found


def _ranks(reach: Integers) -> int:
    """The sum of the places of all digits, place k counted by the bits of k."""
    places = range(WIDEST_WEIGHT + 1)
    masks = {1 << b: sum(1 << k for k in places if k >> b & 1) for b in range(6)}
    return sum(
        rank * int(np.bitwise_count(reach & mask).sum(dtype=np.int64))
        for rank, mask in masks.items()
        if reach.max() >= mask & -mask
    )
