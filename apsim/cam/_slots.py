"""Rows of a schedule, and the slots that blocks stand in while they are alive.

The rule: a block that comes takes the slot that was given up last, or else a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["ACROSS", "DOWN", "FRESH", "Slots"]

# A new block in a slot; horizontal steps on it; a vertical step.
FRESH, ACROSS, DOWN = 0, 1, 2


@dataclass
class Slots:
    """The slot of every block that is alive; `many` slots have been needed so far."""

    of: dict[int, int] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)
    many: int = 0

    def take(self, block: int) -> int:
        """The slot of a block that comes."""
        if not self.free:
            self.free.append(self.many)
            self.many += 1
        self.of[block] = slot = self.free.pop()
        return slot

    def give_up(self, block: int) -> None:
        """A block goes."""
        self.free.append(self.of.pop(block))

    def visited(self, blocks: Sequence[int], comes: Sequence[bool]) -> list[int]:
        """The slots of those that come, where blocks come and go one after another."""
        taken = []
        for block, come in zip(blocks, comes, strict=True):
            if come:
                taken.append(self.take(block))
            else:
                self.give_up(block)
        return taken
