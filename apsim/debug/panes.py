"""The debugger's views beside the array: LUT, counters, listing, watches, source of a step.

The rule: a pane reads the session when it is drawn, and changes nothing.  The prompt
and the full-screen view show the same panes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from rich.console import Group, RenderableType
from rich.text import Text

from apsim.counts import Counts
from apsim.debug.conditions import Changed
from apsim.debug.grid import DIM, HEAD, MATCH, GridPane, line
from apsim.debug.session import Session
from apsim.debug.stops import Stop, Stops
from apsim.debug.timeline import Place
from apsim.debug.view import View, describe
from apsim.errors import shown
from apsim.lut.draw import pass_rows, table_lines, truth_rows
from apsim.lut.model import Lut
from apsim.program import Step

__all__ = ["PANES", "Pane", "counters", "listing"]

HERE = "bold yellow"
MOST_WORDS = 8  # of a watched field
AROUND = 4  # steps listed before and after the present one


class Pane(Protocol):
    """What is drawn under a title."""

    title: str

    def __rich__(self) -> RenderableType: ...


class LutPane:
    """The LUT of the step at hand, its pass and the row of the truth table marked `>`."""

    title = "LUT"

    def __init__(self, session: Session, most: int | None = None) -> None:
        self.session, self.most = session, most

    def __rich__(self) -> RenderableType:
        place = self.session.done or self.session.upcoming
        if place is None or place.step.table is None:
            return line("this step belongs to no LUT", DIM)
        first, *rows = _table(place.step.table, place.step)
        named = columns_named(place.step.table, place, self.session)
        head = [first, *([Text(named, DIM)] if named else [])]
        return Group(*head, *self._fitting(rows, 2 * len(head)))

    def _fitting(self, rows: list[Text], above: int) -> list[Text]:
        """The heading of the table and as many rows around the marked one as there is room for."""
        if self.most is None or len(rows) + above <= self.most:
            return rows
        room = max(self.most - above - 1, 1)
        marked = next((k for k, row in enumerate(rows) if row.style == HERE), 1)
        start = min(max(marked - room // 2, 1), len(rows) - room)
        return [rows[0], *rows[start : start + room]]


def columns_named(lut: Lut, place: Place, session: Session) -> str:
    """What the LUT's columns are in this step, where a field has another name; else nothing."""
    step = place.step
    if place.rows is not None or not 0 <= step.lut_pass < len(lut.passes):
        return ""
    one = lut.passes[step.lut_pass]
    pairs = [*zip(one.key, step.key, strict=True), *zip(one.write, step.write, strict=True)]
    fields = sorted(session.machine.layout.values(), key=lambda field: field.width)
    there = {}
    for (name, _), (column, _) in pairs:
        field = next((field for field in fields if column in field.columns), None)
        if field is not None:
            bit = f".{column - field.column}" if field.width > 1 else ""
            there[name] = f"{field.name}{bit}"
    if all(place.partition(".")[0] == name for name, place in there.items()):
        return ""
    return "  ".join(f"{name} is {there[name]}" for name in lut.columns if name in there)


def _table(lut: Lut, step: Step) -> Iterator[Text]:
    yield line(shown(f"{lut.name}: {lut.about}"), HEAD)
    number = step.lut_pass if 0 <= step.lut_pass < len(lut.passes) else None
    key = {} if number is None else dict(lut.passes[number].key)
    rows = truth_rows(lut)
    states = [None, *lut.truth]
    for state, drawn in zip(states, table_lines(rows), strict=True):
        held = state is not None and all(
            bit == key[name] for name, bit in zip(lut.columns, state, strict=True) if name in key
        )
        yield _marked(drawn, held and bool(key))
    if rows[0][1] != ("pass",):
        yield line("passes, in order:", DIM)
        for at, row in enumerate(table_lines(pass_rows(lut)), -1):
            yield _marked(row, at == number)


