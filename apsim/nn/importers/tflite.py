"""TFLite in: quantized networks, requantized as TFLite's reference kernels do.

The rule: TFLite keeps planes as [H, W, C]; here they are [C, H, W].  Tensors that layers
compute keep the file's name in [C, H, W]; the file's inputs and outputs keep its layout.
Layers with sums are read here; moves, functions of words and states have modules of their own.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np

from apsim.errors import ModelError
from apsim.nn.importers import (
    tflite_borders,
    tflite_cut,
    tflite_file,
    tflite_moves,
    tflite_recurrent,
    tflite_spaces,
    tflite_state,
    tflite_sums,
    tflite_svdf,
    tflite_windows,
    tflite_words,
)
from apsim.nn.importers.graph import Array, blaming
from apsim.nn.importers.onnx import Imported
from apsim.nn.importers.options import PLAIN, Options
from apsim.nn.importers.tflite_file import Operator, TfliteGraph
from apsim.nn.importers.tflite_lowering import (
    Handler,
    Lowering,
    batches_of,
)
from apsim.nn.importers.tflite_spaces import convolve_spaced
from apsim.nn.importers.tflite_sums import rows_of, two_activations
from apsim.nn.importers.tflite_weights import biased, weights_of
from apsim.nn.importers.tflite_windows import NO_PADDING, padding_of, pair
from apsim.nn.model import Concat, Conv2d, Linear, Model
from apsim.nn.model.windows import kernel_of

__all__ = ["HANDLERS", "from_tflite", "read_tflite"]


def from_tflite(path: str | os.PathLike[str], *, rule: str = "tflite") -> Model:
    """Import a quantized TFLite model (extra `tflite`); raises `ModelError`."""
    return read_tflite(path, rule=rule).model


def read_tflite(
    path: str | os.PathLike[str], *, rule: str = "tflite", options: Options = PLAIN
) -> Imported:
    """Import a TFLite model and say what became of every operator.

    `options` says what else is asked for: where the network ends, a softmax by the AP.  Raises
    `Blocked`, a `ModelError` with all operators that cannot be imported, and `InputError` for
    a tensor that no operator makes.
    """
    with blaming(path):
        file = tflite_file.read(path)
    kept = tflite_cut.until(file, options.until)
    with blaming(path):
        imported = _lowered(kept, rule, options)
    return replace(imported, fates=tflite_cut.fates(file, kept, imported.fates))


def _lowered(file: TfliteGraph, rule: str, options: Options) -> Imported:
    """The network of a file: one image of its batch, or all of them where they meet."""
    refusals: list[ModelError] = []
    for batch in batches_of(file):
        low = Lowering(file, rule, batch, options)
        tflite_borders.prepare(low)
        try:
            return low.run(HANDLERS, tflite_borders.left, tflite_state.states)
        except ModelError as refusal:
            refusals.append(refusal)
    raise min(refusals, key=lambda one: len(getattr(one, "blockers", ())))


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
    low.require_words(operator, operator.inputs[0], operator.outputs[0])
    if operator.inputs[0] in low.spaced:
        convolve_spaced(low, operator, fields, groups)
        return
    index, extra = low.padded.get(operator.inputs[0], (operator.inputs[0], NO_PADDING))
    name = low.as_planes(index)
    layer = Conv2d(
        name="", inputs=(name,), output="", groups=groups,
        stride=pair(operator, "StrideH", "StrideW"),
        dilation=pair(operator, "DilationHFactor", "DilationWFactor"), **fields,
    )  # fmt: skip
    shape = low.file.tensors[operator.inputs[0]].shape[1:3]
    own = padding_of(operator, shape, kernel_of(layer), layer.stride, layer.dilation)
    top, left, bottom, right = (a + b for a, b in zip(own, extra, strict=True))
    layer = replace(layer, padding=(top, left, bottom, right))
    low.finish(operator, biased(low, operator, layer), planes=True)


def _transpose_conv(low: Lowering, operator: Operator) -> None:
    """A convolution of a plane with zeros between its words, the kernel turned round."""
    source, y = operator.inputs[2], operator.outputs[0]
    low.require_words(operator, source, y)
    fields = weights_of(low, operator, (0, 3, 1, 2), 0)
    fields["weights"] = np.ascontiguousarray(fields["weights"][:, :, ::-1, ::-1])
    kernel, stride = fields["weights"].shape[2:], pair(operator, "StrideH", "StrideW")
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
    low.require_words(operator, operator.inputs[0], operator.outputs[0])
    if operator.inputs[1] not in low.constants:
        two_activations(low, operator)
        return
    fields = weights_of(low, operator, (0, 1), 0)
    name = rows_of(low, low.as_file(operator.inputs[0]), fields["weights"].shape[1])
    layer = biased(low, operator, Linear(name="", inputs=(name,), output="", **fields))
    given = (*low.tensors[name].shape[:-1], len(layer.weights))
    low.finish(operator, layer, planes=False, shape=given)


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
    "FULLY_CONNECTED": _fully_connected,
    "CONCATENATION": _concatenation,
    **tflite_windows.HANDLERS,
    **tflite_spaces.HANDLERS,
    **tflite_sums.HANDLERS,
    **tflite_moves.HANDLERS,
    **tflite_words.HANDLERS,
    **tflite_borders.HANDLERS,
    **tflite_state.HANDLERS,
    **tflite_recurrent.HANDLERS,
    **tflite_svdf.HANDLERS,
}
