"""TFLite's operators on words one by one: functions as tables, sums and products of two words.

The rule: a function of one word, a constant beside it or not, is a table made by the
reference kernels' own arithmetic (`rules.litert`, `exact`); two computed words meet in a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from apsim.nn import rules
from apsim.nn.importers.graph import Array
from apsim.nn.importers.tflite_file import Operator
from apsim.nn.importers.tflite_lowering import PLACEHOLDER, Handler, Lowering, activation
from apsim.nn.model import (
    Add,
    ArgMax,
    Integers,
    Maximum,
    Multiply,
    Requantize,
    Softmax,
    Table,
    Tensor,
)
from apsim.nn.model.words import holding
from apsim.nn.rules import factors, litert, litert_tables
from apsim.nn.rules.normalize import exponential

__all__ = ["HANDLERS", "joined", "table"]

MOST_TABLES = 256  # of one operator
WORDS, SIGNED = ("int8", "uint8", "int16"), ("int8", "int16")
# functions, and the types that the reference kernels have them for
UNARY: dict[str, tuple[str, ...]] = {
    "LOGISTIC": WORDS, "TANH": WORDS, "EXP": SIGNED, "LOG": SIGNED, "ELU": ("int8",),
    "GELU": WORDS, "HARD_SWISH": ("int8", "uint8"), "LEAKY_RELU": WORDS, "SQRT": ("int8",),
    "RSQRT": ("int8",), "RELU": WORDS, "RELU6": WORDS, "RELU_N1_TO_1": WORDS,
    "RELU_0_TO_1": WORDS, "ABS": SIGNED, "NEG": SIGNED,
}  # fmt: skip


def table(
    low: Lowering, operator: Operator, values: Integers, which: Array | None = None,
    *, source: int | None = None, function: str = "",
) -> None:  # fmt: skip
    """A layer that looks words up; `which` has the output's shape in the file's layout.

    `source` is the tensor of the words, the operator's first input where it is not given.
    """
    index = operator.inputs[0] if source is None else source
    planes = low.in_planes(index)
    layer = Table(
        name="", inputs=(low.stand(index, planes),), output="",
        values=np.atleast_2d(values).astype(np.int64), function=function or operator.op.lower(),
    )  # fmt: skip
    if which is not None:
        own = which[0] if low.batched(low.file.tensors[operator.outputs[0]].shape) else which
        own = own.transpose(2, 0, 1) if planes else own
        layer = replace(layer, which=np.ascontiguousarray(own, np.int32))
    low.finish(operator, layer, planes)


def _unary(low: Lowering, operator: Operator) -> None:
    x = low.quantized(operator.inputs[0], *UNARY[operator.op])
    y = low.quantized(operator.outputs[0], low.file.tensors[operator.inputs[0]].type)
    if x.bits == 16 and (x.zero_point or y.zero_point):
        raise operator.refuse("a zero point of 16-bit words", "zero point 0")
    alpha = float(operator.options.get("Alpha", 0.0))
    op = "GELU_TANH" if operator.op == "GELU" and operator.option("Approximate") else operator.op
    table(low, operator, litert_tables.table_of(op, x, y, alpha))


def _operands(low: Lowering, operator: Operator) -> tuple[list[str], bool]:
    """Both operands with the output's shape, and whether they stand as planes."""
    computed = [i for i in operator.inputs if i not in low.constants]
    y = operator.outputs[0]
    planes = low.is_plane(y) and any(low.in_planes(i) for i in computed)
    low.require_shape(operator, np.broadcast_shapes(
        *(low.file.tensors[i].shape for i in operator.inputs)
    ))  # fmt: skip
    shape = low.file.tensors[y].shape
    names = []
    for place, index in enumerate(operator.inputs):
        if index not in low.constants and low.file.tensors[index].shape == shape:
            names.append(low.stand(index, planes))
            continue
        if np.broadcast_shapes(low.file.tensors[index].shape, shape) != shape:
            raise operator.refuse(f"operands {[low.file.tensors[i].shape for i in computed]}",
                                  "one that broadcasts to the other")  # fmt: skip
        names.append(low.laid_along(index, y, place, planes))
    return names, planes


