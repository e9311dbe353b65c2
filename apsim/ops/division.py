"""Quotients, roots, squares and what goes with them, as passes in every row at once.

The rule: compare first, then subtract where it fits.  A digit of a quotient or root is its
own flag: it is preset to 1, a comparison from the lowest bit up clears it where the trial
word is too large, and the subtraction is keyed on it.  A shift is a relabelling of columns.

Costs in passes, for W-bit divisors and n-bit roots; the fields that are called clean hold 0
on entry, and carry columns hold 0 again at the end.
"""

from __future__ import annotations

from collections.abc import Iterator

from apsim.errors import ProgramError
from apsim.layout import Field, Layout
from apsim.ops.steps import passes, reset
from apsim.program import Item, Mode, Op, Operation, Step, by_value

__all__ = [
    "at_least_one", "clear_where", "divide", "negate_where", "saturate", "shift_by_flags",
    "square", "square_root",
]  # fmt: skip


@by_value
def divide(dividend: str, divisor: str, quotient: str, *, carry: str) -> Operation:
    """Q <- N div Z and N <- N mod Z: q (6W + 2) passes and one write for q quotient bits.

    All unsigned, with Z >= 1 and N < Z * 2**q.  N has q + W columns.  The carry column is
    0 on entry and at the end; Z is kept.  A divisor of 0 would make all quotient bits 1.
    """

    def build(layout: Layout) -> Iterator[Item]:
        n, z, q = layout[dividend], layout[divisor], layout[quotient]
        _refuse_signed("divide", n, z, q)
        wanted = q.width + z.width
        if n.width != wanted:
            raise ProgramError(
                f"divide: {q.width} quotient bits by {z.width} want {wanted} columns for "
                f"{dividend}, got {n.width}"
            )
        yield reset(q.columns, 1, text=f"{quotient} <- ones")
        for t in reversed(range(q.width)):
            window = n.part(t, z.width + 1)
            yield from _compared(window, z, q[t])
            yield from _subtracted(window, z, q[t], layout[carry][0])

    return Operation(f"divide {dividend}, {divisor}", lambda layout: list(build(layout)))


def _compared(window: Field, z: Field, flag: int) -> Iterator[Step]:
    """Clear the flag where the window is below Z: 2W + 1 passes, the lowest bit first.

    The LUT runs whole on the lowest bit, too, where its second pass finds the flag set.
    """
    for k in range(z.width):
        yield from passes("compare", {"A": window[k], "B": z[k], "G": flag}, bit=k)
    yield from passes("or", {"A": window[z.width], "B": flag}, bit=z.width)


def _subtracted(window: Field, z: Field, flag: int, carry: int) -> Iterator[Step]:
    """Take Z off the window where the flag stands: 4W + 1 passes."""
    for k in range(z.width):
        lines = {"D": flag, "A": z[k], "P": window[k], "C": carry}
        yield from passes("csub", lines, bit=k)
    top = {"D": flag, "P": window[z.width], "C": carry}
    yield from passes("borrow_end", top, bit=z.width)


@by_value
def square_root(a: str, root: str, *, carry: str) -> Operation:
    """R <- floor(sqrt(A)) and A <- A - R**2: 3n^2 + 5n - 2 passes and one write for n bits.

    A is unsigned with 2n columns.  The trial word of step k is `root,01`: literals on its two
    constant bits vanish.  The carry column is 0 on entry and at the end.
    """

    def build(layout: Layout) -> Iterator[Item]:
        word, digits = layout[a], layout[root]
        _refuse_signed("square root", word, digits)
        if word.width != 2 * digits.width:
            raise ProgramError(
                f"square root: wanted {2 * digits.width} columns for {a}, twice those of {root}, "
                f"got {word.width}"
            )
        yield reset(digits.columns, 1, text=f"{root} <- ones")
        for k in range(1, digits.width + 1):
            yield from _root_digit(word, digits, k, layout[carry][0])

    return Operation(f"square root {a}", lambda layout: list(build(layout)))


def _root_digit(word: Field, root: Field, k: int, carry: int) -> Iterator[Step]:
    """Digit k from the top: 2k + 1 compares and 4k + 1 subtracting passes; the first digit's
    remainder has no column above the trial word, and saves one of each."""
    low, flag = 2 * (root.width - k), root[root.width - k]
    known = [root[root.width - k + 1 + place] for place in range(k - 1)]
    columns = word.columns[low : low + k + 2]
    yield from passes("and", {"A": columns[0], "B": flag}, bit=low)
    yield from passes("or", {"A": columns[1], "B": flag}, bit=low + 1)
    for place, digit in enumerate(known, 2):
        lines = {"A": columns[place], "B": digit, "G": flag}
        yield from passes("compare", lines, bit=low + place)
    yield from (s for c in columns[k + 1 :] for s in passes("or", {"A": c, "B": flag}))
    yield from passes("csub_one", {"D": flag, "P": columns[0], "C": carry}, bit=low)
    yield from passes("cdecrement", {"D": flag, "P": columns[1], "C": carry}, bit=low + 1)
    for place, digit in enumerate(known, 2):
        lines = {"D": flag, "A": digit, "P": columns[place], "C": carry}
        yield from passes("csub", lines, bit=low + place)
    for column in columns[k + 1 :]:
        yield from passes("borrow_end", {"D": flag, "P": column, "C": carry})


