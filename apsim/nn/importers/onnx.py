"""ONNX in: QDQ, QCDQ, the QLinear and Integer operators, and QONNX, as one integer network.

The rule: every node has a handler or is refused; what becomes of each is recorded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from apsim.errors import ModelError
from apsim.nn.importers import (
    folding,
    onnx_file,
    ops_curves,
    ops_elementwise,
    ops_islands,
    ops_moves,
    ops_planes,
    ops_qlinear,
    ops_qonnx,
    ops_quant,
    ops_real,
    ops_shape,
    ops_where,
)
from apsim.nn.importers.graph import Fate, Graph, Node, Refusal, all_refused, blaming
from apsim.nn.importers.options import PLAIN, Options
from apsim.nn.importers.pending import Missing, Pending, Source
from apsim.nn.importers.walk import QUANTIZE_FIRST, Handler, Walk
from apsim.nn.model import Model, Origin
from apsim.nn.model.check import verify

__all__ = ["Imported", "from_onnx", "lower", "read_onnx"]

HANDLERS: Mapping[tuple[str, str], Handler] = {
    **ops_real.HANDLERS, **ops_elementwise.HANDLERS, **ops_islands.HANDLERS,
    **ops_planes.HANDLERS, **ops_where.HANDLERS,
    **ops_shape.HANDLERS, **ops_quant.HANDLERS, **ops_qlinear.HANDLERS,
    **ops_qonnx.HANDLERS, **ops_moves.HANDLERS, **ops_curves.HANDLERS,
}  # fmt: skip


@dataclass(frozen=True)
class Imported:
    """A network, what became of every node of its file, and which tensors they share."""

    model: Model
    fates: tuple[Fate, ...]
    origins: tuple[Origin, ...] = ()


def from_onnx(
    path: str | os.PathLike[str], *, rule: str = "onnx-exact",
    shape: Sequence[int] | None = None, options: Options = PLAIN,
) -> Model:  # fmt: skip
    """Import a quantized ONNX model (extra `onnx`).

    `rule` is its requantization rule, `shape` the input's where the file leaves axes open,
    `options` what else is asked for (`Options`).
    Raises `ModelError` that names the node that has no exact integer form.
    """
    return read_onnx(path, rule=rule, shape=shape, options=options).model


def read_onnx(
    path: str | os.PathLike[str], *, rule: str = "onnx-exact",
    shape: Sequence[int] | None = None, options: Options = PLAIN,
) -> Imported:  # fmt: skip
    """Import a quantized ONNX model and say what became of every node."""
    with blaming(path):
        return lower(onnx_file.read(path, shape), rule, options)


def lower(graph: Graph, rule: str = "onnx-exact", options: Options = PLAIN) -> Imported:
    """Turn a graph into an integer network; all its nodes that have no place there are told."""
    walk = Walk(graph, rule, options)
    walk.start()
    needed = _needed(graph)
    for node in graph.nodes:
        if node.index in needed and not _folded(walk, node):
            walk.visit(node, HANDLERS)
    if walk.blockers:
        raise all_refused(walk.blockers)
    outputs = _outputs(walk)
    model = walk.build.model(graph.name, [made for _, made in outputs], graph.about)
    if not graph.outputs:
        raise ModelError("the graph has no outputs")
    if not model.inputs:
        raise ModelError(f"no input of the model is ever quantized: {QUANTIZE_FIRST}")
    origins = (one for one in _origins(walk, outputs) if one.tensor in model.tensors)
    return Imported(verify(model), walk.build.report(), tuple(origins))


def _needed(graph: Graph) -> set[int]:
    """The nodes that some output depends on."""
    names, found = set(graph.outputs), set()
    for node in reversed(graph.nodes):
        if names.intersection(filter(None, node.outputs)):
            names.update(node.inputs)
            found.add(node.index)
    return found


def _folded(walk: Walk, node: Node) -> bool:
    """Work a node out now if all it needs is constant; a node that cannot be is a blocker."""
    try:
        return folding.fold(walk, node)
    except Refusal as refusal:
        walk.blockers.append(refusal)
        walk.give(node, [Missing()] * len(node.outputs))
        return True


def _origins(walk: Walk, outputs: Iterable[tuple[str, str]]) -> tuple[Origin, ...]:
    """Where the file holds the network's integers, as such or as real values on their grid.

    A name of what was left to the host is none; the host's input is.
    """
    build, left = walk.build, walk.left
    found = []
    for name, value in walk.values.items():
        if name not in left and isinstance(value, Pending) and not (value.rows and walk.batch != 1):
            made = value.source if value.plain else build.settled(value)
            found += [Origin(made, name)] if made in build.tensors else []
    found += [Origin(made, left.get(name, name)) for name, made in outputs if made in build.copies]
    found += [Origin(made, left[name]) for name, made in outputs if name in left]
    return tuple(dict.fromkeys(found))


def _outputs(walk: Walk) -> list[tuple[str, str]]:
    """The outputs of the graph with their tensors: integers of several are there for each.

    What the host computes of integers that are an output, too, adds none.  An input that is
    given out as it came is there once more, by the output's name.
    """
    found: dict[str, str] = {}
    for name in dict.fromkeys(walk.graph.outputs):
        made = _output(walk, name)
        another = made in walk.graph.outputs or made in (one.name for one in walk.graph.inputs)
        if made not in found.values() and (made == name or not another or name in walk.left):
            found[name] = made
        elif name not in walk.left:
            found[name] = walk.build.copied(made, name)
    return list(found.items())


def _output(walk: Walk, name: str) -> str:
    """The integer tensor behind an output of the graph."""
    value = walk.values[name]
    if isinstance(value, Source):
        raise ModelError(f"output {name!r} is never quantized: {QUANTIZE_FIRST}")
    if not isinstance(value, Pending):
        raise ModelError(f"output {name!r} is a constant")
    if value.rows:
        raise ModelError(
            f"output {name!r}: rows of which the batch is a part; reshape it to [N, ...]"
        )
    return walk.build.settle(value, name)
