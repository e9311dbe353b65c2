"""Bit fluidity: the same network at other widths, and the bundled one's accuracy."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim.errors import InputError
from apsim.nn import exact
from apsim.nn.model import Linear, Model, Rearrange, Steps, Tensor, codec
from apsim.nn.rules import one_scale, precision, real
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


def padded(bits: int) -> Model:
    """x, a number of 5 beside it, and the sum of the two."""
    words = Tensor((1,), bits, True, 5 / 3)
    pad = Rearrange(name="pad", inputs=("x",), output="p", index=np.array([0, -1]),
                    fill=np.array([0, 3]), what="pad")  # fmt: skip
    add = Linear(name="add", inputs=("p",), output="y", weights=np.array([[1, 1]]),
                  bias=np.zeros(1, np.int64),
                 weight_bits=bits, weight_scale=np.ones(1))  # fmt: skip
    tensors = {"x": words, "p": dataclasses.replace(words, shape=(2,)),
               "y": Tensor((1,), 32, True, 5 / 3)}  # fmt: skip
    return Model("padded", "onnx-exact", ("x",), ("y",), tensors, (pad, add))


@pytest.mark.parametrize("bits", [2, 4, 6, 8, 12])
def test_numbers_beside_words_mean_the_same_at_another_width(bits: int) -> None:
    """fill * step is within half a step of 5 where words reach so far"""
    for before in (4, 8):
        model = padded(before).at(bits)
        step, pad = one_scale(model.tensors["p"]), model.layer("pad")
        assert isinstance(pad, Rearrange)
        most = model.tensors["p"].hi * step
        assert abs(pad.fill[1] * step - min(5.0, most)) <= step / 2


def test_steps_give_what_they_gave_at_other_widths_of_their_readers() -> None:
    """A reader that is wider reads the same words: their step does not change under them."""
    model = padded(4)
    sums = model.tensors["y"]
    steps = Steps(name="steps", inputs=("y",), output="s", breaks=np.array([[0]]),
                  values=np.array([[0, 7]]), unit=(5 / 3,))  # fmt: skip
    read = Linear(name="read", inputs=("s",), output="z", weights=np.array([[7]]),
                  bias=np.zeros(1, np.int64),
                  weight_bits=4, weight_scale=np.ones(1))  # fmt: skip
    narrow = Tensor((1,), 4, True, 0.5)
    tensors = {**model.tensors, "s": narrow, "z": dataclasses.replace(sums, scale=0.5)}
    model = model.replace(tensors=tensors, layers=(*model.layers, steps, read), outputs=("z",))
    assert model.at([4, 8]).tensors["s"] == narrow
