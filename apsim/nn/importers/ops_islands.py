"""Softmax and layer norm between two quantizations: islands of the host, by a declared rule.

The rule: `real` is float64 on the dequantized words, rounded once; `ort-fused` is what
onnxruntime's QLinearSoftmax computes; `ap` is the AP's own integer rule, which is taken
where the user asks for it by name and never by itself.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from apsim.nn.importers.constants import Const
from apsim.nn.importers.graph import Node
from apsim.nn.importers.ops_elementwise import plus_constant, times
from apsim.nn.importers.ops_qlinear import real_input, rounded_output
from apsim.nn.importers.ops_quant import quantized
from apsim.nn.importers.ops_real import name_of
from apsim.nn.importers.ops_shape import left_to_the_host
from apsim.nn.importers.pending import Pending, Target, Value
from apsim.nn.importers.walk import Handler, Walk, handles
from apsim.nn.model import Layer, Normalize, Reshape, Softmax, Tensor, Transpose
from apsim.nn.rules.normalize import exponential

__all__ = ["HANDLERS"]

ORT = "com.microsoft"
COERCED = 13  # before this opset a softmax is over all axes from its own on


def _softmax(walk: Walk, node: Node) -> Value | list[Value]:
    if not any(walk.uses.get(name, 0) > (name in walk.graph.outputs) for name in node.outputs):
        return left_to_the_host(walk, node)
    if node.op != "Softmax":
        raise node.refuse(f"{node.op} inside the network", "Softmax")
    value = _probabilities(walk, node, walk.tensor(node, 0), walk.options.softmax or "real")
    return [value]


def _qlinear_softmax(walk: Walk, node: Node) -> Value:
    """ORT's QLinearSoftmax: x, its scale and zero point, then y's; `opset` as of Softmax."""
    rule = walk.options.softmax or "ort-fused"
    opset = int(node.attribute("opset", walk.graph.opset))
    plain = replace(node, attributes={"axis": node.attribute("axis", -1)})
    value = _probabilities(walk, plain, real_input(walk, node, 0, 1, 2), rule, opset)
    return quantized(walk, node, value, rounded_output(walk, node, 3, 4, zero_first=False))


def _probabilities(walk: Walk, node: Node, x: str, rule: str, opset: int = 0) -> Pending:
    """Softmax over one axis, which is brought to the last place and back."""
    shape = walk.build.tensors[x].shape
    rows = _rows(walk, node)
    rank = 1 + len(shape) - rows
    axis = int(node.attribute("axis", -1))
    if not -rank <= axis < rank or axis % rank == 0:
        raise node.refuse(f"axis {axis} of {rank} axes", "an axis from 1 on")
    along = axis % rank - 1 + rows
    if (opset or walk.graph.opset) < COERCED and along < len(shape) - 1:
        flat = (*shape[:along], math.prod(shape[along:]))
        value = _over_the_last(walk, node, walk.build.reshaped(x, flat), rule)
        back = Reshape(name=f"{name_of(node)} (shape)", inputs=(), output="")
        return value.then(back, shape, node.index)
    if along == len(shape) - 1:
        return _over_the_last(walk, node, x, rule)
    axes = (*(n for n in range(len(shape)) if n != along), along)
    value = _over_the_last(walk, node, walk.build.transposed(x, axes), rule)
    turned = tuple(axes.index(n) for n in range(len(shape)))
    back_axes = Transpose(name=f"{name_of(node)} (axes)", inputs=(), output="", axes=turned)
    return value.then(back_axes, shape, node.index)


def _rows(walk: Walk, node: Node) -> int:
    """Axes that the file has fewer: rows of which the batch is a part."""
    value = walk.value(node, 0)
    return int(isinstance(value, Pending) and value.rows)


def _over_the_last(walk: Walk, node: Node, x: str, rule: str) -> Pending:
    tensor, factor = walk.build.tensors[x], walk.build.unit(x)
    if rule != "ap":
        layer = Softmax(name=name_of(node), inputs=(x,), output="", factor=factor, rule=rule)
        return Pending(tensor.shape, layer=layer, nodes=(node.index,))
    x = _signed(walk, node, x)
    table = exponential(factor, walk.build.tensors[x].bits)
    layer = Softmax(name=name_of(node), inputs=(x,), output="", factor=factor, rule="ap",
                    table=table)  # fmt: skip
    return _by_the_ap(walk, node, layer, Tensor(tensor.shape, 8, False, 1 / 256))


def _signed(walk: Walk, node: Node, x: str) -> str:
    """Words with a sign: those without one less half their range."""
    tensor = walk.build.tensors[x]
    if tensor.signed:
        return x
    half = 1 << (tensor.bits - 1)
    moved = replace(tensor, signed=True, zero_point=tensor.zero_point - half, shape=())
    value = Pending(tensor.shape, source=x, nodes=(node.index,))
    return walk.build.finish(value, walk.build.new_name(f"{x} (signed)"),
                             Target(moved, moved.lo, moved.hi))  # fmt: skip


def _by_the_ap(walk: Walk, node: Node, layer: Layer, tensor: Tensor) -> Pending:
    """A layer by the AP's own rule, whose output has a unit of its own."""
    output = walk.build.new_name(f"{node.outputs[0]} (ap)")
    made = walk.build.emit(replace(layer, output=output), tensor, [node.index])
    return Pending(tensor.shape, source=made, nodes=(node.index,))


