"""What a search found, for those who show it."""

from __future__ import annotations

from dataclasses import dataclass

from apsim.nn.model import Model
from apsim.nn.search.measure import Images
from apsim.nn.search.settings import Setting, Space

__all__ = ["Outcome"]

NEAR = 0.02  # costs that lie within two percent make no choice


@dataclass(frozen=True)
class Outcome:
    """Settings as executed and scored, the one that a budget picked, and how it was searched."""

    model: Model
    space: Space
    search: str
    measure: str
    batch: int
    calibration: Images | None
    test: Images
    note: str
    settings: tuple[Setting, ...]
    picked: Setting | None
    tried: int

    @property
    def loss(self) -> str:
        """What a width loses, by name."""
        return "omega" if self.calibration is None else self.measure

    @property
    def flat(self) -> bool:
        """Whether all settings cost nearly the same, so that a budget decides nothing."""
        costs = [one.executed.joules for one in self.settings]
        if self.space.kind == "cycles":
            costs = [one.executed.cycles for one in self.settings]
        return max(costs) <= (1 + NEAR) * min(costs)
