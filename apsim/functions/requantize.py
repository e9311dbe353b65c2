"""Requantization: accumulators in, activations out, one in each row of an array.

The rule: a `Recipe` says everything before a program is made; words and the constants
that differ from row to row are populated, and nothing of a word decides a pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from apsim import ops
from apsim.ap_kind import ApKind
from apsim.errors import ProgramError
from apsim.functions.base import Function, Words, clear_scratch, expect_shape, on_any_kind
from apsim.layout import WIDEST, Field, Layout
from apsim.ops.requantize import DIRECTED, add_constant, by_sign, clamp, extend, round_off
from apsim.ops.steps import load
from apsim.program import Operation

__all__ = ["Recipe", "requantize"]


@dataclass(frozen=True)
class Recipe:
    """How an accumulator becomes an activation:

        x = word + bias                                 `bits` bits, signed or not
        p = x * multiplier + offset + constant          modulo 2**top
        q = round(floor(p / 2**dropped) / 2**shift) + plus        `width` bits, signed
        y = min(max(q, lo), hi)

    None stands for a constant that differs from row to row: `bias` or `multiplier`
    (then of `multiplier_bits` bits), and `offset` where `offsets` says so; they are
    populated.  The others are known to the controller.  `mode` and `parity` are those of
    `ops.requantize.round_off`.  A known multiplier other than 1 takes signed words in offset
    binary, and `constant` has to make up for it: -multiplier * 2**(bits - 1).  With `signs`
    y is the first of them where q is negative, else the second.
    """

    bits: int
    signed: bool
    width: int
    lo: int
    hi: int
    bias: int | None = 0
    multiplier: int | None = 1
    multiplier_bits: int = 0
    offsets: bool = False
    constant: int = 0
    dropped: int = 0
    shift: int = 0
    mode: str = "floor"
    parity: int = 0
    plus: int = 0
    signs: tuple[int, int] | None = None

    @property
    def top(self) -> int:
        """Columns of p that count: those of q, and those that are dropped."""
        return self.dropped + self.shift + self.width

    @property
    def product_bits(self) -> int:
        """Columns that the product fills."""
        if self.multiplier is None:
            return self.bits + self.multiplier_bits
        return self.bits + (self.multiplier.bit_length() if self.multiplier > 1 else 0)

    @property
    def result_bits(self) -> int:
        """Bits of y, unsigned where `lo` is 0 or more."""
        if self.lo >= 0:
            return max(self.hi.bit_length(), 1)
        return 1 + max(max(self.hi, 0).bit_length(), (-self.lo - 1).bit_length())

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields to populate: the words, then row constants, in the order of ports."""
        populated = {"N": self.bias is None, "M": self.multiplier is None, "K": self.offsets}
        return ("X", *(name for name, used in populated.items() if used))


@on_any_kind
def requantize(recipe: Recipe, rows: int, *, kind: ApKind | str = "2d") -> Function:
    """Activations of `rows` accumulators; operands are the words, then each row constant.

    Scratch is cleared first.  Raises `ProgramError` where a product is wider than a field.
    """
    layout = _layout(recipe)

    def arrange(words: ArrayLike, *constants: ArrayLike) -> list[Words]:
        x = layout["X"].encode(expect_shape("X", words, (rows,)))
        named = zip(recipe.fields[1:], constants, strict=True)
        return [x, *(_modulo(expect_shape(n, v, (rows,)), layout[n].width) for n, v in named)]

    return Function(
        "requantize", ApKind.named(kind), layout, rows, _whole(recipe), recipe.fields,
        layout["Y"], np.arange(rows), arrange,
    )  # fmt: skip


def _modulo(values: ArrayLike, width: int) -> Words:
    """Patterns of `width` bits that equal integers modulo 2**width."""
    return np.asarray(values, np.int64).astype(np.uint64) & np.uint64((1 << width) - 1)


