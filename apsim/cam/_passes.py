"""The passes of a LUT step on one vector of cells that are in registers.

The rule: every tag is made, in the order of the passes; those whose bits are given at run time,
and those that the tag chain gates, are carried out as they stand, the others in the operations
that `_boolean` finds for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apsim.cam._boolean import Worked, parts_of, worked_out
from apsim.cam._grouping import GIVEN, Pattern
from apsim.cam._plan import COUNTED
from apsim.cam._vector_ir import ONES, popcount, ternary
from apsim.program import Gate

__all__ = ["Found", "carried_out", "gated"]


@dataclass(frozen=True)
class Found:
    """What the passes of a step made of one vector."""

    tags: list[Any]
    flips: list[Any]
    lines: dict[int, Any]

    def counted(self, build: Any, counts: list[Any]) -> list[Any]:
        """Add the ones of every tag, and of the flips that are counted."""
        bits = [*self.tags, *self.flips][: len(counts)]
        return [
            build.add(count, popcount(build, one)) for count, one in zip(counts, bits, strict=True)
        ]


def carried_out(
    build: Any, pattern: Pattern, cells: list[Any], living: Any, masks: list[Any]
) -> Found:
    """All passes on cells, which they change; dead rows match nothing.

    `masks` are the bits that are given at run time.
    """
    given, found = iter(masks), Found([], [], {})
    for lines, passes in parts_of(pattern):
        some = [cells[line] for line in lines]
        worked = worked_out(passes, living is not None)
        if worked is None:
            part = _one_by_one(build, passes, some, living, given)
        else:
            part = _in_few_operations(build, worked, some, living)
        found.tags.extend(part.tags)
        found.flips.extend(part.flips)
        for line, bits in part.lines.items():
            cells[lines[line]] = found.lines[lines[line]] = bits
    return found


def _in_few_operations(build: Any, worked: Worked, cells: list[Any], living: Any) -> Found:
    values = cells if living is None else [*cells, living]
    for one in worked.operations:
        values.append(ternary(build, one.table, *(values[k] for k in one.operands)))
    tags, flips = ([values[k] for k in some] for some in (worked.tags, worked.flips))
    return Found(tags, flips, {line: values[k] for line, k in worked.lines.items()})


def _one_by_one(
    build: Any, pattern: Pattern, cells: list[Any], living: Any, masks: Iterator[Any]
) -> Found:
    """The passes as they stand; a given bit comes as 0 for 1 in keys, as ones for 1 in writes."""
    found = Found([], [], {})
    for key, writes in pattern:
        tag = _matches(build, cells, key, living, masks)
        found.tags.append(tag)
        _write(build, found, cells, tag, writes, masks)
    return found


def _matches(build: Any, cells: list[Any], key: Any, living: Any, masks: Iterator[Any]) -> Any:
    tag = living
    for line, bit in key:
        if bit == GIVEN:
            match = build.xor(cells[line], next(masks))
        else:
            match = cells[line] if bit else build.not_(cells[line])
        tag = match if tag is None else build.and_(tag, match)
    return ONES if tag is None else tag


def _write(
    build: Any, found: Found, cells: list[Any], tag: Any, writes: Any, masks: Iterator[Any]
) -> None:
    for line, bit, mode in writes:
        old = cells[line]
        if bit == GIVEN:
            new = build.xor(old, build.and_(tag, build.xor(old, next(masks))))
        else:
            new = build.or_(old, tag) if bit else build.and_(old, build.not_(tag))
        if mode == COUNTED:
            found.flips.append(build.xor(old, new))
        cells[line] = found.lines[line] = new


def gated(
    build: Any, pattern: Pattern, gates: tuple[int, ...], cells: list[Any], living: Any,
    carries: list[Any],
) -> Found:  # fmt: skip
    """Passes through the tag chain, whose carries go on: cin' = G | !K & cin."""
    found, latches = Found([], [], {}), {}
    for number, ((key, writes), gate) in enumerate(zip(pattern, gates, strict=True)):
        tag = _matches(build, cells, key, living, iter(()))
        if gate in (Gate.LOAD_G, Gate.LOAD_K):
            latches[gate] = tag
        if gate in (Gate.LOAD_K, Gate.CARRY):
            into = carries[number]
            kept = build.and_(build.not_(latches[Gate.LOAD_K]), into)
            carries[number] = build.or_(latches[Gate.LOAD_G], kept)
            tag = build.and_(tag, into)
        found.tags.append(tag)
        _write(build, found, cells, tag, writes, iter(()))
    return found
