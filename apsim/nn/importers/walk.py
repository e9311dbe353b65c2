"""The walk over a graph: each node's handler turns the values before it into those after.

The rule: values are looked up and judged here, so that handlers only say what an
operator means.  A handler declares the attributes and inputs that it honours; any other
that is not its specification's default is refused by name.  All that cannot be imported
is told at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from apsim.errors import ApsimError, ModelError
from apsim.nn.importers.blockers import NO_FORM
from apsim.nn.importers.builder import Builder
from apsim.nn.importers.constants import Const, ConstReal, collapsed
from apsim.nn.importers.graph import Array, Graph, Node, Refusal, island
from apsim.nn.importers.options import PLAIN, Options
from apsim.nn.importers.pending import Missing, Pending, Source, Target, Value
from apsim.nn.model import Tensor
from apsim.nn.model.words import holding

__all__ = ["Handler", "Walk", "handles"]

Meaning = Callable[["Walk", Node], "Value | Sequence[Value]"]
QUANTIZE_FIRST = (
    "the model is in floating point; quantize it first, for instance with "
    "onnxruntime.quantization.quantize_static(..., quant_format=QuantFormat.QDQ)"
)
QUANTIZERS = (
    "QuantizeLinear", "DynamicQuantizeLinear", "Quant", "IntQuant", "BipolarQuant",
    "MultiThreshold", "QLinearConv", "QLinearMatMul",
)  # fmt: skip
LAYERS = ("Conv", "Gemm", "MatMul", "Add", "MaxPool", "AveragePool", "Relu", "Clip")
ANY = 1 << 30


@dataclass(frozen=True)
class Handler:
    """What an operator means here, and how much of it: the first `inputs` and `outputs`, and
    the attributes of these names at any value.  `defaults` are those of an operator that
    onnx itself has no schema of; `rows` marks one that takes each row of a value by itself."""

    meaning: Meaning
    attributes: tuple[str, ...] = ()
    inputs: int = 1
    outputs: int = 1
    defaults: Mapping[str, Any] = field(default_factory=dict)
    rows: bool = False


def handles(
    meaning: Meaning, attributes: str = "", inputs: int = 1, outputs: int = 1, *,
    rows: bool = False, **defaults: Any,
) -> Handler:  # fmt: skip
    """A line of a table of handlers; `attributes` are names with blanks between them."""
    return Handler(meaning, tuple(attributes.split()), inputs, outputs, defaults, rows)


class Walk:
    """A graph, the values its nodes gave so far, and the network being built."""

    def __init__(self, graph: Graph, rule: str, options: Options = PLAIN) -> None:
        self.graph = graph
        self.options = options
        self.build = Builder(graph, rule)
        self.values: dict[str, Value] = dict(graph.constants)
        self.blockers: list[Refusal] = []
        self.left: dict[str, str] = {}  # outputs that the host computes, and from what
        self.folded = 0  # values of constants that were worked out
        self.batch = next((one.shape[0] for one in graph.inputs if one.shape), None)
        self.uses: dict[str, int] = dict.fromkeys(graph.outputs, 1)
        for node in graph.nodes:
            for name in node.inputs:
                self.uses[name] = self.uses.get(name, 0) + 1

    def start(self) -> None:
        """Give every input of the graph its value."""
        for one in self.graph.inputs:
            shape = tuple(size or 1 for size in one.shape[1:])
            if one.range is None:
                self.values[one.name] = Source(one.name, shape, bits=one.bits)
            else:
                words = holding(*one.range)
                self.build.add_input(one.name, Tensor(shape, words.bits, words.signed))
                self.values[one.name] = Pending(shape, source=one.name, integer=True)

    def visit(self, node: Node, handlers: Mapping[tuple[str, str], Handler]) -> None:
        """Run a node's handler; where there is none or it cannot, the node is a blocker."""
        try:
            handler = self._handler(node, handlers)
            given = [self.values.get(name) for name in node.inputs]
            if any(isinstance(value, Missing) for value in given):
                raise Refusal(node, "")
            self._check_inputs(node, handler)
            rows = self._of_rows(node, handler, given)
            results = self._results(node, handler)
            if rows and node.op != "Reshape":
                results = [replace(r, rows=True) if isinstance(r, Pending) else r for r in results]
        except Refusal as refusal:
            if refusal.why:
                self.blockers.append(refusal)
            results = [Missing()] * len(node.outputs)
        self.give(node, results)

    def give(self, node: Node, results: Sequence[Value]) -> None:
        """Note the values of a node's outputs."""
        self.values.update(
            (name, value) for name, value in zip(node.outputs, results, strict=False) if name
        )

    def _of_rows(self, node: Node, handler: Handler, given: Sequence[Value | None]) -> bool:
        """Whether a node takes rows of which the batch is a part; refused where it may not."""
        found = [value.rows for value in given if isinstance(value, Pending)]
        if any(found) and not (handler.rows and all(found)):
            raise node.refuse("rows of which the batch is a part, by an operator that knows axes",
                              "Reshape to [N, ...] before it")  # fmt: skip
        ranks = [len(value.shape) for value in given if isinstance(value, Pending)]
        arrays = [value.array if isinstance(value, Const) else value.integers for value in given
                  if isinstance(value, Const | ConstReal)]  # fmt: skip
        if any(found) and any(array.ndim > max(ranks) for array in arrays):
            raise node.refuse("a constant of more axes than the rows beside it have")
        return any(found)

    def _results(self, node: Node, handler: Handler) -> Sequence[Value]:
        try:
            given = handler.meaning(self, node)
        except Refusal:
            raise
        except ModelError as error:
            raise node.refuse(str(error)) from error
        except ApsimError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise node.refuse(f"its inputs and attributes do not go together ({error})") from error
        return [given] if isinstance(given, Value) else list(given)

    def _handler(self, node: Node, handlers: Mapping[tuple[str, str], Handler]) -> Handler:
        handler = handlers.get((node.domain, node.op))
        if "subgraph" in node.attributes:
            raise node.refuse("a subgraph of its own", "its operators in the graph itself")
        if handler is None:
            known = sorted({op for domain, op in handlers if domain in ("", node.domain)})
            near = difflib.get_close_matches(node.op, known, n=3, cutoff=0.7)
            why = f"{NO_FORM}{self.in_real_numbers(node)}"
            raise node.refuse(why, " or ".join(near or LAYERS))
        known_defaults = {**node.defaults, **handler.defaults}
        for name, value in node.attributes.items():
            default = known_defaults.get(name)
            if name not in handler.attributes and not _equal(value, default):
                wanted = f"no {name}" if default is None else f"{name} = {_shown(default)}"
                raise node.refuse(f"attribute {name} = {_shown(value)} is not honoured", wanted)
        return handler

    def _check_inputs(self, node: Node, handler: Handler) -> None:
        for index, name in enumerate(node.inputs):
            if index >= handler.inputs and name:
                raise node.refuse(f"input {index} ({name!r}) is not honoured",
                                  f"at most {handler.inputs} inputs")  # fmt: skip
        for index, name in enumerate(node.outputs):
            if index >= handler.outputs and name and self.uses.get(name):
                raise node.refuse(f"output {index} ({name!r}) is not made here",
                                  f"{handler.outputs} outputs")  # fmt: skip

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
            if value.batch:
                raise node.refuse(f"input {node.inputs[index]!r} depends on the number of inputs")
            return value.array
        if isinstance(value, ConstReal):
            return value.real
        raise node.refuse(f"input {node.inputs[index]!r} must be a constant")

    def whole(self, node: Node, index: int, default: int | None = None) -> Array:
        """The integers of a constant input (a zero point, an axis, a width), int64."""
        values = self.constant(node, index, None if default is None else np.array([default]))
        if values.dtype.kind not in "iuf" or not np.array_equal(values, np.rint(values)):
            raise node.refuse(f"input {node.inputs[index]!r} holds {_shown(values)}", "integers")
        if values.size and np.abs(values.astype(np.float64)).max() >= 2.0**62:
            raise node.refuse(f"input {node.inputs[index]!r} holds integers beyond 62 bits")
        return values.astype(np.int64)

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
        if isinstance(value, Source) and self.options.input_scale is not None:
            return self._scaled(node, node.inputs[index], value)
        if isinstance(value, Source):
            raise node.refuse(f"input {node.inputs[index]!r} is real, not quantized; {self.advice}")
        raise node.refuse(f"input {node.inputs[index]!r} must not be a constant")

    def _scaled(self, node: Node, name: str, value: Source) -> Pending:
        """A real input that a layer takes, in words of the scale that the user gave."""
        half = 1 << (self.options.input_bits - 1)
        step = np.array(self.options.input_scale)
        target = self.target(step, np.zeros(1), -half, half - 1, node)
        made = self.build.enter(value, self.build.new_name(f"{name} (scaled)"), target)
        for one, entry in self.build.entries.items():
            if entry.name == value.name:
                self.build.entries[one] = replace(entry, chosen=True)
        entered = Pending(self.build.tensors[made].shape, source=made)
        self.values[name] = entered
        return entered

    @property
    def advice(self) -> str:
        """What to do about a real input that no quantization takes."""
        if not any(node.op in QUANTIZERS for node in self.graph.nodes):
            return QUANTIZE_FIRST
        return (
            "the rest of the network is quantized: put a quantization (QuantizeLinear and "
            "DequantizeLinear, or Quant) between the input and its first layer, or give "
            "--input-scale"
        )

    def real(self, value: Pending, name: str) -> Pending:
        """The value as a real number: integers are their own, whatever scale they had."""
        if not value.integer or value.layer is not None:
            return replace(value, integer=False)
        made = self.interpret(self.build.settle(value, name), 1.0, 0)
        return Pending(value.shape, source=made, nodes=value.nodes)

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
        return self.build.renamed(name, scale, zero_point)

    def target(self, scale: Array, zero: Array, lo: int, hi: int, node: Node) -> Target:
        """The integers that a quantization with one scale and one zero point gives."""
        scale, zero = collapsed(np.asarray(scale)), collapsed(np.asarray(zero))
        if scale.size != 1 or zero.size != 1:
            raise node.refuse(
                "activations with a scale for each channel", "one scale for the whole tensor"
            )
        with np.errstate(over="ignore", under="ignore"):
            step = float(np.float32(scale.ravel()[0]))
        if not (np.isfinite(step) and step > 0):
            raise node.refuse(f"a scale of {step:g}", "a positive, finite scale")
        words = holding(lo, hi)
        return Target(Tensor((), words.bits, words.signed, step, int(zero.ravel()[0])), lo, hi)


def _equal(value: Any, default: Any) -> bool:
    if default is None or isinstance(value, np.ndarray):
        return False
    listed = (list, tuple)
    return list(value) == list(default) if isinstance(value, listed) else bool(value == default)


def _shown(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
