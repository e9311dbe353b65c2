"""Real functions of one tensor between two quantizations: a table of its words.

The rule (`real`): the function of the dequantized word in float64, one rounding, the zero
point, the clip.  What is made of one tensor by numbers and functions alone stays one
function, however many nodes it took.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from apsim.nn.importers.constants import beside
from apsim.nn.importers.curves import Curve, drawn, function_of, require_room
from apsim.nn.importers.graph import Node
from apsim.nn.importers.ops_qlinear import real_input, rounded_output
from apsim.nn.importers.ops_quant import quantized
from apsim.nn.importers.pending import Value
from apsim.nn.importers.walk import Handler, Walk, handles
from apsim.nn.model import Floats

__all__ = ["HANDLERS"]

ORT = "com.microsoft"
Parameters = Callable[[Node], Callable[[Floats], Floats]]
erf = np.vectorize(math.erf, otypes=[np.float64])


def _number(node: Node, name: str, default: float) -> np.float64:
    """A parameter, float32 in its file."""
    return np.float64(np.float32(node.attribute(name, default)))


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))


def _softplus(x: Floats) -> Floats:
    return np.asarray(np.logaddexp(0, x))


def _elu(node: Node) -> Callable[[Floats], Floats]:
    alpha = _number(node, "alpha", 1.0)
    return lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _celu(node: Node) -> Callable[[Floats], Floats]:
    alpha = _number(node, "alpha", 1.0)
    return lambda x: np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(np.minimum(x, 0) / alpha))


def _selu(node: Node) -> Callable[[Floats], Floats]:
    alpha, gamma = _number(node, "alpha", 1.67326), _number(node, "gamma", 1.0507)
    return lambda x: gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _leaky_relu(node: Node) -> Callable[[Floats], Floats]:
    alpha = _number(node, "alpha", 0.01)
    return lambda x: np.where(x >= 0, x, alpha * x)


def _thresholded(node: Node) -> Callable[[Floats], Floats]:
    alpha = _number(node, "alpha", 1.0)
    return lambda x: np.where(np.float32(x) > alpha, x, 0.0)


def _hard_sigmoid(node: Node) -> Callable[[Floats], Floats]:
    alpha, beta = _number(node, "alpha", 0.2), _number(node, "beta", 0.5)
    return lambda x: np.clip(alpha * x + beta, 0, 1)


def _hard_swish(node: Node) -> Callable[[Floats], Floats]:
    return lambda x: x * np.clip(x / 6 + 0.5, 0, 1)


def _gelu(node: Node) -> Callable[[Floats], Floats]:
    if str(node.attribute("approximate", "none")) == "tanh":
        root = math.sqrt(2 / math.pi)
        return lambda x: 0.5 * x * (1 + np.tanh(root * (x + 0.044715 * x**3)))
    return lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2)))


def _swish(node: Node) -> Callable[[Floats], Floats]:
    alpha = _number(node, "alpha", 1.0)
    return lambda x: x * _sigmoid(alpha * x)


def _quick_gelu(node: Node) -> Callable[[Floats], Floats]:
    alpha = _number(node, "alpha", 1.702)
    return lambda x: x * _sigmoid(alpha * x)


def _of_float32(function: Callable[[Floats], Floats]) -> Parameters:
    """A function with jumps: on which side a word lies, DequantizeLinear's float32 decides."""
    return lambda node: lambda x: function(x.astype(np.float32).astype(np.float64))


def _plain(function: Callable[[Floats], Floats]) -> Parameters:
    return lambda node: function


