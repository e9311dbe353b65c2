"""Sums of words times weights that the program holds: rows are output pixels, no weight is stored.

This is the definition: every pass a step of its own, one group of outputs after another;
`apsim.functions.weight_run` carries the same passes out from rows of digits.

The rule: an accumulator starts at what the negative digits may take from it, and the reader
subtracts that again; signed words stand in offset binary, and what that adds is subtracted
with it.  Negative digits come first, and a carry goes no further than what the accumulator can
hold by then, where the plan says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim import closed_form, ops
from apsim.ap_kind import ApKind
from apsim.closed_form import WeightPlan
from apsim.errors import ProgramError
from apsim.functions.base import Function, Patterns
from apsim.layout import Field, Layout
from apsim.ops.constants import canonical_digits
from apsim.program import Item, Operation

__all__ = ["group", "groups", "layout_of", "one_group", "presets", "starts", "subtracted", "taken"]

Integers = NDArray[np.integer[Any]]
Sums = NDArray[np.int64]
CARRY, SHORT, COMMON, RECEIVED = "C", "Q", "S", "D"


def layout_of(plan: WeightPlan, kind: str = "u") -> Layout:
    """C, words A0..., Q where there is a short accumulator, and accumulators P0...

    After them S, the sum of all words, and D, a sum from elsewhere, where the plan has them.
    `kind` "o" is for signed words.
    """
    fields, column = [Field(CARRY, 0, 1)], 1
    widths = [(f"A{k}", plan.bits, kind) for k in range(max(plan.chunk, 1))]
    widths += [(SHORT, plan.short, "u")] * bool(plan.chunk)
    widths += [(f"P{k}", plan.width, "u") for k in range(plan.together)]
    widths += [(COMMON, plan.common, "u")] * bool(plan.common)
    widths += [(RECEIVED, plan.width, "u")] * bool(plan.received)
    for name, width, coding in widths:
        fields.append(Field(name, column, width, coding))
        column += width
    return Layout.of(*fields)


def one_group(w: Integers, bits: int, columns: int, rows: int, words: str, ap: str) -> Function:
    """A load of weights [i, J] whose outputs are summed together, in the fewest operations.

    Raises `ProgramError` where that takes more columns.
    """
    _, plan = closed_form.weights(w, bits, columns)
    if plan.groups > 1:
        wanted = plan.columns + (plan.outputs - plan.together) * plan.width
        raise ProgramError(f"weighted sums: wanted {wanted} columns for one group, got {columns}")
    return group(plan, w, range(plan.outputs), rows, words, ApKind.named(ap))


def groups(plan: WeightPlan) -> Iterator[range]:
    """The outputs of each group, T at a time."""
    for first in range(0, plan.outputs, plan.together):
        yield range(first, min(first + plan.together, plan.outputs))


def group(
    plan: WeightPlan, w: Integers, outputs: range, rows: int, words: str, kind: ApKind
) -> Function:
    """Some outputs of a load: x [rows, J] to sums [outputs, rows], of one output [rows].

    A load is its groups one after another, on the cells as the one before left them.  Where
    sums of other CAPs are received, as they were read, they follow x: [received, outputs, rows].
    """
    layout = layout_of(plan, words)
    mine, populated = w[outputs.start : outputs.stop], _populated(plan, w, outputs)
    out = subtracted(plan, w, words)[outputs.start : outputs.stop]

    def build(layout: Layout) -> Iterator[Item]:
        for operation in _operations(plan, w, outputs):
            yield from operation.build(layout)

    def arrange(x: Integers, *others: Integers) -> list[Patterns]:
        narrow = [layout["A0"].encode_narrow(x[:, j]) for j in np.flatnonzero(populated)]
        return narrow + [line.astype(np.uint64) for other in others for line in other]

    inputs = [f"A{k}" for k in range(max(plan.chunk, 1))] + [RECEIVED] * bool(plan.received)
    return Function(
        f"weighted sums {outputs.start} to {outputs.stop - 1}", kind, layout, rows,
        Operation("weighted sums", lambda layout: list(build(layout))), tuple(inputs),
        layout["P0"], np.arange(rows), arrange,
        out[:, None] if len(mine) > 1 else int(out[0]), ports=len(mine),
    )  # fmt: skip


def _populated(plan: WeightPlan, w: Integers, outputs: range) -> Any:
    """Which words a group needs: the first all, where it makes the sum of all words."""
    if plan.common and not outputs.start:
        return np.ones(plan.words, bool)
    return np.any(taken(plan, w)[outputs.start : outputs.stop], axis=0)


def _operations(plan: WeightPlan, w: Integers, outputs: range) -> Iterator[Operation]:
    """Presets, chunk after chunk of words, sums that are shared, and the accumulators put out."""
    digits, some = taken(plan, w), _populated(plan, w, outputs)
    at = starts(plan, w)[outputs.start : outputs.stop].tolist()
    first = bool(plan.common) and not outputs.start
    accumulators = {f"P{k}": value for k, value in enumerate(at)}
    yield ops.preset({CARRY: 0, **accumulators, **({COMMON: 0} if first else {})})
    step, port = max(plan.chunk, 1), 0
    for start in range(0, plan.words, step):
        used = [f"A{k}" for k in np.flatnonzero(some[start : start + step])]
        if used:
            yield ops.populate(*used, port=port)
            port += len(used)
        for word in used if first else ():
            yield ops.add_constant_multiple(1, word, COMMON, carry=CARRY)
        for k, o in enumerate(outputs):
            yield from _digits(plan, digits[o, start : start + step], f"P{k}", at)
    for k, o in enumerate(outputs):
        if plan.common and plan.offsets[o]:
            yield ops.add_constant_multiple(plan.offsets[o], COMMON, f"P{k}", carry=CARRY)
    for k in (*range(len(outputs)),) * plan.received:
        yield ops.populate(RECEIVED, port=port)
        yield ops.add_constant_multiple(1, RECEIVED, f"P{k}", carry=CARRY)
        port += 1
    for k in range(len(outputs)):
        yield ops.read(f"P{k}", port=k)


def _digits(
    plan: WeightPlan, w: Integers, accumulator: str, held: list[int]
) -> Iterator[Operation]:
    """A chunk's words times their weights [q], added to one output, by way of Q where it is.

    `held` is what each accumulator holds at most.
    """
    if not w.any():
        return
    number = int(accumulator[1:])
    bound = int(presets(w[None], plan.bits)[0]) if plan.chunk else held[number]
    target = SHORT if plan.chunk else accumulator
    if plan.chunk:
        yield ops.preset({SHORT: bound})
    for sign in (-1, 1):
        for k in np.flatnonzero(w).tolist():
            part = _part(int(w[k]), sign)
            bound += max(part, 0) * ((1 << plan.bits) - 1)
            end = bound.bit_length() if plan.stop else None
            if part:
                yield ops.add_constant_multiple(part, f"A{k}", target, carry=CARRY, end=end)
    if not plan.chunk:
        held[number] = bound
        return
    held[number] += bound
    bits, end = (bound.bit_length(), held[number].bit_length()) if plan.stop else (None, None)
    yield ops.add_short(SHORT, accumulator, carry=CARRY, bits=bits, end=end)


def _part(weight: int, sign: int) -> int:
    """A weight's digits of one sign."""
    return sum(digit << place for place, digit in canonical_digits(weight) if digit == sign)


