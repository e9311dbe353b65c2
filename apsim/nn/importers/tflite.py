"""TFLite in: quantized networks, requantized as TFLite's reference kernels do.

The rule: TFLite keeps planes as [H, W, C]; here they are [C, H, W].  Tensors that layers
compute keep the file's name in [C, H, W]; the file's inputs and outputs keep its layout.
Layers with sums are read here; moves, functions of words and states have modules of their own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from apsim.errors import ModelError
from apsim.nn.importers import (
    tflite_borders,
    tflite_file,
    tflite_moves,
    tflite_recurrent,
    tflite_state,
    tflite_words,
)
from apsim.nn.importers.graph import Array, blaming
from apsim.nn.importers.onnx import Imported
from apsim.nn.importers.tflite_file import Operator, TfliteGraph
from apsim.nn.importers.tflite_lowering import (
    PLACEHOLDER,
    Handler,
    Lowering,
    Spaced,
    activation,
    batches_of,
)
from apsim.nn.importers.tflite_weights import biased, weights_of
from apsim.nn.model import AvgPool, Concat, Conv2d, Linear, MatMul, MaxPool, Model, Sum
from apsim.nn.model.windows import kernel_of, plane

__all__ = ["HANDLERS", "from_tflite", "read_tflite"]

NO_PADDING = (0, 0, 0, 0)
EIGHT, WORDS = ("int8", "uint8"), ("int8", "uint8", "int16")


def from_tflite(path: str | os.PathLike[str], *, rule: str = "tflite") -> Model:
    """Import a quantized TFLite model (extra `tflite`); raises `ModelError`."""
    return read_tflite(path, rule=rule).model


def read_tflite(path: str | os.PathLike[str], *, rule: str = "tflite") -> Imported:
    """Import a TFLite model and say what became of every operator.

    Raises `Blocked`, a `ModelError` with all operators that cannot be imported.
    """
    with blaming(path):
        return _lowered(tflite_file.read(path), rule)


def _lowered(file: TfliteGraph, rule: str) -> Imported:
    """The network of a file: one image of its batch, or all of them where they meet."""
    refusals: list[ModelError] = []
    for batch in batches_of(file):
        low = Lowering(file, rule, batch)
        tflite_borders.prepare(low)
        try:
            return low.run(HANDLERS, tflite_borders.left, tflite_state.states)
        except ModelError as refusal:
            refusals.append(refusal)
    raise min(refusals, key=lambda one: len(getattr(one, "blockers", ())))


def _require_words(low: Lowering, operator: Operator, *indices: int) -> None:
    """Activations of one type, and 16-bit ones without a zero point, as the kernels want them."""
    kinds = [low.quantized(i, *WORDS) for i in indices]
    if len({(kind.bits, kind.signed) for kind in kinds}) > 1:
        raise operator.refuse("inputs and outputs of different types")
    if kinds[0].bits == 16 and any(kind.zero_point for kind in kinds):
        raise operator.refuse("a zero point of 16-bit words", "zero point 0")


def _padding(
    operator: Operator, shape: Sequence[int], kernel: tuple[int, int], stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, int, int, int]:  # fmt: skip
    """(top, left, bottom, right): SAME puts the odd one at the end, VALID has none."""
    if min(*stride, *dilation) < 1:
        raise operator.refuse(f"strides {stride} and dilations {dilation}", "1 or more")
    if operator.option("Padding") == 1:
        return NO_PADDING
    ends = []
    for axis in (0, 1):
        out = -(-shape[axis] // stride[axis])
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        total = max(0, (out - 1) * stride[axis] + reach - shape[axis])
        ends.append((total // 2, total - total // 2))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def _pair(operator: Operator, high: str, wide: str) -> tuple[int, int]:
    return operator.option(high), operator.option(wide)


def _conv(low: Lowering, operator: Operator) -> None:
    fields = weights_of(low, operator, (0, 3, 1, 2), 0)
    each, channels = fields["weights"].shape[1], low.file.tensors[operator.inputs[0]].shape[-1]
    if not each or channels % each:
        raise operator.refuse(f"weights for {each} channels of {channels}")
    _convolve(low, operator, fields, groups=channels // each)


def _depthwise(low: Lowering, operator: Operator) -> None:
    channels = low.file.tensors[operator.inputs[0]].shape[-1]
    _convolve(low, operator, weights_of(low, operator, (3, 0, 1, 2), 3), groups=channels)


def _convolve(low: Lowering, operator: Operator, fields: dict[str, Any], groups: int) -> None:
    _require_words(low, operator, operator.inputs[0], operator.outputs[0])
    if operator.inputs[0] in low.spaced:
        _convolve_spaced(low, operator, fields, groups)
        return
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
    low.finish(operator, biased(low, operator, layer), planes=True)


def _convolve_spaced(
    low: Lowering, operator: Operator, fields: dict[str, Any], groups: int
) -> None:  # fmt: skip
    """A convolution of every n-th row and column by themselves: one that is dilated by n."""
    cut = low.spaced[operator.inputs[0]]
    plain = [*_pair(operator, "StrideH", "StrideW"),
             *_pair(operator, "DilationHFactor", "DilationWFactor")]  # fmt: skip
    if set(plain) != {1} or operator.option("Padding") != 1 or cut.whole:
        raise operator.refuse("a strided, dilated or padded convolution of a batch of planes",
                              "stride 1, VALID")  # fmt: skip
    layer = Conv2d(
        name="", inputs=(low.as_planes(cut.source),), output="", groups=groups,
        dilation=cut.block, padding=cut.padding, **fields,
    )  # fmt: skip
    y = operator.outputs[0]
    layer = biased(low, operator, layer)
    whole = f"{low.name(y)} (whole)"
    size = plane(layer, *low.tensors[layer.inputs[0]].shape[1:])
    tensor = low.kind(y, (len(layer.weights), *size))
    clip, relu = activation(operator, tensor)
    low.tensors[whole] = tensor
    layer = replace(layer, name=low.layer_name(y), output=whole, relu=relu, requant=PLACEHOLDER)
    low.emit(low.refilled(layer, clip), tensor)
    low.spaced[y] = Spaced(y, cut.block, whole=whole)


def _blocks(low: Lowering, operator: Operator) -> tuple[tuple[int, int], Array]:
    block, ends = low.constant(operator, 1).ravel(), low.constant(operator, 2)
    if block.shape != (2,) or ends.shape != (2, 2) or block.min() < 1:
        raise operator.refuse(f"blocks of {block.tolist()}", "rows and columns of a plane")
    return (int(block[0]), int(block[1])), ends


def _space_to_batch(low: Lowering, operator: Operator) -> None:
    """The convolution after it will be dilated."""
    block, ends = _blocks(low, operator)
    if not low.is_plane(operator.inputs[0]):
        raise operator.refuse("a batch of anything but planes", "[N, H, W, C]")
    (top, bottom), (left, right) = ends.tolist()
    low.spaced[operator.outputs[0]] = Spaced(operator.inputs[0], block, (top, left, bottom, right))
    low.became[operator.index] = "the dilation of the convolution after it"


def _batch_to_space(low: Lowering, operator: Operator) -> None:
    """What the dilated convolution gave, cut to its own size."""
    block, ends = _blocks(low, operator)
    cut = low.spaced.get(operator.inputs[0])
    if cut is None or not cut.whole or cut.block != block:
        raise operator.refuse("a batch that no SPACE_TO_BATCH_ND and convolution before it made")
    (top, bottom), (left, right) = ends.tolist()
    channels, height, width = low.tensors[cut.whole].shape
    words = np.arange(channels * height * width).reshape(channels, height, width)
    index = words[:, top : height - bottom, left : width - right]
    y = operator.outputs[0]
    if index.shape != (low.shape(y)[2], *low.shape(y)[:2]):
        raise operator.refuse(f"an output {list(low.shape(y))} where {list(index.shape)} comes out")
    low.stands(y, low.spread(cut.whole, index, low.made(y, True), operator.op), True)


def _transpose_conv(low: Lowering, operator: Operator) -> None:
    """A convolution of a plane with zeros between its words, the kernel turned round."""
    source, y = operator.inputs[2], operator.outputs[0]
    _require_words(low, operator, source, y)
    fields = weights_of(low, operator, (0, 3, 1, 2), 0)
    fields["weights"] = np.ascontiguousarray(fields["weights"][:, :, ::-1, ::-1])
    kernel, stride = fields["weights"].shape[2:], _pair(operator, "StrideH", "StrideW")
    given, wanted = (low.file.tensors[i].shape for i in (source, y))
    grids = [
        _spread(operator, given[axis + 1], wanted[axis + 1], kernel[axis], stride[axis])
        for axis in (0, 1)
    ]
    name = low.as_planes(source)
    channels, height, width = low.tensors[name].shape
    words = np.arange(channels * height * width).reshape(channels, height, width)
    index = words[:, grids[0][:, None], grids[1][None, :]]
    index = np.where((grids[0][:, None] < 0) | (grids[1][None, :] < 0), -1, index)
    wide = low.spread(name, index, f"{low.name(y)} (spread)", "zeros between words")
    layer = Conv2d(name="", inputs=(wide,), output="", **fields)
    low.finish(operator, biased(low, operator, layer, 3), planes=True)


def _spread(operator: Operator, size: int, wanted: int, kernel: int, stride: int) -> Array:
    """Which word stands at each place under a turned kernel, -1 where none does."""
    if stride < 1:
        raise operator.refuse(f"a stride of {stride}", "1 or more")
    reach = (size - 1) * stride + kernel
    before = max(reach - wanted, 0) // 2 if operator.option("Padding") == 0 else 0
    places = np.arange(wanted + kernel - 1) - (kernel - 1 - before)
    there = (places >= 0) & (places % stride == 0) & (places // stride < size)
    return np.where(there, places // stride, -1)


def _fully_connected(low: Lowering, operator: Operator) -> None:
    """A product over the last axis; as many rows as there are, the batch among them."""
    if operator.option("WeightsFormat"):
        raise operator.refuse("shuffled weights", "weights in the default format")
    _require_words(low, operator, operator.inputs[0], operator.outputs[0])
    if operator.inputs[1] not in low.constants:
        _two_activations(low, operator)
        return
    fields = weights_of(low, operator, (0, 1), 0)
    name = _rows(low, low.as_file(operator.inputs[0]), fields["weights"].shape[1])
    layer = biased(low, operator, Linear(name="", inputs=(name,), output="", **fields))
    given = (*low.tensors[name].shape[:-1], len(layer.weights))
    low.finish(operator, layer, planes=False, shape=given)


def _rows(low: Lowering, name: str, length: int) -> str:
    """A tensor as rows of `length` words, as it is where its last axis has so many."""
    shape = low.tensors[name].shape
    count = int(np.prod(shape))
    if shape[-1:] == (length,):
        return name
    if count % length:
        raise ModelError(f"rows of {length} words of a tensor {list(shape)}")
    rows = (length,) if count == length else (count // length, length)
    return low.reshaped(name, rows, f"{name} (flat)")


def _two_activations(low: Lowering, operator: Operator) -> None:
    """FULLY_CONNECTED whose weights are computed: rows [T, K] and [U, K]."""
    if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
        raise operator.refuse("computed weights with a bias", "no bias")
    _require_words(low, operator, *operator.inputs[:2])
    if low.batch > 1:
        raise operator.refuse("images of a batch that meet each other", "a file for one image")
    length = low.file.tensors[operator.inputs[1]].shape[-1]
    a, b = (_rows(low, low.as_file(i), length) for i in operator.inputs[:2])
    a, b = (_as_matrix(low, one) for one in (a, b))
    layer = MatMul(
        name="", inputs=(a, b), output="", transposed=True, dense=True, requant=PLACEHOLDER
    )
    shape = (low.tensors[a].shape[0], low.tensors[b].shape[0])
    low.finish(operator, layer, planes=False, shape=shape)


def _as_matrix(low: Lowering, name: str) -> str:
    shape = low.tensors[name].shape
    return name if len(shape) == 2 else low.reshaped(name, (1, *shape), f"{name} (row)")


def _batch_matmul(low: Lowering, operator: Operator) -> None:
    """Products of the last two axes; a constant factor is laid out as words like any other."""
    _require_words(low, operator, *operator.inputs, *operator.outputs)
    a, b = (low.file.tensors[i].shape for i in operator.inputs)
    if operator.option("AdjX"):
        raise operator.refuse("a transposed first factor", "AdjX 0")
    if a[:-2] != b[:-2]:
        raise operator.refuse(f"factors {list(a)} and {list(b)}", "equal leading axes")
    names = [low.as_file(i) for i in operator.inputs]
    layer = MatMul(
        name="", inputs=(names[0], names[1]), output="", requant=PLACEHOLDER,
        transposed=bool(operator.option("AdjY")),
    )  # fmt: skip
    low.finish(operator, layer, planes=False)


def _pool(low: Lowering, operator: Operator, kind: Any) -> None:
    _require_words(low, operator, operator.inputs[0], operator.outputs[0])
    x, y = low.quantized(operator.inputs[0]), low.quantized(operator.outputs[0])
    if (x.scale, x.zero_point) != (y.scale, y.zero_point):
        raise operator.refuse("input and output of unequal scales", "equal scales")
    name = low.as_planes(operator.inputs[0])
    kernel = _pair(operator, "FilterHeight", "FilterWidth")
    stride = _pair(operator, "StrideH", "StrideW")
    padding = _padding(operator, low.file.tensors[operator.inputs[0]].shape[1:3], kernel, stride)
    more = {"requant": PLACEHOLDER} if kind is AvgPool else {}
    layer = kind(
        name="", inputs=(name,), output="", kernel=kernel, stride=stride, padding=padding, **more
    )
    if kind is MaxPool and operator.option("FusedActivationFunction"):
        raise operator.refuse("a maximum with a fused activation", "MAX_POOL_2D without one")
    low.finish(operator, layer, planes=True)


def _reduce(low: Lowering, operator: Operator) -> None:
    """MEAN and SUM over constant axes."""
    _require_words(low, operator, operator.inputs[0], operator.outputs[0])
    shape = low.file.tensors[operator.inputs[0]].shape
    axes = sorted({int(axis) % len(shape) for axis in low.constant(operator, 1).ravel()})
    batched = low.batched(shape)
    x, y = (low.quantized(i) for i in (operator.inputs[0], operator.outputs[0]))
    if operator.op == "SUM" and x.signed and (x.scale, x.zero_point) != (y.scale, y.zero_point):
        raise operator.refuse("a sum at another scale, which TFLite's own kernels round in two "
                              "ways", "equal scales, or uint8")  # fmt: skip
    if not axes or (batched and 0 in axes):
        raise operator.refuse(f"a sum over axes {axes}", "axes after the batch")
    name = low.as_file(operator.inputs[0])
    layer = Sum(
        name="", inputs=(name,), output="", axes=tuple(axis - batched for axis in axes),
        mean=operator.op == "MEAN", requant=PLACEHOLDER,
    )  # fmt: skip
    low.finish(operator, layer, planes=False)


def _concatenation(low: Lowering, operator: Operator) -> None:
    """Side by side: words of unequal scales are brought to the output's first (uint8 alone)."""
    if operator.option("FusedActivationFunction"):
        raise operator.refuse("joined tensors with a fused activation", "none")
    y = low.kind(operator.outputs[0], ())
    same = [
        (kind.scale, kind.zero_point) == (y.scale, y.zero_point)
        for kind in (low.kind(i, ()) for i in operator.inputs)
    ]
    if not all(same) and low.file.tensors[operator.outputs[0]].type != "uint8":
        raise operator.refuse("joined tensors of unequal scales", "uint8, or a QUANTIZE before it")
    rank = len(low.file.tensors[operator.outputs[0]].shape)
    axis = operator.option("Axis") % max(rank, 1)
    if not all(same) or any(i in low.constants for i in operator.inputs) or axis == 0:
        tflite_words.joined(low, operator, axis, same)
        return
    planes = low.is_plane(operator.outputs[0])
    names = [low.stand(i, planes) for i in operator.inputs]
    batched = low.batched(low.file.tensors[operator.outputs[0]].shape)
    place = {1: 1, 2: 2, 3: 0}[axis] if planes else axis - batched
    low.finish(operator, Concat(name="", inputs=tuple(names), output="", axis=place), planes)


HANDLERS: dict[str, Handler] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transpose_conv,
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
    "AVERAGE_POOL_2D": lambda low, operator: _pool(low, operator, AvgPool),
    "MAX_POOL_2D": lambda low, operator: _pool(low, operator, MaxPool),
    "MEAN": _reduce,
    "SUM": _reduce,
    "CONCATENATION": _concatenation,
    **tflite_moves.HANDLERS,
    **tflite_words.HANDLERS,
    **tflite_borders.HANDLERS,
    **tflite_state.HANDLERS,
    **tflite_recurrent.HANDLERS,
}