def _layer_normalization(walk: Walk, node: Node) -> Value:
    return _normalized(walk, node, "layer")


def _rms_normalization(walk: Walk, node: Node) -> Value:
    return _normalized(walk, node, "rms")


def _normalized(walk: Walk, node: Node, kind: str) -> Value:
    x = walk.tensor(node, 0)
    shape = walk.build.tensors[x].shape
    axis, rank = int(node.attribute("axis", -1)), 1 + len(shape) - _rows(walk, node)
    if axis % rank != rank - 1 or not -rank <= axis < rank or rank < 2:
        raise node.refuse(f"axis {axis} of {rank} axes", "the last one")
    if int(node.attribute("stash_type", 1)) != 1:
        raise node.refuse("a stash_type other than float", "stash_type 1")
    gamma, beta = (
        np.broadcast_to(np.asarray(walk.constant(node, i), np.float64), shape[-1:]).copy()
        if walk.has(node, i) else None for i in (1, 2)
    )  # fmt: skip
    epsilon = float(np.float32(node.attribute("epsilon", 1e-5)))
    if not 0 < epsilon < math.inf:
        raise node.refuse(f"an epsilon of {epsilon:g}", "a positive finite epsilon")
    if any(part is not None and not np.isfinite(part).all() for part in (gamma, beta)):
        raise node.refuse("a gamma or beta that is NaN or infinite", "finite ones")
    if walk.options.norm == "ap":
        if epsilon > walk.build.unit(x) ** 2:
            raise node.refuse(
                f"an epsilon of {epsilon:g}, where the AP's norm has none",
                f"one within the square of a step of its input, {walk.build.unit(x) ** 2:g}, or "
                "--rule-norm real",
            )
        return _norm_of_the_ap(walk, node, x, kind)
    layer = Normalize(name=name_of(node), inputs=(x,), output="", kind=kind, rule="real",
                      gamma=gamma, beta=beta, epsilon=epsilon)  # fmt: skip
    return Pending(shape, layer=layer, nodes=(node.index,))


def _norm_of_the_ap(walk: Walk, node: Node, x: str, kind: str) -> Value:
    """The AP's own norm, without epsilon, then gamma and beta as the numbers that they are."""
    x = _signed(walk, node, x)
    layer = Normalize(name=name_of(node), inputs=(x,), output="", kind=kind, rule="ap")
    shape = walk.build.tensors[x].shape
    value: Value = _by_the_ap(walk, node, layer, Tensor(shape, 8, True, 1 / 32))
    gamma, beta = (walk.constant(node, i) if walk.has(node, i) else None for i in (1, 2))
    if gamma is not None and (gamma != 1).any():
        value = times(walk, node, value, Const(gamma))
    if beta is not None and beta.any():
        value = plus_constant(walk, node, value, Const(beta), 1)
    return value


NORM = "axis epsilon stash_type"
HANDLERS: dict[tuple[str, str], Handler] = {
    ("", "Softmax"): handles(_softmax, "axis", rows=True),
    ("", "LogSoftmax"): handles(_softmax, "axis"),
    ("", "LayerNormalization"): handles(_layer_normalization, NORM, 3, rows=True),
    ("", "RMSNormalization"): handles(_rms_normalization, NORM, 2),
    ("", "SimplifiedLayerNormalization"): handles(
        _rms_normalization, NORM, 2, axis=-1, epsilon=1e-5
    ),
    (ORT, "QLinearSoftmax"): handles(_qlinear_softmax, "axis opset", 5),
}
