"""Commands that change cells, keep sessions, record traces, and end the prompt.

The rule: a change is either whole or refused.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from apsim.debug import storage
from apsim.debug.conditions import Changed
from apsim.debug.expressions import parse
from apsim.debug.looks import named
from apsim.debug.panes import PANES
from apsim.debug.shell import Shell
from apsim.errors import InputError

__all__ = ["live", "load", "quit_", "restore", "save", "set_", "trace"]

ASSIGNMENT = re.compile(r"(\w+)(?:\.(\d+))?\s*\[\s*(\d+)\s*\]\s*=\s*(-?\d+)")


def set_(shell: Shell, text: str) -> None:
    """Set a word or a cell by hand, outside the count."""
    found = ASSIGNMENT.fullmatch(text)
    if found is None:
        raise InputError("set wants FIELD[ROW] = VALUE or FIELD.BIT[ROW] = 0 or 1")
    field, row, value = named(shell, found[1]), int(found[3]), int(found[4])
    if row >= shell.session.machine.rows:
        raise InputError(f"wanted a row 0 to {shell.session.machine.rows - 1}, got {row}")
    if found[2] is None:
        pattern = int(field.encode(np.array([value]))[0])
        bits = [(row, column, pattern >> k & 1) for k, column in enumerate(field.columns)]
    elif int(found[2]) >= field.width or value not in (0, 1):
        raise InputError(f"wanted a bit 0 to {field.width - 1} and a value 0 or 1, got {text}")
    else:
        bits = [(row, field[int(found[2])], value)]
    shell.session.edit(*bits)
    shell.say(f"{field.name}[{row}] = {shell.session.values(field)[row]}")


def save(shell: Shell, text: str) -> None:
    """Keep the session in a file."""
    if not text:
        raise InputError("save wants the name of a file")
    stops = [
        {"text": stop.text, "kind": stop.kind, "temporary": stop.temporary,
         "enabled": stop.enabled, "hits": stop.hits}
        for stop in shell.stops.all
    ]  # fmt: skip
    storage.save(shell.session, text, stops=stops, displayed=shell.displayed)
    shell.say(f"saved to {text}")


def load(shell: Shell, text: str) -> None:
    """Go on with a session from a file."""
    if not text:
        raise InputError("load wants the name of a file")
    restored = restore(text, shell.console)
    shell.stop_recording()
    restored.session.tape.should_stop = shell.session.tape.should_stop
    shell.session, shell.stops = restored.session, restored.stops
    shell.displayed = restored.displayed
    shell.halt()


def restore(path: str, console: Console) -> Shell:
    """A shell on the session of a file, with its stops and displayed panes."""
    found = storage.read(path)
    restored = Shell(storage.from_record(found, path), console)
    for kept in found.get("stops", []):
        _restore_stop(restored, kept)
    restored.displayed = [name for name in found.get("displayed", []) if name in PANES]
    return restored


def _restore_stop(shell: Shell, kept: dict[str, Any]) -> None:
    text, is_watch = kept["text"], kept["kind"] == "watch"
    condition = Changed(named(shell, text)) if is_watch else parse(text, shell.session)
    stop = shell.stops.add(text, condition, kept["temporary"])
    stop.enabled, stop.hits = kept["enabled"], kept["hits"]


def trace(shell: Shell, text: str) -> None:
    """Write every step that runs from here on to a file."""
    word, _, name = text.partition(" ")
    if word == "off" and not name:
        if shell.recording is None:
            raise InputError("no trace is being written")
        shell.stop_recording()
        shell.say("the trace is written")
    elif word == "on" and name.strip():
        _start_trace(shell, Path(name.strip()))
    else:
        raise InputError("trace wants: on FILE.jsonl, on FILE.vcd, on FILE.html, or off")


def _start_trace(shell: Shell, path: Path) -> None:
    from apsim.trace import recorder

    shell.stop_recording()
    with ExitStack() as stack:
        told = stack.enter_context(recorder(path, shell.session.machine, shell.session.program))
        shell.recording = stack.pop_all()
    shell.session.on_step = told
    shell.say(f"steps from here on go to {path}, which appears when the trace is off")


def live(shell: Shell, text: str) -> None:
    """Show the panes full-screen, one key a command."""
    if shell.full_screen is None:
        raise InputError("live wants a terminal; `display array lut` shows the panes at each halt")
    shell.full_screen(shell)


def quit_(shell: Shell, text: str) -> None:
    """Leave."""
    shell.running = False
