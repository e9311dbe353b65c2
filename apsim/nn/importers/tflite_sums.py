"""TFLite's sums, maxima and products of computed tensors.

The rule: axes and leading axes are brought into the form that a layer has by moves; what is
computed is the layer's alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apsim.errors import ModelError
from apsim.nn import rules
from apsim.nn.importers.graph import Array
from apsim.nn.importers.tflite_file import Operator
from apsim.nn.importers.tflite_lowering import PLACEHOLDER, Handler, Lowering
from apsim.nn.model import MatMul, Maximum, MaxPool, Rearrange, Sum, Table, Tensor
from apsim.nn.model.words import holding
from apsim.nn.rules import litert_tables

__all__ = ["HANDLERS", "rows_of", "two_activations"]

LONGEST = 2048  # words of a maximum that a CAP takes at once


def rows_of(low: Lowering, name: str, length: int) -> str:
    """A tensor as rows of `length` words, as it is where its last axis has so many."""
    shape = low.tensors[name].shape
    count = int(np.prod(shape))
    if shape[-1:] == (length,):
        return name
    if count % length:
        raise ModelError(f"rows of {length} words of a tensor {list(shape)}")
    rows = (length,) if count == length else (count // length, length)
    return low.reshaped(name, rows, f"{name} (flat)")


def two_activations(low: Lowering, operator: Operator) -> None:
    """FULLY_CONNECTED whose weights are computed: rows [T, K] and [U, K]."""
    if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
        raise operator.refuse("computed weights with a bias", "no bias")
    low.require_words(operator, *operator.inputs[:2])
    if low.batch > 1:
        raise operator.refuse("images of a batch that meet each other", "a file for one image")
    length = low.file.tensors[operator.inputs[1]].shape[-1]
    a, b = (rows_of(low, low.as_file(i), length) for i in operator.inputs[:2])
    a, b = (_as_matrix(low, one) for one in (a, b))
    layer = MatMul(
        name="", inputs=(a, b), output="", transposed=True, dense=True, requant=PLACEHOLDER
    )
    shape = (low.tensors[a].shape[0], low.tensors[b].shape[0])
    low.finish(operator, layer, planes=False, shape=shape)


def _as_matrix(low: Lowering, name: str) -> str:
    shape = low.tensors[name].shape
    return name if len(shape) == 2 else low.reshaped(name, (1, *shape), f"{name} (row)")


def _batch_matmul(low: Lowering, operator: Operator) -> None:
    """Products of the last two axes; a constant factor is laid out as words like any other."""
    low.require_words(operator, *operator.inputs, *operator.outputs)
    shapes = [low.file.tensors[i].shape for i in operator.inputs]
    lead = np.broadcast_shapes(*(shape[:-2] for shape in shapes))
    turned = (bool(operator.option("AdjX")), False)
    names = [_factor(low, operator, place, lead, turned[place]) for place in (0, 1)]
    layer = MatMul(
        name="", inputs=(names[0], names[1]), output="", requant=PLACEHOLDER,
        transposed=bool(operator.option("AdjY")),
    )  # fmt: skip
    low.finish(operator, layer, planes=False)


def _factor(
    low: Lowering, operator: Operator, place: int, lead: tuple[int, ...], turned: bool
) -> str:  # fmt: skip
    """A factor with the leading axes of both, its last two axes exchanged where `turned`."""
    index = operator.inputs[place]
    shape = low.file.tensors[index].shape
    if shape[:-2] == lead and not turned:
        return low.as_file(index)
    name = f"{low.name(index)} (factor {place} of {low.layer_name(operator.outputs[0])})"
    last = shape[:-3:-1] if turned else shape[-2:]
    return low.laid(index, name, "a factor's words", lambda x: np.broadcast_to(
        x.swapaxes(-1, -2) if turned else x, (*lead, *last)
    ))  # fmt: skip


def _axes(low: Lowering, operator: Operator) -> tuple[int, ...]:
    """Which axes of a computed tensor are reduced, the batch not counted."""
    shape = low.file.tensors[operator.inputs[0]].shape
    axes = sorted({int(axis) % len(shape) for axis in low.constant(operator, 1).ravel()})
    reduced, keep = frozenset(axes), operator.option("KeepDims")
    batched = low.batched(shape)
    if batched and 0 in axes and low.batch == 1:
        axes.remove(0)  # one image is a sum of itself
    kept = [1 if i in reduced else n for i, n in enumerate(shape) if keep or i not in reduced]
    low.require_shape(operator, kept)
    if not axes or (batched and 0 in axes):
        raise operator.refuse(f"{operator.op} over axes {axes}", "axes after the batch")
    return tuple(axis - batched for axis in axes)


def _reduce(low: Lowering, operator: Operator) -> None:
    """MEAN and SUM over constant axes."""
    low.require_words(operator, operator.inputs[0], operator.outputs[0])
    x, y = (low.quantized(i) for i in (operator.inputs[0], operator.outputs[0]))
    layer = Sum(
        name="", inputs=(low.as_file(operator.inputs[0]),), output="", axes=_axes(low, operator),
        mean=operator.op == "MEAN", requant=PLACEHOLDER,
    )  # fmt: skip
    unequal = (x.scale, x.zero_point) != (y.scale, y.zero_point)
    if operator.op == "SUM" and x.signed and unequal:
        _scaled_sum(low, operator, layer, y)
        return
    low.finish(operator, layer, planes=False)


def _scaled_sum(low: Lowering, operator: Operator, layer: Sum, y: Tensor) -> None:
    """SUM of signed words at another scale: a function of the sum, which float32 rounds.

    LiteRT's reference kernel reads what nobody wrote here; this is its default one.
    """
    index, x = operator.outputs[0], low.tensors[layer.inputs[0]]
    words = int(np.prod([x.shape[axis] for axis in layer.axes]))
    kind = holding(words * x.lo, words * x.hi)
    if kind.bits > 16 or low.rule != "tflite":
        raise operator.refuse(f"a sum of {words} words at another scale, of {kind.bits} bits",
                              "16 bits, or equal scales")  # fmt: skip
    shape, name = low.shape(index), f"{low.name(index)} (sums)"
    sums = Tensor(shape, kind.bits, True, x.scale, words * x.zero_point)
    zero = words * x.zero_point
    plain = rules.requant("dyadic(1,floor)", 1.0, zero_point=zero, lo=sums.lo, hi=sums.hi)
    low.emit(replace(layer, name=name, output=name, bias=-zero, requant=plain), sums)
    values = litert_tables.sums_of(sums, words, x, y)[None]
    table = Table(name=low.layer_name(index), inputs=(name,), output=low.made(index, False),
                  values=values, function="sum at another scale")  # fmt: skip
    low.settled(index, table, replace(y, shape=shape), False)


def _extreme(low: Lowering, operator: Operator) -> None:
    """REDUCE_MAX as a pool of all words that meet; a minimum, or a long one, half by half."""
    low.require_words(operator, operator.inputs[0], operator.outputs[0])
    low.require_alike(operator, operator.inputs[:1])
    axes, name = _axes(low, operator), low.as_file(operator.inputs[0])
    shape = low.tensors[name].shape
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    words = np.arange(int(np.prod(shape))).reshape(shape).transpose(*kept, *axes)
    length = int(np.prod([shape[axis] for axis in axes]))
    words = words.reshape(-1, length, 1)
    own, called = low.shape(operator.outputs[0]), low.name(operator.outputs[0])
    if operator.op == "REDUCE_MAX" and length <= LONGEST:
        lines = _taken(low, name, words, f"{called} (lines)")
        pool = MaxPool(name="", inputs=(lines,), output="", kernel=(length, 1), stride=(1, 1))
        low.finish(operator, pool, planes=False, shape=(len(words), 1, 1))
        return
    least, tensor = operator.op == "REDUCE_MIN", low.tensors[name]
    while words.shape[1] > 1:
        half = (words.shape[1] + 1) // 2  # of an odd number the middle one comes twice
        at = f"{called} ({half} left"
        a, b = (
            _taken(low, name, part, f"{at}, {which} half)")
            for part, which in ((words[:, :half], "first"), (words[:, -half:], "second"))
        )
        layer = Maximum(name=f"{at})", inputs=(a, b), output=f"{at})", least=least)
        name = low.emit(layer, replace(tensor, shape=low.tensors[a].shape))
        words = np.arange(len(words) * half).reshape(-1, half, 1)
    low.settled_as(operator.outputs[0], name, own)


def _taken(low: Lowering, name: str, words: Array, called: str) -> str:
    """Words of a tensor as one of their own."""
    index = np.ascontiguousarray(words, np.int32)
    layer = Rearrange(name=called, inputs=(name,), output=called, index=index, what="lines")
    return low.emit(layer, replace(low.tensors[name], shape=index.shape))


HANDLERS: dict[str, Handler] = {
    "BATCH_MATMUL": _batch_matmul,
    "MEAN": _reduce,
    "SUM": _reduce,
    "REDUCE_MAX": _extreme,
    "REDUCE_MIN": _extreme,
}
