"""Recorders of what a program does, step by step, as files that other tools open.

The rule: a recorder is told of events and reads the array; it changes nothing, and
its file appears whole or not at all.  What a recorder leaves out, `note` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from apsim.controller import Event
from apsim.errors import InputError
from apsim.files import replacing
from apsim.machine import Machine
from apsim.program import Microprogram
from apsim.trace.limits import Limits

__all__ = ["Limits", "Recorder", "recorder"]


class Recorder(Protocol):
    """Told of every step; says what it left out, and when it takes no more."""

    note: str

    @property
    def full(self) -> bool: ...

    def __call__(self, event: Event) -> None: ...


@contextmanager
def recorder(
    path: str | Path, machine: Machine, program: Microprogram, limits: Limits | None = None
) -> Iterator[Recorder]:
    """A recorder that writes to a file of the kind that its name says: .jsonl, .vcd or .html.

    Raises `InputError` for another name or a file that cannot be written, `MissingExtra`
    where a package is needed that is not installed.
    """
    from apsim.trace.html import Film
    from apsim.trace.jsonl import JsonLines
    from apsim.trace.vcd import Waves

    kinds: dict[str, type[Film | JsonLines | Waves]] = {
        ".html": Film, ".jsonl": JsonLines, ".vcd": Waves,
    }  # fmt: skip
    kind = kinds.get(Path(path).suffix)
    if kind is None:
        raise InputError(f"wanted a file named .jsonl, .vcd or .html, got {path}")
    with replacing(path) as stream:
        told = kind(stream, machine, program, limits or Limits())
        yield told
        told.close()
