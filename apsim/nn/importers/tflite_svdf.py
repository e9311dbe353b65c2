"""TFLite's integer SVDF: a product with the input, and one with what it was before.

The rule: the reference kernel's own roundings.  The newest products enter the state at its
end, the oldest leave it; the sum over time and rank is one convolution, groups of which are
units.  The state is a variable of the file and is kept from step to step.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apsim.nn import rules
from apsim.nn.importers.graph import Array
from apsim.nn.importers.tflite_file import Operator
from apsim.nn.importers.tflite_lowering import Handler, Lowering
from apsim.nn.importers.tflite_weights import require_width
from apsim.nn.model import Conv2d, Linear, Rearrange, State, Table, Tensor

__all__ = ["HANDLERS"]


def _svdf(low: Lowering, operator: Operator) -> None:
    x = low.quantized(operator.inputs[0], "int8")
    state = low.quantized(operator.inputs[4], "int8", "int16")
    y = low.quantized(operator.outputs[0], "int8")
    time = _weights(low, operator, 2)
    filters, memory = time.shape
    rank = operator.option("Rank")
    units = low.shape(operator.outputs[0])[-1]
    if low.rule != "tflite" or rank < 1 or units * rank != filters:
        raise operator.refuse(f"{filters} filters of rank {rank} for {units} units, or a rule of "
                              "another format", "rule tflite")  # fmt: skip
    if operator.option("FusedActivationFunction") != 1:
        raise operator.refuse("another activation than RELU, which the kernels take", "RELU")
    if state.bits == 16 and state.zero_point:
        raise operator.refuse("a zero point of a 16-bit state", "zero point 0")
    name = low.layer_name(operator.outputs[0])
    newest = _products(low, operator, x, replace(state, shape=(filters,)), name)
    held = _kept(low, operator, state, (filters, memory), newest)
    planes = low.reshaped(held, (units, rank, memory), f"{name} (filters)")
    tensor = low.tensors[planes]
    factor = np.float32(_product(low, operator, tensor, 2) / np.float32(rules.one_scale(y)))
    weights = time.reshape(units, 1, rank, memory)
    sums = weights.reshape(units, -1).sum(axis=1, dtype=np.int64)
    bias = _bias(low, operator, units)
    layer = Conv2d(
        name=name, inputs=(planes,), output=f"{name} (units)", groups=units, sum_bits=32,
        weights=weights, weight_bits=time.dtype.itemsize * 8,
        weight_scale=low.file.tensors[operator.inputs[2]].scale,
        bias=bias - tensor.zero_point * sums,
        requant=rules.requant("tflite", float(factor), zero_point=y.zero_point, lo=y.lo, hi=y.hi),
    )  # fmt: skip
    require_width(operator, layer, tensor, bias, 32)
    low.require_32_bits(layer)
    low.emit(layer, replace(y, shape=(units, 1, 1)))
    index = operator.outputs[0]
    low.settled_as(index, layer.output, low.shape(index))
    low.became[operator.index] = f"products of a step, and sums over {memory} steps, on the AP"


def _weights(low: Lowering, operator: Operator, place: int) -> Array:
    """Weights over features (1), or over time (2), which are of the state's type."""
    tensor, state = (low.file.tensors[operator.inputs[i]] for i in (place, 4))
    values, wanted = low.constant(operator, place), "int8" if place == 1 else state.type
    if tensor.type != wanted or tensor.scale.size != 1 or tensor.zero.any() or values.ndim != 2:
        raise operator.refuse(f"weights of type {tensor.type} with {tensor.scale.size} scales",
                              f"{wanted}, symmetric, of one scale")  # fmt: skip
    if not state.variable:
        raise operator.refuse("a state that is no variable of the file", "a variable")
    return values


def _product(low: Lowering, operator: Operator, x: Tensor, place: int) -> np.float32:
    """The product of an input's scale and that of weights, in float32."""
    own = np.float32(low.file.tensors[operator.inputs[place]].scale[0])
    return np.float32(np.float32(rules.one_scale(x)) * own)


def _bias(low: Lowering, operator: Operator, units: int) -> Array:
    if operator.inputs[3] < 0:
        return np.zeros(units, np.int64)
    values = low.constant(operator, 3)
    if low.file.tensors[operator.inputs[3]].type != "int32" or values.shape != (units,):
        raise operator.refuse(f"biases {list(values.shape)}", f"int32 [{units}]")
    return values.astype(np.int64)


def _products(
    low: Lowering, operator: Operator, x: Tensor, state: Tensor, name: str
) -> str:  # fmt: skip
    """What enters the state: products with the input, rounded to its words.

    An int8 state's zero point is added behind the clip, in 8 bits that may wrap.
    """
    weights = _weights(low, operator, 1)
    factor = np.float32(_product(low, operator, x, 1) / np.float32(rules.one_scale(state)))
    zero = state.zero_point
    plain = f"{name} (products)"
    layer = Linear(
        name=plain, inputs=(low.as_file(operator.inputs[0]),), output=plain, weights=weights,
        bias=-x.zero_point * weights.sum(axis=1, dtype=np.int64), weight_bits=8, sum_bits=32,
        weight_scale=low.file.tensors[operator.inputs[1]].scale,
        requant=rules.requant("tflite", float(factor), lo=state.lo, hi=state.hi),
    )  # fmt: skip
    require_width(operator, layer, x, np.zeros(len(weights), np.int64), 32)
    low.require_32_bits(layer)
    low.emit(layer, replace(state, zero_point=0))
    if not zero:
        return plain
    moved = f"{name} (entering)"
    values = (np.arange(256) + zero) % 256 - 128
    table = Table(name=moved, inputs=(plain,), output=moved, values=values[None],
                  function="zero point of the state")  # fmt: skip
    return low.emit(table, state)


def _kept(
    low: Lowering, operator: Operator, state: Tensor, shape: tuple[int, int], newest: str
) -> str:  # fmt: skip
    """The state of this step, which the next one reads: shifted by one, the newest at its end."""
    filters, memory = shape
    read = low.name(operator.inputs[4])
    tensor = replace(state, shape=(filters * memory,))
    low.tensors[read] = tensor
    words = np.arange(filters * memory, dtype=np.int32).reshape(shape)
    fresh = filters * memory + np.arange(filters, dtype=np.int32)[:, None]
    index = np.concatenate([words[:, 1:], fresh], axis=1).ravel()
    written = f"{read} (after)"
    layer = Rearrange(name=written, inputs=(read, newest), output=written, index=index,
                      what="a step of SVDF")  # fmt: skip
    low.emit(layer, tensor)
    start = np.full(tensor.shape, state.zero_point if state.bits == 8 else 0, np.int64)
    low.states.append(State(read, written, start))
    return written


HANDLERS: dict[str, Handler] = {"SVDF": _svdf}
