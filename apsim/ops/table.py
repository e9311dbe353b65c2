"""Any function of a word, as a proved list of masked passes: `table(f, "X", "Y")`.

The rule: Y is preset in one write into all rows, then the passes of
`apsim.lut.word_table` run in their order; X keeps its word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from apsim.arguments import checked
from apsim.counts import Phase
from apsim.errors import LutError, ProgramError
from apsim.layout import Field, Layout
from apsim.lut.model import WIDEST_INPUT
from apsim.program import Gate, Item, Mode, Op, Operation, Step

if TYPE_CHECKING:
    from apsim.lut.word_table import WordPass, WordTable

__all__ = ["patterns_of", "table"]


@checked
def table(
    function: Callable[[int], int] | Sequence[int], x: str, y: str, *, method: str | None = None
) -> Operation:
    """Y <- f(X), for any function of a word of up to 12 bits.

    `function` is called with every value of field X, or lists its values from the lowest of
    X on.  p passes take p compares and p + 1 writes; `method` is that of
    `apsim.lut.word_table.word_table`.  Raises `LutError` where a value is no integer or does
    not fit Y, and `ProgramError` where X and Y share a column.
    """

    def build(layout: Layout) -> list[Item]:
        from apsim.lut.word_table import word_table

        source, target = layout[x], layout[y]
        if set(source.columns) & set(target.columns):
            raise ProgramError(f"table: {x!r} and {y!r} share a column; a table is not in place")
        found = word_table(patterns_of(function, source, target), target.width, method)
        return [_preset(found, target), *_steps(found, source, target)]

    return Operation(f"table {x} -> {y}", build)


def patterns_of(
    function: Callable[[int], int] | Sequence[int], source: Field, target: Field
) -> tuple[int, ...]:
    """The pattern of `target` for each pattern of `source`, by the codings of the fields."""
    if source.width > WIDEST_INPUT:
        raise LutError(
            f"table: field {source.name!r} has {source.width} bits, wanted {WIDEST_INPUT} at most"
        )
    inputs = source.values
    if not callable(function) and len(function) != len(inputs):
        raise LutError(
            f"table: wanted {len(inputs)} values, one for each word of {source}, "
            f"got {len(function)}"
        )
    found = [
        _integer(function(value) if callable(function) else function[place], value, target)
        for place, value in enumerate(inputs)
    ]
    codes = zip(source.encode(inputs).tolist(), target.encode(found).tolist(), strict=True)
    return tuple(code for _, code in sorted(codes))


def _integer(given: Any, value: int, target: Field) -> int:
    if not isfinite(given) or given != int(given):
        raise LutError(f"table: f({value}) = {given}, wanted an integer")
    if not target.lowest <= given <= target.highest:
        raise LutError(
            f"table: f({value}) = {given} does not fit field {target}: "
            f"{target.lowest} to {target.highest}"
        )
    return int(given)


def _preset(found: WordTable, target: Field) -> Step:
    bits = tuple((column, found.preset >> k & 1) for k, column in enumerate(target.columns))
    return Step(
        Op.WRITE_ALL, Mode.HORIZONTAL, (), bits, phase=Phase.COMPUTE, label="preset",
        text=f"{target.name} <- {found.preset}",
    )  # fmt: skip


def _steps(found: WordTable, source: Field, target: Field) -> list[Step]:
    return [_pass(one, number, source, target) for number, one in enumerate(found.passes, 1)]


def _pass(one: WordPass, number: int, source: Field, target: Field) -> Step:
    key = tuple((c, one.key >> k & 1) for k, c in enumerate(source.columns) if one.mask >> k & 1)
    write = tuple(
        (c, one.value >> k & 1) for k, c in enumerate(target.columns) if one.write >> k & 1
    )
    return Step(
        Op.PASS, Mode.HORIZONTAL, key=key, write=write, gate=Gate.NONE, phase=Phase.COMPUTE,
        label=f"pass {number}", text=_text(key, write, source, target),
    )  # fmt: skip


def _text(key: Any, write: Any, source: Field, target: Field) -> str:
    names = [f"{source.name}.{c - source.column}={bit}" for c, bit in key]
    sets = "".join(str(bit) for _, bit in reversed(write))
    return f"{' '.join(names) or 'all'} -> {target.name} = {sets}"
