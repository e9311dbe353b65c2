"""Real values on their way to the next rounding.

Between a DequantizeLinear and the next QuantizeLinear a network computes with real
numbers.  A `Pending` keeps what was asked for (a convolution, a ReLU, a pool) without
rounding anything, until a quantization tells the output's scale; then the whole chain
becomes integer layers.  Monotone steps (ReLU, clip, max pool, reshape) commute with
rounding, so their order against it does not matter; their order among each other does,
and is kept.  Anything else that takes a value that is not yet rounded is refused.

The rule: a value is an object; that two nodes speak of the same one is never read off a name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from apsim.nn import rules
from apsim.nn.importers.constants import Const, ConstReal
from apsim.nn.model import (
    Flatten,
    Floats,
    Integers,
    Layer,
    Linear,
    Rearrange,
    Reshape,
    Tensor,
    Transpose,
    Weighted,
)

__all__ = [
    "PLACEHOLDER", "Bounds", "Chained", "Curve", "Joint", "Missing", "Pending", "Source", "Target",
    "Value",
]  # fmt: skip

PLACEHOLDER = rules.requant("onnx-exact", 1.0, lo=0, hi=1)  # made anew by `factors.refill`
REORDERED = (Flatten, Reshape, Transpose)


@dataclass(frozen=True)
class Bounds:
    """What a row of clips does to x: `min(max(x, lo), hi)`, with lo <= hi.

    >>> Bounds().then(2, 3).then(0, 1)
    Bounds(lo=1, hi=1)
    """

    lo: float = -math.inf
    hi: float = math.inf

    def then(self, lo: float, hi: float) -> Bounds:
        """These bounds, and then a clip to lo..hi, which gives hi where lo > hi."""
        return Bounds(min(max(self.lo, lo), hi), min(max(self.hi, lo), hi))

    @property
    def any(self) -> bool:
        """Whether they bound anything."""
        return self != Bounds()

    @property
    def relu(self) -> bool:
        """Whether zero is the lower bound."""
        return self.lo == 0


@dataclass(frozen=True, eq=False)
class Chained:
    """A layer that keeps its input's scale, the shapes before and after; tensors not yet named.

    `fill` is the real number that stands where a rearrangement takes none of its words.
    """

    layer: Layer
    before: tuple[int, ...]
    shape: tuple[int, ...]
    fill: float = 0.0

    @property
    def padded(self) -> bool:
        """Whether numbers are put beside the values."""
        return isinstance(self.layer, Rearrange) and bool((self.layer.index < 0).any())


@dataclass(frozen=True, eq=False)
class Joint:
    """How values become one: side by side along `axis`, the "max" or "min" of them, or those
    that `index` picks ("pick", counting the words of all parts), and `fill` where it is -1.
    """

    how: str = "concat"
    axis: int = 0
    index: Integers | None = None
    fill: Floats | None = None


def _itself(x: Floats) -> Floats:
    return x


@dataclass(frozen=True, eq=False)
class Curve:
    """A real function, in float64, of what the integers of `tensor` stand for.

    It takes words along the last axis; where it differs from place to place, it gives the
    axes of the places before them.  `times` is the number that is all it multiplies by.  The
    value is the function `behind` so many steps of its chain.
    """

    tensor: str
    function: Callable[[Floats], Floats] = _itself
    times: float = math.nan
    behind: int = 0

    def then(self, function: Callable[[Floats], Floats]) -> Curve:
        """Another function of what it gives."""
        before = self.function
        return Curve(self.tensor, lambda x: function(before(x)))


@dataclass(frozen=True, eq=False)
class Missing:
    """What a node would have given that cannot be imported: nothing after it is judged."""


@dataclass(frozen=True, eq=False)
class Source:
    """A real input of the graph before it is quantized: the `steps` of arithmetic, reshaped.

    A step has one number, or one for each place `along` an axis (the batch not counted).  `bits`
    are those of the file's own real numbers: arithmetic here is in float32.
    """

    name: str
    shape: tuple[int, ...]
    steps: tuple[tuple[str, float | tuple[float, ...]], ...] = ()
    chain: tuple[Chained, ...] = ()
    bounds: Bounds = Bounds()
    along: int = 0
    bits: int = 32


@dataclass(frozen=True, eq=False)
class Pending:
    """Real values: an integer tensor's (`source`), or those a `layer` will compute.

    `parts` are values that a `joint` makes one of.  The result passes through
    `chain` and `bounds`.  `integer` marks what the graph itself calls integers.  `nodes`
    are the graph's nodes it was made of.  Before chain and bounds it is also `curve`, where
    it is a function of one tensor.  All of it, the bounds too, is times `factor`.  `rows`
    says that the file has no batch axis beside the first one here, but all their rows in one.
    """

    shape: tuple[int, ...]
    source: str = ""
    layer: Layer | None = None
    parts: tuple[Pending, ...] = ()
    joint: Joint = Joint()
    chain: tuple[Chained, ...] = ()
    bounds: Bounds = Bounds()
    integer: bool = False
    nodes: tuple[int, ...] = ()
    curve: Curve | None = None
    factor: float = 1.0
    rows: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is just an integer tensor's real value."""
        return bool(self.source) and self.fresh

    @property
    def weighted(self) -> Weighted | None:
        """The layer with weights whose unrounded result this is, reordered at most."""
        return self.layer if self.reordered and isinstance(self.layer, Weighted) else None

    @property
    def reordered(self) -> bool:
        """Whether nothing was done to the layer's result but to shape it anew."""
        return not self.bounds.any and all(isinstance(s.layer, REORDERED) for s in self.chain)

    @property
    def channel_axis(self) -> int:
        """Where the channels of a layer's result lie in [N, *shape]; -1 where they were split."""
        before = self.chain[0].before if self.chain else self.shape
        axis = len(before) - 1 if isinstance(self.layer, Linear) else 0
        for step in self.chain:
            axis = _followed(step, axis)
            if axis < 0:
                return -1
        return 1 + axis

    @property
    def padded(self) -> bool:
        """Whether numbers were put beside the values."""
        return any(step.padded for step in self.chain)

    @property
    def fresh(self) -> bool:
        """Whether nothing was done to the layer's result yet."""
        return not self.chain and not self.bounds.any

    @property
    def core(self) -> tuple[Hashable, ...]:
        """What the value is made of before any bounds: equal for the same values only."""
        joint = self.joint
        of = (self.source, id(self.layer), *map(id, self.parts), joint.how, joint.axis,
              id(joint.index), id(joint.fill), self.factor)  # fmt: skip
        return (*of, *(id(step) for step in self.chain))

    def then(self, layer: Layer, shape: Sequence[int], node: int, fill: float = 0.0) -> Pending:
        """The value after a step that keeps its scale."""
        step = Chained(layer, self.shape, tuple(shape), fill / self.factor)
        return replace(self, chain=(*self.chain, step), shape=step.shape, nodes=(*self.nodes, node))

    def clipped(self, lo: float, hi: float, *nodes: int) -> Pending:
        """The value after a clip to lo..hi."""
        bounds = self.bounds.then(lo / self.factor, hi / self.factor)
        return replace(self, bounds=bounds, nodes=(*self.nodes, *nodes))


def _followed(step: Chained, axis: int) -> int:
    """Where an axis lies after a step, -1 where it is no axis of its own any more."""
    if isinstance(step.layer, Transpose):
        return step.layer.axes.index(axis)
    ahead, size = math.prod(step.before[:axis]), step.before[axis]
    same = (i for i, n in enumerate(step.shape) if n == size and math.prod(step.shape[:i]) == ahead)
    return next(same, -1)


@dataclass(frozen=True)
class Target:
    """The integers that a quantization asks for."""

    tensor: Tensor  # without a shape
    lo: int
    hi: int
    parity: int = 0
    rounding: str | None = None


Value = Const | ConstReal | Source | Pending | Missing
