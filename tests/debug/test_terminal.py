"""The prompt keeps its session whatever is typed, and a script is what a person would type."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from apsim.debug import terminal
from apsim.debug.commands import COMMANDS, completions, do, find
from apsim.debug.session import Session
from apsim.debug.shell import Shell
from apsim.errors import InputError
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.ops.arithmetic import add
from tests.helpers.strategies import cells, programs

LAYOUT = Layout(A=3, B=3, C=1)


def console(width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width, color_system=None)


def shell_on(session: Session) -> Shell:
    return Shell(session, console())


def adding() -> Shell:
    machine = Machine(4, LAYOUT, engine="dense")
    machine.write("A", [1, 2, 3, 4])
    machine.write("B", [5, 6, 7, 0])
    return shell_on(Session(machine, add("A", "B", carry="C")))


def said(shell: Shell) -> str:
    text: str = shell.console.file.getvalue()  # type: ignore[attr-defined]
    return text


def typing(*lines: str | type[BaseException]) -> Any:
    """Reads these lines; an exception stands for Ctrl-C or Ctrl-D at the prompt."""
    rest: Iterator[str | type[BaseException]] = iter(lines)

    def read(prompt: str) -> str:
        line = next(rest)
        if isinstance(line, str):
            return line
        raise line

    return read


MOVES = (
    "step", "step 3", "cycle", "next", "finish", "continue", "back", "back 2", "reverse-continue",
    "break tag", "tbreak bit 1", "watch B", "delete", "disable", "enable", "until tag > 1",
    "goto 3", "restart", "print B", "show array lut counters program stops step", "where", "list",
    "info breakpoints", "rows tagged", "nonsense", "break bit 99",
)  # fmt: skip


@given(
    cells(5, LAYOUT.columns),
    programs(5, LAYOUT.columns),
    st.lists(st.sampled_from(MOVES), max_size=12),
)
@settings(max_examples=60)
def test_a_debugged_run_ends_as_a_plain_run_whatever_was_typed(
    contents: np.ndarray, program: Any, script: list[str]
) -> None:
    """state(any script; delete; continue to the end) == state(machine.run(program))."""
    plain, debugged = (Machine(5, LAYOUT, engine="dense") for _ in range(2))
    for machine in (plain, debugged):
        machine.cam.poke(contents)
    plain.run(program)
    shell = shell_on(Session(debugged, program))
    for line in (*script, "delete", "continue"):
        do(shell, line)
    assert shell.session.point == shell.session.end
    assert debugged.cam.peek().tolist() == plain.cam.peek().tolist()
    assert debugged.cam.tag.tolist() == plain.cam.tag.tolist()
    assert debugged.cam.column_tag.tolist() == plain.cam.column_tag.tolist()
    assert (debugged.counts, debugged.activity) == (plain.counts, plain.activity)
    assert debugged.counts_by_phase == plain.counts_by_phase


@given(st.text(max_size=30))
def test_any_line_leaves_the_session_alive(line: str) -> None:
    shell = adding()
    if line.strip()[:1] not in ("q", "e", "s") and "trace" not in line:
        do(shell, line)
        assert shell.running


def test_ctrl_c_at_the_prompt_only_starts_a_new_line() -> None:
    shell = adding()
    assert terminal.converse(shell, typing(KeyboardInterrupt, "step", "quit")) == 0
    assert shell.session.point == 2


def test_the_end_of_input_must_come_twice_to_leave() -> None:
    shell = adding()
    terminal.converse(shell, typing(EOFError, "step", EOFError, EOFError))
    assert shell.session.point == 2
    assert "once more to leave" in said(shell)


def test_an_empty_line_does_the_last_move_again() -> None:
    shell = adding()
    terminal.converse(shell, typing("step", "", "", "print B", "", "quit"))
    assert shell.session.point == 6
    assert said(shell).count("B = ") == 1


def test_ctrl_c_during_continue_stops_at_the_next_step_and_the_session_goes_on() -> None:
    shell = adding()
    interrupt_at = 4

    class Impatient(type(shell.session.tape.cam)):  # type: ignore[misc]
        def execute(self, *arguments: Any) -> Any:
            if shell.session.point == interrupt_at:
                signal.raise_signal(signal.SIGINT)
            return super().execute(*arguments)

    shell.session.tape.cam.__class__ = Impatient
    do(shell, "continue")
    assert "interrupted" in said(shell)
    assert shell.session.point == interrupt_at + 2
    interrupt_at = -1
    do(shell, "continue")
    assert shell.session.point == shell.session.end


def test_a_script_shows_what_it_does_and_says_whether_it_went_well() -> None:
    shell = adding()
    assert (
        terminal.run_script(shell, iter(["step\n", "# a remark\n", "print B\n", "quit\n", "step"]))
        == 0
    )
    assert said(shell).split("\n")[0] == "(apsim) step"
    assert shell.session.point == 2
    assert terminal.run_script(adding(), iter(["spte\n"])) == 2


def test_a_script_file_that_is_missing_is_an_error_of_one_line() -> None:
    from apsim import cli

    assert cli.main(["debug", "add", "--bits", "2", "--script", "nowhere.txt"]) == 2


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help_and_is_found_by_its_names(command: Any) -> None:
    shell = adding()
    do(shell, f"help {command.name}")
    assert command.about in said(shell)
    assert {find(name) for name in (command.name, *command.aliases)} == {command}


def test_a_name_cut_short_is_found_where_it_is_unique() -> None:
    assert find("cont").name == "continue"
    with pytest.raises(InputError, match="'dis' may be disable or display"):
        find("dis")


def test_words_are_completed() -> None:
    shell = adding()
    assert completions(shell, "rev") == ["reverse-continue"]
    assert completions(shell, "break wr") == ["write"]
    assert completions(shell, "print ") == ["A", "B", "C", *completions(shell, "print ")[3:]]
    assert completions(shell, "show co") == ["counters"]


@pytest.mark.parametrize("suffix", ["jsonl", "vcd", "html"])
def test_a_trace_holds_the_steps_that_ran_while_it_was_on(tmp_path: Path, suffix: str) -> None:
    shell = adding()
    path = tmp_path / f"t.{suffix}"
    for line in ("step", f"trace on {path}", "step 3", "back", "reverse-continue"):
        do(shell, line)
    assert not path.exists()
    do(shell, "trace off")
    assert path.exists()
    if suffix == "jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
        assert [line["step"] for line in lines] == [1, 2, 3]


def test_a_trace_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    shell = adding()
    do(shell, f"trace on {tmp_path}/missing/t.jsonl")
    assert "cannot write" in said(shell)
    assert shell.session.on_step is None


def test_a_program_can_open_the_prompt_on_its_own_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("step 2\nquit\n"))
    session = terminal.prompt(adding().session)
    assert session.point == 4
    assert [event.index for event in session] == list(range(2, 12))


def test_loads_are_dealt_to_the_caps_in_turn() -> None:
    """load n of CAP c where k CAPs share == load c + n*k where one CAP takes them all."""
    from apsim.debug.layer_load import find_load

    shared = find_load("digits", "conv2", "2d", cap=1, number=2, caps=3)
    alone = find_load("digits", "conv2", "2d", number=7)
    assert shared.data.tolist() == alone.data.tolist()
    assert shared.function.name == alone.function.name
