"""Real functions, softmax and layer norm between two quantizations, held against onnxruntime.

The figures of its own float32 and its fused kernels are upper bounds: what it was measured to
differ from one rounding of the real value by (transformer.md, section 4), in as many values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from apsim.errors import ModelError
from apsim.nn import exact
from apsim.nn.importers import Options
from apsim.nn.importers.onnx import lower
from apsim.nn.importers.onnx_file import graph_of
from apsim.nn.model import Model
from apsim.nn.rules import real

Array = NDArray[Any]
PAIRS = 30  # of scales; each with all 256 words, signed and unsigned
UNARY = {  # operator: differences of 15,360 values that onnxruntime may have
    "Gelu": 0, "HardSwish": 0, "Elu": 0, "Exp": 0, "Sqrt": 0, "Softplus": 0, "Sigmoid": 0,
    "LeakyRelu": 1, "Tanh": 18, "Erf": 6,
}  # fmt: skip
SOFTMAX, NORM = (5, 17, 64, 197), (16, 64, 192)


def quantized_node(
    op: str, x: Array, scales: tuple[float, float], zeros: tuple[int, int], opset: int = 20,
    more: dict[str, Array] | None = None, **attributes: Any,
) -> Any:  # fmt: skip
    """DequantizeLinear, one operator, QuantizeLinear; integers of x's type in and out."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    named = {"s": np.float32(scales[0]), "z": x.dtype.type(zeros[0]), "t": np.float32(scales[1]),
             "u": x.dtype.type(zeros[1]), **(more or {})}  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["r"]),
        helper.make_node(op, ["r", *(more or {})], ["f"], **attributes),
        helper.make_node("QuantizeLinear", ["f", "t", "u"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "one",
        [helper.make_tensor_value_info("x", kind, list(x.shape))],
        [helper.make_tensor_value_info("y", kind, list(x.shape))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in named.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def ours(proto: Any, x: Array, options: Options | None = None) -> Array:
    model = imported(proto, options)
    return np.asarray(exact.run(model, x.astype(np.int64))[model.output])


def imported(proto: Any, options: Options | None = None) -> Model:
    return lower(graph_of(proto, "one"), options=options or Options()).model


def theirs(proto: Any, x: Array, optimised: bool) -> Array:
    """onnxruntime, with all its fusions or with none."""
    asked = ort.SessionOptions()
    asked.log_severity_level, asked.intra_op_num_threads = 3, 1
    level = ort.GraphOptimizationLevel
    asked.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), asked)
    return np.asarray(session.run(None, {"x": x})[0])


def words(kind: Any) -> Array:
    info = np.iinfo(kind)
    return np.arange(info.min, info.max + 1).astype(kind).reshape(1, -1)


@pytest.mark.parametrize("op", UNARY)
def test_a_function_of_every_word_is_onnxruntime_s_but_for_its_float32(op: str) -> None:
    rng, differ, values = np.random.default_rng(7), 0, 0
    for kind in (np.int8, np.uint8):
        x = words(kind)
        for _ in range(PAIRS):
            scales = (float(rng.uniform(0.005, 0.1)), float(rng.uniform(0.005, 0.1)))
            zero = int(x.min()) if op == "Sqrt" else int(rng.integers(x.min(), x.max()))
            proto = quantized_node(op, x, scales, (zero, int(rng.integers(x.min(), x.max()))))
            differ += int((ours(proto, x) != theirs(proto, x, False)).sum())
            values += x.size
    assert values == 15_360 and differ <= UNARY[op], differ


def scores(rng: np.random.Generator, length: int) -> tuple[Array, float]:
    return rng.integers(-128, 128, (16, 8, length)).astype(np.int8), float(rng.uniform(0.02, 0.2))


def softmax_differences(
    optimised: bool, rule: str, scale: float | None = None
) -> tuple[int, int, int]:  # fmt: skip
    """Differences, the greatest of them, and how many values were compared."""
    rng, differ, most, values = np.random.default_rng(3), 0, 0, 0
    for length in SOFTMAX:
        for _ in range(6):
            x, step = scores(rng, length)
            out = float(rng.uniform(1 / 300, 1 / 60)) if scale is None else scale
            proto = quantized_node("Softmax", x, (step, out), (3, -128), axis=-1)
            off = np.abs(ours(proto, x, Options(softmax=rule)) - theirs(proto, x, optimised))
            differ, most = differ + int((off > 0).sum()), max(most, int(off.max()))
            values += x.size
    return differ, most, values


def test_softmax_between_quantizations_is_one_rounding_of_the_real_one() -> None:
    differ, most, values = softmax_differences(False, "real")
    assert values > 206_944 and differ <= 2 and most <= 1, differ


def test_softmax_as_onnxruntime_fuses_it_is_a_rule_of_its_own() -> None:
    assert softmax_differences(True, "ort-fused")[0] == 0
    differ, most, _ = softmax_differences(True, "real")
    assert differ > 0 and most >= 1, "the two rules must differ somewhere"


def test_with_a_scale_of_one_256th_both_rules_of_softmax_are_one() -> None:
    assert softmax_differences(True, "real", 1 / 256)[0] <= 2
    assert softmax_differences(True, "ort-fused", 1 / 256)[0] == 0


def test_layer_norm_between_quantizations_is_one_rounding_of_the_real_one() -> None:
    """Of 88,576 values at least, those alone differ that lie within 1e-4 steps of a half"""
    rng, values, differ = np.random.default_rng(5), 0, 0
    for size in NORM:
        for _ in range(2):
            x = rng.integers(-128, 128, (8, 48, size)).astype(np.int8)
            gamma = rng.uniform(0.5, 1.5, size).astype(np.float32)
            beta = rng.normal(0, 0.2, size).astype(np.float32)
            proto = quantized_node("LayerNormalization", x, (0.03, 0.025), (3, -5), axis=-1,
                                   more={"g": gamma, "b": beta}, epsilon=1e-5)  # fmt: skip
            off = ours(proto, x) != theirs(proto, x, True)
            steps = normalized((x.astype(float) - 3) * np.float32(0.03), gamma, beta)
            assert (np.abs(steps[off] / np.float32(0.025) % 1 - 0.5) < 1e-4).all()
            differ, values = differ + int(off.sum()), values + x.size
    assert values > 88_576 and differ <= 3, differ


def normalized(x: Array, gamma: Array, beta: Array) -> Array:
    """By its definition, in float64."""
    less = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((less**2).mean(axis=-1, keepdims=True) + np.float32(1e-5))
    return np.asarray(less / spread * gamma + beta)


@pytest.mark.parametrize("axis", [1, 2, 3, -1])
@pytest.mark.parametrize("opset", [11, 13])
def test_a_softmax_over_any_axis_and_before_opset_13_over_all_from_it_on(
    axis: int, opset: int
) -> None:
    x = np.random.default_rng(axis + 1).integers(-128, 128, (2, 3, 4, 5)).astype(np.int8)
    proto = quantized_node("Softmax", x, (0.05, 1 / 256), (0, -128), opset, axis=axis)
    proto.ir_version = 7
    assert np.array_equal(ours(proto, x), theirs(proto, x, False))


def test_islands_count_no_pass_and_are_named() -> None:
    x = np.random.default_rng(1).integers(-128, 128, (1, 4, 8)).astype(np.int8)
    model = imported(quantized_node("Softmax", x, (0.05, 1 / 256), (0, -128), axis=-1))
    assert [layer.on_host for layer in model.layers] == ["island (softmax, real rule)"]


def test_the_ap_s_own_rules_are_taken_where_they_are_asked_for_and_nowhere_else() -> None:
    """ap: u8 in units of 1/256, then the file's scale: near, and other integers"""
    x = np.random.default_rng(2).integers(-128, 128, (4, 4, 16)).astype(np.int8)
    proto = quantized_node("Softmax", x, (0.05, 1 / 256), (0, -128), axis=-1)
    plain, own = imported(proto), imported(proto, Options(softmax="ap"))
    assert [layer.rule for layer in plain.layers] == ["real"]  # type: ignore[attr-defined]
    assert [layer.op for layer in own.layers] == ["softmax", "requantize"]
    assert "ap" in (getattr(own.layers[0], "rule", ""),)
    a, b = (exact.run(m, x.astype(np.int64))[m.output] for m in (plain, own))
    assert 0 < np.abs(a - b).max() <= 3


def test_the_ap_s_layer_norm_multiplies_by_gamma_and_adds_beta_afterwards() -> None:
    """Within a step of 1/32 of the real one, times gamma"""
    rng = np.random.default_rng(4)
    x = rng.integers(-128, 128, (2, 6, 16)).astype(np.int8)
    more = {"g": np.full(16, 2, np.float32), "b": np.full(16, 0.5, np.float32)}
    proto = quantized_node("LayerNormalization", x, (0.03, 1 / 16), (3, 0), more=more, axis=-1,
                           epsilon=1e-5)  # fmt: skip
    model = imported(proto, Options(norm="ap"))
    assert model.layers[0].op == "normalize"
    got = real.dequantize(model.tensors[model.output], ours(proto, x, Options(norm="ap")))
    wanted = real.dequantize(imported(proto).tensors["y"], ours(proto, x))
    assert 0 < np.abs(got - wanted).max() <= 2 * (1 / 16) + 1 / 16


@pytest.mark.parametrize(
    ("attributes", "why"),
    [({"axis": 0}, "axis 0 of 3 axes"), ({"axis": 7}, "axis 7 of 3 axes")],
)
def test_a_softmax_over_the_batch_is_refused(attributes: Any, why: str) -> None:
    x = np.zeros((2, 3, 4), np.int8)
    with pytest.raises(ModelError, match=f"node 1 Softmax .*{why}"):
        imported(quantized_node("Softmax", x, (0.1, 0.1), (0, 0), **attributes))


def test_types_of_islands_are_told() -> None:
    x = np.zeros((2, 3, 4), np.int8)
    proto = quantized_node("LayerNormalization", x, (0.1, 0.1), (0, 0), axis=1,
                           more={"g": np.ones(4, np.float32)}, epsilon=1e-5)  # fmt: skip
    with pytest.raises(ModelError, match=r"node 1 LayerNormalization .*axis 1 of 3 axes"):
        imported(proto)
    assert helper.np_dtype_to_tensor_dtype(x.dtype) == TensorProto.INT8


@pytest.mark.parametrize("step", [0.03, 0.003])
def test_an_epsilon_above_the_square_of_a_step_is_not_left_out_in_silence(step: float) -> None:
    """Beside words of 0.03 an epsilon of 1e-5 is nothing, beside words of 0.003 it counts"""
    x = np.arange(-8, 8, dtype=np.int8).reshape(1, 1, 16)
    proto = quantized_node("LayerNormalization", x, (step, 1 / 32), (0, 0), axis=-1,
                           more={"g": np.ones(16, np.float32)}, epsilon=1e-5)  # fmt: skip
    if step**2 > 1e-5:
        assert np.abs(ours(proto, x, Options(norm="ap")) - theirs(proto, x, True)).max() <= 1
    else:
        with pytest.raises(ModelError, match=r"an epsilon of 1e-05, where the AP's norm has none"):
            imported(proto, Options(norm="ap"))


@pytest.mark.parametrize("bits", [4, 5, 6])
def test_constants_beside_scores_keep_their_values_at_other_widths(bits: int) -> None:
    """|constant at n bits - constant| <= half a step: a mask or bias of positions, in the graph"""
    beside = np.array([[3, 5, -7], [0, -2, 7], [40, 1, -60]], np.int8)
    named = {"s": np.float32(0.06), "z": np.int8(0), "t": np.float32(1 / 256), "u": np.uint8(0),
             "c": beside, "k": np.float32(0.125), "v": np.float32(0.1)}  # fmt: skip
    nodes = [
        helper.make_node(op, takes, [gives])
        for op, takes, gives in (
            ("DequantizeLinear", ["x", "s", "z"], "r"), ("DequantizeLinear", ["c", "k", "z"], "m"),
            ("Add", ["r", "m"], "a"), ("QuantizeLinear", ["a", "v", "z"], "b"),
            ("DequantizeLinear", ["b", "v", "z"], "d"), ("Softmax", ["d"], "f"),
            ("QuantizeLinear", ["f", "t", "u"], "y"),
        )
    ]  # fmt: skip
    ends = [helper.make_tensor_value_info(name, kind, [1, 3, 3])
            for name, kind in (("x", TensorProto.INT8), ("y", TensorProto.UINT8))]  # fmt: skip
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in named.items()]
    graph = helper.make_graph(nodes, "masked", ends[:1], ends[1:], stored)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    whole = imported(proto, Options(softmax="ap"))
    narrow = whole.at(bits)
    x = np.zeros((1, 3, 3), np.int64)
    (name,) = [layer.output for layer in whole.layers if layer.op == "rearrange"]
    was, now = (
        real.dequantize(model.tensors[name], exact.run(model, x)[name]) for model in (whole, narrow)
    )
    step = narrow.tensors[name].scale
    assert isinstance(step, float) and (was == 0.125 * beside).all()
    assert (np.abs(now - was) <= step / 2 + 1e-6).all()
