"""Where a TFLite file meets real numbers: a first QUANTIZE, a last DEQUANTIZE.

The rule: a real tensor is taken only where integers of ours stand for it.  Before a first
QUANTIZE words may be moved, for moving and rounding commute; after a DEQUANTIZE the real
functions that end the file are left to the host, by name.
"""

from __future__ import annotations

from collections.abc import Callable

from apsim.errors import ModelError
from apsim.nn.importers.tflite_file import Operator, TfliteTensor
from apsim.nn.importers.tflite_layouts import IN_REALS
from apsim.nn.importers.tflite_lowering import Lowering
from apsim.nn.importers.tflite_moves import MOVES
from apsim.nn.importers.tflite_words import HANDLERS as WORDS
from apsim.nn.model import Entry

__all__ = ["HANDLERS", "left", "prepare"]

AT_THE_END = ("CUSTOM TFLite_Detection_PostProcess",)  # boxes from integers, in real numbers
MOVING = (*MOVES, "PAD")
HEAVY = (
    "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL",
    "CONV_3D", "UNIDIRECTIONAL_SEQUENCE_LSTM", "LSTM", "SVDF", "RNN",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
)  # fmt: skip


def prepare(low: Lowering) -> None:
    """Find the integers that a real input becomes at its first QUANTIZE, moves in between."""
    for operator in reversed(low.file.operators):
        if not operator.inputs or not operator.outputs:
            continue
        index = operator.inputs[MOVES[operator.op][1]][0] if operator.op in MOVES else (
            operator.inputs[0]
        )  # fmt: skip
        if index < 0 or not low.file.tensors[index].real:
            continue
        if operator.op == "QUANTIZE" and not low.file.tensors[operator.outputs[0]].real:
            low.means[index] = low.file.tensors[operator.outputs[0]]
        elif operator.op in MOVING and operator.outputs[0] in low.means:
            low.means[index] = low.means[operator.outputs[0]]
    entering = set(low.file.inputs)
    low.means = {i: meant for i, meant in low.means.items() if i in entering}


def left(low: Lowering, operator: Operator) -> bool:
    """Whether the operator is one of those that the host does at the end, or moves reals."""
    if operator.op in AT_THE_END and _ends(low, operator):
        sources = tuple(i for i in operator.inputs if i >= 0 and i not in low.constants)
        low.left.update(dict.fromkeys(operator.outputs, sources))
        low.became[operator.index] = "left to the host: the model ends with this operator's inputs"
        return True
    reals = [i for i in operator.inputs if i in low.means or i in low.left]
    if not reals or operator.op == "QUANTIZE":
        return False
    if any(i in low.entering for i in reals):
        if operator.op not in MOVING:
            raise ModelError(IN_REALS)
        for index in operator.outputs:
            low.means[index] = low.means[reals[0]]
            low.entering.add(index)
        return False
    if operator.op in MOVING and not any(i in low.left for i in reals):
        for index in operator.outputs:
            low.means[index] = low.means[reals[0]]
        return False
    if operator.op in ("ARG_MAX", "ARG_MIN") and not any(i in low.left for i in reals):
        return False
    if operator.op in HEAVY:
        raise ModelError(IN_REALS)
    sources = tuple(dict.fromkeys(j for i in reals for j in low.left.get(i, (i,))))
    for index in operator.outputs:
        low.left[index] = sources
    low.became[operator.index] = "left to the host: real numbers after the last integers"
    return True


def _ends(low: Lowering, operator: Operator) -> bool:
    """Whether nothing takes what an operator gives, and it takes integers of ours."""
    taken = {i for one in low.file.operators for i in one.inputs}
    there = (low.constants, low.flat, low.planes, low.padded, low.left)
    known = all(i < 0 or any(i in some for some in there) for i in operator.inputs)
    return known and not taken.intersection(operator.outputs)


def _same(one: TfliteTensor, other: TfliteTensor) -> bool:
    return (one.type, one.scale.tolist(), one.zero.tolist()) == (
        other.type, other.scale.tolist(), other.zero.tolist(),
    )  # fmt: skip


def _quantize(low: Lowering, operator: Operator) -> None:
    """The entry of a real input; what DEQUANTIZE gave, again; or integers at another scale."""
    index, output = operator.inputs[0], operator.outputs[0]
    if index in low.left:
        raise ModelError("a real function inside the network, before this QUANTIZE")
    if index not in low.entering:
        WORDS["QUANTIZE"](low, operator)
        return
    meant = low.file.tensors[output]
    if _same(low.means[index], meant):
        low.flat[output] = low.as_file(index)
        low.became[operator.index] = f"the entry of input {low.flat[output]!r}"
    elif index in low.file.inputs:
        entry = Entry(low.name(index), rounding="half-away")
        low.flat[output] = low.add_input(output, low.name(output), entry)
        low.became[operator.index] = f"another entry of input {low.name(index)!r}"
    else:
        raise operator.refuse("a second quantization of moved real numbers", "one of the input")


def _dequantize(low: Lowering, operator: Operator) -> None:
    """Integers stand for the reals that come out."""
    index, output = operator.inputs[0], operator.outputs[0]
    if index in low.constants:
        raise ModelError(
            f"constants that are computed with as real numbers; the model is {IN_REALS}"
        )
    low.quantized(index)
    low.means[output] = low.means.get(index, low.file.tensors[index])
    low.stood[output] = index
    for where in (low.planes, low.flat):
        if index in where:
            where[output] = where[index]
    low.became[operator.index] = "left to the host: integers stand for its real numbers"


HANDLERS: dict[str, Callable[[Lowering, Operator], None]] = {
    "QUANTIZE": _quantize,
    "DEQUANTIZE": _dequantize,
}
