"""Constants that a TFLite file computes: shapes, and real numbers that it quantizes itself.

The rule: only plain integers (no scale) and float32 constants on their way to a QUANTIZE are
folded, by numpy in the operator's own type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from apsim.nn.importers.graph import Array
from apsim.nn.importers.tflite_file import Operator, TfliteTensor
from apsim.nn.importers.tflite_lowering import Lowering
from apsim.nn.rules.litert import away

__all__ = ["folded", "same_words"]

Fold = Callable[..., Any]
DIVISIONS = ("DIV", "FLOOR_DIV", "FLOOR_MOD")  # of plain integers, by what is not 0
BOUNDS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


def _axes(axes: Array) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.ravel(axes))


def _concatenated(low: Lowering, operator: Operator) -> Fold:
    return lambda *x: np.concatenate(x, operator.option("Axis"))


def _reduced(function: Any) -> Callable[[Lowering, Operator], Fold]:
    def make(low: Lowering, operator: Operator) -> Fold:
        keep = bool(operator.option("KeepDims"))
        return lambda x, axes: function(x, axis=_axes(axes), keepdims=keep)

    return make


def _plain(function: Fold) -> Callable[[Lowering, Operator], Fold]:
    return lambda low, operator: function


def _divided(a: Array, b: Array) -> Array:
    """DIV truncates."""
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))


FOLDS: dict[str, Callable[[Lowering, Operator], Fold]] = {
    "ADD": _plain(np.add), "SUB": _plain(np.subtract), "MUL": _plain(np.multiply),
    "DIV": _plain(_divided), "FLOOR_DIV": _plain(np.floor_divide), "FLOOR_MOD": _plain(np.mod),
    "MAXIMUM": _plain(np.maximum), "MINIMUM": _plain(np.minimum), "NEG": _plain(np.negative),
    "ABS": _plain(np.abs), "SQUARE": _plain(np.square), "EQUAL": _plain(np.equal),
    "NOT_EQUAL": _plain(np.not_equal), "LESS": _plain(np.less), "GREATER": _plain(np.greater),
    "LESS_EQUAL": _plain(np.less_equal), "GREATER_EQUAL": _plain(np.greater_equal),
    "LOGICAL_AND": _plain(np.logical_and), "LOGICAL_OR": _plain(np.logical_or),
    "LOGICAL_NOT": _plain(np.logical_not), "REDUCE_PROD": _reduced(np.prod),
    "REDUCE_MAX": _reduced(np.max), "REDUCE_MIN": _reduced(np.min), "SUM": _reduced(np.sum),
    "CONCATENATION": _concatenated, "FILL": _plain(lambda dims, value: np.full(dims, value)),
    "RANGE": _plain(lambda a, b, step: np.arange(a, b, step)), "CAST": _plain(lambda x: x),
    "ZEROS_LIKE": _plain(np.zeros_like), "SELECT_V2": _plain(np.where),
    "BROADCAST_ARGS": _plain(lambda a, b: np.broadcast_shapes(tuple(a), tuple(b))),
}  # fmt: skip


def folded(low: Lowering, operator: Operator) -> bool:
    """Make the operator's output a constant, where it is one; says whether it did."""
    tensors = [low.file.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
    if operator.op == "RANK":
        _note(low, operator, np.array(len(tensors[0].shape)))
        return True
    if not operator.inputs or any(i not in low.constants for i in operator.inputs):
        return False
    values = [low.constants[i] for i in operator.inputs]
    if operator.op in ("QUANTIZE", "DEQUANTIZE"):
        return _of_reals(low, operator, tensors[0], tensors[1], values[0])
    plain = not any(one.real or one.scale.size for one in tensors)
    filled = operator.op == "FILL" and same_words(tensors[1], tensors[2])
    fused = operator.option("FusedActivationFunction")  # which no fold honours
    if operator.op not in FOLDS or fused or not (plain or filled):
        return False
    if operator.op in DIVISIONS and not np.all(values[1]):
        return False
    _note(low, operator, FOLDS[operator.op](low, operator)(*values))
    return True


def same_words(one: TfliteTensor, other: TfliteTensor) -> bool:
    """Whether integers mean the same in two tensors."""
    return (one.type, one.scale.tolist(), one.zero.tolist()) == (
        other.type, other.scale.tolist(), other.zero.tolist(),
    )  # fmt: skip


def _of_reals(
    low: Lowering, operator: Operator, x: TfliteTensor, y: TfliteTensor, values: Array
) -> bool:  # fmt: skip
    """QUANTIZE of a float32 constant; DEQUANTIZE of one that QUANTIZE alone takes."""
    if operator.op == "QUANTIZE":
        if not x.real or y.type not in BOUNDS or y.scale.size != 1:
            return False
        steps = away(values.astype(np.float32) / np.float32(y.scale[0])) + int(y.zero[0])
        _note(low, operator, np.clip(steps, *BOUNDS[y.type]))
        return True
    users = [one for one in low.file.operators if operator.outputs[0] in one.inputs]
    if not users or any(one.op != "QUANTIZE" for one in users):
        return False
    if not x.real:
        if x.scale.size != 1:
            return False
        values = np.float32(x.scale[0]) * (values.astype(np.int64) - int(x.zero[0]))
    _note(low, operator, values.astype(np.float32))
    return True


def _note(low: Lowering, operator: Operator, value: Any) -> None:
    index = operator.outputs[0]
    kind = low.file.tensors[index].type
    low.constants[index] = np.asarray(value).astype("u1" if kind == "bool" else np.dtype(kind))
    low.became[operator.index] = "constant"
