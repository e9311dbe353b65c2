"""How a command-line process begins and ends: its streams, its signals, its last line.

The rule: Ctrl-C, a request to end and a terminal that went away are answered at once with
one line; text that a terminal cannot show is spelled out, never an error.
"""

from __future__ import annotations

import codecs
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["Terminated", "code", "ended_by", "leave", "prepare", "quiet"]

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
SPELLED = str.maketrans({
    "µ": "u", "μ": "u", "×": "x", "·": ".", "−": "-", "–": "-", "—": "-", "…": "...", "²": "^2",
    "→": "->", "←": "<-", "≥": ">=", "≤": "<=", "≠": "!=", "±": "+-", "Ω": "ohm", "°": " deg",
    "√": "sqrt ", "κ": "kappa", "α": "alpha", "β": "beta", "η": "eta", "“": '"', "”": '"',
    "’": "'", "│": "|", "─": "-", "┃": "|", "━": "-", "█": "#", "▀": "#", "▄": "#", "•": "*",
})  # fmt: skip
"""What stands for a sign where the stream has none; others are escaped."""
ASKED = {
    f"__{name}__"
    for name in (
        "getattr", "getattribute", "get", "eq", "ne", "lt", "hash", "len", "bool", "index", "int",
        "float", "contains", "instancecheck", "subclasscheck", "array", "del",
    )
}  # fmt: skip
"""Methods that compiled code calls, and of which it may drop what they raise, signals included."""
SOON = 0.002  # seconds after which a signal that came in one of them comes again


class Terminated(KeyboardInterrupt):
    """A signal other than Ctrl-C that asks the process to end."""


_number = int(signal.SIGINT)


def prepare() -> None:
    """Open what is closed, spell out what a stream cannot show, answer the signals."""
    _plug()
    codecs.register_error("apsim.spelled", _spelled)
    sys.unraisablehook = _unraisable
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="apsim.spelled")
    for number in (*WORDS, signal.SIGALRM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            try:
                signal.signal(number, _answer)
            except ValueError:  # not the main thread: signals are somebody else's matter
                return


def _plug() -> None:
    """Point a closed standard stream at nothing, lest a file that is opened takes its place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    plain = (sign.translate(SPELLED) for sign in signs)
    return "".join(p.encode("ascii", "backslashreplace").decode() for p in plain), error.end


def _answer(number: int, frame: FrameType | None) -> None:
    global _number
    _number = _number if number == signal.SIGALRM else number
    if _is_importing(frame):  # half-imported modules are no state to unwind from
        leave()
    if frame is not None and frame.f_code.co_name in ASKED:
        signal.setitimer(signal.ITIMER_REAL, SOON)
        return
    raise KeyboardInterrupt if _number == signal.SIGINT else Terminated


def _unraisable(lost: UnraisableHookArgs) -> None:
    """What a callback of the interpreter raised, which nothing catches: a signal ends all the same.

    Where a signal comes within a finalizer or the callback of a weak reference, Python drops
    the `KeyboardInterrupt` and goes on.
    """
    if issubclass(lost.exc_type, KeyboardInterrupt):
        leave()
    sys.__unraisablehook__(lost)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and "importlib._bootstrap" not in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None


def leave(*_: object) -> None:
    """End at once, nothing half-written left behind."""
    files = sys.modules.get("apsim.files")
    if files is not None and hasattr(files, "drop_temporaries"):
        files.drop_temporaries()
    os.write(2, f"{ended_by()}\n".encode())
    os._exit(code())


def ended_by(*kept: object) -> str:
    """The last line of a process that was asked to end, and what it kept; then no more is asked."""
    if signal.getsignal(signal.SIGINT) is _answer:
        for number in (*WORDS, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
    return "; ".join([f"apsim: {WORDS[signal.Signals(_number)]}", *map(str, kept)])


def code() -> int:
    """The exit code of a process that was asked to end: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + _number


def quiet() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
