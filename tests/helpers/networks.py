"""Small random networks for the tests of `apsim.nn`: hypothesis strategies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from apsim.nn import rules
from apsim.nn.model import (
    Add,
    AvgPool,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    Model,
    Relu,
    Requant,
    Requantize,
    Tensor,
    check,
)  # fmt: skip

Integers = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A network of one layer and a batch for it."""

    model: Model
    x: Integers

    @property
    def layer(self) -> Any:
        return self.model.layers[0]


def integers_in(tensor: Tensor, batch: int, seed: int) -> Integers:
    """A batch of uniform integers of a tensor's width, its ends among them."""
    rng = np.random.default_rng(seed)
    values = rng.integers(tensor.lo, tensor.hi, (batch, *tensor.shape), endpoint=True)
    ends = rng.random(values.shape) < 0.1
    return np.where(ends, rng.choice([tensor.lo, tensor.hi], values.shape), values)


@st.composite
def input_tensors(draw: st.DrawFn, shape: tuple[int, ...], widest: int = 16) -> Tensor:
    """A tensor of any width and sign, its zero point anywhere."""
    bits, signed = draw(st.integers(1, widest)), draw(st.booleans())
    plain = Tensor(shape, bits, signed, 0.5)
    zero = draw(st.sampled_from([0, plain.lo, plain.hi]) | st.integers(plain.lo, plain.hi))
    return Tensor(shape, bits, signed, 0.5, zero)


@st.composite
def requants(draw: st.DrawFn, channels: int, output: Tensor) -> Requant:
    """A requantization under any rule, with factors of ordinary size and powers of two."""
    rule = draw(st.sampled_from(["onnx-exact", "ort-f32", "tflite", "dyadic(31,half-up)"]))
    factor = st.floats(2**-20, 1.0, width=32) | st.integers(0, 12).map(lambda n: 2.0**-n)
    size = draw(st.sampled_from([1, channels]))
    factors = draw(st.lists(factor, min_size=size, max_size=size))
    return rules.requant(rule, factors, zero_point=output.zero_point, lo=output.lo, hi=output.hi)


def one_layer(layer: Layer, given: Tensor, made: Tensor) -> Model:
    """A checked network of one layer, from tensor "x" to tensor "y"."""
    rule = getattr(getattr(layer, "requant", None), "rule", "onnx-exact")
    return check.verify(Model("case", rule, ("x",), ("y",), {"x": given, "y": made}, (layer,)))


def paddings() -> st.SearchStrategy[tuple[int, int, int, int]]:
    return st.tuples(*[st.integers(0, 2)] * 4)


@st.composite
def conv2d_cases(draw: st.DrawFn, widest: int = 16) -> Case:
    """Convolutions: odd paddings, strides, dilation, groups, any widths, zero points."""
    seed, groups = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 3))
    each, outs = draw(st.integers(1, 3)), groups * draw(st.integers(1, 2))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    size = draw(st.tuples(st.integers(5, 7), st.integers(5, 7)))
    given = draw(input_tensors((groups * each, *size), widest))
    layer = _weighted(draw, Conv2d, (outs, each, *kernel), given, widest, seed, {
        "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "padding": draw(paddings()),
        "dilation": draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        "groups": groups,
    })  # fmt: skip
    return _case(draw, layer, given, seed, outs)


@st.composite
def linear_cases(draw: st.DrawFn, widest: int = 16) -> Case:
    """Matrix products of any size and width."""
    seed = draw(st.integers(0, 2**32 - 1))
    features, outs = draw(st.integers(1, 20)), draw(st.integers(1, 6))
    given = draw(input_tensors((features,), widest))
    layer = _weighted(draw, Linear, (outs, features), given, widest, seed, {})
    return _case(draw, layer, given, seed, outs)


