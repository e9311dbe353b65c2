"""The walk over a graph: each node's handler turns the values before it into those after.

The rule: values are looked up and judged here, so that handlers only say what an
operator means; what cannot be imported exactly is refused with its place.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from apsim.nn.importers.builder import Builder
from apsim.nn.importers.graph import Array, Const, Graph, Node, island
from apsim.nn.importers.pending import ConstReal, Pending, Source, Target, Value
from apsim.nn.importers.width import width_of
from apsim.nn.model import Floats, Reshape, Tensor

__all__ = ["Handler", "Walk"]

Handler = Callable[["Walk", Node], "Value | Sequence[Value]"]
QUANTIZE_FIRST = (
    "the model is in floating point; quantize it first, for instance with "
    "onnxruntime.quantization.quantize_static(..., quant_format=QuantFormat.QDQ)"
)
QUANTIZERS = ("QuantizeLinear", "DynamicQuantizeLinear", "Quant", "IntQuant", "BipolarQuant")
LAYERS = ("Conv", "Gemm", "MatMul", "Add", "MaxPool", "AveragePool", "Relu", "Clip")


class Walk:
    """A graph, the values its nodes gave so far, and the network being built."""

    def __init__(self, graph: Graph, rule: str) -> None:
        self.graph = graph
        self.build = Builder(graph, rule)
        self.values: dict[str, Value] = dict(graph.constants)
        self.uses: dict[str, int] = dict.fromkeys(graph.outputs, 1)
        for node in graph.nodes:
            for name in node.inputs:
                self.uses[name] = self.uses.get(name, 0) + 1

    def start(self) -> None:
        """Give every input of the graph its value."""
        for one in self.graph.inputs:
            shape = tuple(size or 1 for size in one.shape[1:])
            if one.range is None:
                self.values[one.name] = Source(one.name, shape)
            else:
                bits, signed = width_of(*one.range)
                self.build.add_input(one.name, Tensor(shape, bits, signed))
                self.values[one.name] = Pending(shape, source=one.name, integer=True)

    def visit(self, node: Node, handlers: Mapping[tuple[str, str], Handler]) -> None:
        """Run a node's handler; raises `ModelError` where there is none or it cannot."""
        handler = handlers.get((node.domain, node.op))
        if handler is None:
            known = sorted({op for domain, op in handlers if domain in ("", node.domain)})
            near = difflib.get_close_matches(node.op, known, n=3, cutoff=0.5)
            why = f"this operator has no integer form here{self.in_real_numbers(node)}"
            raise node.refuse(why, " or ".join(near or LAYERS))
        try:
            given = handler(self, node)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise node.refuse(f"its inputs and attributes do not go together ({error})") from error
        results = [given] if isinstance(given, Value) else list(given)
        self.values.update(zip(node.outputs, results, strict=False))

    def in_real_numbers(self, node: Node) -> str:
        """Words that name the island of floating point which begins at a node, if one does."""
        given = [self.values.get(name) for name in node.inputs]
        if not any(isinstance(value, Pending) and not value.integer for value in given):
            return ""
        nodes = island(self.graph, node, QUANTIZERS)
        named = ", ".join(f"{one.index} {one.op} {(one.name or one.outputs[0])!r}" for one in nodes)
        return f", an island of floating point up to the next quantization: {named}"

    def has(self, node: Node, index: int) -> bool:
        """Whether a node was given its input number `index`."""
        return index < len(node.inputs) and node.inputs[index] != ""

    def value(self, node: Node, index: int) -> Value:
        """The value of a node's input."""
        if not self.has(node, index):
            raise node.refuse(f"input {index} is missing")
        name = node.inputs[index]
        if name not in self.values:
            raise node.refuse(f"input {name!r} is made by no earlier node")
        return self.values[name]

    def constant(self, node: Node, index: int, default: Array | None = None) -> Array:
        """The numbers of a constant input, real ones as float64."""
        if default is not None and not self.has(node, index):
            return default
        value = self.value(node, index)
        if isinstance(value, Const):
            return value.array
        if isinstance(value, ConstReal):
            return value.real
        raise node.refuse(f"input {node.inputs[index]!r} must be a constant")

    def bounds(self, node: Node, index: int) -> tuple[int, int]:
        """The least and greatest integer of the type of a constant input."""
        value = self.value(node, index)
        if not isinstance(value, Const) or value.array.dtype.kind not in "iu":
            raise node.refuse(f"input {node.inputs[index]!r} is no constant of integers",
                              "integers of 2, 4, 8 or 16 bits")  # fmt: skip
        info = np.iinfo(value.array.dtype)
        lo = int(info.min) if value.lo is None else value.lo
        hi = int(info.max) if value.hi is None else value.hi
        return lo, hi

    def pending(self, node: Node, index: int) -> Pending:
        """The value of an input that must be a tensor of known scale or accumulators."""
        value = self.value(node, index)
        if isinstance(value, Pending):
            return value
        if isinstance(value, Source):
            raise node.refuse(
                f"input {node.inputs[index]!r} is real, not quantized; {QUANTIZE_FIRST}"
            )
        raise node.refuse(f"input {node.inputs[index]!r} must not be a constant")

    def tensor(self, node: Node, index: int) -> str:
        """The integer tensor of an input: a value that was rounded before this node."""
        value = self.pending(node, index)
        if value.integer:
            raise node.refuse(f"integers in {node.inputs[index]!r}, whose scale is not given",
                              "DequantizeLinear before it, or the QLinear form")  # fmt: skip
        if value.layer is not None:
            raise node.refuse(
                f"input {node.inputs[index]!r} is a real result that was not rounded "
                f"(of {self.graph.nodes[value.nodes[0]].place})",
                "QuantizeLinear and DequantizeLinear between the two",
            )
        return self.build.settle(value, node.inputs[index])

    def interpret(self, name: str, scale: float, zero_point: int) -> str:
        """Give an integer tensor its real meaning, in a tensor of its own where it has another."""
        tensor = self.build.tensors[name]
        if (tensor.scale, tensor.zero_point) == (scale, zero_point):
            return name
        if tensor.scale is None:
            self.build.tensors[name] = replace(tensor, scale=scale, zero_point=zero_point)
            return name
        other = f"{name} as {scale:g}*(x-{zero_point})"
        if other not in self.build.tensors:
            layer = Reshape(name=other, inputs=(name,), output=other)
            self.build.emit(layer, replace(tensor, scale=scale, zero_point=zero_point))
        return other

    def target(self, scale: Array, zero: Array, lo: int, hi: int, node: Node) -> Target:
        """The integers that a quantization with one scale and one zero point gives."""
        if np.size(scale) != 1 or np.size(zero) != 1:
            raise node.refuse(
                "activations with a scale for each channel", "one scale for the whole tensor"
            )
        if not (np.isfinite(scale).all() and np.all(scale > 0)):
            raise node.refuse(f"a scale of {np.ravel(scale)[0]:g}", "a positive, finite scale")
        bits, signed = width_of(lo, hi)
        step = float(np.float32(np.ravel(scale)[0]))
        return Target(Tensor((), bits, signed, step, int(np.ravel(zero)[0])), lo, hi)


def per_channel(values: Floats, channels: int) -> Floats:
    """A scalar or a vector along the channel axis as one or `channels` entries."""
    flat = np.ravel(np.asarray(values, np.float64))
    return np.broadcast_to(flat, (channels,)).copy() if flat.size == 1 else flat
