"""Operators on values between two quantizations: several tensors, constants, larger planes.

Judges: ONNX's reference evaluator, and onnxruntime for its own operators.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("onnx")

import onnx
from onnx import TensorProto, helper, numpy_helper

from apsim.errors import InputError, ModelError
from apsim.nn import exact, runtime
from apsim.nn.importers import Options
from apsim.nn.importers.onnx import lower
from apsim.nn.importers.onnx_file import graph_of
from apsim.nn.judges import cases
from apsim.nn.judges.held import hold
from apsim.nn.model import Model, Steps, store
from apsim.nn.on_ap.chip import Chip
from apsim.nn.rules import real
from tests.helpers.onnx_graphs import QONNX, by_reference

Array = NDArray[Any]
ORT = "com.microsoft"
SEEDS = st.integers(0, 2**32 - 1)


def node(op: str, inputs: str, output: str, domain: str = "", **attributes: Any) -> Any:
    given_names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, given_names, [output], domain=domain, **attributes)


def proto(nodes: list[Any], x: Array, outputs: str = "y", **constants: Any) -> Any:
    """A graph from a real or integer "x"; two inputs a and b of it are made where nodes ask."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        nodes, "case", [helper.make_tensor_value_info("x", kind, list(x.shape))],
        [helper.make_empty_tensor_value_info(name) for name in outputs.split()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    domains = [helper.make_opsetid("", 17), helper.make_opsetid(QONNX, 1)]
    domains.append(helper.make_opsetid(ORT, 1))
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def two(scales: tuple[float, float] = (0.5, 0.5), zeros: tuple[int, int] = (3, 3)) -> list[Any]:
    """x through two quantizations, a and b; `sa za sb zb` are constants of `both`."""
    return [n for name in "ab" for n in (
        node("QuantizeLinear", f"x s{name} z{name}", f"q{name}"),
        node("DequantizeLinear", f"q{name} s{name} z{name}", name))]  # fmt: skip


def both(sa: float = 0.5, sb: float = 0.5, za: int = 3, zb: int = 3) -> dict[str, Any]:
    return {"sa": np.float32(sa), "sb": np.float32(sb), "za": np.int8(za), "zb": np.int8(zb)}


END = [node("QuantizeLinear", "r s z", "q"), node("DequantizeLinear", "q s z", "y")]


def end(scale: float = 0.25, zero: int = -2) -> dict[str, Any]:
    return {"s": np.float32(scale), "z": np.int8(zero)}


def imported(model: Any, options: Options | None = None) -> Model:
    return lower(graph_of(model, "case"), options=options or Options()).model


def answers(model: Model, x: Array) -> Array:
    feeds = {n: real.quantize(model, x, n) if x.dtype.kind == "f" else x.astype(np.int64)
             for n in model.inputs}  # fmt: skip
    made = exact.run(model, feeds)[model.output]
    return real.dequantize(model.tensors[model.output], made)


def held(model: Any, x: Array) -> Model:
    """run(import(m), x) == reference(m)(x)"""
    found = imported(model)
    assert np.array_equal(answers(found, x), by_reference(model, x)[0])
    return found


def drawn(seed: int, *shape: int) -> Array:
    return (np.random.default_rng(seed).integers(-40, 40, shape) / 4).astype(np.float32)


# several tensors


@settings(max_examples=20)
@given(seed=SEEDS, scales=st.tuples(*[st.sampled_from([0.5, 0.75, 1.25])] * 2))
def test_a_sum_of_many_tensors_is_rounded_once(seed: int, scales: tuple[float, float]) -> None:
    """y == round((a + b + a + b) / s): powers of two above and below, so float32 is exact"""
    x = drawn(seed, 2, 3, 4)
    built = proto([*two(), node("Sum", "a b a b", "r"), *END], x, **both(*scales), **end(0.5))
    model = held(built, x)
    assert [layer.op for layer in model.layers].count("add") == 3


@pytest.mark.parametrize("kind", ["1d", "2d", "2d-seg"])
@pytest.mark.parametrize("requant", ["host", "ap"])
def test_a_sum_of_many_runs_on_the_ap_as_it_is_predicted(kind: str, requant: str) -> None:
    x = drawn(1, 2, 3, 4)
    built = proto([*two(), node("Sum", "a b a", "r"), *END], x, **both(0.5, 0.75), **end())
    model = imported(built)
    feeds = {name: real.quantize(model, x, name) for name in model.inputs}
    done = runtime.run(model, feeds, Chip.preset("bf-imna-lr", ap=kind, requant=requant))
    assert done.bit_exact and done.counts_match


@pytest.mark.parametrize("rule", ["ort-f32", "dyadic(31,half-up)"])
def test_a_sum_of_many_under_a_rule_that_rounds_each_is_refused(rule: str) -> None:
    x = drawn(1, 2, 3)
    built = proto([*two(), node("Sum", "a b a", "r"), *END], x, **both(), **end())
    with pytest.raises(ModelError, match=r"a sum of 3 tensors under rule .*use onnx-exact"):
        lower(graph_of(built, "case"), rule)


@settings(max_examples=25)
@given(seed=SEEDS, op=st.sampled_from(["Max", "Min"]), many=st.integers(2, 4))
def test_the_greatest_of_tensors_of_unequal_scales(seed: int, op: str, many: int) -> None:
    x = drawn(seed, 2, 3, 4)
    names = " ".join("ab"[i % 2] for i in range(many))
    held(proto([*two(), node(op, names, "r"), *END], x, **both(0.5, 0.75), **end()), x)


@pytest.mark.parametrize("op", ["Max", "Min"])
def test_the_greatest_of_what_is_not_rounded_yet(op: str) -> None:
    """max(sums, sums, tensor): each is rounded to what comes after"""
    x, w = drawn(5, 2, 3), np.random.default_rng(1).integers(-9, 9, (2, 3, 3)).astype(np.int8)
    weights = [node("DequantizeLinear", f"{w} k wz", f"{w}d") for w in "wv"]
    products = [node("MatMul", "a wd", "m"), node("MatMul", "b vd", "n")]
    nodes = [*two(), *weights, *products, node(op, "m n a", "r"), *END]
    built = proto(nodes, x, w=w[0], v=w[1], k=np.float32(0.25), wz=np.int8(0), **both(0.5, 1.5),
                  **end(1.0))  # fmt: skip
    held(built, x)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max"])
def test_tensors_broadcast_to_one_shape(op: str) -> None:
    """[2, 3, 4, 5] and its mean over the plane, as squeeze and excitation have it"""
    x = drawn(5, 2, 3, 4, 5)
    nodes = [*two()[:2], node("GlobalAveragePool", "a", "m"),
             node("QuantizeLinear", "m sb zb", "qb"), node("DequantizeLinear", "qb sb zb", "b"),
             node(op, "a b", "r"), *END]  # fmt: skip
    held(proto(nodes, x, **both(), **end()), x)


@settings(max_examples=30)
@given(seed=SEEDS, order=st.permutations(["a", "b"]), full=st.booleans())
def test_where_a_constant_condition_holds(seed: int, order: list[str], full: bool) -> None:
    x, rng = drawn(seed, 2, 3, 4), np.random.default_rng(seed)
    condition = rng.integers(0, 2, (3, 4) if full else (1, 3, 1)).astype(bool)
    nodes = [*two(), node("Where", f"c {' '.join(order)}", "r"), *END]
    held(proto(nodes, x, c=condition, **both(0.5, 0.75), **end()), x)


@pytest.mark.parametrize("number", [-np.inf, -1e9, 0.0, 3.3])
@pytest.mark.parametrize("inputs", ["c a k", "c k a"])
def test_where_numbers_take_the_place_of_words(number: float, inputs: str) -> None:
    """A mask of attention: -inf, or a great negative number, becomes the least word"""
    x = drawn(3, 2, 4, 4)
    nodes = [*two()[:2], node("Where", inputs, "r"), *END]
    mask = np.tril(np.ones((4, 4), bool))
    held(proto(nodes, x, c=mask, k=np.float32(number), **both(), **end()), x)


def test_a_condition_that_is_no_constant_or_differs_by_input_is_refused() -> None:
    x = drawn(3, 2, 4)
    constants: dict[str, Any] = {"c": np.array([[True], [False]]), **both(), **end()}
    with pytest.raises(ModelError, match=r"Where .*differs from one input to another"):
        imported(proto([*two(), node("Where", "c a b", "r"), *END], x, **constants))
    nodes = [*two(), node("Greater", "a b", "g"), node("Where", "g a b", "r"), *END]
    with pytest.raises(ModelError, match=r"Greater"):
        imported(proto(nodes, x, **both(), **end()))


# constants


@settings(max_examples=25)
@given(seed=SEEDS, shape=st.sampled_from([(), (3, 1, 1), (1, 3, 1, 1), (5,), (3, 4, 5)]))
def test_slopes_of_prelu_lie_where_their_shape_says(seed: int, shape: tuple[int, ...]) -> None:
    x = drawn(seed, 2, 3, 4, 5)
    slope = np.random.default_rng(seed).choice([0.5, 0.25, -1, 2], shape).astype(np.float32)
    held(proto([*two()[:2], node("PRelu", "a k", "r"), *END], x, k=slope, **both(), **end()), x)


def test_equal_slopes_share_a_table() -> None:
    x = drawn(1, 2, 3, 4, 5)
    slope = np.array([0.5, 0.25, 0.5], np.float32).reshape(3, 1, 1)
    nodes = [*two()[:2], node("PRelu", "a k", "r"), *END]
    model = held(proto(nodes, x, k=slope, **both(), **end()), x)
    assert model.layers[0].values.shape == (2, 256)  # type: ignore[attr-defined]


@settings(max_examples=25)
@given(seed=SEEDS, op=st.sampled_from(["Add", "Sub", "Mul", "Max", "Min"]), first=st.booleans())
def test_a_constant_for_each_place(seed: int, op: str, first: bool) -> None:
    """Positions added to tokens: [T, D] beside [N, T, D]"""
    x, rng = drawn(seed, 2, 3, 4), np.random.default_rng(seed)
    place = rng.choice([0.5, -1, 2, 0.25], (3, 4)).astype(np.float32)
    nodes = [*two()[:2], node(op, "k a" if first else "a k", "r"), *END]
    held(proto(nodes, x, k=place, **both(), **end()), x)


@settings(max_examples=20)
@given(seed=SEEDS, op=st.sampled_from(["Add", "Sub", "Mul"]))
def test_a_quantized_constant_for_each_place_is_a_tensor_of_constants(seed: int, op: str) -> None:
    x, rng = drawn(seed, 2, 3, 4), np.random.default_rng(seed)
    words = rng.integers(-9, 9, (1, 3, 4)).astype(np.int8)
    nodes = [*two()[:2], node("DequantizeLinear", "w t zb", "k"), node(op, "a k", "r"), *END]
    built = proto(nodes, x, w=words, t=np.float32(0.5), **both(), **end())
    model = held(built, x)
    assert {"rearrange", "add" if op != "Mul" else "multiply"} <= {x.op for x in model.layers}


@pytest.mark.parametrize("value", [1.5, -3.0, 0.0, 100.0])
@pytest.mark.parametrize("follows", ["Relu", "Identity"])
def test_padding_with_a_number(value: float, follows: str) -> None:
    """A number that bounds after it keep; one that they would change is refused"""
    x = drawn(2, 2, 3, 4, 5)
    nodes = [*two()[:2], node("Pad", "a p k", "f"), node(follows, "f", "r"), *END]
    built = proto(nodes, x, p=np.array([0, 0, 1, 2, 0, 0, 0, 1]), k=np.float32(value), **both(),
                  **end())  # fmt: skip
    if value < 0 and follows == "Relu":
        with pytest.raises(ModelError, match=r"padding with -3"):
            imported(built)
    else:
        held(built, x)


def test_a_number_beside_words_that_nothing_rounds_must_be_one_of_them() -> None:
    x = drawn(2, 2, 3)
    for value, sound in ((1.5, True), (1.3, False)):
        nodes = [*two()[:2], node("Pad", "a p k", "y")]
        built = proto(nodes, x, p=np.array([0, 0, 0, 1]), k=np.float32(value), **both())
        if sound:
            held(built, x)
        else:
            with pytest.raises(ModelError, match=r"the number 1\.3 beside it"):
                imported(built)


# matrices


@settings(max_examples=20)
@given(seed=SEEDS, gain=st.sampled_from([None, 0.5, 0.25]), early=st.booleans())
def test_two_activations_multiplied_as_matrices(seed: int, gain: float | None, early: bool) -> None:
    """Both zero points; a number before or after the product is folded where nothing rounds"""
    x = drawn(seed, 2, 3, 4)
    middle = [node("Transpose", "b", "t", perm=[0, 2, 1]), node("MatMul", "a t", "r")]
    if gain is not None and early:
        middle = [node("Mul", "a k", "ak"), middle[0], node("MatMul", "ak t", "r")]
    elif gain is not None:
        middle = [middle[0], node("MatMul", "a t", "m"), node("Mul", "m k", "r")]
    built = proto([*two(), *middle, *END], x, k=np.float32(gain or 1), **both(0.5, 0.25, 3, -4),
                  **end(4.0))  # fmt: skip
    model = held(built, x)
    assert [layer.op for layer in model.layers if layer.op == "conv2d"] == []


def test_a_number_behind_a_quantization_is_not_folded() -> None:
    """Product, Q, DQ, times 0.25, Q: two roundings"""
    x = drawn(4, 2, 3, 4)
    nodes = [*two(), node("Transpose", "b", "t", perm=[0, 2, 1]), node("MatMul", "a t", "m"),
             node("QuantizeLinear", "m u z", "qm"), node("DequantizeLinear", "qm u z", "n"),
             node("Mul", "n k", "r"), *END]  # fmt: skip
    built = proto(nodes, x, k=np.float32(0.25), u=np.float32(4), **both(), **end(2.0))
    model = held(built, x)
    assert [layer.op for layer in model.layers].count("matmul") == 1
    assert model.layers[-1].op != "matmul"


def test_a_constant_before_a_tensor_multiplies_its_columns() -> None:
    x, w = drawn(4, 2, 3, 4), np.random.default_rng(1).integers(-8, 8, (5, 3)).astype(np.int8)
    nodes = [
        *two()[:2],
        node("DequantizeLinear", "w k zb", "wd"),
        node("MatMul", "wd a", "r"),
        *END,
    ]
    held(proto(nodes, x, w=w, k=np.float32(0.5), **both(), **end(2.0)), x)


@settings(max_examples=25)
@given(
    seed=SEEDS, by=st.sampled_from([0.5, 0.25, 4.0]), clip=st.booleans(),
    op=st.sampled_from(["Add", "Max", "Where", "Concat", "AveragePool", "ReduceMax"]),
)  # fmt: skip
def test_a_number_times_what_no_layer_of_weights_made(
    seed: int, by: float, clip: bool, op: str
) -> None:
    """(a + b) * k, max(a, b) * k, ... and bounds before and after, rounded once"""
    x = drawn(seed, 2, 3, 4, 5)
    first = {"Where": node("Where", "c a b", "f"), "Concat": node("Concat", "a b", "f", axis=1),
             "AveragePool": node("AveragePool", "a", "f", kernel_shape=[2, 2]),
             "ReduceMax": node("ReduceMax", "a", "f", axes=[1, -1])}  # fmt: skip
    middle = [node("Clip", "f lo hi", "g"), node("Mul", "g k", "h"), node("Relu", "h", "r")]
    middle = middle if clip else [node("Mul", "f k", "r")]
    condition = np.random.default_rng(seed).integers(0, 2, (3, 4, 5)).astype(bool)
    built = proto(
        [*two(), first.get(op, node(op, "a b", "f")), *middle, *END], x, k=np.float32(by),
        c=condition, lo=np.float32(-3), hi=np.float32(5), **both(), **end(),
    )  # fmt: skip
    held(built, x)


@pytest.mark.parametrize("first", [-1, 6])
@pytest.mark.parametrize("back", [[2, 3, 5], [-1, 3, 5], [2, -1, 5], [2, 15]])
def test_rows_of_which_the_batch_is_a_part(first: int, back: list[int]) -> None:
    """[N, T, K] as [N * T, K], Gemm, and back, as preprocessing tools write it"""
    x, w = drawn(1, 2, 3, 4), np.random.default_rng(1).integers(-9, 9, (4, 5)).astype(np.int8)
    nodes = [*two()[:2], node("Reshape", "a to", "f"), node("DequantizeLinear", "w k wz", "wd"),
             node("Gemm", "f wd bias", "g"), node("Relu", "g", "h"),
             node("Reshape", "h back", "r"), *END]  # fmt: skip
    held(
        proto(nodes, x, to=np.array([first, 4]), back=np.array(back), w=w, k=np.float32(0.25),
              wz=np.int8(0), bias=np.array([1, 0, -2, 3, 1], np.float32), **both(), **end(2.0)),
        x,
    )  # fmt: skip


def test_attention_within_patches_as_mobile_nets_have_it() -> None:
    """[N, P, T, D] as [N * P, T, D]: norm, product with itself, softmax, and back"""
    x = drawn(2, 2, 3, 4, 8)
    more = {"to": np.array([6, 4, 8]), "back": np.array([2, 3, 4, 4]), "g": np.ones(8, np.float32)}
    nodes = [*two()[:2], node("Reshape", "a to", "f"),
             node("LayerNormalization", "f g", "n", axis=2, epsilon=0.125),
             node("QuantizeLinear", "n sb zb", "qb"), node("DequantizeLinear", "qb sb zb", "b"),
             node("Transpose", "b", "t", perm=[0, 2, 1]), node("MatMul", "b t", "m"),
             node("QuantizeLinear", "m sb zb", "qm"), node("DequantizeLinear", "qm sb zb", "u"),
             node("Softmax", "u", "p", axis=-1), node("Reshape", "p back", "r"), *END]  # fmt: skip
    held(proto(nodes, x, **more, **both(0.5, 0.25), **end(1 / 64, -128)), x)


def test_planes_are_unfolded_into_patches_as_mobile_nets_do_it() -> None:
    """[N, C, H, W] as [N * C * h, 2, w, 2], turned, as [N, C, h * w, 4], as [N * 4, h * w, C]"""
    x, w = drawn(2, 2, 3, 4, 6), np.random.default_rng(1).integers(-9, 9, (3, 5)).astype(np.int8)
    shapes = {"s1": [12, 2, 3, 2], "s2": [2, 3, 6, 4], "s3": [8, 6, 3], "s4": [2, 4, 6, 5]}
    turn = [0, 2, 1, 3]
    nodes = [*two()[:2], node("Reshape", "a s1", "f"), node("Transpose", "f", "g", perm=turn),
             node("Reshape", "g s2", "h"), node("Transpose", "h", "i", perm=[0, 3, 2, 1]),
             node("Reshape", "i s3", "j"), node("DequantizeLinear", "w k wz", "wd"),
             node("MatMul", "j wd", "m"), node("Reshape", "m s4", "r"), *END]  # fmt: skip
    more = {name: np.array(shape) for name, shape in shapes.items()}
    held(proto(nodes, x, w=w, k=np.float32(0.25), wz=np.int8(0), **more, **both(), **end(2.0)), x)


@pytest.mark.parametrize(
    ("middle", "why"),
    [([node("Transpose", "f", "r", perm=[1, 0])], "keeps the batch axis first"),
     ([node("MatMul", "f f", "r")], "mixes rows"),
     ([node("Slice", "f one two", "r")], "by an operator that knows axes"),
     ([node("Add", "f plane", "r")], "more axes than the rows")],
)  # fmt: skip
def test_what_would_mix_rows_of_images_is_refused(middle: list[Any], why: str) -> None:
    x = drawn(1, 2, 4, 8)
    more = {"to": np.array([8, 8]), "one": np.array([0]), "two": np.array([1]),
            "plane": np.zeros((1, 8, 8), np.float32)}  # fmt: skip
    nodes = [*two()[:2], node("Reshape", "a to", "f"), *middle, *END]
    with pytest.raises(ModelError, match=why):
        imported(proto(nodes, x, **more, **both(), **end()))


def test_rows_that_are_given_out_are_refused() -> None:
    x = drawn(1, 2, 4, 8)
    nodes = [*two()[:2], node("Reshape", "a to", "y")]
    with pytest.raises(ModelError, match="output 'y': rows of which the batch is a part"):
        imported(proto(nodes, x, to=np.array([8, 8]), **both()))


# larger planes


@settings(max_examples=40)
@given(data=st.data(), seed=SEEDS)
def test_a_transposed_convolution(data: st.DataObject, seed: int) -> None:
    """Groups, strides, dilations, pads of each side, output_padding; one and two axes"""
    rng = np.random.default_rng(seed)
    axes, groups = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    size = lambda lo, hi: [int(n) for n in rng.integers(lo, hi + 1, axes)]  # noqa: E731
    x = drawn(seed, 2, 2 * groups, *size(2, 4))
    kernel, strides = size(1, 3), size(1, 3)
    written = {"group": groups, "strides": strides, "dilations": size(1, 2),
               "pads": [*size(0, 1), *size(0, 1)],
               "output_padding": [int(rng.integers(0, s)) for s in strides]}  # fmt: skip
    w = rng.integers(-8, 8, (2 * groups, 3, *kernel)).astype(np.int8)
    nodes = [*two()[:2], node("DequantizeLinear", "w k zb", "wd"),
             node("ConvTranspose", "a wd bias", "r", **written), *END]  # fmt: skip
    bias = rng.choice([0.5, -2, 0], 3 * groups).astype(np.float32)
    built = proto(nodes, x, w=w, k=np.float32(0.5), bias=bias, **both(), **end(2.0))
    try:
        whole = by_reference(built, x)[0].size > 0
    except ValueError:
        whole = False
    if whole:  # something is left of the plane
        held(built, x)


@pytest.mark.parametrize(
    "written",
    [{"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}, {"auto_pad": "VALID"},
     {"output_shape": [7, 9]}],
)  # fmt: skip
def test_a_transposed_convolution_of_a_wanted_size_is_onnxruntime_s(written: Any) -> None:
    ort = pytest.importorskip("onnxruntime")
    rng, x = np.random.default_rng(2), drawn(2, 1, 2, 4, 5)
    w = rng.integers(-8, 8, (2, 3, 3, 2)).astype(np.int8)
    nodes = [*two()[:2], node("DequantizeLinear", "w k zb", "wd"),
             node("ConvTranspose", "a wd", "r", strides=[2, 2], **written), *END]  # fmt: skip
    built = proto(nodes, x, w=w, k=np.float32(0.5), **both(), **end(2.0))
    built.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    session = ort.InferenceSession(built.SerializeToString())
    assert np.array_equal(answers(imported(built), x), session.run(None, {"x": x})[0])


@settings(max_examples=40)
@given(
    seed=SEEDS, plane=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    out=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    how=st.sampled_from(["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]),
)  # fmt: skip
def test_linear_weights_are_fractions_and_the_sum_is_rounded_once(
    seed: int, plane: tuple[int, int], out: tuple[int, int], how: str
) -> None:
    """|y - real| <= 1/2 step where float64 decides it, of exact fractions"""
    x = drawn(seed, 1, 2, *plane)
    nodes = [*two()[:2], node("Resize", "a - - n", "r", mode="linear",
                              coordinate_transformation_mode=how), *END]  # fmt: skip
    built = proto(nodes, x, n=np.array([1, 2, *out]), **both(), **end())
    got, wanted = answers(imported(built), x), by_reference(built, x)[0]
    off = np.abs(got - wanted)
    assert off.max() <= 0.25, "one step at most"
    if off.any():  # a tie that float32 decided
        steps = by_reference(proto(nodes[:3], x, "r", n=np.array([1, 2, *out]), **both()), x)[0]
        assert (np.abs(steps[off > 0] / 0.25 % 1 - 0.5) < 1e-3).all()


def test_linear_weights_are_held_before_they_are_rounded_too(tmp_path: Any) -> None:
    x = drawn(1, 1, 2, 3, 4)
    nodes = [*two()[:2], node("Resize", "a - n", "r", mode="linear"), *END]
    built = proto(nodes, x, n=np.array([1, 1, 3, 1.5], np.float32), **both(), **end(0.7))
    onnx.save(built, tmp_path / "resize.onnx")
    found = lower(graph_of(built, "case"))
    assert found.model.layers[0].grid == (3, 6)  # type: ignore[attr-defined]
    assert hold(tmp_path / "resize.onnx", found.model, found.origins).passed


@pytest.mark.parametrize(
    ("attributes", "why"),
    [({"mode": "cubic"}, "mode cubic"),
     ({"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}, "tf_crop")],
)  # fmt: skip
def test_other_weights_are_refused_by_name(attributes: Any, why: str) -> None:
    x = drawn(1, 1, 2, 3, 3)
    nodes = [*two()[:2], node("Resize", "a - - n", "r", **attributes), *END]
    with pytest.raises(ModelError, match=rf"Resize .*{why}"):
        imported(proto(nodes, x, n=np.array([1, 2, 5, 5]), **both(), **end()))


def test_a_convolution_over_three_axes_is_refused() -> None:
    x, w = drawn(1, 1, 2, 3, 3, 3), np.ones((1, 2, 1, 1, 1), np.int8)
    nodes = [*two()[:2], node("DequantizeLinear", "w k zb", "wd"), node("Conv", "a wd", "r"), *END]
    with pytest.raises(ModelError, match=r"Conv .*windows over 3 axes"):
        imported(proto(nodes, x, w=w, k=np.float32(0.5), **both(), **end()))


# functions of sums, thresholds


@settings(max_examples=15)
@given(seed=SEEDS, op=st.sampled_from(["Erf", "Tanh", "Gelu5", "HardSwish"]), line=st.booleans())
def test_a_function_of_sums_is_the_steps_where_it_changes(seed: int, op: str, line: bool) -> None:
    """MatMul with a scale for each output, then a function with no quantization between"""
    x, rng = drawn(seed, 2, 4), np.random.default_rng(seed)
    w = rng.integers(-9, 9, (4, 3)).astype(np.int8)
    scale = rng.choice([0.125, 0.25], 3 if line else 1).astype(np.float32)
    zero = np.zeros(len(scale), np.int8)
    middle = [node(op, "m", "r")]
    if op == "Gelu5":
        middle = [node("Mul", "m root", "n"), node("Erf", "n", "e"), node("Add", "e one", "o"),
                  node("Mul", "m o", "t"), node("Mul", "t half", "r")]  # fmt: skip
    nodes = [*two()[:2], node("DequantizeLinear", "w k wz", "wd", axis=1),
             node("MatMul", "a wd", "m"), *middle, *END]  # fmt: skip
    more = {"root": np.float32(2**-0.5), "one": np.float32(1), "half": np.float32(0.5)}
    built = proto(nodes, x, w=w, k=scale if line else scale[0], wz=zero if line else zero[0],
                  **more, **both(), **end(0.0123))  # fmt: skip
    model = imported(built)
    assert [layer.op for layer in model.layers] == ["linear", "steps"]
    off = np.abs(answers(model, x) - by_reference(built, x)[0])
    assert off.max() <= 0.0124 and (off > 0.001).mean() < 0.2, "float32 decides near halves alone"


def test_steps_are_kept_in_a_file_and_belong_to_their_unit(tmp_path: Any) -> None:
    x, w = drawn(1, 2, 4), np.random.default_rng(1).integers(-9, 9, (4, 3)).astype(np.int8)
    nodes = [*two()[:2], node("DequantizeLinear", "w k wz", "wd"), node("MatMul", "a wd", "m"),
             node("Erf", "m", "r"), *END]  # fmt: skip
    built = proto(nodes, x, w=w, k=np.float32(0.25), wz=np.int8(0), **both(), **end(0.02))
    model = imported(built)
    path = tmp_path / "steps.npz"
    store.save(model, path)
    assert np.array_equal(answers(store.load(path), x), answers(model, x))
    steps = model.layers[-1]
    assert isinstance(steps, Steps) and steps.on_host == "arithmetic (steps of erf)"
    with pytest.raises(ModelError, match=r"steps of erf were made for"):
        model.at(4)


@settings(max_examples=20)
@given(seed=SEEDS, rows=st.sampled_from([1, 3]), sums=st.booleans(), half=st.booleans())
@example(seed=17513, rows=3, sums=True, half=False)  # a short line of breaks, all below 0
def test_uneven_thresholds_are_a_table_of_words_or_steps_of_sums(
    seed: int, rows: int, sums: bool, half: bool
) -> None:
    x, rng = drawn(seed, 2, 4), np.random.default_rng(seed)
    x = x if sums else x[:, :3]
    table = np.sort(rng.choice(np.arange(-40, 40) / 8, (rows, 5)), axis=1).astype(np.float32)
    w = rng.integers(-3, 4, (4, 3)).astype(np.int8)
    first = [node("DequantizeLinear", "w k wz", "wd"), node("MatMul", "a wd", "m")] * sums
    bias = -1.5 if half else -2.0
    count = node(
        "MultiThreshold", "m t" if sums else "a t", "y", QONNX, out_scale=1.0, out_bias=bias
    )
    built = proto([*two()[:2], *first, count], x, w=w, k=np.float32(0.25), wz=np.int8(0), t=table,
                  **both())  # fmt: skip
    model = held(built, x)
    assert model.layers[-1].op == ("steps" if sums else "table")


@pytest.mark.parametrize("first", [-2.0, -1.5, 0.0, 0.5])
def test_even_thresholds_of_a_real_input_are_a_rounding(first: float) -> None:
    """At steps: down; half-way: to the nearest, halves up"""
    x = (np.random.default_rng(3).integers(-64, 64, (4, 8)) / 16).astype(np.float32)
    table = (first + np.arange(5.0))[None].astype(np.float32)
    nodes = [node("MultiThreshold", "x t", "y", QONNX, out_scale=0.5, out_bias=-1.0)]
    held(proto(nodes, x, t=table), x)


@settings(max_examples=15)
@given(seed=SEEDS, rows=st.sampled_from([1, 3]))
def test_any_thresholds_of_a_real_input_are_compared_where_it_enters(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.integers(-40, 40, (4, 3)) / 8).astype(np.float32)
    table = np.sort(rng.choice(np.arange(-40, 40) / 8, (rows, 5)), axis=1).astype(np.float32)
    nodes = [node("MultiThreshold", "x t", "y", QONNX, out_scale=0.5, out_bias=-1.0)]
    model = held(proto(nodes, x, t=table), x)
    assert model.layers == () and model.inputs == ("x (thresholds)",)


def test_an_input_by_thresholds_keeps_its_width_and_is_held(tmp_path: Any) -> None:
    x, w = drawn(1, 2, 3), np.random.default_rng(1).integers(-9, 9, (3, 4)).astype(np.int8)
    table = np.array([[-2.0, 0.3, 5.0], [0.0, 0.1, 0.2], [-9.0, -8.0, 7.0]], np.float32)
    nodes = [node("MultiThreshold", "x t", "a", QONNX), node("DequantizeLinear", "w k wz", "wd"),
             node("MatMul", "a wd", "r"), *END]  # fmt: skip
    built = proto(nodes, x, t=table, w=w, k=np.float32(0.5), wz=np.int8(0), **end())
    model = held(built, x)
    onnx.save(built, tmp_path / "thresholds.onnx")
    found = hold(tmp_path / "thresholds.onnx", model, lower(graph_of(built, "case")).origins)
    assert found.passed and found.by and found.integers > 0
    for words in ([[0, 1, 2], [3, 0, 1]],):
        case = cases.given(model, {model.input: np.array(words)})
        back = real.quantize(model, case.feeds["x"], model.input)
        assert back.tolist() == words
    store.save(model, tmp_path / "thresholds.npz")
    assert np.array_equal(answers(store.load(tmp_path / "thresholds.npz"), x), answers(model, x))
    with pytest.raises(ModelError, match="enters by thresholds, so it keeps its width"):
        model.at(4)


# onnxruntime's own operators


def by_onnxruntime(built: Any, x: Array) -> Array:
    ort = pytest.importorskip("onnxruntime")
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    built.graph.output[0].type.tensor_type.elem_type = kind
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(built.SerializeToString(), options)
    return np.asarray(session.run(None, {"x": x})[0])


def qlinear(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


SCALES = {"sx": np.float32(0.5), "zx": np.uint8(120), "sw": np.float32(0.25), "zw": np.uint8(7),
          "sy": np.float32(2), "zy": np.uint8(100)}  # fmt: skip


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("shape", [None, (), (1, 3, 1, 1), (3, 4, 5)])
@pytest.mark.parametrize("seed", range(3))
def test_qlinear_operators_of_two_operands(op: str, shape: Any, seed: int) -> None:
    x = qlinear(seed, 2, 3, 4, 5)
    more: dict[str, Any] = {} if shape is None else {"w": qlinear(seed + 9, *shape)}
    scales = SCALES if op == "QLinearAdd" else {**SCALES, "sy": np.float32(16)}
    second = "x" if shape is None else "w"
    built = proto([node(op, f"x sx zx {second} sw zw sy zy", "y", ORT)], x, **more, **scales)
    model = imported(built)
    got = exact.run(model, x.astype(np.int64))[model.output]
    off = np.abs(got - by_onnxruntime(built, x).astype(int))
    assert off.max() <= 1 and (off > 0).mean() < 0.13, "halves alone: the zero point comes first"


def test_qlinear_matmul_of_two_activations() -> None:
    """Both zero points; the second operand is the first turned round"""
    x = qlinear(1, 2, 3, 4)
    nodes = [node("Transpose", "x", "t", perm=[0, 2, 1]),
             node("QLinearMatMul", "x sx zx t sw zw sy zy", "y")]  # fmt: skip
    built = proto(nodes, x, **{**SCALES, "sy": np.float32(64)})
    model = imported(built)
    got = exact.run(model, x.astype(np.int64))[model.output]
    assert np.array_equal(got, by_onnxruntime(built, x))
    assert [layer.op for layer in model.layers] == ["transpose", "reshape", "matmul"]


@pytest.mark.parametrize("scale", [1 / 255, 1 / 256, 0.012])
@pytest.mark.parametrize("axis", [-1, 1])
def test_qlinear_softmax_is_fused_unless_the_real_rule_is_asked_for(
    scale: float, axis: int
) -> None:
    x = qlinear(3, 4, 6, 9)
    scales = {"sx": np.float32(0.04), "zx": np.uint8(120), "sy": np.float32(scale),
              "zy": np.uint8(0)}  # fmt: skip
    built = proto([node("QLinearSoftmax", "x sx zx sy zy", "y", ORT, axis=axis, opset=13)], x,
                  **scales)  # fmt: skip
    runs = [imported(built, options) for options in (None, Options(softmax="real"))]
    fused, plain = (exact.run(m, x.astype(np.int64))[m.output] for m in runs)
    assert np.array_equal(fused, by_onnxruntime(built, x))
    assert np.array_equal(fused, plain) == (scale == 1 / 256)


# a real first input


@pytest.mark.parametrize("bits", [4, 8, 12, 16])
def test_a_real_input_gets_words_of_the_width_that_is_asked_for(bits: int) -> None:
    x = (np.random.default_rng(1).integers(-7, 8, (2, 4)) / 4).astype(np.float32)
    w = np.random.default_rng(2).integers(-9, 9, (4, 3)).astype(np.int8)
    nodes = [node("DequantizeLinear", "w k wz", "wd"), node("MatMul", "x wd", "r"), *END]
    built = proto(nodes, x, w=w, k=np.float32(0.25), wz=np.int8(0), **end())
    model = imported(built, Options(input_scale=0.25, input_bits=bits))
    assert model.tensors[model.input].bits == bits
    assert np.array_equal(answers(model, x), by_reference(built, x)[0])


@pytest.mark.parametrize(
    ("wrong", "why"),
    [({"input_bits": 16}, "goes with --input-scale"),
     ({"input_scale": 1.0, "input_bits": 17}, r"wanted 2\.\.16, got 17"),
     ({"softmax": "fast"}, "--rule-softmax: wanted one of real, ort-fused, ap"),
     ({"norm": "ort-fused"}, "--rule-norm: wanted one of real, ap")],
)  # fmt: skip
def test_options_that_there_are_none_of_are_refused(wrong: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        Options(**wrong)


@pytest.mark.parametrize(
    ("middle", "more", "why"),
    [
        ([node("ConvTranspose", "a wd", "r", strides=[1, 1 << 40])], {}, "strides"),
        ([node("ConvTranspose", "a wd", "r", strides=[1 << 24, 1 << 24])], {}, "a result of"),
        ([node("ConvTranspose", "a wd", "r", group=5)], {}, "5 groups of 2 channels"),
        ([node("Resize", "a - - n", "r", mode="linear")], {"n": np.array([1, 2, 1 << 40, 3])},
         "a result of"),
        ([node("Resize", "a - n", "r", mode="linear")],
         {"n": np.array([1, 1, np.nan, 1], np.float32)}, "scales"),
        ([node("LayerNormalization", "a g", "r", axis=-1, epsilon=0.0)],
         {"g": np.ones(4, np.float32)}, "epsilon"),
        ([node("MultiThreshold", "a g", "r", QONNX, out_scale=0.0)],
         {"g": np.ones((1, 3), np.float32)}, "a positive out_scale"),
        ([node("Where", "c a k", "r")], {"c": np.array(True), "k": np.float32(np.nan)},
         "a number to choose that is none"),
        ([node("Log", "a", "r")], {}, "log of -65.5 is no number"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(middle: list[Any], more: Any, why: str) -> None:
    x, w = drawn(1, 1, 2, 3, 4), np.ones((2, 1, 2, 2), np.int8)
    nodes = [*two()[:2], node("DequantizeLinear", "w wk zb", "wd"), *middle, *END]
    built = proto(nodes, x, w=w, wk=np.float32(0.5), **more, **both(), **end())
    with pytest.raises(ModelError, match=rf"node [34] .*{why}"):
        imported(built)


@pytest.mark.parametrize("op", ["Ceil", "Floor", "Round", "Sign"])
def test_functions_with_jumps_take_the_float32_that_dequantization_gives(op: str) -> None:
    """At thirds and fifths the product of scale and word lies on a jump in float32 alone"""
    x = np.arange(-128, 128).reshape(1, 256).astype(np.int8)
    for step in (1 / 3, 0.1, 0.2, 1 / 6):
        nodes = [node("DequantizeLinear", "x sa za", "a"), node(op, "a", "r"), *END]
        held(proto(nodes, x, **both(step), **end(1.0, 0)), x)


def test_outputs_keep_their_names_where_several_are_the_same_integers() -> None:
    x = np.arange(8, dtype=np.int8).reshape(2, 4)
    nodes = [node("DequantizeLinear", "x sa za", "a"), node("Relu", "a", "r"), END[0],
             node("Identity", "q", "again"), node("Identity", "x", "as it came")]  # fmt: skip
    made = proto(nodes, x, outputs="again q", **both(), **end())
    made.graph.output.append(helper.make_empty_tensor_value_info("as it came"))
    found = imported(made)
    assert found.outputs == ("again", "q", "as it came")
    given = exact.run(found, {"x": x.astype(np.int64)})
    assert np.array_equal(given["again"], given["q"])
    assert np.array_equal(given["as it came"], x)


@pytest.mark.parametrize(
    ("middle", "why"),
    [
        (node("Slice", "a one one", "r"), r"an output without values, of shape \[N, 0"),
        (node("MaxPool", "a", "r", kernel_shape=[2, 2], dilations=[2, 2], auto_pad="SAME_UPPER"),
         "a dilated pool with auto_pad = SAME"),
        (node("QLinearAveragePool", "x sa za s z", "r", ORT, kernel_shape=[2, 2], strides=[2, 2],
              ceil_mode=1, count_include_pad=1), "windows over the end of what is padded"),
    ],
)  # fmt: skip
def test_what_evaluators_read_unalike_or_gives_nothing_is_refused(middle: Any, why: str) -> None:
    x = np.ones((1, 2, 5, 5), np.int8)
    more = {"one": np.array([1, 1, 1])}
    nodes = [node("DequantizeLinear", "x sa za", "a"), middle, *END]
    with pytest.raises(ModelError, match=why):
        imported(proto(nodes, x, **more, **both(), **end()))


@pytest.mark.parametrize("axes", [1, 2])
def test_a_judge_takes_a_global_maximum_over_all_axes(axes: int, tmp_path: Path) -> None:
    """onnx's evaluator takes it over the second and third of a line, and gives another shape"""
    x = np.ones((1, 2, *[5] * axes), np.int8)
    nodes = [node("DequantizeLinear", "x sa za", "a"), node("GlobalMaxPool", "a", "r"), *END]
    path = tmp_path / "net.onnx"
    path.write_bytes(proto(nodes, x, **both(), **end()).SerializeToString())
    found = hold(path, imported(onnx.load(path)), ())
    assert found.by and found.passed and not found.differ


@pytest.mark.parametrize("ap", ["2d", "2d-seg"])
def test_sums_whose_products_have_64_bits_are_the_twin_s(ap: str) -> None:
    """A sum of three at scales that part in their last bits: words of 64 columns, offset binary"""
    x = drawn(1, 1, 5)
    third = [node("QuantizeLinear", "x sc zc", "qc"), node("DequantizeLinear", "qc sc zc", "c")]
    nodes = [*two(), *third, node("Sum", "a b c", "r"), *END]
    scales = both(0.031, 1 / 3) | {
        "sc": np.float32(0.11), "za": np.uint8(0), "zb": np.uint8(255), "zc": np.int8(5),
    }  # fmt: skip
    model = imported(proto(nodes, x, **scales, **end(0.013, 0)))
    feeds = {name: real.quantize(model, x, name) for name in model.inputs}
    done = runtime.run(model, feeds, Chip.preset("bf-imna-lr", ap=ap))
    assert done.bit_exact and done.counts_match


# real inputs, before their first quantization

NORMALIZED = [node("Sub", "x m", "a"), node("Div", "a d", "r"), *END]


@settings(max_examples=20)
@given(seed=SEEDS, axis=st.integers(1, 3), last=st.booleans())
def test_an_input_is_normalized_along_one_axis_before_it_is_quantized(
    seed: int, axis: int, last: bool
) -> None:
    """q == round((x - m) / d / s) + z in float32, m and d one for each place of an axis"""
    x, lay = drawn(seed, 2, 3, 4, 5), [1] * 4
    lay[axis] = x.shape[axis]
    rng = np.random.default_rng(seed)
    mean, by = (rng.uniform(0.2, 2, x.shape[axis]).astype(np.float32).reshape(lay) for _ in "md")
    nodes = [*NORMALIZED[:2], node("Transpose", "r", "t", perm=[0, 3, 1, 2]),
             node("QuantizeLinear", "t s z", "q"), END[1]] if last else NORMALIZED  # fmt: skip
    held(proto(nodes, x, m=mean[0] if seed % 2 else mean, d=by, **end()), x)


def test_a_normalized_input_is_held_saved_and_given_back(tmp_path: Path) -> None:
    x, path = drawn(3, 1, 3, 4, 4), tmp_path / "case.onnx"
    mean, by = (np.float32(v).reshape(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.2, -0.3, 0.25]))
    built = proto(NORMALIZED, x, m=mean, d=by, **end())
    onnx.save(built, path)
    model = held(built, x)
    found = lower(graph_of(built, "case"))
    assert hold(path, found.model, found.origins).differ == 0
    store.save(model, tmp_path / "m.npz")
    assert np.array_equal(answers(store.load(tmp_path / "m.npz"), x), answers(model, x))
    feeds = {name: real.quantize(model, x, name) for name in model.inputs}
    back = cases.given(model, feeds).feeds["x"]
    assert np.array_equal(real.quantize(model, back), feeds[model.input])


@pytest.mark.parametrize(
    ("shape", "nodes", "message"),
    [
        ((1, 3, 4, 4), NORMALIZED, r"a constant of shape \[3, 4, 4\] on the real input 'x'; near"),
        ((3, 1, 1), [node("Transpose", "x", "a", perm=[0, 2, 1, 3]), node("Sub", "a m", "r"), *END],
         r"a constant of shape \[3, 1, 1\] on the real input 'x', which was moved before"),
        ((3, 1, 1), [node("Sub", "x m", "a"), node("Div", "a w", "r"), *END],
         r"a constant of shape \[1, 1, 4\] on the real input 'x'"),
    ],
)  # fmt: skip
def test_a_real_input_differs_along_one_axis_only(
    shape: tuple[int, ...], nodes: list[Any], message: str
) -> None:
    x = drawn(1, 1, 4, 3, 4) if nodes[0].op_type == "Transpose" else drawn(1, 1, 3, 4, 4)
    rng = np.random.default_rng(1)
    mean, by = rng.uniform(1, 2, (2, *shape)).astype(np.float32)
    built = proto(nodes, x, m=mean, d=by, w=np.arange(1, 5, dtype=np.float32), **end())
    with pytest.raises(ModelError, match=message):
        imported(built)


@pytest.mark.parametrize("by", ["input", "cast"])
def test_arithmetic_in_float64_on_a_real_input_is_refused(by: str) -> None:
    """It rounds otherwise than float32; without arithmetic the numbers are the same"""
    x, half = drawn(1, 1, 3), np.float64(0.1)
    wide = [node("Cast", "x", "d", to=TensorProto.DOUBLE)]
    back = [node("Cast", "a", "r", to=TensorProto.FLOAT), *END]
    nodes = [*wide, node("Sub", "d m", "a"), *back]
    if by == "input":
        x, nodes = x.astype(np.float64), [node("Sub", "x m", "a"), *back]
    with pytest.raises(ModelError, match=r"in float64 on a real input; nearest .*: float"):
        imported(proto(nodes, x, m=half, **end()))
    held(proto([*wide, node("Identity", "d", "a"), *back], drawn(1, 1, 3), **end()), drawn(1, 1, 3))


def test_a_constant_less_a_real_input() -> None:
    x = drawn(2, 2, 3, 4)
    held(proto([node("Sub", "m x", "r"), *END], x, m=np.float32([[1], [2], [0.5]]), **end()), x)


@pytest.mark.parametrize(("kind", "given"), [("Sub", "p m"), ("Sub", "m p"), ("Div", "p m")])
@pytest.mark.parametrize("fill", [0.0, 1.5])
def test_arithmetic_on_a_padded_real_input_is_done_to_the_padding_as_well(
    kind: str, given: str, fill: float
) -> None:
    """pad(x, v) - m holds v - m where x has no place"""
    x = drawn(5, 2, 2, 3)
    nodes = [node("Pad", "x n v", "p"), node(kind, given, "r"), *END]
    held(proto(nodes, x, n=[0, 0, 1, 0, 1, 1], v=np.float32(fill), m=np.float32(0.75), **end()), x)


# axes that weights and shapes would add


@pytest.mark.parametrize("given", ["a w", "w a"])
@pytest.mark.parametrize("rank", [3, 4])
def test_weights_that_give_a_tensor_more_axes_are_refused(given: str, rank: int) -> None:
    """[N, 3, 3] times [1, 1, 3, 3] is [1, N, 3, 3], of which axis 1 is the batch"""
    shape = (2, 3, 3)[4 - rank :]
    x, w = drawn(2, *shape), np.ones((1,) * (rank - 2) + (3, 3), np.int8)
    nodes = [*two()[:2], node("DequantizeLinear", "v sb", "w"), node("MatMul", given, "r"), *END]
    with pytest.raises(ModelError, match=r"to which they give more|whose rows are the batch"):
        imported(proto(nodes, x, v=w, **both(), **end()))


@pytest.mark.parametrize("sizes", [(1, 3, 2, 4), (2, 1), (1, 2, 1)])
def test_axes_of_one_are_expanded(sizes: tuple[int, ...]) -> None:
    x = drawn(4, 2, 3, 1, 4)
    nodes = [*two()[:2], node("Expand", "a n", "r"), *END]
    held(proto(nodes, x, n=np.array(sizes), **both(), **end()), x)


@pytest.mark.parametrize("sizes", [(2, 3, 2, 4), (1, 1, 3, 2, 4), (5, 3, 1, 4)])
def test_an_expanded_batch_is_refused(sizes: tuple[int, ...]) -> None:
    nodes = [*two()[:2], node("Expand", "a n", "r"), *END]
    built = proto(nodes, drawn(4, 1, 3, 1, 4), n=np.array(sizes), **both(), **end())
    with pytest.raises(ModelError, match=r"a shape \[.*\] for \[N, ...\] with 4 axes"):
        imported(built)
