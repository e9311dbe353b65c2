"""One-operator TFLite models built byte by byte: a hypothesis strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite
from hypothesis import strategies as st
from numpy.typing import NDArray

Array = NDArray[Any]
TYPES = {
    "float32": 0,
    "int32": 2,
    "uint8": 3,
    "int64": 4,
    "int16": 7,
    "int8": 9,
    "resource": 13,
    "bool": 6,
}
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
SAME, VALID = 0, 1


@dataclass
class TensorSpec:
    """A tensor to be: `data` for a constant, a scale for each channel or one."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: list[float] = field(default_factory=list)
    zero: list[int] = field(default_factory=list)
    data: Array | None = None
    axis: int = 0
    variable: bool = False


@dataclass
class TfliteCase:
    """The bytes of a model with one operator, and a batch of one for each of its inputs."""

    op: str
    content: bytes = field(repr=False)
    inputs: list[Array] = field(default_factory=list)


class Builder:
    """A flatbuffer with the vectors and strings that the schema wants."""

    def __init__(self) -> None:
        self.b = flatbuffers.Builder(4096)

    def ints(self, values: Any, dtype: Any = np.int32) -> int:
        return self.b.CreateNumpyVector(np.asarray(values, dtype))

    def offsets(self, start: Any, items: list[int]) -> int:
        start(self.b, len(items))
        for item in reversed(items):
            self.b.PrependUOffsetTRelative(item)
        return self.b.EndVector()

    def tensor(self, spec: TensorSpec, buffer: int) -> int:
        name, shape = self.b.CreateString(spec.name), self.ints(spec.shape)
        quantization = 0
        if spec.scale:
            scale, zero = self.ints(spec.scale, np.float32), self.ints(spec.zero, np.int64)
            tflite.QuantizationParametersStart(self.b)
            tflite.QuantizationParametersAddScale(self.b, scale)
            tflite.QuantizationParametersAddZeroPoint(self.b, zero)
            tflite.QuantizationParametersAddQuantizedDimension(self.b, spec.axis)
            quantization = tflite.QuantizationParametersEnd(self.b)
        tflite.TensorStart(self.b)
        tflite.TensorAddName(self.b, name)
        tflite.TensorAddShape(self.b, shape)
        tflite.TensorAddType(self.b, TYPES[spec.dtype])
        tflite.TensorAddBuffer(self.b, buffer)
        tflite.TensorAddIsVariable(self.b, spec.variable)
        if quantization:
            tflite.TensorAddQuantization(self.b, quantization)
        return tflite.TensorEnd(self.b)

    def buffer(self, data: Array | None) -> int:
        vector = None if data is None else self.b.CreateByteVector(data.tobytes())
        tflite.BufferStart(self.b)
        if vector is not None:
            tflite.BufferAddData(self.b, vector)
        return tflite.BufferEnd(self.b)

    def options(self, kind: str, values: dict[str, Any]) -> int:
        texts = {k: self.b.CreateString(v) for k, v in values.items() if isinstance(v, str)}
        values = values | texts
        getattr(tflite, f"{kind}Start")(self.b)
        for name, value in values.items():
            getattr(tflite, f"{kind}Add{name}")(self.b, value)
        return getattr(tflite, f"{kind}End")(self.b)

    def operator(self, code: int, spec: OperatorSpec) -> int:
        options = self.options(spec.kind, spec.values) if spec.kind else 0
        inputs, outputs = self.ints(spec.inputs), self.ints(spec.outputs)
        inner = self.ints(spec.intermediates)
        tflite.OperatorStart(self.b)
        tflite.OperatorAddOpcodeIndex(self.b, code)
        tflite.OperatorAddInputs(self.b, inputs)
        tflite.OperatorAddOutputs(self.b, outputs)
        if spec.intermediates:
            tflite.OperatorAddIntermediates(self.b, inner)
        if spec.kind:
            tflite.OperatorAddBuiltinOptionsType(self.b, getattr(tflite.BuiltinOptions, spec.kind))
            tflite.OperatorAddBuiltinOptions(self.b, options)
        return tflite.OperatorEnd(self.b)

    def code(self, spec: OperatorSpec) -> int:
        op, _, custom = spec.op.partition(" ")
        number = getattr(tflite.BuiltinOperator, op)
        called = self.b.CreateString(custom) if custom else 0
        tflite.OperatorCodeStart(self.b)
        if custom:
            tflite.OperatorCodeAddCustomCode(self.b, called)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(self.b, min(number, 127))
        tflite.OperatorCodeAddBuiltinCode(self.b, number)
        tflite.OperatorCodeAddVersion(self.b, spec.version)
        return tflite.OperatorCodeEnd(self.b)

    def subgraph(
        self, specs: list[TensorSpec], operators: list[OperatorSpec], buffer: int, code: int,
        outputs: list[int],
    ) -> int:  # fmt: skip
        tensors = [self.tensor(spec, buffer + i) for i, spec in enumerate(specs)]
        made = {i for one in operators for i in one.outputs}
        made.update(i for one in operators for i in one.intermediates)
        inputs = [
            i for i, spec in enumerate(specs)
            if spec.data is None and i not in made and not spec.variable
        ]  # fmt: skip
        given, last = self.ints(inputs), self.ints(outputs)
        built = [self.operator(code + i, one) for i, one in enumerate(operators)]
        tensor_vector = self.offsets(tflite.SubGraphStartTensorsVector, tensors)
        operator_vector = self.offsets(tflite.SubGraphStartOperatorsVector, built)
        tflite.SubGraphStart(self.b)
        tflite.SubGraphAddTensors(self.b, tensor_vector)
        tflite.SubGraphAddInputs(self.b, given)
        tflite.SubGraphAddOutputs(self.b, last)
        tflite.SubGraphAddOperators(self.b, operator_vector)
        return tflite.SubGraphEnd(self.b)


