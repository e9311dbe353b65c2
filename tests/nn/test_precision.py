"""Bit fluidity: the same network at other widths, and the bundled one's accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim.errors import InputError
from apsim.nn import exact
from apsim.nn.model import Model, codec
from apsim.nn.rules import precision, real
from apsim.nn.zoo import bundled, datasets

DIGITS = bundled.load("digits")
TEST = datasets.digits()


def accuracy(model: Model) -> float:
    logits = exact.run(model, real.quantize(model, TEST.images))["logits"]
    return float((logits.argmax(axis=1) == TEST.labels).mean())


def same(a: Model, b: Model) -> bool:
    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    text = codec.encode(a, first) == codec.encode(b, second)
    return text and all((first[name] == second[name]).all() for name in first)


def test_the_bundled_network_reads_at_least_97_of_100_digits() -> None:
    assert len(TEST) == 360 and accuracy(DIGITS) >= 0.97


def test_the_bundled_network_has_8_bit_layers_and_one_4_bit_layer() -> None:
    assert DIGITS.bits == ((8, 8), (8, 8), (4, 4), (8, 8))


def test_switching_to_the_widths_it_has_changes_nothing() -> None:
    """at(model, model.bits) == model"""
    assert same(DIGITS.at(DIGITS.bits), DIGITS)


@settings(max_examples=15)
@given(st.lists(st.integers(2, 8), min_size=4, max_size=4))
def test_each_layer_takes_the_widths_it_is_given(widths: list[int]) -> None:
    model = DIGITS.at(widths)
    assert model.bits == tuple((n, n) for n in widths)
    exact.run(model, real.quantize(model, TEST.images[:2]))


@settings(max_examples=10)
@given(st.lists(st.integers(2, 8), min_size=4, max_size=4))
def test_switching_there_and_back_changes_nothing(widths: list[int]) -> None:
    """at(at(model, w), model.bits) == model, as long as no adapter was needed"""
    assert same(DIGITS.at(widths).at(DIGITS.bits), DIGITS)


def test_inputs_and_weights_may_have_widths_of_their_own() -> None:
    pairs = [(8, 4), (4, 8), (6, 2), (8, 8)]
    assert DIGITS.at(pairs).bits == tuple(pairs)


def test_accuracy_falls_when_widths_do() -> None:
    assert accuracy(DIGITS.at(8)) >= 0.97 > accuracy(DIGITS.at(2)) > 0.5


@given(st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_quantized_weights_are_within_half_a_step_or_saturated(bits: int, seed: int) -> None:
    """|w - scale * q| <= scale / 2 wherever q is not at an end of its range"""
    weights = np.random.default_rng(seed).normal(size=(4, 9))
    scale = precision.weight_scale(weights, bits)
    q = precision.quantize_weights(weights, bits, scale)
    top = (1 << (bits - 1)) - 1
    inside = (q > -top - 1) & (q < top)
    assert (np.abs(weights - q * scale[:, None]) <= scale[:, None] * 0.5000001)[inside].all()
    assert q.min() >= -top - 1 and q.max() <= top


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ([8, 8], "expected 4 widths, one for each of conv1, conv2, conv3, classifier; got 2"),
        ([8, 8, 1, 8], r"layer 'conv3': widths must lie in 2\.\.16, got \(1, 1\)"),
        (17, r"layer 'conv1': widths must lie in 2\.\.16"),
    ],
)
def test_widths_that_do_not_fit_are_refused(bits: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        DIGITS.at(bits)


def test_another_rule_keeps_the_answers() -> None:
    for rule in ("ort-f32", "dyadic(16,half-up)"):
        model = precision.with_rule(DIGITS.at(8), rule)
        assert model.rule == rule and accuracy(model) >= 0.97