def _weighted(
    draw: st.DrawFn, kind: Any, shape: tuple[int, ...], given: Tensor, widest: int, seed: int,
    more: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    bits, signed = draw(st.integers(1, widest)), draw(st.booleans())
    rng = np.random.default_rng(seed)
    low, high = check.weights_range(bits, signed)
    weights = rng.integers(low, high, shape, endpoint=True)
    sums = weights.reshape(shape[0], -1).sum(axis=1)
    bias = rng.integers(-1000, 1000, shape[0]) - given.zero_point * sums
    return {
        "kind": kind, "weights": weights, "bias": bias, "weight_bits": bits,
        "weight_signed": signed, "relu": draw(st.booleans()), **more,
    }  # fmt: skip


def _case(draw: st.DrawFn, fields: dict[str, Any], given: Tensor, seed: int, outs: int) -> Case:
    from apsim.nn.model import windows

    kind = fields.pop("kind")
    layer = kind(name="layer", inputs=("x",), output="y", **fields)
    plane = windows.plane(layer, *given.shape[1:]) if kind is Conv2d else ()
    made = draw(input_tensors((outs, *plane)))
    settled = kind(
        name="layer", inputs=("x",), output="y", requant=draw(requants(outs, made)), **fields
    )
    return Case(one_layer(settled, given, made), integers_in(given, 2, seed))


@st.composite
def pool_cases(draw: st.DrawFn, kind: type[MaxPool] | type[AvgPool]) -> Case:
    """Pools with overlapping or separate windows, padding smaller than the kernel."""
    seed = draw(st.integers(0, 2**32 - 1))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    given = draw(input_tensors((2, draw(st.integers(4, 7)), draw(st.integers(4, 7)))))
    padding = tuple(draw(st.integers(0, min(2, kernel[i % 2] - 1))) for i in range(4))
    fields: dict[str, Any] = {
        "kernel": kernel,
        "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "padding": padding,
    }
    if kind is AvgPool:
        fields["counted"] = draw(st.sampled_from([padding, (0, 0, 0, 0)]))
        fields["bias"] = -given.zero_point * kernel[0] * kernel[1]
        fields["requant"] = rules.requant(
            "onnx-exact", draw(st.sampled_from([1.0, 0.7, 0.25])),
            zero_point=given.zero_point, lo=given.lo, hi=given.hi,
        )  # fmt: skip
    from apsim.nn.model import windows

    layer = kind(name="layer", inputs=("x",), output="y", **fields)
    shape = (2, *windows.plane(layer, *given.shape[1:]))
    made = Tensor(shape, given.bits, given.signed, given.scale, given.zero_point)
    return Case(one_layer(layer, given, made), integers_in(given, 2, seed))


@st.composite
def add_cases(draw: st.DrawFn, widest: int = 12) -> Case:
    """Residual additions of two inputs: equal scales, or a constant for each of them."""
    seed, shape = draw(st.integers(0, 2**32 - 1)), (2, draw(st.integers(1, 5)), 3)
    tensors = {name: draw(input_tensors(shape, widest)) for name in "ab"}
    made = draw(input_tensors(shape, 16))
    constants = st.integers(-40, 40).filter(bool)
    layer = Add(
        name="layer", inputs=("a", "b"), output="y", relu=draw(st.booleans()),
        multipliers=draw(st.just((1, 1)) | st.tuples(constants, constants)),
        bias=draw(st.integers(-1000, 1000)), requant=draw(requants(2, made)),
    )  # fmt: skip
    model = Model("case", layer.requant.rule, ("a", "b"), ("y",), {**tensors, "y": made}, (layer,))
    inputs = {name: integers_in(tensor, 2, seed) for name, tensor in tensors.items()}
    return Case(check.verify(model), inputs)


@st.composite
def plain_cases(draw: st.DrawFn) -> Case:
    """Layers without weights or windows: ReLU, requantization, flattening."""
    seed, shape = draw(st.integers(0, 2**32 - 1)), (2, draw(st.integers(1, 4)), 3)
    kind = draw(st.sampled_from([Relu, Requantize, Flatten]))
    given = draw(input_tensors(shape, 16))
    fields: dict[str, Any] = {}
    made = given
    if kind is Requantize:
        made = draw(input_tensors(shape, 16))
        fields = {"requant": draw(requants(2, made)), "relu": draw(st.booleans()), "bias": 7}
    if kind is Flatten:
        made = Tensor((shape[0] * shape[1] * shape[2],), given.bits, given.signed)
    layer = kind(name="layer", inputs=("x",), output="y", **fields)
    return Case(one_layer(layer, given, made), integers_in(given, 2, seed))


@st.composite
def global_pool_cases(draw: st.DrawFn) -> Case:
    """Average pools over a whole plane, of a size that is rarely a power of two."""
    seed = draw(st.integers(0, 2**32 - 1))
    size = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    given = draw(input_tensors((2, *size), 16))
    layer = AvgPool(
        name="layer", inputs=("x",), output="y", kernel=size, stride=(1, 1),
        bias=-given.zero_point * size[0] * size[1],
        requant=rules.requant("onnx-exact", 1.0, zero_point=given.zero_point, lo=given.lo,
                              hi=given.hi),
    )  # fmt: skip
    made = Tensor((2, 1, 1), given.bits, given.signed, given.scale, given.zero_point)
    return Case(one_layer(layer, given, made), integers_in(given, 2, seed))


def small_network(bits: int = 4) -> Model:
    """A residual network of every kind of layer, of 4x4 planes: quick even on the definition."""
    rng, make = np.random.default_rng(5), _Chain(bits)
    make.add(Conv2d, (3, 4, 4), weights=rng.integers(-7, 8, (3, 2, 3, 3)), padding=(1,) * 4)
    make.add(MaxPool, (3, 3, 3), kernel=(2, 2), stride=(1, 1))
    make.add(Conv2d, (3, 3, 3), weights=rng.integers(-7, 8, (3, 3, 1, 1)))
    make.add(Add, (3, 3, 3), also=("max_pool",))
    make.add(AvgPool, (3, 1, 1), kernel=(3, 3), stride=(1, 1))
    make.add(Flatten, (3,))
    make.add(Linear, (10,), weights=rng.integers(-7, 8, (10, 3)), settled=False)
    return make.model()


class _Chain:
    """Layers one after the other, each named for what it is and numbered from the second on."""

    def __init__(self, bits: int) -> None:
        self.bits, self.layers = bits, []
        self.tensors = {"x": Tensor((2, 4, 4), bits, False)}

    def add(
        self, kind: Any, shape: tuple[int, ...], *, also: tuple[str, ...] = (),
        settled: bool = True, **fields: Any,
    ) -> None:  # fmt: skip
        name = kind.op if kind.op not in self.tensors else f"{kind.op} 2"
        if "weights" in fields:
            fields |= {"bias": np.arange(shape[0]), "weight_bits": 4}
        if settled and "requant" in kind.__dataclass_fields__:
            factor = 1.0 if kind is AvgPool else 0.25
            hi = (1 << self.bits) - 1
            fields["requant"] = rules.requant("onnx-exact", factor, lo=0, hi=hi)
        last = list(self.tensors)[-1]
        self.tensors[name] = Tensor(shape, self.bits if settled else 32, not settled)
        self.layers.append(kind(name=name, inputs=(last, *also), output=name, **fields))

    def model(self) -> Model:
        outputs = (self.layers[-1].output,)
        return check.verify(
            Model("small", "onnx-exact", ("x",), outputs, self.tensors, tuple(self.layers))
        )
