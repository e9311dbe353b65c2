"""Addition, subtraction, multiplication and copies between fields, in every row at once.

The rule: every bit is a sweep of LUT passes; the operands' kinds choose the LUT, and
scratch columns (carry, product) must hold 0 on entry, which `clear` sees to for one write.
Microprograms: BF-IMNA eqs. (1) and (2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from apsim.counts import Phase
from apsim.errors import ProgramError
from apsim.layout import Field, Layout
from apsim.ops.steps import load, passes, read_out, reset
from apsim.program import Item, Mode, Op, Operation, Step, by_value

__all__ = [
    "add",
    "clear",
    "copy",
    "multiply",
    "multiply_by",
    "populate",
    "prepare",
    "read",
    "subtract",
]


@by_value
def populate(*names: str, port: int = 0) -> Operation:
    """Write fields bit-sequentially, field n from word `port` + n: one write per bit."""
    return Operation(
        f"populate {', '.join(names)}",
        lambda layout: [s for at, name in enumerate(names, port) for s in load(layout[name], at)],
    )


@by_value
def read(*names: str, port: int = 0) -> Operation:
    """Read fields bit-sequentially into one word per row, the first lowest: one read per bit."""

    def build(layout: Layout) -> Iterator[Item]:
        place = 0
        for name in names:
            yield from read_out(layout[name], port, place)
            place += layout[name].width

    return Operation(f"read {', '.join(names)}", lambda layout: list(build(layout)))


@by_value
def clear(*names: str) -> Operation:
    """Set all columns of the fields to 0 in every row: one write."""

    def build(layout: Layout) -> list[Item]:
        columns = sorted({column for name in names for column in layout[name].columns})
        return [reset(columns, text=f"{', '.join(names)} <- 0")]

    return Operation(f"clear {', '.join(names)}", build)


@by_value
def add(a: str, b: str, *, carry: str) -> Operation:
    """B, carry <- A + B in place; A is kept and may be narrower than B.

    4M compares and 4M writes for M-bit words (eq. 1); where A is narrower only the
    carry runs on, for 2 passes a bit.  The carry column must be 0 on entry.  For a
    sum of signed words with its top bit keep them in offset binary.
    """
    return Operation(f"add {a}, {b}", lambda layout: list(_add(layout, a, b, carry)))


def _add(layout: Layout, a: str, b: str, carry: str) -> Iterator[Item]:
    addend, target, out = layout[a], layout[b], _bit(layout, carry)
    if addend.width > target.width:
        raise ProgramError(
            f"add: wanted {a} no wider than {b}, got {addend.width} and {target.width} bits"
        )
    if addend.width < target.width and addend.signed:
        raise ProgramError(
            f"add: a signed {a} must be as wide as {b}, got {addend.width} and {target.width} bits"
        )
    for k in range(addend.width):
        yield from passes("add", {"A": addend[k], "B": target[k], "C": out}, bit=k)
    for k in range(addend.width, target.width):
        yield from passes("increment", {"B": target[k], "C": out}, bit=k)


@by_value
def subtract(a: str, b: str, *, borrow: str) -> Operation:
    """B, borrow <- B - A in place: B with the borrow is the difference in two's complement.

    4M compares and 4M writes; A and B equally wide, the borrow column 0 on entry.
    """

    def build(layout: Layout) -> Iterator[Item]:
        minuend, out = layout[b], _bit(layout, borrow)
        subtrahend = _as_wide(layout, a, b, "subtract")
        for k in range(minuend.width):
            yield from passes("sub", {"A": subtrahend[k], "B": minuend[k], "C": out}, bit=k)

    return Operation(f"subtract {a}, {b}", lambda layout: list(build(layout)))


@by_value
def copy(a: str, b: str, *, clean: bool = False) -> Operation:
    """B <- A: two passes a bit, or one where B is known to hold 0 (`clean`)."""
    table = "copy_clean" if clean else "copy"

    def build(layout: Layout) -> Iterator[Item]:
        source = _as_wide(layout, a, b, "copy")
        for k in range(source.width):
            yield from passes(table, {"A": source[k], "B": layout[b][k]}, bit=k)

    return Operation(f"copy {a}, {b}", lambda layout: list(build(layout)))


@by_value
def prepare(product: str, a: str, b: str) -> Operation:
    """Set the product's columns to what `multiply` wants on entry: one or two writes.

    Zero, but for an offset-binary product of an unsigned and a signed word, whose top
    bit starts as 1.
    """

    def build(layout: Layout) -> list[Item]:
        field, top = layout[product], _preset(layout, a, b, product)
        steps: list[Item] = [_preset_step(field, top)]
        return steps

    return Operation(f"prepare {product}", build)


def _preset(layout: Layout, a: str, b: str, product: str) -> int | None:
    mixed = layout[a].signed != layout[b].signed
    if layout[product].kind == "o" and mixed:
        return layout[product][layout[a].width + layout[b].width - 1]
    return None


def _preset_step(field: Field, top: int | None) -> Step:
    bits = tuple((column, int(column == top)) for column in field.columns)
    return Step(
        Op.WRITE_ALL, Mode.HORIZONTAL, (), bits, phase=Phase.COMPUTE, label="reset",
        text=f"{field.name} <- {'0' if top is None else 'top bit'}",
    )  # fmt: skip


@by_value
def multiply(a: str, b: str, product: str) -> Operation:
    """P <- A * B out of place; 4*Ma*Mw compares and writes (eq. 2), operands kept.

    Signed operands are two's complement.  The product needs Ma+Mw columns, prepared
    (see `prepare`).  It is unsigned for unsigned operands; else two's complement, or
    offset binary where the product field is of kind "o".
    """
    return Operation(
        f"multiply {a}, {b}, {product}",
        lambda layout: list(_multiply(layout, a, b, product)),
    )


def _multiply(layout: Layout, a: str, b: str, product: str) -> Iterator[Item]:
    first, second, target = layout[a], layout[b], layout[product]
    if "o" in (first.kind, second.kind):
        raise ProgramError(f"multiply: wanted {a} and {b} unsigned or two's complement, got offset")
    if target.width < first.width + second.width:
        raise ProgramError(
            f"multiply: wanted {first.width + second.width} columns for {product}, "
            f"got {target.width}"
        )
    if (first.signed or second.signed) != target.signed:
        raise ProgramError(
            f"multiply: wanted {product} {'signed' if not target.signed else 'unsigned'} "
            f"for {first} times {second}, got {target}"
        )
    offset = target.kind == "o"
    if first.signed and second.signed:
        yield from _signed_by_signed(first, second, target, offset)
    elif first.signed:
        yield from _unsigned_by_signed(second, first, target, offset)
    else:
        yield from _unsigned_by_signed(first, second, target, offset)


def _unsigned_by_signed(a: Field, b: Field, p: Field, offset: bool) -> Iterator[Step]:
    """A unsigned; B unsigned or signed: its sign bit's partial product is subtracted."""
    for j in range(b.width):
        last = b.signed and j == b.width - 1
        table = ("csubn" if offset else "csub") if last else "cadd"
        yield from _partial(table, b[j], a.columns, p, j)


