"""Every requantization rule against its specification in fractions or C arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim.errors import ModelError
from apsim.nn import rules
from apsim.nn.model import Linear, Tensor
from apsim.nn.rules import factors
from apsim.nn.rules.rounding import MODES, round_divide

FACTORS = st.floats(2**-30, 4.0, width=32) | st.integers(0, 20).map(lambda n: 2.0**-n)
ACCUMULATORS = st.lists(
    st.integers(-(2**24), 2**24) | st.integers(-(2**45), 2**45) | st.integers(-600, 600),
    min_size=1,
    max_size=30,
)


def clip(value: int, lo: int, hi: int) -> int:
    return max(lo, min(hi, value))


def whole(acc: list[int], requant: rules.Requant, relu: bool = False) -> list[int]:
    """Both steps of a requantization, with the ReLU between them."""
    q = rules.scale(np.array([acc], np.int64), requant, axis=0)
    return rules.finish(np.maximum(q, 0) if relu else q, requant)[0].tolist()


@given(ACCUMULATORS, FACTORS, st.integers(-128, 127))
def test_onnx_exact_rounds_the_exact_product_half_to_even(
    acc: list[int], factor: float, zero: int
) -> None:
    """y == clip(round_half_even(acc * float32 s) + zero point), in fractions."""
    requant = rules.requant("onnx-exact", factor, zero_point=zero, lo=-128, hi=127)
    exact = [round(Fraction(a) * Fraction(float(np.float32(factor)))) for a in acc]
    assert whole(acc, requant) == [clip(q + zero, -128, 127) for q in exact]


@given(ACCUMULATORS, FACTORS, st.integers(0, 255))
def test_parity_lets_the_zero_point_decide_ties(acc: list[int], factor: float, zero: int) -> None:
    """y == clip(round_half_even(acc * s + zero point)): the zero point before rounding."""
    requant = rules.requant("onnx-exact", factor, zero_point=zero, lo=0, hi=255, parity=zero)
    scale = Fraction(float(np.float32(factor)))
    assert whole(acc, requant) == [clip(round(a * scale + zero), 0, 255) for a in acc]


@given(ACCUMULATORS, FACTORS, st.sampled_from([(0, 0), (0, 7), (3, 3)]))
def test_relu_between_the_steps_is_relu_before_the_zero_point(
    acc: list[int], factor: float, least: tuple[int, int]
) -> None:
    """finish(max(scale(acc), 0)) == clip(max(round(acc * s), 0) + zero point)."""
    lo, zero = least
    requant = rules.requant("onnx-exact", factor, zero_point=zero, lo=lo, hi=255)
    exact = [max(round(Fraction(a) * Fraction(float(np.float32(factor)))), 0) for a in acc]
    assert whole(acc, requant, relu=True) == [clip(q + zero, lo, 255) for q in exact]


@given(ACCUMULATORS, FACTORS, st.integers(-32768, 32767))
def test_q_fits_its_declared_width(acc: list[int], factor: float, zero: int) -> None:
    """-2**(width - 1) <= q < 2**(width - 1), and no clipped y is lost by it."""
    requant = rules.requant("onnx-exact", factor, zero_point=zero, lo=-32768, hi=32767)
    top = 1 << (requant.width - 1)
    q = rules.scale(np.array([acc]), requant)
    assert (q >= -top).all() and (q < top).all()
    assert top - 1 + zero >= 32767 and -top + zero <= -32768


@pytest.mark.parametrize(
    "rule", ["onnx-exact", "ort-f32", "tflite", "tflite-float", "tflite-16x8", "dyadic(8,floor)"]
)
@pytest.mark.parametrize("bits", [8, 16])
def test_every_rule_saturates_at_both_ends_of_q(rule: str, bits: int) -> None:
    """sums far beyond q give 2**(width - 1) - 1 and -2**(width - 1), divided sums as well"""
    requant = rules.requant(rule, 0.5, lo=-(1 << (bits - 1)), hi=(1 << (bits - 1)) - 1)
    top = 1 << (requant.width - 1)
    far = np.array([[1 << 30, -(1 << 30)]])
    assert rules.scale(far, requant).tolist() == [[top - 1, -top]]
    assert rules.divide(far, requant, np.array([4])).tolist() == [[top - 1, -top]]


ROUNDINGS = {
    "half-even": round,
    "half-up": lambda x: math.floor(x + Fraction(1, 2)),
    "half-down": lambda x: math.ceil(x - Fraction(1, 2)),
    "half-away": lambda x: int(math.copysign(math.floor(abs(x) + Fraction(1, 2)), x)),
    "half-zero": lambda x: int(math.copysign(math.ceil(abs(x) - Fraction(1, 2)), x)),
    "floor": math.floor,
    "ceil": math.ceil,
    "toward-zero": math.trunc,
    "away-from-zero": lambda x: int(math.copysign(math.ceil(abs(x)), x)),
}


@pytest.mark.parametrize("mode", sorted(ROUNDINGS))
@given(acc=ACCUMULATORS, factor=FACTORS, bits=st.sampled_from([8, 16, 31]))
def test_dyadic_rounds_by_its_mode(mode: str, acc: list[int], factor: float, bits: int) -> None:
    """y == clip(mode(acc * M / 2**e)) with M the k-bit mantissa of the factor."""
    requant = rules.requant(f"dyadic({bits},{mode})", factor, lo=-128, hi=127)
    scale = Fraction(int(requant.mantissa[0])) / Fraction(2) ** int(requant.exponent[0])
    assert 1 << (bits - 1) <= requant.mantissa[0] < 1 << bits
    assert abs(scale / Fraction(factor) - 1) <= Fraction(1, 1 << bits)
    assert whole(acc, requant) == [clip(ROUNDINGS[mode](a * scale), -128, 127) for a in acc]


def tflite_in_c(acc: int, mantissa: int, shift: int) -> int:
    """MultiplyByQuantizedMultiplier of TFLite, two roundings, as its C++ computes it."""
    product = acc * (1 << max(shift, 0)) * mantissa
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    high = abs(nudged) // (1 << 31) * (1 if nudged >= 0 else -1)  # C division truncates
    right = max(-shift, 0)
    mask = (1 << right) - 1
    threshold = (mask >> 1) + (1 if high < 0 else 0)
    return (high >> right) + (1 if (high & mask) > threshold else 0)


@given(st.lists(st.integers(-(2**27), 2**27), min_size=1, max_size=30), FACTORS)
def test_tflite_rounds_twice(acc: list[int], factor: float) -> None:
    """y == clip(RoundingDivideByPOT(SaturatingRoundingDoublingHighMul(acc, M), shift))."""
    requant = rules.requant("tflite", factor, lo=-128, hi=127)
    shift = 31 - int(requant.exponent[0])
    expected = [clip(tflite_in_c(a, int(requant.mantissa[0]), shift), -128, 127) for a in acc]
    assert whole(acc, requant) == expected


def tflite_16x8_in_c(acc: int, mantissa: int, shift: int) -> int:
    """MultiplyByQuantizedMultiplier of TFLite for 64-bit accumulators, as its C++ computes it."""
    reduced = (mantissa + (1 << 15)) >> 16 if mantissa < 0x7FFF0000 else 0x7FFF
    total = 15 - shift
    return (acc * reduced + (1 << (total - 1))) >> total


@given(st.lists(st.integers(-(2**40), 2**40) | st.integers(-600, 600), min_size=1), FACTORS)
def test_tflite_of_16_bits_rounds_once_half_up(acc: list[int], factor: float) -> None:
    """y == clip((acc * M16 + 2**(e - 1)) >> e), ties of both signs going up"""
    requant = rules.requant("tflite-16x8", factor, lo=-32768, hi=32767)
    (mantissa,), (exponent,) = rules.multiplier(np.array([factor]), 31)
    expected = [tflite_16x8_in_c(a, int(mantissa), 31 - int(exponent)) for a in acc]
    assert whole(acc, requant) == [clip(e, -32768, 32767) for e in expected]


def test_onnxruntime_and_exact_arithmetic_differ_where_float32_makes_a_tie() -> None:
    """-98.5000032 rounds to -99; in float32 it is the tie -98.5 and goes to -98."""
    acc, factor = [-150940], 0.0006525772
    assert whole(acc, rules.requant("onnx-exact", factor, lo=-128, hi=127)) == [-99]
    assert whole(acc, rules.requant("ort-f32", factor, lo=-128, hi=127)) == [-98]


@given(
    st.lists(st.integers(-40000, 40000), min_size=1, max_size=20),
    st.sampled_from([1, 2, 4, 9, 25, 49]),
    FACTORS,
)
def test_division_by_the_window_count_is_exact(
    totals: list[int], count: int, factor: float
) -> None:
    """q == round_half_even(total * s / count), in fractions."""
    requant = rules.requant("onnx-exact", factor, lo=-32768, hi=32767)
    got = rules.divide(np.array([[totals]]), requant, np.array(count))[0, 0].tolist()
    scale = Fraction(float(np.float32(factor)))
    top = 1 << (requant.width - 1)
    assert got == [clip(round(Fraction(t) * scale / count), -top, top - 1) for t in totals]


@given(
    st.lists(st.integers(-128 * 9, 127 * 9), min_size=1, max_size=20),
    st.integers(-128, 127),
    st.sampled_from([1, 4, 9]),
)
def test_tflite_averages_the_raw_sum(raw: list[int], zero: int, count: int) -> None:
    """q + zero point == raw sum / count, halves away from zero."""
    requant = rules.requant("tflite", 1.0, zero_point=zero, lo=-128, hi=127)
    totals = np.array([[raw]]) - zero * count
    got = rules.finish(rules.divide(totals, requant, np.array(count)), requant)[0, 0].tolist()
    half_away = ROUNDINGS["half-away"]
    assert got == [clip(half_away(Fraction(r, count)), -128, 127) for r in raw]


@pytest.mark.parametrize("rule", ["onnx", "dyadic(32,half-up)", "dyadic(8,nearest)", ""])
def test_an_unknown_rule_is_refused_with_the_known_ones(rule: str) -> None:
    with pytest.raises(ModelError, match=r"unknown requantization rule.*onnx-exact"):
        rules.requant(rule, 1.0, lo=0, hi=1)


@pytest.mark.parametrize("factor", [0.0, -1.0, math.inf, math.nan])
def test_a_factor_that_is_no_scale_is_refused(factor: float) -> None:
    with pytest.raises(ModelError, match="positive and finite"):
        rules.requant("onnx-exact", factor, lo=0, hi=1)


@pytest.mark.parametrize("rule", ["onnx-exact", "tflite"])
def test_the_greatest_factor_takes_zeros_to_zero(rule: str) -> None:
    requant = rules.requant(rule, 3e38, lo=-128, hi=127)
    assert whole([0, 0], requant) == [0, 0]
    assert whole([0, 1, -1], requant) == [0, 127, -128]


@pytest.mark.parametrize("mode", sorted(set(MODES) - {"half-even"}))
def test_a_directed_mode_keeps_a_product_that_lies_on_a_step(mode: str) -> None:
    """round(sums * 1/4 * 1/4 / (3/4)) in fractions, 12 sums a step: none is a step off"""
    x, y = Tensor((1,), 8, True, 0.25), Tensor((1,), 8, True, 0.75)
    layer = Linear(
        name="l", inputs=("x",), output="y", weights=np.ones((1, 1), np.int8), weight_bits=8,
        weight_scale=np.array([0.25]), bias=np.zeros(1, np.int64), relu=False,
        requant=rules.requant("onnx-exact", 1.0, lo=-128, hi=127),
    )  # fmt: skip
    requant = factors.fill_weighted("onnx-exact", layer, x, y, factors.Clip(-128, 127, 0, mode))
    sums = list(range(-1500, 1501))
    wanted = round_divide(np.array(sums), np.array([12]), mode)
    assert whole(sums, requant) == np.clip(wanted, -128, 127).tolist()
