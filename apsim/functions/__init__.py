"""The paper's functions executed: one program each, on any AP kind."""

from apsim.functions.base import Function, Result, run
from apsim.functions.cnn import average_pool, max_pool, relu
from apsim.functions.macro import dot, dot_products, matmul, merge
from apsim.functions.micro import add, maximum, minimum, multiply, reduce, subtract
from apsim.functions.normalize import exponential, ita_softmax, layer_norm, rms_norm, softmax
from apsim.functions.requantize import Recipe, requantize

__all__ = [
    "Function",
    "Recipe",
    "Result",
    "add",
    "average_pool",
    "dot",
    "dot_products",
    "exponential",
    "ita_softmax",
    "layer_norm",
    "matmul",
    "max_pool",
    "maximum",
    "merge",
    "minimum",
    "multiply",
    "reduce",
    "relu",
    "requantize",
    "rms_norm",
    "run",
    "softmax",
    "subtract",
]
