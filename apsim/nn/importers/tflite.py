"""TFLite in: int8 and int16x8 networks, requantized as TFLite's reference kernels do.

The rule: TFLite keeps planes as [H, W, C]; here they are [C, H, W].  Tensors that layers
compute keep the file's name in [C, H, W]; the file's inputs and outputs keep its layout.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from apsim.nn.importers import tflite_file
from apsim.nn.importers.builder import PLACEHOLDER
from apsim.nn.importers.graph import blaming
from apsim.nn.importers.onnx import Imported
from apsim.nn.importers.tflite_file import Operator
from apsim.nn.importers.tflite_lowering import Handler, Lowering
from apsim.nn.model import (
    Add,
    AvgPool,
    Concat,
    Conv2d,
    Flatten,
    Linear,
    MaxPool,
    Model,
    Requantize,
    Reshape,
)
from apsim.nn.model.windows import kernel_of

__all__ = ["from_tflite", "read_tflite"]

NO_PADDING = (0, 0, 0, 0)


def from_tflite(path: str | os.PathLike[str], *, rule: str = "tflite") -> Model:
    """Import an int8 or int16x8 TFLite model (extra `tflite`); raises `ModelError`."""
    return read_tflite(path, rule=rule).model


def read_tflite(path: str | os.PathLike[str], *, rule: str = "tflite") -> Imported:
    """Import a TFLite model and say what became of every operator."""
    with blaming(path):
        return Lowering(tflite_file.read(path), rule).run(_HANDLERS)


def _weights(low: Lowering, operator: Operator, order: tuple[int, ...]) -> dict[str, Any]:
    """The fields of a layer with the operator's weights, their axes in the given order."""
    file = low.file.tensors[operator.inputs[1]]
    if file.data is None or file.scale.size == 0:
        raise operator.refuse("weights that are not constant integers", "full integer quantization")
    values = file.data.transpose(order)
    zero = int(file.zero[0])
    if zero != 0:
        values = values.astype(np.int16) - zero
    bits = file.bits if values.min() >= -(1 << (file.bits - 1)) else file.bits + 1
    return {
        "weights": np.ascontiguousarray(values), "weight_bits": bits, "weight_scale": file.scale,
        "bias": np.zeros(len(values), np.int64),
    }  # fmt: skip


def _biased(low: Lowering, operator: Operator, layer: Any) -> Any:
    """The layer with its own bias and the input's zero point in its bias."""
    own = np.zeros(len(layer.weights), np.int64)
    if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
        data = low.file.tensors[operator.inputs[2]].data
        own = own if data is None else data.astype(np.int64)
    zero = low.build.tensors[layer.inputs[0]].zero_point
    sums = layer.weights.reshape(len(layer.weights), -1).sum(axis=1, dtype=np.int64)
    return replace(layer, bias=own - zero * sums)


