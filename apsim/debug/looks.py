"""Commands that set stops and that look: breakpoints, values, listings, panes.

The rule: looking changes nothing but what is shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np

from apsim.debug.conditions import Changed
from apsim.debug.expressions import parse
from apsim.debug.panes import AROUND, PANES, counters, listing
from apsim.debug.shell import Shell
from apsim.debug.stops import Stop
from apsim.debug.view import read_rows
from apsim.errors import InputError
from apsim.layout import Field

__all__ = [
    "break_", "delete", "disable", "display", "enable", "info", "list_", "print_", "rows",
    "show", "tbreak", "watch", "where",
]  # fmt: skip

MOST_VALUES = 16
FORMATS = {"u": "unsigned", "s": "signed", "b": "bits", "x": "hexadecimal"}


def break_(shell: Shell, text: str) -> None:
    """Stop where a condition holds."""
    _add(shell, text, temporary=False)


def tbreak(shell: Shell, text: str) -> None:
    """Stop there once."""
    _add(shell, text, temporary=True)


def _add(shell: Shell, text: str, temporary: bool) -> None:
    if not text:
        raise InputError("wanted a condition, such as: break bit 3 and pass 2 (help break)")
    text = f"step {text}" if text.isdigit() else text
    stop = shell.stops.add(text, parse(text, shell.session), temporary)
    shell.say(f"breakpoint {stop.number}: {text}")


def watch(shell: Shell, text: str) -> None:
    """Stop where a field changes."""
    field = named(shell, text)
    stop = shell.stops.add(field.name, Changed(field))
    shell.say(f"watch {stop.number}: {field.name}")


def delete(shell: Shell, text: str) -> None:
    """Remove stops."""
    for stop in _stops(shell, text):
        shell.stops.all.remove(stop)
        shell.say(f"{stop.kind} {stop.number} is gone")


def enable(shell: Shell, text: str) -> None:
    """Let stops stop again."""
    for stop in _stops(shell, text):
        stop.enabled = True


def disable(shell: Shell, text: str) -> None:
    """Keep stops, but pass them by."""
    for stop in _stops(shell, text):
        stop.enabled = False


def _stops(shell: Shell, text: str) -> list[Stop]:
    numbers = text.split() or [str(stop.number) for stop in shell.stops.all]
    known = {str(stop.number): stop for stop in shell.stops.all}
    for number in numbers:
        if number not in known:
            there = f"there are {', '.join(known)}" if known else "none is set"
            raise InputError(f"no stop has the number {number!r}; {there}")
    return [known[number] for number in numbers]


def print_(shell: Shell, text: str) -> None:
    """Print the words of fields."""
    found = re.fullmatch(r"(?:/(\w)\s+)?(\S.*)", text)
    if found is None or (found[1] or "u") not in FORMATS:
        known = ", ".join(f"/{letter} {name}" for letter, name in FORMATS.items())
        raise InputError(f"print wants [/FORMAT] FIELD ... [ROWS]; formats are {known}")
    *names, last = found[2].split()
    if not names or (
        last in shell.session.machine.layout or (last[0].isalpha() and last != "tagged")
    ):
        names, last = [*names, last], ""
    fields = [named(shell, name) for name in names]
    for field in fields:
        _print_one(shell, field, last, found[1])


def _print_one(shell: Shell, field: Field, where: str, letter: str | None) -> None:
    rows = _rows(shell, where) if where else tuple(range(shell.session.machine.rows))
    values = shell.session.values(field)[list(rows)]
    shown = [_formatted(int(value), field, letter) for value in values[:MOST_VALUES]]
    more = f" ... {len(rows) - MOST_VALUES} more" if len(rows) > MOST_VALUES else ""
    shell.say(f"{field.name}{f'[{where}]' if where else ''} = {' '.join(shown)}{more}")


def _formatted(value: int, field: Field, letter: str | None) -> str:
    pattern = int(field.encode(np.array([value]))[0])
    if letter == "b":
        return format(pattern, f"0{field.width}b")
    if letter == "x":
        return format(pattern, f"#0{-(-field.width // 4) + 2}x")
    if letter == "s":
        return str(
            int(Field(field.name, 0, field.width, "s").decode(np.array([pattern], np.uint64))[0])
        )
    return str(pattern if letter == "u" else value)


def list_(shell: Shell, text: str) -> None:
    """List the program around a step."""
    if text and not text.isdigit():
        raise InputError(f"list wants a step, 0 to {len(shell.session.timeline)}, got {text!r}")
    here = int(text) if text else shell.session.point // 2
    lines = list(listing(shell.session, here - AROUND, here + AROUND + 1))
    shell.say("\n".join(lines) or f"the program has {len(shell.session.timeline)} steps")


def where(shell: Shell, text: str) -> None:
    """Say where the run is."""
    session = shell.session
    place, part = session.upcoming, session.part
    if place is None or part is None:
        shell.say(f"at the end of {session.program.name}: {len(session.timeline)} steps done")
        return
    middle = " between its compare and its write" if session.point % 2 else ""
    shell.say(
        f"at step {place.index} of {len(session.timeline)}{middle}, "
        f"in {part.name} (steps {part.start} to {part.stop - 1}), phase {place.step.phase.value}"
    )
    shell.say(f"next: {place.step}")


def show(shell: Shell, text: str) -> None:
    """Draw panes now."""
    names = text.split() or ["array"]
    fields = [name for name in names if name in shell.session.machine.layout]
    for name in fields:
        print_(shell, name)
    shell.show(_panes([name for name in names if name not in fields]))


def display(shell: Shell, text: str) -> None:
    """Draw panes at every halt."""
    if text:
        shell.displayed = [] if text == "off" else _panes(text.split())
    shell.say(f"shown at every halt: {', '.join(shell.displayed) or 'nothing'}")


def _panes(names: Sequence[str]) -> list[str]:
    for name in names:
        if name not in PANES:
            near = get_close_matches(name, PANES, 1, 0.4)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PANES)}, off"
            raise InputError(f"there is no pane {name!r}; {hint}")
    return list(names)


def rows(shell: Shell, text: str) -> None:
    """Choose the rows that the array pane shows."""
    first, _, rest = text.partition(" ")
    if first in ("auto", "tagged") and not rest:
        shell.view.chosen, shell.view.first = first, 0
    elif first == "from" and rest.isdigit():
        shell.view.chosen, shell.view.first = "auto", int(rest)
    elif first == "height" and rest.isdigit() and int(rest) > 0:
        shell.view.height = int(rest)
    else:
        shell.view.chosen, shell.view.first = _rows(shell, text), 0
    shell.show(["array"])


def info(shell: Shell, text: str) -> None:
    """Say what is known of a subject."""
    subjects = {
        "breakpoints": lambda: "\n".join(map(str, shell.stops.all)) or "none is set",
        "counters": lambda: "\n".join(counters(shell.session)),
        "fields": lambda: "\n".join(map(str, shell.session.machine.layout.values())),
        "operations": lambda: "\n".join(
            f"steps {part.start} to {part.stop - 1}: {part.name}" for part in shell.session.parts
        ),
        "machine": lambda: repr(shell.session.machine),
    }
    found = [name for name in subjects if text and name.startswith(text)]
    if len(found) != 1:
        raise InputError(f"info wants one of {', '.join(subjects)}, got {text!r}")
    shell.say(subjects[found[0]]())


def named(shell: Shell, name: str) -> Field:
    """The field of that name; raises `InputError` with the nearest one."""
    layout = shell.session.machine.layout
    if name not in layout:
        near = get_close_matches(name, layout, 1, 0.4)
        hint = f"did you mean {near[0]}?" if near else f"fields are {', '.join(layout)}"
        raise InputError(f"there is no field {name!r}; {hint}")
    return layout[name]


def _rows(shell: Shell, text: str) -> tuple[int, ...]:
    try:
        return read_rows(text, shell.session)
    except ValueError:
        last = shell.session.machine.rows - 1
        raise InputError(
            f"wanted rows 0 to {last} such as 3, 0-7, 0,5,9 or tagged, got {text!r}"
        ) from None
