"""ReLU, average pooling and max pooling (paper, III.B.3; eqs. 9-15).

The rule: K windows of S words, two words in each row, the last alone where S is odd.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
from apsim.functions.sums import growth, sum_layout
from apsim.layout import Field, Layout
from apsim.ops.reduction import carry_rows
from apsim.ops.selection import flag_rows, placed
from apsim.program import Operation

__all__ = ["Divider", "average_pool", "default_scheme", "max_pool", "relu"]


@on_any_kind
def relu(bits: int, rows: int, *, kind: ApKind | str = "2d") -> Function:
    """max(A, 0) of two's complement words, one in each row (eq. 15)."""
    layout = Layout(A=f"s{bits}", F=1)
    whole = ops.populate("A") + ops.relu("A", flag="F") + ops.read("A")

    def arrange(a: ArrayLike) -> list[Patterns]:
        return [layout["A"].encode_narrow(expect_shape("A", a, (rows,)))]

    return Function(
        "relu",
        ApKind.named(kind),
        layout,
        rows,
        whole,
        ("A",),
        layout["A"],
        np.arange(rows),
        arrange,
    )


@dataclass(frozen=True)
class Divider:
    """floor(x / divisor) for 0 <= x <= highest as (x * factor) >> shift."""

    factor: int
    shift: int

    @classmethod
    def exact(cls, divisor: int, highest: int) -> Divider:
        """The smallest shift for which the rounding of the factor never shows.

        With factor * divisor = 2**shift + e the quotient is exact while e * highest < 2**shift.
        """
        shift = 0
        while (-(1 << shift) % divisor) * highest >= 1 << shift:
            shift += 1
        return cls(-(-(1 << shift) // divisor), shift)


@on_any_kind
def average_pool(
    bits: int,
    window: int,
    windows: int,
    *,
    kind: ApKind | str = "2d",
    words: str = "u",
    divide: str = "shift",
    clear: bool = False,
) -> Function:
    """Averages (floor) of [windows, window] words, or their sums (eqs. 9-11).

    `divide` "shift" drops the low bits as it reads (a window of 2**J words only),
    "multiply" multiplies by a constant in the AP (any window), "none" reads the whole
    sum, for a division that the next layer's requantization carries out.
    """
    kind, block = ApKind.named(kind), ops.Groups(windows, (window + 1) // 2)
    divider = Divider.exact(window, window * ((1 << bits) - 1))
    quotient = bits + growth(window) + divider.factor.bit_length() if divide == "multiply" else 0
    layout = sum_layout(bits, window, kind, words, quotient).layout
    rows = block.rows + carry_rows(kind) * (block.size > 1)
    read = _division(divide, layout, bits, window, divider)
    whole = ops.populate("A", "B") + ops.add("A", "B", carry="C") + ops.accumulate(
        "P", bits=bits + 1, addend="D", clean="Z", groups=block, kind=kind
    ) + read.operation  # fmt: skip
    if clear:
        whole = Operation("clear", lambda lay: clear_scratch(lay, ("A", "B"))) + whole

    def arrange(values: ArrayLike) -> list[Words]:
        patterns = layout["A"].encode_narrow(expect_shape("A", values, (windows, window)))
        paired = np.hstack([patterns, np.zeros((windows, window % 2), patterns.dtype)])
        return [in_rows(paired[:, 0::2], rows), in_rows(paired[:, 1::2], rows)]

    unbias = window << (bits - 1) if divide == "none" and words == "o" else 0
    output = Field(read.field.name, 0, read.field.width, "u" if divide == "none" else words)
    return Function(
        "average pool", kind, layout, rows, whole, ("A", "B"), output, block.first_rows, arrange,
        unbias,
    )  # fmt: skip


@dataclass(frozen=True)
class _Division:
    operation: Operation
    field: Field


def _division(divide: str, layout: Layout, bits: int, window: int, divider: Divider) -> _Division:
    """How the sum in P becomes what is read."""
    from apsim.ops.steps import read_out

    before = Operation("", lambda lay: [])
    if divide == "none":
        part = layout["P"]
    elif divide == "shift":
        if window & (window - 1):
            raise ProgramError(
                f"average pool: a division by shifting wants a window of 2**J words, got {window}"
            )
        part = layout["P"].part(growth(window), bits)
    elif divide == "multiply":
        part = layout["Q"].part(divider.shift, min(bits, layout["Q"].width - divider.shift))
        before = ops.multiply_by(divider.factor, "P", "Q")
    else:
        raise ProgramError(f"average pool: wanted shift, multiply or none, got {divide!r}")
    reading = Operation("read", lambda lay: list(read_out(part, 0)))
    return _Division(before + reading, part)


def default_scheme(kind: ApKind | str) -> str:
    """How maxima of rows are taken where nobody says: the chain where there is one, else moves."""
    return "chain" if ApKind.named(kind).chain else "moves"


@on_any_kind
def max_pool(
    bits: int,
    window: int,
    windows: int,
    *,
    kind: ApKind | str = "2d",
    words: str = "u",
    scheme: str | None = None,
    clear: bool = False,
) -> Function:
    """Maxima of [windows, window] words (eqs. 12-14), unsigned ("u") or offset binary ("o").

    The vertical schemes compare all columns of the array: those beyond the function's own
    must be clean (`clear` sees to its own).
    """
    kind, block = ApKind.named(kind), ops.Groups(windows, (window + 1) // 2)
    scheme = scheme or default_scheme(kind)
    layout = Layout(A=f"{words}{bits}", B=f"{words}{bits}", F1=1, F2=1)
    rows = block.rows + flag_rows(kind, scheme, block)
    block = placed(block, kind, scheme)
    flags = ("F1", "F2")
    whole = ops.populate("A", "B") + ops.maximum("A", "B", flags=flags) + ops.largest(
        "B", other="A", flags=flags, groups=block, kind=kind, scheme=scheme
    ) + ops.read("B")  # fmt: skip
    if clear:
        whole = Operation("clear", lambda lay: clear_scratch(lay, ("A", "B"))) + whole

    def arrange(values: ArrayLike) -> list[Words]:
        patterns = layout["A"].encode_narrow(_even(expect_shape("A", values, (windows, window))))
        if not block.gap:
            return [in_rows(patterns[:, 0::2], rows), in_rows(patterns[:, 1::2], rows)]
        both = np.zeros((2, rows), patterns.dtype)
        both[:, block.word_rows] = patterns[:, 0::2], patterns[:, 1::2]
        return list(both)

    return Function(
        "max pool", kind, layout, rows, whole, ("A", "B"), layout["B"],
        block.first_rows, arrange,
    )  # fmt: skip


def _even(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Windows with their first word repeated where their number of words is odd."""
    return np.hstack([values, values[:, :1]]) if values.shape[1] % 2 else values
