"""onnxruntime's own integers: read in the graph that it fused, under the file's names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx
import onnxruntime

from apsim.nn import importers
from apsim.nn.judges import kinds
from apsim.nn.judges.fused import Shared
from apsim.nn.judges.ort import Session
from tests.helpers.judge_models import conv_net, node, saved
from tests.helpers.judged import judged


def fed(seed: int = 0, n: int = 3) -> dict[str, np.ndarray]:
    values = np.random.default_rng(seed).normal(0, 1, (n, 3, 5, 5))
    return {"x": values.astype(np.float32)}


def test_a_fused_convolution_is_read_under_the_file_s_name(tmp_path: Path) -> None:
    """QLinearConv's integers, signs and layout undone == QuantizeLinear's of the plain run"""
    path = conv_net(tmp_path / "net.onnx", clip=False)
    fused, plain = Session(path, plain=False), Session(path, plain=True)
    assert {one.name for one in fused.shared} >= {"xq", "yq"}
    a, b = fused.read(fed()).values, plain.read(fed()).values
    assert a["yq"].shape == b["yq"].shape == (3, 3, 5, 5)
    assert np.abs(a["yq"].astype(int) - b["yq"]).max() <= 1
    assert np.array_equal(a["xq"].astype(int), b["xq"])


def test_outputs_are_those_of_the_untouched_file(tmp_path: Path) -> None:
    path = conv_net(tmp_path / "net.onnx", clip=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, fed())
    assert np.array_equal(Session(path, plain=False).read(fed()).values["y"], wanted)


def test_integers_inside_are_dropped_where_they_lead_to_other_outputs(tmp_path: Path) -> None:
    path = conv_net(tmp_path / "net.onnx", clip=False)
    session = Session(path, plain=False)
    other = conv_net(tmp_path / "other.onnx", clip=False, seed=5)
    session.inside = Session(other, plain=False).inside
    assert "yq" not in session.read(fed()).values


def test_what_the_optimizers_cannot_do_is_said(tmp_path: Path) -> None:
    """Signed integers through MaxPool into a convolution: onnxruntime 1.32 refuses its own graph"""
    nodes = [
        node("QuantizeLinear", "x s z", "xq"), node("DequantizeLinear", "xq s z", "xd"),
        node("MaxPool", "xd", "m", kernel_shape=[2, 2]), node("DequantizeLinear", "w s", "wd"),
        node("Conv", "m wd", "c"), node("QuantizeLinear", "c s z", "y"),
    ]  # fmt: skip
    w = np.random.default_rng(0).integers(-9, 9, (2, 3, 2, 2)).astype(np.int8)
    constants = {"s": np.float32(0.25), "z": np.int8(5), "w": w}
    path = saved(tmp_path / "pool.onnx", nodes, constants, ("n", 3, 5, 5))
    proto = onnx.load(path)
    proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT8
    onnx.save(proto, path)
    imported = importers.read(path)
    x = np.random.default_rng(1).integers(-128, 128, (2, 3, 5, 5))
    verdict = judged(path, imported, x, "onnxruntime")
    assert verdict.agreed
    assert verdict.judge == "onnxruntime" or "it fails at more" in verdict.judge
    with pytest.raises(Exception, match=r"."):
        kinds.judge("onnxruntime", tmp_path / "none.onnx")


def test_signs_and_layout_are_undone() -> None:
    value = np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4)
    found = Shared("inside", "name", channels_last=True, offset=-128).as_file(value)
    assert found.shape == (1, 4, 2, 3)
    assert np.array_equal(found, value.astype(int).transpose(0, 3, 1, 2) - 128)


def test_a_network_of_several_fused_operators_is_read_whole(models_dir: Path) -> None:
    """Nine convolutions, a mean, a flattening and a matrix product: 12 of 12 layers"""
    path = models_dir / "converted_kws_int8_qdq.onnx"
    imported = importers.read(path)
    x = np.random.default_rng(0).integers(-128, 128, (2, 1, 49, 10))
    verdict = judged(path, imported, x, "onnxruntime")
    layers = {layer.name for layer in imported.model.layers}
    assert layers <= {one.layer for one in verdict.judged}
    assert verdict.agreed and verdict.compared == (len(layers), 2 * 72_140)
