"""Sums of words times weights that the program holds: rows are output pixels, no weight is stored.

This is the definition: every pass a step of its own, one group of outputs after another.  The
kernel `apsim.cam.digits` carries the same passes out from rows of digits.

The rule: an accumulator starts at what the negative digits may take from it, and the reader
subtracts that again; signed words stand in offset binary, and what that adds is subtracted
with it.
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
from apsim.program import Item, Operation

__all__ = ["group", "groups", "layout_of", "one_group", "presets", "subtracted"]

Integers = NDArray[np.integer[Any]]
Sums = NDArray[np.int64]
CARRY, SHORT = "C", "Q"


def layout_of(plan: WeightPlan, kind: str = "u") -> Layout:
    """C, words A0..., Q where there is a short accumulator, and accumulators P0...

    `kind` "o" is for signed words.
    """
    fields, column = [Field(CARRY, 0, 1)], 1
    widths = [(f"A{k}", plan.bits, kind) for k in range(max(plan.chunk, 1))]
    widths += [(SHORT, plan.short, "u")] * bool(plan.chunk)
    widths += [(f"P{k}", plan.width, "u") for k in range(plan.together)]
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

    A load is its groups one after another, on the cells as the one before left them.
    """
    layout, mine = layout_of(plan, words), w[outputs.start : outputs.stop]
    used = np.flatnonzero(mine.any(axis=0))

    def build(layout: Layout) -> Iterator[Item]:
        for operation in _operations(plan, mine):
            yield from operation.build(layout)

    def arrange(x: Integers) -> list[Patterns]:
        return [layout["A0"].encode_narrow(x[:, j]) for j in used]

    return Function(
        f"weighted sums {outputs.start} to {outputs.stop - 1}", kind, layout, rows,
        Operation("weighted sums", lambda layout: list(build(layout))),
        tuple(f"A{k}" for k in range(max(plan.chunk, 1))), layout["P0"], np.arange(rows), arrange,
        subtracted(plan, mine, words)[:, None] if len(outputs) > 1
        else int(subtracted(plan, mine, words)[0]), ports=len(outputs),
    )  # fmt: skip


def _operations(plan: WeightPlan, w: Integers) -> Iterator[Operation]:
    """Presets, then chunk after chunk of words, then the accumulators put out."""
    at = [0] * len(w) if plan.chunk else presets(w, plan.bits).tolist()
    yield ops.preset({CARRY: 0, **{f"P{k}": value for k, value in enumerate(at)}})
    step, port = max(plan.chunk, 1), 0
    for start in range(0, plan.words, step):
        some = w[:, start : start + step]
        used = [f"A{k}" for k in np.flatnonzero(some.any(axis=0))]
        if used:
            yield ops.populate(*used, port=port)
            port += len(used)
        for k, mine in enumerate(some):
            yield from _digits(plan, mine, f"P{k}")
    for k in range(len(w)):
        yield ops.read(f"P{k}", port=k)


def _digits(plan: WeightPlan, w: Integers, accumulator: str) -> Iterator[Operation]:
    """A chunk's words times their weights [q], added to one output, by way of Q where it is."""
    if not w.any():
        return
    if plan.chunk:
        yield ops.preset({SHORT: int(presets(w[None], plan.bits)[0])})
    for k in np.flatnonzero(w).tolist():
        yield ops.add_constant_multiple(
            int(w[k]), f"A{k}", SHORT if plan.chunk else accumulator, carry=CARRY
        )
    if plan.chunk:
        yield ops.add_short(SHORT, accumulator, carry=CARRY)


def presets(w: Integers, bits: int) -> Sums:
    """What the negative digits of weights [i, J] can take from each sum at most: int64[i].

    A digit of w is -1 where a bit of w, but not of 3w, is set one place above.
    """
    wide = w.astype(np.int64)
    negative: Sums = ((wide & ~(3 * wide)) >> 1).sum(axis=1)
    return negative * ((1 << bits) - 1)


def subtracted(plan: WeightPlan, w: Integers, words: str = "u") -> Sums:
    """What the reader takes from each sum: presets, and 2**(M-1) for each signed word: int64[i]."""
    offset = w.sum(axis=1, dtype=np.int64) << (plan.bits - 1) if words == "o" else 0
    return presets(w, plan.bits) + offset
