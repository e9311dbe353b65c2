"""Real functions between DEQUANTIZE (or CAST) and QUANTIZE: what they make of every word.

The rule: one tensor of words goes in, constants beside it; each step is LiteRT's float32
kernel's, on all words, so that what QUANTIZE gives of it is a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.errors import ModelError
from apsim.nn import rules
from apsim.nn.importers.graph import Array
from apsim.nn.importers.tflite_file import Operator
from apsim.nn.importers.tflite_lowering import Lowering
from apsim.nn.importers.tflite_words import table
from apsim.nn.rules import c_library, litert_tables
from apsim.nn.rules.litert import away, words_of

__all__ = ["Curve", "curve_of", "quantized"]

Reals = npt.NDArray[np.float32]
MOST_TABLES = 256  # of one tensor: a constant of its own for each channel makes so many
SIX, ZERO, ONE = (np.float32(n) for n in (6, 0, 1))


@dataclass(frozen=True, eq=False)
class Curve:
    """Real numbers that are a function of a word of tensor `source`.

    `values` [tables, 2 ** bits] are those of all words in ascending order; `which` broadcasts
    to the tensor's shape in the file and says which table a place has.
    """

    source: int
    values: Reals
    which: Array


def _logistic(x: Reals) -> Reals:
    """With LiteRT's own ends."""
    exp = c_library.function("expf")
    inner = ONE / (ONE + exp(-x))
    low = np.where(x < np.float32(-9), exp(np.minimum(x, np.float32(-9))), inner)
    return np.where(x > np.float32(16.619047164916992), ONE, low).astype(np.float32)


def _between(lo: float, hi: float) -> Callable[[Reals], Reals]:
    return lambda x: np.clip(x, np.float32(lo), np.float32(hi))


def _hard_swish(x: Reals) -> Reals:
    return np.asarray(x * np.minimum(SIX, np.maximum(ZERO, x + np.float32(3))) / SIX, np.float32)


def _inverse_root(x: Reals) -> Reals:
    return np.asarray(ONE / np.sqrt(x), np.float32)


FUSED = (lambda x: x, _between(0, np.inf), _between(-1, 1), _between(0, 6))
UNARY: dict[str, Callable[[Reals], Reals]] = {
    "LOGISTIC": _logistic, "TANH": c_library.function("tanhf"), "RELU": FUSED[1],
    "RELU_N1_TO_1": FUSED[2], "RELU6": FUSED[3], "RELU_0_TO_1": _between(0, 1), "ABS": np.abs,
    "NEG": np.negative, "SQRT": np.sqrt, "RSQRT": _inverse_root, "SQUARE": np.square,
    "EXP": c_library.function("expf"), "LOG": c_library.function("logf"),
    "ELU": litert_tables.REAL["ELU"], "HARD_SWISH": _hard_swish, "FLOOR": np.floor,
    "CEIL": np.ceil, "ROUND": np.rint,
}  # fmt: skip
BINARY: dict[str, Callable[[Reals, Reals], Reals]] = {
    "ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": np.divide,
    "MAXIMUM": np.maximum, "MINIMUM": np.minimum,
    "SQUARED_DIFFERENCE": lambda a, b: np.square(a - b),
    "PRELU": lambda x, slope: np.where(x >= 0, x, x * slope),
}  # fmt: skip


def curve_of(low: Lowering, operator: Operator) -> Curve | None:
    """What an operator makes of every word, None where it is no such function."""
    given = [_taken(low, index) for index in operator.inputs]
    if operator.op == "CAST":
        return _of_integers(low, operator)
    sources = {one.source for one in given if isinstance(one, Curve)}
    if any(one is None for one in given) or len(sources) != 1:
        return None
    with np.errstate(all="ignore"):
        made = _applied(low, operator, given)
    shape = low.file.tensors[operator.outputs[0]].shape
    if made is None or low.file.tensors[sources.pop()].shape != shape:
        return None
    return made


