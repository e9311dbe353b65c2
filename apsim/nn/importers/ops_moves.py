"""Operators that bring values to other places: pad, slice, split, gather, resize to the nearest.

The rule: where each value goes is found by moving the numbers of the places themselves,
with more than one input in the batch, so that nothing crosses from one to another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from apsim.nn.importers import onnx_file
from apsim.nn.importers.constants import ConstReal
from apsim.nn.importers.graph import Array, Node
from apsim.nn.importers.ops_planes import interpolated
from apsim.nn.importers.ops_real import name_of
from apsim.nn.importers.pending import Chained, Pending, Source, Value
from apsim.nn.importers.walk import Handler, Walk, handles
from apsim.nn.model import Rearrange

__all__ = ["HANDLERS"]

BATCH = 5  # inputs whose places are moved together
MOST_PLACES = 1 << 26
NEAREST: dict[str, Callable[[Array], Array]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


def _rearranged(
    walk: Walk, node: Node, value: Pending | Source, index: Array, what: str = "",
    fill: float = 0.0,
) -> Value:  # fmt: skip
    """The value with its words at the places of `index`, the number `fill` where it is -1."""
    if (
        isinstance(value, Pending)
        and value.integer
        and (index < 0).any()
        and value.layer is not None
    ):
        raise node.refuse("padding of sums", "a quantization before it")
    if np.array_equal(index, np.arange(math.prod(value.shape)).reshape(value.shape)):
        return value
    layer = Rearrange(name=name_of(node), inputs=(), output="", index=index.astype(np.int64),
                      what=what or node.op.lower())  # fmt: skip
    step = Chained(layer, value.shape, index.shape, fill)
    if isinstance(value, Source):
        return replace(value, shape=index.shape, chain=(*value.chain, step))
    return value.then(layer, index.shape, node.index, fill)


def _given(walk: Walk, node: Node) -> Pending | Source:
    value = walk.value(node, 0)
    if not isinstance(value, Pending | Source):
        raise node.refuse("a constant where a tensor was expected")
    return value


def _moved(
    walk: Walk, node: Node, constants: Sequence[int], fill: int | None = None
) -> list[Value]:
    """The outputs of a node that only moves values, by what it does to their places."""
    value = _given(walk, node)
    whole = math.prod(value.shape)
    if whole * BATCH > MOST_PLACES:
        raise node.refuse(f"{whole} places to move", f"at most {MOST_PLACES // BATCH}")
    places = np.arange(BATCH * whole, dtype=np.int64).reshape(BATCH, *value.shape)
    given = {node.inputs[0]: places}
    for index in constants:
        if walk.has(node, index):
            given[node.inputs[index]] = walk.constant(node, index)
    if fill is not None:
        given[node.inputs[fill]] = np.array(-1, np.int64)
    try:
        results = onnx_file.evaluate(node, given, walk.graph.opset)
    except Exception as error:  # whatever the evaluator cannot do is a node that we cannot do
        reason = " ".join(str(error).split())[:200]
        raise node.refuse(f"its inputs and attributes do not go together ({reason})") from None
    return [_rearranged(walk, node, value, _of_one(node, r.array, whole)) for r in results]


def _of_one(node: Node, moved: Array, whole: int) -> Array:
    """The places of one input, the same in each of the batch."""
    if not moved.size:
        raise node.refuse(f"an output without values, of shape [N, {str([*moved.shape[1:]])[1:]}",
                          "one value or more")  # fmt: skip
    if moved.shape[:1] != (BATCH,):
        raise node.refuse("the batch axis cut, padded or moved", "the other axes")
    lag = (np.arange(BATCH) * whole).reshape(-1, *[1] * (moved.ndim - 1))
    each = np.where(moved < 0, -1, moved - lag)
    if (each != each[0]).any() or each.max() >= whole or each.min() < -1:
        raise node.refuse("values that cross from one input to another", "the other axes")
    return np.asarray(each[0])


def _slice(walk: Walk, node: Node) -> Value:
    return _moved(walk, node, (1, 2, 3, 4))[0]


def _split(walk: Walk, node: Node) -> Sequence[Value]:
    return _moved(walk, node, (1,))


def _gather(walk: Walk, node: Node) -> Value:
    return _moved(walk, node, (1,))[0]


def _reordered(walk: Walk, node: Node) -> Value:
    return _moved(walk, node, ())[0]


def _tile(walk: Walk, node: Node) -> Value:
    return _moved(walk, node, (1,))[0]


def _widened(walk: Walk, node: Node) -> Value:
    """Axes of size 1 repeated; the batch axis keeps its own size."""
    sizes, rank = walk.constant(node, 1).ravel(), 1 + len(_given(walk, node).shape)
    if len(sizes) > rank or (len(sizes) == rank and sizes[0] != 1):
        raise node.refuse(f"a shape {sizes.tolist()} for [N, ...] with {rank} axes",
                          "as many axes or fewer, 1 for the batch")  # fmt: skip
    return _moved(walk, node, (1,))[0]


def _pad(walk: Walk, node: Node) -> Value:
    """Zeros, or the tensor's own values, beside it; integers get the zero of their type."""
    mode = str(node.attribute("mode", "constant"))
    fill = node.attribute("value", 0.0)
    if walk.has(node, 2):
        fill = walk.constant(node, 2)
    number = float(np.ravel(fill)[0]) if np.size(fill) == 1 else math.nan
    value = _given(walk, node)
    if mode == "constant" and isinstance(value, Pending) and value.integer:
        return _padded_integers(walk, node, value, number)
    if mode == "constant" and math.isnan(number):
        raise node.refuse("padding with what is no one number", "one number")
    return _rearranged(walk, node, value, _pads(walk, node, value.shape, mode), fill=number)


