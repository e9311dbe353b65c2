"""An `apsim.nn` model as a network to be costed: its layers as rows of a layer table.

The rule: shapes and widths only; nothing is executed.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from apsim.cost import Layer as Row
from apsim.cost import Network
from apsim.nn.model import (
    Add,
    AvgPool,
    Conv2d,
    Layer,
    Linear,
    MatMul,
    MaxPool,
    Model,
    Weighted,
)
from apsim.nn.model.windows import kernel_of

__all__ = ["MOVES", "network_of", "row_of", "widths_of"]

MOVES = ("reshape", "flatten", "transpose", "rearrange", "concat")  # nothing is computed there


def network_of(model: Model) -> Network:
    """The layers of `model` that cost something, as rows of a layer table."""
    found = {layer: None if layer.host else _row(model, layer) for layer in model.layers}
    rest = Counter(layer.op for layer, row in found.items() if row is None)
    left_out = tuple((op, many) for op, many in rest.items() if op not in MOVES)
    return Network(model.name, tuple(row for row in found.values() if row is not None), left_out)


def row_of(model: Model, name: str) -> Row | None:
    """One layer as a row, None where it costs nothing or is the host's."""
    layer = next(layer for layer in model.layers if layer.name == name)
    return None if layer.host else _row(model, layer)


def widths_of(model: Model) -> tuple[tuple[int, int], ...]:
    """(activation bits, weight bits) of each layer of `network_of`."""
    found = []
    for layer in model.layers:
        if not layer.host and _row(model, layer) is not None:
            found.append(_widths(model, layer))
    return tuple(found)


def _widths(model: Model, layer: Layer) -> tuple[int, int]:
    bits = [model.tensors[name].bits for name in layer.inputs]
    if isinstance(layer, MatMul):
        return bits[0], bits[1]
    return bits[0], layer.weight_bits if isinstance(layer, Weighted) else bits[0]


def _row(model: Model, layer: Layer) -> Row | None:
    words = int(np.prod(model.tensors[layer.output].shape))
    relu = bool(getattr(layer, "relu", False))
    if isinstance(layer, Conv2d | Linear):
        groups = layer.groups if isinstance(layer, Conv2d) else 1
        i, j = len(layer.weights) // groups, int(np.prod(layer.weights.shape[1:]))
        kind = "conv" if isinstance(layer, Conv2d) else "fc"
        u = words // len(layer.weights)
        return Row(layer.name, kind, groups, i, j, u, relu=relu)
    if isinstance(layer, MatMul):
        *lead, rows, length = model.tensors[layer.inputs[0]].shape
        columns = model.tensors[layer.output].shape[-1]
        return Row(layer.name, "matmul", int(np.prod(lead)), columns, length, rows, relu=relu)
    if isinstance(layer, MaxPool | AvgPool):
        window = int(np.prod(kernel_of(layer)))
        kind = "maxpool" if isinstance(layer, MaxPool) else "avgpool"
        return Row(layer.name, kind, window=window, windows=words)
    if isinstance(layer, Add):
        return Row(layer.name, "add", window=2, windows=words, relu=relu)
    return None
