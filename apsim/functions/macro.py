"""Dot products and matrix products (paper, III.B.2; eqs. 6-8).

The rule: a row for each product, a group of rows for each result; groups are
independent, and every result takes its own j products and j - 1 additions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from apsim import ops
from apsim.ap_kind import ApKind
from apsim.arguments import checked
from apsim.functions.base import Function, Words, clear_scratch, expect_shape, in_rows, on_any_kind
from apsim.functions.sums import merge_layout, product_layout
from apsim.ops.reduction import carry_rows
from apsim.ops.rows import loop
from apsim.ops.steps import read_out, store_row, take_row
from apsim.program import Operation

__all__ = ["dot", "dot_products", "matmul", "merge"]


@on_any_kind
def dot_products(
    bits: int,
    groups: int,
    length: int,
    *,
    kind: ApKind | str = "2d",
    bits_b: int | None = None,
    words: str = "u",
    words_b: str = "u",
    clear: bool = False,
    partial: bool = False,
) -> Function:
    """`groups` dot products of `length` words: operands [groups, length] twice.

    Scratch is cleared first where `clear` says so, and where the product of an unsigned
    and a signed word needs its top bit preset (one write, either way).  With `partial`
    the sums are read word-sequentially, as they stand (biased), for `merge`.
    """
    kind, bits_b = ApKind.named(kind), bits if bits_b is None else bits_b
    place = product_layout(bits, bits_b, length, kind, words, words_b)
    layout, block = place.layout, ops.Groups(groups, length)
    rows = block.rows + carry_rows(kind) * (length > 1)
    preset = bits + bits_b - 1 if words != words_b else -1
    whole = ops.populate("A", "B") + ops.multiply("A", "B", "X") + ops.accumulate(
        "P", bits=bits + bits_b, addend="D", clean="Z", groups=block, kind=kind
    ) + (_take_sums(block) if partial else ops.read("P"))  # fmt: skip
    if clear or preset >= 0:
        whole = Operation(
            "clear scratch", lambda lay: clear_scratch(lay, ("A", "B"), preset)
        ) + whole  # fmt: skip

    def arrange(a: ArrayLike, b: ArrayLike) -> list[Words]:
        both = (expect_shape(n, v, (groups, length)) for n, v in (("A", a), ("B", b)))
        return [in_rows(layout[n].encode(v), rows) for n, v in zip("AB", both, strict=True)]

    signed = layout["X"].kind == "o"
    unbias = length << (bits + bits_b - 1) if signed and not partial else 0
    places = np.arange(groups) if partial else block.first_rows
    return Function(
        "dot products", kind, layout, rows, whole, ("A", "B"), layout["P"], places, arrange,
        unbias, (groups,),
    )  # fmt: skip


def _take_sums(block: ops.Groups) -> Operation:
    """Read the sum in the first row of each group as a word."""
    table = block.first_rows[:, None]
    return Operation(
        "read sums", lambda layout: [loop([take_row(0, layout["P"])], table, parallel=False)]
    )


@on_any_kind
def merge(bits: int, groups: int, count: int, width: int, *, kind: ApKind | str = "2d") -> Function:
    """Add up `count` partial sums of `bits` bits in each of `groups` groups, to `width` bits.

    The words, [groups, count] and unsigned as they were taken, are written
    word-sequentially after scratch is cleared; the sums are read bit by bit.
    """
    kind, block = ApKind.named(kind), ops.Groups(groups, count)
    layout = merge_layout(bits, count, kind)
    total = layout["P"].part(0, min(width, layout["P"].width))
    table = np.arange(block.rows, dtype=np.int64)[:, None]
    whole = (
        Operation("clear scratch", lambda lay: clear_scratch(lay, ()))
        + Operation("write words", lambda lay: [loop([store_row(0, lay["W"])], table, False)])
        + ops.accumulate("P", bits=bits, addend="D", clean="Z", groups=block, kind=kind)
        + Operation("read sums", lambda lay: list(read_out(total, 0)))
    )

    def arrange(words: ArrayLike) -> list[Words]:
        return [in_rows(layout["W"].encode(expect_shape("words", words, (groups, count))), rows)]

    rows = block.rows + carry_rows(kind) * (count > 1)
    return Function("merge", kind, layout, rows, whole, ("W",), total, block.first_rows, arrange)


@on_any_kind
def matmul(
    bits: int,
    i: int,
    j: int,
    u: int,
    *,
    kind: ApKind | str = "2d",
    bits_b: int | None = None,
    words: str = "u",
    words_b: str = "u",
    clear: bool = False,
) -> Function:
    """[i, j] times [j, u] (eqs. 6-8), in one load of i*j*u rows (and a carry row on `2d`)."""
    inner = dot_products(
        bits, i * u, j, kind=kind, bits_b=bits_b, words=words, words_b=words_b, clear=clear
    )

    def arrange(a: ArrayLike, b: ArrayLike) -> list[Words]:
        left, right = expect_shape("A", a, (i, j)), expect_shape("B", b, (j, u))
        left = np.broadcast_to(left[:, None, :], (i, u, j)).reshape(i * u, j)
        right = np.broadcast_to(right.T[None, :, :], (i, u, j)).reshape(i * u, j)
        return list(inner.arrange(left, right))

    return Function(
        "matmul", inner.kind, inner.layout, inner.rows, inner.operation, inner.inputs,
        inner.output, inner.places, arrange, inner.unbias, (i, u),
    )  # fmt: skip


@checked
def dot(bits: int, j: int, **options: object) -> Function:
    """The dot product of two vectors of j words: `matmul` with i = u = 1."""
    return dot_products(bits, 1, j, **options)  # type: ignore[arg-type]
