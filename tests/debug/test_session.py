"""A session goes to any point of a run, and every way there ends in the same state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim.counts import Counts, Phase
from apsim.debug.session import Session
from apsim.errors import InputError
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.ops.arithmetic import add, read
from apsim.program import Microprogram, Mode, Op, Step
from tests.helpers.strategies import cells, programs

LAYOUT = Layout(A=3, B=3, C=1)
ENGINES = st.sampled_from(["dense", "strict"])


def machine_with(contents: np.ndarray, engine: str = "dense") -> Machine:
    machine = Machine(len(contents), LAYOUT, engine=engine)
    machine.cam.poke(contents)
    return machine


def state(machine: Machine) -> tuple[Any, ...]:
    """All that a run leaves: cells, both tags, and every counter."""
    cam = machine.cam
    return (
        cam.peek().tolist(), cam.tag.tolist(), cam.column_tag.tolist(),
        machine.counts, machine.activity, machine.counts_by_phase,
    )  # fmt: skip


@st.composite
def runs(draw: st.DrawFn) -> tuple[np.ndarray, Microprogram, str]:
    rows = draw(st.sampled_from([1, 2, 5, 66]))
    contents = draw(cells(rows, LAYOUT.columns))
    return contents, draw(programs(rows, LAYOUT.columns)), draw(ENGINES)


@given(runs(), st.lists(st.integers(0, 10**6), max_size=8), st.sampled_from([0, 1 << 20]))
@settings(max_examples=60)
def test_any_walk_ends_as_a_plain_run(run: Any, walk: list[int], memory: int) -> None:
    """state(go_to(p1), ..., go_to(end)) == state(machine.run(program))."""
    contents, program, engine = run
    plain, debugged = machine_with(contents, engine), machine_with(contents, engine)
    plain.run(program)
    session = Session(debugged, program, memory=memory)
    for point in walk:
        session.go_to(some_point(session, point))
    session.go_to(session.end)
    assert state(debugged) == state(plain)


@given(runs(), st.lists(st.integers(0, 10**6), min_size=1, max_size=8))
@settings(max_examples=60)
def test_any_walk_to_a_point_ends_as_a_fresh_run_to_it(run: Any, walk: list[int]) -> None:
    """state(go_to(p1), ..., go_to(p)) == state of the same machine stepped to p by cycles."""
    contents, program, engine = run
    fresh, debugged = machine_with(contents, engine), machine_with(contents, engine)
    session = Session(debugged, program, memory=0)
    for point in walk:
        session.go_to(some_point(session, point))
    stepped = Session(fresh, program)
    while stepped.point < session.point:
        stepped.cycle()
    assert state(debugged) == state(fresh)
    assert (session.point, session.tape.last) == (stepped.point, stepped.tape.last)


@given(runs(), st.data())
@settings(max_examples=40)
def test_back_undoes_every_step(run: Any, data: st.DataObject) -> None:
    """back(step(state)) == state, at every step, the point between two halves included."""
    contents, program, engine = run
    session = Session(machine_with(contents, engine), program)
    seen = [state(session.machine)]
    while session.step():
        seen.append(state(session.machine))
    while session.back():
        seen.pop()
        assert state(session.machine) == seen[-1]
    assert len(seen) == 1


@given(runs())
@settings(max_examples=30)
def test_events_of_a_session_are_those_of_the_machine(run: Any) -> None:
    contents, program, engine = run
    session = Session(machine_with(contents, engine), program)
    expected = machine_with(contents, engine).steps(program)
    assert [(str(e), e.counts, e.activity) for e in session] == [
        (str(e), e.counts, e.activity) for e in expected
    ]


def some_point(session: Session, number: int) -> int:
    """A point of the run: between two halves only where the step is a pass."""
    point = number % (session.end + 1)
    is_middle = point % 2 and session.timeline[point // 2].step.op is not Op.PASS
    return point - 1 if is_middle else point


def adding(rows: int = 4, engine: str = "dense") -> Session:
    machine = Machine(rows, LAYOUT, engine=engine)
    machine.write("A", np.arange(rows) % 8)
    machine.write("B", np.arange(rows) * 3 % 8)
    return Session(machine, add("A", "B", carry="C"))


def test_words_read_out_go_back_too() -> None:
    machine = Machine(2, LAYOUT)
    machine.write("A", [5, 6])
    out = np.zeros((1, 2), np.uint64)
    session = Session(machine, read("A"), out=out)
    session.go_to(session.end)
    assert out.tolist() == [[5, 6]]
    session.back()
    assert out.tolist() == [[1, 2]]


def test_the_counters_of_the_machine_follow_the_point() -> None:
    session = adding()
    loaded = session.machine.counts
    session.step()
    session.cycle()
    assert session.machine.counts - loaded == Counts(compare=2, write=1)
    session.back()
    assert session.machine.counts - loaded == Counts(compare=1, write=1)
    assert session.machine.counts_by_phase[Phase.COMPUTE] == Counts(compare=1, write=1)


def test_back_from_the_middle_of_a_pass_goes_before_its_compare() -> None:
    session = adding()
    session.cycle()
    assert (session.point, session.back(), session.point) == (1, True, 0)


def test_there_is_nothing_before_the_start_and_after_the_end() -> None:
    session = adding()
    assert not session.back()
    session.go_to(session.end)
    assert not session.step()
    assert not session.cycle()
    assert session.upcoming is None


def test_a_point_outside_the_program_is_refused() -> None:
    with pytest.raises(InputError, match="steps 0 to 11; got step 99"):
        adding().go_to(198)


def test_a_step_of_one_operation_has_no_middle() -> None:
    session = Session(Machine(2, LAYOUT), read("A"), out=np.zeros((1, 2), np.uint64))
    with pytest.raises(InputError, match="step 0 is a single operation"):
        session.go_to(1)


def test_a_cell_set_by_hand_stays_set_when_the_run_comes_by_again() -> None:
    session = adding()
    session.go_to(4)
    session.edit((0, LAYOUT["A"][2], 1))
    session.go_to(session.end)
    after = session.machine.cam.peek().tolist()
    session.go_to(0)
    assert session.machine.peek("A").tolist()[0] == 0
    session.go_to(session.end)
    assert session.machine.cam.peek().tolist() == after
    assert session.machine.peek("A").tolist()[0] == 4


def test_a_cell_set_at_the_start_belongs_to_the_start() -> None:
    session = adding()
    session.edit((0, LAYOUT["A"][0], 1))
    session.go_to(session.end)
    session.go_to(0)
    assert session.machine.peek("A").tolist()[0] == 1


def test_cells_before_the_last_step_are_known_and_looking_changes_nothing() -> None:
    session = adding()
    before = session.machine.cam.peek().tolist()
    session.step()
    now = state(session.machine)
    earlier = session.tape.cells_before()
    assert earlier is not None
    assert earlier.tolist() == before
    assert state(session.machine) == now


def test_an_interrupt_leaves_a_session_that_goes_on() -> None:
    session = adding()
    session.tape.should_stop = lambda: session.point >= 6
    assert not session.go_to(session.end)
    assert session.point == 6
    session.tape.should_stop = bool
    assert session.go_to(session.end)


def test_memory_stays_bounded_over_a_long_run() -> None:
    """snapshots <= 1 + 2 * most, however long the program."""
    flip = Step(Op.PASS, Mode.HORIZONTAL, ((0, 0),), ((0, 1), (1, 1)))
    session = Session(
        Machine(4, LAYOUT, engine="dense"), Microprogram((flip,) * 10_000), memory=16384
    )
    session.go_to(session.end)
    history = session.tape.history
    assert len(history) <= 1 + history.most_recent + history.most_spaced
    assert history.interval > 512


def test_going_back_far_replays_only_a_short_stretch() -> None:
    """executed(go back to any point) <= one interval between snapshots + the recent ones."""
    flip = Step(Op.PASS, Mode.HORIZONTAL, ((0, 0),), ((0, 1), (1, 1)))
    session = Session(Machine(4, LAYOUT), Microprogram((flip,) * 200_000))
    session.go_to(session.end)
    executed = 0
    run = session.tape._run

    def counting(piece: Any) -> None:
        nonlocal executed
        executed += len(piece.steps)
        run(piece)

    session.tape._run = counting  # type: ignore[method-assign]
    session.go_to(100_000)
    assert executed <= session.tape.history.interval + session.tape.history.most_recent
    assert session.counts == Counts(compare=50_000, write=50_000)
