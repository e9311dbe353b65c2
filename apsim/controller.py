"""Carrying out a program: whole, or step by step, on the same array and kernel.

The rule: both ways hand rows of the same code to `Cam.execute`; whoever watches
pays for watching, and nobody else does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from apsim.cam.base import Cam, Execution
from apsim.counts import Activity, Counts, Phase
from apsim.encoding import encode
from apsim.errors import CountError, InputError
from apsim.program import Item, Microprogram
from apsim.records import Record, Tabular
from apsim.step import Loop, Mode, Op, Step

__all__ = ["ByPhase", "Event", "Tag", "counted", "require", "run", "steps"]

ByPhase = dict[Phase, Counts]
Words = NDArray[np.uint64]
PHASES = tuple(Phase)


class Tag:
    """Tagged lines, one bit each; prints as `1.1.`, and says whether `any()` is set."""

    def __init__(self, bits: NDArray[np.bool_]) -> None:
        self.bits = bits

    def any(self) -> bool:
        """Whether a line is tagged."""
        return bool(self.bits.any())

    @property
    def lines(self) -> NDArray[np.int64]:
        """Numbers of the tagged lines (row-major over segments)."""
        return np.flatnonzero(self.bits)

    def __len__(self) -> int:
        return int(self.bits.size)

    def __str__(self) -> str:
        rows = self.bits.reshape(-1, self.bits.shape[-1])
        return " ".join("".join(".1"[bit] for bit in row) for row in rows.astype(int))

    def __repr__(self) -> str:
        return (
            f"<Tag {self}>" if len(self) <= 64 else f"<Tag of {len(self)}: {self.lines.size} set>"
        )


@dataclass(frozen=True)
class Event(Tabular):
    """What one step did: its number, the step, the tag after it, counts and activity.

    `rows` is the table of rows [groups, slots] that a vertical step acted on, else None.
    """

    index: int
    step: Step
    tag: Tag
    counts: Counts
    activity: Activity
    rows: NDArray[np.int64] | None = None

    def table(self) -> list[Record]:
        """One record: the step, its tag, counts and activity."""
        parts = {**self.counts.as_dict(), **self.activity.as_dict()}
        return [{"index": self.index, "step": str(self.step), "tag": str(self.tag), **parts}]

    def __str__(self) -> str:
        return f"{self.step}   tag {self.tag}"


def run(
    program: Microprogram, cam: Cam, data: Words | None = None, out: Words | None = None
) -> Execution:
    """Carry out a whole program; `data` and `out` as in `Cam.execute`."""
    return cam.execute(program.code, data, out)


def counted(execution: Execution, program: Microprogram, times: int = 1) -> ByPhase:
    """What an execution of a program carried out, by phase, `times` over.

    Raises `CountError` where that is not what the program lists.
    """
    found = {PHASES[k]: counts for k, counts in execution.counts_by(program.phases).items()}
    require(found, program.counts_by_phase(), program.name)
    if times == 1:
        return found
    return {phase: counts * times for phase, counts in found.items()}


def require(done: ByPhase, listed: ByPhase, what: str) -> None:
    """Raise `CountError` where counts that were carried out are not those that are listed."""
    if done == listed:
        return
    for phase in listed.keys() | done.keys():
        got, wanted = done.get(phase, Counts()), listed.get(phase, Counts())
        if got != wanted:
            raise CountError(
                f"{what or 'program'}, {phase.value}: the array carried out {got}, "
                f"the program lists {wanted}"
            )


def steps(
    program: Microprogram,
    cam: Cam,
    data: Words | None = None,
    out: Words | None = None,
    by: str = "pass",
) -> Iterator[Event]:
    """Carry out a program step by step: `by` "pass", or "cycle" (compare and write apart)."""
    if by not in ("pass", "cycle"):
        raise InputError(f"wanted steps by 'pass' or by 'cycle', got {by!r}")
    index = 0
    for item, group in program.single_steps():
        for single in _cycles(item) if by == "cycle" else (item,):
            yield _step(single, group, index, cam, data, out)
            index += 1


def _step(
    item: Item, group: int, index: int, cam: Cam, data: Words | None, out: Words | None
) -> Event:
    step, rows = (item.body[0], item.rows) if isinstance(item, Loop) else (item, None)
    words = slice(group, None) if rows is not None else slice(None)
    execution = cam.execute(
        encode((item,)),
        None if data is None else data[:, words],
        None if out is None else out[:, words],
    )
    tag = cam.tag if step.mode is Mode.HORIZONTAL else cam.column_tag
    counts = execution.counts
    require({step.phase: counts}, {step.phase: step.counts}, str(step))
    return Event(index, step, Tag(tag), counts, execution.activity, rows)


def _cycles(item: Item) -> tuple[Item, ...]:
    if isinstance(item, Loop):
        return tuple(
            replace(item, body=(half,)) for half in _cycles(item.body[0]) if isinstance(half, Step)
        )
    if item.op is not Op.PASS:
        return (item,)
    return replace(item, op=Op.COMPARE, write=()), replace(item, op=Op.WRITE, key=())
