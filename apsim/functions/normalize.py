"""Softmax, layer norm and RMS norm of groups of words, in integers, one word in each row.

The rule: every quotient is exact and rounded once; nothing is approximated but the
exponential, which is a table.  A group is T (or d) rows; its sums are taken in its first row
by moves and horizontal additions, for a vertical addition would add all columns of the rows,
those of words that are still wanted as well.  Segments move at once.

Definitions (s, x signed words; div is the floor of a quotient):

    softmax     e = table[max(s) - s],  Z = sum e,     p = min((512 e + Z) div 2Z, 255)
    ITA's       e = 256 >> k,           Z = sum e,     p = (65280 div Z) >> k
    layer norm  c = d x - sum x,        V = d sum x^2 - (sum x)^2
    RMS norm    c = d x,                V = d sum x^2
    both norms  R = max(floor(sqrt V), 1),  y = sgn(c) min((64 |c| + R) div 2R, 127)

The unit of p is 1/256, that of y 1/32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apsim import ops
from apsim.ap_kind import ApKind
from apsim.arguments import checked
from apsim.errors import InputError
from apsim.functions.base import (
    Function,
    Patterns,
    Words,
    cleared,
    expect_shape,
    in_rows,
    on_any_kind,
)
from apsim.layout import Field, Layout
from apsim.lut.model import WIDEST_INPUT
from apsim.program import Operation

__all__ = ["exponential", "ita_softmax", "layer_norm", "norm_quotient", "rms_norm", "softmax"]

PROBABILITY, MAGNITUDE = 8, 7  # bits of p, and of |y|
SOFTMAX_QUOTIENT = PROBABILITY + 2  # 512 e div Z, which is 512 at most
FLAGS = ("F1", "F2")
POWER, HALF = 9, 65280  # bits of 256 >> k; ITA's dividend, 255 in units of 1/256


@checked
def exponential(scale: float, bits: int = 8) -> tuple[int, ...]:
    """Table of exp(-scale * k) for words k of `bits` bits, in 8 bits where 255 stands for 1."""
    if not 1 <= bits <= WIDEST_INPUT:
        raise InputError(f"exponential: wanted 1 to {WIDEST_INPUT} bits, got {bits}")
    return tuple(math.floor(255 * math.exp(-scale * k) + 0.5) for k in range(1 << bits))


@on_any_kind
def softmax(
    values: Sequence[int],
    bits: int,
    size: int,
    groups: int,
    *,
    kind: ApKind | str = "2d",
    broadcast: str = "group",
    method: str | None = None,
    masked: bool = False,
    clear: bool = False,
) -> Function:
    """Probabilities u8 [groups, size] of signed scores [groups, size] of `bits` bits.

    `values` is the table of the exponential, one of 8 bits for each of the 2**bits differences
    from the largest score (`exponential`), `method` how its passes are found (`ops.table`);
    `broadcast` is a key of `ops.rows.BROADCASTS`;
    `clear` clears scratch first, in one write, for used arrays.  `masked` functions take a flag
    [groups, size] beside each score, 1 where it has no part (a write and two passes more).
    Raises `InputError` for a table that lets the divisor be 0, and where a group is all masked.
    """
    kind, block, table = ApKind.named(kind), ops.Groups(groups, size), tuple(values)
    if not table or table[0] < 1:
        raise InputError(f"softmax: wanted a table that is 1 or more at 0, got {table[:1]}")
    layout = _softmax_layout(bits, PROBABILITY + (size - 1).bit_length(), masked)
    shared = _Shared(block, kind, broadcast)
    exponentials = ops.table(table, "K", "E", method=method)
    if masked:
        exponentials = exponentials + ops.clear_where("L", "E")
    whole = (
        shared.below_the_largest(masked)
        + exponentials
        + ops.copy("E", "TE", clean=True)
        + shared.total("T", PROBABILITY)
        + shared.broadcast("T", "Z")
        + ops.copy("E", "NE", clean=True)
        + ops.divide("N", "Z", "Q", carry="C")
        + _rounded("Q", "H", PROBABILITY)
        + ops.read("P")
    )
    made = _function("softmax", layout, shared, whole, layout["P"], clear)
    return _with_mask(made, shared.groups, clear) if masked else made


def _with_mask(function: Function, block: ops.Groups, clear: bool) -> Function:
    """The same with a flag beside each score, of which it clears nothing."""
    shape, scores = (block.count, block.size), function.arrange

    def arrange(a: ArrayLike, flags: ArrayLike) -> list[Patterns]:
        mask = expect_shape("mask", flags, shape)
        if mask.astype(bool).all(axis=1).any() or not np.isin(mask, (0, 1)).all():
            raise InputError("softmax: wanted a mask of 0 and 1, with a 0 in each group")
        return [*scores(a), in_rows(mask.astype(np.uint64), block.rows)]

    return replace(function, inputs=("A", "L"), arrange=arrange)


def _softmax_layout(bits: int, width: int, masked: bool) -> Layout:
    """A scores, L flags of those that are masked, X a copy of A, Y what is moved, the largest
    score and then differences (K); E exponentials, T their sum, D what is added, Z the divisor,
    N and Q the division."""
    at = _Columns()
    a, x, y = (at.take(name, bits, "o") for name in "AXY")
    c, f1, f2 = (at.take(name, 1) for name in ("C", *FLAGS))
    e, t, d, z = (at.take(*one) for one in (("E", 8), ("T", width), ("D", width), ("Z", width)))
    n, q = at.take("N", SOFTMAX_QUOTIENT + width), at.take("Q", SOFTMAX_QUOTIENT)
    fields = [a, x, y, c, f1, f2, e, t, d, z, n, q, *([at.take("L", 1)] if masked else [])]
    parts = (
        Field("K", y.column, bits),
        Field("TE", t.column, PROBABILITY),
        Field("NE", n[PROBABILITY + 1], PROBABILITY),
        Field("H", q[1], SOFTMAX_QUOTIENT - 1),
        Field("P", q[1], PROBABILITY),
    )
    return Layout.of(*fields, *parts, overlap=True)


@on_any_kind
def ita_softmax(
    bits: int,
    size: int,
    groups: int,
    *,
    kind: ApKind | str = "2d",
    shift: int = 0,
    broadcast: str = "group",
    clear: bool = False,
) -> Function:
    """ITA's softmax u8 [groups, size] of signed scores of `bits` bits, in powers of two.

    k is the difference from the largest score, over 2**shift and rounded half up: scores are
    in units of ln 2 / 2**shift.  Options as those of `softmax`.  Source: ITA, arXiv 2307.03493;
    its streaming form adds in another order, and is another function.  Raises `InputError` for a
    shift that is not 0 to 32.
    """
    if not 0 <= shift <= 32:
        raise InputError(f"ITA softmax: wanted a shift of 0 to 32, got {shift}")
    kind, block = ApKind.named(kind), ops.Groups(groups, size)
    powers = tuple(256 >> ((d + (1 << shift) // 2) >> shift) for d in range(1 << bits))
    shared = _Shared(block, kind, broadcast)
    whole = (
        shared.below_the_largest()
        + ops.table(powers, "K", "E")
        + ops.copy("E", "TE", clean=True)
        + shared.total("T", POWER)
        + shared.broadcast("T", "Z")
        + ops.preset({"N": HALF})
        + ops.divide("N", "Z", "Q", carry="C")
        + ops.shift_by_flags("E", "Q", "P")
        + ops.read("P")
    )
    layout = _ita_layout(bits, POWER + (size - 1).bit_length())
    return _function("ITA softmax", layout, shared, whole, layout["P"], clear)


def _ita_layout(bits: int, width: int) -> Layout:
    """As a softmax's, with powers of two E and a field for their shifted reciprocals P."""
    at = _Columns()
    a, x, y = (at.take(name, bits, "o") for name in "AXY")
    fields = [a, x, y, *(at.take(name, 1) for name in ("C", *FLAGS)), at.take("E", POWER)]
    t, d, z = (at.take(name, width) for name in "TDZ")
    fields += [t, d, z, at.take("N", PROBABILITY + width), at.take("Q", PROBABILITY)]
    parts = Field("K", y.column, bits), Field("TE", t.column, POWER)
    return Layout.of(*fields, at.take("P", PROBABILITY), *parts, overlap=True)


