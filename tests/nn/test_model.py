"""What a model says about itself, and real numbers at its borders."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim.errors import InputError, ModelError
from apsim.nn.model import Conv2d, Tensor, check
from apsim.nn.rules import real
from apsim.nn.zoo import bundled

DIGITS = bundled.load("digits")


@given(st.integers(1, 64), st.booleans())
def test_a_tensor_knows_its_range(bits: int, signed: bool) -> None:
    """hi - lo == 2**bits - 1, and lo is 0 or -2**(bits - 1)"""
    tensor = Tensor((1,), bits, signed)
    assert tensor.hi - tensor.lo == 2**bits - 1
    assert tensor.lo == (-(2 ** (bits - 1)) if signed else 0)


def test_a_model_prints_its_layers() -> None:
    lines = str(DIGITS).splitlines()
    assert lines[0] == "<Model 'digits': 8 layers, rule onnx-exact>"
    assert lines[1] == "  conv1: conv2d w8  image u8[1, 8, 8] -> u8[16, 8, 8]"


def test_an_unknown_layer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="no layer 'conv9'; it has conv1, pool1"):
        DIGITS.layer("conv9")


def test_a_layer_name_used_twice_is_refused() -> None:
    twice = replace(DIGITS.layers[1], name="conv1")
    model = DIGITS.replace(layers=(DIGITS.layers[0], twice, *DIGITS.layers[2:]))
    with pytest.raises(ModelError, match=r"distinct names, got \['conv1'\]"):
        check.verify(model)


def test_a_clip_outside_its_tensor_is_refused() -> None:
    tensors = {**DIGITS.tensors, "relu1": replace(DIGITS.tensors["relu1"], bits=7)}
    with pytest.raises(ModelError, match=r"layer 0 'conv1' .* a clip inside 0\.\.127"):
        check.verify(DIGITS.replace(tensors=tensors))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": "me"}, "no part of the host's, got 'me'"),
        ({"weight_scale": np.array([np.nan])}, "finite scales of weights"),
        ({"scale": np.array([np.inf])}, "finite factors from 0 on"),
        ({"parity": 1 << 70}, r"a parity below 2\*\*32"),
    ],
)
def test_what_no_layer_can_have_is_refused(changes: dict[str, Any], message: str) -> None:
    first = DIGITS.layers[0]
    assert isinstance(first, Conv2d) and first.requant is not None
    inner = {name: changes[name] for name in ("scale", "parity") if name in changes}
    outer = {name: value for name, value in changes.items() if name not in inner}
    wrong = replace(first, **outer, requant=replace(first.requant, **inner))
    with pytest.raises(ModelError, match=f"layer 0 'conv1' .*{message}"):
        check.verify(DIGITS.replace(layers=(wrong, *DIGITS.layers[1:])))


@given(st.lists(st.integers(0, 255), min_size=64, max_size=64))
def test_quantizing_what_was_dequantized_changes_nothing(values: list[int]) -> None:
    """quantize(dequantize(x)) == x"""
    x = np.array(values).reshape(1, 1, 8, 8)
    assert (real.quantize(DIGITS, real.dequantize(DIGITS.tensors["image"], x)) == x).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_inputs_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="NaN or infinity"):
        real.quantize(DIGITS, np.full((1, 1, 8, 8), bad))


def test_inputs_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"must have shape \[N, 1, 8, 8\], got \[8, 8\]"):
        real.quantize(DIGITS, np.zeros((8, 8)))


def test_narrow_integers_do_not_wrap_around_below_a_zero_point() -> None:
    """dequantize(int8 x) == dequantize(int64 x)"""
    tensor = Tensor((2,), 8, True, 0.5, zero_point=83)
    x = np.array([[-128, 127]])
    assert real.dequantize(tensor, x.astype(np.int8)).tolist() == [[-105.5, 22.0]]
    assert (real.dequantize(tensor, x.astype(np.int8)) == real.dequantize(tensor, x)).all()
