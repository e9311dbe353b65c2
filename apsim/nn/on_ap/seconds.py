"""Where the time of a run goes: programs, load, passes, unload.

The rule: what time passes between two turns of a clock belongs to the part named at the
first of them, so that parts add up to the whole and none is counted twice.

| part    | what belongs to it                                                            |
|---------|-------------------------------------------------------------------------------|
| program | programs, their schedules and machine code, and counts worked out from them    |
| load    | im2col and windows, checking and coding operands, packing them as bit-planes  |
| passes  | the kernel, with the steps that write operands into an array: these are AP writes |
| unload  | bit-planes to words, and words to integers                                    |

An array that runs one load after another makes its plans and puts out its words inside
the call that executes a program: there they belong to the passes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Clock", "Seconds"]


@dataclass(frozen=True)
class Seconds:
    """Seconds by part."""

    program: float = 0.0
    load: float = 0.0
    passes: float = 0.0
    unload: float = 0.0

    @classmethod
    def sum(cls, many: Iterable[Seconds]) -> Seconds:
        """All of them together."""
        return sum(many, cls())

    @property
    def total(self) -> float:
        """All parts together."""
        return self.program + self.load + self.passes + self.unload

    @property
    def moving(self) -> float:
        """The share of load (with im2col) and unload in the total, 0 to 1."""
        return (self.load + self.unload) / self.total if self.total else 0.0

    def as_dict(self) -> dict[str, float]:
        """The parts by name."""
        return {
            "program": self.program,
            "load": self.load,
            "passes": self.passes,
            "unload": self.unload,
        }

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(
            self.program + other.program,
            self.load + other.load,
            self.passes + other.passes,
            self.unload + other.unload,
        )


class Clock:
    """Seconds by part, one part at a time; it stands until it is first turned."""

    def __init__(self) -> None:
        self._seconds, self._part, self._since = Seconds().as_dict(), "", 0.0

    def turn(self, part: str) -> None:
        """From now on, time belongs to `part` of `Seconds`; with "" the clock stands."""
        now = time.perf_counter()
        if self._part:
            self._seconds[self._part] += now - self._since
        self._part, self._since = part, now

    def take(self) -> Seconds:
        """Stand, and give what the parts took since they were last taken."""
        self.turn("")
        taken, self._seconds = Seconds(**self._seconds), Seconds().as_dict()
        return taken
