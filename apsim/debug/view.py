"""What the panes show: which rows, how many, and the words for what a step did.

The rule: a view chooses, it never changes a session.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsim.controller import Event
from apsim.debug.session import Session
from apsim.program import Mode, Op

__all__ = ["View", "describe", "read_rows"]

WIDEST_TAG = 32


@dataclass
class View:
    """`chosen` is "auto" (what the last step touched), "tagged", or rows by number."""

    chosen: str | tuple[int, ...] = "auto"
    first: int = 0
    height: int = 12
    width: int = 80

    def rows(self, session: Session) -> list[int]:
        """The rows to show, in order; at most `height`."""
        everyone = session.machine.rows
        if isinstance(self.chosen, tuple):
            return list(self.chosen[self.first : self.first + self.height])
        involved = _involved(session)
        if self.chosen == "tagged":
            return list(involved[self.first : self.first + self.height])
        if everyone <= self.height:
            return list(range(everyone))
        start = self.first or _start(involved, self.height)
        start = min(start, everyone - self.height)
        near = range(start, start + self.height)
        if len(involved) and involved[-1] not in near and not self.first:
            return _mixed(involved, near, self.height)
        return list(near)

    def scroll(self, session: Session, by: int) -> None:
        """Move the rows shown up or down."""
        whole = session.machine.rows
        if isinstance(self.chosen, tuple):
            whole = len(self.chosen)
        elif self.chosen == "tagged":
            whole = len(_involved(session))
        self.first = max(min(self.first + by, whole - self.height), 0)


def _involved(session: Session) -> list[int]:
    """Rows tagged by the last step; vertically, the rows that it acted on."""
    place = session.done
    if place is None:
        return []
    if place.rows is None:
        return [int(row) for row in np.flatnonzero(session.machine.cam.tag)]
    slots = {slot for slot, _ in (*place.step.key, *place.step.write)}
    return [int(row) for row in np.unique(place.rows[:, sorted(slots)])]


def _start(involved: list[int], height: int) -> int:
    """Where a window of rows begins so that the first involved row is in it, with some above."""
    return max(involved[0] - height // 4, 0) if involved else 0


def _mixed(involved: list[int], near: range, height: int) -> list[int]:
    """Some rows in a run, then involved rows that lie further away."""
    far = [row for row in involved if row not in near][: height // 2]
    return [*near[: height - len(far)], *far]


def read_rows(text: str, session: Session) -> tuple[int, ...]:
    """Rows from text such as `3`, `0-7`, `0,5,9` or `tagged`; raises `ValueError`."""
    if text == "tagged":
        return tuple(_involved(session))
    rows: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        rows += range(int(first), int(last if dash else first) + 1)
    if not rows or not 0 <= min(rows) <= max(rows) < session.machine.rows:
        raise ValueError(text)
    return tuple(rows)


def describe(session: Session, event: Event) -> str:
    """One line for what a step did: number, step, tag, cells changed."""
    what = str(event.step)
    if session.point % 2:
        where = "" if event.step.bit is None else f"bit {event.step.bit}  "
        what = f"{where}{event.step.label}  compare {event.step.text.split(' -> ')[0]}"
    parts = [f"#{event.index}  {what}"]
    if event.step.op in (Op.PASS, Op.COMPARE, Op.READ):
        parts.append(_tag(event.tag.bits, event.step.mode))
    if event.activity.written:
        flipped = event.activity.flipped
        parts.append(f"{flipped} cell{'s' * (flipped != 1)} flipped")
    return "   ".join(parts)


def _tag(bits: NDArray[np.bool_], mode: Mode) -> str:
    if bits.size <= WIDEST_TAG:
        return "tag " + " ".join(_dots(line) for line in np.atleast_2d(bits))
    lines = "rows" if mode is Mode.HORIZONTAL else "columns"
    return f"tag {int(bits.sum())} of {bits.size} {lines}"


def _dots(bits: NDArray[np.bool_]) -> str:
    return "".join("1" if bit else "." for bit in bits)
