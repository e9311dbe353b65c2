"""Real values on their way to the next rounding.

Between a DequantizeLinear and the next QuantizeLinear a network computes with real
numbers.  A `Pending` keeps what was asked for (a convolution, a ReLU, a pool) without
rounding anything, until a quantization tells the output's scale; then the whole chain
becomes integer layers.  Monotone steps (ReLU, clip, max pool, reshape) commute with
rounding, so their order against it does not matter; anything else that takes a value
that is not yet rounded is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from apsim.nn.importers.graph import Array, Const
from apsim.nn.model import Floats, Layer, Tensor, Weighted

__all__ = ["Chained", "ConstReal", "Pending", "Source", "Target", "Value"]


@dataclass(frozen=True, eq=False)
class Chained:
    """A layer that keeps its input's scale, the shapes before and after; tensors not yet named."""

    layer: Layer
    before: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ConstReal:
    """A constant of real values: `scale * (integers - zero)`, both along `axis` or single.

    `lo` and `hi` bound the integers of its width.
    """

    integers: Array
    scale: Floats
    zero: Array
    axis: int
    lo: int
    hi: int

    @property
    def real(self) -> Floats:
        """The real values, in float64."""
        shape = [1] * self.integers.ndim
        if self.scale.size > 1 or self.zero.size > 1:
            shape[self.axis] = -1
        scale = self.scale.reshape(shape if self.scale.size > 1 else [1] * len(shape))
        zero = self.zero.reshape(shape if self.zero.size > 1 else [1] * len(shape))
        return np.asarray((self.integers - zero) * scale, np.float64)


@dataclass(frozen=True, eq=False)
class Source:
    """A real input of the graph before it is quantized: x * factor + shift, reshaped."""

    name: str
    shape: tuple[int, ...]
    factor: float = 1.0
    shift: float = 0.0
    chain: tuple[Chained, ...] = ()


@dataclass(frozen=True, eq=False)
class Pending:
    """Real values: an integer tensor's (`source`), or those a `layer` will compute.

    `parts` are values to stand side by side along `axis`.  The result passes through
    `chain`, ReLU and the clip lo..hi.  `integer` marks what the graph itself calls
    integers.  `nodes` are the graph's nodes it was made of.
    """

    shape: tuple[int, ...]
    source: str = ""
    layer: Layer | None = None
    parts: tuple[Pending, ...] = ()
    axis: int = 0
    chain: tuple[Chained, ...] = ()
    relu: bool = False
    lo: float = -math.inf
    hi: float = math.inf
    integer: bool = False
    nodes: tuple[int, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether it is just an integer tensor's real value."""
        return bool(self.source) and not self.chain and not self.bounded

    @property
    def bounded(self) -> bool:
        """Whether a ReLU or a clip waits."""
        return self.relu or self.lo > -math.inf or self.hi < math.inf

    @property
    def weighted(self) -> Weighted | None:
        """The layer with weights whose unrounded result this is, nothing done to it yet."""
        return self.layer if self.fresh and isinstance(self.layer, Weighted) else None

    @property
    def fresh(self) -> bool:
        """Whether nothing was done to the layer's result yet."""
        return not self.chain and not self.bounded

    def then(self, layer: Layer, shape: Sequence[int], node: int) -> Pending:
        """The value after a step that keeps its scale."""
        step = Chained(layer, self.shape, tuple(shape))
        return replace(self, chain=(*self.chain, step), shape=step.shape, nodes=(*self.nodes, node))

    def bounded_by(self, other: Pending) -> Pending:
        """The value under the ReLU and the clip of another one as well."""
        return replace(
            self, relu=self.relu or other.relu, lo=max(self.lo, other.lo),
            hi=min(self.hi, other.hi),
        )  # fmt: skip

    def clipped(self, lo: float, hi: float, node: int) -> Pending:
        """The value bounded by lo..hi as well; a lower bound of zero is a ReLU."""
        return replace(
            self,
            relu=self.relu or lo == 0,
            lo=max(self.lo, lo) if lo != 0 else self.lo,
            hi=min(self.hi, hi),
            nodes=(*self.nodes, node),
        )


@dataclass(frozen=True)
class Target:
    """The integers that a quantization asks for."""

    tensor: Tensor  # without a shape
    lo: int
    hi: int
    parity: int = 0
    rounding: str | None = None


Value = Const | ConstReal | Source | Pending
