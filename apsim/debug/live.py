"""The full-screen view: the prompt's panes, side by side, one key a command.

The rule: it draws and reads keys; every key carries out a typed command.
"""

from __future__ import annotations

import io
import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from apsim.debug.commands import do
from apsim.debug.panes import PANES, LutPane
from apsim.debug.shell import Shell
from apsim.errors import InputError

__all__ = ["KEYS", "full_screen", "screen"]

KEYS = {
    "s": "step", " ": "step", "b": "back", "i": "cycle", "n": "next", "f": "finish",
    "c": "continue", "r": "reverse-continue", "0": "restart",
}  # fmt: skip
HELP = "s step  b back  i cycle  n bit  f finish  c/r to stops  up/down rows  q prompt"
SMALLEST = (60, 16)
ARROWS = {"\x1b[A": -1, "\x1b[B": 1, "k": -1, "j": 1}


def full_screen(shell: Shell) -> None:
    """Take the screen until `q`; raises `InputError` where it is too small."""
    console = shell.console
    if console.width < SMALLEST[0] or console.height < SMALLEST[1]:
        raise InputError(
            f"the full-screen view wants a terminal of {SMALLEST[0]} x {SMALLEST[1]} characters, "
            f"this one has {console.width} x {console.height}; the prompt's panes fit any"
        )
    height, said = shell.view.height, ""
    try:
        with raw_keys(), Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(screen(shell, said), refresh=True)
                key = read_key()
                if key in ("q", "", "\x04"):
                    return
                said = press(shell, key)
    finally:
        shell.view.height = height


def press(shell: Shell, key: str) -> str:
    """Carry out what a key stands for; give what was said."""
    if key in ARROWS:
        shell.view.scroll(shell.session, ARROWS[key])
        return ""
    if key not in KEYS:
        return HELP
    outer, displayed = shell.console, shell.displayed
    shell.console = Console(file=io.StringIO(), width=outer.width, color_system=None)
    shell.displayed = []
    try:
        do(shell, KEYS[key])
        return str(shell.console.file.getvalue()).strip()  # type: ignore[attr-defined]
    finally:
        shell.console, shell.displayed = outer, displayed


def screen(shell: Shell, said: str) -> RenderableType:
    """The whole screen: the array above, LUT, program and counters below, what was said last."""
    width, height = shell.console.width, shell.console.height
    below = 13 if height >= 28 else 12 if height >= 22 else 0
    shell.view.height = max(height - below - 9, 3)
    shell.view.width = width - 4
    rows = Layout()
    rows.split_column(
        Layout(_panel(shell, "array"), ratio=1),
        *([Layout(_below(shell, width, below - 2), size=below)] if below else []),
        Layout(Group(Text(said.split("\n")[-1], "bold"), Text(HELP, "dim")), size=2),
    )
    return rows


def _below(shell: Shell, width: int, most: int) -> Layout:
    names = ["lut", "program", "counters"] if width >= 130 else ["lut", "program"]
    narrow = {"lut": 30} if width < 130 else {}
    columns = Layout()
    columns.split_row(*(Layout(_panel(shell, name, most), size=narrow.get(name)) for name in names))
    return columns


def _panel(shell: Shell, name: str, most: int | None = None) -> Panel:
    pane = PANES[name](shell.session, shell.view, shell.stops)
    if isinstance(pane, LutPane):
        pane.most = most
    session = shell.session
    where = f" - step {session.point // 2} of {len(session.timeline)}" if name == "array" else ""
    return Panel(pane, title=f"{pane.title}{where}", title_align="left")


@contextmanager
def raw_keys() -> Iterator[None]:
    """Within this, keys come one by one and are not echoed."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def read_key() -> str:
    """One key, an arrow as its whole sequence; "" at the end of input or on Ctrl-C."""
    try:
        return os.read(sys.stdin.fileno(), 8).decode(errors="replace")
    except KeyboardInterrupt:
        return ""
