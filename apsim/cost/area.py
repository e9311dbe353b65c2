"""Silicon area: cells of CAPs and MAPs, and the store of the weights.

The rule: two cell areas stand for everything, peripherals included, because the paper
gives two numbers (137.45 mm^2, and 8 GOPS/W/mm^2 that leaves 80.1 mm^2).
"""

from __future__ import annotations

from dataclasses import dataclass

from apsim.cost.chip import Chip
from apsim.cost.technology import Technology

__all__ = ["Area", "chip_area"]


@dataclass(frozen=True)
class Area:
    """Square metres by part."""

    arrays: float
    weight_store: float

    @property
    def total(self) -> float:
        """The sum over the parts, in m^2."""
        return self.arrays + self.weight_store


def chip_area(chip: Chip, technology: Technology, caps: int | None = None) -> Area:
    """Area of `chip`; `caps` where the network says how many there are (IR)."""
    caps = chip.caps if caps is None else caps
    maps = chip.clusters * chip.maps_per_cluster
    cells = (caps + maps) * chip.rows * chip.columns
    return Area(
        cells * technology.cell_area / technology.area_divisor,
        chip.weight_store_bits * technology.weight_bit_area / technology.area_divisor,
    )