def taken(plan: WeightPlan, w: Integers) -> Integers:
    """Weights [i, J] whose digits the program holds: less the offset of their output."""
    return w - np.array(plan.offsets)[:, None] if plan.offsets else w


def presets(w: Integers, bits: int) -> Sums:
    """What the negative digits of weights [i, J] can take from each sum at most: int64[i]."""
    negative: Sums = closed_form.signed_digits(w)[0].sum(axis=1)
    return negative * ((1 << bits) - 1)


def _least(plan: WeightPlan, w: Integers) -> Sums:
    """What can be taken from each accumulator at most, by digits or by all of a sum: int64[i]."""
    lowest: Sums = presets(taken(plan, w), plan.bits)
    if plan.offsets:
        lowest = np.maximum(lowest, -np.minimum(w, 0).sum(axis=1) * ((1 << plan.bits) - 1))
    return lowest


def starts(plan: WeightPlan, w: Integers) -> Sums:
    """What accumulators are preset to, biases with it: int64[i].

    Where there is a short accumulator it brings what its own digits take.
    """
    begin: Sums = _least(plan, w) + np.array(plan.raised or 0)
    return begin - presets(taken(plan, w), plan.bits) if plan.chunk else begin


def subtracted(plan: WeightPlan, w: Integers, words: str = "u") -> Sums:
    """What the reader takes from each sum: presets, and 2**(M-1) for each signed word: int64[i]."""
    offset = w.sum(axis=1, dtype=np.int64) << (plan.bits - 1) if words == "o" else 0
    return _least(plan, w) + offset - plan.least
