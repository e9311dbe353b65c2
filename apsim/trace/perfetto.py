"""Timelines for Perfetto and chrome://tracing: what ran when, in cycles.

The rule: one microsecond shown is one operation of the hardware.  Loads of a layer
are dealt to the CAPs in turn; CAPs work side by side, one load after another, and the
next part of a layer begins when the last CAP is done.  The file is written as it comes.

Tracks: process 1 has the layers; process 2 has a track for each CAP, with loads, the
operations of a load within it, and within those the stretches of one phase.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, BinaryIO

from apsim.counts import Counts
from apsim.errors import shown
from apsim.functions import Function
from apsim.program import Loop, Microprogram, Operation, Step

__all__ = ["Slice", "Timeline", "slices", "write_program"]

LAYERS, CAPS = 1, 2
MOST_STRETCHES = 16  # stretches of one phase shown in an operation; more become one slice
MOST_EVENTS = 120_000


@dataclass(frozen=True)
class Slice:
    """Something that lasts: its name, category, start and length in cycles, and depth."""

    name: str
    category: str
    start: int
    cycles: int
    counts: Counts


class Timeline:
    """A trace file being written; `note` says what was left out."""

    def __init__(self, stream: BinaryIO, title: str) -> None:
        self._stream, self._events, self._cut = stream, 0, 0
        self._tracks: set[int] = set()
        head = {"displayTimeUnit": "ns", "otherData": {"title": title, "unit": "1 us = 1 cycle"}}
        text = json.dumps(head, separators=(",", ":"))[:-1]
        self._stream.write(f'{text},"traceEvents":[\n'.encode())
        self._name(LAYERS, None, "layers")
        self._name(CAPS, None, "CAPs")
        self._name(LAYERS, 0, "layers")

    @property
    def note(self) -> str:
        """What was left out, or nothing."""
        return f"cut: {self._cut} events beyond the first {MOST_EVENTS} left out" * bool(self._cut)

    def layer(self, what: Slice) -> None:
        """Show a layer, or a part of one."""
        self._add(LAYERS, 0, what)

    def on_cap(self, cap: int, shown: Sequence[Slice], start: int) -> None:
        """Show slices, outermost first, on a CAP's track from a cycle on."""
        if cap not in self._tracks:
            self._tracks.add(cap)
            self._name(CAPS, cap, f"CAP {cap}")
        for what in shown:
            self._add(CAPS, cap, what, start)

    def close(self) -> None:
        """Write the end of the file."""
        self._write(
            {"name": "end", "ph": "i", "ts": 0, "pid": LAYERS, "tid": 0, "s": "g"}, "\n]}\n"
        )

    def _add(self, process: int, track: int, what: Slice, offset: int = 0) -> None:
        if self._events >= MOST_EVENTS:
            self._cut += 1
            return
        self._events += 1
        self._write(
            {
                "name": shown(what.name), "cat": what.category, "ph": "X",
                "ts": offset + what.start, "dur": what.cycles, "pid": process, "tid": track,
                "args": what.counts.as_dict(),
            }
        )  # fmt: skip

    def _name(self, process: int, track: int | None, name: str) -> None:
        kind = "process_name" if track is None else "thread_name"
        event = {
            "name": kind,
            "ph": "M",
            "pid": process,
            "tid": track or 0,
            "args": {"name": shown(name)},
        }
        self._write(event)

    def _write(self, event: dict[str, Any], after: str = ",\n") -> None:
        self._stream.write(json.dumps(event, separators=(",", ":")).encode() + after.encode())


@lru_cache(256)
def slices(function: Function) -> tuple[Slice, ...]:
    """What a load of a function does, outermost first: itself, operations, stretches of a phase."""
    counts = function.program.counts()
    whole = Slice(function.name, "load", 0, counts.total, counts)
    return (whole, *_operations(function.operation, function))


def write_program(stream: BinaryIO, title: str, programs: Sequence[Microprogram]) -> str:
    """Write programs that run one after another, with every step; gives what was left out."""
    timeline = Timeline(stream, title)
    whole = sum((program.counts() for program in programs), Counts())
    timeline.layer(Slice(title or "program", "program", 0, whole.total, whole))
    start = 0
    for program in programs:
        counts = program.counts()
        if counts.total:
            shown = Slice(program.name or "operation", "operation", start, counts.total, counts)
            timeline.on_cap(0, [shown, *_phases(program, start)], 0)
            timeline.on_cap(0, list(_steps(program, start)), 0)
        start += counts.total
    timeline.close()
    return timeline.note


def _steps(program: Microprogram, start: int) -> Iterator[Slice]:
    for item, _ in program.single_steps():
        step = item.body[0] if isinstance(item, Loop) else item
        yield Slice(str(step), "step", start, step.counts.total, step.counts)
        start += step.counts.total


def _operations(operation: Operation, function: Function) -> Iterator[Slice]:
    start = 0
    for part in operation.parts or (operation,):
        program = part.on(function.layout)
        counts = program.counts()
        if counts.total:
            yield Slice(part.name or "operation", "operation", start, counts.total, counts)
            yield from _phases(program, start)
        start += counts.total


def _phases(program: Microprogram, start: int) -> Iterator[Slice]:
    """Stretches of one phase; more than a few are shown as one slice."""
    stretches = list(_stretches(program))
    if len(stretches) > MOST_STRETCHES:
        names = dict.fromkeys(name for name, _ in stretches)
        stretches = [(" and ".join(names), program.counts())]
    for name, counts in stretches:
        yield Slice(name, "phase", start, counts.total, counts)
        start += counts.total


def _stretches(program: Microprogram) -> Iterator[tuple[str, Counts]]:
    for name, run in groupby(_pieces(program), key=lambda piece: piece[0]):
        yield name, sum((counts for _, counts in run), Counts())


def _pieces(program: Microprogram) -> Iterator[tuple[str, Counts]]:
    """Phases in the order of the hardware: of steps, or of whole loops where they mix phases."""
    for item in program.items:
        if isinstance(item, Step):
            yield item.phase.value, item.counts
        else:
            yield _loop_phases(item), sum((s.counts for s in item.body), Counts()) * item.times


def _loop_phases(loop: Loop) -> str:
    return " and ".join(dict.fromkeys(step.phase.value for step in loop.body))