def norm_quotient(size: int, centred: bool = True) -> int:
    """Quotient bits that 64 |c| div R needs, c and R as of a norm over `size` words.

    c^2 <= (d - 1) V (layer norm) or d V (RMS norm), and V is that factor at least where c is
    not 0, so that the quotient is at most 64 sqrt(factor) (R + 1) / R.
    """
    factor = size - centred
    least = max(math.isqrt(factor), 1)
    most = math.isqrt(factor * (64 * (least + 1)) ** 2) // least
    return max(most.bit_length(), MAGNITUDE + 2)


@on_any_kind
def layer_norm(
    bits: int,
    size: int,
    groups: int,
    *,
    kind: ApKind | str = "2d",
    broadcast: str = "group",
    clear: bool = False,
) -> Function:
    """Layer norm s8 [groups, size] of signed words [groups, size] of `bits` bits.

    Options as those of `softmax`.  A size of many digits (`ops.constants`) takes more passes.
    """
    at, block = _Norm(bits, size, True), ops.Groups(groups, size)
    shared = _Shared(block, ApKind.named(kind), broadcast)
    whole = (
        ops.populate("A")
        + ops.copy("U", "TU", clean=True)
        + shared.total("T", bits)
        + ops.square("U", "S")
        + shared.total("P", 2 * bits)
        + ops.clear("G")
        + ops.square("T", "G")
        + ops.constant_multiple(size, "P", "V0", carry="C")
        + ops.subtract("GV", "V", borrow="C")
        + ops.clear("C", "P", "D")
        + ops.square_root("V", "R", carry="C")
        + ops.at_least_one("R")
        + shared.broadcast("T", "M")
        + shared.broadcast("R", "Z")
        + ops.constant_multiple(size, "U", "B", carry="C")
        + ops.subtract("M", "B", borrow="I")
        + ops.negate_where("I", "B", carry="C")
        + ops.clear("C", "V0")
        + ops.copy("B", "NB", clean=True)
        + _quotient()
    )
    return _function("layer norm", at.layout(), shared, whole, _signed_result(), clear)