def _padding(
    operator: Operator, shape: Sequence[int], kernel: tuple[int, int], stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, int, int, int]:  # fmt: skip
    """(top, left, bottom, right): SAME puts the odd one at the end, VALID has none."""
    if operator.options["Padding"] == 1:
        return NO_PADDING
    ends = []
    for axis in (0, 1):
        out = -(-shape[axis] // stride[axis])
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        total = max(0, (out - 1) * stride[axis] + reach - shape[axis])
        ends.append((total // 2, total - total // 2))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def _pair(operator: Operator, high: str, wide: str) -> tuple[int, int]:
    return operator.options[high], operator.options[wide]


def _conv(low: Lowering, operator: Operator) -> None:
    _convolve(low, operator, _weights(low, operator, (0, 3, 1, 2)), groups=1)


def _depthwise(low: Lowering, operator: Operator) -> None:
    channels = low.file.tensors[operator.inputs[0]].shape[3]
    _convolve(low, operator, _weights(low, operator, (3, 0, 1, 2)), groups=channels)


def _convolve(low: Lowering, operator: Operator, fields: dict[str, Any], groups: int) -> None:
    index, extra = low.padded.get(operator.inputs[0], (operator.inputs[0], NO_PADDING))
    name = low.as_planes(index)
    layer = Conv2d(
        name="", inputs=(name,), output="", groups=groups,
        stride=_pair(operator, "StrideH", "StrideW"),
        dilation=_pair(operator, "DilationHFactor", "DilationWFactor"), **fields,
    )  # fmt: skip
    shape = low.file.tensors[operator.inputs[0]].shape[1:3]
    own = _padding(operator, shape, kernel_of(layer), layer.stride, layer.dilation)
    top, left, bottom, right = (a + b for a, b in zip(own, extra, strict=True))
    layer = replace(layer, padding=(top, left, bottom, right))
    low.finish(operator, _biased(low, operator, layer), planes=True)


def _fully_connected(low: Lowering, operator: Operator) -> None:
    if operator.options.get("WeightsFormat", 0):
        raise operator.refuse("shuffled weights", "weights in the default format")
    fields = _weights(low, operator, (0, 1))
    name = low.as_file(operator.inputs[0])
    shape = low.build.tensors[name].shape
    if len(shape) > 1:
        output = f"{name} (flat)"
        flatten = Flatten(name=output, inputs=(name,), output=output)
        flat = replace(low.build.tensors[name], shape=(int(np.prod(shape)),))
        name = low.build.emit(flatten, flat)
    layer = Linear(name="", inputs=(name,), output="", **fields)
    low.finish(operator, _biased(low, operator, layer), planes=False)


def _pool(low: Lowering, operator: Operator, kind: Any) -> None:
    name = low.as_planes(operator.inputs[0])
    kernel = _pair(operator, "FilterHeight", "FilterWidth")
    stride = _pair(operator, "StrideH", "StrideW")
    padding = _padding(operator, low.file.tensors[operator.inputs[0]].shape[1:3], kernel, stride)
    more = {"requant": PLACEHOLDER} if kind is AvgPool else {}
    layer = kind(
        name="", inputs=(name,), output="", kernel=kernel, stride=stride, padding=padding, **more
    )
    if kind is MaxPool and operator.options.get("FusedActivationFunction", 0):
        raise operator.refuse("a maximum with a fused activation", "MAX_POOL_2D without one")
    low.finish(operator, layer, planes=True)


def _add(low: Lowering, operator: Operator) -> None:
    a, b = (low.file.tensors[i] for i in operator.inputs)
    if a.shape != b.shape or a.data is not None or b.data is not None:
        raise operator.refuse(f"an addition of {a.shape} and {b.shape}", "two computed tensors")
    planes = len(a.shape) == 4
    names = [low.as_planes(i) if planes else low.as_file(i) for i in operator.inputs]
    layer = Add(name="", inputs=tuple(names), output="", requant=PLACEHOLDER)
    low.finish(operator, layer, planes)


def _reshape(low: Lowering, operator: Operator) -> None:
    name = low.as_file(operator.inputs[0])
    shape = low.file.tensors[operator.outputs[0]].shape[1:]
    kind = Flatten if len(shape) == 1 else Reshape
    low.finish(operator, kind(name="", inputs=(name,), output=""), planes=False)


def _pad(low: Lowering, operator: Operator) -> None:
    """Zeros around a plane become the padding of the convolution that follows."""
    ends = low.file.tensors[operator.inputs[1]].data
    users = [one.op for one in low.file.operators if operator.outputs[0] in one.inputs]
    if ends is None or ends.shape != (4, 2) or ends[[0, 3]].any():
        raise operator.refuse("padding of other axes than height and width")
    if not all(op in ("CONV_2D", "DEPTHWISE_CONV_2D") for op in users):
        raise operator.refuse(f"padding before {users}", "PAD before a convolution")
    (top, bottom), (left, right) = ends[1], ends[2]
    padding = (int(top), int(left), int(bottom), int(right))
    low.padded[operator.outputs[0]] = (operator.inputs[0], padding)
    low.became[operator.index] = "the padding of the convolution after it"


def _concatenation(low: Lowering, operator: Operator) -> None:
    files = [low.file.tensors[i] for i in (*operator.inputs, *operator.outputs)]
    rank = len(files[0].shape)
    axis = operator.options["Axis"] % rank
    kinds = {
        (float(f.scale[0]), int(f.zero[0])) for f in (*files, low.file.tensors[operator.outputs[0]])
    }
    if len(kinds) > 1 or axis == 0 or operator.options.get("FusedActivationFunction", 0):
        raise operator.refuse("joined tensors of unequal scales, along the batch, or activated",
                              "CONCATENATION of equal scales")  # fmt: skip
    planes = rank == 4
    names = [low.as_planes(i) if planes else low.as_file(i) for i in operator.inputs]
    place = {1: 1, 2: 2, 3: 0}[axis] if planes else axis - 1
    low.finish(operator, Concat(name="", inputs=tuple(names), output="", axis=place), planes)


def _quantize(low: Lowering, operator: Operator) -> None:
    """From one scale to another; from real numbers only at the very beginning."""
    planes = operator.inputs[0] in low.planes
    name = low.as_planes(operator.inputs[0]) if planes else low.as_file(operator.inputs[0])
    layer = Requantize(name="", inputs=(name,), output="", requant=PLACEHOLDER)
    low.finish(operator, layer, planes)


def _last_only(low: Lowering, operator: Operator) -> None:
    """Softmax and Dequantize at the very end stay with the host."""
    if operator.outputs[0] not in low.file.outputs:
        raise operator.refuse("a real function inside the network", "RELU or MAX_POOL_2D")
    low.became[operator.index] = "left to the host: the model ends with this operator's input"
    low.flat[operator.outputs[0]] = low.as_file(operator.inputs[0])


_HANDLERS: dict[str, Handler] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "AVERAGE_POOL_2D": lambda low, operator: _pool(low, operator, AvgPool),
    "MAX_POOL_2D": lambda low, operator: _pool(low, operator, MaxPool),
    "ADD": _add,
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "PAD": _pad,
    "CONCATENATION": _concatenation,
    "QUANTIZE": _quantize,
    "SOFTMAX": _last_only,
    "DEQUANTIZE": _last_only,
}
