"""From accumulators to activations: constants, scaling, rounding and clamps, as passes.

The rule: a constant that is the same in every row is known to the controller, which
picks the LUT of each bit by it and issues nothing for the zeros of a multiplier; no
pass is ever chosen or left out by what a row holds.  A constant that differs from row
to row is a field, populated like any word.

Words are two's complement unless an operation says otherwise; sums are taken modulo
2**width, as the columns give out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from apsim.errors import ProgramError
from apsim.layout import Field, Layout
from apsim.ops.steps import passes, reset
from apsim.program import Item, Mode, Op, Operation, Step, by_value

__all__ = [
    "DIRECTED", "MODES", "TIES", "add_constant", "by_sign", "clamp", "extend", "round_off",
]  # fmt: skip

Bits = tuple[tuple[int, int], ...]

# Which ties go down, to their floor; all other halves go up.
TIES = {
    "half-even": "even",
    "half-up": "none",
    "half-down": "all",
    "half-away": "negative",
    "half-zero": "positive",
}
# Which inexact words go up; all others go down, to their floor.
DIRECTED = {"ceil": "all", "toward-zero": "negative", "away-from-zero": "positive"}
MODES = ("floor", *TIES, *DIRECTED)


@by_value
def add_constant(a: str, constant: int, *, carry: str) -> Operation:
    """A, carry <- A + constant modulo 2**M, for a constant known to the controller.

    Two passes a bit, from the constant's lowest 1 on; the carry column is 0 on entry.
    """

    def build(layout: Layout) -> Iterator[Item]:
        word = layout[a]
        value = constant % (1 << word.width)
        first = (value & -value).bit_length() - 1
        if value:
            yield from _ripple(word, value, layout[carry][0], first)

    return Operation(f"add {constant} to {a}", lambda layout: list(build(layout)))


def _ripple(word: Field, value: int, carry: int, first: int = 0) -> Iterator[Step]:
    """Add a constant and the bits of a carry column, two passes a bit."""
    for k in range(first, word.width):
        table = "increment_one" if value >> k & 1 else "increment"
        yield from passes(table, {"B": word[k], "C": carry}, bit=k)


@by_value
def extend(a: str, bits: int) -> Operation:
    """Repeat the sign of the low `bits` bits of A in the columns above, which hold 0: one pass."""

    def build(layout: Layout) -> list[Item]:
        above, sign = layout[a].columns[bits:], layout[a][bits - 1]
        return [_pass(((sign, 1),), _digits(above, -1), "sign extended")]

    return Operation(f"extend {a}", build)


@by_value
def round_off(
    a: str, shift: int, mode: str, *, carry: str, parity: int = 0, plus: int = 0
) -> Operation:
    """A[shift:] <- A / 2**shift rounded by `mode` (a key of `MODES`), plus a constant.

    The shift is a relabelling; the low columns are left dirty.  A tie is one compare, on
    the half bit and the zeros below it, and one write that clears the half bit where the
    tie goes down; the half bit is then the carry of two passes a bit, the constant's bits
    included.  "half-even" asks for the parity of floor + `parity`.  The modes without
    ties take one or two passes into `carry`, which is 0 on entry.  With "floor" and no
    constant there is nothing to do.
    """
    if mode not in MODES or (shift < 1 and mode != "floor"):
        raise ProgramError(
            f"round_off: wanted one of {', '.join(MODES)} and bits to drop, got {mode!r}, {shift}"
        )

    def build(layout: Layout) -> Iterator[Item]:
        word = layout[a]
        kept = word.part(shift, word.width - shift)
        column = layout[carry][0]
        if mode in TIES:
            yield from _tie(word, shift, mode, parity)
            column = word[shift - 1]
        elif mode in DIRECTED:
            yield from _inexact(word, shift, mode, column)
        if mode != "floor" or plus:
            yield from _ripple(kept, plus % (1 << kept.width), column)

    return Operation(f"round {a} {mode}", lambda layout: list(build(layout)))


def _tie(word: Field, shift: int, mode: str, parity: int) -> Iterator[Step]:
    """Clear the half bit where a tie goes down: found by one compare in all rows at once."""
    where: dict[str, Bits] = {
        "even": ((word[shift], parity & 1),),
        "all": (),
        "negative": ((word[-1], 1),),
        "positive": ((word[-1], 0),),
    }
    if mode == "half-up":
        return
    half, below = word[shift - 1], _digits(word.columns[: shift - 1], 0)
    yield _pass((*where[TIES[mode]], (half, 1), *below), ((half, 0),), "a tie goes down")


def _inexact(word: Field, shift: int, mode: str, carry: int) -> Iterator[Step]:
    """Set the carry where the word goes up: by its sign, and not where nothing is dropped."""
    if mode == "ceil":
        yield reset([carry], 1, text="carry <- 1")
    else:
        sign = int(DIRECTED[mode] == "negative")
        yield _pass(((word[-1], sign),), ((carry, 1),), "goes up by its sign")
    yield _pass(_digits(word.columns[:shift], 0), ((carry, 0),), "nothing dropped: stays")


@by_value
def clamp(a: str, lo: int, hi: int, *, result: str) -> Operation:
    """Write `lo` or `hi` into the field `result`, A's low bits, where A lies beyond it.

    One pass for each place at which a word can first differ from a bound on its far side:
    each 0 of `hi` and each 1 of `lo`, the sign bits the other way round.  A bound of 0 is
    one pass, on the sign (ReLU); 2**n - 1 is one for each column from n up to the sign.
    A's columns above `result` are left as they are.
    """

    def build(layout: Layout) -> Iterator[Item]:
        word, target = layout[a], layout[result]
        least, most = -(1 << (word.width - 1)), (1 << (word.width - 1)) - 1
        if not least <= lo <= hi <= most:
            raise ProgramError(
                f"clamp: wanted bounds within {least}..{most} ({a} has {word.width} bits), "
                f"got {lo}..{hi}"
            )
        yield from _bound(word, target, hi, above=True)
        yield from _bound(word, target, lo, above=False)

    return Operation(f"clamp {a} to {lo}..{hi}", lambda layout: list(build(layout)))


def _bound(word: Field, target: Field, bound: int, *, above: bool) -> Iterator[Step]:
    """Rows that agree with the bound down to bit k and lie beyond it there take the bound."""
    written, text = _digits(target.columns, bound), f"{'above' if above else 'below'} {bound}"
    for k in reversed(range(word.width)):
        digit = bound >> k & 1
        if digit == int(above != (k == word.width - 1)):
            continue
        agree = _digits(word.columns[k + 1 :], bound >> (k + 1))
        yield _pass(((word[k], 1 - digit), *agree), written, text, bit=k)


@by_value
def by_sign(a: str, result: str, *, negative: int, positive: int) -> Operation:
    """R <- one constant where A is negative, else another: one write and one pass."""

    def build(layout: Layout) -> list[Item]:
        target, sign = layout[result].columns, layout[a][-1]
        text = f"{result} <- {positive}"
        everywhere = _digits(target, positive)
        return [
            Step(Op.WRITE_ALL, Mode.HORIZONTAL, (), everywhere, label="reset", text=text),
            _pass(((sign, 1),), _digits(target, negative), f"{result} <- {negative}"),
        ]

    return Operation(f"{result} by the sign of {a}", build)


def _pass(key: Bits, write: Bits, text: str, bit: int | None = None) -> Step:
    """One compare of columns and one write into the rows that matched."""
    return Step(Op.PASS, Mode.HORIZONTAL, key, write, label="pass", bit=bit, text=text)


def _digits(columns: Iterable[int], value: int) -> Bits:
    """Columns, lowest first, each with its bit of a number."""
    return tuple((column, value >> k & 1) for k, column in enumerate(columns))
