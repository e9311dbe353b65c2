"""Softmax and norms as layers: their definitions against loops, golden tensors and onnx."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from apsim.errors import ModelError
from apsim.nn import exact
from apsim.nn.model import Layer, Model, Normalize, Softmax, Tensor, check, store
from apsim.nn.rules import normalize
from tests.conftest import ROOT

GOLDEN = ROOT.parent / "shared" / "design" / "golden" / "digits_vit.npz"
S8, U8 = Tensor((2, 4), 8, True, 0.0625), Tensor((2, 4), 8, False, 1 / 256)
words = st.integers(-128, 127)


def of_one(layer: Layer, given: Tensor, output: Tensor) -> Model:
    return Model("one", "onnx-exact", ("x",), ("y",), {"x": given, "y": output}, (layer,))


def softmax(rule: str, output: Tensor = U8, **changes: Any) -> Model:
    table = normalize.exponential(0.0625, 8) if rule == "ap" else None
    fields = {"factor": 0.0625, "rule": rule, "table": table, **changes}
    layer = Softmax(name="s", inputs=("x",), output="y", **fields)
    return of_one(layer, S8, replace(output, shape=(2, 4)))


def norm(rule: str, **changes: Any) -> Model:
    epsilon = 1e-5 if rule == "real" else 0.0
    layer = Normalize(name="n", inputs=("x",), output="y", **{"rule": rule, "epsilon": epsilon,
                                                               **changes})  # fmt: skip
    return of_one(layer, S8, Tensor((2, 4), 8, True, 1 / 32))


@given(st.lists(words, min_size=1, max_size=9), st.sampled_from([0.01, 1 / 16, 0.7]))
def test_the_softmax_of_the_ap_is_an_exact_quotient_rounded_once(s: list[int], f: float) -> None:
    """p == min(round half up(256 e / Z), 255), e being exp in 8 bits."""
    e = [math.floor(255 * math.exp(-f * (max(s) - each)) + 0.5) for each in s]
    wanted = [min((2 * 256 * each + sum(e)) // (2 * sum(e)), 255) for each in e]
    assert normalize.softmax(np.array(s), normalize.exponential(f, 8)).tolist() == wanted


@given(st.lists(words, min_size=1, max_size=9), st.integers(0, 6))
def test_the_softmax_of_ita_is_in_powers_of_two(s: list[int], shift: int) -> None:
    """p == floor(floor(65280 / Z) / 2**k), k the difference over 2**shift, halves up."""
    k = [math.floor((max(s) - each) / 2**shift + 0.5) for each in s]
    total = sum(256 // 2**one for one in k)
    assert normalize.ita_softmax(np.array(s), shift).tolist() == [
        65280 // total // 2**one for one in k
    ]
    float32 = float(np.float32(math.log(2) / 2**shift))
    layer = Softmax(name="s", inputs=("x",), output="y", factor=float32, rule="ita")
    assert layer.halving == shift
    assert replace(layer, factor=1.001 * float32).halving is None


@given(st.lists(words, min_size=1, max_size=9), st.booleans())
def test_a_norm_of_the_ap_is_rounded_away_from_zero_over_a_floor_root(
    x: list[int], centred: bool
) -> None:
    """y == sgn(c) min(round half up(32 |c| / R), 127), R == max(isqrt(V), 1)."""
    c = [len(x) * each - centred * sum(x) for each in x]
    root = max(math.isqrt(sum(each * each for each in c) // len(x)), 1)
    sized = [min((64 * abs(each) + root) // (2 * root), 127) for each in c]
    wanted = [size if each > 0 else -size for each, size in zip(c, sized, strict=True)]
    assert normalize.norm(np.array(x), centred).tolist() == wanted


def test_a_constant_token_has_the_norm_zero() -> None:
    assert not normalize.norm(np.full((1, 8), -128), centred=True).any()


def test_golden_scores_and_tokens_give_the_golden_tensors() -> None:
    if not GOLDEN.exists():
        pytest.skip("the golden file of the transformer is not here")
    with np.load(GOLDEN) as golden:
        for block in ("0", "1"):
            p = normalize.softmax(golden[f"t_{block}_s"], golden[f"exp_{block}"])
            assert np.array_equal(p, golden[f"t_{block}_p"])
            before = golden["t_h0" if block == "0" else "t_0_h2"]
            assert np.array_equal(normalize.norm(before, True), golden[f"t_{block}_n1"])


def evaluated(op: str, output: Tensor, x: NDArray[Any], **attributes: Any) -> NDArray[Any]:
    """DequantizeLinear, an operator, QuantizeLinear, by onnx's own evaluator."""
    inputs = ["r"] + (["gamma", "beta"] if op == "LayerNormalization" else [])
    kind = TensorProto.INT8 if output.signed else TensorProto.UINT8
    constants: dict[str, Any] = {
        "sx": np.float32(0.0625), "zx": np.int8(0), "sy": np.asarray(output.scale, np.float32),
        "zy": np.array(output.zero_point, np.int8 if output.signed else np.uint8),
        "gamma": GAMMA.astype(np.float32), "beta": BETA.astype(np.float32),
    }  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["x", "sx", "zx"], ["r"]),
            helper.make_node(op, inputs, ["f"], axis=-1, **attributes),
            helper.make_node("QuantizeLinear", ["f", "sy", "zy"], ["y"]),
        ],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.INT8, x.shape)],
        [helper.make_tensor_value_info("y", kind, x.shape)],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    found: Any = ReferenceEvaluator(file).run(None, {"x": x.astype(np.int8)})
    return np.asarray(found[0], np.int64)


