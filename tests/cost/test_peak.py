"""Table VIII: peak throughput and efficiency, and what they imply."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import closed_form, cost
from apsim.cost import peak

LR, SRAM = cost.chip("lr"), cost.technology("sram")


@pytest.mark.parametrize(("bits", "gops"), [(1, 2808686), (8, 140434), (16, 41654)])
def test_peak_throughput_is_the_printed_one(bits: int, gops: int) -> None:
    assert round(peak.peak_gops(bits, LR, SRAM)) == gops


@given(st.integers(1, 16))
def test_peak_cycles_are_a_quadratic_without_constant(bits: int) -> None:
    """cycles == 3M^2 + 11M"""
    assert peak.peak_cycles(bits, SRAM) == 3 * bits**2 + 11 * bits


@pytest.mark.parametrize(("bits", "printed"), [(1, 22879), (8, 641), (16, 170)])
def test_peak_efficiency_is_the_printed_one(bits: int, printed: int) -> None:
    assert math.isclose(peak.peak_gops_per_watt(bits, SRAM), printed, rel_tol=1e-3)
    uncalibrated = cost.technology("first-principles-16nm")
    assert math.isclose(peak.peak_gops_per_watt(bits, uncalibrated), printed, rel_tol=1.3e-2)


def test_the_peak_leaves_out_most_of_the_work() -> None:
    """With the reduction of Eq. (7) in it, throughput is some 200 times lower"""
    sustained = peak.sustained_gops(8, LR, SRAM, closed_form)
    assert 150 < peak.peak_gops(8, LR, SRAM) / sustained < 250


def test_the_peak_implies_more_power_than_can_be_cooled() -> None:
    area_mm2 = cost.chip_area(LR, SRAM).total * 1e6
    assert peak.peak_power(8, LR, SRAM) / area_mm2 > 1.5


def test_table_8_has_its_nine_peers() -> None:
    found = {peer.name: peer for peer in cost.peers()}
    assert len(found) == 9
    assert found["ISAAC"].gops == 40907
    assert found["PipeLayer"].frequency_ghz is None