@dataclass(frozen=True)
class OperatorSpec:
    """An operator to be: its tensors by index, its options by name."""

    op: str
    inputs: list[int]
    output: int | list[int]
    kind: str
    values: dict[str, Any]
    version: int
    intermediates: tuple[int, ...] = ()

    @property
    def outputs(self) -> list[int]:
        return self.output if isinstance(self.output, list) else [self.output]


def model(
    op: str, specs: list[TensorSpec], kind: str, values: dict[str, Any], version: int
) -> bytes:
    """A model of one operator: all tensors but the last are its inputs, the last its output."""
    last = len(specs) - 1
    return network(specs, [OperatorSpec(op, list(range(last)), last, kind, values, version)])


def network(
    specs: list[TensorSpec],
    operators: list[OperatorSpec],
    others: Sequence[tuple[list[TensorSpec], list[OperatorSpec]]] = (),
    outputs: list[int] | None = None,
) -> bytes:
    """A model of several operators: none of them makes its inputs.

    The last one gives its outputs where no others are named.  `others` are the subgraphs that
    follow the main one.
    """
    builder = Builder()
    b = builder.b
    graphs = [(specs, operators), *others]
    every = [spec for some, _ in graphs for spec in some]
    buffers = [builder.buffer(None), *(builder.buffer(spec.data) for spec in every)]
    codes = [one for _, some in graphs for one in some]
    made, tensor, code = [], 1, 0
    for some, ops in graphs:
        last = outputs if outputs and not made else ops[-1].outputs
        made.append(builder.subgraph(some, ops, tensor, code, last))
        tensor, code = tensor + len(some), code + len(ops)
    code_vector = builder.offsets(
        tflite.ModelStartOperatorCodesVector, [builder.code(one) for one in codes]
    )
    graph_vector = builder.offsets(tflite.ModelStartSubgraphsVector, made)
    buffer_vector = builder.offsets(tflite.ModelStartBuffersVector, buffers)
    tflite.ModelStart(b)
    tflite.ModelAddVersion(b, 3)
    tflite.ModelAddOperatorCodes(b, code_vector)
    tflite.ModelAddSubgraphs(b, graph_vector)
    tflite.ModelAddBuffers(b, buffer_vector)
    b.Finish(tflite.ModelEnd(b), b"TFL3")
    return bytes(b.Output())


