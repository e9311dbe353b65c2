"""Nodes that depend on constants alone, worked out while a file is read.

The rule: ONNX's own evaluator computes them, and only operators whose work is known
beforehand; what would take too many operations or bytes is refused before it begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from apsim.nn.importers import onnx_file
from apsim.nn.importers.constants import Const, ConstReal
from apsim.nn.importers.graph import Array, Node
from apsim.nn.importers.walk import Walk

__all__ = ["fold"]

MOST_VALUES = 1 << 26  # of one result
MOST_IN_ALL = 1 << 27  # of all results of a file
MOST_OPERATIONS = 1 << 31
OWN = (
    "QuantizeLinear", "DequantizeLinear", "Clip", "Quant", "BipolarQuant", "IntQuant",
)  # fmt: skip
MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape", "Dropout")
ON_SHAPES = ("Gather", "Slice", "Concat", "Squeeze", "Unsqueeze", "Identity", "Reshape", "Cast")
ELEMENTWISE = (
    "Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Div", "Equal", "Erf", "Exp", "Floor",
    "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Log", "Max", "Min", "Mod",
    "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sqrt",
    "Sub", "Sum", "Tanh", "Where", "Xor",
)  # fmt: skip
SMALLER = (
    "Concat", "Dropout", "Flatten", "GatherElements", "GatherND", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "ScatterElements", "ScatterND", "Shape",
    "Size", "Slice", "Softmax", "Split", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip


def fold(walk: Walk, node: Node) -> bool:
    """Work a node out now if all it needs is constant; raises where that is too much."""
    if node.domain == "" and node.op == "Constant":
        walk.give(node, [_constant(node)])
        return True
    values = [walk.values.get(name) for name in node.inputs if name]
    constant = all(isinstance(value, Const | ConstReal) for value in values)
    own = node.domain or node.op in OWN or "subgraph" in node.attributes
    if not constant or own or not (values or node.op in SOURCES):
        return False
    if node.op in MOVES and isinstance(values[0], ConstReal):
        return False
    if any(isinstance(value, Const) and value.batch for value in values):
        return _fold_shape(walk, node)
    given = {
        name: value.array if isinstance(value, Const) else value.real.astype(np.float32)
        for name, value in zip(filter(None, node.inputs), values, strict=True)
        if isinstance(value, Const | ConstReal)
    }
    walk.give(node, _evaluated(walk, node, given))
    return True


def _fold_shape(walk: Walk, node: Node) -> bool:
    """Part of a shape whose -1 is the number of inputs: it may be picked, not computed with."""
    if node.op == "Reshape" and isinstance(walk.values[node.inputs[0]], ConstReal):
        return False
    given = {name: walk.values[name] for name in node.inputs if name}
    if node.op not in ON_SHAPES or not all(isinstance(value, Const) for value in given.values()):
        raise node.refuse(
            "arithmetic with the number of inputs", "a Reshape with 0 or -1 in its place"
        )
    arrays = {name: value.array for name, value in given.items() if isinstance(value, Const)}
    results = _evaluated(walk, node, arrays)
    walk.give(node, [Const(one.array, batch=bool((one.array == -1).any())) for one in results])
    return True


SOURCES = ("Range", "ConstantOfShape")


def _evaluated(walk: Walk, node: Node, given: dict[str, Array]) -> Sequence[Const]:
    arrays = [given[name] for name in node.inputs if name]
    values, operations = _work(node, arrays)
    walk.folded += values
    if values > MOST_VALUES or operations > MOST_OPERATIONS or walk.folded > MOST_IN_ALL:
        raise node.refuse(
            f"its constants would take {max(values, walk.folded):.2g} values and "
            f"{operations:.2g} operations to work out",
            f"at most {MOST_VALUES} values and {MOST_OPERATIONS} operations",
        )
    try:
        return onnx_file.evaluate(node, given, walk.graph.opset)
    except Exception as error:  # whatever the evaluator cannot do is a node that we cannot do
        reason = " ".join(str(error).split())[:200]
        raise node.refuse(f"its constants cannot be worked out ({reason})") from None


def _work(node: Node, arrays: Sequence[Array]) -> tuple[int, int]:
    """How many values a node gives, and how many operations that takes."""
    whole = sum(array.size for array in arrays)
    if node.op in ELEMENTWISE:
        shape = [1]
        for array in arrays:
            shape = _broadcast(node, shape, array.shape)
        return math.prod(shape), math.prod(shape)
    if node.op in SMALLER:
        return whole, whole
    known = _SIZES.get(node.op)
    if known is None:
        raise node.refuse("this operator is not worked out for constants")
    try:
        return known(arrays)
    except (IndexError, ValueError, ZeroDivisionError, OverflowError):
        raise node.refuse("its constants do not go together") from None


def _broadcast(node: Node, first: Sequence[int], second: Sequence[int]) -> list[int]:
    rank = max(len(first), len(second))
    sizes = zip((*[1] * (rank - len(first)), *first), (*[1] * (rank - len(second)), *second),
                strict=True)  # fmt: skip
    found = [b if a == 1 else a for a, b in sizes]
    if any(size < 0 for size in found):
        raise node.refuse(f"a shape {found}")
    return found


def _product(sizes: Array) -> tuple[int, int]:
    count = math.prod(max(int(size), 1) for size in np.ravel(sizes))
    return count, count


def _matmul(arrays: Sequence[Array]) -> tuple[int, int]:
    a, b = arrays[0], arrays[1]
    inner = a.shape[-1] or 1
    outer = max(a.size // inner, 1) * max(b.size // (b.shape[0] or 1), 1)
    return outer, outer * inner


def _range(arrays: Sequence[Array]) -> tuple[int, int]:
    start, limit, delta = (float(np.ravel(part)[0]) for part in arrays)
    count = max(0, math.ceil((limit - start) / delta))
    return count, count


def _gather(arrays: Sequence[Array]) -> tuple[int, int]:
    count = arrays[0].size * max(arrays[1].size, 1)
    return count, count


_SIZES: dict[str, Callable[[Sequence[Array]], tuple[int, int]]] = {
    "ConstantOfShape": lambda arrays: _product(arrays[0]),
    "Expand": lambda arrays: (
        arrays[0].size * _product(arrays[1])[0], arrays[0].size * _product(arrays[1])[0]
    ),
    "Tile": lambda arrays: (arrays[0].size * _product(arrays[1])[0],) * 2,
    "Gather": _gather,
    "MatMul": _matmul,
    "Gemm": _matmul,
    "Range": _range,
}  # fmt: skip


def _constant(node: Node) -> Const:
    for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if key in node.attributes:
            value = node.attributes[key]
            kind = np.float32 if "float" in key else np.int64
            return value if isinstance(value, Const) else Const(np.asarray(value, kind))
    raise node.refuse("a constant that is no number")
