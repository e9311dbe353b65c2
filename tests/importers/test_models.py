"""Real quantized networks: every activation as its own tools compute it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apsim.nn import exact, importers, oracle
from apsim.nn.model import Model, codec
from apsim.nn.rules import real
from apsim.nn.zoo import datasets

pytest.importorskip("onnx")

KWS_LOGITS = [-15, -22, -55, -61, 47, 118, -49, -51, 1, -49, -82, 31]


def keyword(models_dir: Path) -> NDArray[Any]:
    """One real spoken word as the keyword spotter takes it, int8 [1, 49, 10, 1]."""
    return np.asarray(np.load(models_dir / "mlperf_tiny_kws_sample.npz")["kws_int8"])


def wrong(
    path: Path, model: Model, x: NDArray[Any], judge: str
) -> tuple[int, list[oracle.Agreement]]:
    """How many integers were compared, and the layers that differ in any way."""
    theirs = oracle.oracle_tensors(path, model, {"x": x}, judge)
    judged = oracle.compare(model, exact.run(model, real.quantize(model, x)), theirs)
    assert len(judged) == len(model.layers), "every layer must be judged"
    return sum(one.total for one in judged), [one for one in judged if one.forced or one.whole]


@pytest.mark.parametrize("judge", ["reference", "onnxruntime"])
def test_keyword_spotter_equals_the_judge_in_every_activation(models_dir: Path, judge: str) -> None:
    if judge == "onnxruntime":
        pytest.importorskip("onnxruntime")
    path = models_dir / "converted_kws_int8_qdq.onnx"
    model = importers.read(path).model
    words = real.dequantize(model.tensors["t0"], keyword(models_dir).transpose(0, 3, 1, 2))
    batch = np.concatenate([words, words[:, :, ::-1], words * np.float32(0.7)])
    total, differing = wrong(path, model, batch, judge)
    assert total == 3 * 72_140 and differing == []


@pytest.mark.parametrize("name", ["digits_qdq_s8s8", "digits_qdq_u8s4"])
def test_digits_equal_onnxruntime_under_its_own_rule(models_dir: Path, name: str) -> None:
    pytest.importorskip("onnxruntime")
    path = models_dir / f"{name}.onnx"
    model = importers.read(path, rule="ort-f32").model
    total, differing = wrong(path, model, datasets.digits().images[:100] / 16, "onnxruntime")
    assert total == 180_200 and differing == []


@pytest.mark.parametrize("name", ["digits_qdq_s8s8", "digits_qdq_u8s4"])
def test_exact_digits_differ_from_onnxruntime_in_the_average_pool_alone(
    models_dir: Path, name: str
) -> None:
    """Input and output scale are equal, so many means are ties, which float32 breaks."""
    pytest.importorskip("onnxruntime")
    path = models_dir / f"{name}.onnx"
    model = importers.read(path).model
    _, differing = wrong(path, model, datasets.digits().images[:100] / 16, "onnxruntime")
    assert [one.layer for one in differing if one.forced] == ["/ap/AveragePool"]


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
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    path = models_dir / f"{name}.tflite"
    model = importers.read(path).model
    judge = litert.Interpreter(
        str(path),
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    judge.allocate_tensors()
    given = judge.get_input_details()[0]
    rng = np.random.default_rng(3)
    for _ in range(3):
        x = rng.integers(-128, 128, given["shape"]).astype(np.int8)
        judge.set_tensor(given["index"], x)
        judge.invoke()
        ours = exact.run(model, x)
        judged = 0
        for detail in judge.get_tensor_details():
            if detail["name"] in ours and detail["name"] not in model.inputs:
                theirs, got = judge.get_tensor(detail["index"]), ours[detail["name"]]
                theirs = theirs.transpose(0, 3, 1, 2) if got.ndim == 4 else theirs
                assert np.array_equal(got, theirs), detail["name"]
                judged += theirs.size
        assert judged == integers


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
    """Its QuantizeLinear begins with opset 19: the judge gets the model converted"""
    import onnx
    from onnx.version_converter import convert_version

    older = convert_version(onnx.load(models_dir / "digits_qdq_s8s8.onnx"), 17)
    path = tmp_path / "older.onnx"
    onnx.save(older, path)
    model = importers.read(path).model
    x = real.quantize(model, datasets.digits().images[:2] / 16)
    theirs = oracle.answers(path, model, {model.input: x}, "reference")
    judged = oracle.compare(model, exact.run(model, x), theirs)
    assert len(judged) == len(model.layers)
    assert not any(one.forced for one in judged if one.layer != "/ap/AveragePool")