class Drawn:
    """Shapes and switches by Hypothesis, contents by a seed."""

    def __init__(self, draw: st.DrawFn, wide: bool = False) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.dtype = "int16" if wide else "int8"

    def size(self, lo: int, hi: int) -> int:
        return self.draw(st.integers(lo, hi))

    def activation(self, *choices: int) -> int:
        return self.draw(st.sampled_from(choices or (NONE, RELU, RELU6, RELU_N1_TO_1)))

    def values(self, shape: tuple[int, ...]) -> Array:
        info = np.iinfo(self.dtype)
        return self.rng.integers(info.min, info.max, shape, endpoint=True).astype(self.dtype)

    def tensor(self, name: str, shape: tuple[int, ...], scale: float) -> TensorSpec:
        """Asymmetric at 8 bits, symmetric at 16, as TFLite defines them."""
        zero = 0 if self.dtype == "int16" else self.size(-128, 127)
        return TensorSpec(name, shape, self.dtype, [float(np.float32(scale))], [zero])

    def scale(self) -> float:
        top = 128 if self.dtype == "int8" else 32768
        return float(self.rng.uniform(1, 8) / top)

    def plane(self) -> tuple[int, ...]:
        return 1, self.size(3, 7), self.size(3, 7), self.size(1, 4)

    def weighted(self, shape: tuple[int, ...], axis: int, x: TensorSpec) -> list[TensorSpec]:
        """Symmetric weights with a scale for each channel, and biases in their unit."""
        channels = shape[axis]
        weights = self.rng.integers(-127, 128, shape).astype(np.int8)
        scale = np.float32(self.rng.uniform(0.2, 2, channels) / 128)
        kind = "int32" if self.dtype == "int8" else "int64"
        bias = self.rng.integers(-5000, 5000, channels).astype(kind)
        unit = [float(np.float32(x.scale[0]) * s) for s in scale]
        return [
            TensorSpec("w", shape, "int8", scale.tolist(), [0] * channels, weights, axis),
            TensorSpec("b", (channels,), kind, unit, [0] * channels, bias),
        ]


