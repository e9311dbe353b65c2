"""The integer network as far as it is made: tensors, layers, what became of the nodes.

The rule: names are given once; what a pending value becomes is the builder's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from apsim.nn.importers.graph import Fate, Graph, Node
from apsim.nn.importers.pending import Pending
from apsim.nn.importers.width import width_of
from apsim.nn.model import Add, AvgPool, Entry, Layer, Model, Requantize, Tensor, Weighted

__all__ = ["Draft"]

_ROUNDING = (Weighted, Add, AvgPool, Requantize)


class Draft:
    """Collects tensors, layers and the fate of every node."""

    def __init__(self, graph: Graph, rule: str) -> None:
        self.graph = graph
        self.rule = rule
        self.tensors: dict[str, Tensor] = {}
        self.layers: list[Layer] = []
        self.inputs: list[str] = []
        self.entries: dict[str, Entry] = {}
        self.fates: dict[int, str] = {}
        self.entered: dict[tuple[Any, ...], str] = {}
        self.shared: set[str] = set()  # inputs that several quantizations give
        self.settled: dict[int, tuple[Pending, str]] = {}  # holds the value: ids stay taken

    def fate(self, node: Node | int, became: str) -> None:
        """Say what became of a node."""
        self.fates[node if isinstance(node, int) else node.index] = became

    def add_input(self, name: str, tensor: Tensor, entry: Entry | None = None) -> None:
        """Declare an input tensor."""
        self.tensors[name] = tensor
        self.inputs.append(name)
        if entry is not None:
            self.entries[name] = entry

    def emit(self, layer: Layer, tensor: Tensor, nodes: Sequence[int] = ()) -> str:
        """Add a layer with its output tensor; gives the tensor's name."""
        layer = replace(layer, name=self._fresh(layer.name))
        self.tensors[layer.output] = tensor
        self.layers.append(layer)
        for index in nodes:
            self.fates.setdefault(index, f"layer {layer.name!r} ({layer.op})")
        return layer.output

    def _fresh(self, name: str) -> str:
        taken = {layer.name for layer in self.layers}
        return next(n for n in (name, *(f"{name}#{i}" for i in range(2, 99))) if n not in taken)

    def narrow(self, name: str, lo: int, hi: int) -> bool:
        """Clip a tensor's integers to lo..hi where they are made; False where they are not."""
        if name in self.shared or not (self._narrow_entry(name, lo, hi) or
                                       self._narrow_layer(name, lo, hi)):  # fmt: skip
            return False
        bits, signed = width_of(lo, hi)
        self.tensors[name] = replace(self.tensors[name], bits=bits, signed=signed)
        return True

    def _narrow_entry(self, name: str, lo: int, hi: int) -> bool:
        if name not in self.entries:
            return False
        self.entries[name] = replace(self.entries[name], lo=lo, hi=hi)
        self.entered = {key: raw for key, raw in self.entered.items() if raw != name}
        return True

    def _narrow_layer(self, name: str, lo: int, hi: int) -> bool:
        for index, layer in enumerate(self.layers):
            if layer.output == name and isinstance(layer, _ROUNDING) and layer.requant is not None:
                ends = [min(max(end, lo), hi) for end in (layer.requant.lo, layer.requant.hi)]
                clip = replace(layer.requant, lo=ends[0], hi=ends[1])
                self.layers[index] = replace(layer, requant=clip)
                return True
        return False

    def model(self, name: str, outputs: Sequence[str], about: str = "") -> Model:
        """The finished network."""
        return Model(
            name, self.rule, tuple(self.inputs), tuple(outputs), dict(self.tensors),
            tuple(self.layers), about=about, entries=dict(self.entries),
        )  # fmt: skip

    def report(self) -> tuple[Fate, ...]:
        """What became of every node, in the graph's order."""
        return tuple(
            Fate(node.place, self.fates.get(node.index, "constant, or not used"))
            for node in self.graph.nodes
        )