@on_any_kind
def rms_norm(
    bits: int,
    size: int,
    groups: int,
    *,
    kind: ApKind | str = "2d",
    broadcast: str = "group",
    clear: bool = False,
) -> Function:
    """Root mean square norm s8 [groups, size] of signed words of `bits` bits; as `layer_norm`."""
    at, block = _Norm(bits, size, False), ops.Groups(groups, size)
    shared = _Shared(block, ApKind.named(kind), broadcast)
    whole = (
        ops.populate("A")
        + ops.copy("AI", "I", clean=True)
        + ops.negate_where("I", "U", carry="C")
        + ops.square("U", "S")
        + shared.total("P", 2 * bits)
        + ops.constant_multiple(size, "P", "V0", carry="NC")
        + ops.clear("C", "P", "D")
        + ops.square_root("V", "R", carry="C")
        + ops.at_least_one("R")
        + shared.broadcast("R", "Z")
        + ops.constant_multiple(size, "U", "NU", carry="C")
        + _quotient()
    )
    return _function("RMS norm", at.layout(), shared, whole, _signed_result(), clear)


def _quotient() -> Operation:
    """From 64 |c| in N and R in Z to 7 bits and a sign."""
    divided = ops.divide("N", "Z", "Q", carry="C") + _rounded("Q", "H", MAGNITUDE)
    return divided + ops.read("Y", "I")


@dataclass(frozen=True)
class _Norm:
    """Where the words of a norm lie: `bits` bits, groups of `size`, with a mean or without."""

    bits: int
    size: int
    centred: bool

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"a norm: wanted groups of one word at least, got {self.size}")
        if self.wide - self.centred < 1:
            raise InputError("a layer norm of one word: wanted 2 bits at least, got 1")

    @property
    def wide(self) -> int:
        """Bits of a sum of as many words as a group has."""
        return self.bits + (self.size - 1).bit_length()

    def layout(self) -> Layout:
        """A words (U their pattern), T their sum, P squares (S) and their sum, D what is added,
        G the square of the sum (begins where D is dead), V the variance, R its root, M and Z
        what is broadcast, B the centred word, I its sign, N and Q the division.

        Columns of P, D and V are used again: the carry has to be cleared twice, and a write
        clears as many columns as one wants.  R and Q are preset and may stand anywhere.
        """
        at, wide, sums = _Columns(), self.wide, self.bits + self.wide
        n, q = wide - self.centred, norm_quotient(self.size, self.centred)
        a = at.take("A", self.bits, "o" if self.centred else "s")
        p, v = at.take("P", sums), at.take("V0", 2 * wide)
        d = at.take("D", 2 * wide if self.centred else sums)
        c, i, r = at.take("C", 1), at.take("I", 1), at.again("R", n, d)
        parts = [
            Field("U", a.column, self.bits),
            Field("AI", a[-1], 1),
            Field("S", p.column, 2 * self.bits),
            Field("V", v.column, 2 * n),
        ]
        rest = self._of_mean(at, p, v, d, q) if self.centred else self._plain(at, p, v, q)
        result = next(field for field in rest if field.name == "Q")
        parts += [Field("H", result[1], q - 1), Field("Y", result[1], MAGNITUDE)]
        return Layout.of(a, p, v, d, c, i, r, *rest, *parts, overlap=True)

    def _of_mean(self, at: _Columns, p: Field, v: Field, d: Field, q: int) -> list[Field]:
        wide = self.wide
        t, b = at.take("T", wide), at.take("B", wide)
        number = at.again("N", q + wide - 1, v)
        return [
            t, b, number, at.again("M", wide, p), at.again("Z", wide - 1, d), at.again("Q", q, t),
            Field("TU", t.column, self.bits),
            Field("G", d.column, 2 * wide),
            Field("GV", d.column, 2 * wide - 2),
            Field("NB", number[MAGNITUDE - 1], wide),
        ]  # fmt: skip

    def _plain(self, at: _Columns, p: Field, v: Field, q: int) -> list[Field]:
        number = at.take("N", q + self.wide)
        parts = [
            Field("NC", number.column, 1),  # the carry of a product before N is wanted
            Field("NU", number[MAGNITUDE - 1], self.wide),
        ]
        return [number, *parts, at.again("Z", self.wide, p), at.again("Q", q, v)]


