"""Reading conditions from text, and refusing those that cannot be or can never hold.

    bit 3 and pass 2                step 40                tag             tag > 2
    row 5 and phase reduce          write B                write B.7       write column 12
    B == 33                         B > A in row 2         label "read row"

The rule: every complaint points at its place in the text.  A value condition alone
stops where it becomes true; beside others it is looked at wherever they hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NoReturn

from apsim.counts import Phase
from apsim.debug.conditions import (
    RELATIONS,
    Becomes,
    BitIs,
    Both,
    Condition,
    LabelIs,
    PhaseIs,
    RowMatched,
    StepIs,
    TagCount,
    ValueIs,
    Written,
)  # fmt: skip
from apsim.debug.session import Session
from apsim.errors import InputError
from apsim.layout import Field

__all__ = ["WORDS", "parse"]

WORDS = ("pass", "label", "bit", "step", "row", "tag", "write", "phase")
TOKEN = re.compile(r'\s*(?:(-?\d+)|("[^"]*")|([A-Za-z_]\w*)|(==|!=|<=|>=|[<>.])|(\S))')


@dataclass(frozen=True)
class Token:
    """A piece of the text and its place."""

    text: str
    at: int


def parse(text: str, session: Session) -> Condition:
    """The condition that the text says; raises `InputError` with a mark under the trouble."""
    reader = _Reader(text, session)
    parts = [(reader.here, reader.term())]
    while reader.more():
        reader.expect("and")
        parts.append((reader.here, reader.term()))
    for at, part in parts:
        _refuse_impossible(part, reader, at)
    if len(parts) == 1:
        (_, only) = parts[0]
        return Becomes(only) if isinstance(only, ValueIs) else only
    both = Both(tuple(part for _, part in parts))
    _refuse_impossible(both, reader, parts[0][0])
    return both


class _Reader:
    def __init__(self, text: str, session: Session) -> None:
        self.text, self.session = text, session
        self.layout = session.machine.layout
        self.tokens = [Token(m.group().strip(), m.start(m.lastindex or 0))
                       for m in TOKEN.finditer(text)]  # fmt: skip

    @property
    def here(self) -> int:
        return self.tokens[0].at if self.tokens else len(self.text.rstrip()) + 1

    def more(self) -> bool:
        return bool(self.tokens)

    def refuse(self, message: str, at: int | None = None) -> NoReturn:
        place = self.here if at is None else at
        raise InputError(f"{message}\n    {self.text}\n    {' ' * place}^")

    def next(self, wanted: str) -> Token:
        if not self.tokens:
            self.refuse(f"wanted {wanted} here")
        return self.tokens.pop(0)

    def accept(self, *words: str) -> str | None:
        if self.tokens and self.tokens[0].text in words:
            return self.tokens.pop(0).text
        return None

    def expect(self, word: str) -> None:
        if self.accept(word) is None:
            got = f", got {self.tokens[0].text!r}" if self.tokens else ""
            self.refuse(f"wanted {word!r}{got}")

    def number(self, lowest: int, highest: int, what: str) -> int:
        token = self.next(f"a number of {what}")
        if not re.fullmatch(r"-?\d+", token.text):
            self.refuse(f"wanted a number, got {token.text!r}", token.at)
        if not lowest <= int(token.text) <= highest:
            self.refuse(f"wanted {what} {lowest} to {highest}, got {token.text}", token.at)
        return int(token.text)

    def field(self, what: str = "a field") -> Field:
        token = self.next(what)
        name = token.text.strip('"')
        if name not in self.layout:
            near = get_close_matches(name, [*self.layout, *WORDS], 1, 0.4)
            hint = (
                f"; did you mean {near[0]}?" if near else f"; fields are {', '.join(self.layout)}"
            )
            self.refuse(f"wanted {what}, got {token.text!r}{hint}", token.at)
        return self.layout[name]

    def term(self) -> Condition:
        word = self.accept(*WORDS)
        read: Callable[[], Condition] = self.value if word is None else getattr(self, f"_{word}")
        return read()

    def value(self) -> Condition:
        field = self.field("a condition")
        relation = self.next("one of == != < <= > >=")
        if relation.text not in RELATIONS:
            self.refuse(f"wanted one of == != < <= > >=, got {relation.text!r}", relation.at)
        other: int | Field
        if self.tokens and re.fullmatch(r"-?\d+", self.tokens[0].text):
            other = self.number(-(1 << 64), 1 << 64, "value")
        else:
            other = self.field("a number or a field")
        row = None
        if self.accept("in"):
            self.expect("row")
            row = self.number(0, self.session.machine.rows - 1, "row")
        return ValueIs(field, relation.text, other, row)

    def _compared(self, what: str, highest: int) -> tuple[str, int]:
        relation = self.accept(*RELATIONS) or "=="
        return relation, self.number(0, highest, what)

    def _pass(self) -> Condition:
        return LabelIs(f"pass {self.next('the label of a pass').text}")

    def _label(self) -> Condition:
        return LabelIs(self.next("a label").text.strip('"'))

    def _bit(self) -> Condition:
        return BitIs(*self._compared("bit", 1 << 16))

    def _step(self) -> Condition:
        return StepIs(*self._compared("step", len(self.session.timeline) - 1))

    def _row(self) -> Condition:
        return RowMatched(self.number(0, self.session.machine.rows - 1, "row"))

    def _tag(self) -> Condition:
        if not self.tokens or self.tokens[0].text not in RELATIONS:
            return TagCount(">", 0)
        return TagCount(*self._compared("tagged lines", _most_lines(self.session)))

    def _phase(self) -> Condition:
        token = self.next("a phase")
        name = token.text.strip('"')
        if name not in [phase.value for phase in Phase]:
            known = ", ".join(f'"{p.value}"' if " " in p.value else p.value for p in Phase)
            self.refuse(f"wanted a phase ({known}), got {token.text!r}", token.at)
        return PhaseIs(name)

    def _write(self) -> Condition:
        if self.accept("column"):
            return Written((self.number(0, self.session.machine.cam.columns - 1, "column"),))
        field = self.field()
        if self.accept("."):
            return Written((field[self.number(0, field.width - 1, f"bit of {field.name}")],))
        return Written(tuple(field.columns))


def _refuse_impossible(condition: Condition, reader: _Reader, at: int) -> None:
    if isinstance(condition, ValueIs) and isinstance(condition.other, int):
        low, high = condition.field.lowest, condition.field.highest
        if not _can_be(condition.relation, condition.other, low, high):
            reader.refuse(f"{condition.field.name} holds {low} to {high}: this never holds", at)
    if isinstance(condition, TagCount):
        lines = _most_lines(reader.session)
        if not _can_be(condition.relation, condition.number, 0, lines):
            reader.refuse(f"at most {lines} lines can be tagged: this never holds", at)
    if not _some_step_may(condition, reader.session):
        known = _known(condition, reader.session)
        reader.refuse(f"no step of this program can do that{known}", at)


def _can_be(relation: str, number: int, low: int, high: int) -> bool:
    """Whether some value from low to high compares so with a number."""
    telling = (low, high, *(v for v in (number - 1, number, number + 1) if low <= v <= high))
    return any(RELATIONS[relation](value, number) for value in telling)


def _most_lines(session: Session) -> int:
    """How many lines the widest tag of the program has."""
    cam = session.machine.cam
    places = (session.timeline[place.index] for place in session.timeline.distinct())
    return max(
        cam.rows if place.rows is None else cam.columns * len(place.rows) for place in places
    )


def _some_step_may(condition: Condition, session: Session) -> bool:
    parts = condition.parts if isinstance(condition, Both) else (condition,)
    numbers = [part.number for part in parts if isinstance(part, StepIs) and part.relation == "=="]
    if numbers:
        return condition.may(session.timeline[numbers[0]])
    others = [part for part in parts if not isinstance(part, StepIs)]
    places = session.timeline.distinct()
    return any(all(part.may(place) for part in others) for place in places)


def _known(condition: Condition, session: Session) -> str:
    """What the program has instead, for those conditions where that is a short list."""
    steps = [place.step for place in session.timeline.distinct()]
    if isinstance(condition, BitIs):
        return f"; its bits are {_listed(step.bit for step in steps if step.bit is not None)}"
    if isinstance(condition, LabelIs):
        return f"; its labels are {_listed(step.label for step in steps)}"
    if isinstance(condition, PhaseIs):
        return f"; its phases are {_listed(step.phase.value for step in steps)}"
    return ""


def _listed(values: Iterator[object]) -> str:
    known = list(dict.fromkeys(str(value) for value in values))
    return ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
