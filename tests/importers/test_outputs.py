"""Outputs of a file: each by its own name, those that share their integers, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from apsim.nn import exact, importers
from apsim.nn.judges.held import hold
from tests.helpers.judge_models import node, saved

CONSTANTS = {"s": np.float32(0.5), "z": np.int8(3)}
QUANTIZED = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "r")]
X = np.arange(-12, 12).reshape(2, 3, 4)


def test_two_quantizations_alike_are_two_outputs(tmp_path: Path) -> None:
    nodes = [*QUANTIZED, node("Relu", "r", "c"), node("QuantizeLinear", "c s z", "y"),
             node("QuantizeLinear", "c s z", "v"), node("Identity", "v", "w")]  # fmt: skip
    path = saved(tmp_path / "m.onnx", nodes, CONSTANTS, ("n", 3, 4), ("y", "v", "w"))
    found = importers.read(path)
    assert found.model.outputs == ("y", "v", "w")
    tensors = exact.run(found.model, X)
    assert np.array_equal(tensors["y"], np.maximum(X, 3))
    assert np.array_equal(tensors["y"], tensors["v"])
    assert np.array_equal(tensors["y"], tensors["w"])
    held = hold(path, found.model, found.origins)
    assert held.passed and "0 differ" in held.line


def test_what_the_host_computes_of_an_output_is_none_of_its_own(tmp_path: Path) -> None:
    nodes = [*QUANTIZED, node("Relu", "r", "c"), node("QuantizeLinear", "c s z", "y"),
             node("DequantizeLinear", "y s z", "d"), node("Softmax", "d", "p")]  # fmt: skip
    path = saved(tmp_path / "m.onnx", nodes, CONSTANTS, ("n", 3, 4), ("y", "p"))
    assert importers.read(path).model.outputs == ("y",)
