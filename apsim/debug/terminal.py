"""The prompt: reads lines from a person or from a pipe, and keeps the session alive.

The rule: nothing typed ends in a traceback, and nothing but `quit`, or the end of
input twice, ends a session.  Ctrl-C stops a run at its next step.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from rich.console import Console

from apsim.debug.commands import completions, do, find
from apsim.debug.session import Session
from apsim.debug.shell import Shell
from apsim.errors import ApsimError
from apsim.process import Terminated
from apsim.report.screen import Screen

__all__ = ["PROMPT", "Shell", "converse", "equipped", "new_console", "prompt", "run_script"]

PROMPT = "(apsim) "
LONGEST_HISTORY = 1000
REPEATED = ("step", "cycle", "next", "continue", "back", "reverse-continue")


def run_script(shell: Shell, lines: Iterator[str] | TextIO) -> int:
    """Carry out the lines of a script, each shown after the prompt; 2 if one was mistaken."""
    for line in lines:
        text = line.rstrip("\n")
        shell.say(f"{PROMPT}{text}".rstrip())
        do(shell, text)
        if not shell.running:
            break
    shell.stop_recording()
    return 2 if shell.failed else 0


def converse(shell: Shell, read: Callable[[str], str] = input) -> int:
    """Talk with a person until they leave."""
    last, ends = "", 0
    with line_editing(shell):
        while shell.running:
            try:
                line = read(PROMPT)
            except KeyboardInterrupt as stop:
                if isinstance(stop, Terminated):
                    raise
                shell.say("")
                continue
            except EOFError:
                ends += 1
                shell.say("" if ends > 1 else "\nonce more to leave; `save FILE` keeps the session")
                shell.running = ends < 2
                continue
            ends = 0
            do(shell, line if line.strip() else last)
            last = line if _may_repeat(line) else last if not line.strip() else ""
    shell.stop_recording()
    return 0


def _may_repeat(line: str) -> bool:
    """Whether an empty line after this one does it again, as in gdb."""
    with suppress(ApsimError):
        return bool(line.strip()) and find(line.split()[0]).name in REPEATED
    return False


def prompt(session: Session) -> Session:
    """Open a prompt on a session, on this process's own terminal or pipe, until `quit`.

    Gives the session, which is another one if a kept session was loaded.
    """
    shell = equipped(Shell(session, new_console()))
    if sys.stdin.isatty():
        shell.say("`help` lists the commands, `quit` goes on with the program")
        shell.show(shell.displayed)
        converse(shell)
    else:
        run_script(shell, sys.stdin)
    shell.session.tape.should_stop = bool
    return shell.session


def new_console() -> Console:
    """Standard output; plain text 80 columns wide where that is no terminal."""
    console = Screen(highlight=False, emoji=False)
    if console.is_terminal:
        return console
    return Screen(highlight=False, emoji=False, width=80, color_system=None, force_terminal=False)


def equipped(shell: Shell) -> Shell:
    """The shell with what a terminal makes possible, where there is one."""
    if shell.console.is_terminal and sys.stdin.isatty():
        from apsim.debug.live import full_screen

        shell.full_screen = full_screen
        shell.displayed = shell.displayed or ["array"]
        shell.view.height = max(min(shell.console.height - 12, 20), 4)
    return shell


@contextmanager
def line_editing(shell: Shell) -> Iterator[None]:
    """Within this, lines have completion and a history that outlives the process."""
    try:
        import readline
    except ImportError:
        yield
        return
    path = history_file()
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_completer_delims(" ")
    readline.parse_and_bind("tab: complete")

    def complete(text: str, number: int) -> str | None:
        found = completions(shell, readline.get_line_buffer()[: readline.get_endidx()])
        return f"{found[number]} " if number < len(found) else None

    before = readline.get_completer()
    readline.set_completer(complete)
    try:
        yield
    finally:
        readline.set_completer(before)
        readline.set_history_length(LONGEST_HISTORY)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)


def history_file() -> Path:
    """Where typed lines are kept."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "apsim" / "debug-history"
