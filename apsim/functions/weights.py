"""Sums of words times weights that the program holds: rows are output pixels, no weight is stored.

This is the definition: every pass a step of its own, a group of outputs after another.  The
kernel `apsim.cam.digits` carries the same passes out from rows of digits.

The rule: an accumulator starts at what the negative digits may take from it, and the reader
subtracts that again; signed words stand in offset binary, and what that adds is subtracted
with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsim import ops
from apsim.cam.base import Cam
from apsim.closed_form import WeightPlan
from apsim.counts import Activity, Counts
from apsim.layout import Field, Layout
from apsim.ops.constants import canonical_digits
from apsim.program import Microprogram, Operation

__all__ = ["Piece", "execute", "layout_of", "pieces", "presets", "subtracted"]

Integers = NDArray[np.int64]
CARRY, SHORT = "C", "Q"


@dataclass(frozen=True)
class Piece:
    """A stretch of a load's program, which words of each row it takes in, which sums it gives."""

    program: Microprogram
    words: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()


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


def pieces(plan: WeightPlan, w: Integers, kind: str = "u") -> Iterator[Piece]:
    """The program of a load, for weights [i, J]: groups of outputs, and in them chunks of words."""
    layout = layout_of(plan, kind)
    for first in range(0, plan.outputs, plan.together):
        outputs = range(first, min(first + plan.together, plan.outputs))
        yield Piece(_started(plan, w, outputs).on(layout))
        step = max(plan.chunk, 1)
        for start in range(0, plan.words, step):
            words = range(start, min(start + step, plan.words))
            used = [j for j in words if w[outputs.start : outputs.stop, j].any()]
            if used:
                operation = _chunk(plan, w, outputs, start, used)
                yield Piece(operation.on(layout), words=tuple(used))
        for k, o in enumerate(outputs):
            yield Piece(ops.read(f"P{k}").on(layout), outputs=(o,))


def _started(plan: WeightPlan, w: Integers, outputs: range) -> Operation:
    """Carry and accumulators of a group: with short ones, which have presets, from 0 on."""
    at = [0 if plan.chunk else preset_of(w[o], plan.bits) for o in outputs]
    return ops.preset({CARRY: 0, **{f"P{k}": value for k, value in enumerate(at)}})


def _chunk(plan: WeightPlan, w: Integers, outputs: range, start: int, used: list[int]) -> Operation:
    """Words put into the row, and their digits added up for each output that has some."""
    operation = ops.populate(*(f"A{j - start}" for j in used))
    for k, o in enumerate(outputs):
        mine = [j for j in used if w[o, j]]
        target = SHORT if plan.chunk else f"P{k}"
        if mine and plan.chunk:
            operation += ops.preset({SHORT: preset_of(w[o, mine], plan.bits)})
        for j in mine:
            operation += ops.add_constant_multiple(
                int(w[o, j]), f"A{j - start}", target, carry=CARRY
            )
        if mine and plan.chunk:
            operation += ops.add_short(SHORT, f"P{k}", carry=CARRY)
    return operation


def preset_of(w: Integers, bits: int) -> int:
    """What the negative digits of weights can take from an accumulator at most."""
    negative = sum(1 << k for one in w.tolist() for k, d in canonical_digits(one) if d < 0)
    return negative * ((1 << bits) - 1)


def presets(w: Integers, bits: int) -> Integers:
    """The same for each line of weights [i, J]: int64[i]."""
    wide = w.astype(np.int64)
    return ((wide & ~(3 * wide)) >> 1).sum(axis=1) * ((1 << bits) - 1)


def subtracted(w: Integers, bits: int, kind: str = "u") -> Integers:
    """What the reader takes from each sum: int64[i]."""
    offset = w.sum(axis=1, dtype=np.int64) << (bits - 1) if kind == "o" else 0
    return presets(w, bits) + offset


def execute(
    array: Cam, plan: WeightPlan, w: Integers, x: Integers, kind: str = "u"
) -> tuple[Integers, Counts, Activity]:
    """One load, step by step: words x [rows, J] times weights [i, J] on an array of `rows` rows.

    Gives sums [i, rows], what was carried out, and what it did.
    """
    field = layout_of(plan, kind)["A0"]
    patterns = field.encode(x).T
    sums = np.zeros((plan.outputs, array.rows), np.uint64)
    counts, activity = Counts(), Activity()
    for piece in pieces(plan, w, kind):
        data = np.ascontiguousarray(patterns[list(piece.words)]) if piece.words else None
        out = np.zeros((1, array.rows), np.uint64) if piece.outputs else None
        done = array.execute(piece.program.code, data, out)
        counts += piece.program.counts()
        activity += done.activity
        if out is not None:
            sums[piece.outputs[0]] = out[0]
    return sums.astype(np.int64) - subtracted(w, plan.bits, kind)[:, None], counts, activity
