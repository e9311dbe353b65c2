"""The microprograms with fewer passes than the paper's: smaller LUTs, dead operands, first bits.

The rule: the same results as the operations they stand for, with LUTs whose number of
passes is proved minimal; what is saved is reported as below the paper, never as the paper.
"""

from __future__ import annotations

from collections.abc import Iterator

from apsim.errors import ProgramError
from apsim.layout import Field, Layout
from apsim.ops.steps import passes, reset
from apsim.program import Item, Operation, by_value

__all__ = ["add", "maximum", "minimum", "multiply", "relu"]


@by_value
def add(a: str, b: str, *, carry: str) -> Operation:
    """B, carry <- A + B, A destroyed: 2 passes for the first bit, 3 for others (6M - 2).

    A and B equally wide, the carry column 0 on entry.
    """

    def build(layout: Layout) -> Iterator[Item]:
        first, second = _alike("add", layout, a, b)
        for k in range(second.width):
            lines = {"A": first[k], "B": second[k], "C": layout[carry][0]}
            yield from passes("fa3" if k else "ha2d", lines, bit=k)

    return Operation(f"add {a}, {b} (smaller LUTs)", lambda layout: list(build(layout)))


@by_value
def multiply(a: str, b: str, product: str) -> Operation:
    """P <- A * B of unsigned words, operands kept: 2(Ma + (Mw-1)(4Ma-2)).

    The first row of the product is one pass a bit, the first bit of each later row two:
    no carry comes in there.  P has Ma + Mw columns, 0 on entry.
    """

    def build(layout: Layout) -> Iterator[Item]:
        first, second, target = layout[a], layout[b], layout[product]
        if first.signed or second.signed or target.width < first.width + second.width:
            raise ProgramError(
                f"multiply (smaller LUTs): wanted unsigned words and {first.width + second.width} "
                f"columns for {product}, got {first}, {second} and {target}"
            )
        for k in range(first.width):
            yield from passes("and_clean", {"D": second[0], "A": first[k], "P": target[k]}, bit=k)
        for j in range(1, second.width):
            for k in range(first.width):
                lines = {"D": second[j], "A": first[k], "P": target[j + k]}
                lines["C"] = target[j + first.width]
                yield from passes("cadd" if k else "cadd_first", lines, bit=j + k)

    return Operation(f"multiply {a}, {b}, {product} (smaller LUTs)", lambda lay: list(build(lay)))


@by_value
def relu(a: str) -> Operation:
    """A <- max(A, 0) with the sign column itself as the flag, reset last: M-1 passes, 1 write."""

    def build(layout: Layout) -> Iterator[Item]:
        word = layout[a]
        for k in reversed(range(word.width - 1)):
            yield from passes("relu", {"A": word[k], "F": word[-1]}, bit=k)
        yield reset([word[-1]], text="sign <- 0")

    return Operation(f"relu {a} (smaller LUTs)", lambda layout: list(build(layout)))


@by_value
def maximum(a: str, b: str, *, flags: tuple[str, str]) -> Operation:
    """B <- max(A, B) of unsigned or offset-binary words: 3 passes a bit, 2 resets (6M + 2)."""
    return _choice("maximum", "max3", a, b, flags)


@by_value
def minimum(a: str, b: str, *, flags: tuple[str, str]) -> Operation:
    """B <- min(A, B) of unsigned or offset-binary words: 3 passes a bit, 2 resets (6M + 2)."""
    return _choice("minimum", "min3", a, b, flags)


def _choice(name: str, table: str, a: str, b: str, flags: tuple[str, str]) -> Operation:
    def build(layout: Layout) -> Iterator[Item]:
        first, second = _alike(name, layout, a, b)
        f1, f2 = (layout[flag][0] for flag in flags)
        for k in reversed(range(first.width)):
            yield from passes(table, {"A": first[k], "B": second[k], "F1": f1, "F2": f2}, bit=k)
        yield reset([f1], text=f"{flags[0]} <- 0")
        yield reset([f2], text=f"{flags[1]} <- 0")

    return Operation(f"{name} {a}, {b} (smaller LUTs)", lambda layout: list(build(layout)))


def _alike(name: str, layout: Layout, a: str, b: str) -> tuple[Field, Field]:
    first, second = layout[a], layout[b]
    if (first.width, first.kind) != (second.width, second.kind) or first.kind == "s":
        raise ProgramError(
            f"{name} (smaller LUTs): wanted {a} and {b} of one width, both unsigned or both offset "
            f"binary, got {first} and {second}"
        )
    return first, second