def _padded_integers(walk: Walk, node: Node, value: Pending, number: float) -> Value:
    """Integers beside integers: the number is the word itself, whatever its zero point."""
    if not value.source:
        raise node.refuse("padding of sums", "a quantization before it")
    name = walk.build.settle(value, node.inputs[0])
    if walk.build.tensors[name].scale is None:
        name = walk.interpret(name, 1.0, 0)
    tensor = walk.build.tensors[name]
    if not tensor.lo <= number <= tensor.hi or number % 1:
        raise node.refuse(f"padding with {number:g}", f"integers in {tensor.lo}..{tensor.hi}")
    index = _pads(walk, node, value.shape, "constant")
    fill = np.array([int(number) - tensor.zero_point])
    output = node.outputs[0]
    layer = Rearrange(name=name_of(node), inputs=(name,), output=output, index=index, fill=fill,
                      what="pad")  # fmt: skip
    made = walk.build.emit(layer, replace(tensor, shape=index.shape), [node.index])
    return Pending(index.shape, source=made, integer=True, nodes=(node.index,))


def _pads(walk: Walk, node: Node, shape: tuple[int, ...], mode: str) -> Array:
    """The places of a padded tensor, -1 where nothing of it stands."""
    written = node.attribute("pads", node.attribute("paddings", ()))
    pads = [int(n) for n in (walk.whole(node, 1).ravel() if walk.has(node, 1) else written)]
    rank = 1 + len(shape)
    axes = (
        [int(a) % rank for a in walk.whole(node, 3).ravel()] if walk.has(node, 3) else range(rank)
    )
    if len(pads) != 2 * len(axes) or mode not in ("constant", "edge", "reflect"):
        raise node.refuse(f"pads {pads} in mode {mode}", "constant, edge or reflect")
    around = dict.fromkeys(range(rank), (0, 0)) | {
        axis: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)
    }
    if around.pop(0) != (0, 0):
        raise node.refuse("padding along the batch", "pads of 0 for the first axis")
    sizes = [size + sum(around[axis]) for axis, size in enumerate(shape, 1)]
    if math.prod(max(size, 0) for size in sizes) > MOST_PLACES or min(sizes, default=1) < 1:
        raise node.refuse(f"pads {pads}, which give a tensor of {sizes}")
    places = np.arange(math.prod(shape)).reshape(shape)
    cut = tuple(slice(max(-b, 0), size - max(-a, 0)) for size, (b, a) in
                zip(shape, around.values(), strict=True))  # fmt: skip
    beside = [(max(b, 0), max(a, 0)) for b, a in around.values()]
    more: dict[str, Any] = {"constant_values": -1} if mode == "constant" else {}
    return np.pad(places[cut], beside, mode=mode, **more)  # type: ignore[call-overload,no-any-return]


def _resize(walk: Walk, node: Node) -> Value:
    """Resize to the nearest: which row and column each output takes."""
    mode = str(node.attribute("mode", "nearest"))
    if mode == "linear":
        return interpolated(walk, node, *_sizes(walk, node, _given(walk, node).shape))
    if mode != "nearest":
        raise node.refuse(f"mode {mode}", "mode nearest or linear")
    value = _given(walk, node)
    sizes, scales = _sizes(walk, node, value.shape)
    index = np.arange(math.prod(value.shape)).reshape(value.shape)
    if math.prod(sizes) > MOST_PLACES or min(sizes, default=1) < 1:
        raise node.refuse(f"a result of {sizes}")
    for axis, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
        if (size, scale) != (index.shape[axis], 1.0):
            index = index.take(_nearest(node, index.shape[axis], size, scale), axis)
    return _rearranged(walk, node, value, index)


