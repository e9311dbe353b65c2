"""An importer that misreads a file is convicted, with the layer, the index and both integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsim.nn import importers
from apsim.nn.importers import Imported
from apsim.nn.judges.held import Held, hold
from apsim.nn.model import Conv2d, Layer, Model
from tests.helpers.judge_models import conv_net


def with_conv(imported: Imported, change: Callable[[Conv2d], Layer]) -> Imported:
    """The import with its convolution changed."""
    layers = tuple(
        change(layer) if isinstance(layer, Conv2d) else layer for layer in imported.model.layers
    )
    return replace(imported, model=imported.model.replace(layers=layers))


def held(path: Path, imported: Imported) -> Held:
    return hold(path, imported.model, imported.origins)


def bias_by_one(layer: Conv2d) -> Layer:
    return replace(layer, bias=layer.bias + np.array([0, 1, 0]))


def swapped_axes(layer: Conv2d) -> Layer:
    return replace(layer, weights=layer.weights.transpose(0, 1, 3, 2).copy())


def swapped_channels(layer: Conv2d) -> Layer:
    return replace(layer, weights=layer.weights.transpose(1, 0, 2, 3).copy())


def dropped_clip(layer: Conv2d) -> Layer:
    assert layer.requant is not None
    return replace(layer, requant=replace(layer.requant, lo=-128, hi=127))


def padding_turned(layer: Conv2d) -> Layer:
    return replace(layer, padding=layer.padding[2:] + layer.padding[:2])


def rounded_up(layer: Conv2d) -> Layer:
    assert layer.requant is not None
    return replace(layer, requant=replace(layer.requant, rounding="ceil"))


def zero_point_off(layer: Conv2d) -> Layer:
    sums = layer.weights.reshape(3, -1).sum(axis=1, dtype=np.int64)
    return replace(layer, bias=layer.bias + sums)


MUTATIONS = [bias_by_one, swapped_axes, swapped_channels, dropped_clip, padding_turned, rounded_up,
             zero_point_off]  # fmt: skip


def test_a_right_import_is_held_without_a_difference(tmp_path: Path) -> None:
    path = conv_net(tmp_path / "net.onnx")
    found = held(path, importers.read(path))
    assert found.passed and found.differ == found.parted == 0
    assert found.by == "onnx's reference evaluator" and found.inputs == 4
    assert found.integers == 4 * (3 * 5 * 5 + 3 * 5 * 5)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.__name__)
def test_a_misread_convolution_is_convicted(tmp_path: Path, mutation: Any) -> None:
    path = conv_net(tmp_path / "net.onnx")
    found = held(path, with_conv(importers.read(path), mutation))
    assert not found.passed
    assert "the Conv c" in found.first or "Conv" in found.first
    assert "the judge has" in found.first and "[" in found.first
    assert found.first in found.line


def test_a_bias_that_is_one_off_shows_before_the_rounding_in_every_value(tmp_path: Path) -> None:
    """One unit is 1/136 of a step here: integers show it rarely, what is rounded always."""
    path = conv_net(tmp_path / "net.onnx")
    found = held(path, with_conv(importers.read(path), bias_by_one))
    channel_inside = 4 * 25
    assert 0 < found.parted <= channel_inside


def test_a_scale_off_by_two_millionths_shows_before_the_rounding(tmp_path: Path) -> None:
    path = conv_net(tmp_path / "net.onnx")

    def scaled(layer: Conv2d) -> Layer:
        assert layer.requant is not None
        mantissa = layer.requant.mantissa + layer.requant.mantissa // 500_000
        return replace(layer, requant=replace(layer.requant, mantissa=mantissa))

    assert held(path, with_conv(importers.read(path), scaled)).parted > 0


def test_an_entry_quantized_with_another_zero_point_is_convicted_at_the_input(
    tmp_path: Path,
) -> None:
    path = conv_net(tmp_path / "net.onnx")
    imported = importers.read(path)
    model = imported.model
    tensors = dict(model.tensors)
    tensors[model.input] = replace(tensors[model.input], zero_point=4)
    wrong: Model = model.replace(tensors=tensors)
    found = held(path, replace(imported, model=wrong))
    assert not found.passed and found.first.startswith("input 'x'")


def test_a_claim_of_a_tensor_that_holds_something_else_convicts(tmp_path: Path) -> None:
    """Behind a Clip it is the Clip's output that has the network's integers."""
    path = conv_net(tmp_path / "net.onnx")
    imported = importers.read(path)
    wrong = tuple(replace(one, name="yq") if one.name == "yc" else one for one in imported.origins)
    assert wrong != imported.origins
    assert not held(path, replace(imported, origins=wrong)).passed
