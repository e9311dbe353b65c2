"""Single ONNX operators with a meaning of their own: Trunc, casts, clips of shared tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("onnx")

import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from apsim.errors import ModelError
from apsim.nn import exact
from apsim.nn.importers import Options
from apsim.nn.importers.onnx import lower
from apsim.nn.importers.onnx_file import graph_of
from apsim.nn.model import Model, codec
from apsim.nn.rules import real
from tests.helpers.onnx_models import type_of

Array = NDArray[Any]
QONNX = "qonnx.custom_op.general"
FLOAT = TensorProto.FLOAT


def proto(
    nodes: list[Any], x: Array, outputs: list[str], kind: int = FLOAT, **constants: Any
) -> Any:
    """A model from "x" to the named outputs, with named constants."""
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info("x", type_of(x.dtype), ["n", *x.shape[1:]])],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(QONNX, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def imported(model: Any) -> Model:
    return lower(graph_of(model, "case")).model


def node(op: str, inputs: str, output: str, domain: str = "", **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], domain=domain, **attributes)


def truncated_pool(x: Array, size: int, bits: int, kept: int, **trunc: Any) -> Any:
    """Quant, the sum of windows as an average times their size, Trunc from `bits` to `kept`."""
    nodes = [
        node("Quant", "x s z b", "q", QONNX, signed=1, narrow=0),
        node("AveragePool", "q", "mean", kernel_shape=[size, size], strides=[size, size]),
        node("Mul", "mean area", "sum"),
        node("Trunc", "sum s z from to", "y", QONNX, **trunc),
    ]
    f = np.float32
    return proto(
        nodes, x, ["y"], s=f(0.5), z=f(0), b=f(4), area=f(size * size), **{"from": f(bits)},
        to=f(kept),
    )  # fmt: skip


@settings(max_examples=20)
@given(size=st.integers(1, 3), dropped=st.integers(0, 4), seed=st.integers(0, 2**32 - 1))
def test_trunc_drops_the_low_bits_of_a_sum(size: int, dropped: int, seed: int) -> None:
    """run(x) == floor(sum(window) / 2**dropped), of integers"""
    integers = np.random.default_rng(seed).integers(-8, 8, (2, 2, 6, 6))
    x = (integers / 2).astype(np.float32)
    model = imported(truncated_pool(x, size, 8, 8 - dropped))
    sums = integers.reshape(2, 2, 6 // size, size, 6 // size, size).sum(axis=(3, 5))
    got = exact.run(model, real.quantize(model, x))[model.output]
    assert np.array_equal(got, sums >> dropped)


def test_trunc_that_rounds_or_follows_no_sum_is_refused() -> None:
    x = np.zeros((1, 2, 6, 6), np.float32)
    with pytest.raises(ModelError, match=r"node 3 .*Trunc .*nearest supported form: AveragePool"):
        imported(truncated_pool(x, 2, 8, 6, rounding_mode="ROUND"))


@pytest.mark.parametrize(
    ("kind", "shown"), [(TensorProto.INT32, "int32"), (TensorProto.INT16, "int16")]
)
def test_a_cast_to_wider_integers_changes_nothing(kind: int, shown: str) -> None:
    """cast(x) == x wherever the type holds all of x"""
    x = np.arange(-8, 8, dtype=np.int8).reshape(2, 2, 2, 2)
    nodes = [node("Cast", "x", "wide", to=kind), node("DequantizeLinear", "wide s", "y")]
    model = imported(proto(nodes, x, ["y"], s=np.float32(0.5)))
    assert np.array_equal(exact.run(model, x)[model.output], x), shown


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT4, TensorProto.BOOL])
def test_a_cast_that_could_wrap_around_is_refused(kind: int) -> None:
    x = np.zeros((1, 2, 2, 2), np.int8)
    nodes = [node("Cast", "x", "narrow", to=kind), node("DequantizeLinear", "narrow s", "y")]
    with pytest.raises(ModelError, match=r"node 0 Cast .*may not hold the integers"):
        imported(proto(nodes, x, ["y"], s=np.float32(0.5)))


def test_accumulators_cast_to_real_numbers_are_scaled_like_them() -> None:
    """MatMulInteger, Cast, Mul: what dynamic exporters write"""
    rng = np.random.default_rng(1)
    x, w = rng.integers(0, 256, (3, 5)).astype(np.uint8), rng.integers(-8, 8, (5, 4))
    nodes = [
        node("MatMulInteger", "x w zero", "acc"), node("Cast", "acc", "real", to=FLOAT),
        node("Mul", "real s", "scaled"), node("QuantizeLinear", "scaled t u", "q"),
        node("DequantizeLinear", "q t u", "y"),
    ]  # fmt: skip
    built = proto(nodes, x, ["y"], w=w.astype(np.int8), zero=np.uint8(7), s=np.float32(0.25),
                  t=np.float32(16), u=np.int8(3))  # fmt: skip
    model = imported(built)
    ours = real.dequantize(model.tensors[model.output], exact.run(model, x)[model.output])
    assert np.array_equal(ours, ReferenceEvaluator(built).run(None, {"x": x})[0])


def test_a_clip_leaves_the_tensor_that_others_use_as_it_is() -> None:
    """Two users of one quantized tensor, one of them through a Clip: each gets its own"""
    x = np.linspace(-40, 40, 32, dtype=np.float32).reshape(1, 2, 4, 4)
    pool = {"kernel_shape": [2, 2]}
    nodes = [
        node("QuantizeLinear", "x s z", "q"), node("Clip", "q lo hi", "narrow"),
        node("DequantizeLinear", "q s z", "a"), node("DequantizeLinear", "narrow s z", "b"),
        node("MaxPool", "a", "y", **pool), node("MaxPool", "b", "v", **pool),
    ]  # fmt: skip
    built = proto(nodes, x, ["y", "v"], s=np.float32(0.5), z=np.int8(0),
                  lo=np.int8(-7), hi=np.int8(7))  # fmt: skip
    model = imported(built)
    tensors = exact.run(model, real.quantize(model, x))
    ours = [real.dequantize(model.tensors[name], tensors[name]) for name in model.outputs]
    theirs = ReferenceEvaluator(built).run(None, {"x": x})
    assert not np.array_equal(*theirs), "the clip must matter"
    for got, wanted in zip(ours, theirs, strict=True):
        assert np.array_equal(got, wanted)


def of_opset(opset: int) -> Any:
    """One network in the words of an opset: clips, squeezes and means changed their form."""
    pool = {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}
    nodes = [
        node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "r"),
        node("DequantizeLinear", "w s", "v"), node("Conv", "r v", "c"),
        node("Clip", "c", "b", min=0.0, max=6.0) if opset < 11 else node("Clip", "c lo hi", "b"),
        node("QuantizeLinear", "b s z", "q2"), node("DequantizeLinear", "q2 s z", "r2"),
        node("AveragePool", "r2", "p", **pool), node("QuantizeLinear", "p s z", "q3"),
        node("DequantizeLinear", "q3 s z", "r3"),
        node("ReduceMean", "r3", "m", axes=[2, 3]) if opset < 18
        else node("ReduceMean", "r3 planes", "m"),
        node("QuantizeLinear", "m s z", "q4"), node("DequantizeLinear", "q4 s z", "r4"),
        node("Squeeze", "r4", "y", axes=[2, 3]) if opset < 13
        else node("Squeeze", "r4 planes", "y"),
    ]  # fmt: skip
    w = np.arange(-9, 9, dtype=np.int8).reshape(1, 2, 3, 3)
    constants = {"s": np.float32(0.25), "z": np.int8(3), "w": w}
    constants |= {"lo": np.float32(0), "hi": np.float32(6)} if opset >= 11 else {}
    constants |= {"planes": np.array([2, 3])} if opset >= 13 else {}
    built = proto(nodes, np.zeros((1, 2, 6, 6), np.float32), ["y"], **constants)
    built.opset_import[0].version = opset
    built.graph.output[0].type.tensor_type.shape.SetInParent()  # the checker wants one
    onnx.checker.check_model(built)
    return built


@pytest.mark.parametrize("opset", [10, 11, 12, 13, 16, 17, 18, 19, 20, 22, 23, 24])
def test_one_network_means_the_same_in_every_opset(opset: int) -> None:
    """import(m in opset n) == import(m in opset 21)"""
    ours: dict[str, Any] = {}
    wanted: dict[str, Any] = {}
    text = codec.encode(imported(of_opset(opset)), ours)
    assert text == codec.encode(imported(of_opset(21)), wanted)
    assert all(np.array_equal(ours[name], wanted[name]) for name in wanted)


QONNX_MODES: dict[str, Any] = {  # as qonnx.core.quant states them, on x / scale + zero point
    "ROUND": np.round, "CEIL": np.ceil, "FLOOR": np.floor,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "DOWN": lambda x: np.sign(x) * np.floor(np.abs(x)),
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5),
}  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "zero"),
    [*((mode, 0) for mode in QONNX_MODES), ("ROUND", 3), ("CEIL", 3), ("FLOOR", 3)],
)
def test_quant_rounds_as_its_mode_says_on_entry_and_between_layers(mode: str, zero: int) -> None:
    """q == clip(mode(x / scale + zero point)): the zero point takes part in deciding ties"""
    x = (np.arange(-24, 24) / 8).astype(np.float32).reshape(2, 2, 3, 4)
    f = np.float32
    nodes = [
        node("Quant", "x fine none bits", "a", QONNX, signed=1, narrow=0),
        node("Quant", "a s z bits", "b", QONNX, signed=1, narrow=0, rounding_mode=mode),
        node("Quant", "x s z bits", "y", QONNX, signed=1, narrow=0, rounding_mode=mode),
    ]
    built = proto(nodes, x, ["b", "y"], fine=f(0.125), none=f(0), s=f(0.25), z=f(zero), bits=f(8))
    model = imported(built)
    tensors = exact.run(model, {name: real.quantize(model, x, name) for name in model.inputs})
    expected = np.clip(QONNX_MODES[mode](x / 0.25 + zero), -128, 127)
    for name in model.outputs:
        assert np.array_equal(tensors[name], expected), name


def test_an_input_that_was_narrow_uses_the_width_it_is_given() -> None:
    """at(8 bits)(x) is nearer to the real result than at(4 bits)(x), the file's own width"""
    rng = np.random.default_rng(0)
    x = rng.uniform(-3.5, 3.5, (2, 2, 6, 6)).astype(np.float32)
    w = rng.integers(-8, 8, (3, 2, 3, 3)).astype(np.int8)
    nodes = [
        node("QuantizeLinear", "x s z", "wide"), node("Clip", "wide lo hi", "q"),
        node("DequantizeLinear", "q s z", "r"), node("DequantizeLinear", "w t", "v"),
        node("Conv", "r v", "y"),
    ]  # fmt: skip
    built = proto(nodes, x, ["y"], s=np.float32(0.5), z=np.int8(0), t=np.float32(0.125),
                  lo=np.int8(-8), hi=np.int8(7), w=w)  # fmt: skip
    model = imported(built)
    wanted = exact.conv2d(np.rint(x * 2**20), w) / 2**23

    def error(bits: int) -> float:
        narrow = model.at([(bits, 8)])
        integers = exact.run(narrow, real.quantize(narrow, x))[narrow.output]
        return float(
            np.abs(real.dequantize(narrow.tensors[narrow.output], integers) - wanted).max()
        )

    assert model.tensors[model.input].bits == 4
    assert error(8) < error(4) / 4


