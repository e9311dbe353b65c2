"""ReLU, and the maximum and minimum of two fields, in every row at once.

The rule: Tables III and IV as printed.  Both walk from the most significant bit.
"""

from __future__ import annotations

from collections.abc import Iterator

from apsim import lut
from apsim.errors import ProgramError
from apsim.layout import Layout
from apsim.lut.model import Lut
from apsim.ops.steps import look_up, passes, reset
from apsim.program import Item, Mode, Op, Operation, Step, by_value

__all__ = ["maximum", "minimum", "relu"]


@by_value
def relu(a: str, *, flag: str) -> Operation:
    """A <- max(A, 0) for two's complement A (eq. 15, Table III).

    The sign is read and written to the flag column, the sign column reset, and every
    other bit cleared where the flag is set: 1 read, 2 writes, M-1 passes.
    """

    def build(layout: Layout) -> Iterator[Item]:
        word, column = layout[a], layout[flag][0]
        top = word[-1]
        yield Step(Op.READ, Mode.HORIZONTAL, ((top, 1),), label="read", text="sign")
        yield Step(Op.WRITE_TAG, Mode.HORIZONTAL, ((column, 1),), label="write", text="F <- sign")
        yield reset([top], text="sign <- 0")
        for k in reversed(range(word.width - 1)):
            yield from passes("relu", {"A": word[k], "F": column}, bit=k)

    return Operation(f"relu {a}", lambda layout: list(build(layout)))


@by_value
def maximum(a: str, b: str, *, flags: tuple[str, str]) -> Operation:
    """B <- max(A, B), A kept: Table IV for every bit, then both flags reset (8M + 2).

    The flag columns must be 0 on entry.
    """
    return Operation(f"maximum {a}, {b}", lambda layout: list(_select(layout, a, b, flags, 0)))


@by_value
def minimum(a: str, b: str, *, flags: tuple[str, str]) -> Operation:
    """B <- min(A, B), A kept: Table IV with A and B complemented, the same 8M + 2."""
    return Operation(f"minimum {a}, {b}", lambda layout: list(_select(layout, a, b, flags, 1)))


def _select(
    layout: Layout, a: str, b: str, flags: tuple[str, str], inverted: int
) -> Iterator[Item]:
    first, second = layout[a], layout[b]
    if (first.width, first.kind) != (second.width, second.kind):
        raise ProgramError(f"wanted {a} and {b} of one width and kind, got {first} and {second}")
    f1, f2 = (layout[name][0] for name in flags)
    for k in reversed(range(first.width)):
        sign = int(first.kind == "s" and k == first.width - 1)
        lines = {"A": first[k], "B": second[k], "F1": f1, "F2": f2}
        yield from passes(_table(sign ^ inverted), lines, bit=k)
    yield reset([f1], text=f"{flags[0]} <- 0")
    yield reset([f2], text=f"{flags[1]} <- 0")


def _table(complemented: int) -> Lut:
    table = look_up("max")
    return lut.complemented(table, ("A", "B")) if complemented else table
