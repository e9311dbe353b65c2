"""Conditions to stop on, as objects; `expressions` reads them from text.

The rule: a condition is asked twice.  `may(place)` looks at the step alone, so that
steps which cannot stop the run are passed in one stride; `holds(session, before)`
looks at the state that the step left, with what `before(session)` noted before it
ran.  Both are exact: no stop is missed, none is invented.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.debug.session import Session
from apsim.debug.timeline import Place
from apsim.layout import Field
from apsim.program import Mode, Op, Step

__all__ = [
    "RELATIONS",
    "Becomes",
    "BitIs",
    "Both",
    "Changed",
    "Condition",
    "LabelIs",
    "PhaseIs",
    "RowMatched",
    "StepIs",
    "TagCount",
    "ValueIs",
    "Written",
]

RELATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le,
    ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """Stops on every step; the kinds below narrow it down."""

    def may(self, place: Place) -> bool:
        """Whether this step can stop the run, whatever the data."""
        return True

    def before(self, session: Session) -> Any:
        """What to remember of the state before such a step."""
        return None

    def holds(self, session: Session, before: Any) -> bool:
        """Whether the state after such a step stops the run."""
        return True


@dataclass(frozen=True)
class LabelIs(Condition):
    """Steps of a label, such as `pass 2` or `read row`."""

    label: str

    def may(self, place: Place) -> bool:
        return place.step.label == self.label


@dataclass(frozen=True)
class PhaseIs(Condition):
    """Steps of a phase."""

    phase: str

    def may(self, place: Place) -> bool:
        return place.step.phase.value == self.phase


@dataclass(frozen=True)
class BitIs(Condition):
    """Steps at a bit of the word."""

    relation: str
    number: int

    def may(self, place: Place) -> bool:
        bit = place.step.bit
        return bit is not None and bool(RELATIONS[self.relation](bit, self.number))


@dataclass(frozen=True)
class StepIs(Condition):
    """Steps by number."""

    relation: str
    number: int

    def may(self, place: Place) -> bool:
        return bool(RELATIONS[self.relation](place.index, self.number))


@dataclass(frozen=True)
class Written(Condition):
    """Steps that drive a cell of some of these columns."""

    columns: tuple[int, ...]

    def may(self, place: Place) -> bool:
        return may_write(place, self.columns)

    def holds(self, session: Session, before: Any) -> bool:
        place = session.done
        assert place is not None
        if place.step.mode is Mode.VERTICAL and place.step.op in (Op.PASS, Op.WRITE):
            return bool(session.tag[:, self.columns].any())
        return session.tape.last.written > 0


@dataclass(frozen=True)
class Changed(Condition):
    """Steps that change a word of the field."""

    field: Field

    def may(self, place: Place) -> bool:
        return may_write(place, self.field.columns)

    def before(self, session: Session) -> NDArray[np.int64]:
        return session.values(self.field)

    def holds(self, session: Session, before: Any) -> bool:
        return session.tape.last.flipped > 0 and not np.array_equal(
            before, session.values(self.field)
        )


@dataclass(frozen=True)
class RowMatched(Condition):
    """Compares and reads that tag a row; vertically, those whose keyed rows match and are it."""

    row: int

    def may(self, place: Place) -> bool:
        return sets_tag(place.step) and (place.rows is None or len(self._groups(place)) > 0)

    def holds(self, session: Session, before: Any) -> bool:
        place = session.done
        assert place is not None
        if place.rows is None:
            return bool(session.tag[self.row])
        return bool(session.tag[self._groups(place)].any())

    def _groups(self, place: Place) -> NDArray[np.int64]:
        """The groups of a vertical step that key on the row."""
        assert place.rows is not None
        slots = [slot for slot, _ in place.step.key]
        return np.flatnonzero((place.rows[:, slots] == self.row).any(axis=1))


@dataclass(frozen=True)
class TagCount(Condition):
    """Compares and reads that tag so many lines."""

    relation: str
    number: int

    def may(self, place: Place) -> bool:
        return sets_tag(place.step)

    def holds(self, session: Session, before: Any) -> bool:
        return bool(RELATIONS[self.relation](session.tape.last.matched, self.number))


@dataclass(frozen=True)
class ValueIs(Condition):
    """A field's word compares so with a number or another field's, in one row or in any."""

    field: Field
    relation: str
    other: int | Field
    row: int | None = None

    def holds(self, session: Session, before: Any) -> bool:
        return self.is_true(session)

    def is_true(self, session: Session) -> bool:
        """Whether the words compare so now."""
        words = session.values(self.field)
        other = session.values(self.other) if isinstance(self.other, Field) else self.other
        found = np.asarray(RELATIONS[self.relation](words, other))
        return bool(found.any() if self.row is None else found[self.row])

    @property
    def columns(self) -> tuple[int, ...]:
        """The columns that decide."""
        others = self.other.columns if isinstance(self.other, Field) else ()
        return (*self.field.columns, *others)


@dataclass(frozen=True)
class Becomes(Condition):
    """A step makes a value condition true that was not true before it."""

    value: ValueIs

    def may(self, place: Place) -> bool:
        return may_write(place, self.value.columns)

    def before(self, session: Session) -> bool:
        return self.value.is_true(session)

    def holds(self, session: Session, before: Any) -> bool:
        return not before and self.value.is_true(session)


@dataclass(frozen=True)
class Both(Condition):
    """Several conditions at once."""

    parts: tuple[Condition, ...]

    def may(self, place: Place) -> bool:
        return all(part.may(place) for part in self.parts)

    def holds(self, session: Session, before: Any) -> bool:
        return all(part.holds(session, None) for part in self.parts)


def sets_tag(step: Step) -> bool:
    """Whether a step compares."""
    return step.op in (Op.PASS, Op.COMPARE, Op.READ)


def may_write(place: Place, columns: range | tuple[int, ...]) -> bool:
    """Whether a step can drive a cell of some of the columns."""
    step = place.step
    if step.op in (Op.COMPARE, Op.READ):
        return False
    moves = step.op in (Op.WRITE_TAG, Op.WRITE_DATA)
    if step.mode is Mode.VERTICAL:
        filled = range(step.target, step.target + step.width)
        return not moves or any(column in filled for column in columns)
    return any(line in columns for line, _ in (step.key if moves else step.write))