def test_a_real_input_that_a_layer_takes_gets_the_scale_that_is_given() -> None:
    """run(round(x / s)) == reference(x) for every x that is a multiple of s"""
    rng = np.random.default_rng(3)
    x, w = (rng.integers(-16, 16, (2, 5)) / 4).astype(np.float32), rng.integers(-8, 8, (5, 3))
    nodes = [
        node("DequantizeLinear", "w s", "wd"), node("MatMul", "x wd", "c"),
        node("QuantizeLinear", "c t u", "q"), node("DequantizeLinear", "q t u", "y"),
    ]  # fmt: skip
    built = proto(nodes, x, ["y"], w=w.astype(np.int8), s=np.float32(0.5), t=np.float32(1),
                  u=np.int8(3))  # fmt: skip
    with pytest.raises(ModelError, match=r"input 'x' is real, not quantized; .*--input-scale"):
        imported(built)
    model = lower(graph_of(built, "case"), options=Options(input_scale=0.25)).model
    ours = exact.run(model, real.quantize(model, x))[model.output]
    theirs = ReferenceEvaluator(built).run(None, {"x": x})[0]
    assert np.array_equal(real.dequantize(model.tensors[model.output], ours), theirs)


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "HardSwish", "Exp", "Gelu", "Erf", "Softplus"])
def test_a_function_between_quantizations_is_a_table_of_its_words(op: str) -> None:
    """table[q] == clip(rint(f(s * (q - z)) / t) + u), in float64, for all 256 words"""
    x = (np.arange(-128, 128).reshape(1, 256) / 8).astype(np.float32)
    nodes = [
        node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "r"),
        node(op, "r", "f"), node("QuantizeLinear", "f t u", "k"),
        node("DequantizeLinear", "k t u", "y"),
    ]  # fmt: skip
    built = proto(nodes, x, ["y"], s=np.float32(0.125), z=np.int8(0), t=np.float32(0.03125),
                  u=np.int8(-7))  # fmt: skip
    model = imported(built)
    assert [layer.op for layer in model.layers] == ["table"]
    ours = exact.run(model, real.quantize(model, x))[model.output]
    theirs = ReferenceEvaluator(built).run(None, {"x": x})[0]
    got = real.dequantize(model.tensors[model.output], ours)
    assert np.count_nonzero(got != theirs) <= 1  # a tie that float32 made
    assert np.abs(got - theirs).max() <= 0.03125


def test_a_gelu_in_five_nodes_is_one_table() -> None:
    x = np.zeros((1, 2, 3, 3), np.float32)
    nodes = [
        node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "r"),
        node("Div", "r root", "a"), node("Erf", "a", "b"), node("Add", "b one", "c"),
        node("Mul", "r c", "d"), node("Mul", "d half", "e"), node("QuantizeLinear", "e s z", "y"),
    ]  # fmt: skip
    f = np.float32
    model = imported(proto(nodes, x, ["y"], TensorProto.INT8, s=f(0.125), z=np.int8(0),
                           root=f(2**0.5), one=f(1), half=f(0.5)))  # fmt: skip
    assert [layer.op for layer in model.layers] == ["table"]


def test_the_logarithm_of_a_negative_number_is_refused_with_it() -> None:
    x = np.zeros((1, 3), np.float32)
    nodes = [
        node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "r"),
        node("Log", "r", "f"), node("QuantizeLinear", "f s z", "y"),
    ]  # fmt: skip
    with pytest.raises(ModelError, match=r"node 3 .*log of -64 is no number"):
        imported(proto(nodes, x, ["y"], TensorProto.INT8, s=np.float32(0.5), z=np.int8(0)))
