"""A session as a file: program, start, point, edits and stops, complete in itself.

The rule: plain JSON of schema `apsim.session/1`; nothing in it is executed but as
steps of a program.  Cells are bits, row after row, deflated, in base 64.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterator
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim import lut, schemas
from apsim.counts import Phase
from apsim.debug.session import Session
from apsim.encoding import encode
from apsim.errors import ApsimError, InputError, shown
from apsim.files import write_json
from apsim.layout import Field, Layout
from apsim.lut.model import Lut
from apsim.machine import Machine
from apsim.program import Gate, Item, Loop, Microprogram, Mode, Op, Step
from apsim.readers import read_json

__all__ = ["SCHEMA", "from_record", "read", "record", "save"]

SCHEMA = "apsim.session/1"
ENUMS: dict[str, Any] = {"op": Op, "mode": Mode, "gate": Gate, "phase": Phase}
Bits = NDArray[np.bool_]


def save(session: Session, path: str | Path, **more: Any) -> None:
    """Write a session, and `more` beside it; raises `InputError` where that is not possible."""
    write_json(path, record(session) | more)


def record(session: Session) -> dict[str, Any]:
    """A session as plain values."""
    machine, tape = session.machine, session.tape
    with tape.visiting(0):
        start = {"cells": _packed(machine.cam.peek()), "tag": _packed(machine.cam.tag)}
        out = None if tape.out is None else tape.out.tolist()
    tables: dict[str, Lut] = {}
    return {
        "schema": SCHEMA,
        "layout": [[f.name, f.column, f.width, f.kind] for f in machine.layout.values()],
        "rows": machine.rows,
        "columns": machine.cam.columns,
        "programs": [
            {"name": part.name, "items": [_item(item, tables) for item in part.items]}
            for part in session.programs
        ],
        "luts": {name: table.text for name, table in tables.items() if _is_told(table)},
        "start": start,
        "data": None if tape.data is None else tape.data.tolist(),
        "out": out,
        "point": session.point,
        "edits": [[e.point, e.row, e.column, e.bit] for e in tape.edits],
    }


def read(path: str | Path) -> dict[str, Any]:
    """The record in a file; raises `InputError` where it is missing or not a session."""
    return schemas.check(read_json(path), SCHEMA, f"{path}: wanted a saved session")


def from_record(found: dict[str, Any], path: str | Path, engine: str = "strict") -> Session:
    """The session of a record, at its point; raises `InputError` where the record is damaged."""
    try:
        return _rebuilt(found, engine)
    except (LookupError, TypeError, ValueError, ArithmeticError, zlib.error, ApsimError) as error:
        kind = "" if isinstance(error, ApsimError) else f"{type(error).__name__}: "
        raise InputError(f"{path}: the saved session is damaged: {kind}{error}") from error


def _rebuilt(found: dict[str, Any], engine: str) -> Session:
    layout = Layout.of(*(Field(*field) for field in found["layout"]), overlap=True)
    machine = Machine(found["rows"], layout, columns=found["columns"], engine=engine)
    tables = {name: lut.parse(text, origin=name) for name, text in found["luts"].items()}
    programs = [
        Microprogram(tuple(_read_item(item, tables) for item in part["items"]), shown(part["name"]))
        for part in found["programs"]
    ]
    _set_tag(machine, _unpacked(found["start"]["tag"], (machine.rows,)))
    machine.cam.poke(_unpacked(found["start"]["cells"], (machine.rows, machine.cam.columns)))
    words: Any = {name: np.array(found[name], np.uint64) for name in ("data", "out") if found[name]}
    session = Session(machine, *programs, **words)
    for point, *cell in found["edits"]:
        session.go_to(point)
        session.edit((int(cell[0]), int(cell[1]), int(cell[2])))
    session.go_to(found["point"])
    return session


def _set_tag(machine: Machine, tag: Bits) -> None:
    """Tag the rows as they were: the array itself reads a column that holds them."""
    cells = np.zeros((machine.rows, machine.cam.columns), bool)
    cells[:, 0] = tag
    machine.cam.poke(cells)
    machine.cam.execute(encode((Step(Op.READ, Mode.HORIZONTAL, ((0, 1),)),)))


def _item(item: Item, tables: dict[str, Lut]) -> dict[str, Any]:
    if isinstance(item, Step):
        return _step(item, tables)
    return {
        "body": [_step(step, tables) for step in item.body],
        "rows": item.rows.tolist(),
        "parallel": item.parallel,
        "slots": item.slots,
    }


def _step(step: Step, tables: dict[str, Lut]) -> dict[str, Any]:
    return dict(_values(step, tables))


def _values(step: Step, tables: dict[str, Lut]) -> Iterator[tuple[str, Any]]:
    """The fields of a step that are not as by default."""
    for field in fields(Step):
        value = getattr(step, field.name)
        if isinstance(value, Lut):
            tables[value.name] = value
            yield field.name, value.name
        elif isinstance(value, Enum) and (field.name in ("op", "mode") or value != field.default):
            yield field.name, value.name
        elif not isinstance(value, Enum) and value != field.default:
            yield field.name, value


def _read_item(found: dict[str, Any], tables: dict[str, Lut]) -> Item:
    if "body" not in found:
        return _read_step(found, tables)
    body = tuple(_read_step(step, tables) for step in found["body"])
    rows = np.array(found["rows"], np.int64)
    return Loop(body, rows, bool(found["parallel"]), tuple(found["slots"]))


def _read_step(found: dict[str, Any], tables: dict[str, Lut]) -> Step:
    values = dict(found)
    for name, enum in ENUMS.items():
        if name in values:
            values[name] = enum[values[name]]
    for name in ("key", "write"):
        values[name] = tuple((int(line), int(bit)) for line, bit in values.get(name, ()))
    values["table"] = tables.get(values.get("table", ""))
    values |= {name: shown(values[name]) for name in ("label", "text") if name in values}
    return Step(**values)


def _is_told(table: Lut) -> bool:
    """Whether a LUT's text says the LUT; one derived from another keeps the other's text."""
    return bool(table.text) and lut.parse(table.text, origin=table.name) == table


def _packed(bits: Bits) -> str:
    return base64.b64encode(zlib.compress(np.packbits(bits).tobytes())).decode()


def _unpacked(text: str, shape: tuple[int, ...]) -> Bits:
    size, deflated = math.prod(shape), zlib.decompressobj()
    packed = deflated.decompress(base64.b64decode(text), -(-size // 8) or 1)
    if len(packed) != -(-size // 8) or not deflated.eof:
        raise ValueError(f"wanted {size} bits of cells or tags")
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=size).astype(bool).reshape(shape)
