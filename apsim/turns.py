"""Bodies of loops in which a few steps come again and again, each time a slot further on.

The rule: such a body *is* the steps one after another, and says so wherever it is asked
for one; what it holds is one turn and how many there are.  Whoever counts or encodes it
does so turn by turn: a step of `times` turns runs `times` times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, overload

from apsim.errors import ProgramError

if TYPE_CHECKING:
    from apsim.program import Bits, Step

__all__ = ["STILL", "Turns", "Unrolled", "turns_of"]

STILL = -1  # a slot that no step has: nothing moves


@dataclass(frozen=True)
class Turns:
    """Steps carried out `times` times over: slot `moving` is slot `moving + t` in turn t."""

    steps: tuple[Step, ...]
    times: int = 1
    moving: int = STILL

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ProgramError(f"steps are taken in one turn or more, got {self.times}")

    def __len__(self) -> int:
        return len(self.steps) * self.times

    def __iter__(self) -> Iterator[Step]:
        for turn in range(self.times):
            for step in self.steps:
                yield self._moved(step, turn)

    @property
    def slots(self) -> int:
        """How many slots a loop must have for these steps."""
        lines = {line for step in self.steps for line, _ in (*step.key, *step.write)}
        if self.moving in lines:
            lines.add(self.moving + self.times - 1)
        return 1 + max(lines, default=-1)

    def _moved(self, step: Step, turn: int) -> Step:
        if not any(line == self.moving for line, _ in (*step.key, *step.write)):
            return step
        return replace(step, key=self._bits(step.key, turn), write=self._bits(step.write, turn))

    def _bits(self, bits: Bits, turn: int) -> Bits:
        return tuple((line + turn if line == self.moving else line, bit) for line, bit in bits)


@dataclass(frozen=True)
class Unrolled(Sequence["Step"]):
    """The steps of some turns, in order: made only when somebody looks at one."""

    turns: tuple[Turns, ...]

    def __len__(self) -> int:
        return sum(len(turns) for turns in self.turns)

    @overload
    def __getitem__(self, where: int) -> Step: ...
    @overload
    def __getitem__(self, where: slice) -> tuple[Step, ...]: ...
    def __getitem__(self, where: int | slice) -> Step | tuple[Step, ...]:
        return self._steps[where]

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps)

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return tuple(step for turns in self.turns for step in turns)


def turns_of(body: Sequence[Step]) -> tuple[Turns, ...]:
    """The turns of a body; steps that stand for themselves are one turn."""
    return body.turns if isinstance(body, Unrolled) else (Turns(tuple(body)),)
