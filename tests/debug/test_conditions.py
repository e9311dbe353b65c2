"""Stops are exact: none is missed, none is invented, and both directions agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim.debug.conditions import Changed
from apsim.debug.expressions import parse
from apsim.debug.session import Session
from apsim.debug.stops import Stop, run_back, run_forward
from apsim.errors import InputError
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.ops.arithmetic import add
from apsim.program import Mode, Op
from tests.helpers.strategies import cells, programs

LAYOUT = Layout(A=3, B=3, C=1)
ROWS = 5


def adding() -> Session:
    machine = Machine(4, LAYOUT, engine="dense")
    machine.write("A", [1, 2, 3, 4])
    machine.write("B", [5, 6, 7, 0])
    return Session(machine, add("A", "B", carry="C"))


def places(session: Session, *stops: Stop) -> list[int]:
    """The steps after which a forward run halts, before the end."""
    found = []
    while run_forward(session, stops):
        found.append(session.point // 2 - 1)
    return found


def by_hand(session: Session, holds: Any) -> list[int]:
    """The steps after which `holds(session, cells before)` is true, one step at a time."""
    found, before = [], session.machine.cam.peek()
    while session.step():
        if holds(session, before):
            found.append(session.point // 2 - 1)
        before = session.machine.cam.peek()
    return found


def words(cells_: np.ndarray, name: str) -> list[int]:
    return [
        int(sum(1 << k for k, c in enumerate(LAYOUT[name].columns) if row[c])) for row in cells_
    ]


def step_of(session: Session) -> Any:
    assert session.done is not None
    return session.done.step


def compares(session: Session) -> bool:
    return step_of(session).op in (Op.PASS, Op.COMPARE, Op.READ)


def becomes_five(session: Session, before: np.ndarray) -> bool:
    return 5 in words(session.machine.cam.peek(), "B") and 5 not in words(before, "B")


def row_two_tagged(session: Session, before: np.ndarray) -> bool:
    if not compares(session):
        return False
    if step_of(session).mode is Mode.HORIZONTAL:
        return bool(session.machine.cam.tag[2])
    rows, tags = session.done.rows, session.machine.cam.column_tag  # type: ignore[union-attr]
    keyed = [g for g, row in enumerate(rows) if 2 in [row[s] for s, _ in step_of(session).key]]
    return bool(tags[keyed].any())


MEANINGS: dict[str, Any] = {
    "pass 2": lambda s, b: step_of(s).label == "pass 2",
    "bit >= 2": lambda s, b: step_of(s).bit is not None and step_of(s).bit >= 2,
    "phase compute": lambda s, b: step_of(s).phase.value == "compute",
    "tag > 1": lambda s, b: compares(s) and s.tag.sum() > 1,
    "tag == 0": lambda s, b: compares(s) and not s.tag.any(),
    "row 2": row_two_tagged,
    "B == 5": becomes_five,
    "pass 1 and B > A in row 1": lambda s, b: (
        step_of(s).label == "pass 1"
        and words(s.machine.cam.peek(), "B")[1] > words(s.machine.cam.peek(), "A")[1]
    ),
    "watch B": lambda s, b: words(b, "B") != words(s.machine.cam.peek(), "B"),
}


def stop_for(text: str, session: Session) -> Stop:
    if text == "watch B":
        return Stop(1, "B", Changed(LAYOUT["B"]))
    return Stop(1, text, parse(text, session))


@st.composite
def runs(draw: st.DrawFn) -> tuple[np.ndarray, Any]:
    return draw(cells(ROWS, LAYOUT.columns)), draw(programs(ROWS, LAYOUT.columns))


def session_on(run: tuple[np.ndarray, Any]) -> Session:
    machine = Machine(ROWS, LAYOUT, engine="dense")
    machine.cam.poke(run[0])
    return Session(machine, run[1], memory=0)


@pytest.mark.parametrize("text", MEANINGS)
@given(run=runs())
@settings(max_examples=25)
def test_a_run_halts_where_its_condition_holds_and_nowhere_else(text: str, run: Any) -> None:
    """places(run_forward) == the steps after which the condition holds, looked at one by one."""
    session = session_on(run)
    try:
        stop = stop_for(text, session)
    except InputError:
        assert by_hand(session, MEANINGS[text]) == []
        return
    assert places(session, stop) == by_hand(session_on(run), MEANINGS[text])


@pytest.mark.parametrize("text", MEANINGS)
@given(run=runs())
@settings(max_examples=15)
def test_going_back_halts_at_the_same_places_in_reverse(text: str, run: Any) -> None:
    """places(run_back) == reversed(places(run_forward))."""
    session = session_on(run)
    try:
        stop = stop_for(text, session)
    except InputError:
        return
    forward = places(session, stop)
    backward = []
    while session.point and (run_back(session, [stop]) or session.point):
        backward.append(session.point // 2 - 1)
    last = len(session.timeline) - 1
    assert backward == [place for place in reversed(forward) if place != last]


MISTAKES = {
    "bit 9": ("no step of this program", 0),
    "bit 1 adn tag": ("wanted 'and', got 'adn'", 6),
    "bit 1 and": ("wanted a condition here", 10),
    "Q == 1": ("wanted a condition, got 'Q'", 0),
    "bti 1": ("did you mean bit?", 0),
    "B = 1": ("wanted one of == != < <= > >=, got '='", 2),
    "B > 7": ("B holds 0 to 7: this never holds", 0),
    "B == -1": ("B holds 0 to 7: this never holds", 0),
    "B == 1 in row 4": ("wanted row 0 to 3, got 4", 14),
    "B == C2": ("wanted a number or a field, got 'C2'", 5),
    "row 4": ("wanted row 0 to 3, got 4", 4),
    "tag > 4": ("at most 4 lines", 0),
    "tag < 0": ("at most 4 lines", 0),
    "step 12": ("wanted step 0 to 11, got 12", 5),
    "write A": ("no step of this program", 0),
    "write column 7": ("wanted column 0 to 6, got 7", 13),
    "write B.3": ("wanted bit of B 0 to 2, got 3", 8),
    "phase reduce": ("its phases are compute", 0),
    "pass 7": ("its labels are pass 1, pass 2, pass 3, pass 4", 0),
    "step 0 and bit 2": ("no step of this program", 0),
    "%": ("wanted a condition, got '%'", 0),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_condition_that_cannot_be_is_refused_with_a_mark_under_the_place(text: str) -> None:
    said, place = MISTAKES[text]
    with pytest.raises(InputError) as caught:
        parse(text, adding())
    message, shown, mark = str(caught.value).split("\n")
    assert said in message
    assert shown == f"    {text}"
    assert mark.index("^") - 4 == place


@given(st.text(max_size=20) | st.lists(st.sampled_from(
    ["bit", "tag", "B", "==", ">", "3", "and", "in", "row", "write", ".", "step", "pass", '"x"']
), max_size=7).map(" ".join))  # fmt: skip
def test_any_text_is_a_condition_or_is_refused(text: str) -> None:
    session = adding()
    try:
        condition = parse(text, session)
    except InputError as error:
        assert str(error).count("\n") >= 2
        return
    run_forward(session, [Stop(1, text, condition)])


def test_a_stop_without_conditions_left_out_of_the_run_is_not_hit() -> None:
    session = adding()
    assert run_forward(session, []) == []
    assert session.point == session.end


def test_a_search_of_the_past_is_told_to_nobody() -> None:
    session = adding()
    told: list[Any] = []
    session.go_to(session.end)
    session.on_step = told.append
    run_back(session, [Stop(1, "tag", parse("tag", session))])
    assert told == []
