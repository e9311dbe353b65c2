"""TFLite's operators that bring words to other places and compute nothing.

The rule: each is a function of numpy on an array of places (which word stands where); the
same function folds constants, shapes that a converter computes among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from apsim.nn.importers.graph import Array
from apsim.nn.importers.tflite_file import Operator
from apsim.nn.importers.tflite_lowering import Handler, Lowering
from apsim.nn.model import Flatten, Interpolate, Reshape, Transpose

__all__ = ["HANDLERS", "MOVES", "resampled"]

Move = Callable[..., Sequence[Array]]


def _ints(low: Lowering, operator: Operator, place: int) -> list[int]:
    return [int(value) for value in low.constant(operator, place).ravel()]


def _output(low: Lowering, operator: Operator) -> tuple[int, ...]:
    return low.file.tensors[operator.outputs[0]].shape


def _reshaped(low: Lowering, operator: Operator) -> Move:
    return lambda x: [x.reshape(_output(low, operator))]


def _strided_slice(low: Lowering, operator: Operator) -> Move:
    begin, end, strides = (_ints(low, operator, place) for place in (1, 2, 3))
    if 0 in strides:
        raise operator.refuse("a stride of 0")
    masks = [
        operator.option(f"{name}Mask")
        for name in ("Begin", "End", "Ellipsis", "NewAxis", "ShrinkAxis")
    ]
    key: list[Any] = []
    for place, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        left, right, ellipsis, new, shrink = (bool(mask >> place & 1) for mask in masks)
        last += first if operator.option("Offset") else 0
        cut = slice(None if left else first, None if right else last, step)
        key.append(Ellipsis if ellipsis else None if new else first if shrink else cut)
    return lambda x: [x[tuple(key)]]


def _slice(low: Lowering, operator: Operator) -> Move:
    begin, size = _ints(low, operator, 1), _ints(low, operator, 2)
    key = tuple(
        slice(first, None if many < 0 else first + many)
        for first, many in zip(begin, size, strict=True)
    )
    return lambda x: [x[key]]


def _split(low: Lowering, operator: Operator) -> Move:
    axis = _ints(low, operator, 0)[0]
    return lambda x: np.split(x, len(operator.outputs), axis)


def _split_v(low: Lowering, operator: Operator) -> Move:
    sizes, axis = _ints(low, operator, 1), _ints(low, operator, 2)[0]

    def move(x: Array) -> Sequence[Array]:
        rest = x.shape[axis] - sum(size for size in sizes if size >= 0)
        ends = np.cumsum([rest if size < 0 else size for size in sizes])
        return np.split(x, ends[:-1], axis)

    return move


def _unpack(low: Lowering, operator: Operator) -> Move:
    axis = operator.option("Axis")
    return lambda x: [part.squeeze(axis) for part in np.split(x, x.shape[axis], axis)]


def _pack(low: Lowering, operator: Operator) -> Move:
    low.require_alike(operator, operator.inputs)
    return lambda *x: [np.stack(x, operator.option("Axis"))]


def _pads(low: Lowering, operator: Operator) -> list[tuple[int, int]]:
    ends = low.constant(operator, 1)
    if ends.ndim != 2 or ends.shape[1] != 2 or (ends < 0).any() or (ends > 1 << 20).any():
        raise operator.refuse(f"padding {ends.tolist()}", "two counts for each axis")
    return [(int(before), int(after)) for before, after in ends]


def _mirror_pad(low: Lowering, operator: Operator) -> Move:
    mode: Any = "symmetric" if operator.option("Mode") else "reflect"
    return lambda x: [np.pad(x, _pads(low, operator), mode=mode)]


def _transposed(low: Lowering, operator: Operator) -> Move:
    return lambda x: [x.transpose(_ints(low, operator, 1))]


def _gather(low: Lowering, operator: Operator) -> Move:
    index = low.constant(operator, 1)
    shape = low.file.tensors[operator.inputs[0]].shape
    axis, batches = operator.option("Axis") % len(shape), operator.option("BatchDims")
    batches += index.ndim if batches < 0 else 0
    if index.size and not (index.min() >= 0 and index.max() < shape[axis]):
        raise operator.refuse(f"indices {index.min()}..{index.max()} of {shape[axis]}")
    return lambda x: [_picked(x, index, axis, batches)]


def _picked(x: Array, index: Array, axis: int, batches: int) -> Array:
    """numpy's `take` for each of the leading axes that words and indices share."""
    if not batches:
        return np.take(x, index, axis)
    each = zip(x, index, strict=True)
    return np.stack([_picked(a, b, axis - 1, batches - 1) for a, b in each])


