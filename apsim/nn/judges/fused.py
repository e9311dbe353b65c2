"""What the tensors of onnxruntime's optimized graph are called in the file it was made of.

The rule: a fused operator is known by its constants, which keep their names, and by what
it takes: from there the file itself leads on to the QuantizeLinear whose integers it
gives.  Signed integers may have become unsigned ones, and planes may have their channels
last; both are undone.  What cannot be found so is not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from apsim.nn.judges.reading import Array

__all__ = ["Shared", "shared"]

KINDS = {  # what the operators that a fused one was made of are called
    "QLinearConv": ("Conv",), "QGemm": ("Gemm", "MatMul"), "QLinearMatMul": ("MatMul",),
    "MatMulIntegerToFloat": ("MatMul",), "QLinearAdd": ("Add",), "QLinearMul": ("Mul",),
    "QLinearAveragePool": ("AveragePool",), "QLinearConcat": ("Concat",),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", "ReduceMean"),
    "QLinearLeakyRelu": ("LeakyRelu",), "QLinearSigmoid": ("Sigmoid",),
    "QLinearSoftmax": ("Softmax",), "NhwcMaxPool": ("MaxPool",),
}  # fmt: skip
BETWEEN = ("Relu", "Clip", "Identity", "DequantizeLinear")
CARRIED = (  # what moves integers, whatever they mean
    "MaxPool", "NhwcMaxPool", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Gather", "Slice",
    "Split", "Expand", "Tile", "DepthToSpace", "SpaceToDepth",
)  # fmt: skip
LAYOUT = "Transpose"
TO_LAST = [0, 2, 3, 1]


@dataclass(frozen=True)
class Shared:
    """A tensor of the optimized graph (`inside`) and its name in the file."""

    inside: str
    name: str
    channels_last: bool = False
    offset: int = 0

    def as_file(self, value: Array) -> Array:
        """The values in the file's layout and signs."""
        turned = np.moveaxis(value, -1, 1) if self.channels_last and value.ndim > 2 else value
        if not self.offset:
            return turned
        return (turned.astype(np.int32) + self.offset).astype(np.int32)


def shared(file: Any, optimized: Any) -> list[Shared]:
    """Every tensor of the optimized graph that holds a tensor of the file."""
    return list(_Search(file, optimized).found.values())


class _Search:
    def __init__(self, file: Any, optimized: Any) -> None:
        self.users: dict[str, list[Any]] = {}
        for node in file.node:
            for name in dict.fromkeys(node.input):
                self.users.setdefault(name, []).append(node)
        self.made = {name for node in file.node for name in node.output}
        self.inputs = {one.name for one in file.input}
        self.zeros = {**_integers(file), **_integers(optimized)}
        self.weights = {t.name for t in file.initializer if len(t.dims) > 1}
        self.found: dict[str, Shared] = {}
        for name in self.inputs:
            self.found[name] = Shared(name, name)
        for node in optimized.node:
            self._visit(node)
        for name in self.inputs:
            del self.found[name]

    def _visit(self, node: Any) -> None:
        for output in node.output:
            if output in self.made:
                self.found[output] = Shared(output, output)
                return
        given = [self.found[name] for name in node.input if name in self.found]
        if node.op_type == LAYOUT and given:
            before, perm = given[0], list(_attribute(node, "perm", []))
            turned = perm == TO_LAST
            if turned or before.channels_last:
                self.found[node.output[0]] = Shared(
                    node.output[0], before.name, turned, before.offset
                )
            return
        name = self._called(node, given)
        if name is not None:
            last = bool(_attribute(node, "channels_last", 0)) or (
                node.domain == "com.microsoft" and any(one.channels_last for one in given)
            )
            offset = self._offset(node, name, given)
            self.found[node.output[0]] = Shared(node.output[0], name, last, offset)

    def _called(self, node: Any, given: Sequence[Shared]) -> str | None:
        """The file's tensor that a node of the optimized graph makes."""
        anchors = [name for name in node.input if name in self.weights]
        starts = anchors or [one.name for one in given[:1]]
        if node.op_type == "QuantizeLinear":
            return next((q.output[0] for start in starts for q in self._after(start)), None)
        kinds = KINDS.get(node.op_type, (node.op_type,))
        for start in starts:
            for user in self._reached(start, kinds):
                for q in self._after(user.output[0]):
                    return str(q.output[0])
        return None

    def _reached(self, name: str, kinds: Sequence[str]) -> Iterator[Any]:
        """Operators of these kinds that take a tensor, or its real values."""
        for user in self.users.get(name, []):
            if user.op_type in kinds:
                yield user
            elif user.op_type in BETWEEN:
                yield from self._reached(user.output[0], kinds)

    def _after(self, name: str) -> Iterator[Any]:
        """The QuantizeLinear behind a tensor, with nothing but activations between."""
        for user in self.users.get(name, []):
            if user.op_type == "QuantizeLinear":
                yield user
            elif user.op_type in BETWEEN[:3]:
                yield from self._after(user.output[0])

    def _offset(self, node: Any, name: str, given: Sequence[Shared]) -> int:
        """What unsigned integers are to be lowered by: the file's zero point less theirs."""
        q = next(n for users in self.users.values() for n in users
                 if n.op_type == "QuantizeLinear" and n.output[0] == name)  # fmt: skip
        theirs = [i for i in node.input if i in self.zeros and i.startswith("qdq_s8_to_u8")]
        if not theirs:
            carried = node.op_type in CARRIED
            return given[0].offset if carried and given else 0
        own = self.zeros.get(q.input[2], 0) if len(q.input) > 2 else 0
        return int(own) - int(self.zeros[theirs[-1]])


def _integers(graph: Any) -> Mapping[str, int]:
    """The integer constants that are one number."""
    return {
        t.name: int(onnx.numpy_helper.to_array(t).reshape(-1)[0])
        for t in graph.initializer
        if t.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16,
                               onnx.TensorProto.DOUBLE, onnx.TensorProto.STRING)
        and int(np.prod(t.dims)) == 1
    }  # fmt: skip


def _attribute(node: Any, name: str, default: Any) -> Any:
    for one in node.attribute:
        if one.name == name:
            return onnx.helper.get_attribute_value(one)
    return default
