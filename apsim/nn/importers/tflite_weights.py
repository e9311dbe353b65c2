"""Weights and biases of TFLite's operators, as the fields of integer layers.

The rule: what LiteRT's kernels would not read as the file says is refused by name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from apsim.nn.importers.graph import Array
from apsim.nn.importers.tflite_file import Operator, TfliteTensor
from apsim.nn.importers.tflite_lowering import (
    Lowering,
)
from apsim.nn.model import Tensor
from apsim.nn.model.words import holding

__all__ = ["biased", "require_width", "weights_of"]

WIDE_SUMS = 48  # bits that the kernels' rounding of 64-bit sums takes


def weights_of(
    low: Lowering, operator: Operator, order: tuple[int, ...], channel: int
) -> dict[str, Any]:  # fmt: skip
    """The fields of a layer with the operator's weights, their axes in the given order.

    Less their zero point, weights without sign take a bit more.
    """
    file = low.file.tensors[operator.inputs[1]]
    if file.data is None or file.scale.size == 0:
        raise operator.refuse("weights that are not constant integers", "full integer quantization")
    if file.type not in ("int8", "uint8", "int4"):
        raise operator.refuse(f"weights of type {file.type}", "int8, uint8 or int4")
    if file.data.ndim != len(order):
        raise operator.refuse(f"weights of {file.data.ndim} axes", f"{len(order)} axes")
    values = file.data.transpose(order)
    _require_scales(operator, file, channel, len(values))
    if file.zero.any():
        values = values.astype(np.int16) - np.int16(file.zero[0])
    bits = max(file.bits, holding(min(int(values.min()), -1), int(values.max())).bits)
    return {
        "weights": np.ascontiguousarray(values), "weight_bits": bits, "weight_scale": file.scale,
        "bias": np.zeros(len(values), np.int64),
    }  # fmt: skip


def _require_scales(operator: Operator, file: TfliteTensor, channel: int, outputs: int) -> None:
    """One scale, or one for each output along the axis of outputs; signed ones without zero."""
    if file.scale.size not in (1, outputs):
        raise operator.refuse(f"{file.scale.size} weight scales for {outputs} outputs")
    if file.scale.size > 1 and file.axis != channel:
        raise operator.refuse(f"weight scales along axis {file.axis}", f"along axis {channel}")
    dense = operator.op == "FULLY_CONNECTED" and file.scale.size == 1
    if file.zero.any() and not (dense or file.type == "uint8"):
        raise operator.refuse(
            "signed weights with a zero point, which TFLite's kernels do not read"
        )


def _bias(low: Lowering, operator: Operator, place: int, outputs: int, wide: bool) -> Array:
    """The biases, zeros where the operator has none; they are in the sum's own unit."""
    index = operator.inputs[place] if place < len(operator.inputs) else -1
    if index < 0:
        return np.zeros(outputs, np.int64)
    file = low.file.tensors[index]
    kind = "int64" if wide and not _keeps_32_bits(operator) else "int32"
    if file.type != kind:
        marked = wide and file.type in ("int32", "int64")
        beside = f" where QuantizedBiasType is {operator.option('QuantizedBiasType')}" * marked
        raise operator.refuse(f"a bias of type {file.type}{beside}", kind)
    values = low.constant(operator, place)
    if values.shape != (outputs,):
        raise operator.refuse(f"biases {list(values.shape)}", f"[{outputs}]")
    return values.astype(np.int64)


def _keeps_32_bits(operator: Operator) -> bool:
    """Whether sums of 16-bit words are kept in 32 bits: the operator's option says so."""
    kind = operator.option("QuantizedBiasType")
    if kind not in (0, 2, 4):  # of tensors: none, int32, int64
        raise operator.refuse(f"QuantizedBiasType {kind} for 16-bit words", "0, 2 or 4")
    return kind == 2


def biased(low: Lowering, operator: Operator, layer: Any, place: int = 2) -> Any:
    """The layer with its own bias and the input's zero point in its bias."""
    x = low.tensors[layer.inputs[0]]
    own = _bias(low, operator, place, len(layer.weights), x.bits == 16)
    sums = layer.weights.reshape(len(layer.weights), -1).sum(axis=1, dtype=np.int64)
    index = operator.inputs[place] if place < len(operator.inputs) else -1
    if index < 0 and x.bits == 16 and operator.op == "CONV_2D":
        raise operator.refuse("16-bit words without a bias, which TFLite's kernels do not take")
    if index >= 0:
        _require_unit(low, operator, layer, low.file.tensors[index])
    narrow = x.bits == 16 and _keeps_32_bits(operator)
    narrow = narrow and operator.op != "FULLY_CONNECTED"  # which rounds alike for both
    require_width(operator, layer, x, own, WIDE_SUMS if x.bits == 16 and not narrow else 32)
    return replace(layer, bias=own - x.zero_point * sums, sum_bits=32 if narrow else 0)


def require_width(operator: Operator, layer: Any, x: Tensor, own: Array, bits: int) -> None:
    """Sums that leave the kernels' accumulators wrap there, or are rounded to anything."""
    weights = layer.weights.reshape(len(layer.weights), -1).astype(np.int64)
    above, below = np.maximum(weights, 0).sum(axis=1), np.minimum(weights, 0).sum(axis=1)
    least, most = x.lo - x.zero_point, x.hi - x.zero_point
    bias = own.astype(object)  # which does not wrap
    low, high = min(above * least + below * most + bias), max(above * most + below * least + bias)
    needed = 1 + max(int(high).bit_length(), (-int(low) - 1).bit_length() if low < 0 else 0)
    if needed > bits:
        raise operator.refuse(f"sums of up to {needed} bits, of which TFLite's kernels keep {bits}",
                              "smaller biases")  # fmt: skip


def _require_unit(low: Lowering, operator: Operator, layer: Any, bias: TfliteTensor) -> None:
    """A bias counts in steps of the sums; where TFLite looks, its own scale is not far off."""
    scale, given = layer.weight_scale, low.tensors[layer.inputs[0]]
    looked_at = operator.op == "FULLY_CONNECTED" or not given.signed
    if not looked_at or scale.size > 1 or bias.scale.size != 1:
        return
    x, y = given.scale, low.quantized(operator.outputs[0]).scale
    assert isinstance(x, float) and isinstance(y, float)
    if abs(x * float(scale[0]) - float(bias.scale[0])) > 0.02 * y:
        raise operator.refuse(f"a bias in steps of {bias.scale[0]:.4g} for sums in steps of "
                              f"{x * float(scale[0]):.4g}", "equal steps")  # fmt: skip
