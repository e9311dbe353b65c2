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
from apsim.records import Record, Tabular


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """What every layer has; `host` says why the AP does not run it, empty where it does."""

    op: ClassVar[str] = "layer"
    work: ClassVar[str] = "reshape"  # of the host
    name: str
    inputs: tuple[str, ...]
    output: str
    host: str = ""

    @property
    def on_host(self) -> str:
        """What the host does where it runs the layer, in words for a report."""
        return self.host or self.work

    @property
    def is_fluid(self) -> bool:
        """Whether it has widths to be chosen (`Model.at`)."""
        return False


@dataclass(frozen=True, eq=False, kw_only=True)
class Weighted(Layer):
    """A layer with constant weights, each output channel with its bias.

    `weights` may have any integer dtype (narrow ones save memory): widen before arithmetic.
    `bias` is all that is added to `sum(x * w)`, zero points included.  Without a `requant`
    the output is the accumulator itself.  `weight_scale` has one entry or one for each
    output channel; `real_weights` and `real_bias` are what the integers were made from.
    `sum_bits` is 32 where a specification keeps sums of 16-bit inputs in 32 bits, which
    decides its multiplier; 0 where it does not say.
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
    sum_bits: int = 0

    @property
    def is_fluid(self) -> bool:
        """Always."""
        return True


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
    """A matrix product over the last axis of the input, weights [O, I].

    `bias` has an entry for each output, or the output's own shape, where each token has
    a bias of its own (learned positions).
    """

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


@dataclass(frozen=True, eq=False, kw_only=True)
class Table(Layer):
    """Any function of a word: `values[which, x - lo]`, lo being the least integer of the input.

    `values` is [tables, 2 ** bits of the input]; `which`, of a shape that broadcasts to the
    output's, says which table each place takes.  `function` names what it is a table of.
    """

    op: ClassVar[str] = "table"
    values: Integers
    which: Integers = field(default_factory=lambda: np.zeros(1, np.int32))
    function: str = ""

    @property
    def on_host(self) -> str:
        """A table that is looked up."""
        return f"table ({self.function})"


@dataclass(frozen=True, eq=False, kw_only=True)
class Steps(Layer):
    """A function of a wide word by the words where it changes: a table for sums.

    `values[which, n]`, n being how many of the rising `breaks[which]` the word reaches.  `unit`
    is the scale of the words that it was made for (each channel's), `function` what it is.
    """

    op: ClassVar[str] = "steps"
    breaks: Integers
    values: Integers
    which: Integers = field(default_factory=lambda: np.zeros(1, np.int32))
    unit: tuple[float, ...] = ()
    function: str = ""

    @property
    def on_host(self) -> str:
        """What the host looks up."""
        return f"arithmetic (steps of {self.function})"


@dataclass(frozen=True, eq=False, kw_only=True)
class Rearrange(Layer):
    """Words brought to other places, or constants, and nothing computed.

    `index`, of the output's shape, counts the words of all inputs one after the other, each
    in row-major order without the batch; where it is -1 the output holds its zero point plus
    `fill` (which broadcasts to the output's shape).  `what` names the operator.
    """

    op: ClassVar[str] = "rearrange"
    index: Integers
    fill: Integers = field(default_factory=lambda: np.zeros(1, np.int64))
    what: str = ""

    @property
    def on_host(self) -> str:
        """A move of words."""
        return f"move ({self.what})"


@dataclass(frozen=True, eq=False, kw_only=True)
class Multiply(Layer):
    """`(a - za) * (b - zb)`, word by word, with the inputs' zero points; then `requant`.

    `gain` multiplies the real product, in the factor of the requantization.
    """

    op: ClassVar[str] = "multiply"
    work: ClassVar[str] = "arithmetic (products of two words)"
    gain: float = 1.0
    relu: bool = False
    requant: Requant | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Maximum(Layer):
    """The greater of two words of one scale, or where `least` says so the lesser."""

    op: ClassVar[str] = "maximum"
    work: ClassVar[str] = "arithmetic (maximum)"
    least: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Sum(Layer):
    """`sum(x) + bias` over `axes` (the batch not counted), then `requant`.

    The output has the shape of its tensor.  `mean` says that the factor of the
    requantization has been divided by how many words there are in a sum.
    """

    op: ClassVar[str] = "sum"
    work: ClassVar[str] = "arithmetic (sums)"
    axes: tuple[int, ...]
    mean: bool = False
    bias: int = 0
    relu: bool = False
    requant: Requant


@dataclass(frozen=True, eq=False, kw_only=True)
class MatMul(Layer):
    """`sum((a - za) * (b - zb))` of a [..., T, K] and b [..., K, U], or [..., U, K] where
    `transposed` says so; then `requant`.  The axes before the last two are equal.
    `dense` marks what its file calls a fully connected layer, which TFLite rounds otherwise.
    `gain` multiplies the real products, in the factor of the requantization.
    """

    op: ClassVar[str] = "matmul"
    work: ClassVar[str] = "arithmetic (products of two tensors)"
    gain: float = 1.0
    transposed: bool = False
    dense: bool = False
    relu: bool = False
    requant: Requant | None = None

    @property
    def is_fluid(self) -> bool:
        """Always."""
        return True


@dataclass(frozen=True, eq=False, kw_only=True)
class Interpolate(Layer):
    """Four neighbours weighed by their nearness, on a `grid` of 1/1024 (bilinear resizing).

    `rows` [H', 3] and `columns` [W', 3] hold the lower neighbour, the upper one, and the
    upper one's weight in parts of `grid` (for rows, for columns), of each output row and
    column; planes are [C, H, W].  `fractions` holds them where they are float32.  With a
    `requant` the sum of weighed `x - zero point` is divided by the grid and rounded once.
    """

    op: ClassVar[str] = "interpolate"
    work: ClassVar[str] = "arithmetic (bilinear interpolation)"
    rows: Integers
    columns: Integers
    fractions: tuple[Floats, ...] = ()
    grid: tuple[int, int] = (1024, 1024)
    requant: Requant | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class ArgMax(Layer):
    """Where along `axis` (the batch not counted) the greatest word stands first, or the least."""

    op: ClassVar[str] = "arg_max"
    work: ClassVar[str] = "arithmetic (arg max)"
    axis: int
    least: bool = False


@dataclass(frozen=True, eq=False)
class State:
    """What one step leaves to the next: `written` becomes `read`, which is `start` at first."""

    read: str
    written: str
    start: Integers


@dataclass(frozen=True, eq=False)
class Model(Tabular):
    """A quantized network.

    `rule` is the requantization rule of its layers ("onnx-exact", "ort-f32", "tflite",
    "dyadic(k,mode)").  `entries` says how real numbers become an input tensor, where that
    is more than a rounding.  `ranges` holds, for each tensor, the greatest real magnitude that
    a width of 0, 1, ... bits should cover: what `at` quantizes with.  `states` are tensors
    that a streaming network reads at the start of a step and writes for the next one.
    `unbatched` are outputs that have no batch axis in the model's own file.
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
    states: tuple[State, ...] = ()
    unbatched: tuple[str, ...] = ()

    def table(self) -> list[Record]:
        """A record for each layer: its kind, inputs, output shape and widths."""
        bits = dict(zip((layer.name for layer in self.fluid), self.bits, strict=True))
        return [
            {
                "layer": layer.name,
                "operation": layer.op,
                "inputs": ", ".join(layer.inputs),
                "shape": "x".join(map(str, self.tensors[layer.output].shape)),
                "bits_a": bits.get(layer.name, (None, None))[0],
                "bits_w": bits.get(layer.name, (None, None))[1],
                "weights": layer.weights.size if isinstance(layer, Weighted) else 0,
            }
            for layer in self.layers
        ]

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
        """The layers with weights in running order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Weighted))

    @property
    def fluid(self) -> tuple[Layer, ...]:
        """The layers that a list of widths names, in running order.

        They are those with weights, products of two tensors, and the AP's own softmax.
        """
        return tuple(layer for layer in self.layers if layer.is_fluid)

    @property
    def bits(self) -> tuple[tuple[int, int], ...]:
        """A pair for each layer of `fluid`: bits of its input and of its weights.

        A product of two tensors has those of its two inputs, a softmax twice those of its own.
        """
        return tuple(self._bits_of(layer) for layer in self.fluid)

    def _bits_of(self, layer: Layer) -> tuple[int, int]:
        given = self.tensors[layer.inputs[0]].bits
        if isinstance(layer, Weighted):
            return given, layer.weight_bits
        return given, self.tensors[layer.inputs[-1]].bits

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
        """Give the same network at other widths, one entry for each layer of `fluid`.

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
