"""TFLite's variables: what a streaming network keeps from one step to the next.

The rule: a variable read before it is assigned is a state, and begins as the file's
CALL_ONCE subgraph assigns it; what is assigned last is what the next step reads.
"""

from __future__ import annotations

from apsim.errors import ModelError
from apsim.nn.importers.tflite_file import Operator, TfliteGraph
from apsim.nn.importers.tflite_lowering import Handler, Lowering
from apsim.nn.model import State

__all__ = ["HANDLERS", "states"]

Key = tuple[str, str]


def _key(operator: Operator) -> Key:
    return str(operator.options.get("Container", "")), str(operator.options.get("SharedName", ""))


def _call_once(low: Lowering, operator: Operator) -> None:
    """The subgraph that assigns the first values: constants to variables, nothing else."""
    number = operator.option("InitSubgraphIndex")
    if not 1 <= number <= len(low.file.others):
        raise ModelError(f"its subgraph {number} is not there")
    graph = low.file.others[number - 1]
    _require_assignments(graph)
    keys = {one.outputs[0]: _key(one) for one in graph.operators if one.op == "VAR_HANDLE"}
    for one in graph.operators:
        if one.op != "ASSIGN_VARIABLE":
            continue
        values = graph.tensors[one.inputs[1]].data
        if values is None:
            raise ModelError("a variable whose first value is computed; nearest supported form: "
                             "a constant")  # fmt: skip
        low.variable(keys[one.inputs[0]]).start = values
    low.became[operator.index] = f"the first values of {len(keys)} states"


def _require_assignments(graph: TfliteGraph) -> None:
    others = [one.op for one in graph.operators if one.op not in ("VAR_HANDLE", "ASSIGN_VARIABLE")]
    if others:
        raise ModelError(f"its subgraph computes ({', '.join(sorted(set(others)))}); nearest "
                         "supported form: constants assigned")  # fmt: skip


def _handle(low: Lowering, operator: Operator) -> None:
    low.variables[operator.outputs[0]] = _key(operator)
    low.became[operator.index] = "a state's name"


def _read(low: Lowering, operator: Operator) -> None:
    variable, output = low.variable(low.variables[operator.inputs[0]]), operator.outputs[0]
    if variable.now is not None:
        _require_same(low, variable.now, output)
        for where in (low.planes, low.flat):
            if variable.now in where:
                where[output] = where[variable.now]
        low.became[operator.index] = "what was assigned before"
        return
    if variable.start is None:
        raise ModelError("a variable that is read before anything is assigned to it")
    name = low.name(output)
    tensor = low.kind(output, low.shape(output))
    if variable.start.shape != low.file.tensors[output].shape:
        raise ModelError(f"a variable of shape {list(variable.start.shape)}")
    low.tensors[name] = tensor
    low.flat[output] = name
    variable.read = variable.now = output
    low.became[operator.index] = f"state {name!r}"


def _require_same(low: Lowering, read: int, value: int) -> None:
    """What is read and what is assigned must be of one kind: their integers alone are kept."""
    kinds = [low.kind(i, low.shape(i)) for i in (read, value)]
    if kinds[0] != kinds[1]:
        state, other = (f"{kind} of scale {kind.scale} and zero point {kind.zero_point}"
                        for kind in kinds)  # fmt: skip
        raise ModelError(f"a state {state} that {other} is assigned to, or read as")


def _assign(low: Lowering, operator: Operator) -> None:
    variable, value = low.variable(low.variables[operator.inputs[0]]), operator.inputs[1]
    if variable.read is not None:
        _require_same(low, variable.read, value)
    variable.now = value
    low.became[operator.index] = "what the next step reads"


def states(low: Lowering) -> tuple[State, ...]:
    """The states of the finished network; raises `ModelError` where one cannot be kept."""
    found = list(low.states)
    for variable in low.kept.values():
        if variable.read is None or variable.now is None or variable.start is None:
            continue
        shape = low.shape(variable.read)
        start = variable.start.reshape(shape).astype("int64")
        found.append(State(low.name(variable.read), low.as_file(variable.now), start))
    return tuple(found)


HANDLERS: dict[str, Handler] = {
    "CALL_ONCE": _call_once,
    "VAR_HANDLE": _handle,
    "READ_VARIABLE": _read,
    "ASSIGN_VARIABLE": _assign,
}