def _marked(drawn: str, here: bool) -> Text:
    return line(f"{'>' if here else ' '}{drawn}", HERE if here else "")


class CountersPane:
    """Operations by phase and kind, done and to do, and the data-dependent work."""

    title = "counters"

    def __init__(self, session: Session) -> None:
        self.session = session

    def __rich__(self) -> RenderableType:
        heading, *rows = counters(self.session)
        return Group(line(heading, HEAD), *map(line, rows))


def counters(session: Session) -> Iterator[str]:
    """Lines of the counters' table."""
    yield f"{'phase':10} {'compares':>9} {'writes':>9} {'reads':>9}"
    for phase, counts in session.tape.counts.items():
        yield _counts_line(phase.value, counts)
    yield _counts_line("done", session.counts)
    yield _counts_line("program", session.program.counts())
    done = session.tape.activity
    yield (
        f"{done.matched} of {done.compared} lines matched, "
        f"{done.written} cells written, {done.flipped} flipped"
    )


def _counts_line(name: str, counts: Counts) -> str:
    return f"{name:10} {counts.compare:9} {counts.write:9} {counts.read:9}"


class ListingPane:
    """The program around the present step; `>` marks the step that runs next."""

    title = "program"

    def __init__(self, session: Session) -> None:
        self.session = session

    def __rich__(self) -> RenderableType:
        here = self.session.point // 2
        lines = listing(self.session, here - AROUND, here + AROUND + 1)
        return Group(*(line(shown, HERE if shown.startswith(">") else "") for shown in lines))


def listing(session: Session, first: int, last: int) -> Iterator[str]:
    """Steps `first` up to, not including, `last`, as far as the program has them."""
    here = session.point // 2
    for index in range(max(first, 0), min(last, len(session.timeline))):
        mark = " " if index != here else "|" if session.point % 2 else ">"
        yield f"{mark}{index:6}  {_place(session.timeline[index])}"
    if here == len(session.timeline) and last > here:
        yield f">{here:6}  the end"


def _place(place: Place) -> str:
    if place.rows is None:
        return str(place.step)
    groups = f"group {place.group}" if len(place.rows) == 1 else f"{len(place.rows)} groups at once"
    slots = dict.fromkeys(slot for slot, _ in (*place.step.key, *place.step.write))
    rows = " ".join(str(place.rows[0, slot]) for slot in slots)
    return f"{place.step}  ({groups}, rows {rows})"


class StopsPane:
    """The stops that are set; a watched field with its first words."""

    title = "stops"

    def __init__(self, session: Session, stops: Stops) -> None:
        self.session, self.stops = session, stops

    def __rich__(self) -> RenderableType:
        lines = [f"{stop}{self._words(stop)}" for stop in self.stops.all]
        return Group(*map(line, lines or ["no breakpoints, no watches"]))

    def _words(self, stop: Stop) -> str:
        if not isinstance(stop.condition, Changed):
            return ""
        words = self.session.values(stop.condition.field)
        more = " ..." if len(words) > MOST_WORDS else ""
        return f" = {' '.join(map(str, words[:MOST_WORDS]))}{more}"


class StepPane:
    """What the last step did, in one line."""

    title = "last step"

    def __init__(self, session: Session) -> None:
        self.session = session

    def __rich__(self) -> RenderableType:
        event = self.session.event()
        return line(describe(self.session, event) if event else "at the start", MATCH)


PANES: dict[str, Callable[[Session, View, Stops], Pane]] = {
    "array": lambda session, view, stops: GridPane(session, view),
    "lut": lambda session, view, stops: LutPane(session),
    "counters": lambda session, view, stops: CountersPane(session),
    "program": lambda session, view, stops: ListingPane(session),
    "stops": lambda session, view, stops: StopsPane(session, stops),
    "step": lambda session, view, stops: StepPane(session),
}
"""The panes by the names that `show` and `display` know."""
