"""A program as one expression: what every cell becomes, for all inputs at once.

The rule: as `apsim.cam.dense`, step for step, but a bit is the name of a Verilog wire in
place of a value; nothing is simplified here, that is for the prover.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.program import Gate, Loop, Microprogram, Mode, Op, Step
from apsim.rtl.microcode import halves

__all__ = ["Circuit"]

Names = NDArray[Any]  # names of wires
ZERO = "1'b0"
Place = tuple[int, int, int]  # port, word, bit


@dataclass
class _Lines:
    """One direction of the array, as in `apsim.cam.dense`."""

    cells: Names
    tag: Names
    generate: Names
    kill: Names


class Circuit:
    """An array of names; `inputs` says which expression each bit from outside is.

    `text` are the assignments so far, `out` the names of the bits put outside.
    """

    def __init__(self, rows: int, columns: int, inputs: Mapping[Place, str]) -> None:
        self.inputs = inputs
        self.text: list[str] = []
        self.out: dict[Place, str] = {}
        self._cells = np.full((rows, columns), ZERO, object)
        self._tag = np.full(rows, ZERO, object)
        self._vertical = np.full((3, 1, columns), ZERO, object)

    def run(self, program: Microprogram) -> None:
        """Carry out a program."""
        for item in program.items:
            if isinstance(item, Loop):
                self._loop(item)
                continue
            lines = _Lines(self._cells.T, self._tag, self._tag, self._tag)
            for half in halves(item):
                self._act(lines, half, np.arange(len(lines.cells)), 0)

    def _loop(self, loop: Loop) -> None:
        segments = len(loop.rows) if loop.parallel else 1
        if self._vertical.shape[1] != segments:
            self._vertical = np.full((3, segments, self._cells.shape[1]), ZERO, object)
        for group, rows in enumerate(loop.rows):
            lines = _Lines(self._cells, *self._vertical[:, group if loop.parallel else 0])
            for step in loop.body:
                for half in halves(step):
                    self._act(lines, half, rows, group)

    def _act(self, lines: _Lines, step: Step, places: NDArray[np.int64], group: int) -> None:
        if step.op in (Op.COMPARE, Op.READ):
            self._compare(lines, step, places)
            if step.op is Op.READ and step.port >= 0:
                self._put_out(lines, step, group)
        elif step.op in (Op.WRITE, Op.WRITE_ALL):
            for line, bit in step.write:
                cells = lines.cells[places[line]]
                for x, tag in enumerate(lines.tag):
                    where = tag if step.op is Op.WRITE else "1'b1"
                    cells[x] = self._wire(
                        f"{cells[x]} | {where}" if bit else f"{cells[x]} & ~{where}"
                    )
        else:
            for line, _ in step.key if step.mode is Mode.VERTICAL else step.key[:1]:
                self._write_line(lines, step, int(places[line]), group)

    def _compare(self, lines: _Lines, step: Step, places: NDArray[np.int64]) -> None:
        match = np.full(len(lines.tag), "1'b1", object)
        for x in range(len(match)):
            bits = [f"{'' if bit else '~'}{lines.cells[places[n], x]}" for n, bit in step.key]
            match[x] = self._wire(" & ".join(bits or ["1'b1"]))
        if step.gate is Gate.LOAD_G:
            lines.generate[:] = match
        if step.gate is Gate.LOAD_K:
            lines.kill[:] = match
        if step.gate in (Gate.LOAD_K, Gate.CARRY):
            match = self._carried(lines, match)
        if step.gate is Gate.PREFIX:
            for x in reversed(range(len(match) - 1)):
                match[x] = self._wire(f"{match[x]} | {match[x + 1]}")
        lines.tag[:] = match

    def _carried(self, lines: _Lines, match: Names) -> Names:
        carry, tagged = ZERO, match.copy()
        for x in range(len(match)):
            tagged[x] = self._wire(f"{match[x]} & {carry}")
            carry = self._wire(f"{lines.generate[x]} | ~{lines.kill[x]} & {carry}")
        return tagged

    def _write_line(self, lines: _Lines, step: Step, line: int, group: int) -> None:
        if step.mode is Mode.HORIZONTAL:
            for x, tag in enumerate(lines.tag.copy()):
                taken = self.inputs.get((step.port, x, step.place), ZERO)
                lines.cells[line, x] = taken if step.op is Op.WRITE_DATA else tag
            return
        for k in range(step.width):
            value = _at(lines.tag, step.source + k)
            if step.op is Op.WRITE_DATA:
                value = self.inputs.get((step.port, group, k), ZERO)
            lines.cells[line, step.target + k] = value

    def _put_out(self, lines: _Lines, step: Step, group: int) -> None:
        if step.mode is Mode.HORIZONTAL:
            self.out |= {(step.port, x, step.place): tag for x, tag in enumerate(lines.tag)}
        else:
            for k in range(step.width):
                self.out[step.port, group, k] = _at(lines.tag, step.source + k)

    def _wire(self, expression: str) -> str:
        name = f"n{len(self.text)}"
        self.text.append(f"wire {name} = {expression};")
        return name


def _at(tag: Names, column: int) -> str:
    return str(tag[column]) if 0 <= column < len(tag) else ZERO
