"""Bodies of loops in which a few steps come again and again, each time a slot further on.

The rule: such a body *is* the steps one after another, and says so wherever it is asked
for one; what it holds is some steps and how often they come.  Whoever counts or encodes it
does so repeat by repeat: a step of a repeat of `times` runs `times` times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

from apsim.errors import ProgramError
from apsim.step import Bits, Body, Step, slots_of

__all__ = ["STILL", "Repeat", "Repeats", "repeats_of"]

STILL = -1  # a slot that no step has: nothing moves


@dataclass(frozen=True)
class Repeat:
    """Steps carried out `times` times over: slot `moving` is slot `moving + t` in turn t."""

    steps: tuple[Step, ...]
    times: int = 1
    moving: int = STILL

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ProgramError(f"steps are repeated once or more, got {self.times}")

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
        last = self.moving + self.times if self.moving in lines else 0
        return max(slots_of(self.steps), last)

    def _moved(self, step: Step, turn: int) -> Step:
        if not any(line == self.moving for line, _ in (*step.key, *step.write)):
            return step
        return replace(step, key=self._bits(step.key, turn), write=self._bits(step.write, turn))

    def _bits(self, bits: Bits, turn: int) -> Bits:
        return tuple((line + turn if line == self.moving else line, bit) for line, bit in bits)


@dataclass(frozen=True)
class Repeats(Body):
    """The steps of some repeats, in order: made only when somebody looks at one."""

    repeats: tuple[Repeat, ...]

    def __len__(self) -> int:
        return sum(len(repeat) for repeat in self.repeats)

    @overload
    def __getitem__(self, where: int) -> Step: ...
    @overload
    def __getitem__(self, where: slice) -> tuple[Step, ...]: ...
    def __getitem__(self, where: int | slice) -> Step | tuple[Step, ...]:
        return self._steps[where]

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps)

    @property
    def slots(self) -> int:
        """How many slots a loop must have for these steps."""
        return max(repeat.slots for repeat in self.repeats)

    def times(self) -> Iterator[tuple[Step, int]]:
        """Steps, and how often each runs; not in their order."""
        return ((step, repeat.times) for repeat in self.repeats for step in repeat.steps)

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return tuple(step for repeat in self.repeats for step in repeat)


def repeats_of(body: Sequence[Step]) -> tuple[Repeat, ...]:
    """The repeats of a body; steps that stand for themselves are one."""
    return body.repeats if isinstance(body, Repeats) else (Repeat(tuple(body)),)
