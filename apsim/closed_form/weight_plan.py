"""How sums with weights in the program are laid out, what they take, and how CAPs share them.

The rule: numbers alone; which digits weights have is `apsim.closed_form.weights`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from apsim.counts import Counts

__all__ = ["Spread", "WeightPlan", "latency", "received", "spread"]

NONE, PASS = Counts(), Counts(compare=1, write=1)


@dataclass(frozen=True)
class WeightPlan:
    """How a load is laid out, and what its program holds.

    `outputs` (i) sums of `words` (J) words of `bits` (M) bits.  `chunk` (q) words stand in a
    row at once, 0 where one does and there is no short accumulator; `width` (W) bits of an
    accumulator, `short` (WQ) of the short one, `together` (T) accumulators in a row.
    `digits` digits in all, `places` the sum of their k; `populated` words over all groups of T
    outputs, `live` pairs of an output and a chunk with a digit.  `stop` says whether ripples
    end where an accumulator can hold no more, which leaves `stopped` passes out.

    `offsets`, where there are any, are what is taken from all weights of an output before they
    are digits, and what the sum of all words, of `common` bits, is added times in the end.
    `raised` is what presets hold beside: biases, above the `least` of them; None: no bias.
    `received` partial sums of each output come from other CAPs.
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
    stop: bool = False
    stopped: int = 0
    offsets: tuple[int, ...] = ()
    raised: tuple[int, ...] | None = None
    least: int = 0
    received: int = 0

    @property
    def common(self) -> int:
        """Bits of the sum of all words, 0 where there is none."""
        return (self.words * ((1 << self.bits) - 1)).bit_length() if self.offsets else 0

    @property
    def columns(self) -> int:
        """A carry, the chunk's words, the short accumulator, the others, and what is shared."""
        held = self.bits * max(self.chunk, 1)
        received = self.width if self.received else 0
        return 1 + held + self.short + self.together * self.width + self.common + received

    @property
    def groups(self) -> int:
        """Groups of outputs that are summed together."""
        return -(-self.outputs // self.together)

    @property
    def terms(self) -> dict[str, Counts]:
        """What one load takes, by name; all of it together is `counts`.

        "digits" is bits 0 to M-1 of the digits, "ripple" their carries to the end of the
        accumulator, "merge" the short accumulators added to the others; "stopped" is negative.
        "common_sum" makes the sum of all words and adds it to outputs, "received_sums" adds those
        of other CAPs.
        """
        width, first = self.width, 4 * self.bits - 2
        ripple = 2 * self.digits * ((self.short or width) - self.bits) - 2 * self.places
        merge = 3 * self.short - 1 + 2 * (width - self.short) if self.chunk else 0
        each = Counts(write=width) + PASS * (4 * width - 2)
        found = {
            "digits": PASS * (self.digits * first),
            "ripple": PASS * ripple,
            "merge": PASS * (self.live * merge),
            "preset": Counts(write=self.groups + self.live * bool(self.chunk)),
            "populate": Counts(write=self.bits * self.populated),
            "read_out": Counts(read=self.outputs * width),
            "stopped": PASS * -self.stopped,
            "common_sum": PASS * self._common_passes,
            "received_sums": each * (self.received * self.outputs),
        }
        later = "stopped", "common_sum", "received_sums"
        return {name: counts for name, counts in found.items() if name not in later or counts.total}

    @property
    def _common_passes(self) -> int:
        """All words added up, and that sum added to outputs, or subtracted."""
        made = self.words * (4 * self.bits - 2 + 2 * (self.common - self.bits))
        used = 4 * self.common - 2 + 2 * (self.width - self.common)
        return made + used * sum(map(abs, self.offsets)) if self.offsets else 0

    @property
    def counts(self) -> Counts:
        """What one load takes, of however many rows."""
        return sum(self.terms.values(), Counts())

    @property
    def instructions(self) -> int:
        """Bytes of the instruction stream of a load: one for each thing that is done in all rows.

        Those are digits, presets, words, merges and sums that are shared or come from elsewhere.
        """
        more = self.words + sum(map(abs, self.offsets)) if self.offsets else 0
        more += 2 * self.received * self.outputs + 2 * self.live * bool(self.chunk)
        return self.digits + self.populated + self.groups + more


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


def latency(plans: Sequence[WeightPlan], loads: int, caps: int) -> int:
    """Cycles until the last of `caps` CAPs is done that share the groups of all parts and loads.

    A group's parts run beside each other; then their sums come together pair by pair, W reads, W
    writes and 4W - 2 passes each.
    """
    groups, width = plans[0].groups, plans[0].width
    own = max(
        (plan.counts - plan.terms.get("received_sums", NONE)).total
        - plan.terms["read_out"].total * (k > 0)
        for k, plan in enumerate(plans)
    )
    merges = (len(plans) - 1).bit_length() * plans[0].outputs * (10 * width - 4)
    rounds = -(-loads * groups * len(plans) // caps)
    return -(-rounds * (own + merges) // groups)


def received(part: int, parts: int) -> int:
    """How many partial sums of others a part gets: those of part + 1, part + 2, part + 4 ..."""
    return next(k for k in count() if part >> k & 1 or part + (1 << k) >= parts)