def _layout(recipe: Recipe) -> Layout:
    """The product P from column 0, operands beside it, row constants where operands are dead.

    Without a multiplication the product is X itself.  V is what counts of P, R what is
    rounded, Q the activation before and Y after the clamp, U the pattern of X and F where it
    stands in P for the lowest 1 of a known multiplier.
    """
    wide = max(recipe.product_bits, recipe.top)
    if wide > WIDEST:
        raise ProgramError(
            f"requantize: products of {wide} bits (accumulators of {recipe.bits}); a field has "
            f"{WIDEST} columns"
        )
    at = wide if recipe.multiplier != 1 else 0
    fields = [*_product(recipe, wide), *_operands(recipe, at, wide)]
    end = max(field.column + field.width for field in fields)
    result = Field(
        "Y",
        end + 1 if recipe.signs else recipe.dropped + recipe.shift,
        recipe.result_bits,
        "u" if recipe.lo >= 0 else "s",
    )
    return Layout.of(*fields, Field("C", end, 1), result, overlap=True)


def _product(recipe: Recipe, wide: int) -> Iterator[Field]:
    yield Field("P", 0, wide, "s" if recipe.signed else "u")
    yield Field("V", 0, recipe.top)
    yield Field("R", recipe.dropped, recipe.shift + recipe.width, "s")
    yield Field("Q", recipe.dropped + recipe.shift, recipe.width, "s")
    if recipe.multiplier and recipe.multiplier > 1:
        lowest = (recipe.multiplier & -recipe.multiplier).bit_length() - 1
        yield Field("F", lowest, recipe.bits)


def _operands(recipe: Recipe, at: int, wide: int) -> Iterator[Field]:
    """X at column `at`; N and M beside it, one after the other; K over all of them."""
    kind = "u" if not recipe.signed else "o" if _offset(recipe) else "s"
    yield Field("X", at, recipe.bits, kind)
    yield Field("U", at, recipe.bits)
    beside = max(at + recipe.bits, wide)
    row_constants = {
        "N": Field("N", beside, recipe.bits),
        "M": Field("M", beside, max(recipe.multiplier_bits, 1)),
        "K": Field("K", wide, recipe.top),
    }
    yield from (row_constants[name] for name in recipe.fields[1:])


def _offset(recipe: Recipe) -> bool:
    return recipe.multiplier not in (None, 1)


def _whole(recipe: Recipe) -> Operation:
    """The program: populate, compute, read out."""
    start = Operation("clear", lambda lay: clear_scratch(lay, recipe.fields))
    whole, dirty = start + _populate(recipe, "X"), False
    for operation, carries in _compute(recipe):
        whole = whole + ops.clear("C") + operation if carries and dirty else whole + operation
        dirty = dirty or carries
    return whole + _result(recipe) + ops.read("Y")


def _result(recipe: Recipe) -> Operation:
    if recipe.signs:
        return by_sign("Q", "Y", negative=recipe.signs[0], positive=recipe.signs[1])
    return clamp("Q", recipe.lo, recipe.hi, result="Y")


def _compute(recipe: Recipe) -> Iterator[tuple[Operation, bool]]:
    """What is done to the words, each with whether it wants the carry column clean."""
    if recipe.bias is None:
        yield _populate(recipe, "N"), False
        yield ops.add("N", "X", carry="C"), True
    elif recipe.bias:
        yield add_constant("X", recipe.bias, carry="C"), True
    if recipe.multiplier is None:
        yield _populate(recipe, "M") + ops.multiply("M", "X", "P"), False
    elif recipe.multiplier > 1:
        yield _multiplied(recipe.multiplier), False
    if recipe.signed and not _offset(recipe) and recipe.top > recipe.product_bits:
        yield extend("V", recipe.product_bits), False
    if recipe.offsets:
        yield _populate(recipe, "K"), False
        yield ops.add("K", "V", carry="C"), True
    if recipe.constant % (1 << recipe.top):
        yield add_constant("V", recipe.constant, carry="C"), True
    if recipe.shift:
        yield (
            round_off(
                "R", recipe.shift, recipe.mode, carry="C", parity=recipe.parity, plus=recipe.plus
            ),
            recipe.mode in DIRECTED,
        )


def _multiplied(multiplier: int) -> Operation:
    """U times a known constant: a copy for its lowest 1 (P is clean), additions for the others."""
    rest = multiplier & (multiplier - 1)
    first = ops.copy("U", "F", clean=True)
    return first + ops.multiply_by(rest, "U", "P") if rest else first


def _populate(recipe: Recipe, name: str) -> Operation:
    """Write one field from its port, when its columns are free."""
    port = recipe.fields.index(name)
    return Operation(f"populate {name}", lambda lay: list(load(lay[name], port)))
