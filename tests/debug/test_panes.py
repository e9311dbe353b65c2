"""Panes are readable at 80 columns, in no colour, on any array, and change nothing."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from apsim.debug import live
from apsim.debug.commands import do
from apsim.debug.panes import PANES, columns_named
from apsim.debug.session import Session
from apsim.debug.shell import Shell
from apsim.debug.stops import Stops
from apsim.debug.targets import Wanted, open_target
from apsim.debug.view import View
from apsim.errors import InputError
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.ops.arithmetic import add
from tests.helpers.strategies import cells, programs


def drawn(session: Session, name: str, width: int = 80, view: View | None = None) -> str:
    view = view or View()
    view.width = width
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(PANES[name](session, view, Stops()), no_wrap=True)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def adding(rows: int, layout: Layout | None = None, engine: str = "strict") -> Session:
    machine = Machine(rows, layout or Layout(A=8, B=8, C=1), engine=engine)
    machine.write("A", np.arange(rows) % 256)
    machine.write("B", np.full(rows, 3))
    return Session(machine, add("A", "B", carry="C"))


@pytest.mark.parametrize("name", PANES)
@given(run=st.data())
@settings(max_examples=15)
def test_a_pane_fits_draws_no_colour_and_changes_nothing(name: str, run: Any) -> None:
    rows = run.draw(st.sampled_from([1, 5, 40]))
    layout = run.draw(st.sampled_from(
        [Layout(A=3, B=3, C=1), Layout(A=64, B=64, product=64, C=1), Layout(A=2, **{"a" * 30: 40})]
    ))  # fmt: skip
    machine = Machine(rows, layout, engine="dense")
    machine.cam.poke(run.draw(cells(rows, layout.columns)))
    session = Session(machine, run.draw(programs(rows, layout.columns)))
    session.go_to(run.draw(st.integers(0, len(session.timeline))) * 2)
    before = machine.cam.peek().tolist(), machine.cam.tag.tolist(), session.point, machine.counts
    text = drawn(session, name, run.draw(st.sampled_from([40, 80, 120])))
    assert "\x1b" not in text
    assert max(len(line.rstrip()) for line in drawn(session, name).split("\n")) <= 80
    after = machine.cam.peek().tolist(), machine.cam.tag.tolist(), session.point, machine.counts
    assert after == before


def test_a_million_rows_are_shown_around_the_tagged_ones() -> None:
    session = adding(1_000_000)
    session.machine.write("A", np.arange(1_000_000) == 765_432)
    session = Session(session.machine, add("A", "B", carry="C"))
    session.step()
    text = drawn(session, "array")
    (line,) = [line for line in text.split("\n") if line.split()[:1] == ["765432"]]
    assert line.split()[4] == "1"
    assert len(text.split("\n")) < 20


def test_tagged_rows_alone_can_be_shown_and_scrolled() -> None:
    session, view = adding(100), View(chosen="tagged", height=3)
    session.step()
    tagged = np.flatnonzero(session.machine.cam.tag).tolist()
    assert view.rows(session) == tagged[:3]
    view.scroll(session, 2)
    assert view.rows(session) == tagged[2:5]
    view.scroll(session, 10**6)
    assert view.rows(session) == tagged[-3:]


def test_fields_that_the_step_acts_on_keep_their_bits_where_room_is_short() -> None:
    session = adding(2, Layout(X=60, A=8, B=8, C=1))
    session.step()
    heading, key = drawn(session, "array").split("\n")[:2]
    assert heading.split() == ["row", "X", "A", "B", "C", "tag"]
    assert key.split() == ["key", ".......1", ".......1", "0"]


def test_what_does_not_fit_at_all_is_named() -> None:
    layout = Layout(**{f"field_number_{k}": 4 for k in range(9)})
    session = Session(Machine(2, layout, engine="dense"), add(
        "field_number_0", "field_number_1", carry="C"
    ).on(Layout(field_number_0=4, field_number_1=4, C=1)))  # fmt: skip
    session.step()
    assert "too narrow for field_number_" in drawn(session, "array")


def test_changed_cells_are_said_in_words() -> None:
    session = adding(4)
    session.step()
    changed = [line for line in drawn(session, "array").split("\n") if "B.0 1>0  C 0>1" in line]
    assert [line.split()[0] for line in changed] == ["1", "3"]


def test_the_pass_at_hand_and_its_truth_row_are_marked() -> None:
    session = adding(4)
    session.step()
    marked = [line for line in drawn(session, "lut").split("\n") if line.startswith(">")]
    assert [line.split() for line in marked] == [[">", "1", "1", "0", "|", "1", "|", "0", "1"]]


def test_masked_passes_mark_every_row_that_they_match() -> None:
    """A pass with masked columns carries out several rows of the truth table at once."""
    session = open_target(Wanted("fa3", bits=1, rows=2))
    session.go_to(session.end - 4)
    lines = drawn(session, "lut").split("\n")
    assert sum(line.startswith(">") for line in lines) > 1


def test_counters_name_every_phase_and_the_whole() -> None:
    session = open_target(Wanted("add", bits=8, ap="1d"))
    session.go_to(session.end)
    rows = {line[:10].strip(): line[10:].split() for line in drawn(session, "counters").split("\n")}
    assert rows["done"] == rows["program"] == ["32", "48", "9"]
    assert rows["compute"] == ["32", "32", "0"]


def full_shell(width: int, height: int) -> Shell:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    return Shell(adding(30), console)


@pytest.mark.parametrize(("width", "height"), [(60, 16), (80, 24), (100, 40), (200, 60)])
def test_the_full_screen_view_fits_the_screen(width: int, height: int) -> None:
    shell = full_shell(width, height)
    said = live.press(shell, "s")
    assert said.startswith("#0  bit 0  pass 1")
    shell.console.print(live.screen(shell, said))
    lines = shell.console.file.getvalue().rstrip("\n").split("\n")  # type: ignore[attr-defined]
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert any("pass 1" in line for line in lines)


@pytest.mark.parametrize("target", ["add", "multiply"])
def test_80_by_24_has_array_lut_and_program_with_the_marked_row(target: str) -> None:
    """the three panes, at least three rows, the row of the truth table, the step that is next"""
    console = Console(file=io.StringIO(), width=80, height=24, color_system=None)
    shell = Shell(open_target(Wanted(target, rows=30)), console)
    shell.session.go_to(2 * 19)  # a pass far down the table is done
    console.print(live.screen(shell, ""))
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(f"─ {title} " in drawn for title in ("array - step 19 of", "LUT", "program"))
    lines = drawn.split("\n")
    assert sum(bool(re.match(r"│ +\d+ [01]", line)) for line in lines) >= 3
    assert any(re.match(r"│ > [01 ]+\|", line) for line in lines)
    assert any(re.search(r"│ >    19 ", line) for line in lines)


def test_columns_of_a_lut_are_named_as_the_users_fields() -> None:
    """in a step of a multiplication D is a bit of B, C the bit of P that takes the carry"""
    session = open_target(Wanted("multiply", bits=4, rows=4))
    session.go_to(2 * 8)
    assert session.upcoming is not None and session.upcoming.step.table is not None
    said = columns_named(session.upcoming.step.table, session.upcoming, session)
    assert said == "D is B.0  A is A.0  P is P.0  C is P.4"


def test_columns_that_are_called_as_the_fields_need_no_word() -> None:
    session = open_target(Wanted("add", bits=4, rows=4))
    session.go_to(2 * 8)
    assert session.upcoming is not None and session.upcoming.step.table is not None
    assert columns_named(session.upcoming.step.table, session.upcoming, session) == ""


def test_keys_step_both_ways_and_scroll() -> None:
    shell = full_shell(80, 24)
    for key in (*live.KEYS, "j", "\x1b[B", "\x1b[A", "?"):
        live.press(shell, key)
    assert shell.session.point == 0
    live.press(shell, "n")
    assert shell.session.point == 8


def test_a_screen_that_is_too_small_is_refused() -> None:
    with pytest.raises(InputError, match="60 x 16 characters, this one has 40 x 10"):
        live.full_screen(full_shell(40, 10))


def test_several_fields_are_printed_at_once() -> None:
    """print A B ROWS == print A ROWS, then print B ROWS"""
    shell = full_shell(80, 24)
    do(shell, "print /b A B 0-1")
    together = shell.console.file.getvalue()  # type: ignore[attr-defined]
    other = full_shell(80, 24)
    do(other, "print /b A 0-1")
    do(other, "print /b B 0-1")
    assert together == other.console.file.getvalue() != ""  # type: ignore[attr-defined]
