"""One integer network as data: tensors, layers, and how both are checked and kept in files."""

from apsim.nn.model.network import (
    Add,
    ArgMax,
    AvgPool,
    Concat,
    Conv2d,
    Flatten,
    Interpolate,
    Layer,
    Linear,
    MatMul,
    Maximum,
    MaxPool,
    Model,
    Multiply,
    Rearrange,
    Relu,
    Requantize,
    Reshape,
    State,
    Steps,
    Sum,
    Table,
    Transpose,
    Weighted,
)
from apsim.nn.model.normalize import Normalize, Softmax
from apsim.nn.model.origin import Origin
from apsim.nn.model.tensor import Entry, Floats, Integers, Requant, Tensor

__all__ = [
    "Add", "ArgMax", "AvgPool", "Concat", "Conv2d", "Entry", "Flatten", "Floats", "Integers",
    "Interpolate", "Layer", "Linear", "MatMul", "MaxPool", "Maximum", "Model", "Multiply",
    "Normalize", "Origin", "Rearrange", "Relu", "Requant", "Requantize", "Reshape", "Softmax",
    "State", "Steps", "Sum", "Table", "Tensor", "Transpose", "Weighted",
]  # fmt: skip
