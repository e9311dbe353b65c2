"""An `apsim.nn` model as a network to be costed, and the counts that it will take.

The rule: shapes and widths only; nothing is executed.  `predicted` uses the closed forms
and the fold of a run on the same chip and kind, so that a run must count the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from apsim.cost import Layer as Row
from apsim.cost import Network
from apsim.counts import Counts
from apsim.nn import forecast
from apsim.nn.model import Add, AvgPool, Conv2d, Layer, Linear, MaxPool, Model, Relu, Weighted
from apsim.nn.part import Forecast
from apsim.nn.windows import kernel_of
from apsim.nn.words import Words, common, holding
from apsim.program import ApKind

__all__ = ["network_of", "predicted", "row_of", "widths_of"]

Sizes = Callable[[Model, Any, int, ApKind, int], Forecast]


def network_of(model: Model) -> Network:
    """The layers of `model` that cost something, as rows of a layer table."""
    found = (_row(model, layer) for layer in model.layers if not layer.host)
    return Network(model.name, tuple(row for row in found if row is not None))


def row_of(model: Model, name: str) -> Row | None:
    """One layer as a row, None where it costs nothing or is the host's."""
    layer = next(layer for layer in model.layers if layer.name == name)
    return None if layer.host else _row(model, layer)


def widths_of(model: Model) -> tuple[tuple[int, int], ...]:
    """(activation bits, weight bits) of each layer of `network_of`."""
    found = []
    for layer in model.layers:
        if not layer.host and _row(model, layer) is not None:
            bits = model.tensors[layer.inputs[0]].bits
            found.append((bits, layer.weight_bits if isinstance(layer, Weighted) else bits))
    return tuple(found)


def predicted(model: Model, images: int, kind: ApKind, rows: int) -> dict[str, Forecast]:
    """For each layer that the AP runs, what a run will count and what the paper prints."""
    found = {}
    for layer in model.layers:
        sizes = _SIZES.get(type(layer))
        if sizes is not None and not layer.host:
            found[layer.name] = sizes(model, layer, images, kind, rows)
    return found


def total(forecasts: dict[str, Forecast]) -> Counts:
    """The counts that all layers will take."""
    return sum((one.predicted for one in forecasts.values()), Counts())


def _row(model: Model, layer: Layer) -> Row | None:
    words = _words(model, layer.output)
    relu = bool(getattr(layer, "relu", False))
    if isinstance(layer, Conv2d | Linear):
        groups = layer.groups if isinstance(layer, Conv2d) else 1
        i, j = len(layer.weights) // groups, int(np.prod(layer.weights.shape[1:]))
        kind = "conv" if isinstance(layer, Conv2d) else "fc"
        u = words // len(layer.weights)
        return Row(layer.name, kind, groups, i, j, u, relu=relu)
    if isinstance(layer, MaxPool | AvgPool):
        window = int(np.prod(kernel_of(layer)))
        kind = "maxpool" if isinstance(layer, MaxPool) else "avgpool"
        return Row(layer.name, kind, window=window, windows=words)
    if isinstance(layer, Add):
        return Row(layer.name, "add", window=2, windows=words, relu=relu)
    return None


def _words(model: Model, tensor: str) -> int:
    return int(np.prod(model.tensors[tensor].shape))


def _products(
    model: Model, layer: Conv2d | Linear, images: int, kind: ApKind, rows: int
) -> Forecast:
    groups = layer.groups if isinstance(layer, Conv2d) else 1
    outputs = _words(model, layer.output) * images
    bits, length = model.tensors[layer.inputs[0]].bits, int(np.prod(layer.weights.shape[1:]))
    each = forecast.products(outputs // groups, length, bits, layer.weight_bits, kind, rows)
    return each * groups + _relu_after(layer, outputs, rows)


def _relu_after(layer: Conv2d | Linear | Add, words: int, rows: int) -> Forecast:
    if not layer.relu or layer.requant is None:
        return Forecast()
    return forecast.relu(words, layer.requant.width, rows)


def _max_pool(model: Model, layer: MaxPool, images: int, kind: ApKind, rows: int) -> Forecast:
    from apsim.functions.cnn import default_scheme

    windows, window = _words(model, layer.output) * images, int(np.prod(kernel_of(layer)))
    bits = model.tensors[layer.inputs[0]].bits
    return forecast.max_pool(windows, window, bits, kind, rows, default_scheme(kind))


def _average_pool(model: Model, layer: AvgPool, images: int, kind: ApKind, rows: int) -> Forecast:
    windows, window = _words(model, layer.output) * images, int(np.prod(kernel_of(layer)))
    return forecast.average_pool(windows, window, model.tensors[layer.inputs[0]].bits, kind, rows)


def _add(model: Model, layer: Add, images: int, kind: ApKind, rows: int) -> Forecast:
    """A plain addition, or a dot product of two words and two constants where scales differ."""
    words = _words(model, layer.output) * images
    kinds = [Words.of(model.tensors[name]) for name in layer.inputs]
    if layer.branches:
        kinds = [Words(branch.width, True) for branch in layer.branches]
    bits = common(*kinds).bits
    if layer.multipliers == (1, 1):
        added = forecast.add(words, bits, rows)
    else:
        constants = holding(min(layer.multipliers), max(layer.multipliers))
        added = forecast.products(words, 2, bits, constants.bits, kind, rows)
    return added + _relu_after(layer, words, rows)


def _relu(model: Model, layer: Relu, images: int, kind: ApKind, rows: int) -> Forecast:
    tensor = model.tensors[layer.inputs[0]]
    zero = tensor.zero_point
    bits = holding(tensor.lo - zero, tensor.hi - zero).bits + (tensor.lo - zero >= 0)
    return forecast.relu(_words(model, layer.output) * images, bits, rows)


_SIZES: dict[type[Layer], Sizes] = {
    Conv2d: _products,
    Linear: _products,
    MaxPool: _max_pool,
    AvgPool: _average_pool,
    Add: _add,
    Relu: _relu,
}
