"""Compares at the circuit level: Table VI's resistances against the closed form."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import cost
from apsim.cost.circuit import circuit_compare_energy, line_time_constant, sense_window

# fJ of compares of 1 to 4 cells of random data, as the design worked them out
FEMTOJOULES = {"reram": (25.8, 38.0, 43.9, 46.8), "sram": (25.3, 37.7, 43.8, 46.9)}


@pytest.mark.parametrize("name", FEMTOJOULES)
def test_compares_of_one_to_four_cells_take_the_known_energies(name: str) -> None:
    found = [circuit_compare_energy(cost.technology(name), n) * 1e15 for n in range(1, 5)]
    assert [round(energy, 1) for energy in found] == list(FEMTOJOULES[name])


@given(st.integers(1, 16), st.sampled_from(["sram", "reram"]))
def test_the_closed_form_is_near_the_circuit(cells: int, name: str) -> None:
    """C V^2 (1 - 2^-n), uncalibrated, within 3.5 % of the circuit"""
    t = cost.technology(name)
    closed = t.sensing_capacitance * t.supply_voltage**2 * (1 - 2.0**-cells)
    assert math.isclose(circuit_compare_energy(t, cells), closed, rel_tol=0.035)


@given(st.integers(1, 16), st.floats(0.2, 5.0), st.sampled_from(["sram", "reram"]))
def test_the_window_tells_match_and_mismatch_best_apart(
    cells: int, factor: float, name: str
) -> None:
    """V_match(T) - V_mismatch(T) is largest at T = sense_window"""
    t = cost.technology(name)
    best = sense_window(t, cells)

    def apart(time: float) -> float:
        match, single = (line_time_constant(t, cells, k) for k in (0, 1))
        return math.exp(-time / match) - math.exp(-time / single)

    assert apart(best) >= apart(best * factor) - 1e-12


def test_the_window_is_longer_than_the_clock() -> None:
    """3-11 ns against 1 ns"""
    for name in FEMTOJOULES:
        for cells in range(1, 5):
            assert 1e-9 < sense_window(cost.technology(name), cells) < 11e-9
