"""Functions below the paper: the same results from smaller LUTs (mode `opt`).

The rule: what differs from `apsim.functions.micro` and `relu` is the sweep alone;
populate and read out cost the same, and every report says that these are not the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from apsim import ops
from apsim.ap_kind import ApKind
from apsim.functions.base import Function, Words, expect_shape, on_any_kind
from apsim.layout import Field, Layout
from apsim.ops import smaller_luts
from apsim.program import Operation

__all__ = ["add", "maximum", "minimum", "multiply", "relu"]

FLAGS = ("F1", "F2")


@on_any_kind
def add(bits: int, rows: int, *, kind: ApKind | str = "2d", words: str = "u") -> Function:
    """B <- A + B with A destroyed: 6M - 2 instead of 8M; `words` "u" or "o"."""
    layout = Layout(A=f"{words}{bits}", B=f"{words}{bits}", C=1)
    sweep = smaller_luts.add("A", "B", carry="C")
    output = Field("B+C", 0, bits + 1, words)
    return _rowwise("add", kind, layout, rows, sweep, ("B", "C"), output)


@on_any_kind
def multiply(
    bits: int, rows: int, *, kind: ApKind | str = "2d", bits_b: int | None = None
) -> Function:
    """A * B of unsigned words: 2(Ma + (Mw-1)(4Ma-2)) instead of 8 Ma Mw."""
    bits_b = bits if bits_b is None else bits_b
    layout = Layout(A=bits, B=bits_b, P=bits + bits_b)
    sweep = smaller_luts.multiply("A", "B", "P")
    return _rowwise("multiply", kind, layout, rows, sweep, ("P",), layout["P"])


@on_any_kind
def relu(bits: int, rows: int, *, kind: ApKind | str = "2d") -> Function:
    """max(A, 0) without a flag column: 4M - 1 in all instead of 4M + 1."""
    layout = Layout(A=f"s{bits}")
    return _rowwise("relu", kind, layout, rows, smaller_luts.relu("A"), ("A",), layout["A"], ("A",))


@on_any_kind
def maximum(bits: int, rows: int, *, kind: ApKind | str = "2d", words: str = "u") -> Function:
    """B <- max(A, B): 6M + 2 instead of 8M + 2; `words` "u" or "o"."""
    layout = Layout(A=f"{words}{bits}", B=f"{words}{bits}", F1=1, F2=1)
    sweep = smaller_luts.maximum("A", "B", flags=FLAGS)
    return _rowwise("maximum", kind, layout, rows, sweep, ("B",), layout["B"])


@on_any_kind
def minimum(bits: int, rows: int, *, kind: ApKind | str = "2d", words: str = "u") -> Function:
    """B <- min(A, B): 6M + 2 instead of 8M + 2; `words` "u" or "o"."""
    layout = Layout(A=f"{words}{bits}", B=f"{words}{bits}", F1=1, F2=1)
    sweep = smaller_luts.minimum("A", "B", flags=FLAGS)
    return _rowwise("minimum", kind, layout, rows, sweep, ("B",), layout["B"])


def _rowwise(
    name: str,
    kind: ApKind | str,
    layout: Layout,
    rows: int,
    sweep: Operation,
    reads: Sequence[str],
    output: Field,
    inputs: tuple[str, ...] = ("A", "B"),
) -> Function:
    """Populate the inputs, sweep, read: a result in every row."""

    def arrange(*operands: ArrayLike) -> list[Words]:
        pairs = zip(inputs, operands, strict=True)
        return [layout[n].encode(expect_shape(n, v, (rows,))) for n, v in pairs]

    whole = ops.populate(*inputs) + sweep + ops.read(*reads)
    kind = ApKind.named(kind)
    return Function(name, kind, layout, rows, whole, inputs, output, np.arange(rows), arrange)
