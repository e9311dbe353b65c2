"""Running whole and step by step: the same array, state and numbers; what events say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim import cam, controller, ops
from apsim.controller import Event, Tag
from apsim.counts import Activity, Counts
from apsim.errors import InputError
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.program import Microprogram, Mode, Op
from tests.helpers.strategies import cells, programs

ROWS, COLUMNS = 13, 6


@given(programs(ROWS, COLUMNS), cells(ROWS, COLUMNS), st.sampled_from(("dense", "strict")))
@settings(max_examples=40)
def test_stepping_is_running(program: Microprogram, start: np.ndarray, engine: str) -> None:
    """steps == run, by pass and by cycle: cells, tags, counts, activity"""
    whole = cam.make(engine, ROWS, COLUMNS)
    whole.poke(start)
    done = controller.run(program, whole)
    for by in ("pass", "cycle"):
        stepped = cam.make(engine, ROWS, COLUMNS)
        stepped.poke(start)
        events = list(controller.steps(program, stepped, by=by))
        np.testing.assert_array_equal(stepped.peek(), whole.peek())
        np.testing.assert_array_equal(stepped.tag, whole.tag)
        assert sum((e.counts for e in events), Counts()) == program.counts()
        assert sum((e.activity for e in events), Activity()) == done.activity
        assert [e.index for e in events] == list(range(len(events)))


@given(programs(ROWS, COLUMNS), cells(ROWS, COLUMNS))
@settings(max_examples=20)
def test_a_pass_is_two_cycles_and_everything_else_is_one(
    program: Microprogram, start: np.ndarray
) -> None:
    """cycles == passes + passes + others == Counts.total"""
    array = cam.make("strict", ROWS, COLUMNS)
    array.poke(start)
    events = list(controller.steps(program, array, by="cycle"))
    assert len(events) == program.counts().total
    assert all(event.counts.total == 1 for event in events)
    assert all(event.step.op is not Op.PASS for event in events)


def first_events(by: str = "pass") -> list[Event]:
    machine = Machine(rows=4, layout=Layout(A=8, B=8, C=1))
    machine.write("A", [1, 2, 3, 4])
    machine.write("B", [10, 20, 30, 250])
    events = machine.steps(ops.add("A", "B", carry="C"), by=by)
    return [event for event in events if event.tag.any()]


def test_events_print_bit_pass_and_tag() -> None:
    """The lines that the guide to stepping shows"""
    assert [" ".join(str(event).split()) for event in first_events()[:3]] == [
        "bit 0 pass 2 A B C = 1 0 0 -> B C = 1 0 tag 1.1.",
        "bit 1 pass 1 A B C = 1 1 0 -> B C = 0 1 tag ..1.",
        "bit 1 pass 2 A B C = 1 0 0 -> B C = 1 0 tag .1..",
    ]


def test_an_event_tells_what_its_step_did() -> None:
    """Pass 2 at bit 0: four rows compared, two matched, B and C driven in each, B flipped"""
    event = first_events()[0]
    assert event.activity == Activity(compared=4, matched=2, written=4, flipped=2)
    assert event.counts == Counts(compare=1, write=1)
    assert event.tag.lines.tolist() == [0, 2]
    assert event.rows is None
    assert event.step.table is not None
    assert event.step.table.name == "add"


def test_events_of_vertical_steps_tell_their_rows() -> None:
    groups = ops.Groups(2, 2)
    operation = ops.accumulate("P", bits=2, addend="D", clean="Z", groups=groups, kind="2d-seg-tc")
    machine = Machine(rows=4, layout=Layout(P=3, Z=1, D=3))
    events = list(machine.steps(operation))
    assert all(event.step.mode is Mode.VERTICAL for event in events)
    assert events[0].rows.tolist() == [[0, 1], [2, 3]]  # type: ignore[union-attr]
    assert len(events[0].tag) == 2 * machine.cam.columns  # a tag for each column of each segment


def test_tags_print_as_dots_and_ones() -> None:
    assert str(Tag(np.array([True, False, True]))) == "1.1"
    assert repr(Tag(np.array([True, False, True]))) == "<Tag 1.1>"
    assert repr(Tag(np.arange(100) < 3)) == "<Tag of 100: 3 set>"
    assert str(Tag(np.array([[True, False], [False, False]]))) == "1. .."


def test_an_unknown_way_of_stepping_is_refused() -> None:
    array = cam.make("strict", 2, 2)
    with pytest.raises(InputError, match="wanted steps by 'pass' or by 'cycle', got 'word'"):
        next(controller.steps(Microprogram(()), array, by="word"))