def _of_integers(low: Lowering, operator: Operator) -> Curve | None:
    """CAST to float32 takes the integers as they are."""
    index = operator.inputs[0]
    if low.file.tensors[operator.outputs[0]].type != "float32" or low.file.tensors[index].real:
        return None
    x = low.kind(index, ())
    if x.bits > 16:
        return None
    words = np.arange(x.lo, x.hi + 1, dtype=np.float32)
    return Curve(index, words[None], np.zeros((), np.int64))


def _taken(low: Lowering, index: int) -> Curve | Reals | None:
    """An input as a curve, or as a constant."""
    if index in low.constants:
        values = low.constants[index]
        return values if values.dtype == np.float32 else None
    if index in low.curves:
        curve: Curve = low.curves[index]
        return curve
    if index not in low.means or index in low.left or index in low.entering:
        return None
    x = low.quantized(index)
    if x.bits > 16:
        return None
    reals = np.float32(rules.one_scale(x)) * words_of(x).astype(np.float32)
    return Curve(low.stood.get(index, index), reals[None], np.zeros((), np.int64))


def _applied(low: Lowering, operator: Operator, given: list[Any]) -> Curve | None:
    if operator.op == "LEAKY_RELU":
        alpha = np.float32(operator.options.get("Alpha", 0.0))
        values = np.where(given[0].values > 0, given[0].values, given[0].values * alpha)
        return Curve(given[0].source, values, given[0].which)
    if operator.op == "GELU":
        name = "GELU_TANH" if operator.option("Approximate") else "GELU"
        return Curve(given[0].source, litert_tables.REAL[name](given[0].values), given[0].which)
    if operator.op in UNARY:
        values = UNARY[operator.op](given[0].values)
        return Curve(given[0].source, np.asarray(values, np.float32), given[0].which)
    fused = operator.option("FusedActivationFunction")
    if operator.op not in BINARY or fused not in range(len(FUSED)):
        return None
    found = _together(BINARY[operator.op], *given)
    return found and Curve(found.source, FUSED[fused](found.values), found.which)


def _together(function: Callable[[Reals, Reals], Reals], a: Any, b: Any) -> Curve | None:
    """A curve beside a constant, or beside one of the same words: a table for each pair."""
    numbers, tables = [], []
    for one in (a, b):
        if isinstance(one, Curve):
            numbers.append(one.which)
            tables.append(one.values)
        else:
            own, which = np.unique(one, return_inverse=True)
            numbers.append(which.reshape(one.shape))
            tables.append(own[:, None])
    try:
        first, second = np.broadcast_arrays(*numbers)
    except ValueError:
        return None
    pairs, which = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1, return_inverse=True)
    if pairs.shape[1] > MOST_TABLES:
        return None
    values = function(tables[0][pairs[0]], tables[1][pairs[1]]).astype(np.float32)
    source = (a if isinstance(a, Curve) else b).source
    return Curve(source, values, which.reshape(first.shape))


def quantized(low: Lowering, operator: Operator, curve: Curve) -> None:
    """QUANTIZE of a curve: away(f(v / sy)) + zy of every word.

    Raises `ModelError` for a word that gives no number, or one beyond 32 bits.
    """
    y = low.quantized(operator.outputs[0], "int8", "uint8", "int16")
    x = low.kind(curve.source, ())
    with np.errstate(over="ignore"):
        steps = curve.values / np.float32(rules.one_scale(y))
    wrong = ~(np.abs(steps) < np.float32(1 << 31))
    if wrong.any():
        at = tuple(int(n) for n in np.argwhere(wrong)[0])
        raise ModelError(f"a real function that gives {curve.values[at]} at the word "
                         f"{at[1] + x.lo}, of which TFLite's kernel makes no integer")  # fmt: skip
    values = np.clip(away(steps) + y.zero_point, y.lo, y.hi)
    shape = low.file.tensors[operator.outputs[0]].shape
    which = np.broadcast_to(curve.which, shape) if len(values) > 1 else None
    table(low, operator, values, which, source=curve.source, function="a real function")