GAMMA, BETA = np.array([1.5, -0.25, 0.0, 3.0]), np.array([0.5, 0.0, -1.0, 2.0])
ASYMMETRIC = Tensor((2, 4), 8, True, 1 / 255, -128)


@pytest.mark.parametrize("output", [U8, ASYMMETRIC, replace(U8, bits=8, scale=0.01)])
def test_a_real_softmax_is_onnx_s_but_for_ties_of_float32(output: Tensor) -> None:
    x = np.random.default_rng(0).integers(-128, 128, (500, 2, 4))
    got = exact.run(check.verify(softmax("real", output)), x)["y"]
    differences = got - evaluated("Softmax", output, x)
    assert np.count_nonzero(differences) <= 1
    assert np.abs(differences).max() <= 1


def test_a_real_layer_norm_is_onnx_s() -> None:
    x = np.random.default_rng(1).integers(-128, 128, (500, 2, 4))
    model = check.verify(norm("real", gamma=GAMMA, beta=BETA))
    wanted = evaluated("LayerNormalization", model.tensors["y"], x, epsilon=1e-5)
    assert np.array_equal(exact.run(model, x)["y"], wanted)


def test_the_fused_softmax_multiplies_by_a_whole_number() -> None:
    """floor(1 / sy) parts from 1 / sy where sy is no reciprocal: sy = 0.0057 gives 175."""
    x = np.random.default_rng(2).integers(-128, 128, (50, 2, 4))
    coarse = replace(U8, scale=0.0057)
    real, fused = (exact.run(softmax(rule, coarse), x)["y"] for rule in ("real", "ort-fused"))
    assert 0 < np.abs(real - fused).max() <= 1
    one, other = (exact.run(softmax(rule), x)["y"] for rule in ("real", "ort-fused"))
    assert np.array_equal(one, other)


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_rms_norm_divides_by_the_root_of_the_mean_square(seed: int) -> None:
    x = np.random.default_rng(seed).integers(-128, 128, (3, 2, 4))
    got = exact.run(check.verify(norm("real", kind="rms")), x)["y"]
    for token, out in zip(x.reshape(-1, 4).tolist(), got.reshape(-1, 4).tolist(), strict=True):
        real = [0.0625 * each for each in token]
        root = math.sqrt(math.fsum(each * each for each in real) / 4 + 1e-5)
        assert out == [min(max(round(32 * each / root), -128), 127) for each in real]


