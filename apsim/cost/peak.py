"""Peak throughput and efficiency: the model behind Table VIII.

The rule: this is what the printed numbers are, not what a chip sustains.  A step is
M (M+1) bit operations of one pass each, 2M populating column writes and 2M writes of
the product into the MAP; it has no reduction and no reads.  `sustained_gops` is the
same with the reduction of Eq. (7) in it.
"""

from __future__ import annotations

from apsim.cost.chip import Chip
from apsim.cost.latency import Equations
from apsim.cost.technology import Technology

__all__ = [
    "peak_cycles",
    "peak_gops",
    "peak_gops_per_watt",
    "peak_mac_energy",
    "peak_power",
    "sustained_gops",
]

OPERATIONS_PER_MAC = 2
BIT_OPERATION_CELLS = 3  # cells that the compare of a bit operation drives


def peak_cycles(bits: int, technology: Technology) -> float:
    """Cycles of one multiply-accumulate in every row: 3M^2 + 11M for SRAM.

    >>> from apsim.cost import technology
    >>> [peak_cycles(bits, technology("sram")) for bits in (1, 8, 16)]
    [14.0, 280.0, 944.0]
    """
    one_pass = technology.compare_cycles + technology.write_cycles
    return one_pass * bits * (bits + 1) + 4 * bits * technology.write_cycles


def peak_gops(bits: int, chip: Chip, technology: Technology) -> float:
    """10^9 operations a second with a multiply-accumulate in every row of every CAP."""
    rate = chip.frequency / peak_cycles(bits, technology)
    return OPERATIONS_PER_MAC * chip.caps * chip.rows * rate / 1e9


def peak_mac_energy(bits: int, technology: Technology) -> float:
    """Joules of one multiply-accumulate: a compare for each bit operation, and 4M writes."""
    t = technology
    discharge = t.peak_compare_factor * t.sensing_capacitance * t.supply_voltage**2
    bit_operation = discharge * (1 - 2.0**-BIT_OPERATION_CELLS)
    return bit_operation * bits * (bits + 1) + 4 * bits * t.cell_write_energy


def peak_gops_per_watt(bits: int, technology: Technology) -> float:
    """10^9 operations a joule at the peak."""
    return OPERATIONS_PER_MAC / peak_mac_energy(bits, technology) / 1e9


def peak_power(bits: int, chip: Chip, technology: Technology) -> float:
    """Watts that the peak implies; the paper does not print them."""
    return peak_gops(bits, chip, technology) / peak_gops_per_watt(bits, technology)


def sustained_gops(bits: int, chip: Chip, technology: Technology, equations: Equations) -> float:
    """10^9 operations a second when each CAP also adds up its products (one dot product)."""
    cycles = technology.cycles(equations.matmul(bits, 1, chip.rows, 1, chip.ap))
    return OPERATIONS_PER_MAC * chip.caps * chip.rows * chip.frequency / cycles / 1e9
