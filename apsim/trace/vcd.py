"""Value change dump: key, mask, tag, fields of chosen rows and counters as signals.

The rule: one time unit is one operation of the hardware.  A pass changes key and tag
as its compare is done, written bits and cells one unit later.  `key_mask` and
`write_mask` hold 1 in the columns that take part; elsewhere `key` and `write` hold 0, for
viewers draw a vector with undriven bits as a mistake.  A step of no bit has bit -1.

Scopes: `step` (number, label, phase, bit), `key.FIELD`, `key_mask.FIELD`, `write.FIELD`,
`write_mask.FIELD`, `tag` (rows, lowest row lowest bit; columns), `row<N>.FIELD` and for
vertical steps `row<N>.key`, `row<N>.write`, `counters` (compare, write, read, matched,
flipped).
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from itertools import groupby
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from apsim.controller import Event
from apsim.counts import Activity, Counts
from apsim.errors import MissingExtra, shown
from apsim.layout import Field
from apsim.machine import Machine
from apsim.program import Loop, Microprogram, Mode, Op
from apsim.trace.limits import Limits

__all__ = ["Waves", "signal_list"]

Bits = NDArray[np.bool_]
MASKED = ("key", "key_mask", "write", "write_mask")
COUNTERS = ("compare", "write", "read", "matched", "flipped")


class Waves:
    """A recorder of signals; `names` are all of them, for a viewer's list."""

    def __init__(
        self, stream: BinaryIO, machine: Machine, program: Microprogram, limits: Limits
    ) -> None:
        try:
            from vcd import VCDWriter
        except ImportError as error:
            raise MissingExtra("pyvcd", "trace") from error
        self._machine, self._limits = machine, limits
        self._rows = limits.chosen(machine.rows)
        vertical = any(isinstance(item, Loop) for item in program.items)
        self._upright = self._rows if vertical else ()  # rows that are keyed on and written
        self._fields = list(machine.layout.values())
        self.note = limits.note(machine.rows, len(program))
        self._text = io.TextIOWrapper(stream, "utf-8", write_through=True)
        self._writer = VCDWriter(
            self._text, timescale="1 ns", date="", version="apsim",
            comment=f"{shown(program.name)}: 1 ns is one operation. {self.note}".strip(),
        )  # fmt: skip
        self.names: list[str] = []
        self._signals: dict[str, Any] = {}
        self._declare()
        self._time, self._recorded = 0, 0
        self._counts, self._activity = Counts(), Activity()
        self._show_cells()

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return self._recorded >= self._limits.steps

    def __call__(self, event: Event) -> None:
        """Record one step, while the limit allows it."""
        if self.full:
            return
        self._recorded += 1
        self._show_step(event)
        self._show_lines("key", [] if _moves(event) else event.step.key, event)
        self._show_lines("write", (), event)
        self._show_tag(event)
        if event.step.op is Op.PASS and event.counts.write:
            self._count(Counts(compare=1), Activity(matched=event.activity.matched))
            self._time += 1
        written = event.step.key if _moves(event) else event.step.write
        self._show_lines("write", written, event)
        self._show_cells()
        self._count(
            event.counts if event.step.op is not Op.PASS else Counts(write=event.counts.write),
            Activity(
                matched=0 if event.step.op is Op.PASS else event.activity.matched,
                flipped=event.activity.flipped,
            ),
        )
        self._time += 1

    def close(self) -> None:
        """Write the last time and leave the stream open for its owner."""
        self._writer.close(self._time)
        self._text.flush()
        self._text.detach()

    def _declare(self) -> None:
        self._add("step", "number", "integer", 32)
        for name in ("label", "phase", "text"):
            self._add("step", name, "string", None)
        self._add("step", "bit", "integer", 32)
        self._add("tag", "rows", "wire", len(self._rows))
        self._add("tag", "columns", "wire", self._machine.cam.columns)
        self._add("tag", "tagged", "integer", 32)
        for scope in (*MASKED, *(f"row{row}" for row in self._rows)):
            for field in self._fields:
                self._add(scope, field.name, "wire", field.width)
        for row in self._upright:
            self._add(f"row{row}", "key", "wire", 1)
            self._add(f"row{row}", "write", "wire", 1)
        for name in COUNTERS:
            self._add("counters", name, "integer", 64)

    def _add(self, scope: str, name: str, kind: str, size: int | None) -> None:
        initial: Any = "" if kind == "string" else 0 if size != 1 else "z"
        self._signals[f"{scope}.{name}"] = self._writer.register_var(
            f"apsim.{scope}", name, kind, size=size, init=initial
        )
        bus = f"[{size - 1}:0]" if size and size > 1 and kind == "wire" else ""
        self.names.append(f"apsim.{scope}.{name}{bus}")

    def _set(self, name: str, value: Any) -> None:
        self._writer.change(self._signals[name], self._time, value)

    def _show_step(self, event: Event) -> None:
        self._set("step.number", event.index)
        for name in ("label", "text"):
            self._set(f"step.{name}", shown(getattr(event.step, name)).replace(" ", "_"))
        self._set("step.phase", event.step.phase.value.replace(" ", "_"))
        self._set("step.bit", -1 if event.step.bit is None else event.step.bit)

    def _show_lines(self, scope: str, bits: Any, event: Event) -> None:
        held = dict(bits)
        horizontal = event.step.mode is Mode.HORIZONTAL
        for field in self._fields:
            bits_of = [held.get(c) if horizontal else None for c in reversed(field.columns)]
            self._set(f"{scope}.{field.name}", "".join(str(bit or 0) for bit in bits_of))
            self._set(f"{scope}_mask.{field.name}", _ones(bit is not None for bit in bits_of))
        by_row: dict[int, int] = {}
        if event.rows is not None:
            by_row = {int(r): bit for slot, bit in held.items() for r in event.rows[:, slot]}
        for row in self._upright:
            self._set(f"row{row}.{scope}", str(by_row.get(row, "z")))

    def _show_tag(self, event: Event) -> None:
        if event.step.mode is Mode.HORIZONTAL:
            self._set("tag.rows", _vector(event.tag.bits[list(self._rows)]))
        else:
            self._set("tag.columns", _vector(np.atleast_2d(event.tag.bits)[0]))
        self._set("tag.tagged", len(event.tag.lines))

    def _show_cells(self) -> None:
        cells = self._machine.cam.peek()
        for row in self._rows:
            for field in self._fields:
                self._set(f"row{row}.{field.name}", _word(cells[row], field))

    def _count(self, counts: Counts, activity: Activity) -> None:
        self._counts += counts
        self._activity += activity
        values = self._counts.as_dict() | self._activity.as_dict()
        for name in COUNTERS:
            self._set(f"counters.{name}", values[name])


def signal_list(path: str, names: list[str]) -> str:
    """A GTKWave save file that shows all signals of a dump, scope by scope.

    Before names, `@200` makes a line a heading; `@24` shows decimal, `@420` signed and `@28` binary
    numbers.
    """
    lines = [f'[dumpfile] "{shown(path)}"', "[timestart] 0", "[size] 1400 900"]
    for scope, group in groupby(names, key=lambda name: name.split(".")[1]):
        lines += ["@200", f"-{scope}"]
        for name in group:
            is_number = scope in ("step", "counters") or name.endswith("tagged")
            kind = "@420" if name.endswith("step.bit") else "@24" if is_number else "@28"
            lines += [kind, name]
    return "\n".join(lines) + "\n"


def _moves(event: Event) -> bool:
    return event.step.op in (Op.WRITE_TAG, Op.WRITE_DATA)


def _vector(bits: Bits) -> str:
    """Bits as a vector, the first one lowest."""
    return _ones(bits[::-1])


def _ones(bits: Iterable[object]) -> str:
    return "".join("1" if bit else "0" for bit in bits)


def _word(cells: Bits, field: Field) -> str:
    return _vector(cells[field.column : field.column + field.width])