@by_value
def square(a: str, product: str) -> Operation:
    """P <- A * A out of place: 4n^2 - 2n passes, both factors in the same n columns.

    A is unsigned; P has 2n clean columns.
    """

    def build(layout: Layout) -> Iterator[Item]:
        word, target = layout[a], layout[product]
        _refuse_signed("square", word, target)
        if target.width < 2 * word.width:
            raise ProgramError(
                f"square: wanted {2 * word.width} columns for {product}, got {target.width}"
            )
        for j in range(word.width):
            for i in range(word.width):
                lines = {"D": word[j], "P": target[i + j], "C": target[j + word.width]}
                if i == j:
                    yield from passes("square_step", lines, bit=i + j)
                else:
                    yield from passes("cadd", lines | {"A": word[i]}, bit=i + j)

    return Operation(f"square {a}, {product}", lambda layout: list(build(layout)))


@by_value
def negate_where(sign: str, a: str, *, carry: str) -> Operation:
    """A <- -A modulo 2**n in rows whose sign column is 1: 3n passes.

    The carry column is 0 on entry and dirty after it.
    """

    def build(layout: Layout) -> Iterator[Item]:
        word = layout[a]
        for k in range(word.width):
            lines = {"S": layout[sign][0], "B": word[k], "C": layout[carry][0]}
            yield from passes("cneg", lines, bit=k)

    return Operation(f"negate {a} where {sign}", lambda layout: list(build(layout)))


@by_value
def at_least_one(a: str) -> Operation:
    """A <- max(A, 1) for an unsigned word: one pass."""

    def build(layout: Layout) -> list[Item]:
        word = layout[a]
        _refuse_signed("at least one", word)
        zeros = tuple((column, 0) for column in word.columns)
        return [_pass(zeros, ((word[0], 1),), f"{a} = 0 -> 1")]

    return Operation(f"{a} at least 1", build)


@by_value
def clear_where(flag: str, a: str) -> Operation:
    """All columns of A <- 0 in rows whose flag is 1: one pass."""

    def build(layout: Layout) -> list[Item]:
        zeros = tuple((column, 0) for column in layout[a].columns)
        return [_pass(((layout[flag][0], 1),), zeros, f"{flag} -> {a} = 0")]

    return Operation(f"clear {a} where {flag}", build)


@by_value
def saturate(a: str, bits: int) -> Operation:
    """Low `bits` bits of A <- min(A, 2**bits - 1) for an unsigned word: a pass a column above."""

    def build(layout: Layout) -> list[Item]:
        word = layout[a]
        _refuse_signed("saturate", word)
        ones = tuple((column, 1) for column in word.columns[:bits])
        return [_pass(((column, 1),), ones, f"{a} over") for column in word.columns[bits:]]

    return Operation(f"saturate {a}", build)


@by_value
def shift_by_flags(flags: str, a: str, result: str) -> Operation:
    """B <- A >> s in rows where flag s is 1, flags from the top column of a field down, one of
    them at most; B is clean, and 0 where none is.  n (n + 1) / 2 passes for n-bit words.

    Raises `ProgramError` for fewer flags than bits and for words of unequal widths.
    """

    def build(layout: Layout) -> Iterator[Item]:
        flag, word, target = layout[flags], layout[a], layout[result]
        _refuse_signed("shift by flags", flag, word, target)
        if flag.width < word.width or word.width != target.width:
            raise ProgramError(
                f"shift by flags: wanted {result} as wide as {a} and as many flags, got {target}, "
                f"{word}, {flag}"
            )
        for s in range(word.width):
            for k in range(word.width - s):
                key = ((flag[-1 - s], 1), (word[k + s], 1))
                yield _pass(key, ((target[k], 1),), f"{flags}.{-1 - s}: {a}.{k + s} -> .{k}")

    return Operation(f"{result} <- {a} >> {flags}", lambda layout: list(build(layout)))


def _pass(key: tuple[tuple[int, int], ...], write: tuple[tuple[int, int], ...], text: str) -> Step:
    return Step(Op.PASS, Mode.HORIZONTAL, key, write, label="pass", text=text)


def _refuse_signed(what: str, *words: Field) -> None:
    for word in words:
        if word.signed:
            raise ProgramError(f"{what}: wanted unsigned words, got {word}")
