"""Multipliers found by trial: means and a float rule, integer for integer, on the AP."""

from __future__ import annotations

import numpy as np
import pytest

from apsim.nn import rules
from apsim.nn.on_ap.chip import Chip
from apsim.nn.rules.multipliers import divided, integers
from apsim.nn.rules.ranges import Range
from apsim.nn.rules.recipes import shares
from tests.helpers import on_ap


def chip() -> Chip:
    return Chip.preset("bf-imna-lr", requant="ap")


@pytest.mark.parametrize("rule", ["onnx-exact", "tflite", "dyadic(31,half-up)"])
@pytest.mark.parametrize("count", [1, 4, 6, 9, 49])
def test_a_mean_over_any_window_is_a_multiplier_that_is_never_wrong(rule: str, count: int) -> None:
    """finish(scale(sum + b, r), r) == finish(divide(sum + bias)) for every sum of the window"""
    factor = 1.0 if rule == "tflite" else 0.7
    requant = rules.requant(rule, factor, zero_point=3, lo=0, hi=255)
    found = divided(requant, np.full((2, 2), count), Range.between(0, 255 * count), -3 * count)
    assert found is not None
    sums = np.arange(255 * count + 1)[None]
    wanted = rules.finish(rules.divide(sums - 3 * count, requant, np.array([count])), requant)
    values, part = on_ap.requantize(
        chip(),
        sums,
        shares(found[0], Range.between(0, 255 * count), np.array([found[1]])),
        1,
    )
    np.testing.assert_array_equal(values, wanted)
    assert part.counts_match


def test_a_float_rule_with_an_integer_twin_runs_on_the_ap() -> None:
    """AP(sums) == round half away(float64(sum) * s), the twin tried on every sum not clipped"""
    requant = rules.requant("tflite-float", [0.0007, 0.0313], zero_point=-4, lo=-128, hi=127)
    within = Range(np.array([-300_000, -9000]), np.array([300_000, 9000]))
    twin = integers(requant, within)
    assert twin is not None
    sums = np.linspace(within.low, within.high, 9001, dtype=np.int64).T
    plan = shares(twin, within, np.zeros(1, np.int64))
    values, part = on_ap.requantize(chip(), sums, plan, 0)
    wanted = rules.finish(rules.scale(sums, requant, axis=0), requant)
    np.testing.assert_array_equal(values, wanted)
    assert part.counts_match


def test_a_float_rule_stays_on_the_host_where_not_every_sum_can_be_tried() -> None:
    wide = rules.requant("tflite-float", 1e-9, lo=-128, hi=127)
    assert integers(wide, Range.between(-(1 << 30), 1 << 30)) is None
    other = rules.requant("ort-f32", 0.1, lo=0, hi=255)
    assert integers(other, Range.between(0, 9)) is None


def test_windows_that_differ_in_their_counts_stay_on_the_host() -> None:
    requant = rules.requant("onnx-exact", 1.0, lo=0, hi=255)
    assert divided(requant, np.array([[4, 2]]), Range.between(0, 1020), 0) is None
    ties_and_ninths = rules.requant("dyadic(1,half-even)", 0.5, lo=0, hi=255)
    assert divided(ties_and_ninths, np.array([9]), Range.between(0, 2295), 0) is None
