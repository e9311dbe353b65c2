"""Imported networks executed on emulated APs: every value and every count, real answers.

Here the AP's own outputs are judged; `test_import_models` judges the exact twins.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper

from apsim.nn import importers, runtime
from apsim.nn.importers.onnx import lower
from apsim.nn.importers.onnx_file import graph_of
from apsim.nn.model import Model
from apsim.nn.on_ap.chip import Chip
from apsim.nn.rules import real
from apsim.nn.runtime import Run
from apsim.nn.zoo import datasets
from tests.helpers.judged import judged

Array = NDArray[Any]
KINDS = ("1d", "2d", "2d-seg")
KWS_LOGITS = [-15, -22, -55, -61, 47, 118, -49, -51, 1, -49, -82, 31]
QONNX = "qonnx.custom_op.general"


def on_ap(model: Model, x: Array, kind: str) -> Run:
    """All layers on APs of one kind, every value compared, every count predicted."""
    done = runtime.run(model, x, Chip.preset("bf-imna-lr", ap=kind))
    assert done.bit_exact
    assert done.counts_match
    assert all(layer.compared == "all" for layer in done.layers)
    return done


def word(models_dir: Path) -> Array:
    """A spoken word as the keyword spotter takes it, int8 [1, 49, 10, 1]."""
    return np.asarray(np.load(models_dir / "mlperf_tiny_kws_sample.npz")["kws_int8"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_keyword_spotter_from_tflite_gives_class_5(models_dir: Path, kind: str) -> None:
    pytest.importorskip("tflite")
    model = importers.read(models_dir / "mlperf_tiny_kws_dscnn_int8.tflite").model
    done = on_ap(model, word(models_dir), kind)
    assert done.outputs.tolist() == [KWS_LOGITS]
    assert int(done.outputs.argmax()) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_the_keyword_spotter_from_onnx_equals_the_reference(models_dir: Path, kind: str) -> None:
    """Every activation of the AP == ReferenceEvaluator's, and class 5"""
    path = models_dir / "converted_kws_int8_qdq.onnx"
    imported = importers.read(path)
    x = word(models_dir).transpose(0, 3, 1, 2)
    done = on_ap(imported.model, x, kind)
    verdict = judged(path, imported, x, "reference", done.tensors)
    assert verdict.compared == (len(imported.model.layers), 72_140)
    assert verdict.sum("forced") == verdict.sum("whole") == 0
    assert int(done.outputs.argmax()) == 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["qonnx_TFC_1W1A_mnist", "qonnx_TFC_2W2A_mnist"])
