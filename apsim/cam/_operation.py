"""An operation in the making: a function of a frame and a row (see `_frame`)."""

from __future__ import annotations

from typing import Any

from apsim.cam import _frame as frame
from apsim.cam._vector_ir import add_to, at, function, integer

__all__ = ["BYTES", "Operation"]

BYTES = integer(3)  # shift from numbers to bytes


class Operation:
    """An operation in the making: its frame and its row."""

    def __init__(self, module: Any, name: str, arguments: int = 2) -> None:
        self.build = function(module, name, arguments)
        self.frame, self.row = self.build.function.args[:2]

    def of(self, *places: int) -> Any:
        """Numbers of the frame."""
        return [self.number(self.frame, place) for place in places]

    def given(self, *places: int) -> Any:
        """Numbers of the row."""
        return [self.number(self.row, place) for place in places]

    def number(self, of: Any, place: int | Any) -> Any:
        place = integer(place) if isinstance(place, int) else place
        return self.build.load(self.build.gep(of, [place]))

    def line(self, slot: Any, line: Any) -> Any:
        """Address of a line of a slot."""
        base, of_line, of_slot = self.of(frame.BASE, frame.LINE, frame.SLOT)
        build = self.build
        return build.add(base, build.add(build.mul(slot, of_slot), build.mul(line, of_line)))

    def count(self, what: int, value: Any, *, after: int | Any = 0) -> None:
        """Add to a number of the step INDEX, or of one `after` it."""
        build = self.build
        after = integer(after) if isinstance(after, int) else after
        step = build.shl(build.add(self.given(frame.INDEX)[0], after), BYTES)
        add_to(build, build.add(self.of(what)[0], step), value)

    def store(self, address: Any, vector: Any, bits: Any) -> None:
        """A vector into a line."""
        place = self.build.add(address, self.build.shl(vector, integer(6)))
        self.build.store(bits, at(self.build, place), align=8)

    def done(self) -> None:
        self.build.ret_void()
