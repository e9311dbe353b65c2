"""A compare at the circuit level: match lines that discharge through their cells.

The rule: nothing is calibrated here.  It checks what the model assumes, that a compare
takes similar energy in SRAM and ReRAM and about C_in V_DD^2 (1 - 2^-n) on random data.
The window is the one that best tells a full match from a single mismatch.
"""

from __future__ import annotations

from math import comb, exp, log

from apsim.cost.technology import Technology

__all__ = ["circuit_compare_energy", "line_time_constant", "sense_window"]


def circuit_compare_energy(
    technology: Technology, cells: int, window: float | None = None
) -> float:
    """Mean energy of a compare of `cells` cells on random data, in J.

    C V^2 (1 - exp(-T / tau_k)) over the binomial number k of mismatching cells, at the
    sensing window T in s (default: `sense_window`).
    """
    t = technology
    window = sense_window(t, cells) if window is None else window
    full = t.sensing_capacitance * t.supply_voltage**2
    return sum(
        comb(cells, k) * 0.5**cells * full * (1 - exp(-window / line_time_constant(t, cells, k)))
        for k in range(cells + 1)
    )


def sense_window(technology: Technology, cells: int) -> float:
    """Seconds after which a full match and one mismatch lie furthest apart in voltage."""
    match = line_time_constant(technology, cells, 0)
    single = line_time_constant(technology, cells, 1)
    return log(match / single) * match * single / (match - single)


def line_time_constant(technology: Technology, cells: int, mismatches: int) -> float:
    """Seconds: C_in over the conductance of all compared cells of a line, side by side.

    A cell has two branches of a storing element and a transistor: (high + on) beside
    (low + off) where it matches, (low + on) beside (high + off) where it does not.
    """
    t = technology
    match = 1 / (t.high_resistance + t.on_resistance) + 1 / (t.low_resistance + t.off_resistance)
    mismatch = 1 / (t.low_resistance + t.on_resistance) + 1 / (t.high_resistance + t.off_resistance)
    return t.sensing_capacitance / ((cells - mismatches) * match + mismatches * mismatch)