def _binary(low: Lowering, operator: Operator) -> None:
    """ADD, SUB, MUL, MAXIMUM, MINIMUM, SQUARED_DIFFERENCE."""
    kinds = [low.quantized(i, *WORDS) for i in (*operator.inputs, *operator.outputs)]
    _require_kinds(operator, kinds)
    names, planes = _operands(low, operator)
    _BINARY[operator.op](low, operator, names, planes)


def _require_kinds(operator: Operator, kinds: list[Tensor]) -> None:
    if len({(kind.bits, kind.signed) for kind in kinds}) > 1:
        raise operator.refuse("inputs and outputs of different types")
    if kinds[0].bits == 16 and any(kind.zero_point for kind in kinds):
        raise operator.refuse("a zero point of 16-bit words", "zero point 0")


def _add(low: Lowering, operator: Operator, names: list[str], planes: bool) -> None:
    """ADD and SUB; 16-bit words whose scales are powers of two by shifts, if the file says so."""
    sign = -1 if operator.op == "SUB" else 1
    layer = Add(name="", inputs=tuple(names), output="", requant=PLACEHOLDER, multipliers=(1, sign))
    y = low.quantized(operator.outputs[0])
    ratios = [rules.one_scale(low.tensors[name]) for name in names]
    powers = [np.log2(scale) for scale in (*ratios, rules.one_scale(y))]
    pot = y.bits == 16 and operator.options.get("PotScaleInt16")
    if not pot or any(power % 1 for power in powers):
        low.finish(operator, layer, planes)
        return
    shifts = [int(power - powers[2]) for power in powers[:2]]
    if max(shifts) != 0:
        raise operator.refuse(f"shifts of 16-bit words by {shifts}", "one word at the output's "
                              "scale, the other at a finer one")  # fmt: skip
    a, b = (rules.requant("dyadic(1,half-away)", 2.0**n, lo=y.lo, hi=y.hi) for n in shifts)
    tensor = replace(y, shape=low.tensors[names[0]].shape)
    clip, relu = activation(operator, tensor)
    low.settled(operator.outputs[0], replace(
        layer, name=low.layer_name(operator.outputs[0]), branches=(a, b), relu=relu,
        output=low.made(operator.outputs[0], planes),
        requant=rules.requant("dyadic(1,floor)", 1.0, lo=clip.lo, hi=clip.hi),
    ), tensor, planes)  # fmt: skip


def _multiply(low: Lowering, operator: Operator, names: list[str], planes: bool) -> None:
    layer = Multiply(name="", inputs=tuple(names), output="", requant=PLACEHOLDER)
    low.finish(operator, layer, planes)


def _maximum(low: Lowering, operator: Operator, names: list[str], planes: bool) -> None:
    low.require_alike(operator, operator.inputs)
    layer = Maximum(name="", inputs=tuple(names), output="", least=operator.op == "MINIMUM")
    low.finish(operator, layer, planes)


def _squared_difference(low: Lowering, operator: Operator, names: list[str], planes: bool) -> None:
    """The two branches rounded at twice the greater scale, 7 bits up; their difference squared."""
    if low.rule != "tflite":
        raise operator.refuse(f"a squared difference under the rule {low.rule}", "tflite")
    kinds = [low.tensors[name] for name in names]
    scales = [rules.one_scale(kind) for kind in kinds]
    twice, up = 2 * max(scales), 7
    wide = factors.WIDE
    a, b = (rules.requant("tflite", s / twice, lo=wide[0], hi=wide[1]) for s in scales)
    most = ((1 << kinds[0].bits) - 1 << up) + 1  # both branches are halved at least
    tensor = Tensor(kinds[0].shape, holding(-most, most).bits, True, twice / (1 << up))
    name = f"{low.name(operator.outputs[0])} (difference)"
    low.emit(
        Add(
            name=name, inputs=tuple(names), output=name, multipliers=(1, -1), branches=(a, b),
            branch_zero_points=(kinds[0].zero_point, kinds[1].zero_point), branch_shift=up,
        ), tensor,
    )  # fmt: skip
    y = low.quantized(operator.outputs[0])
    clip, relu = activation(operator, y)
    factor = twice * twice / ((1 << (2 * up)) * rules.one_scale(y))
    requant = rules.requant("tflite", factor, zero_point=y.zero_point, lo=clip.lo, hi=clip.hi)
    own = replace(y, shape=kinds[0].shape)
    output = low.made(operator.outputs[0], planes)
    layer = Multiply(name=low.layer_name(operator.outputs[0]), inputs=(name, name), output=output,
                     relu=relu, requant=requant)  # fmt: skip
    low.settled(operator.outputs[0], layer, own, planes)


