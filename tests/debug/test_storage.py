"""A kept session comes back as it was: array, tag, counters, point, edits and stops."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from apsim.debug import storage
from apsim.debug.commands import do
from apsim.debug.session import Session
from apsim.debug.shell import Shell
from apsim.errors import InputError
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.ops.arithmetic import add, read
from tests.helpers.strategies import cells, programs

LAYOUT = Layout(A=3, B="s3", C=1)


def adding() -> Session:
    machine = Machine(4, LAYOUT, engine="dense")
    machine.write("A", [1, 2, 3, 4])
    out = np.zeros((1, 4), np.uint64)
    return Session(machine, add("A", "B", carry="C") + read("B"), out=out)


def shell_on(session: Session) -> Shell:
    return Shell(session, Console(file=io.StringIO(), width=80, color_system=None))


def said(shell: Shell) -> str:
    text: str = shell.console.file.getvalue()  # type: ignore[attr-defined]
    return text


@given(cells(5, LAYOUT.columns), programs(5, LAYOUT.columns), st.integers(0, 10**6), st.booleans())
@settings(max_examples=40)
def test_a_session_comes_back_at_its_point(
    contents: np.ndarray, program: Any, number: int, tagged: bool
) -> None:
    """state(from_record(record(session))) == state(session), there and at the end."""
    machine = Machine(5, LAYOUT, engine="dense")
    machine.cam.poke(contents)
    if tagged:
        machine.run(read("C"), None, np.zeros((1, 5), np.uint64))
    session = Session(machine, program)
    session.go_to(number % (len(session.timeline) + 1) * 2)
    text = json.dumps(storage.record(session))
    again = storage.from_record(json.loads(text), "x.json", engine="strict")
    for _ in range(2):
        assert again.point == session.point
        assert again.machine.cam.peek().tolist() == session.machine.cam.peek().tolist()
        assert again.machine.cam.tag.tolist() == session.machine.cam.tag.tolist()
        assert (again.counts, again.tape.activity) == (session.counts, session.tape.activity)
        session.go_to(session.end)
        again.go_to(again.end)


def test_edits_stops_and_panes_come_back_too(tmp_path: Path) -> None:
    shell, other = shell_on(adding()), shell_on(adding())
    for line in ("break bit 1 and tag", "watch B", "tbreak step 9", "disable 1", "display counters",
                 "step 4", "set A[1] = 7", "step 2", f"save {tmp_path}/s.json"):  # fmt: skip
        do(shell, line)
    do(other, f"load {tmp_path}/s.json")
    assert list(map(str, other.stops.all)) == list(map(str, shell.stops.all))
    assert other.displayed == ["counters"]
    assert other.session.point == shell.session.point
    do(other, "restart")
    do(other, "goto 12")
    assert other.session.values(LAYOUT["A"]).tolist() == [1, 7, 3, 4]


def test_the_luts_come_back_for_their_pane(tmp_path: Path) -> None:
    shell, other = shell_on(adding()), shell_on(adding())
    do(shell, f"save {tmp_path}/s.json")
    for line in (f"load {tmp_path}/s.json", "step", "show lut"):
        do(other, line)
    assert "> 1 1 0 |  1   | 0 1" in said(other)


def damaged() -> dict[str, Any]:
    good = storage.record(adding())
    return {
        "no JSON": "{",
        "another schema": good | {"schema": "apsim.run/1"},
        "a list": [],
        "no programs": {k: v for k, v in good.items() if k != "programs"},
        "an unknown operation": good | {"programs": [{"name": "x", "items": [
            {"op": "DANCE", "mode": "HORIZONTAL"}]}]},
        "a column that is not there": good | {"programs": [{"name": "x", "items": [
            {"op": "COMPARE", "mode": "HORIZONTAL", "key": [[99, 1]]}]}], "point": 2},
        "cells cut short": good | {"start": good["start"] | {"cells": good["start"]["cells"][:8]}},
        "a point beyond the end": good | {"point": 10**6},
        "a field that overlaps nothing": good | {"layout": [["A", 0, 99, "u"]]},
        "rows that are no number": good | {"rows": "four"},
    }  # fmt: skip


@pytest.mark.parametrize("what", damaged())
def test_a_damaged_file_is_refused_and_the_session_goes_on(tmp_path: Path, what: str) -> None:
    path = tmp_path / "s.json"
    content = damaged()[what]
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    shell = shell_on(adding())
    before = shell.session
    do(shell, f"load {path}")
    assert f"error: {path}" in said(shell)
    assert shell.session is before


def test_a_stop_that_the_program_does_not_know_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    stop = {"text": "bit 99", "kind": "breakpoint", "temporary": False, "enabled": True, "hits": 0}
    storage.save(adding(), path, stops=[stop])
    shell = shell_on(adding())
    do(shell, f"load {path}")
    assert "error: " in said(shell)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        storage.save(adding(), tmp_path / "missing" / "s.json")
