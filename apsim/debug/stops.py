"""Running until something stops the run: breakpoints and watches, forwards and back.

The rule: a stop is a place where a condition holds after a whole step.  Going back
finds the same places as going forward, by replaying forward through the past, the
latest stretch first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from apsim.debug.conditions import Changed, Condition
from apsim.debug.session import Session
from apsim.debug.timeline import Place
from apsim.errors import InputError

__all__ = ["Stop", "Stops", "run_back", "run_forward"]

MOST = 128  # stops of a session
STRETCH = 512  # steps of the past that are searched at a time


@dataclass
class Stop:
    """A breakpoint or watch: its number, the words it was made with, how often it stopped us."""

    number: int
    text: str
    condition: Condition
    temporary: bool = False
    enabled: bool = True
    hits: int = 0

    @property
    def kind(self) -> str:
        """What a user calls it."""
        return "watch" if isinstance(self.condition, Changed) else "breakpoint"

    def __str__(self) -> str:
        notes = [f"hit {self.hits} times" if self.hits != 1 else "hit once"]
        notes += ["once only"] * self.temporary + ["disabled"] * (not self.enabled)
        return f"{self.kind} {self.number}: {self.text}  ({', '.join(notes)})"


@dataclass
class Stops:
    """The stops of a session; numbers are never used twice."""

    all: list[Stop] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def add(self, text: str, condition: Condition, temporary: bool = False) -> Stop:
        """Make a new stop; raises `InputError` where there are too many to look at each step."""
        if len(self.all) >= MOST:
            raise InputError(f"wanted at most {MOST} stops; `delete` some first")
        self.all.append(Stop(next(self._numbers), text, condition, temporary))
        return self.all[-1]

    @property
    def active(self) -> list[Stop]:
        """Those that can stop a run."""
        return [stop for stop in self.all if stop.enabled]

    def hit(self, stops: Sequence[Stop]) -> None:
        """Count a halt, and drop the stops that were for once only."""
        for stop in stops:
            stop.hits += 1
            if stop.temporary and stop in self.all:
                self.all.remove(stop)


def run_forward(session: Session, stops: Sequence[Stop]) -> list[Stop]:
    """Run on until a stop holds or the program ends; give the stops that hold."""
    for place in _candidates(session, stops, session.point // 2, len(session.timeline)):
        hits = _hits_after(session, stops, place)
        if hits or session.tape.should_stop():
            return hits
    session.go_to(session.end)
    return []


def run_back(session: Session, stops: Sequence[Stop]) -> list[Stop]:
    """Go back to the latest place before this one where a stop held, or to the start."""
    last = (session.point - 1) // 2  # the step whose end is the present, or beyond it
    with session.untold():
        while last > 0:
            first = max(last - STRETCH, 0)
            found = _latest(session, stops, first, last)
            if session.tape.should_stop():
                return []
            if found is not None:
                session.go_to(found[0])
                return found[1]
            last = first
        session.go_to(0)
    return []


def _latest(
    session: Session, stops: Sequence[Stop], first: int, last: int
) -> tuple[int, list[Stop]] | None:
    """The last point at which a stop holds after one of the steps `first` up to `last`."""
    found = None
    for place in _candidates(session, stops, first, last):
        if hits := _hits_after(session, stops, place):
            found = session.point, hits
    return found


def _candidates(session: Session, stops: Sequence[Stop], first: int, last: int) -> Iterator[Place]:
    """The steps from `first` up to `last` that some stop may hold after."""
    if not stops:
        return
    for number, index in enumerate(range(first, last)):
        if number % 1024 == 0 and session.tape.should_stop():
            return
        place = session.timeline[index]
        if any(stop.condition.may(place) for stop in stops):
            yield place


def _hits_after(session: Session, stops: Sequence[Stop], place: Place) -> list[Stop]:
    asked = [stop for stop in stops if stop.condition.may(place)]
    if session.point // 2 != place.index:
        session.go_to(2 * place.index)
    if session.point // 2 != place.index:
        return []  # interrupted on the way
    before = [stop.condition.before(session) for stop in asked]
    session.step()
    pairs = zip(asked, before, strict=True)
    return [stop for stop, was in pairs if stop.condition.holds(session, was)]
