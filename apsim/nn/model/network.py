"""One integer network: tensors by name, and layers in an order in which they can run.

The rule: only data here.  `rules` says how accumulators become activations, `exact`
runs a model in plain integers, `store` saves it, and the runtime executes it on APs.

Conventions.  Shapes never name the batch axis; arrays carry it first (N, C, H, W).
A layer that multiplies computes `acc = sum(x * w) + bias` on the raw integers x and w
of their declared widths: the weights' zero point is already subtracted from `weights`,
and the input's zero point is folded into `bias` (padding holds that zero point, so
padded positions contribute nothing).  Then `q = rules.scale(acc, requant)`, the ReLU
where `relu` says so, and `rules.finish(q, requant)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from apsim.errors import InputError, ModelError
from apsim.nn.model.tensor import Entry, Floats, Integers, Requant, Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """What every layer has; `host` says why the AP does not run it, empty where it does."""

    op: ClassVar[str] = "layer"
    name: str
    inputs: tuple[str, ...]
    output: str
    host: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Weighted(Layer):
    """A layer with constant weights, each output channel with its bias.

    `weights` may have any integer dtype (narrow ones save memory): widen before arithmetic.
    `bias` is all that is added to `sum(x * w)`, zero points included.  Without a `requant`
    the output is the accumulator itself.  `weight_scale` has one entry or one for each
    output channel; `real_weights` and `real_bias` are what the integers were made from.
    `shift` holds real values, added to the scaled accumulator before it is rounded, where
    a specification adds a bias that is no integer multiple of the accumulator's unit.
    """

    weights: Integers
    bias: Integers
    weight_bits: int
    weight_signed: bool = True
    weight_scale: Floats | None = None
    relu: bool = False
    requant: Requant | None = None
    real_weights: npt.NDArray[np.float32] | None = None
    real_bias: npt.NDArray[np.float32] | None = None
    shift: Floats | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv2d(Weighted):
    """2-D convolution, weights [O, I / groups, kh, kw]; padding is (top, left, bottom, right)."""

    op: ClassVar[str] = "conv2d"
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Linear(Weighted):
    """A matrix product over the last axis of the input, weights [O, I]."""

    op: ClassVar[str] = "linear"


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool(Layer):
    """The greatest integer of each window; padding never wins."""

    op: ClassVar[str] = "max_pool"
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class AvgPool(Layer):
    """The mean of each window: `total = sum(x) + bias`, then `rules.divide`.

    Padding holds the zero point.  `counted` (top, left, bottom, right) is the part of the
    padding that the divisor counts: all of it where padding counts, zeros where it does
    not.  A global pool is one whose kernel is the whole plane.  `gain` multiplies the mean
    (by the window's size, say, where a specification truncates sums).  `whole_plane` marks
    what its file calls a global pool, which onnxruntime rounds in another way.
    """

    op: ClassVar[str] = "average_pool"
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    counted: tuple[int, int, int, int] = (0, 0, 0, 0)
    gain: float = 1.0
    whole_plane: bool = False
    bias: int = 0
    requant: Requant


@dataclass(frozen=True, eq=False, kw_only=True)
class Add(Layer):
    """`acc = ma * a + mb * b + bias`, with (ma, mb) = (1, 1) where the scales are equal.

    Where a specification rounds each branch before it adds, `branches` holds the
    requantization of a and of b, applied to `(a - branch_zero_points[0]) << branch_shift`
    and so on, and the sum runs over what they give.
    """

    op: ClassVar[str] = "add"
    multipliers: tuple[int, int] = (1, 1)
    bias: int = 0
    relu: bool = False
    requant: Requant | None = None
    branches: tuple[Requant, Requant] | None = None
    branch_zero_points: tuple[int, int] = (0, 0)
    branch_shift: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Relu(Layer):
    """`max(x, zero point)`; scale and zero point stay."""

    op: ClassVar[str] = "relu"


@dataclass(frozen=True, eq=False, kw_only=True)
class Requantize(Layer):
    """The same real values at another scale or width: `requant(x + bias)`."""

    op: ClassVar[str] = "requantize"
    bias: int = 0
    relu: bool = False
    requant: Requant


@dataclass(frozen=True, eq=False, kw_only=True)
class Flatten(Layer):
    """All axes but the batch become one."""

    op: ClassVar[str] = "flatten"


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(Layer):
    """The same integers in the shape of the output tensor."""

    op: ClassVar[str] = "reshape"


@dataclass(frozen=True, eq=False, kw_only=True)
class Transpose(Layer):
    """Axes reordered; `axes` counts them without the batch, from 0."""

    op: ClassVar[str] = "transpose"
    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(Layer):
    """Inputs of equal scale and zero point side by side along `axis`, batch not counted."""

    op: ClassVar[str] = "concat"
    axis: int = 0


@dataclass(frozen=True, eq=False)
class Model:
    """A quantized network.

    `rule` is the requantization rule of its layers ("onnx-exact", "ort-f32", "tflite",
    "dyadic(k,mode)").  `entries` says how real numbers become an input tensor, where that
    is more than a rounding.  `ranges` holds, for each tensor, the greatest real magnitude that
    a width of 0, 1, ... bits should cover: what `at` quantizes with.
    """

    name: str
    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    layers: tuple[Layer, ...]
    about: str = ""
    licence: str = ""
    attribution: str = ""
    labels: tuple[str, ...] = ()
    entries: Mapping[str, Entry] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def input(self) -> str:
        """The name of the input tensor of a model that has one."""
        return _only(self.inputs, self.name, "input")

    @property
    def output(self) -> str:
        """The name of the output tensor of a model that has one."""
        return _only(self.outputs, self.name, "output")

    @property
    def weighted(self) -> tuple[Weighted, ...]:
        """The layers with weights in running order: those that a list of widths names."""
        return tuple(layer for layer in self.layers if isinstance(layer, Weighted))

    @property
    def bits(self) -> tuple[tuple[int, int], ...]:
        """(input bits, weight bits) of each layer with weights."""
        return tuple(
            (self.tensors[layer.inputs[0]].bits, layer.weight_bits) for layer in self.weighted
        )

    def called(self, name: str) -> str:
        """What the model's own file calls an input tensor."""
        entry = self.entries.get(name)
        return entry.name if entry is not None and entry.name else name

    def layer(self, name: str) -> Layer:
        """Find a layer; raises `InputError` with the names there are."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in self.layers)
        raise InputError(f"model {self.name!r} has no layer {name!r}; it has {known}")

    def at(self, bits: int | Sequence[int | tuple[int, int]]) -> Model:
        """Give the same network at other widths, one entry for each layer of `weighted`.

        See `precision.at`.
        """
        from apsim.nn.rules import precision  # it imports this module

        return precision.at(self, bits)

    def replace(self, **changes: Any) -> Model:
        """Give a model that differs in the named fields."""
        return replace(self, **changes)

    def __repr__(self) -> str:
        return f"<Model {self.name!r}: {len(self.layers)} layers, rule {self.rule}>"

    def __str__(self) -> str:
        return "\n".join([repr(self), *(_line(layer, self.tensors) for layer in self.layers)])


def _only(names: Sequence[str], model: str, what: str) -> str:
    if len(names) != 1:
        raise ModelError(
            f"model {model!r} has {len(names)} {what}s, one is needed: {', '.join(names)}"
        )
    return names[0]


def _line(layer: Layer, tensors: Mapping[str, Tensor]) -> str:
    inputs = ", ".join(f"{name} {tensors[name]}" for name in layer.inputs)
    width = f" w{layer.weight_bits}" if isinstance(layer, Weighted) else ""
    where = f"  (host: {layer.host})" if layer.host else ""
    return f"  {layer.name}: {layer.op}{width}  {inputs} -> {tensors[layer.output]}{where}"
