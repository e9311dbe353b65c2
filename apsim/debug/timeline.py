"""A program as the sequence of steps that the hardware carries out, open at any place.

The rule: nothing is copied out of the program.  A step is found by its number, and a
range of steps becomes a few pieces of code, encoded block by block, so that a program
of millions of steps needs no more memory than its own items.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from apsim.counts import Counts, Phase
from apsim.encoding import Code, encode
from apsim.program import Loop, Microprogram, Op, Step

__all__ = ["ByPhase", "Piece", "Place", "Timeline"]

BLOCK = 4096  # straight-line steps that are encoded together
BLOCKS_KEPT = 8

ByPhase = dict[Phase, Counts]


@dataclass(frozen=True)
class Place:
    """One step where it runs: `rows` is the table [groups, slots] of a vertical step."""

    index: int
    step: Step
    group: int = 0
    rows: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Piece:
    """Code to execute in one call; vertical words of data and out start at `group`."""

    code: Code
    steps: Sequence[Step]
    times: int = 1
    group: int | None = None


@dataclass(frozen=True)
class _Segment:
    """A loop, or straight-line steps: those of the program's items from `first` on."""

    start: int  # number of its first step
    length: int
    first: int
    loop: Loop | None


class Timeline:
    """Steps of a program by number, 0 to `len(timeline) - 1`."""

    def __init__(self, program: Microprogram) -> None:
        self.program = program
        self.segments = list(_segments(program))
        self._starts = [segment.start for segment in self.segments]
        self._blocks: OrderedDict[int, Code] = OrderedDict()
        last = self.segments[-1] if self.segments else _Segment(0, 0, 0, None)
        self._length = last.start + last.length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Place:
        segment = self._segment(index)
        offset = index - segment.start
        if segment.loop is None:
            return Place(index, self._item(segment.first + offset))
        group, number = divmod(offset, len(segment.loop.body))
        rows = segment.loop.rows if segment.loop.parallel else segment.loop.rows[group : group + 1]
        return Place(index, segment.loop.body[number], group, rows)

    def distinct(self) -> Iterator[Place]:
        """Every step of the listing once, at its first run, with the rows of all its runs."""
        for segment in self.segments:
            body = range(segment.length) if segment.loop is None else range(len(segment.loop.body))
            for offset in body:
                place = self[segment.start + offset]
                yield place if segment.loop is None else replace(place, rows=segment.loop.rows)

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """Code for the steps from `start` up to, not including, `stop`."""
        while start < stop:
            segment = self._segment(start)
            end = min(stop, segment.start + segment.length)
            if segment.loop is None:
                end, piece = self._straight(segment, start, end)
            else:
                end, piece = _looped(segment.loop, segment.start, start, end)
            yield piece
            start = end

    def _straight(self, segment: _Segment, start: int, stop: int) -> tuple[int, Piece]:
        item = segment.first + start - segment.start
        block, offset = divmod(item - segment.first, BLOCK)
        first = segment.first + block * BLOCK
        count = min(stop - start, BLOCK - offset)
        last = min(first + BLOCK, segment.first + segment.length)
        part = self._block(first, last).part(offset, offset + count)
        steps = self.program.items[item : item + count]
        return start + count, Piece(part, steps)  # type: ignore[arg-type]

    def _block(self, first: int, last: int) -> Code:
        if first not in self._blocks:
            self._blocks[first] = encode(self.program.items[first:last])
            if len(self._blocks) > BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(first)
        return self._blocks[first]

    def _segment(self, index: int) -> _Segment:
        if not 0 <= index < len(self):
            raise IndexError(f"step {index} of a program of {len(self)} steps")
        return self.segments[bisect_right(self._starts, index) - 1]

    def _item(self, number: int) -> Step:
        item = self.program.items[number]
        assert isinstance(item, Step)
        return item


def _segments(program: Microprogram) -> Iterator[_Segment]:
    start = first = 0
    for number, item in enumerate((*program.items, None)):
        if isinstance(item, Step):
            continue
        if number > first:
            yield _Segment(start, number - first, first, None)
            start += number - first
        if isinstance(item, Loop):
            yield _Segment(start, item.times * len(item.body), number, item)
            start += item.times * len(item.body)
        first = number + 1


def _looped(loop: Loop, base: int, start: int, stop: int) -> tuple[int, Piece]:
    """As many steps of a loop as one piece can hold: whole groups, or part of one group."""
    span = len(loop.body)
    group, first = divmod(start - base, span)
    groups = (stop - start) // span if first == 0 and not loop.parallel else 0
    if groups:
        end, body, rows = start + groups * span, loop.body, loop.rows[group : group + groups]
    else:
        end = min(stop, start - first + span)
        body = loop.body[first : first + end - start]
        rows = loop.rows if loop.parallel else loop.rows[group : group + 1]
    part = replace(loop, body=body, rows=rows)
    return end, Piece(encode((part,)), body, part.times, group)


def count(steps: Sequence[Step], times: int = 1) -> ByPhase:
    """Counts of steps by phase, each carried out `times` times."""
    if len(steps) == 1:
        return {steps[0].phase: steps[0].counts * times}
    seen = Counter((step.phase, step.op) for step in steps)
    by_phase: ByPhase = {}
    for (phase, op), number in seen.items():
        by_phase[phase] = by_phase.get(phase, Counts()) + _COST[op] * (number * times)
    return by_phase


_COST = {op: Step(op, 0).counts for op in Op}  # type: ignore[arg-type]
__all__ += ["count"]
