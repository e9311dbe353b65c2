"""Steps from LUTs and from data movements: the small change of every operation.

The rule: a LUT's passes come out in its order, each as one step, none left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache

from apsim import lut
from apsim.counts import Phase
from apsim.errors import ProgramError
from apsim.layout import Field
from apsim.lut.model import Lut, Pass
from apsim.program import Gate, Mode, Op, Step

__all__ = [
    "clear_rows",
    "load",
    "look_up",
    "passes",
    "read_out",
    "read_row",
    "reset",
    "store_row",
    "take_row",
    "write_row",
    "write_rows",
]


@cache
def _refuse_unless_right(table: Lut, lines: tuple[int, ...]) -> None:
    """Refuse columns of a LUT that share a line, unless its passes still do what it says.

    For every state in which such columns agree, what the passes leave on a line must be what
    the truth table wants of the column that is written there.
    """
    place = dict(zip(table.columns, lines, strict=True))
    shared = " and ".join(name for name in table.columns if lines.count(place[name]) > 1)
    for state, wanted in table.truth.items():
        cells: dict[int, int] = {}
        if wanted is None or any(
            cells.setdefault(n, bit) != bit for n, bit in zip(lines, state, strict=True)
        ):
            continue
        for row in table.passes:
            if all(cells[place[name]] == bit for name, bit in row.key):
                cells |= {place[name]: bit for name, bit in row.write}
        results = dict(zip(table.columns, wanted, strict=True))
        if any(cells[place[name]] != results[name] for name in table.outputs):
            raise ProgramError(
                f"{table.name}: {shared} are one place, and its passes cannot work on that: "
                f"from {dict(zip(table.columns, state, strict=True))}; copy one of them first"
            )


@cache
def look_up(name: str) -> Lut:
    """The LUT of that name, found once per process."""
    return lut.find(name)


def passes(
    table: Lut | str | tuple[Pass, ...],
    lines: Mapping[str, int],
    *,
    bit: int | None = None,
    mode: Mode = Mode.HORIZONTAL,
    phase: Phase = Phase.COMPUTE,
    gates: tuple[Gate, ...] = (),
) -> Iterator[Step]:
    """One step for each pass of a LUT, its columns standing on the given lines."""
    table = look_up(table) if isinstance(table, str) else table
    if isinstance(table, Lut) and len(set(lines.values())) < len(lines):
        _refuse_unless_right(table, tuple(lines[name] for name in table.columns))
    for number, row in enumerate(table.passes if isinstance(table, Lut) else table):
        yield Step(
            Op.PASS,
            mode,
            key=tuple((lines[name], value) for name, value in row.key),
            write=tuple((lines[name], value) for name, value in row.write),
            gate=gates[number] if gates else Gate.NONE,
            phase=phase,
            label=f"pass {row.label or number + 1}",
            bit=bit,
            text=_text(row),
            table=table if isinstance(table, Lut) else None,
            lut_pass=number,
        )


@cache
def _text(row: Pass) -> str:
    return str(row)


def load(field: Field, port: int) -> Iterator[Step]:
    """Bit-sequential write of a field from outside: one write per column."""
    for place, column in enumerate(field.columns):
        yield Step(
            Op.WRITE_DATA, Mode.HORIZONTAL, ((column, 1),), port=port, place=place,
            phase=Phase.POPULATE, label="populate", bit=place, text=f"{field.name}[{place}]",
        )  # fmt: skip


def read_out(field: Field, port: int, place: int = 0) -> Iterator[Step]:
    """Bit-sequential read of a field: one read per column, into bits `place...` of a word."""
    for offset, column in enumerate(field.columns):
        yield Step(
            Op.READ, Mode.HORIZONTAL, ((column, 1),), port=port, place=place + offset,
            phase=Phase.READ_OUT, label="read", bit=offset, text=f"{field.name}[{offset}]",
        )  # fmt: skip


def reset(
    columns: Iterable[int], value: int = 0, *, phase: Phase = Phase.COMPUTE, text: str = ""
) -> Step:
    """One write into all rows of the given columns, tags ignored."""
    bits = tuple((column, value) for column in columns)
    return Step(Op.WRITE_ALL, Mode.HORIZONTAL, (), bits, phase=phase, label="reset", text=text)


def clear_rows(slots: Iterable[int], *, phase: Phase = Phase.REDUCE, text: str = "") -> Step:
    """One write of zeros into whole rows, all columns at once."""
    bits = tuple((slot, 0) for slot in slots)
    return Step(Op.WRITE_ALL, Mode.VERTICAL, (), bits, phase=phase, label="reset", text=text)


def read_row(slot: int, *, phase: Phase = Phase.TRANSFER, text: str = "") -> Step:
    """Word-sequential read: the column tags take the row."""
    return Step(Op.READ, Mode.VERTICAL, ((slot, 1),), phase=phase, label="read row", text=text)


def write_row(
    slot: int,
    target: int,
    width: int,
    source: int,
    *,
    phase: Phase = Phase.TRANSFER,
    text: str = "",
) -> Step:
    """Word-sequential write: columns `target...` of the row take column tags `source...`."""
    return replace(
        write_rows([slot], target, width, source, phase=phase, text=text), label="write row"
    )


def write_rows(
    slots: Iterable[int],
    target: int,
    width: int,
    source: int,
    *,
    phase: Phase = Phase.TRANSFER,
    text: str = "",
) -> Step:
    """The same into several rows at once: one write, with hardware that drives them together."""
    return Step(
        Op.WRITE_TAG, Mode.VERTICAL, tuple((slot, 1) for slot in slots), source=source,
        target=target, width=width, phase=phase, label="write rows", text=text,
    )  # fmt: skip


def store_row(slot: int, field: Field, port: int = 0) -> Step:
    """Word-sequential write of a field from outside: one write for the row."""
    return Step(
        Op.WRITE_DATA, Mode.VERTICAL, ((slot, 1),), port=port, target=field.column,
        width=field.width, phase=Phase.POPULATE, label="write row", text=f"{field.name} <- data",
    )  # fmt: skip


def take_row(slot: int, field: Field, port: int = 0) -> Step:
    """Word-sequential read of a field to outside: one read for the row."""
    return Step(
        Op.READ, Mode.VERTICAL, ((slot, 1),), port=port, source=field.column, width=field.width,
        phase=Phase.READ_OUT, label="read row", text=field.name,
    )  # fmt: skip
