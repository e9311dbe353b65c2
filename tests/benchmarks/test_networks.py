"""What whole networks are held to: seconds, share of moving data, memory."""

from __future__ import annotations

import pytest

from benchmarks.networks import goals_of

FIGURES = {
    "engine seconds": 3.0,
    "numpy int32 @ seconds": 6.0,
    "share of load, im2col, unload": 0.06,
    "peak memory, GiB": 8.0,
}


@pytest.mark.parametrize(("bits", "seconds"), [(8, 2.0), (4, 1.0)])
def test_four_bits_are_to_take_at_most_half_of_the_seconds(bits: int, seconds: float) -> None:
    """ResNet-50: 2 s at 8 bits, half of that at 4"""
    goal = goals_of("resnet50", bits, "resnet50", FIGURES)[0]
    assert (goal.wanted, goal.measured, goal.met) == (seconds, 3.0, False)
    assert goal.distance == pytest.approx(seconds / 3)


def test_every_network_has_its_distance_to_the_goals_of_share_and_memory() -> None:
    """6 % of at most 12 % is twice as good, 8 GiB of at most 4 half as good as wanted"""
    speed, share, memory = goals_of("alexnet", 8, "alexnet", FIGURES)
    assert (speed.distance, share.distance, memory.distance) == pytest.approx((2, 2, 0.5))
    assert (speed.met, share.met, memory.met) == (True, True, False)
