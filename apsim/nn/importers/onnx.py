"""ONNX in: QDQ, QCDQ, the QLinear and Integer operators, and QONNX, as one integer network.

The rule: every node has a handler or is refused; what becomes of each is recorded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apsim.errors import ModelError
from apsim.nn.importers import onnx_file, ops_qlinear, ops_quant, ops_real, ops_shape
from apsim.nn.importers.graph import Array, Const, Fate, Graph, Node, blaming
from apsim.nn.importers.pending import Pending, Source
from apsim.nn.importers.walk import QUANTIZE_FIRST, Handler, Walk
from apsim.nn.model import Model, Origin
from apsim.nn.model.check import verify

__all__ = ["Imported", "from_onnx", "lower", "read_onnx"]

HANDLERS: Mapping[tuple[str, str], Handler] = {
    **ops_real.HANDLERS, **ops_shape.HANDLERS, **ops_quant.HANDLERS, **ops_qlinear.HANDLERS,
}  # fmt: skip
TO_HOST = ("Softmax", "LogSoftmax")  # the integers are those before
OWN_CONSTANTS = ("QuantizeLinear", "DequantizeLinear", "Clip", "Quant", "BipolarQuant", "IntQuant")


@dataclass(frozen=True)
class Imported:
    """A network, what became of every node of its file, and which tensors they share."""

    model: Model
    fates: tuple[Fate, ...]
    origins: tuple[Origin, ...] = ()


def from_onnx(
    path: str | os.PathLike[str], *, rule: str = "onnx-exact", shape: Sequence[int] | None = None
) -> Model:
    """Import a quantized ONNX model (extra `onnx`).

    `rule` is its requantization rule, `shape` the input's where the file leaves axes open.
    Raises `ModelError` that names the node that has no exact integer form.
    """
    return read_onnx(path, rule=rule, shape=shape).model


def read_onnx(
    path: str | os.PathLike[str], *, rule: str = "onnx-exact", shape: Sequence[int] | None = None
) -> Imported:
    """Import a quantized ONNX model and say what became of every node."""
    with blaming(path):
        return lower(onnx_file.read(path, shape), rule)


def lower(graph: Graph, rule: str = "onnx-exact") -> Imported:
    """Turn a graph into an integer network."""
    walk = Walk(graph, rule)
    walk.start()
    for node in graph.nodes:
        if not _folded(walk, node):
            walk.visit(node, HANDLERS)
    outputs = [_output(walk, name) for name in graph.outputs]
    model = walk.build.model(graph.name, outputs, graph.about)
    if not model.inputs:
        raise ModelError(f"no input of the model is ever quantized: {QUANTIZE_FIRST}")
    return Imported(verify(model), walk.build.report(), _origins(walk, outputs))


def _origins(walk: Walk, outputs: Sequence[str]) -> tuple[Origin, ...]:
    """Where the file holds the network's integers, as such or as real values on their grid.

    Names of what was left to the host, and of what a clip narrowed later, are none of them.
    """
    values, nodes = walk.values, walk.graph.nodes
    hosts = {node.outputs[0]: node.inputs[0] for node in nodes if node.op in TO_HOST}
    narrowed = {
        node.inputs[0] for node in nodes
        if node.op == "Clip" and values.get(node.inputs[0]) is values.get(node.outputs[0])
    }  # fmt: skip
    found = [
        Origin(value.source, name)
        for name, value in values.items()
        if isinstance(value, Pending) and value.plain and value.source in walk.build.tensors
        and name not in hosts and name not in narrowed
    ]  # fmt: skip
    ends = zip(walk.graph.outputs, outputs, strict=True)
    found += [Origin(made, hosts[name]) for name, made in ends if name in hosts]
    return tuple(dict.fromkeys(found))


def _folded(walk: Walk, node: Node) -> bool:
    """Work a node out now if all it needs is constant."""
    if node.op == "Constant":
        walk.values[node.outputs[0]] = _constant(node)
        return True
    values = [walk.values.get(name) for name in node.inputs if name]
    if node.op in OWN_CONSTANTS or not all(isinstance(value, Const) for value in values):
        return False
    given: dict[str, Array] = {
        name: value.array
        for name, value in zip(filter(None, node.inputs), values, strict=True)
        if isinstance(value, Const)
    }
    try:
        results = onnx_file.evaluate(node, given, walk.graph.opset)
    except Exception as error:  # whatever the evaluator cannot do is a node that we cannot do
        raise node.refuse(f"its constants cannot be worked out ({error})") from None
    walk.values.update(zip(node.outputs, results, strict=True))
    return True


def _constant(node: Node) -> Const:
    import numpy as np

    for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if key in node.attributes:
            value = node.attributes[key]
            kind = np.float32 if "float" in key else np.int64
            return Const(value if key == "value" else np.asarray(value, kind))
    raise node.refuse("a constant that is no number")


def _output(walk: Walk, name: str) -> str:
    """The integer tensor behind an output of the graph."""
    value = walk.values[name]
    if isinstance(value, Source):
        raise ModelError(f"output {name!r} is never quantized: {QUANTIZE_FIRST}")
    if not isinstance(value, Pending):
        raise ModelError(f"output {name!r} is a constant")
    return walk.build.settle(value, name)
