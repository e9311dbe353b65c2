"""A film of the array: one HTML file that plays a program pass by pass, forwards and back.

The rule: the file holds all it needs and asks nobody for anything.  What each step
compared, matched, wrote and flipped is worked out here, from the event and the cells;
the page only adds up and draws.

A step is stored as {"s": its line, "k": key, "w": written, each [[line, bit], ...],
"v": 1 if vertical, "n": [compares, writes, reads], "t": tagged rows shown (or columns),
"c", "m", "d", "r": areas compared and matched by compares, driven, and searched by reads, each
[[rows], [columns]] with null for all, "f": cells flipped, as [row, column]}.  Rows are places in
the list of rows shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from apsim.controller import Event
from apsim.errors import shown
from apsim.machine import Machine
from apsim.program import Microprogram, Mode, Op
from apsim.trace.limits import Limits

__all__ = ["Film"]

MOST_STEPS = 5_000
Area = list[list[int] | None]


class Film:
    """A recorder that keeps what the page needs and writes it at the end."""

    def __init__(
        self, stream: BinaryIO, machine: Machine, program: Microprogram, limits: Limits
    ) -> None:
        limits = Limits(min(limits.steps, MOST_STEPS), limits.rows, limits.most_rows)
        self._stream, self._machine, self._most = stream, machine, limits.steps
        self._rows = limits.chosen(machine.rows)
        self._place = {row: place for place, row in enumerate(self._rows)}
        self._cells = self._shown()
        self._steps: list[dict[str, Any]] = []
        self.note = limits.note(machine.rows, len(program))
        self._head = {
            "title": shown(program.name or "program"), "note": self.note, "rows": self._rows,
            "columns": machine.cam.columns, "steps": self._steps,
            "fields": [[f.name, f.column, f.width] for f in machine.layout.values()],
            "start": ["".join("01"[int(bit)] for bit in row) for row in self._cells],
        }  # fmt: skip

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return len(self._steps) >= self._most

    def __call__(self, event: Event) -> None:
        """Keep one step, while the limit allows it."""
        if not self.full:
            before, self._cells = self._cells, self._shown()
            flips = np.argwhere(before ^ self._cells).tolist()
            self._steps.append(self._record(event) | {"f": flips})

    def close(self) -> None:
        """Write the page."""
        data = json.dumps(self._head, separators=(",", ":")).replace("</", "<\\/")
        page = resources.files("apsim.trace").joinpath("player.html").read_text("utf-8")
        self._stream.write(page.replace("/*DATA*/null", data).encode())

    def _shown(self) -> NDArray[np.bool_]:
        return self._machine.cam.peek()[list(self._rows)]

    def _record(self, event: Event) -> dict[str, Any]:
        step = event.step
        moves = step.op in (Op.WRITE_TAG, Op.WRITE_DATA)
        compared, driven = _lines(event)
        read = compared if step.op is Op.READ else []
        compared = [] if step.op is Op.READ else compared
        return {
            "s": shown(step),
            "k": [] if moves else self._named(event, step.key),
            "w": self._named(event, step.key if moves else step.write),
            "v": int(step.mode is Mode.VERTICAL),
            "n": list(event.counts.as_dict().values()),
            "t": self._tagged(event),
            "c": list(self._areas(event, compared, all_crossings=True)),
            "m": list(self._areas(event, compared, all_crossings=False)),
            "d": list(self._driven(event, driven)),
            "r": list(self._areas(event, read, all_crossings=True)),
        }

    def _named(self, event: Event, bits: Any) -> list[list[int]]:
        """Key or written bits by column, or by place of the row where it is shown."""
        if event.rows is None:
            return [[line, bit] for line, bit in bits]
        return [
            [self._place[int(row)], bit]
            for slot, bit in bits
            for row in event.rows[:, slot]
            if int(row) in self._place
        ]

    def _tagged(self, event: Event) -> list[int]:
        if event.rows is None:
            return [place for place, row in enumerate(self._rows) if event.tag.bits[row]]
        return [int(column) for column in np.flatnonzero(np.atleast_2d(event.tag.bits)[0])]

    def _areas(self, event: Event, lines: list[int], all_crossings: bool) -> Iterator[Area]:
        """Cells of some lines, at all crossings or at the tagged ones."""
        if not lines:
            return
        if event.rows is None:
            yield [None if all_crossings else self._tagged(event), lines]
            return
        tags = np.atleast_2d(event.tag.bits)
        for group, rows in enumerate(event.rows):
            places = [self._place[int(rows[s])] for s in lines if int(rows[s]) in self._place]
            tagged = [int(c) for c in np.flatnonzero(tags[min(group, len(tags) - 1)])]
            if places:
                yield [places, None if all_crossings else tagged]

    def _driven(self, event: Event, lines: list[int]) -> Iterator[Area]:
        """Cells that a step drives."""
        step = event.step
        if step.op in (Op.WRITE_TAG, Op.WRITE_DATA) and event.rows is not None:
            filled = list(range(step.target, step.target + step.width))
            for area in self._areas(event, lines, all_crossings=True):
                yield [area[0], filled]
        else:
            by_tag = step.op in (Op.PASS, Op.WRITE)
            yield from self._areas(event, lines, all_crossings=not by_tag)


def _lines(event: Event) -> tuple[list[int], list[int]]:
    """Lines (columns or slots) that a step compares, and that it drives."""
    step = event.step
    if step.op in (Op.WRITE_TAG, Op.WRITE_DATA):
        return [], [line for line, _ in step.key]
    compares = step.op in (Op.PASS, Op.COMPARE, Op.READ)
    return [line for line, _ in step.key] if compares else [], [line for line, _ in step.write]