def out_of(size: int, kernel: int, stride: int, padding: int) -> int:
    return -(-size // stride) if padding == SAME else (size - kernel) // stride + 1


@st.composite
def convolutions(draw: st.DrawFn, wide: bool = False) -> TfliteCase:
    """CONV_2D and DEPTHWISE_CONV_2D, both paddings, strides, fused activations."""
    d = Drawn(draw, wide)
    shape, depthwise = d.plane(), draw(st.booleans())
    x = d.tensor("x", shape, d.scale())
    kernel, stride = (d.size(1, 3), d.size(1, 3)), (d.size(1, 2), d.size(1, 2))
    if depthwise:
        stride = (stride[0], stride[0])
    padding = draw(st.sampled_from([SAME, VALID]))
    outs = shape[3] if depthwise else d.size(1, 4)
    own = (1, *kernel, outs) if depthwise else (outs, *kernel, shape[3])
    w, b = d.weighted(own, 3 if depthwise else 0, x)
    plane = [out_of(shape[i + 1], kernel[i], stride[i], padding) for i in (0, 1)]
    y = d.tensor("y", (1, *plane, outs), d.scale() * 3)
    kind = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
    fused = d.activation() if not wide else d.activation(NONE, RELU)
    values = {"Padding": padding, "StrideH": stride[0], "StrideW": stride[1]}
    values |= {"DilationHFactor": 1, "DilationWFactor": 1, "FusedActivationFunction": fused}
    if depthwise:
        values["DepthMultiplier"] = 1
    op = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    return TfliteCase(op, model(op, [x, w, b, y], kind, values, 3), [d.values(shape)])


@st.composite
def fully_connected(draw: st.DrawFn, wide: bool = False) -> TfliteCase:
    """FULLY_CONNECTED with one scale for all weights."""
    d = Drawn(draw, wide)
    features, outs = d.size(1, 40), d.size(1, 6)
    x = d.tensor("x", (1, features), d.scale())
    w, b = d.weighted((outs, features), 0, x)
    w.scale, w.zero, b.scale, b.zero = w.scale[:1], [0], b.scale[:1], [0]
    y = d.tensor("y", (1, outs), d.scale() * 3)
    values = {"FusedActivationFunction": d.activation(NONE, RELU)}
    content = model("FULLY_CONNECTED", [x, w, b, y], "FullyConnectedOptions", values, 4)
    return TfliteCase("FULLY_CONNECTED", content, [d.values((1, features))])


@st.composite
def additions(draw: st.DrawFn) -> TfliteCase:
    """ADD of two tensors of unequal scales."""
    d = Drawn(draw)
    shape = d.plane()
    a, b = d.tensor("a", shape, d.scale()), d.tensor("b", shape, d.scale())
    y = d.tensor("y", shape, d.scale())
    values = {"FusedActivationFunction": d.activation()}
    content = model("ADD", [a, b, y], "AddOptions", values, 2)
    return TfliteCase("ADD", content, [d.values(shape), d.values(shape)])


@st.composite
def pools(draw: st.DrawFn) -> TfliteCase:
    """AVERAGE_POOL_2D and MAX_POOL_2D: output and input share their scale."""
    d = Drawn(draw)
    op = draw(st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"]))
    shape = d.plane()
    x = d.tensor("x", shape, d.scale())
    kernel, stride = (d.size(1, 3), d.size(1, 3)), (d.size(1, 3), d.size(1, 3))
    padding = draw(st.sampled_from([SAME, VALID]))
    plane = [out_of(shape[i + 1], kernel[i], stride[i], padding) for i in (0, 1)]
    y = TensorSpec("y", (1, *plane, shape[3]), d.dtype, x.scale, x.zero)
    fused = d.activation() if op.startswith("A") else NONE
    values = {"Padding": padding, "StrideH": stride[0], "StrideW": stride[1],
              "FilterHeight": kernel[0], "FilterWidth": kernel[1],
              "FusedActivationFunction": fused}  # fmt: skip
    return TfliteCase(op, model(op, [x, y], "Pool2DOptions", values, 2), [d.values(shape)])


@st.composite
def concatenations(draw: st.DrawFn) -> TfliteCase:
    """CONCATENATION of equal scales along any axis but the batch."""
    d = Drawn(draw)
    shape, axis = d.plane(), d.size(1, 3)
    other = tuple(d.size(1, 3) if i == axis else size for i, size in enumerate(shape))
    a = d.tensor("a", shape, d.scale())
    b = TensorSpec("b", other, d.dtype, a.scale, a.zero)
    both = tuple(
        s + o if i == axis else s for i, (s, o) in enumerate(zip(shape, other, strict=True))
    )
    y = TensorSpec("y", both, d.dtype, a.scale, a.zero)
    values = {"Axis": axis, "FusedActivationFunction": NONE}
    content = model("CONCATENATION", [a, b, y], "ConcatenationOptions", values, 2)
    return TfliteCase("CONCATENATION", content, [d.values(shape), d.values(other)])


@st.composite
def padded_convolutions(draw: st.DrawFn) -> TfliteCase:
    """PAD of a plane with its zero point, and a CONV_2D that takes it."""
    d = Drawn(draw)
    shape, kernel = d.plane(), (d.size(1, 3), d.size(1, 3))
    x = d.tensor("x", shape, d.scale())
    ends = np.array([(0, 0), (d.size(0, 2), d.size(0, 2)), (d.size(0, 2), d.size(0, 2)), (0, 0)])
    wide = tuple(int(size + sum(pair)) for size, pair in zip(shape, ends, strict=True))
    padding = draw(st.sampled_from([SAME, VALID]))
    outs = d.size(1, 4)
    plane = [out_of(wide[i + 1], kernel[i], 1, padding) for i in (0, 1)]
    specs = [
        x, TensorSpec("ends", (4, 2), "int32", data=ends.astype(np.int32)),
        TensorSpec("wide", wide, d.dtype, x.scale, x.zero),
        *d.weighted((outs, *kernel, shape[3]), 0, x),
        d.tensor("y", (1, *plane, outs), d.scale() * 3),
    ]  # fmt: skip
    values = {"Padding": padding, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1,
              "DilationWFactor": 1, "FusedActivationFunction": d.activation()}  # fmt: skip
    operators = [
        OperatorSpec("PAD", [0, 1], 2, "PadOptions", {}, 2),
        OperatorSpec("CONV_2D", [2, 3, 4], 5, "Conv2DOptions", values, 3),
    ]
    return TfliteCase("PAD and CONV_2D", network(specs, operators), [d.values(shape)])


@st.composite
def requantizations(draw: st.DrawFn) -> TfliteCase:
    """QUANTIZE from one scale and zero point to another."""
    d = Drawn(draw)
    shape = d.plane()
    specs = [d.tensor("x", shape, d.scale()), d.tensor("y", shape, d.scale())]
    content = model("QUANTIZE", specs, "QuantizeOptions", {}, 2)
    return TfliteCase("QUANTIZE", content, [d.values(shape)])
