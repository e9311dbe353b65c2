"""Golden integers of LiteRT, and those that tell float32 products of scales from float64 ones.

The rule: each record is put into a model file and imported, so that what is judged is what
a user gets.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("tflite")
pytest.importorskip("flatbuffers")

from apsim.nn import exact, importers
from apsim.nn.model import Tensor
from apsim.nn.rules import litert, litert_tables
from tests.helpers.tflite_models import TensorSpec, TfliteCase
from tests.helpers.tflite_operators import case, ints

Array = NDArray[Any]
Record = dict[str, Any]


@pytest.fixture(scope="module")
def golden(models_dir: Path) -> Path:
    folder = models_dir.parent / "design" / "golden"
    if not (folder / "litert.npz").is_file():
        pytest.skip(f"no golden files at {folder}")
    return folder


def integers(one: TfliteCase, folder: Path) -> Array:
    path = folder / "golden.tflite"
    path.write_bytes(one.content)
    model = importers.read(path).model
    return exact.run(model, dict(zip(model.inputs, one.inputs, strict=True)))[model.output].ravel()


def spec(name: str, values: Array, scale: float, zero: float, constant: bool = False) -> TensorSpec:
    data = values if constant else None
    return TensorSpec(name, values.shape, str(values.dtype), [float(scale)], [int(zero)], data)


def output(values: Array, scale: float, zero: float = 0) -> TensorSpec:
    return spec("y", values, scale, zero)


UNARY = (
    "LOGISTIC int8", "TANH int8", "GELU int8", "GELU approx int8", "EXP int8", "LOGISTIC uint8",
    "TANH uint8", "HARD_SWISH int8", "LEAKY_RELU int8", "LEAKY_RELU int16", "RSQRT int8",
    "LOGISTIC int16", "TANH int16",
)  # fmt: skip


@pytest.mark.parametrize("rule", UNARY)
def test_a_table_holds_litert_s_own_values(golden: Path, rule: str) -> None:
    with np.load(golden / "litert.npz") as file:
        x, y, par = (file[f"{rule}/{part}"] for part in ("x", "y", "par"))
    par = np.array([par[0], 0, 2.0**-15, 0]) if par.size == 1 else par
    bits, signed = x.dtype.itemsize * 8, x.dtype.kind == "i"
    given, made = (
        Tensor(x.shape, bits, signed, float(par[i]), int(par[i + 1])) for i in (0, 2)
    )  # fmt: skip
    op = "GELU_TANH" if "approx" in rule else rule.split()[0]
    values = litert_tables.table_of(op, given, made, float(par[4]) if par.size > 4 else 0.0)
    assert np.array_equal(values[x.astype(np.int64) - given.lo], y)


def test_the_sigmoid_table_is_the_one_that_was_read_out(golden: Path) -> None:
    with np.load(golden / "litert.npz") as file:
        assert np.array_equal(file["sigmoid_table"], litert_tables.SIGMOID)


@pytest.mark.parametrize("rule", ["SOFTMAX int8->int8", "SOFTMAX int8->int16", "SOFTMAX int16"])
def test_softmax_is_litert_s(golden: Path, rule: str) -> None:
    with np.load(golden / "litert.npz") as file:
        x, y, par = (file[f"{rule}/{part}"] for part in ("x", "y", "par"))
    made = Tensor(y.shape[1:], y.dtype.itemsize * 8, True, 1.0)
    values = litert.softmax(x.astype(np.int64), float(par[0] * par[1]), made, x.dtype.itemsize * 8)
    assert np.array_equal(values, y)


def of_layer(rule: str, get: Any) -> TfliteCase:
    """The model file of a golden record of an operator with two operands, or weights."""
    op, par, y = rule.split()[0], get("par"), get("y")
    fused: dict[str, Any] = {"FusedActivationFunction": 0}
    if op == "PRELU":
        x, a = get("x"), get("a")
        specs = [spec("x", x, *par[:2]), spec("a", a, *par[2:4], True), output(y, *par[4:6])]
        return case(op, specs, 1, "", {}, 1, [x])
    if op == "MEAN":
        x = get("x")
        specs = [spec("x", x, *par[:2]), ints("axes", [1, 2]), output(y, *par[2:4])]
        return case(op, specs, 1, "ReducerOptions", {"KeepDims": True}, 2, [x])
    first = "x" if op in ("MUL", "SUB") else "a"
    a, b = get(first), get("w" if op in ("MUL", "SUB") else "b")
    specs = [spec("a", a, *par[:2]), spec("b", b, *par[2:4]), output(y, *par[4:6])]
    kind = {"MUL": "MulOptions", "SUB": "SubOptions", "CONCAT": "ConcatenationOptions",
            "BATCH_MATMUL": "BatchMatMulOptions", "FULLY_CONNECTED": "FullyConnectedOptions",
            "SQUARED_DIFFERENCE": ""}[op]  # fmt: skip
    if op == "BATCH_MATMUL":
        fused = {"AdjX": False, "AdjY": bool(par[6])}
    if op == "CONCAT":
        op, fused = "CONCATENATION", fused | {"Axis": 3}
    if op == "SUB":
        fused |= {"PotScaleInt16": False}
    return case(op, specs, 1, kind, fused if kind else {}, 2, [a, b])


LAYERS = (
    "PRELU int8", "MUL int8", "MUL int16", "MUL uint8", "SUB int8", "SUB int16", "MEAN int8",
    "BATCH_MATMUL int8", "BATCH_MATMUL int16", "FULLY_CONNECTED two activations",
    "CONCAT unequal uint8", "SQUARED_DIFFERENCE int8",
)  # fmt: skip


@pytest.mark.parametrize("rule", LAYERS)
def test_a_layer_gives_litert_s_integers(golden: Path, tmp_path: Path, rule: str) -> None:
    with np.load(golden / "litert.npz") as file:
        one = of_layer(rule, lambda part: file[f"{rule}/{part}"])
        assert np.array_equal(integers(one, tmp_path), file[f"{rule}/y"].ravel())


WEIGHTED = (
    "CONV_2D uint8", "CONV 16x8 bias int32", "CONV 16x8 bias int64", "FC 16x8 bias int32",
    "FC 16x8 bias int64",
)  # fmt: skip


@pytest.mark.parametrize("rule", WEIGHTED)
def test_a_layer_with_weights_gives_litert_s_integers(
    golden: Path, tmp_path: Path, rule: str
) -> None:
    with np.load(golden / "litert.npz") as file:
        x, w, b, y, par = (file[f"{rule}/{part}"] for part in ("x", "w", "b", "y", "par"))
    conv, wide = rule.startswith("CONV"), x.dtype == np.int16
    if wide:
        scales, zeros = par[1:-1], (0, 0, 0)
    else:
        scales, zeros = par[2:3], (int(par[1]), int(par[3]), int(par[5]))
    own = TensorSpec(
        "w", w.shape, str(w.dtype), list(map(float, scales)), [zeros[1]] * len(scales), w
    )
    sums = [float(np.float32(par[0]) * np.float32(s)) for s in scales]
    bias = TensorSpec("b", b.shape, str(b.dtype), sums, [0] * len(sums), b)
    last = par[-1] if wide else par[4]
    specs = [spec("x", x, par[0], zeros[0]), own, bias, output(y, last, zeros[2])]
    options: dict[str, Any] = {"FusedActivationFunction": 0}
    if b.dtype == np.int32 and wide:
        options["QuantizedBiasType"] = 2
    if conv:
        options |= {"Padding": 1, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1,
                    "DilationWFactor": 1}  # fmt: skip
    kind = "Conv2DOptions" if conv else "FullyConnectedOptions"
    one = case("CONV_2D" if conv else "FULLY_CONNECTED", specs, 1, kind, options, 8, [x])
    assert np.array_equal(integers(one, tmp_path), y.ravel())


def with_teeth(record: Record) -> TfliteCase:
    """The model file of a record: sums come in through the bias, with x at its zero point."""
    op, kind = record["op"].rsplit(" ", 1)
    scales, zeros, y = record["scales"], record["zeros"], np.array(record["y"], kind)
    if "acc" in record:
        return _of_sums(op, kind, scales, zeros, np.array(record["acc"], np.int32))
    if op in ("MUL", "BATCH_MATMUL"):
        a, b = (np.array(record[part], kind)[:, None, None] for part in ("a", "b"))
        a, b = (v if op == "MUL" else v[None, ...] for v in (a, b))
        kinds = {"MUL": "MulOptions", "BATCH_MATMUL": "BatchMatMulOptions"}
        specs = [spec("a", a, scales[0], zeros[0]), spec("b", b, scales[1], zeros[1]),
                 output(np.broadcast_to(a, np.broadcast_shapes(a.shape, b.shape)), scales[2],
                        zeros[2])]  # fmt: skip
        return case(op, specs, 1, kinds[op], {}, 2, [a, b])
    x = np.array(record["x"], kind)
    x = x[None, None, None] if op == "MEAN" else x[None]
    specs = [spec("x", x, scales[0], zeros[0])] + [ints("axes", [1, 2])] * (op == "MEAN")
    specs.append(output(y.reshape(x.shape), scales[1], zeros[1]))
    kinds = {"MEAN": ("ReducerOptions", {"KeepDims": True}), "QUANTIZE": ("QuantizeOptions", {}),
             "LEAKY_RELU": ("LeakyReluOptions", {"Alpha": 0.1})}  # fmt: skip
    return case(op, specs, 1, *kinds[op], 2, [x])


def _of_sums(
    op: str, kind: str, scales: list[float], zeros: list[int], sums: NDArray[np.int32]
) -> TfliteCase:  # fmt: skip
    outs, dense = len(sums), op == "FULLY_CONNECTED"
    x = np.full((1, 1) if dense else (1, 1, 1, 1), zeros[0], kind)
    w = np.full((outs, 1) if dense else (outs, 1, 1, 1), zeros[1] if kind == "uint8" else 1, kind)
    one = dense or kind == "uint8"  # scale
    own = TensorSpec("w", w.shape, kind, scales[1:2] * (1 if one else outs),
                     [zeros[1]] * (1 if one else outs), w)  # fmt: skip
    unit = float(np.float32(scales[0]) * np.float32(scales[1]))
    bias = TensorSpec("b", (outs,), "int32", [unit], [0], sums)
    y = output(np.zeros((*x.shape[:-1], outs), kind), scales[2], zeros[2])
    options: dict[str, Any] = {"FusedActivationFunction": 0}
    if not dense:
        options |= {"Padding": 1, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1,
                    "DilationWFactor": 1}  # fmt: skip
    specs = [spec("x", x, scales[0], zeros[0]), own, bias, y]
    return case(
        op, specs, 1, "FullyConnectedOptions" if dense else "Conv2DOptions", options, 4, [x]
    )


def test_products_of_scales_are_rounded_where_litert_rounds_them(
    golden: Path, tmp_path: Path
) -> None:
    """Every record has sums or words for which the other product gives another integer."""
    records = json.loads((golden / "teeth.json").read_text())
    assert len(records) > 150
    for record in records:
        assert integers(with_teeth(record), tmp_path).tolist() == record["y"], record
