"""Constants of a graph, and where they lie beside a tensor: by their shape, as ONNX broadcasts.

The rule: an axis is never guessed from a length.  What would enlarge the tensor or vary
along another axis than that of the channels is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from apsim.nn.importers.graph import Array, Const, Node
from apsim.nn.model import Floats

__all__ = ["Const", "ConstReal", "along", "beside", "collapsed", "single", "spread"]


@dataclass(frozen=True, eq=False)
class ConstReal:
    """A constant of real values: `scale * (integers - zero)`.

    `scale` and `zero` have the axes of `integers`, of size 1 where one number is for all.
    `lo` and `hi` bound the integers of its width.
    """

    integers: Array
    scale: Floats
    zero: Array
    lo: int
    hi: int

    @property
    def less_zero(self) -> Array:
        """The integers less their zero points, int64."""
        return np.asarray(self.integers.astype(np.int64) - self.zero)

    @property
    def real(self) -> Floats:
        """The real values, rounded to float32 as DequantizeLinear gives them, in float64."""
        with np.errstate(over="ignore"):
            return np.asarray(self.less_zero * self.scale, np.float32).astype(np.float64)

    def moved(self, move: Callable[[Array], Array]) -> ConstReal:
        """The same constant with its values elsewhere: `move` reshapes, reorders or picks them."""
        integers = np.asarray(move(self.integers))

        def follow(values: Array) -> Array:
            if values.size == 1:
                return values.reshape((1,) * integers.ndim)
            return collapsed(np.asarray(move(np.broadcast_to(values, self.integers.shape))))

        return replace(self, integers=integers, scale=follow(self.scale), zero=follow(self.zero))


def spread(values: Array, axis: int, rank: int) -> Array:
    """One number, or a vector along `axis`, with `rank` axes."""
    shape = [1] * rank
    if np.size(values) > 1:
        shape[axis] = -1
    return np.reshape(values, shape)


def collapsed(values: Array) -> Array:
    """The values with every axis of size 1 along which nothing varies."""
    for axis in range(values.ndim):
        first = values.take([0], axis) if values.shape[axis] > 1 else values
        if first is not values and bool((values == first).all()):
            values = first
    return values


def along(node: Node, values: Array, shape: Sequence[int], axis: int) -> Array:
    """The constant that meets a tensor [N, *shape] as one number, or one for each channel.

    Channels lie along `axis` of [N, *shape].  Raises where ONNX's broadcasting, from the last
    axis on, gives it another meaning.
    """
    values, whole = np.asarray(values), ("N", *shape)
    spare = len(whole) - values.ndim
    beside = f"a constant of shape {list(values.shape)} beside [{', '.join(map(str, whole))}]"
    if spare < 0:
        raise node.refuse(f"{beside}, which it would give more axes", _nearest(whole, axis))
    full = values.reshape((*[1] * spare, *values.shape))
    for size, here in zip(full.shape, whole, strict=True):
        if size not in (1, here):
            raise node.refuse(f"{beside}, which does not broadcast to it", _nearest(whole, axis))
    small = collapsed(full)
    if any(size != 1 for i, size in enumerate(small.shape) if i != axis):
        why = "where it varies along another axis than the channels'"
        why = "which is more than one number" if axis < 0 else why
        raise node.refuse(f"{beside}, {why}", _nearest(whole, axis))
    return small.ravel()


def beside(node: Node, values: Array, shape: Sequence[int]) -> Array:
    """The constant that meets a tensor [N, *shape], with the axes of `shape` alone.

    Raises where it would give the tensor more places, or differs from one input to another.
    """
    values, whole = np.asarray(values), ("N", *shape)
    spare = len(whole) - values.ndim
    laid = values.reshape((*[1] * max(spare, 0), *values.shape))
    small = collapsed(laid)
    fits = spare >= 0 and laid.shape[0] == 1 and all(
        size in (1, here) for size, here in zip(laid.shape[1:], shape, strict=True)
    )  # fmt: skip
    if not fits:
        raise node.refuse(
            f"a constant of shape {list(values.shape)} beside [{', '.join(map(str, whole))}]",
            "one that broadcasts to it from the last axis on, the same for every input",
        )
    return np.asarray(small[0])


def _nearest(whole: Sequence[object], axis: int) -> str:
    if axis < 0 or axis >= len(whole):
        return "one number"
    tail = [1] * (len(whole) - axis - 1)
    return f"one number, or a constant of shape {[whole[axis], *tail]}"


def single(node: Node, values: Array, shape: Sequence[int]) -> float:
    """The one number that a constant beside a tensor [N, *shape] is."""
    return float(along(node, values, shape, -1)[0])
