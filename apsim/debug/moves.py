"""Commands that move through the run.

The rule: each goes to a point and halts there; what cannot be done says so and
changes nothing.
"""

from __future__ import annotations

from apsim.debug.expressions import parse
from apsim.debug.session import Session
from apsim.debug.shell import Shell
from apsim.debug.stops import Stop, run_back, run_forward
from apsim.errors import InputError

__all__ = [
    "back", "continue_", "cycle", "finish", "goto", "next_", "restart", "reverse_continue", "step",
    "until",
]  # fmt: skip


def step(shell: Shell, text: str) -> None:
    """Run passes."""
    _repeat(shell, text, forward=True)


def back(shell: Shell, text: str) -> None:
    """Go back over steps."""
    _repeat(shell, text, forward=False)


def _repeat(shell: Shell, text: str, forward: bool) -> None:
    session, times = shell.session, _number(text)
    _refuse_beyond(session, forward)
    if forward:
        session.go_to(min((session.point // 2 + times) * 2, session.end))
    else:
        session.go_to(max(((session.point + 1) // 2 - times) * 2, 0))
    shell.halt()


def cycle(shell: Shell, text: str) -> None:
    """Run single operations of the hardware."""
    _refuse_beyond(shell.session, forward=True)
    for _ in range(_number(text)):
        shell.session.cycle()
    shell.halt()


def next_(shell: Shell, text: str) -> None:
    """Run to the next bit."""
    session = shell.session
    for _ in range(_number(text)):
        _refuse_beyond(session, forward=True)
        session.go_to(2 * _end_of_bit(session))
    shell.halt()


def _end_of_bit(session: Session) -> int:
    """The first step after this one at another bit, in another loop round or operation."""
    first = session.point // 2
    here = session.timeline[first]
    stop = session.part.stop if session.part else len(session.timeline)
    for index in range(first + 1, stop):
        place = session.timeline[index]
        if (place.step.bit, place.group) != (here.step.bit, here.group):
            return index
    return stop


def finish(shell: Shell, text: str) -> None:
    """Run to the end of the operation."""
    _refuse_beyond(shell.session, forward=True)
    part = shell.session.part
    assert part is not None
    shell.session.go_to(2 * part.stop)
    shell.say(f"{part.name} is done")
    shell.halt()


def continue_(shell: Shell, text: str) -> None:
    """Run to the next stop or the end."""
    for _ in range(_number(text)):
        _refuse_beyond(shell.session, forward=True)
        hits = run_forward(shell.session, shell.stops.active)
        shell.halt(hits)


def reverse_continue(shell: Shell, text: str) -> None:
    """Go back to the latest stop or the start."""
    _refuse_beyond(shell.session, forward=False)
    shell.halt(run_back(shell.session, shell.stops.active))


def until(shell: Shell, text: str) -> None:
    """Run until a condition holds, or a stop does."""
    if not text:
        raise InputError("until wants a condition, such as: until bit 3")
    _refuse_beyond(shell.session, forward=True)
    once = Stop(0, text, parse(text, shell.session), temporary=True)
    hits = run_forward(shell.session, [once, *shell.stops.active])
    shell.halt([stop for stop in hits if stop is not once])


def goto(shell: Shell, text: str) -> None:
    """Go to a step by its number."""
    session = shell.session
    if not text.isdigit() or int(text) > len(session.timeline):
        raise InputError(f"goto wants a step, 0 to {len(session.timeline)}, got {text!r}")
    session.go_to(2 * int(text))
    shell.halt()


def restart(shell: Shell, text: str) -> None:
    """Go back to the start."""
    shell.session.go_to(0)
    shell.halt()


def _number(text: str) -> int:
    if text and (not text.isdigit() or int(text) < 1):
        raise InputError(f"wanted a number of times, 1 or more, got {text!r}")
    return int(text or 1)


def _refuse_beyond(session: Session, forward: bool) -> None:
    if forward and session.point == session.end:
        raise InputError("the program has ended; `back` and `reverse-continue` go back")
    if not forward and session.point == 0:
        raise InputError("at the start: there is nothing before it")
