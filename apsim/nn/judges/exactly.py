"""The file in float64: what stood before each rounding, had the judge not been in float32.

The rule: only a difference is looked at in this way; a value of float64 differs from the
real one by some 1e-16 of the terms it was summed of, far less than any rule's own rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.reference.ops._quant_utils import reshape_input

from apsim.nn.judges import ort_ops, qonnx_ops
from apsim.nn.judges.reading import Array, Exact, Rounding

__all__ = ["dequantized", "following", "rounding", "widened"]

NARROW = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}
SAME = ("DequantizeLinear", "Identity")


def widened(value: Any) -> Any:
    """Real numbers in float64; anything else as it is."""
    if isinstance(value, np.ndarray | np.generic) and (
        value.dtype.kind == "f" or "float" in str(value.dtype)
    ):
        return np.asarray(value, np.float64)
    return value


def rounding(node: Any, inputs: Sequence[Any]) -> Rounding | None:
    """What a node rounds, where it is one that rounds."""
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "QuantizeLinear" and node.domain in ("", ort_ops.DOMAIN):
        return _linear(inputs, **attributes)
    if node.domain in qonnx_ops.GENERAL and node.op_type in qonnx_ops.ROUNDINGS:
        return qonnx_ops.ROUNDINGS[node.op_type](*inputs, **attributes)
    if node.domain == ort_ops.DOMAIN and node.op_type in ort_ops.ROUNDINGS:
        return ort_ops.ROUNDINGS[node.op_type](*inputs, **attributes)
    return None


def _linear(
    inputs: Sequence[Any], axis: int = 1, block_size: int = 0, output_dtype: int = 0, **_: Any
) -> Rounding:
    x, scale, zero = (*inputs, None)[:3]
    kind = onnx.helper.tensor_dtype_to_np_dtype(output_dtype or onnx.TensorProto.UINT8)
    lo, hi = _ends(zero.dtype if zero is not None else kind)
    step = reshape_input(scale, x.shape, axis, block_size)
    offset = 0 if zero is None else reshape_input(zero, x.shape, axis, block_size)
    steps = x / step + np.asarray(offset, np.float64)
    return Rounding(steps, lambda s: np.clip(np.rint(s), lo, hi))


def _ends(kind: Any) -> tuple[int, int]:
    if str(kind) in NARROW:
        return NARROW[str(kind)]
    info = np.iinfo(kind)
    return int(info.min), int(info.max)


def dequantized(node: Any, inputs: Sequence[Any]) -> Array:
    """scale * (x - zero point) without the evaluator's float32 in between."""
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    x, scale, zero = (*inputs, None)[:3]
    wide = np.asarray(x, np.float64)
    if zero is not None:
        wide = wide - np.asarray(reshape_input(zero, wide.shape, axis, block), np.float64)
    return np.asarray(wide * reshape_input(scale, wide.shape, axis, block))


def following(
    node: Any, inputs: Sequence[Any], own: Rounding | None, found: Mapping[str, Exact], value: Array
) -> Exact:
    """An output of a node; behind a rounding, a clip of the integers belongs to it."""
    before = found.get(node.input[0]) if len(node.input) else None
    if own is not None or before is None or before.rounding is None:
        return Exact(value, own)
    if node.op_type in SAME:
        return Exact(value, before.rounding)
    if node.op_type == "Clip" and value.dtype.kind in "iu" and not node.attribute:
        return Exact(value, _clipped(before.rounding, *inputs[1:]))
    return Exact(value)


def _clipped(before: Rounding, lo: Any = None, hi: Any = None) -> Rounding:
    """The rounding with a clip of its integers behind it."""
    low, high = -np.inf if lo is None else lo, np.inf if hi is None else hi
    return Rounding(before.steps, lambda steps: np.clip(before.finish(steps), low, high))