FUNCTIONS: dict[str, tuple[Parameters, str]] = {
    "Abs": (_plain(np.abs), ""),
    "Ceil": (_of_float32(np.ceil), ""),
    "Celu": (_celu, "alpha"),
    "Cos": (_plain(np.cos), ""),
    "Elu": (_elu, "alpha"),
    "Erf": (_plain(erf), ""),
    "Exp": (_plain(np.exp), ""),
    "Floor": (_of_float32(np.floor), ""),
    "Gelu": (_gelu, "approximate"),
    "HardSigmoid": (_hard_sigmoid, "alpha beta"),
    "HardSwish": (_hard_swish, ""),
    "LeakyRelu": (_leaky_relu, "alpha"),
    "Log": (_plain(np.log), ""),
    "Mish": (_plain(lambda x: x * np.tanh(_softplus(x))), ""),
    "Neg": (_plain(np.negative), ""),
    "QuickGelu": (_quick_gelu, "alpha"),
    "Reciprocal": (_plain(np.reciprocal), ""),
    "Round": (_of_float32(np.rint), ""),
    "Selu": (_selu, "alpha gamma"),
    "Sigmoid": (_plain(_sigmoid), ""),
    "Sign": (_plain(np.sign), ""),
    "Sin": (_plain(np.sin), ""),
    "Softplus": (_plain(_softplus), ""),
    "Softsign": (_plain(lambda x: x / (1 + np.abs(x))), ""),
    "Sqrt": (_plain(np.sqrt), ""),
    "Swish": (_swish, "alpha"),
    "Tanh": (_plain(np.tanh), ""),
    "ThresholdedRelu": (_thresholded, "alpha"),
}


def _unary(walk: Walk, node: Node) -> Value:
    value = walk.pending(node, 0)
    if value.integer:
        raise node.refuse("a function of integers, whose scale is not given", "DequantizeLinear")
    curve = function_of(walk, node, 0)
    return drawn(node, value, curve.then(FUNCTIONS[node.op][0](node)))


def _power(walk: Walk, node: Node) -> Value:
    value, exponent = walk.pending(node, 0), walk.constant(node, 1)
    if exponent.size != 1 or exponent.ndim > 1 + len(value.shape) or value.integer:
        raise node.refuse(f"powers of shape {list(exponent.shape)}", "one exponent")
    curve = function_of(walk, node, 0)
    power = float(exponent.item())
    return drawn(node, value, curve.then(lambda x: np.power(x, power)))


def _prelu(walk: Walk, node: Node) -> Value:
    """Slopes of any shape that broadcasts to the tensor's: a table for each that differs."""
    value, slope = walk.pending(node, 0), walk.constant(node, 1)
    if value.integer:
        raise node.refuse("slopes beside integers", "DequantizeLinear before it")
    curve = function_of(walk, node, 0)
    by = beside(node, np.asarray(slope, np.float64), value.shape)[..., None]
    require_room(walk, node, curve, by.size)
    by = by if by.size > 1 else by.reshape(())
    return drawn(node, value, curve.then(lambda x: np.where(x < 0, by * x, x)))


def _qlinear(walk: Walk, node: Node) -> Value:
    """ORT's QLinearSigmoid and QLinearLeakyRelu: x, its scale and zero point, then y's."""
    name = real_input(walk, node, 0, 1, 2)
    function = FUNCTIONS[node.op.removeprefix("QLinear")][0](node)
    value = walk.pending(node, 0)
    made = drawn(node, value, Curve(name).then(function))
    return quantized(walk, node, made, rounded_output(walk, node, 3, 4, zero_first=False))


HANDLERS: dict[tuple[str, str], Handler] = {
    **{
        ("", op): handles(_unary, names)
        for op, (_, names) in FUNCTIONS.items()
        if op != "QuickGelu"
    },
    ("", "Pow"): handles(_power, inputs=2),
    ("", "PRelu"): handles(_prelu, inputs=2),
    (ORT, "QLinearSigmoid"): handles(_qlinear, inputs=5),
    (ORT, "QLinearLeakyRelu"): handles(_qlinear, "alpha", 5),
    (ORT, "Gelu"): handles(_unary, rows=True),
    (ORT, "QuickGelu"): handles(_unary, "alpha", alpha=1.702),
}