_BINARY: dict[str, Callable[[Lowering, Operator, list[str], bool], None]] = {
    "ADD": _add, "SUB": _add, "MUL": _multiply, "MAXIMUM": _maximum, "MINIMUM": _maximum,
    "SQUARED_DIFFERENCE": _squared_difference,
}  # fmt: skip


def _prelu(low: Lowering, operator: Operator) -> None:
    """A table for each slope: below the zero point words are multiplied with it."""
    x = low.quantized(operator.inputs[0], "int8", "uint8")
    slope, y = low.quantized(operator.inputs[1]), low.quantized(operator.outputs[0])
    _require_kinds(operator, [x, slope, y])
    alphas = low.constant(operator, 1).astype(np.int64) - slope.zero_point
    sx, sa, sy = (np.float32(rules.one_scale(kind)) for kind in (x, slope, y))
    above = litert.multiplier_of(float(np.float32(sx / sy)))
    below = litert.multiplier_of(float(np.float32(np.float32(sx * sa) / sy)))
    own, which = np.unique(alphas, return_inverse=True)
    if len(own) > MOST_TABLES:
        raise operator.refuse(f"{len(own)} slopes", f"{MOST_TABLES} at most")
    v = litert.words_of(x)
    up = litert.multiplied(v, *above)
    tables = np.stack([
        np.clip(np.where(v >= 0, up, litert.multiplied(v * alpha, *below)) + y.zero_point,
                y.lo, y.hi)
        for alpha in own
    ])  # fmt: skip
    shape = low.file.tensors[operator.outputs[0]].shape
    laid = np.broadcast_to(which.reshape(alphas.shape), shape)
    table(low, operator, tables, laid if len(own) > 1 else None)


def _quantize(low: Lowering, operator: Operator) -> None:
    """From one scale to another; reals are a matter of the borders."""
    low.kind(operator.outputs[0], ())
    index = operator.inputs[0]
    if index in low.constants:
        raise operator.refuse("a constant that is quantized by the file", "a quantized constant")
    if low.file.tensors[index].real:
        x, y = low.quantized(index), low.quantized(operator.outputs[0])
        table(low, operator, litert_tables.table_of("QUANTIZE", x, y))
        return
    planes = low.in_planes(index)
    layer = Requantize(name="", inputs=(low.stand(index, planes),), output="", requant=PLACEHOLDER)
    low.finish(operator, layer, planes)


def _softmax(low: Lowering, operator: Operator) -> None:
    """At the very end the host's; inside, LiteRT's integers."""
    y = operator.outputs[0]
    if y in low.file.outputs and not any(y in one.inputs for one in low.file.operators):
        low.became[operator.index] = "left to the host: the model ends with this operator's input"
        low.left[y] = (operator.inputs[0],)
        return
    if operator.op != "SOFTMAX":
        raise operator.refuse("no exact integer form inside a network yet", "SOFTMAX")
    x, out = low.quantized(operator.inputs[0], *WORDS), low.quantized(y, *WORDS)
    wanted = (2.0**-8, out.lo) if out.bits == 8 else (2.0**-15, 0)
    if x.bits == out.bits and (out.scale, out.zero_point) != wanted:
        raise operator.refuse(f"an output scale of {out.scale} and zero point {out.zero_point}",
                              f"{wanted[0]} and {wanted[1]}")  # fmt: skip
    factor = float(operator.options.get("Beta", 0.0)) * rules.one_scale(x)
    if x.bits == 16 and factor * 65535 * 6554 > litert.TOP:  # steps of its table of exponentials
        raise operator.refuse(f"differences scaled by {factor:.3g}, for which TFLite's kernels "
                              "leave 32 bits", "a smaller scale or beta")  # fmt: skip
    if low.options.softmax == "ap":
        _softmax_of_the_ap(low, operator, factor)
        return
    layer = Softmax(
        name="", inputs=(low.as_file(operator.inputs[0]),), output="", factor=factor
    )  # fmt: skip
    low.finish(operator, layer, planes=False)
    low.became[operator.index] = "a host island: softmax by LiteRT's integer rule"


