"""Real quantized networks: every activation as its own tools compute it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apsim.nn import exact, importers
from apsim.nn.importers import Imported
from apsim.nn.judges.compare import Agreement
from apsim.nn.model import codec
from apsim.nn.rules import real
from apsim.nn.zoo import datasets
from tests.helpers.judged import judged

pytest.importorskip("onnx")

KWS_LOGITS = [-15, -22, -55, -61, 47, 118, -49, -51, 1, -49, -82, 31]


def keyword(models_dir: Path) -> NDArray[Any]:
    """One real spoken word as the keyword spotter takes it, int8 [1, 49, 10, 1]."""
    return np.asarray(np.load(models_dir / "mlperf_tiny_kws_sample.npz")["kws_int8"])


def wrong(
    path: Path, imported: Imported, x: NDArray[Any], judge: str
) -> tuple[int, list[Agreement]]:
    """How many integers of layers were compared, and the tensors that differ in any way."""
    model = imported.model
    verdict = judged(path, imported, real.quantize(model, x), judge)
    layers = [one for one in verdict.judged if one.layer in {at.name for at in model.layers}]
    assert len({one.layer for one in layers}) == len(model.layers), "every layer must be judged"
    assert verdict.agreed
    return sum(one.total for one in layers), [one for one in layers if one.forced or one.whole]


@pytest.mark.parametrize("judge", ["reference", "onnxruntime"])
def test_keyword_spotter_equals_the_judge_in_every_activation(models_dir: Path, judge: str) -> None:
    if judge == "onnxruntime":
        pytest.importorskip("onnxruntime")
    path = models_dir / "converted_kws_int8_qdq.onnx"
    imported = importers.read(path)
    tensor = imported.model.tensors["t0"]
    words = real.dequantize(tensor, keyword(models_dir).transpose(0, 3, 1, 2))
    batch = np.concatenate([words, words[:, :, ::-1], words * np.float32(0.7)])
    total, differing = wrong(path, imported, batch, judge)
    assert total == 3 * 72_140 and differing == []


def test_digits_equal_onnxruntime_under_its_own_rule(models_dir: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = models_dir / "digits_qdq_u8s4.onnx"
    imported = importers.read(path, rule="ort-f32")
    total, differing = wrong(path, imported, datasets.digits().images[:100] / 16, "onnxruntime")
    assert total == 180_200 and differing == []


def test_signed_digits_differ_from_onnxruntime_in_what_its_float32_decides(
    models_dir: Path,
) -> None:
    """It makes signed tensors unsigned, and 128 more before a float32 rounding is another one."""
    pytest.importorskip("onnxruntime")
    path = models_dir / "digits_qdq_s8s8.onnx"
    imported = importers.read(path, rule="ort-f32")
    total, differing = wrong(path, imported, datasets.digits().images[:100] / 16, "onnxruntime")
    assert total == 180_200
    forced = [one for one in differing if one.forced]
    assert {one.layer for one in forced} == {"/ap/AveragePool"}
    assert all(one.forced == one.float32 for one in forced)


@pytest.mark.parametrize("name", ["digits_qdq_s8s8", "digits_qdq_u8s4"])
def test_exact_digits_differ_from_onnxruntime_in_the_average_pool_alone(
    models_dir: Path, name: str
) -> None:
    """Input and output scale are equal, so many means are ties, which float32 breaks."""
    pytest.importorskip("onnxruntime")
    path = models_dir / f"{name}.onnx"
    imported = importers.read(path)
    _, differing = wrong(path, imported, datasets.digits().images[:100] / 16, "onnxruntime")
    forced = [one for one in differing if one.forced]
    assert {one.layer for one in forced} == {"/ap/AveragePool"}
    assert all(one.forced == one.ties for one in forced)


@pytest.mark.parametrize("name", ["qonnx_TFC_1W1A_mnist", "qonnx_TFC_2W2A_mnist"])
def test_one_and_two_bit_networks_read_seven_two_one_zero(models_dir: Path, name: str) -> None:
    model = importers.read(models_dir / f"{name}.onnx").model
    digits = np.load(models_dir / "finn_mnist_input_4x1x28x28.npy")
    logits = exact.run(model, real.quantize(model, digits))[model.output]
    assert logits.argmax(axis=1).tolist() == [7, 2, 1, 0]
    assert {bits for pair in model.bits for bits in pair} == {2}


def test_keyword_spotter_gives_the_stated_logits_under_the_tflite_rule(models_dir: Path) -> None:
    pytest.importorskip("tflite")
    model = importers.read(models_dir / "mlperf_tiny_kws_dscnn_int8.tflite").model
    logits = exact.run(model, keyword(models_dir))[model.output]
    assert model.rule == "tflite" and logits.tolist() == [KWS_LOGITS]


@pytest.mark.parametrize(
    ("name", "integers"),
    [("mlperf_tiny_kws_dscnn_int8", 72_140), ("mlperf_tiny_ad_autoencoder_int8", 1_672)],
)
def test_every_activation_equals_the_tflite_reference_kernels(
    models_dir: Path, name: str, integers: int
) -> None:
    pytest.importorskip("tflite")
    pytest.importorskip("ai_edge_litert.interpreter")
    path = models_dir / f"{name}.tflite"
    imported = importers.read(path)
    tensor = imported.model.tensors[imported.model.input]
    x = np.random.default_rng(3).integers(tensor.lo, tensor.hi + 1, (3, *tensor.shape))
    verdict = judged(path, imported, x, "litert")
    layers = {layer.name for layer in imported.model.layers}
    assert verdict.sum("forced") == verdict.sum("whole") == 0
    assert sum(one.total for one in verdict.judged if one.layer in layers) >= 3 * integers


@pytest.mark.parametrize(
    "name",
    [
        "digits_qdq_s8s8.onnx",
        "digits_qdq_u8s4.onnx",
        "converted_kws_int8_qdq.onnx",
        "qonnx_TFC_2W2A_mnist.onnx",
        "mlperf_tiny_kws_dscnn_int8.tflite",
    ],
)
def test_switching_to_the_widths_a_model_has_changes_nothing(models_dir: Path, name: str) -> None:
    """at(m, m.bits) == m, zero points, ReLU bounds and real biases among it"""
    if name.endswith(".tflite"):
        pytest.importorskip("tflite")
    model = importers.read(models_dir / name).model
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    assert codec.encode(model.at(model.bits), after) == codec.encode(model, before)
    assert all(np.array_equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", ["digits_qdq_s8s8.onnx", "digits_qdq_u8s4.onnx"])
def test_an_imported_network_still_reads_digits_at_five_bits(models_dir: Path, name: str) -> None:
    model, data = importers.read(models_dir / name).model.at(5), datasets.digits()
    logits = exact.run(model, real.quantize(model, data.images / 16))[model.output]
    assert (logits.argmax(axis=1) == data.labels).mean() >= 0.97


@pytest.mark.parametrize("bits", [6, 7, 10, 16])
def test_the_keyword_spotter_keeps_its_answer_at_other_widths(models_dir: Path, bits: int) -> None:
    model = importers.read(models_dir / "converted_kws_int8_qdq.onnx").model
    words = real.dequantize(model.tensors["t0"], keyword(models_dir).transpose(0, 3, 1, 2))
    narrow = model.at(bits)
    logits = exact.run(narrow, real.quantize(narrow, words))[narrow.output]
    assert {width for pair in narrow.bits for width in pair} == {bits}
    assert logits.argmax(axis=1).tolist() == [5]


def test_the_reference_judges_models_of_older_opsets_too(models_dir: Path, tmp_path: Path) -> None:
    """Its DequantizeLinear begins with opset 19: the judge lends it that of a later one"""
    import onnx
    from onnx.version_converter import convert_version

    older = convert_version(onnx.load(models_dir / "digits_qdq_s8s8.onnx"), 17)
    path = tmp_path / "older.onnx"
    onnx.save(older, path)
    imported = importers.read(path)
    _, differing = wrong(path, imported, datasets.digits().images[:2] / 16, "reference")
    assert not any(one.forced for one in differing if one.layer != "/ap/AveragePool")
