"""A value that several nodes take is made once: convolutions, pools, entries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx.reference import ReferenceEvaluator

from apsim.counts import Counts
from apsim.nn import exact, importers, runtime
from apsim.nn.model import Conv2d, MaxPool, Model
from apsim.nn.on_ap.chip import Chip
from apsim.nn.rules import real
from tests.helpers.onnx_files import node, quantized, save

KERNEL = np.arange(-18, 18).reshape(2, 2, 3, 3).astype(np.int8)
PER_CHANNEL = np.array([0.25, 0.125], np.float32)
CONV = [*quantized(), node("DequantizeLinear", "w t", "v", axis=0), node("Conv", "r v b", "c")]
ONE = [*CONV, *quantized("c", "q1", "y")]
TWO = [
    *CONV, node("QuantizeLinear", "c big k", "q2"), node("DequantizeLinear", "q2 big k", "p"),
    *quantized("c", "q1", "o"), node("Add", "o p", "sum"), *quantized("sum", "q3", "y"),
]  # fmt: skip
MORE: dict[str, Any] = {"w": KERNEL, "t": PER_CHANNEL, "b": np.array([0.3, -7.1], np.float32),
                        "big": np.float32(4), "k": np.int8(-5)}  # fmt: skip


def imported(folder: Path, nodes: list[Any]) -> tuple[Model, Any]:
    path = save(folder / "model.onnx", nodes, **MORE)
    return importers.read(path).model, ReferenceEvaluator(onnx.load(path))


def picture(seed: int = 0) -> Any:
    return (np.random.default_rng(seed).integers(-9, 9, (2, 2, 4, 4)) / 2).astype(np.float32)


def counted(model: Model, requant: str) -> dict[str, Counts]:
    """What each layer took, by name; every value and every count compared."""
    chip = Chip.preset("bf-imna-lr", ap="2d", requant=requant)
    done = runtime.run(model, real.quantize(model, picture()), chip)
    assert done.bit_exact and done.counts_match
    return {layer.name: layer.counts for layer in done.layers}


def test_a_convolution_with_two_consumers_runs_once(tmp_path: Path) -> None:
    """one Conv, two requantizations; both results are the reference's"""
    model, judge = imported(tmp_path, TWO)
    assert sum(isinstance(layer, Conv2d) for layer in model.layers) == 1
    ours = exact.run(model, real.quantize(model, picture()))[model.output]
    theirs = judge.run(None, {"x": picture()})[0]
    assert np.array_equal(real.dequantize(model.tensors[model.output], ours), theirs)


def test_its_cycles_are_those_of_one_convolution(tmp_path: Path) -> None:
    """cycles(conv of two consumers) == cycles(conv of one), requantization on the host"""
    once, _ = imported(tmp_path, ONE)
    twice, _ = imported(tmp_path, TWO)
    assert counted(twice, "host")["the Conv"] == counted(once, "host")["the Conv"]


@pytest.mark.parametrize("bits", [3, 8, 12])
def test_it_runs_at_other_widths(tmp_path: Path, bits: int) -> None:
    model, _ = imported(tmp_path, TWO)
    counted(model.at(bits), "ap")


def test_a_pool_with_two_consumers_runs_once(tmp_path: Path) -> None:
    nodes = [*CONV, *quantized("c", "q1", "d"), node("MaxPool", "d", "m", kernel_shape=[2, 2]),
             *quantized("m", "q2", "e"), node("Flatten", "e", "f"), node("Flatten", "m", "g"),
             node("Add", "f g", "h"), *quantized("h", "q3", "y")]  # fmt: skip
    model, judge = imported(tmp_path, nodes)
    assert sum(isinstance(layer, MaxPool) for layer in model.layers) == 1
    ours = exact.run(model, real.quantize(model, picture()))[model.output]
    theirs = judge.run(None, {"x": picture()})[0]
    assert np.array_equal(real.dequantize(model.tensors[model.output], ours), theirs)