def _signed_by_signed(a: Field, b: Field, p: Field, offset: bool) -> Iterator[Step]:
    """Magnitudes added, both sign rows subtracted, and the corner of the two signs."""
    low_a, low_b, n = a.width - 1, b.width - 1, a.width + b.width
    for j in range(low_b):
        yield from _partial("cadd", b[j], a.columns[:low_a], p, j)
    yield from _partial("csub", a[low_a], b.columns[:low_b], p, low_a, carry=p[n - 2])
    yield from _partial("csub", b[low_b], a.columns[:low_a], p, low_b, carry=p[n - 1])
    corner = {"A": a[low_a], "D": b[low_b], "P": p[n - 2], "C": p[n - 1]}
    yield from passes("cornerb" if offset else "corner", corner, bit=n - 2)


def _partial(
    table: str, gate: int, word: Sequence[int], p: Field, place: int, carry: int | None = None
) -> Iterator[Step]:
    """Add or subtract a word at `place` of the product where the gate column holds 1.

    The carry runs into the product's next free column, still 0 and right as it ends.
    """
    out = p[place + len(word)] if carry is None else carry
    for i, column in enumerate(word):
        lines = {"D": gate, "A": column, "P": p[place + i], "C": out}
        yield from passes(table, lines, bit=place + i)


@by_value
def multiply_by(constant: int, a: str, product: str) -> Operation:
    """P <- A * constant by shifted additions: 8 operations per bit of A for each 1 of the constant.

    The constant is known to the controller, which issues no passes for its zeros.  A is
    unsigned; the product's columns must be 0 on entry and hold A's and the constant's bits.
    """

    def build(layout: Layout) -> Iterator[Item]:
        word, target = layout[a], layout[product]
        if constant < 1 or word.signed or target.width < word.width + constant.bit_length():
            raise ProgramError(
                f"multiply_by: wanted a positive constant, {a} unsigned and "
                f"{word.width + max(constant, 1).bit_length()} columns for {product}, "
                f"got {constant}, {word} and {target}"
            )
        for place in (k for k in range(constant.bit_length()) if constant >> k & 1):
            for k in range(word.width):
                lines = {"A": word[k], "B": target[place + k], "C": target[place + word.width]}
                yield from passes("add", lines, bit=place + k)

    return Operation(f"multiply {a} by {constant}", lambda layout: list(build(layout)))


def _bit(layout: Layout, name: str) -> int:
    if layout[name].width != 1:
        raise ProgramError(f"wanted one column for {name!r}, got {layout[name].width}")
    return layout[name][0]


def _as_wide(layout: Layout, a: str, b: str, what: str) -> Field:
    if layout[a].width != layout[b].width:
        raise ProgramError(
            f"{what}: wanted {a} as wide as {b}, got {layout[a].width} and {layout[b].width} bits"
        )
    return layout[a]