class _Columns:
    """Columns given out one field after another."""

    def __init__(self) -> None:
        self.used = 0
        self.left: dict[str, range] = {}

    def take(self, name: str, width: int, kind: str = "u") -> Field:
        self.used += width
        return Field(name, self.used - width, width, kind)

    def again(self, name: str, width: int, dead: Field) -> Field:
        """Columns of a field that is dead by then, or new ones where it has too few left."""
        left = self.left.get(dead.name, dead.columns)
        if width > len(left):
            return self.take(name, width)
        self.left[dead.name] = left[width:]
        return Field(name, left[0], width)


@dataclass(frozen=True)
class _Shared:
    """What the rows of a group do together."""

    groups: ops.Groups
    kind: ApKind
    option: str

    def below_the_largest(self, masked: bool = False) -> Operation:
        """Y <- the largest A of the group less A, by way of X; A is least where L masks it."""
        populated = ops.populate("A")
        if masked:
            populated = ops.populate("A", "L") + ops.clear_where("L", "A")
        return (
            populated
            + ops.copy("A", "X", clean=True)
            + ops.largest(
                "X", other="Y", flags=FLAGS, groups=self.groups, kind=self.kind, scheme="moves"
            )
            + ops.clear("Y")
            + self.broadcast("X", "Y")
            + ops.subtract("A", "Y", borrow="C")
        )

    def total(self, word: str, bits: int) -> Operation:
        """The sum of `word`, of `bits` bits, in the first row of each group."""
        return ops.accumulate(
            word, bits=bits, addend="D", groups=self.groups, kind=self.kind, by_moves=True
        )

    def broadcast(self, word: str, to: str) -> Operation:
        """`to` of every row <- `word` of its group's first row."""
        return ops.broadcast(word, to, groups=self.groups, kind=self.kind, option=self.option)


def _rounded(quotient: str, half: str, bits: int) -> Operation:
    """(Q + 1) >> 1 in the columns of `half`, those of Q but the lowest, within `bits` bits."""
    return ops.round_off(quotient, 1, "half-up", carry="C") + ops.saturate(half, bits)


class _SignAndMagnitude(Field):
    """A word whose top bit says whether the number below it is negative."""

    def decode(self, patterns: Words) -> NDArray[np.int64]:
        words = patterns.astype(np.int64)
        top = 1 << (self.width - 1)
        return np.where(words & top, -(words & (top - 1)), words)


def _signed_result() -> Field:
    return _SignAndMagnitude("Y+I", 0, MAGNITUDE + 1)


def _function(
    name: str, layout: Layout, shared: _Shared, whole: Operation, output: Field, clear: bool
) -> Function:
    block = shared.groups
    shape = block.count, block.size

    def arrange(a: ArrayLike) -> list[Patterns]:
        return [in_rows(layout["A"].encode_narrow(expect_shape("A", a, shape)), block.rows)]

    made = Function(
        name, shared.kind, layout, block.rows, whole, ("A",), output, np.arange(block.rows),
        arrange, shape=shape,
    )  # fmt: skip
    return cleared(made) if clear else made
