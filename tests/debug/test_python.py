"""Python's own debuggers and the prompt work on the same session."""

from __future__ import annotations

import io
import sys

import pytest

import apsim
from apsim import ops
from apsim.debug import Session, breakpointhook


def adder() -> apsim.Machine:
    machine = apsim.Machine(rows=3, layout=apsim.Layout(A=4, B=4, C=1))
    machine.write("A", [1, 2, 3])
    machine.write("B", [4, 5, 6])
    return machine


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_a_machine_opens_the_prompt_on_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "step 3", "quit")
    machine = adder()
    session = machine.debug(ops.add("A", "B", carry="C"))
    assert session.point == 6
    session.go_to(session.end)
    assert machine.read("B", "C").tolist() == [5, 7, 9]


def test_breakpoint_in_a_loop_opens_the_prompt_on_the_loops_session(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "breakpointhook", breakpointhook)
    typed(monkeypatch, "print B", "step 2", "quit")
    session = Session(adder(), ops.add("A", "B", carry="C"))
    seen = []
    for event in session:
        seen.append(event.index)
        if event.index == 4:
            breakpoint()
    assert "(apsim) print B" in capsys.readouterr().out
    assert seen == [*range(5), *range(7, 16)]


def test_breakpoint_elsewhere_is_pythons_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "breakpointhook", breakpointhook)
    typed(monkeypatch, "p 6 * 7", "continue")
    breakpoint()
    assert "(Pdb) 42" in capsys.readouterr().out


def test_a_loop_over_the_machines_steps_needs_no_session() -> None:
    machine, plain = adder(), adder()
    events = list(machine.steps(ops.add("A", "B", carry="C")))
    plain.run(ops.add("A", "B", carry="C"))
    assert len(events) == 16
    assert machine.counts == plain.counts