def test_one_and_two_bit_networks_read_seven_two_one_zero(
    models_dir: Path, name: str, kind: str
) -> None:
    model = importers.read(models_dir / f"{name}.onnx").model
    digits = real.quantize(model, np.load(models_dir / "finn_mnist_input_4x1x28x28.npy"))
    assert on_ap(model, digits, kind).outputs.argmax(axis=1).tolist() == [7, 2, 1, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_autoencoder_equals_the_tflite_reference_kernels(models_dir: Path, kind: str) -> None:
    pytest.importorskip("tflite")
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    path = models_dir / "mlperf_tiny_ad_autoencoder_int8.tflite"
    reference = litert.OpResolverType.BUILTIN_REF
    judge = litert.Interpreter(str(path), experimental_op_resolver_type=reference)
    judge.allocate_tensors()
    given, made = judge.get_input_details()[0], judge.get_output_details()[0]
    x = np.random.default_rng(3).integers(-128, 128, given["shape"]).astype(np.int8)
    judge.set_tensor(given["index"], x)
    judge.invoke()
    done = on_ap(importers.read(path).model, x, kind)
    assert np.array_equal(done.outputs, judge.get_tensor(made["index"]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["digits_qdq_s8s8", "digits_qdq_u8s4"])
def test_digits_agree_with_onnxruntime_under_its_own_rule(
    models_dir: Path, name: str, kind: str
) -> None:
    pytest.importorskip("onnxruntime")
    path = models_dir / f"{name}.onnx"
    imported = importers.read(path, rule="ort-f32")
    x = real.quantize(imported.model, datasets.digits().images[:2] / 16)
    done = on_ap(imported.model, x, kind)
    verdict = judged(path, imported, x, "onnxruntime", done.tensors)
    assert verdict.compared[1] == 2 * 1802
    assert verdict.agreed


def quant(x: str, output: str, bits: str, scale: str, signed: int) -> Any:
    inputs, more = [x, scale, "zero", bits], {"signed": signed, "narrow": 0}
    return helper.make_node("Quant", inputs, [output], domain=QONNX, rounding_mode="ROUND", **more)


def quantized(x: Array, scale: float, bits: int, signed: bool) -> Array:
    """QONNX Quant in float64: round half even, saturate; one signed bit is -1 or +1."""
    if signed and bits == 1:
        return np.where(x / scale >= 0, 1.0, -1.0)
    lo, hi = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    return np.clip(np.rint(x / scale), lo, hi)


def any_width(widths: tuple[int, int, int, int], signed: bool, seed: int) -> tuple[Any, Array]:
    """Quant, a convolution, Quant, a matrix product: (a, w, a, w) bits; and what comes out.

    All scales are powers of two and all sums lie below 2**53: float64 is exact.
    """
    a, w, b, v = widths
    rng = np.random.default_rng(seed)
    x = rng.integers(-(1 << (a - 1)) - 1, (1 << a) + 1, (2, 2, 3, 3)).astype(np.float32)
    kernel, matrix = (
        quantized(rng.integers(-(1 << (n - 1)), 1 << (n - 1), shape), 1, n, True).astype(np.float32)
        for n, shape in ((w, (3, 2, 2, 2)), (v, (12, 2)))
    )
    step = 2.0 ** max(0, a + w - b)
    nodes = [
        quant("x", "q", "a", "one", int(signed)), quant("k", "kq", "w", "one", 1),
        helper.make_node("Conv", ["q", "kq"], ["c"]),
        quant("c", "d", "b", "step", int(signed)), quant("m", "mq", "v", "one", 1),
        helper.make_node("Flatten", ["d"], ["f"]), helper.make_node("MatMul", ["f", "mq"], ["y"]),
    ]  # fmt: skip
    constants: dict[str, Any] = {"k": kernel, "m": matrix, "zero": 0, "one": 1, "step": step}
    constants |= dict(zip("awbv", widths, strict=True))
    graph = helper.make_graph(
        nodes, "widths",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 3, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.asarray(c, np.float32), name) for name, c in constants.items()],
    )  # fmt: skip
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(QONNX, 1)]
    )
    q = quantized(x.astype(np.float64), 1, a, signed)
    taps = [q[:, :, i : i + 2, j : j + 2] for i in (0, 1) for j in (0, 1)]
    stacked = np.stack(taps, axis=2)  # [N, channels, taps, 2, 2]
    sums = np.einsum("nctij,oct->noij", stacked, kernel.reshape(3, 2, 4).astype(np.float64))
    return (proto, x), quantized(sums, step, b, signed).reshape(2, 12) @ matrix.astype(np.float64)


def runs_at(widths: tuple[int, int, int, int], signed: bool, kind: str, seed: int = 0) -> None:
    (proto, x), expected = any_width(widths, signed, seed)
    model = lower(graph_of(proto, "widths")).model
    held = [2 if n == 1 and (signed or i % 2) else n for i, n in enumerate(widths)]  # -1 and +1
    assert model.bits == ((held[0], held[1]), (held[2], held[3]))
    done = on_ap(model, real.quantize(model, x), kind)
    assert np.array_equal(done.outputs, expected.astype(np.int64))


@pytest.mark.parametrize("bits", range(1, 17))
def test_a_network_runs_at_every_width(bits: int) -> None:
    """AP(x) == twin(x) == Quant's formula in float64, all layers at 1 to 16 bits"""
    runs_at((bits, bits, bits, bits), signed=bits % 2 == 0, kind=KINDS[bits % 3])


WIDTHS = st.tuples(*[st.integers(1, 16)] * 4)


@settings(max_examples=15)
@given(WIDTHS, st.booleans(), st.sampled_from(KINDS), st.integers(0, 2**32 - 1))
def test_each_layer_has_widths_of_its_own(
    widths: tuple[int, int, int, int], signed: bool, kind: str, seed: int
) -> None:
    runs_at(widths, signed, kind, seed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_that_leaves_one_negative_word_gives_it_on_the_ap(kind: str) -> None:
    """y = -4 whatever x is: its sign is one more bit of -4, and of no other word"""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["r"]),
        helper.make_node("Clip", ["r", "", "least"], ["c"]),
        helper.make_node("Clip", ["c", "least", ""], ["d"]),
        helper.make_node("QuantizeLinear", ["d", "t", "z"], ["y"]),
    ]
    constants = {"s": np.float32(0.5), "t": np.float32(2), "z": np.int8(0), "least": np.float32(-8)}
    graph = helper.make_graph(
        nodes, "one word",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5])],
        [helper.make_tensor_value_info("y", TensorProto.INT8, ["n", 5])],
        [numpy_helper.from_array(np.asarray(c), name) for name, c in constants.items()],
    )  # fmt: skip
    model = lower(graph_of(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]),
                           "one word")).model  # fmt: skip
    chip = Chip.preset("bf-imna-lr", ap=kind, requant="ap")
    done = runtime.run(model, np.arange(-10, 10).reshape(4, 5), chip)
    assert done.bit_exact and done.counts_match
    assert (done.outputs == -4).all()
