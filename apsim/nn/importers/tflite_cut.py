"""A TFLite file that is read as far as somebody says, and what is said of its rest.

The rule: what the network does not do is named operator by operator; a file's other
subgraphs are no part of the network, and that is said as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

from apsim.errors import InputError
from apsim.nn.importers.graph import Fate
from apsim.nn.importers.tflite_file import TfliteGraph

__all__ = ["fates", "until"]

BEHIND = "left to the host: behind --until"


def until(file: TfliteGraph, names: Sequence[str]) -> TfliteGraph:
    """The part of a file that makes the tensors named, all of it where none is.

    Raises `InputError` for a name that is none of a tensor which an operator makes.
    """
    if not names:
        return file
    made = {file.tensors[i].name: i for one in file.operators for i in one.outputs}
    for name in names:
        if name not in made:
            near = get_close_matches(name, made, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"--until: no operator of {file.name!r} makes a tensor {name!r}{hint}")
    ends = tuple(dict.fromkeys(made[name] for name in names))
    wanted, kept = set(ends), []
    for operator in reversed(file.operators):
        # what has no output acts on variables, and an assignment on the step after
        if not operator.outputs or wanted.intersection(operator.outputs):
            wanted.update(operator.inputs)
            kept.append(operator)
    return replace(file, operators=tuple(reversed(kept)), outputs=ends)


def fates(file: TfliteGraph, kept: TfliteGraph, found: Sequence[Fate]) -> tuple[Fate, ...]:
    """What became of all operators in the file's order, and of its other subgraphs."""
    given = {one.index: fate for one, fate in zip(kept.operators, found, strict=True)}
    every = [
        given.get(one.index, Fate(f"operator {one.index} {one.op}", BEHIND))
        for one in file.operators
    ]
    begun = {one.option("InitSubgraphIndex") for one in file.operators if one.op == "CALL_ONCE"}
    for number, graph in enumerate(file.others, 1):
        if number not in begun:
            count = len(graph.operators)
            every.append(Fate(f"subgraph {number} of {count} operators", "not imported: the "
                              "network is the file's first subgraph"))  # fmt: skip
    return tuple(every)
