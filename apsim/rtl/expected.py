"""What the circuit must show after every clock: the run of the definition, `DenseCam`.

The rule: an event of the controller, by cycle, is a clock; ports are a stream of lines,
since which word a bit belongs to is the host's business and not the chip's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsim import controller
from apsim.cam.dense import DenseCam
from apsim.counts import Counts
from apsim.program import Loop, Microprogram, Mode, Op, Step
from apsim.rtl.microcode import halves

__all__ = ["Expected", "Load", "record", "state_bits"]

Bits = NDArray[np.bool_]
Words = NDArray[np.uint64]
MOST_TRACE = 16 << 20  # bytes of a trace of every clock; above it only the end is kept


@dataclass(frozen=True)
class Load:
    """A program, the cells bool[rows, columns] it starts on, and its words as in `Cam.execute`."""

    program: Microprogram
    cells: Bits
    data: Words | None = None
    out: Words | None = None

    @property
    def rows(self) -> int:
        """Rows of the array."""
        return len(self.cells)

    @property
    def columns(self) -> int:
        """Columns of the array."""
        return int(self.cells.shape[1])


@dataclass(frozen=True)
class Expected:
    """Lines of bits, lowest first: inputs taken, outputs put, and the state after each clock.

    A state is column tags (segment after segment), then row tags, then cells (column after
    column).  `trace` has a line for each clock, or only the last where `whole` is False.
    """

    inputs: tuple[Bits, ...]
    outputs: tuple[Bits, ...]
    trace: tuple[Bits, ...]
    whole: bool
    counts: Counts
    flips: int


def state_bits(rows: int, columns: int, segments: int) -> int:
    """Bits of a line of the trace."""
    return rows * columns + rows + segments * columns


def record(load: Load, segments: int, whole: bool = True) -> Expected:
    """Run the load on the definition and keep what came; `segments` as the circuit has.

    A trace of more than 16 MiB is not kept: then, as without `whole`, only its last line is.
    """
    clocks = load.program.counts().total
    bits = state_bits(load.rows, load.columns, segments)
    whole = whole and clocks * bits // 4 <= MOST_TRACE
    cam, counts, flips = DenseCam(load.rows, load.columns), Counts(), 0
    cam.poke(load.cells)
    out = None if load.out is None else np.zeros_like(load.out)
    inputs, outputs, trace = [], [], []
    events = controller.steps(load.program, cam, load.data, out, "cycle")
    for event, group in zip(events, _groups(load.program), strict=True):
        counts, flips = counts + event.counts, flips + event.activity.flipped
        if event.step.op is Op.WRITE_DATA:
            inputs.append(_input(load, event.step, group))
        if event.step.op is Op.READ and event.step.port >= 0:
            outputs.append(_output(cam, event.step))
        if whole or event.index == clocks - 1:
            trace.append(_state(cam, segments))
    return Expected(tuple(inputs), tuple(outputs), tuple(trace), whole, counts, flips)


def _groups(program: Microprogram) -> Iterator[int]:
    """The group of rows that each clock belongs to."""
    for item, group in program.single_steps():
        step = item.body[0] if isinstance(item, Loop) else item
        yield from [group] * len(halves(step))


def _input(load: Load, step: Step, group: int) -> Bits:
    """A line from outside: a bit for each row, or the word of a group."""
    assert load.data is not None
    if step.mode is Mode.HORIZONTAL:
        return np.asarray(load.data[step.port] >> np.uint64(step.place) & np.uint64(1), bool)
    return np.array([int(load.data[step.port, group]) >> k & 1 for k in range(64)], bool)


def _output(cam: DenseCam, step: Step) -> Bits:
    """A line to outside: the row tags, or the column tags from `source` on."""
    if step.mode is Mode.HORIZONTAL:
        return cam.tag
    around = np.zeros(2 * abs(step.source) + step.width + cam.columns, bool)
    around[abs(step.source) :][: cam.columns] = cam.column_tag[0]
    return around[abs(step.source) + step.source :][: step.width]


def _state(cam: DenseCam, segments: int) -> Bits:
    columns = np.zeros((segments, cam.columns), bool)
    columns[: len(cam.column_tag)] = cam.column_tag
    return np.concatenate([columns.ravel(), cam.tag, cam.peek().T.ravel()])