@pytest.mark.parametrize("model", [softmax("ap"), softmax("real"), norm("ap"), norm("real")])
def test_such_a_layer_is_loaded_as_it_was_saved(model: Model, tmp_path: Path) -> None:
    store.save(model, tmp_path / "m.npz")
    again, x = store.load(tmp_path / "m.npz"), np.arange(8).reshape(1, 2, 4)
    assert str(again) == str(model)
    assert again.layers[0].on_host == model.layers[0].on_host
    assert np.array_equal(exact.run(again, x)["y"], exact.run(model, x)["y"])


@pytest.mark.parametrize(
    ("model", "island"),
    [
        (softmax("litert"), "island (softmax, integer rule)"),
        (softmax("real"), "island (softmax, real rule)"),
        (softmax("ort-fused"), "island (softmax, ort-fused rule)"),
        (norm("real"), "island (layer norm, real rule)"),
        (norm("real", kind="rms"), "island (RMS norm, real rule)"),
    ],
)
def test_what_the_host_computes_is_named_with_its_rule(model: Model, island: str) -> None:
    assert model.layers[0].on_host == island


ZERO = normalize.exponential(0.0625, 8) * 0


def in_units(model: Model, scale: float) -> Model:
    """The model with another unit of its output."""
    return model.replace(tensors=model.tensors | {"y": replace(model.tensors["y"], scale=scale)})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (softmax("float"), "a rule of litert, real, ort-fused, ap, ita, got 'float'"),
        (softmax("ap", table=None), "a table for rule ap"),
        (softmax("ap", mask=np.ones((2, 4), int)), "a mask of 0 and 1 with a 0 in each line"),
        (softmax("ap", mask=np.zeros(3, int)), r"a mask that broadcasts to \[2, 4\]"),
        (softmax("real", mask=np.zeros(4, int)), "a mask for rule ap and for no other, got real"),
        (softmax("ita"), r"a factor of ln 2 / 2\*\*k, k up to 32 \(rule ita\), got 0.0625"),
        (softmax("ita", replace(U8, bits=7), factor=math.log(2)), "an output u8"),
        (softmax("ita", factor=math.log(2) / 2**33), r"k up to 32 \(rule ita\), got"),
        (softmax("ita", replace(U8, scale=1.0), factor=math.log(2)), "in units of 1/256, got 1.0"),
        (softmax("ap", replace(U8, scale=1 / 255)), "an output in units of 1/256, got 0.0039"),
        (softmax("real", table=ZERO), "a table for rule ap and for no other"),
        (softmax("ap", table=ZERO), "1 or more at 0, got 0 at 0"),
        (softmax("ap", table=ZERO[:128]), "a table of 256 integers"),
        (softmax("ap", replace(U8, bits=7)), "an output u8"),
        (softmax("real", factor=0.0), "a positive finite factor"),
        (softmax("real", replace(U8, scale=None)), "one scale of the output"),
        (norm("float"), "the rule ap or real"),
        (norm("ap", kind="batch"), "the kind layer or rms"),
        (norm("ap", gamma=GAMMA), "no gamma, beta or epsilon"),
        (in_units(norm("ap"), 0.03), "an output in units of 1/32, got 0.03"),
        (norm("real", gamma=GAMMA[:2]), "4 finite values of gamma and beta"),
        (norm("real", epsilon=0.0), "a positive finite epsilon"),
    ],
)
def test_what_no_softmax_or_norm_can_have_is_refused(model: Model, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check.verify(model)


def test_the_norm_of_the_ap_takes_any_number_of_words() -> None:
    three = Tensor((2, 3), 8, True)
    check.verify(of_one(Normalize(name="n", inputs=("x",), output="y"), three, three))
