"""One integer network as data: tensors, layers, and how both are checked and kept in files."""

from apsim.nn.model.network import (
    Add,
    AvgPool,
    Concat,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    Model,
    Relu,
    Requantize,
    Reshape,
    Transpose,
    Weighted,
)
from apsim.nn.model.origin import Origin
from apsim.nn.model.tensor import Entry, Floats, Integers, Requant, Tensor

__all__ = [
    "Add", "AvgPool", "Concat", "Conv2d", "Entry", "Flatten", "Floats", "Integers", "Layer",
    "Linear", "MaxPool", "Model", "Origin", "Relu", "Requant", "Requantize", "Reshape", "Tensor",
    "Transpose", "Weighted",
]  # fmt: skip
