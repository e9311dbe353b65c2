"""Where the words of a sum lie, on each AP kind (microcode of `apsim.ops.reduction`).

The rule: the sum's field P begins at column 0 and has room to grow; the column above
it is clean (2D kinds); operands lie where addends will be moved once they are dead.
"""

from __future__ import annotations

from dataclasses import dataclass

from apsim.ap_kind import ApKind
from apsim.layout import Field, Layout

__all__ = ["SumLayout", "merge_layout", "product_layout", "sum_layout"]


@dataclass(frozen=True)
class SumLayout:
    """Fields A and B (operands), P (sum), C (P's column for the first carry), D, Z."""

    layout: Layout
    width: int


def growth(words: int) -> int:
    """Columns that the sum of so many words needs beside theirs: ceil(log2 words)."""
    return (words - 1).bit_length()


def sum_layout(bits: int, words: int, kind: ApKind, coding: str, quotient: int = 0) -> SumLayout:
    """Two words of `bits` bits in each row, summed over `words` words; B is P's low part.

    `quotient` columns hold the product of an in-place division; they lie below the
    operands, out of which vertical carries may run upwards.
    """
    width = bits + growth(words)
    fields = [
        Field("P", 0, width),
        Field("B", 0, bits, coding),
        Field("C", bits, 1),
        *_scratch(max(width, bits + 1), bits, kind, quotient),  # one word's sum has no carry of it
    ]
    at = next(field for field in fields if field.name == "D").column
    fields.append(Field("A", at, bits, coding))
    return SumLayout(Layout.of(*fields, overlap=True), width)


def product_layout(
    bits_a: int, bits_b: int, words: int, kind: ApKind, code_a: str, code_b: str
) -> SumLayout:
    """Two operands and their product in each row, summed over `words` rows.

    The product is offset binary where an operand is signed; P's low part is the product.
    """
    product = bits_a + bits_b
    width = product + growth(words)
    fields = [
        Field("P", 0, width),
        Field("X", 0, product, "u" if code_a + code_b == "uu" else "o"),
        *_scratch(width, product, kind),
    ]
    at = next(field for field in fields if field.name == "D").column
    fields += [Field("A", at, bits_a, code_a), Field("B", at + bits_a, bits_b, code_b)]
    return SumLayout(Layout.of(*fields, overlap=True), width)


def merge_layout(bits: int, words: int, kind: ApKind) -> Layout:
    """Words W of `bits` bits, one in each row, and P, with room for the sum of so many."""
    width = bits + growth(words)
    fields = [Field("P", 0, width), Field("W", 0, bits), *_scratch(width, 1, kind)]
    return Layout.of(*fields, overlap=True)


def _scratch(width: int, operands: int, kind: ApKind, quotient: int = 0) -> list[Field]:
    """The clean column above the sum, a quotient, and the place of addends and operands."""
    carry_save = kind.vertical and not kind.chain
    fields = [Field("Z", width, 1)] if carry_save else []
    if quotient:
        fields.append(Field("Q", width + carry_save, quotient))
    at = width + carry_save + quotient
    if carry_save:
        return [*fields, Field("D", at, max(width, operands))]
    if kind.chain:  # nothing is ever moved
        return [*fields, Field("D", at, operands)]
    return [*fields, Field("D", at, max(width - 1, operands))]  # moved words lack the last carry
