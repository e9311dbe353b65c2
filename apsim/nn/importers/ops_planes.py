"""Operators that make planes larger: transposed convolutions, and resizing by linear weights.

The rule: a transposed convolution is one of a plane with zeros between its words; the
weights of neighbours are fractions of whole numbers, so their sums are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from apsim.nn.importers.constants import ConstReal
from apsim.nn.importers.graph import Array, Node
from apsim.nn.importers.ops_real import convolution, line, name_of
from apsim.nn.importers.pending import PLACEHOLDER, Pending, Value
from apsim.nn.importers.walk import Handler, Walk, handles
from apsim.nn.importers.weights import add_bias
from apsim.nn.importers.windows import FAR, lifted
from apsim.nn.model import Interpolate, Rearrange, Reshape

__all__ = ["HANDLERS", "interpolated"]

MOST_PLACES = 1 << 26
LONGEST = 1 << 16  # of a line of linear weights


def _conv_transpose(walk: Walk, node: Node) -> Value:
    value = _transposed(walk, node, walk.tensor(node, 0), walk.value(node, 1))
    if not walk.has(node, 2):
        return value
    return add_bias(walk, node, value, walk.value(node, 2), own=True)


def _transposed(walk: Walk, node: Node, x: str, weights: Value) -> Pending:
    """Sums of a convolution with its strides and pads undone, weights [I, O / groups, kh, kw]."""
    shape = walk.build.tensors[x].shape
    if not isinstance(weights, ConstReal):
        raise node.refuse("weights that are no quantized constants",
                          "weights through QuantizeLinear and DequantizeLinear")  # fmt: skip
    if weights.integers.ndim == 3 and len(shape) == 2:
        high = walk.build.reshaped(x, (shape[0], 1, shape[1]))
        flat = weights.moved(lambda a: a.reshape(*a.shape[:2], 1, a.shape[2]))
        return line(node, _transposed(walk, lifted(node), high, flat))
    if weights.integers.ndim != 4 or len(shape) != 3:
        raise node.refuse(f"windows over {weights.integers.ndim - 2} axes", "1 or 2 axes")
    groups = int(node.attribute("group", 1))
    if groups < 1 or shape[0] % groups or weights.integers.shape[0] != shape[0]:
        raise node.refuse(f"weights {list(weights.integers.shape)} and {groups} groups of "
                          f"{shape[0]} channels")  # fmt: skip
    kernel = weights.integers.shape[2:]
    wide = _spread(walk, node, x, kernel)
    turned = weights.moved(lambda a: _turned(a, groups))
    return convolution(walk, _unpadded(node, kernel), wide, turned)


def _turned(weights: Array, groups: int) -> Array:
    """[I, O / g, kh, kw] as a convolution's [O, I / g, kh, kw], the kernel turned round."""
    inputs, outputs = weights.shape[:2]
    parts = weights.reshape(groups, inputs // groups, outputs, *weights.shape[2:]).swapaxes(1, 2)
    return parts.reshape(groups * outputs, inputs // groups, *weights.shape[2:])[..., ::-1, ::-1]


def _unpadded(node: Node, kernel: Sequence[int]) -> Node:
    """The convolution of what was spread: its dilations and groups alone."""
    kept = {name: node.attribute(name, default)
            for name, default in (("dilations", (1, 1)), ("group", 1))}  # fmt: skip
    return replace(node, attributes={**kept, "kernel_shape": tuple(kernel)}, defaults={})


def _spread(walk: Walk, node: Node, x: str, kernel: Sequence[int]) -> str:
    """A tensor [C, H, W] with zeros between its words and beside them."""
    channels, *plane = walk.build.tensors[x].shape
    if tuple(node.attribute("kernel_shape", kernel)) != tuple(kernel):
        raise node.refuse(f"kernel_shape {list(node.attribute('kernel_shape', ()))} beside "
                          f"weights of {list(kernel)}")  # fmt: skip
    lines = [_places(node, axis, size, kernel[axis]) for axis, size in enumerate(plane)]
    if math.prod(len(one) for one in lines) * channels > MOST_PLACES:
        raise node.refuse(f"a result of {[len(one) for one in lines]}")
    rows, columns = lines
    words = np.arange(channels * math.prod(plane)).reshape(channels, *plane)
    there = (rows[:, None] >= 0) & (columns[None, :] >= 0)
    index = np.where(there, words[:, rows[:, None], columns[None, :]], -1)
    output = walk.build.new_name(f"{name_of(node)} (spread)")
    layer = Rearrange(name=output, inputs=(x,), output=output, index=index,
                      what="zeros between words")  # fmt: skip
    tensor = replace(walk.build.tensors[x], shape=index.shape)
    return walk.build.emit(layer, tensor, [node.index])


def _places(node: Node, axis: int, size: int, kernel: int) -> Array:
    """Which word stands at each place under the turned kernel, -1 where none does."""
    stride, dilation = (_each(node, name, axis, 1, 1) for name in ("strides", "dilations"))
    more = _each(node, "output_padding", axis, 0, 0)
    reach = dilation * (kernel - 1) + 1
    whole = (size - 1) * stride + reach + more
    before, wanted = _cut(node, axis, size * stride, whole)
    if wanted < 1 or wanted + reach > MOST_PLACES:
        raise node.refuse(f"a result of {wanted} places along axis {axis + 2}",
                          f"1 to {MOST_PLACES - reach}")  # fmt: skip
    at = np.arange(wanted + reach - 1) + before - (reach - 1)
    there = (at >= 0) & (at % stride == 0) & (at // stride < size)
    return np.where(there, at // stride, -1)


def _each(node: Node, name: str, axis: int, default: int, least: int) -> int:
    values = list(node.attribute(name, None) or (default, default))
    if len(values) != 2 or not least <= int(values[axis]) < FAR:
        raise node.refuse(f"{name} {values}", f"2 numbers from {least} to {FAR - 1}")
    return int(values[axis])


def _cut(node: Node, axis: int, strided: int, whole: int) -> tuple[int, int]:
    """How many places are cut before the result, and how many it has, of `whole` ones."""
    auto = str(node.attribute("auto_pad", "NOTSET"))
    shape = node.attribute("output_shape", None)
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise node.refuse(f"auto_pad {auto!r}", "NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    if shape is not None or auto.startswith("SAME"):
        wanted = strided if shape is None else int(list(shape)[-2:][axis])
        total = whole - wanted
        half = total // 2 if auto == "SAME_UPPER" else total - total // 2
        if total < 0:
            raise node.refuse(f"an output_shape of {wanted} where {whole} places are made")
        return half, wanted
    pads = [0, 0, 0, 0] if auto == "VALID" else list(node.attribute("pads", None) or (0, 0, 0, 0))
    if len(pads) != 4 or not all(0 <= int(pad) < FAR for pad in pads):
        raise node.refuse(f"pads {pads}", "4 numbers from 0 on")
    return int(pads[axis]), whole - int(pads[axis]) - int(pads[axis + 2])


def interpolated(
    walk: Walk, node: Node, sizes: Sequence[int], scales: Sequence[float]
) -> Pending:  # fmt: skip
    """Resize by linear weights over the last two axes, or the last: not rounded yet."""
    x = walk.tensor(node, 0)
    shape = walk.build.tensors[x].shape
    if node.attribute("antialias", 0) or node.attribute("exclude_outside", 0):
        raise node.refuse("antialias or exclude_outside", "neither")
    if len(shape) == 2:
        high = walk.build.reshaped(x, (shape[0], 1, shape[1]))
        sizes, scales = (sizes[0], 1, sizes[1]), (scales[0], 1.0, scales[1])
        value = _weighed(walk, node, high, sizes, scales)
        back = Reshape(name=f"{name_of(node)} (line)", inputs=(), output="")
        return value.then(back, (value.shape[0], value.shape[2]), node.index)
    return _weighed(walk, node, x, sizes, scales)


def _weighed(
    walk: Walk, node: Node, x: str, sizes: Sequence[int], scales: Sequence[float]
) -> Pending:  # fmt: skip
    shape = walk.build.tensors[x].shape
    if len(shape) != 3 or sizes[0] != shape[0] or scales[0] != 1:
        raise node.refuse(f"linear weights from {list(shape)} to {list(sizes)}",
                          "the last two axes of [N, C, H, W]")  # fmt: skip
    if math.prod(sizes) > MOST_PLACES or max(sizes[1:]) > LONGEST or min(sizes) < 1:
        raise node.refuse(f"a result of {list(sizes)}", f"lines of 1 to {LONGEST} places")
    (rows, tall), (columns, wide) = (
        _neighbours(node, shape[axis], sizes[axis], scales[axis]) for axis in (1, 2)
    )
    layer = Interpolate(name=name_of(node), inputs=(x,), output="", rows=rows, columns=columns,
                        grid=(tall, wide), requant=PLACEHOLDER)  # fmt: skip
    return Pending(tuple(sizes), layer=layer, nodes=(node.index,))


def _neighbours(node: Node, was: int, size: int, scale: float) -> tuple[Array, int]:
    """The lower and the upper neighbour and the upper one's weight, in parts of a whole number."""
    how = str(node.attribute("coordinate_transformation_mode", "half_pixel"))
    if node.op == "Upsample" or (how == "align_corners" and was * scale % 1):
        how = (
            "asymmetric" if node.op == "Upsample" else f"corners aligned at {was * scale:g} places"
        )
    ratio = Fraction(was, size) if scale == size / was else 1 / Fraction(scale)
    half = Fraction(1, 2)
    places: dict[str, Callable[[int], Fraction]] = {
        "half_pixel": lambda i: (i + half) * ratio - half,
        "pytorch_half_pixel": lambda i: (i + half) * ratio - half if size > 1 else Fraction(0),
        "asymmetric": lambda i: i * ratio,
        "align_corners": lambda i: Fraction(i * (was - 1), size - 1) if size > 1 else Fraction(0),
    }
    if how not in places:
        raise node.refuse(f"{how} with linear weights", ", ".join(places))
    at = [min(max(places[how](i), Fraction(0)), Fraction(was - 1)) for i in range(size)]
    parts = math.lcm(*(place.denominator for place in at))
    if parts >= 1 << 20:
        raise node.refuse(f"a scale of {scale:g}, whose weights are no short fractions",
                          "a scale of whole numbers below 2**19")  # fmt: skip
    low = [math.floor(place) for place in at]
    weights = [int((place - down) * parts) for place, down in zip(at, low, strict=True)]
    lines = [[down, min(down + 1, was - 1), w] for down, w in zip(low, weights, strict=True)]
    return np.array(lines, np.int64), parts


CONV = "auto_pad dilations group kernel_shape output_padding output_shape pads strides"
HANDLERS: dict[tuple[str, str], Handler] = {
    ("", "ConvTranspose"): handles(_conv_transpose, CONV, 3),
}
