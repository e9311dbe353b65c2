"""Files that cannot be imported: one clear message each, with the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from apsim.cli import main
from apsim.errors import ApsimError, InputError, ModelError
from apsim.nn import importers
from apsim.nn.model import store
from tests.helpers.onnx_files import FLOAT_KERNEL, KERNEL, external, node, quantized, save


@pytest.mark.parametrize(
    ("nodes", "more", "message"),
    [
        (
            [node("Conv", "x w", "y")],
            {"w": FLOAT_KERNEL},
            r"node 0 Conv 'the Conv' .*input 'x' is real, not quantized; .*quantize_static",
        ),
        (
            [*quantized(), node("Conv", "r w", "y")],
            {"w": FLOAT_KERNEL},
            r"node 2 Conv .*the weights are real numbers; .*weights through QuantizeLinear",
        ),
        (
            [*quantized(), node("LpNormalization", "r", "y")],
            {},
            r"node 2 LpNormalization .*\(output 'y'\): no exact integer form yet",
        ),
        (
            [
                *quantized(), node("DequantizeLinear", "w s", "v"), node("Conv", "r v", "c"),
                node("Conv", "c v", "y"),
            ],
            {"w": KERNEL},
            r"node 4 Conv .*input 'c' is a real result that was not rounded \(of node 3 Conv",
        ),
        (
            [*quantized(), node("LogSoftmax", "r", "p"), *quantized("p", "q2", "y")],
            {},
            r"node 2 LogSoftmax .*LogSoftmax inside the network; .*: Softmax",
        ),
        (
            [*quantized(), node("Flatten", "r", "y", axis=2)],
            {},
            r"node 2 Flatten .*axis 2; nearest supported form: Flatten with axis = 1",
        ),
        (
            [*quantized(), node("Squeeze", "r none", "t"), *quantized("t", "q2", "y")],
            {"none": np.zeros(0, np.int64)},
            r"node 2 Squeeze .*no axes among those given, on which onnxruntime and onnx differ",
        ),
        (
            [node("Quant", "x s zero bits", "y", domain="qonnx.custom_op.general", signed=2)],
            {"zero": np.float32(0), "bits": np.float32(8)},
            r"node 0 qonnx.*Quant .*signed = 2; nearest supported form: signed = 0 or 1",
        ),
        ([node("Relu", "x", "y")], {}, r"output 'y' is never quantized: the model is in float"),
        (
            [*quantized(), node("AveragePool", "r", "y", kernel_shape=[2, 2])],
            {},
            r"tensor 'y': a result that is not rounded",
        ),
    ],
)  # fmt: skip
def test_what_has_no_exact_form_is_refused_with_its_place(
    tmp_path: Path, nodes: list[Any], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=rf"model\.onnx: {message}"):
        importers.read(save(tmp_path / "model.onnx", nodes, **more))


def test_dynamic_axes_need_a_shape(tmp_path: Path) -> None:
    nodes = [*quantized(), node("MaxPool", "r", "y", kernel_shape=[2, 2])]
    path = save(tmp_path / "model.onnx", nodes, shape=("n", 2, "h", "w"))
    with pytest.raises(
        InputError, match=r"'x' has dynamic axes \[2, 3\]; give its shape: --shape N,C,H,W of"
    ):
        importers.read(path)
    assert importers.read(path, shape=[1, 2, 6, 6]).model.tensors["y"].shape == (2, 5, 5)


def test_missing_truncated_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        importers.read(tmp_path / "nowhere.onnx")
    whole = save(tmp_path / "model.onnx", quantized()).read_bytes()
    for name, content in {"cut": whole[:-30], "text": b"not a model at all", "empty": b""}.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
        with pytest.raises(ModelError, match=rf"{name}\.onnx: .*not an? (ONNX|valid ONNX)"):
            importers.read(tmp_path / f"{name}.onnx")


def test_external_data_is_read_beside_the_model_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    model = tmp_path / "model" / "model.onnx"
    assert importers.read(external(model, "inside.bin")).model.weighted[0].weights.sum() == 36
    (tmp_path / "outside.bin").write_bytes(b"0" * 36)
    with pytest.raises(ModelError, match=r"'\.\./outside\.bin' lies outside the model's folder"):
        importers.read(external(model, "../outside.bin"))
    with pytest.raises(ModelError, match=r"external data file 'gone\.bin' is missing"):
        importers.read(external(model, "gone.bin"))


def test_damaged_tflite_files_are_refused(tmp_path: Path, models_dir: Path) -> None:
    pytest.importorskip("tflite")
    whole = (models_dir / "mlperf_tiny_kws_dscnn_int8.tflite").read_bytes()
    for name, content in {"cut": whole[:20_000], "text": b"no flatbuffer here"}.items():
        (tmp_path / f"{name}.tflite").write_bytes(content)
        with pytest.raises(ModelError, match=rf"{name}\.tflite: truncated or"):
            importers.read(tmp_path / f"{name}.tflite")


def test_the_command_writes_the_model_and_says_what_became_of_each_node(
    tmp_path: Path, models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = models_dir / "converted_kws_int8_qdq.onnx", tmp_path / "kws.npz"
    assert main(["import", str(source), "-o", str(target)]) == 0
    out = capsys.readouterr().out
    assert "node 4 Conv" in out and "67 nodes became 12 layers" in out
    assert str(store.load(target)) == str(importers.read(source).model)


def test_the_command_leaves_nothing_behind_when_it_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save(tmp_path / "model.onnx", [node("Relu", "x", "y")])
    assert main(["import", str(source), "-o", str(tmp_path / "out.npz")]) == 2
    assert "is never quantized" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_an_unknown_rule_is_refused(tmp_path: Path) -> None:
    nodes = [*quantized(), node("DequantizeLinear", "w s", "v"), node("Conv", "r v", "c"),
             *quantized("c", "q2", "y")]  # fmt: skip
    path = save(tmp_path / "model.onnx", nodes, w=KERNEL)
    with pytest.raises(ApsimError, match="unknown requantization rule 'nearest'"):
        importers.read(path, rule="nearest")
