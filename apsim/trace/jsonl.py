"""One event a line, as JSON: schema `apsim.trace/1`.

The first line is {"schema", "program", "steps", "rows", "columns", "fields": [[name,
column, width, kind], ...], "note"}.  Every other line is one step that ran:

    step      number of the step in the program
    op        PASS, COMPARE, WRITE, WRITE_ALL, READ, WRITE_TAG or WRITE_DATA
    mode      HORIZONTAL (lines are columns) or VERTICAL (lines are slots of `rows`)
    phase, label, bit, text     as the program's listing has them; bit may be null
    key, write                  [[line, bit], ...]
    rows      the rows of the slots, [groups][slots]; only in vertical steps
    tagged    how many lines the tag holds after the step
    tag       the numbers of the first tagged lines, at most `most_rows`
    counts    {"compare", "write", "read"} of the step
    activity  {"compared", "matched", "written", "flipped", "read_mismatched"} of the step

The rule: numbers only from the event, so that a line says what the array did.
"""

from __future__ import annotations

import json
from typing import Any, BinaryIO

from apsim.controller import Event
from apsim.errors import shown
from apsim.machine import Machine
from apsim.program import Microprogram
from apsim.trace.limits import Limits

__all__ = ["SCHEMA", "JsonLines", "event_record"]

SCHEMA = "apsim.trace/1"


class JsonLines:
    """A recorder of one line per event."""

    def __init__(
        self, stream: BinaryIO, machine: Machine, program: Microprogram, limits: Limits
    ) -> None:
        self._stream, self._limits, self._recorded = stream, limits, 0
        self.note = limits.note(machine.rows, len(program))
        fields = [[f.name, f.column, f.width, f.kind] for f in machine.layout.values()]
        self._write(
            schema=SCHEMA, program=shown(program.name), steps=len(program), rows=machine.rows,
            columns=machine.cam.columns, fields=fields, note=self.note,
        )  # fmt: skip

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return self._recorded >= self._limits.steps

    def __call__(self, event: Event) -> None:
        """Record one step, while the limit allows it."""
        if not self.full:
            self._write(**event_record(event, self._limits.most_rows))
            self._recorded += 1

    def close(self) -> None:
        """Nothing is left to write."""

    def _write(self, **values: Any) -> None:
        self._stream.write(json.dumps(values, separators=(",", ":")).encode() + b"\n")


def event_record(event: Event, most: int) -> dict[str, Any]:
    """An event as plain values; see the schema above."""
    step = event.step
    tagged = event.tag.lines
    vertical = {} if event.rows is None else {"rows": event.rows.tolist()}
    return {
        "step": event.index, "op": step.op.name, "mode": step.mode.name,
        "phase": step.phase.value, "label": shown(step.label), "bit": step.bit,
        "text": shown(step.text),
        "key": step.key, "write": step.write, **vertical,
        "tagged": len(tagged), "tag": tagged[:most].tolist(),
        "counts": event.counts.as_dict(), "activity": event.activity.as_dict(),
    }  # fmt: skip
