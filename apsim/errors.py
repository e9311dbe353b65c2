"""The errors a user can cause, one base and one kind for each person who must act.

The rule: every message says what was wanted, what came, and where.  The command
line prints the message and exits with code 2; it never shows a traceback for these.
"""

from __future__ import annotations

__all__ = [
    "ApsimError",
    "CountError",
    "InputError",
    "LayoutError",
    "LutError",
    "MissingExtra",
    "ModelError",
    "Place",
    "ProgramError",
    "shown",
    "shown_lines",
]


class ApsimError(Exception):
    """Anything a user did that apsim cannot carry out."""


class LutError(ApsimError):
    """A look-up table is malformed, unsound or unknown: its author must act."""


class LayoutError(ApsimError):
    """Fields overlap, are unknown, or do not fit: the layout's author must act."""


class ProgramError(ApsimError):
    """An operation cannot run on this array or AP kind: the program's author must act."""


class ModelError(ApsimError):
    """A network file is missing, damaged or inconsistent: the model's author must act."""


class InputError(ApsimError):
    """A value, option or file given by the caller is not usable."""


class CountError(ApsimError):
    """An array did not carry out what a program lists: its author must act; no count stands."""


class MissingExtra(ApsimError):
    """An optional package is not installed; the message names the extra to install."""

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"this needs the package {package!r}, which is not installed; "
            f"install it with: pip install 'apsim[{extra}]'"
        )

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str]]:
        """How it comes out of another process."""
        return type(self), (self.package, self.extra)


class Place:
    """Where something was read: a file (or any origin), and a line where known (from 1)."""

    def __init__(self, origin: str, line: int = 0) -> None:
        self.origin, self.line = origin, line

    def __str__(self) -> str:
        return f"{self.origin}, line {self.line}" if self.line else self.origin

    def error(self, message: str) -> LutError:
        """A `LutError` that begins with this place."""
        return LutError(f"{self}{message}")


def shown(name: object) -> str:
    r"""A name from a file as people may see it: signs that steer a terminal or a text are escaped.

    Escape sequences, control characters, line ends, marks of direction and lone surrogates
    are spelled as Python spells them; all else is as it was.

    >>> print(shown(chr(27) + "]0;title"))
    \x1b]0;title
    """
    text = str(name)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown_lines(text: object) -> str:
    """A text of several lines, each as `shown` has it."""
    return "\n".join(map(shown, str(text).split("\n")))
