"""Words times constants that the controller knows: signed digits, each an addition or subtraction.

The rule: a constant is in no column; the controller issues passes for its digits that are not
0, and for nothing else.  An accumulator is preset, so that whatever the words are it never
falls below 0 or leaves its columns: then every carry ends inside, and the carry column holds 0
again after each digit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from apsim.errors import ProgramError
from apsim.layout import Field, Layout
from apsim.ops.steps import passes
from apsim.program import Item, Mode, Op, Operation, Step, by_value

__all__ = [
    "add_constant_multiple", "add_short", "canonical_digits", "constant_multiple", "preset",
]  # fmt: skip


def canonical_digits(constant: int) -> Iterator[tuple[int, int]]:
    """Places k and signs d (1 or -1) of the canonical signed digits of a constant.

    >>> list(canonical_digits(7)), list(canonical_digits(-5))
    ([(0, -1), (3, 1)], [(0, -1), (2, -1)])
    """
    place = 0
    while constant:
        if constant & 1:
            digit = 2 - constant % 4
            yield place, digit
            constant -= digit
        constant >>= 1
        place += 1


@by_value
def add_constant_multiple(
    constant: int, a: str, product: str, *, carry: str, end: int | None = None
) -> Operation:
    """P <- P + constant * A, A unsigned or offset binary and kept, the carry column 0 before and
    after.

    For each digit 2 passes on bit 0 of A, 4 on each other, 2 for each bit of P above them: P
    must be so preset (`preset`) that no sum is negative or too wide.  {-1, 0, 1} is one digit
    at most.  `end` is how many columns of P hold all that P can be by then: no carry goes on
    from there.  Raises `ProgramError` where a digit reaches beyond P.
    """

    def build(layout: Layout) -> Iterator[Item]:
        word, target, out = layout[a], layout[product], layout[carry]
        if word.kind == "s" or out.width != 1:
            raise ProgramError(
                f"add_constant_multiple: wanted {a} unsigned or offset binary and one column for "
                f"{carry}, got {word} and {out}"
            )
        for place, digit in canonical_digits(constant):
            if place + word.width > _within(end, target):
                raise ProgramError(
                    f"add_constant_multiple: wanted {place + word.width} columns for {product} at "
                    f"least, got {_within(end, target)}"
                )
            columns = target.columns[: _within(end, target)]
            yield from _digit(word, columns, out[0], place, digit > 0)

    return Operation(f"add {constant} {a} to {product}", lambda layout: list(build(layout)))


@by_value
def constant_multiple(constant: int, a: str, product: str, *, carry: str) -> Operation:
    """P <- constant * A, A unsigned and kept, P clean, the carry column 0 before and after.

    The highest digit is copied, one pass a bit; the others follow downwards as in
    `add_constant_multiple`, so that no sum is negative, and none too wide where P has
    ceil(log2(constant)) columns more than A.  Raises `ProgramError` for a constant below 1 and
    where a digit reaches beyond P.
    """

    def build(layout: Layout) -> Iterator[Item]:
        word, target, out = layout[a], layout[product], layout[carry]
        if constant < 1 or word.kind != "u" or out.width != 1:
            raise ProgramError(
                f"constant_multiple: wanted a constant of 1 or more, {a} unsigned and one column "
                f"for {carry}, got {constant}, {word} and {out}"
            )
        *lower, (top, _) = canonical_digits(constant)
        need = word.width + max(top, (constant - 1).bit_length())
        if need > target.width:
            raise ProgramError(
                f"constant_multiple: wanted {need} columns for {product}, got {target.width}"
            )
        for k in range(word.width):
            yield from passes("copy_clean", {"A": word[k], "B": target[top + k]}, bit=top + k)
        for place, digit in reversed(lower):
            yield from _digit(word, target.columns, out[0], place, digit > 0)

    return Operation(f"{product} <- {constant} {a}", lambda layout: list(build(layout)))


def _within(end: int | None, field: Field) -> int:
    """How many columns of a field are reached."""
    return field.width if end is None else min(end, field.width)


def _digit(
    word: Field, target: Sequence[int], carry: int, place: int, plus: bool
) -> Iterator[Step]:
    """A word added at a place of columns, or subtracted, the carry rippling to their end."""
    first, other, onward = (
        ("add_first", "add", "increment") if plus else ("sub_first", "sub", "decrement")
    )
    for k in range(word.width):
        lines = {"A": word[k], "B": target[place + k], "C": carry}
        yield from passes(other if k else first, lines, bit=place + k)
    for k in range(place + word.width, len(target)):
        yield from passes(onward, {"B": target[k], "C": carry}, bit=k)


@by_value
def add_short(
    short: str, product: str, *, carry: str, bits: int | None = None, end: int | None = None
) -> Operation:
    """P <- P + Q, Q narrower and left destroyed: 2 passes for bit 0, 3 for others, 2 for a ripple.

    `bits` columns of Q hold all that Q can be, and `end` columns of P the sum.  The carry column
    holds 0 before and, where the sum fits P, after.
    """

    def build(layout: Layout) -> Iterator[Item]:
        source, target, out = layout[short], layout[product], layout[carry][0]
        if source.width > target.width:
            raise ProgramError(
                f"add_short: wanted {short} no wider than {product}, "
                f"got {source.width} and {target.width} columns"
            )
        for k in range(_within(bits, source)):
            lines = {"A": source[k], "B": target[k], "C": out}
            yield from passes("fa3" if k else "ha2d", lines, bit=k)
        for k in range(_within(bits, source), _within(end, target)):
            yield from passes("increment", {"B": target[k], "C": out}, bit=k)

    return Operation(f"add {short} to {product}", lambda layout: list(build(layout)))


@by_value
def preset(values: dict[str, int]) -> Operation:
    """Fields <- constants, in every row and all in one write."""

    def build(layout: Layout) -> list[Item]:
        bits = []
        for name, value in values.items():
            field = layout[name]
            if value < 0 or value >> field.width:
                raise ProgramError(f"preset: {name} has {field.width} columns, got {value}")
            bits += [(column, value >> k & 1) for k, column in enumerate(field.columns)]
        text = ", ".join(f"{name} <- {value}" for name, value in values.items())
        return [Step(Op.WRITE_ALL, Mode.HORIZONTAL, (), tuple(bits), label="preset", text=text)]

    return Operation(f"preset {', '.join(values)}", build)
