"""The CAM as a picture: rows and fields around what the last step did.

The rule: everything that colour says is also said in characters: key and written bits
stand above the columns they belong to, the tag beside its rows, and changed cells are
listed at the end of the row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.text import Text

from apsim.debug.session import Session, words_of
from apsim.debug.timeline import Place
from apsim.debug.view import View
from apsim.layout import Field
from apsim.program import Mode, Op

__all__ = ["GridPane"]

Cells = NDArray[np.bool_]
KEY, WRITE, MATCH, FLIP, HEAD, DIM = "bold cyan", "bold magenta", "green", "bold red", "bold", "dim"
FOR_TAG_AND_CHANGES = 18


def line(text: str, style: str = "") -> Text:
    """A line that is cut, never wrapped."""
    return Text(text, style, no_wrap=True, overflow="crop")


class GridPane:
    """Rows of the array with headings, key, written bits, tag and changes."""

    title = "array"

    def __init__(self, session: Session, view: View) -> None:
        self.session, self.view = session, view

    def __rich__(self) -> RenderableType:
        return Group(*_Picture(self.session, self.view).lines())


class _Picture:
    """One drawing: what is involved, what fits, and the lines of it."""

    def __init__(self, session: Session, view: View) -> None:
        self.session, self.view, self.place = session, view, session.done
        self.cells = session.machine.cam.peek()
        before = session.tape.cells_before()
        self.flipped: Cells = (
            self.cells ^ before if before is not None else np.zeros_like(self.cells)
        )
        self.rows = view.rows(session)
        self.margin = max(len(str(session.machine.rows - 1)), 5) + 1
        fields = sorted(session.machine.layout.values(), key=lambda field: field.column)
        self.fields, self.hidden = self._fitting(fields)

    def lines(self) -> Iterator[Text]:
        yield self._heading()
        if self.place is not None and self.place.step.mode is Mode.HORIZONTAL:
            yield from self._bits_above(self.place)
        last = -1
        for row in self.rows:
            if row != last + 1:
                yield line("...".rjust(self.margin - 1), DIM)
            yield self._row(row)
            last = row
        if last + 1 < self.session.machine.rows:
            yield line("...".rjust(self.margin - 1), DIM)
        if self.place is not None and self.place.step.mode is Mode.VERTICAL:
            yield self._column_tag()
        yield from self._notes()

    def _fitting(self, fields: Sequence[Field]) -> tuple[dict[str, str], list[str]]:
        """How each field is shown, `bits` or `value`, and the names of those left out."""
        shown = {field.name: "bits" for field in fields}
        upright = self.place is not None and self.place.step.mode is Mode.VERTICAL
        spare = sorted(
            fields, key=lambda f: (self._involved(f), -f.column if upright else -f.width)
        )
        for field in spare:
            if self._width(shown) <= self.view.width:
                break
            shown[field.name] = "value"
        hidden = []
        for field in spare:
            if self._width(shown) > self.view.width and len(shown) > 1:
                hidden.append(field.name)
                del shown[field.name]
        return shown, hidden

    def _width(self, shown: dict[str, str]) -> int:
        changes = 14
        return (
            self.margin + sum(self._of(name, how) + 2 for name, how in shown.items()) + 4 + changes
        )

    def _of(self, name: str, how: str) -> int:
        field = self.session.machine.layout[name]
        digits = field.width if how == "bits" else len(str(field.highest)) + field.signed
        return max(digits, len(name))

    def _involved(self, field: Field) -> bool:
        """Whether the last step keyed on the field, wrote it, or (vertically) tagged it."""
        if self.place is None:
            return False
        step, inside = self.place.step, list(field.columns)
        if step.mode is Mode.HORIZONTAL:
            return any(column in inside for column, _ in (*step.key, *step.write))
        filled = range(step.target, step.target + step.width)
        tagged = np.atleast_2d(self.session.tag)[:, inside].any()
        return bool(tagged or self.flipped[:, inside].any() or set(filled) & set(inside))

    def _heading(self) -> Text:
        text = line("row".rjust(self.margin - 1) + " ", HEAD)
        for name, how in self.fields.items():
            text.append(name.rjust(self._of(name, how)) + "  ", HEAD)
        return text.append("tag" if self._has_tag() else "", HEAD)

    def _has_tag(self) -> bool:
        return self.place is None or self.place.step.mode is Mode.HORIZONTAL

    def _bits_above(self, place: Place) -> Iterator[Text]:
        step = place.step
        moves = step.op in (Op.WRITE_TAG, Op.WRITE_DATA)
        key, write = (() if moves else step.key), (step.key if moves else step.write)
        sign = {Op.WRITE_TAG: "t", Op.WRITE_DATA: "d"}.get(step.op)
        if key:
            yield self._line_above("key", {line: str(bit) for line, bit in key}, KEY)
        if write and self.session.point % 2 == 0:
            yield self._line_above("write", {line: sign or str(bit) for line, bit in write}, WRITE)

    def _line_above(self, name: str, bits: dict[int, str], style: str) -> Text:
        text = line(name.rjust(self.margin - 1) + " ", style)
        for field in self._shown():
            how = self.fields[field.name]
            chars = [bits.get(column, ".") for column in reversed(field.columns)]
            shown = "".join(chars) if how == "bits" else ""
            text.append(shown.rjust(self._of(field.name, how)) + "  ", style)
        return text

    def _shown(self) -> list[Field]:
        return [self.session.machine.layout[name] for name in self.fields]

    def _row(self, row: int) -> Text:
        tagged = self._has_tag() and self.place is not None and self.session.machine.cam.tag[row]
        slots = self._slots(row)
        style = MATCH if tagged or slots else ""
        text = line(str(row).rjust(self.margin - 1) + " ", style)
        for field in self._shown():
            self._add_field(text, field, row, style)
        text.append("1" if tagged else "." if self._has_tag() else "", MATCH if tagged else DIM)
        return text.append("   " + slots + self._changes(row), FLIP)

    def _add_field(self, text: Text, field: Field, row: int, style: str) -> None:
        how = self.fields[field.name]
        width = self._of(field.name, how)
        if how == "value":
            value = words_of(self.cells[row : row + 1], field)[0]
            text.append(str(value).rjust(width) + "  ", style)
            return
        text.append(" " * (width - field.width))
        for column in reversed(field.columns):
            bit = "1" if self.cells[row, column] else "0"
            text.append(bit, FLIP if self.flipped[row, column] else style)
        text.append("  ")

    def _slots(self, row: int) -> str:
        """What a vertical step keyed on and wrote in this row."""
        if self.place is None or self.place.rows is None:
            return ""
        rows, step = self.place.rows, self.place.step
        here = {slot for slot in range(rows.shape[1]) if (rows[:, slot] == row).any()}
        moves = step.op in (Op.WRITE_TAG, Op.WRITE_DATA)
        keys = [] if moves else [f"key {bit}" for slot, bit in step.key if slot in here]
        writes = [f"write {bit}" for slot, bit in step.write if slot in here]
        filled = ["filled" for slot, _ in step.key if moves and slot in here]
        return "".join(f"{note}  " for note in (*keys, *writes, *filled))

    def _changes(self, row: int) -> str:
        """The first cells of this row that the last step changed: `B.3 0>1`."""
        notes: list[str] = []
        for field in self._shown():
            for place, column in enumerate(field.columns):
                if self.flipped[row, column]:
                    name = field.name if field.width == 1 else f"{field.name}.{place}"
                    notes.append(f"{name} {'1>0' if self.cells[row, column] == 0 else '0>1'}")
        return "  ".join(notes[:2]) + "  ..." * (len(notes) > 2)

    def _column_tag(self) -> Text:
        tags = np.atleast_2d(self.session.tag)
        group = int(np.argmax(tags.any(axis=1)))
        text = line("tag".rjust(self.margin - 1) + " ", MATCH)
        for field in self._shown():
            how = self.fields[field.name]
            bits = "".join("1" if tags[group, c] else "." for c in reversed(field.columns))
            text.append(
                (bits if how == "bits" else "").rjust(self._of(field.name, how)) + "  ", MATCH
            )
        return text.append(f"group {group} of {len(tags)}" if len(tags) > 1 else "", DIM)

    def _notes(self) -> Iterator[Text]:
        if self.hidden:
            yield line(f"too narrow for {', '.join(self.hidden)}", DIM)
