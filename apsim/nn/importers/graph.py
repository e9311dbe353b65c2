"""A network file as plain records: nodes, constants, inputs, outputs.

The rule: nothing here knows ONNX or TFLite; nothing here knows what a node means.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from apsim.errors import ModelError
from apsim.nn.importers.blockers import Blocked, Blocker

__all__ = [
    "Array", "Const", "Fate", "Graph", "Input", "Node", "Refusal", "all_refused", "blaming",
    "island",
]  # fmt: skip

Array = npt.NDArray[Any]


@contextmanager
def blaming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say of which file an error speaks; what no check foresaw means that it is damaged."""
    try:
        yield
    except ModelError as error:
        text = str(error)
        error.args = (text if text.startswith(str(path)) else f"{path}: {text}",)
        raise  # the same error, with what it knows of the blockers
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path}: damaged, or made against its specification: {reason}") from error


@dataclass(frozen=True, eq=False)
class Const:
    """A constant; `lo` and `hi` are set where its integers are known to use a narrower range.

    `batch` marks a shape whose -1 stands for the number of inputs, which no file knows.
    """

    array: Array
    lo: int | None = None
    hi: int | None = None
    batch: bool = False


@dataclass(frozen=True)
class Node:
    """One operator of a graph; an input left out has the name "".

    `defaults` are what its specification gives the attributes that are not written.
    """

    index: int
    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    defaults: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def place(self) -> str:
        """Where a person finds the node."""
        kind = f"{self.domain}.{self.op}" if self.domain else self.op
        called = f" {self.name!r}" if self.name else ""
        return f"node {self.index} {kind}{called} (output {self.outputs[0]!r})"

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute, or its specification's default, or the given one."""
        return self.attributes.get(name, self.defaults.get(name, default))

    def refuse(self, why: str, nearest: str = "") -> Refusal:
        """The error that says what cannot be imported, where, and what comes nearest."""
        return Refusal(self, why, nearest)


class Refusal(ModelError):
    """A node that cannot be imported, why, and the nearest form that can."""

    def __init__(self, node: Node, why: str, nearest: str = "") -> None:
        self.node, self.why = node, why
        told = f"{why}; nearest supported form: {nearest}" if nearest else why
        self.blockers = (Blocker(node.op, node.place, told),)
        super().__init__(f"{node.place}: {told}")


def all_refused(refusals: Sequence[Refusal]) -> ModelError:
    """One error for all nodes that cannot be imported: by operator, how many, the first of each."""
    if len(refusals) == 1:
        return refusals[0]
    return Blocked([blocker for one in refusals for blocker in one.blockers])


@dataclass(frozen=True)
class Input:
    """An input of a graph: its shape with None where it is not fixed, and its integers' range.

    The range is None for real numbers, of so many `bits`.
    """

    name: str
    shape: tuple[int | None, ...]
    range: tuple[int, int] | None
    bits: int = 32


@dataclass(frozen=True, eq=False)
class Graph:
    """A network file; nodes are in topological order."""

    name: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, Const]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    about: str = ""
    opset: int = 21


def island(graph: Graph, node: Node, ends: Container[str]) -> tuple[Node, ...]:
    """The node, and those that its result reaches before an operator of `ends` takes it."""
    reached, found = set(node.outputs), [node]
    for later in graph.nodes[node.index + 1 :]:
        if later.op not in ends and reached.intersection(later.inputs):
            reached.update(later.outputs)
            found.append(later)
    return tuple(found)


@dataclass(frozen=True)
class Fate:
    """What became of a node."""

    place: str
    became: str

    def __str__(self) -> str:
        return f"{self.place}: {self.became}"
