"""Addition, subtraction, multiplication, maximum, minimum, and reduction (paper, III.B.1).

The rule: as `apsim.closed_form.micro`, name for name, but executed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from apsim import ops
from apsim.ap_kind import ApKind
from apsim.errors import ProgramError
from apsim.functions.base import (
    Function,
    Patterns,
    Words,
    clear_scratch,
    expect_shape,
    in_rows,
    on_any_kind,
)
from apsim.functions.sums import SumLayout, sum_layout
from apsim.layout import Field, Layout
from apsim.ops.reduction import carry_rows
from apsim.ops.rows import loop
from apsim.ops.steps import take_row
from apsim.program import Operation

__all__ = ["add", "maximum", "minimum", "multiply", "reduce", "subtract", "table"]


@on_any_kind
def add(bits: int, rows: int, *, kind: ApKind | str = "2d", words: str = "u") -> Function:
    """B <- A + B in `rows` rows, with the carry as top bit (eq. 1); `words` "u" or "o"."""
    return _sweep("add", ops.add("A", "B", carry="C"), bits, rows, kind, words, words)


@on_any_kind
def subtract(bits: int, rows: int, *, kind: ApKind | str = "2d", words: str = "u") -> Function:
    """B <- B - A, one bit wider and in two's complement; `words` "u" or "o"."""
    return _sweep("subtract", ops.subtract("A", "B", borrow="C"), bits, rows, kind, words, "s")


def _sweep(
    name: str, sweep: Operation, bits: int, rows: int, kind: ApKind | str, words: str, result: str
) -> Function:
    if words not in ("u", "o"):
        raise ProgramError(f"{name}: wanted words of kind 'u' or 'o', got {words!r}")
    layout = Layout(A=f"{words}{bits}", B=f"{words}{bits}", C=1)
    output = Field("B+C", 0, bits + 1, result)
    whole = ops.populate("A", "B") + sweep + ops.read("B", "C")
    return _elementwise(name, kind, layout, rows, whole, output)


@on_any_kind
def maximum(bits: int, rows: int, *, kind: ApKind | str = "2d", words: str = "u") -> Function:
    """B <- max(A, B) in `rows` rows (Table IV); `words` "u", "s" or "o"."""
    return _choice("maximum", ops.maximum("A", "B", flags=("F1", "F2")), bits, rows, kind, words)


@on_any_kind
def minimum(bits: int, rows: int, *, kind: ApKind | str = "2d", words: str = "u") -> Function:
    """B <- min(A, B) in `rows` rows; `words` "u", "s" or "o"."""
    return _choice("minimum", ops.minimum("A", "B", flags=("F1", "F2")), bits, rows, kind, words)


def _choice(
    name: str, choose: Operation, bits: int, rows: int, kind: ApKind | str, words: str
) -> Function:
    layout = Layout(A=f"{words}{bits}", B=f"{words}{bits}", F1=1, F2=1)
    whole = ops.populate("A", "B") + choose + ops.read("B")
    return _elementwise(name, kind, layout, rows, whole, layout["B"])


@on_any_kind
def multiply(
    bits: int,
    rows: int,
    *,
    kind: ApKind | str = "2d",
    bits_b: int | None = None,
    words: str = "u",
    words_b: str = "u",
) -> Function:
    """A * B in `rows` rows (eq. 2), operands unsigned ("u") or two's complement ("s")."""
    bits_b = bits if bits_b is None else bits_b
    product = "u" if words + words_b == "uu" else "s"
    layout = Layout(A=f"{words}{bits}", B=f"{words_b}{bits_b}", P=f"{product}{bits + bits_b}")
    whole = ops.populate("A", "B") + ops.multiply("A", "B", "P") + ops.read("P")
    return _elementwise("multiply", kind, layout, rows, whole, layout["P"])


@on_any_kind
def table(
    values: Sequence[int],
    bits: int,
    outputs: int,
    rows: int,
    *,
    kind: ApKind | str = "2d",
    words: str = "u",
    words_out: str = "u",
) -> Function:
    """f(A) in `rows` rows: `values` from the lowest word of A on, results of `outputs` bits.

    Words are "u", "s" or "o"; A has at most 12 bits.
    """
    layout = Layout(A=f"{words}{bits}", B=f"{words_out}{outputs}")
    whole = ops.populate("A") + ops.table(tuple(values), "A", "B") + ops.read("B")

    def arrange(a: ArrayLike) -> list[Patterns]:
        return [layout["A"].encode_narrow(expect_shape("A", a, (rows,)))]

    kind = ApKind.named(kind)
    return Function(
        "table", kind, layout, rows, whole, ("A",), layout["B"], np.arange(rows), arrange
    )


def _elementwise(
    name: str, kind: ApKind | str, layout: Layout, rows: int, whole: Operation, output: Field
) -> Function:
    def arrange(a: ArrayLike, b: ArrayLike) -> list[Patterns]:
        words = (expect_shape(n, v, (rows,)) for n, v in (("A", a), ("B", b)))
        return [layout[name].encode_narrow(value) for name, value in zip("AB", words, strict=True)]

    kind = ApKind.named(kind)
    return Function(name, kind, layout, rows, whole, ("A", "B"), output, np.arange(rows), arrange)


@on_any_kind
def reduce(
    bits: int, words: int, *, kind: ApKind | str = "2d", coding: str = "u", clear: bool = False
) -> Function:
    """The sum of a vector, two words in each row (eqs. 3-5); the last word may lack a partner.

    `coding` "u" or "o".  `clear` first clears scratch, for arrays that are not fresh.
    """
    kind = ApKind.named(kind)
    groups = ops.Groups(1, (words + 1) // 2)
    place = sum_layout(bits, words, kind, coding)
    rows = groups.rows + carry_rows(kind) * (groups.size > 1)
    whole = (
        Operation("clear", lambda layout: clear_scratch(layout, ("A", "B")))
        if clear
        else Operation("", lambda layout: [])
    )
    whole = whole + ops.populate("A", "B") + ops.add("A", "B", carry="C")
    whole = whole + _accumulate(place, bits + 1, groups, kind) + _read_first_row()

    def arrange(values: ArrayLike) -> list[Words]:
        patterns = in_rows(place.layout["A"].encode(expect_shape("A", values, (words,))), 2 * rows)
        return [patterns[0::2], patterns[1::2]]

    output = place.layout["P"]
    unbias = words << (bits - 1) if coding == "o" else 0
    return Function(
        "reduce", kind, place.layout, rows, whole, ("A", "B"), output, np.zeros(1, np.int64),
        arrange, unbias, (),
    )  # fmt: skip


def _accumulate(place: SumLayout, bits: int, groups: ops.Groups, kind: ApKind) -> Operation:
    return ops.accumulate("P", bits=bits, addend="D", clean="Z", groups=groups, kind=kind)


def _read_first_row() -> Operation:
    table = np.zeros((1, 1), np.int64)
    return Operation(
        "read the first row", lambda layout: [loop([take_row(0, layout["P"])], table, False)]
    )