def _sizes(walk: Walk, node: Node, shape: tuple[int, ...]) -> tuple[list[int], list[float]]:
    """The size and the scale of each axis but the batch, from scales or from sizes."""
    old = len(node.inputs) == 2 or node.op == "Upsample"  # before opset 11
    scales = walk.constant(node, 1 if old else 2, np.zeros(0))
    sizes = walk.constant(node, 3, np.zeros(0)) if not old else np.zeros(0)
    if node.op == "Upsample" and "scales" in node.attributes:
        scales = np.asarray(node.attributes["scales"])
    if not old and walk.has(node, 1) and walk.constant(node, 1).size:
        raise node.refuse("a region of interest", "no roi")
    rank = 1 + len(shape)
    if sizes.size == rank and not scales.size:
        wanted = [int(size) for size in sizes[1:]]
        if walk.batch is not None and int(sizes[0]) != walk.batch:
            raise node.refuse("the batch axis resized")
        return wanted, [size / was for size, was in zip(wanted, shape, strict=True)]
    if scales.size != rank or float(scales[0]) != 1 or not (scales > 0).all():
        raise node.refuse(f"scales {scales.ravel()[:6]} of {rank} axes", "1 for the batch")
    found = [float(scale) for scale in scales[1:]]
    return [math.floor(was * scale) for was, scale in zip(shape, found, strict=True)], found


def _nearest(node: Node, was: int, size: int, scale: float) -> Array:
    """Which of `was` places each of `size` takes."""
    how = str(node.attribute("coordinate_transformation_mode", "half_pixel"))
    if node.op == "Upsample" or "coordinate_transformation_mode" not in {
        **node.defaults, **node.attributes
    }:  # fmt: skip
        how = "asymmetric"
    rounding = str(node.attribute("nearest_mode", "round_prefer_floor"))
    if how == "asymmetric" and "nearest_mode" not in {**node.defaults, **node.attributes}:
        rounding = "floor"
    if how == "align_corners" and was * scale % 1:
        raise node.refuse(f"corners aligned at {was} * {scale:g} places", "a whole number of them")
    out = np.arange(size, dtype=np.float64)
    places = {
        "half_pixel": (out + 0.5) / scale - 0.5,
        "pytorch_half_pixel": (out + 0.5) / scale - 0.5 if size > 1 else out * 0,
        "asymmetric": out / scale,
        "align_corners": out * (was - 1) / (size - 1) if size > 1 else out * 0,
    }
    if how not in places or rounding not in NEAREST:
        raise node.refuse(f"{how} with {rounding}", "half_pixel, asymmetric or align_corners")
    found = np.asarray(NEAREST[rounding](places[how]), np.int64)
    return np.asarray(np.clip(found, 0, was - 1))


def _expand(walk: Walk, node: Node) -> Value:
    return _moved(walk, node, (1,))[0]


def _unmoved_constant(walk: Walk, node: Node) -> Value:
    """Slices of dequantized constants: weights of a layer still."""
    value = walk.value(node, 0)
    assert isinstance(value, ConstReal)
    more = {n: walk.constant(node, i) for i, n in enumerate(node.inputs) if i and n}

    def move(array: Array) -> Array:
        given = {node.inputs[0]: np.ascontiguousarray(array), **more}
        return onnx_file.evaluate(node, given, walk.graph.opset)[0].array

    return value.moved(move)


def _slice_any(walk: Walk, node: Node) -> Value:
    constant = isinstance(walk.value(node, 0), ConstReal)
    return _unmoved_constant(walk, node) if constant else _slice(walk, node)


RESIZE = "coordinate_transformation_mode cubic_coeff_a extrapolation_value mode nearest_mode"
HANDLERS: dict[tuple[str, str], Handler] = {
    ("", "Slice"): handles(_slice_any, "axes ends starts", 5),
    ("", "Split"): handles(_split, "axis num_outputs split", 2, 1 << 20),
    ("", "Gather"): handles(_gather, "axis", 2),
    ("", "DepthToSpace"): handles(_reordered, "blocksize mode"),
    ("", "SpaceToDepth"): handles(_reordered, "blocksize"),
    ("", "Tile"): handles(_tile, inputs=2),
    ("", "Expand"): handles(_widened, inputs=2),
    ("", "Pad"): handles(_pad, "mode paddings pads value", 4),
    ("", "Resize"): handles(_resize, RESIZE, 4),
    ("", "Upsample"): handles(_resize, "mode scales", 2),
}