def _selected(low: Lowering, operator: Operator) -> Move:
    """Words of one tensor or another, as a constant says; SELECT may say it row by row."""
    which, shape = low.constant(operator, 0).astype(bool), _output(low, operator)
    if operator.op == "SELECT" and which.ndim == 1 < len(shape):
        which = which.reshape(-1, *[1] * (len(shape) - 1))
    return lambda a, b: [np.asarray(np.where(which, a, b))]


def _gather_nd(low: Lowering, operator: Operator) -> Move:
    index = low.constant(operator, 1)
    return lambda x: [x[tuple(np.moveaxis(index, -1, 0))]]


def _reversed(low: Lowering, operator: Operator) -> Move:
    return lambda x: [np.flip(x, tuple(_ints(low, operator, 1)))]


def _tiled(low: Lowering, operator: Operator) -> Move:
    return lambda x: [np.tile(x, _ints(low, operator, 1))]


def _broadcast(low: Lowering, operator: Operator) -> Move:
    return lambda x: [np.broadcast_to(x, _output(low, operator))]


def _depth_to_space(low: Lowering, operator: Operator) -> Move:
    size = operator.option("BlockSize")

    def move(x: Array) -> Sequence[Array]:
        n, h, w, c = x.shape
        blocks = x.reshape(n, h, w, size, size, c // size**2).transpose(0, 1, 3, 2, 4, 5)
        return [blocks.reshape(n, h * size, w * size, -1)]

    return move


def _space_to_depth(low: Lowering, operator: Operator) -> Move:
    size = operator.option("BlockSize")

    def move(x: Array) -> Sequence[Array]:
        n, h, w, c = x.shape
        blocks = x.reshape(n, h // size, size, w // size, size, c).transpose(0, 1, 3, 2, 4, 5)
        return [blocks.reshape(n, h // size, w // size, -1)]

    return move


def _nearest(low: Lowering, operator: Operator) -> Move:
    """Which line is nearest, in float32: floor, or half away where corners are aligned."""
    corners, centers = (bool(operator.option(n)) for n in ("AlignCorners", "HalfPixelCenters"))
    given, wanted = low.file.tensors[operator.inputs[0]].shape, _output(low, operator)

    def lines(size: int, out: int) -> Array:
        aligned = corners and out > 1
        scale = np.float32(size - 1) / np.float32(out - 1) if aligned else (
            np.float32(size) / np.float32(out)
        )  # fmt: skip
        v = (np.arange(out, dtype=np.float32) + np.float32(0.5 * centers)) * scale
        near = np.floor(v.astype(np.float64) + (0.5 if corners else 0))
        return np.clip(near, 0, size - 1).astype(np.int64)

    _require_size(low, operator)
    rows, columns = (lines(given[axis], wanted[axis]) for axis in (1, 2))
    return lambda x: [x[:, rows][:, :, columns]]


def _require_size(low: Lowering, operator: Operator) -> None:
    size, wanted = _ints(low, operator, 1), _output(low, operator)
    if tuple(size) != wanted[1:3]:
        raise operator.refuse(f"a size {size} where the output is {list(wanted)}")
    if operator.option("AlignCorners") and operator.option("HalfPixelCenters"):
        raise operator.refuse("aligned corners with half-pixel centers", "one of them")


def _cast(low: Lowering, operator: Operator) -> Move:
    """Exact where the new type holds every word of the old one."""
    x, y = (low.kind(i, ()) for i in (operator.inputs[0], operator.outputs[0]))
    if not (y.lo <= x.lo and x.hi <= y.hi):
        raise operator.refuse(f"from {x} to {y}, which does not hold all of it", "a wider type")
    return lambda a: [a]


# operators, and which of their inputs hold the words
MOVES: dict[str, tuple[Callable[[Lowering, Operator], Move], slice]] = {
    "RESHAPE": (_reshaped, slice(1)),
    "SQUEEZE": (_reshaped, slice(1)),
    "EXPAND_DIMS": (_reshaped, slice(1)),
    "STRIDED_SLICE": (_strided_slice, slice(1)),
    "SLICE": (_slice, slice(1)),
    "SPLIT": (_split, slice(1, 2)),
    "SPLIT_V": (_split_v, slice(1)),
    "UNPACK": (_unpack, slice(1)),
    "PACK": (_pack, slice(None)),
    "MIRROR_PAD": (_mirror_pad, slice(1)),
    "TRANSPOSE": (_transposed, slice(1)),
    "GATHER": (_gather, slice(1)),
    "GATHER_ND": (_gather_nd, slice(1)),
    "REVERSE_V2": (_reversed, slice(1)),
    "TILE": (_tiled, slice(1)),
    "BROADCAST_TO": (_broadcast, slice(1)),
    "DEPTH_TO_SPACE": (_depth_to_space, slice(1)),
    "SPACE_TO_DEPTH": (_space_to_depth, slice(1)),
    "RESIZE_NEAREST_NEIGHBOR": (_nearest, slice(1)),
    "CAST": (_cast, slice(1)),
    "SELECT": (_selected, slice(1, 3)),
    "SELECT_V2": (_selected, slice(1, 3)),
}


def _moved(low: Lowering, operator: Operator) -> None:
    make, where = MOVES[operator.op]
    inputs = operator.inputs[where]
    move = make(low, operator)
    if all(index in low.constants for index in inputs):
        _fold(low, operator, move(*(low.constants[index] for index in inputs)))
        return
    if operator.op != "CAST":
        low.require_alike(operator, inputs)
    if operator.op == "TRANSPOSE" and _as_axes(low, operator):
        return
    low.rearranged(operator.op, inputs, operator.outputs, move)


def _as_axes(low: Lowering, operator: Operator) -> bool:
    """A transposition that leaves the batch where it is, as a layer of its own."""
    axes, index = _ints(low, operator, 1), operator.inputs[0]
    if not low.batched(low.file.tensors[index].shape) or axes[0] or low.in_planes(index):
        return False
    layer = Transpose(
        name="", inputs=(low.as_file(index),), output="", axes=tuple(axis - 1 for axis in axes[1:])
    )
    low.finish(operator, layer, planes=False)
    return True


def _fold(low: Lowering, operator: Operator, results: Sequence[Array]) -> None:
    """Constants made of constants."""
    low.became[operator.index] = "constant"
    for index, values in zip(operator.outputs, results, strict=True):
        low.constants[index] = np.asarray(values)


def _asked(low: Lowering, operator: Operator) -> tuple[int, ...] | None:
    """The shape that a reshape asks for, None where the file does not say it."""
    given = low.file.tensors[operator.inputs[0]].shape
    if operator.op == "EXPAND_DIMS":
        axis = _ints(low, operator, 1)[0] % (len(given) + 1)
        return (*given[:axis], 1, *given[axis:])
    if operator.op == "SQUEEZE" or len(operator.inputs) < 2:
        return None
    if operator.inputs[1] not in low.constants:
        return None
    wanted = _ints(low, operator, 1)
    rest = prod(given) // max(-prod(wanted), 1)
    return tuple(rest if size == -1 else size for size in wanted)


def _reshape(low: Lowering, operator: Operator) -> None:
    """The same words in another shape; the file's own order of axes counts."""
    index, asked = operator.inputs[0], _asked(low, operator)
    if asked is not None:
        low.require_shape(operator, asked)
    shape = low.shape(operator.outputs[0])
    if index in low.constants or not low.batched(_output(low, operator)):
        _moved(low, operator)
        return
    low.require_alike(operator, operator.inputs[:1])
    if prod(low.shape(index)) != prod(shape):
        raise operator.refuse(f"{list(low.file.tensors[index].shape)} as {list(shape)}")
    kind = Flatten if len(shape) == 1 else Reshape
    low.finish(operator, kind(name="", inputs=(low.as_file(index),), output=""), planes=False)


def _shape(low: Lowering, operator: Operator) -> None:
    kind = low.file.tensors[operator.outputs[0]].type
    shape = low.file.tensors[operator.inputs[0]].shape
    _fold(low, operator, [np.array(shape, np.dtype(kind))])


def _pad(low: Lowering, operator: Operator) -> None:
    """Zero points around; around a plane they wait for a convolution that takes them as padding."""
    ends = _pads(low, operator)
    low.require_alike(operator, operator.inputs[:1])
    valued = operator.op == "PADV2" and len(operator.inputs) > 2
    given = operator.inputs[0]
    users = [one.op for one in low.file.operators if operator.outputs[0] in one.inputs]
    taken = bool(users) and all(op in ("CONV_2D", "DEPTHWISE_CONV_2D") for op in users)
    outside = len(ends) == 4 and not any(ends[0]) and not any(ends[3])
    whole = given not in low.padded and operator.outputs[0] not in low.file.outputs
    wanted = tuple(
        size + sum(pair)
        for size, pair in zip(low.file.tensors[given].shape, ends, strict=True)
    )  # fmt: skip
    if wanted != _output(low, operator):
        raise operator.refuse(f"an output {list(_output(low, operator))} where {list(wanted)} "
                              "comes out")  # fmt: skip
    if taken and outside and whole and not valued and low.is_plane(given):
        (top, bottom), (left, right) = ends[1], ends[2]
        low.padded[operator.outputs[0]] = (given, (top, left, bottom, right))
        low.became[operator.index] = "the padding of the convolution after it"
        return
    if not valued:
        low.rearranged(operator.op, [given], operator.outputs,
                       lambda x: [np.pad(x, ends, constant_values=-1)])  # fmt: skip
        return
    low.constant(operator, 2)
    low.require_alike(operator, [operator.inputs[2]])
    low.rearranged(
        operator.op, [given, operator.inputs[2]], operator.outputs,
        lambda x, value: [np.pad(x, ends, constant_values=int(value.ravel()[0]))],
    )  # fmt: skip


def _bilinear(low: Lowering, operator: Operator) -> None:
    """A grid of 1/1024 steps for signed words; float32 for unsigned ones, as the kernels do."""
    _require_size(low, operator)
    low.require_alike(operator, operator.inputs[:1])
    x = low.quantized(operator.inputs[0], "int8", "uint8", "int16")
    given, wanted = low.file.tensors[operator.inputs[0]].shape, _output(low, operator)
    make = resampled if x.signed else resampled_in_reals
    rows, columns = (make(operator, given[axis], wanted[axis]) for axis in (1, 2))
    layer = Interpolate(
        name="", inputs=(low.as_planes(operator.inputs[0]),), output="",
        rows=rows[0], columns=columns[0], fractions=() if x.signed else (rows[1], columns[1]),
    )  # fmt: skip
    low.finish(operator, layer, planes=True)


def resampled(operator: Operator, size: int, out: int) -> tuple[Array, Array]:
    """For each output line its lower and upper neighbour, and the upper one's 1024ths."""
    scale = (1024 * size + out // 2) // out
    if operator.option("AlignCorners") and out > 1:
        scale = (1024 * (size - 1) + (out - 1) // 2) // (out - 1)
    v = np.arange(out, dtype=np.int64) * scale
    if operator.option("HalfPixelCenters"):
        v += scale // 2 - 512
    low = np.maximum(np.where(v >= 0, v >> 10, -(-v >> 10)), 0)
    high = np.minimum(-(-v // 1024), size - 1)
    return np.stack([low, high, v - 1024 * low], axis=1), np.zeros(out)


def resampled_in_reals(operator: Operator, size: int, out: int) -> tuple[Array, Array]:
    """The same with the upper neighbour's weight in float32."""
    corners = operator.option("AlignCorners") and out > 1
    scale = np.float32(size - 1) / np.float32(out - 1) if corners else (
        np.float32(size) / np.float32(out)
    )  # fmt: skip
    v = np.arange(out, dtype=np.float32) * scale
    if operator.option("HalfPixelCenters"):
        v = (np.arange(out, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    low = np.maximum(np.floor(v), 0).astype(np.int64)
    high = np.minimum(np.ceil(v), size - 1).astype(np.int64)
    low = np.minimum(low, size - 1)
    fractions = (v - low.astype(np.float32)).astype(np.float64)
    return np.stack([low, high, np.zeros_like(low)], axis=1), fractions


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(MOVES, _moved),
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "SHAPE": _shape,
    "PAD": _pad,
    "PADV2": _pad,
    "RESIZE_BILINEAR": _bilinear,
}
