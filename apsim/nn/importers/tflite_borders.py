"""Where a TFLite file meets real numbers: a first QUANTIZE, a last DEQUANTIZE.

The rule: a real tensor is taken only where integers of ours stand for it.  Before a first
QUANTIZE words may be moved, for moving and rounding commute; after a DEQUANTIZE the real
functions that end the file are left to the host, by name.
"""

from __future__ import annotations

from collections.abc import Callable

from apsim.errors import ModelError
from apsim.nn.importers import tflite_folding, tflite_reals
from apsim.nn.importers.tflite_file import Operator
from apsim.nn.importers.tflite_layouts import IN_REALS
from apsim.nn.importers.tflite_lowering import Lowering
from apsim.nn.importers.tflite_moves import MOVES
from apsim.nn.importers.tflite_words import HANDLERS as WORDS
from apsim.nn.model import Entry

__all__ = ["HANDLERS", "left", "prepare"]

# what a file may end with, and the host then does: choices among results, and real functions
AT_THE_END = (
    "CUSTOM TFLite_Detection_PostProcess", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5",
    "TOPK_V2", "L2_NORMALIZATION", "LOG_SOFTMAX", "CUSTOM PosenetDecoderOp",
)  # fmt: skip
MOVING = (*MOVES, "PAD")
HEAVY = frozenset((
    "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL",
    "CONV_3D", "UNIDIRECTIONAL_SEQUENCE_LSTM", "LSTM", "SVDF", "RNN",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
))  # fmt: skip


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
    if tflite_folding.folded(low, operator):
        return True
    if operator.op == "CAST" and low.file.tensors[operator.outputs[0]].real:
        _note_curve(low, operator)
        _leave(low, operator, "its integers stand for its real numbers")
        return True
    behind = any(i in low.left and i not in low.curves for i in operator.inputs)
    if (operator.op in AT_THE_END or (behind and operator.op == "QUANTIZE")) and (
        _ends(low, operator)
    ):  # fmt: skip
        _leave(low, operator, "the model ends with this operator's inputs")
        return True
    if _of_indices(low, operator):
        _leave(low, operator, "indices of words, not words")
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
    _note_curve(low, operator)
    _leave(low, operator, "real numbers after the last integers")
    return True


def _of_indices(low: Lowering, operator: Operator) -> bool:
    """Whether it computes with what ARG_MAX gave, and nothing comes of it but results."""
    if operator.op in ("ARG_MAX", "ARG_MIN") or low.indices.intersection(operator.inputs):
        low.indices.update(operator.outputs)
        known = operator.op in ("ARG_MAX", "ARG_MIN", *MOVING)
        return not known and not HEAVY.intersection(_behind(low, operator))
    return False


def _behind(low: Lowering, operator: Operator) -> set[str]:
    """The kinds of operator that something of an operator's outputs comes to."""
    reached, kinds = set(operator.outputs), set()
    for one in low.file.operators[low.file.operators.index(operator) + 1 :]:
        if reached.intersection(one.inputs):
            kinds.add(one.op)
            reached.update(one.outputs)
    return kinds


def _note_curve(low: Lowering, operator: Operator) -> None:
    """Keep what a real function makes of every word, for a QUANTIZE behind it."""
    curve = tflite_reals.curve_of(low, operator)
    if curve is not None:
        low.curves[operator.outputs[0]] = curve


def _leave(low: Lowering, operator: Operator, why: str) -> None:
    """The host does the operator; the network ends with the integers that it is made of."""
    given = [i for i in operator.inputs if i >= 0 and i not in low.constants]
    sources = tuple(dict.fromkeys(j for i in given for j in low.left.get(i, (i,))))
    low.left.update(dict.fromkeys(operator.outputs, sources))
    low.became[operator.index] = f"left to the host: {why}"


def _ends(low: Lowering, operator: Operator) -> bool:
    """Whether it takes integers of ours, and what it gives is only moved, and leaves the file."""
    there = (low.constants, low.flat, low.planes, low.padded, low.left)
    known = all(i < 0 or any(i in some for some in there) for i in operator.inputs)
    ends = {*MOVING, *AT_THE_END, "QUANTIZE", "DEQUANTIZE", "SOFTMAX"}
    return known and _behind(low, operator) <= ends


def _quantize(low: Lowering, operator: Operator) -> None:
    """The entry of a real input; what DEQUANTIZE gave, again; or integers at another scale."""
    index, output = operator.inputs[0], operator.outputs[0]
    if index in low.curves:
        tflite_reals.quantized(low, operator, low.curves[index])
        return
    if index in low.left:
        raise ModelError("real functions before this QUANTIZE that are none of single words")
    if index not in low.entering:
        WORDS["QUANTIZE"](low, operator)
        return
    meant = low.file.tensors[output]
    if tflite_folding.same_words(low.means[index], meant):
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
