"""TFLite's planes cut into a batch: the dilated convolutions of older converters, and moves.

The rule: a convolution of every n-th row and column by themselves is one that is dilated by
n; where no convolution comes, the words are moved as the file says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from apsim.nn.importers.graph import Array
from apsim.nn.importers.tflite_file import Operator
from apsim.nn.importers.tflite_lowering import PLACEHOLDER, Handler, Lowering, Spaced, activation
from apsim.nn.importers.tflite_weights import biased
from apsim.nn.importers.tflite_windows import padding_of, pair
from apsim.nn.model import Conv2d
from apsim.nn.model.windows import plane

__all__ = ["HANDLERS", "convolve_spaced"]


def convolve_spaced(
    low: Lowering, operator: Operator, fields: dict[str, Any], groups: int
) -> None:  # fmt: skip
    """A convolution of a plane that was cut into a batch: padding and dilation times the block."""
    cut = low.spaced[operator.inputs[0]]
    stride, own = (
        pair(operator, *names)
        for names in (("StrideH", "StrideW"), ("DilationHFactor", "DilationWFactor"))
    )
    if stride != (1, 1) or cut.whole:
        raise operator.refuse("a strided or second convolution of a batch of planes", "stride 1")
    small = low.file.tensors[operator.inputs[0]].shape[1:3]
    around = padding_of(operator, small, fields["weights"].shape[2:], stride, own)
    (high, wide), (tall, broad) = cut.block, own
    padding = [a + b * n for a, b, n in zip(cut.padding, around, cut.block * 2, strict=True)]
    layer = Conv2d(
        name="", inputs=(low.as_planes(cut.source),), output="", groups=groups,
        dilation=(high * tall, wide * broad),
        padding=(padding[0], padding[1], padding[2], padding[3]), **fields,
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


def _blocks(low: Lowering, operator: Operator) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """The block along each axis after the first, and what is put on (or cut off) its ends."""
    block, ends = low.constant(operator, 1).ravel(), low.constant(operator, 2)
    if not block.size or ends.shape != (block.size, 2) or block.min() < 1 or ends.min() < 0:
        raise operator.refuse(f"blocks of {block.tolist()} and ends {ends.tolist()}")
    return tuple(map(int, block)), [(int(a), int(b)) for a, b in ends]


def _space_to_batch(low: Lowering, operator: Operator) -> None:
    """Noted where a convolution comes, which will be dilated; else a move."""
    (index, *_), (y,) = operator.inputs, operator.outputs
    low.require_alike(operator, operator.inputs[:1])
    block, ends = _blocks(low, operator)
    users = [one.op for one in low.file.operators if y in one.inputs]
    convolved = bool(users) and all(op in ("CONV_2D", "DEPTHWISE_CONV_2D") for op in users)
    if not convolved or len(block) != 2 or not low.is_plane(index) or y in low.file.outputs:
        low.rearranged(operator.op, [index], [y], lambda x: [to_batch(x, block, ends)])
        return
    (top, bottom), (left, right) = ends
    low.spaced[y] = Spaced(index, (block[0], block[1]), (top, left, bottom, right))
    low.became[operator.index] = "the dilation of the convolution after it"


def to_batch(x: Array, block: tuple[int, ...], ends: list[tuple[int, int]]) -> Array:
    """Every n-th word of the axes after the first, as a batch of its own; -1 where nothing was."""
    many, rest = len(block), x.shape[len(block) + 1 :]
    x = np.pad(x, [(0, 0), *ends, *[(0, 0)] * len(rest)], constant_values=-1)
    cut = [part for n, size in zip(x.shape[1 : many + 1], block, strict=True)
           for part in (n // size, size)]  # fmt: skip
    split = x.reshape(x.shape[0], *cut, *rest)
    order = [*range(2, 2 * many + 1, 2), 0, *range(1, 2 * many, 2),
             *range(2 * many + 1, split.ndim)]  # fmt: skip
    return split.transpose(order).reshape(-1, *cut[::2], *rest)


def from_batch(x: Array, block: tuple[int, ...], ends: list[tuple[int, int]]) -> Array:
    """The batch laid together again, and cut at its ends."""
    many, sizes, rest = len(block), x.shape[1 : len(block) + 1], x.shape[len(block) + 1 :]
    split = x.reshape(*block, -1, *sizes, *rest)
    pairs = [axis for i in range(many) for axis in (many + 1 + i, i)]
    split = split.transpose(many, *pairs, *range(2 * many + 1, split.ndim))
    whole = [n * size for n, size in zip(sizes, block, strict=True)]
    key = [slice(a, n - b) for n, (a, b) in zip(whole, ends, strict=True)]
    return split.reshape(-1, *whole, *rest)[(slice(None), *key)]


def _batch_to_space(low: Lowering, operator: Operator) -> None:
    """What the dilated convolution gave, cut to its own size; else a move."""
    low.require_alike(operator, operator.inputs[:1])
    block, ends = _blocks(low, operator)
    cut, y = low.spaced.get(operator.inputs[0]), operator.outputs[0]
    if cut is None or not cut.whole or cut.block != block:
        low.rearranged(operator.op, operator.inputs[:1], [y],
                       lambda x: [from_batch(x, block, ends)])  # fmt: skip
        return
    (top, bottom), (left, right) = ends
    channels, height, width = low.tensors[cut.whole].shape
    words = np.arange(channels * height * width).reshape(channels, height, width)
    index = words[:, top : height - bottom, left : width - right]
    if index.shape != (low.shape(y)[2], *low.shape(y)[:2]):
        raise operator.refuse(f"an output {list(low.shape(y))} where {list(index.shape)} comes out")
    low.stands(y, low.spread(cut.whole, index, low.made(y, True), operator.op), True)


HANDLERS: dict[str, Handler] = {
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "BATCH_TO_SPACE_ND": _batch_to_space,
}
