"""A network of many operators, quantized by onnxruntime's own tool: held, run, and its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from apsim.nn import importers, runtime
from apsim.nn.on_ap.chip import Chip
from apsim.nn.rules import real
from tests.helpers.judged import judged

SIDE = 6


class Draws(CalibrationDataReader):  # type: ignore[misc]
    """Normal pictures to find ranges with."""

    def __init__(self) -> None:
        self.rest: Iterator[Any] = iter(pictures(8))

    def get_next(self) -> dict[str, Any] | None:
        found = next(self.rest, None)
        return None if found is None else {"x": found[None]}


def pictures(count: int) -> Any:
    shape = (count, 3, SIDE, SIDE)
    return np.random.default_rng(2).normal(0, 1, shape).astype(np.float32)


def network() -> Any:
    """Squeeze and excitation, slopes, two ways to a larger plane and their maximum, a pad."""
    rng, constants, nodes = np.random.default_rng(0), [], []

    def const(value: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), f"k{len(constants)}"))
        return constants[-1].name

    def weights(*shape: int) -> str:
        return const(rng.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32))

    def node(op: str, *given: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, given, [f"t{len(nodes)}"], **attributes))
        return str(nodes[-1].output[0])

    x = node("HardSwish", node("Conv", "x", weights(4, 3, 3, 3), weights(4), pads=[1] * 4))
    small = node("Relu", node("Conv", node("GlobalAveragePool", x), weights(2, 4, 1, 1)))
    gate = node("HardSigmoid", node("Conv", small, weights(4, 2, 1, 1)), alpha=1 / 6)
    x = node("PRelu", node("Mul", x, gate), const(np.full((4, 1, 1), 0.3, np.float32)))
    twice = const(np.array([1, 1, 2, 2], np.float32))
    wide = node("Resize", x, "", twice, mode="linear")
    other = node("ConvTranspose", x, weights(4, 4, 2, 2), weights(4), strides=[2, 2])
    x = node("Add", wide, node("Max", wide, other))
    x = node("Pad", x, const(np.array([0, 0, 1, 1, 0, 0, 1, 1])), const(np.float32(0.5)))
    x = node("Sigmoid", node("Conv", node("Concat", x, x, axis=1), weights(2, 8, 3, 3)))
    x = node("ReduceMean", x, axes=[2, 3], keepdims=0)
    x = node("Gemm", x, weights(2, 5), weights(5))
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE]),
            helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, 5])]  # fmt: skip
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


@pytest.fixture(scope="module", params=[QuantType.QInt8, QuantType.QUInt8], ids=["s8", "u8"])
def file(tmp_path_factory: Any, request: pytest.FixtureRequest) -> Path:
    folder = Path(tmp_path_factory.mktemp("quantizer"))
    onnx.save(network(), folder / "float.onnx")
    quantize_static(
        folder / "float.onnx", folder / "int8.onnx", Draws(), quant_format=QuantFormat.QDQ,
        per_channel=True, activation_type=request.param, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return folder / "int8.onnx"


@pytest.mark.parametrize("judge", ["reference", "onnxruntime", "onnxruntime-plain"])
def test_every_integer_is_the_judge_s_but_for_float32(file: Path, judge: str) -> None:
    imported = importers.read(file)
    x = real.quantize(imported.model, pictures(2))
    for one in x:
        found = judged(file, imported, one[None], judge)
        assert found.sum("forced") == found.sum("ties") + found.sum("float32")
        assert found.compared[0] >= 12


def test_it_runs_as_passes_that_are_predicted(file: Path) -> None:
    imported = importers.read(file)
    x = real.quantize(imported.model, pictures(1))
    done = runtime.run(imported.model, x, Chip.preset("bf-imna-lr", ap="2d-seg"))
    assert done.bit_exact and done.counts_match
    kinds = {layer.op for layer in imported.model.layers}
    assert {"interpolate", "maximum", "table", "multiply", "rearrange"} <= kinds