def _softmax_of_the_ap(low: Lowering, operator: Operator, factor: float) -> None:
    """The AP's own softmax, where the user asks for it: other integers than LiteRT's."""
    name, called = low.as_file(operator.inputs[0]), low.layer_name(operator.outputs[0])
    x = low.tensors[name]
    if x.bits != 8:
        raise operator.refuse(f"words of {x.bits} bits for the AP's own softmax", "8 bits")
    if not x.signed:
        zero = x.zero_point - 128
        clip = rules.requant("dyadic(1,floor)", 1.0, zero_point=zero, lo=-128, hi=127)
        moved = f"{called} (signed)"
        layer = Requantize(name=moved, inputs=(name,), output=moved, bias=-x.zero_point,
                           requant=clip)  # fmt: skip
        name = low.emit(layer, replace(x, signed=True, zero_point=zero))
    own = f"{called} (ap)"
    softmax = Softmax(name=own, inputs=(name,), output=own, factor=factor, rule="ap",
                      table=exponential(factor, 8))  # fmt: skip
    low.emit(softmax, Tensor(x.shape, 8, False, 1 / 256))
    last = Requantize(name="", inputs=(own,), output="", requant=PLACEHOLDER)
    low.finish(operator, last, planes=False)
    low.became[operator.index] = "the AP's own softmax, as --rule-softmax ap asks for"


def _arg_max(low: Lowering, operator: Operator) -> None:
    shape = low.file.tensors[operator.inputs[0]].shape
    axis = int(low.constant(operator, 1).ravel()[0]) % len(shape)
    batched = low.batched(shape)
    if batched and not axis:
        raise operator.refuse("the greatest of a batch", "an axis after it")
    layer = ArgMax(
        name="", inputs=(low.as_file(operator.inputs[0]),), output="", axis=axis - batched,
        least=operator.op == "ARG_MIN",
    )  # fmt: skip
    low.finish(operator, layer, planes=False)


def joined(low: Lowering, operator: Operator, axis: int, same: list[bool]) -> None:
    """CONCATENATION with constants, along the batch, or of unsigned words of unequal scales."""
    instead = {}
    for place, (index, alike) in enumerate(zip(operator.inputs, same, strict=True)):
        if alike:
            continue
        if index in low.constants:
            raise operator.refuse("a constant of another scale", "equal scales")
        x, y = low.quantized(index), low.quantized(operator.outputs[0])
        name = f"{low.name(index)} (part {place} of {low.layer_name(operator.outputs[0])})"
        layer = Table(
            name=name, inputs=(low.as_file(index),), output=name, function="rescale",
            values=litert_tables.table_of("CONCATENATION", x, y)[None],
        )  # fmt: skip
        instead[index] = low.emit(layer, replace(y, shape=x.shape))
    low.rearranged("CONCATENATION", operator.inputs, operator.outputs,
                   lambda *x: [np.concatenate(x, axis)], instead)  # fmt: skip


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(_BINARY, _binary),
    "PRELU": _prelu,
    "QUANTIZE": _quantize,
    "SOFTMAX": _softmax,
    "LOG_SOFTMAX": _softmax,
    "ARG_MAX": _arg_max,
    "ARG_MIN": _arg_max,
}
