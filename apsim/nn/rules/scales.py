"""Scales for a network that was made of integers alone, so that its widths can be switched.

The rule: the integers do not change.  Every factor that a layer already has is split into
scales of its tensors and weights that give this very factor again.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apsim.errors import ModelError
from apsim.nn.model import Add, AvgPool, Layer, Model, Requant, Requantize, Weighted

__all__ = ["with_scales"]


def with_scales(model: Model) -> Model:
    """Give the model with a scale for every tensor and every layer's weights.

    A factor made again from them is the same to within one rounding in float32.  The first
    tensor's unit is 1; the branches of an addition share their scale.  Raises
    `ModelError` where an addition of equal integers would need unequal scales.
    """
    scale: dict[str, float] = dict.fromkeys(model.inputs, 1.0)
    layers = []
    for layer in model.layers:
        given = scale[layer.inputs[0]]
        if isinstance(layer, Weighted):
            scale[layer.output] = _wanted(model, layer, scale)
            factor = np.ones(1) if layer.requant is None else layer.requant.scale
            unit = given if layer.requant is None else scale[layer.output]
            layer = replace(layer, weight_scale=factor * unit / given)
        else:
            scale[layer.output] = given / _factor(layer)
            if isinstance(layer, Add) and given != scale[layer.inputs[1]]:
                raise ModelError(f"layer {layer.name!r}: its branches have unequal scales")
        layers.append(layer)
    tensors = {name: replace(tensor, scale=scale[name]) for name, tensor in model.tensors.items()}
    return model.replace(tensors=tensors, layers=tuple(layers))


def _factor(layer: Layer) -> float:
    """Input scale over output scale, as a layer without weights has it."""
    if isinstance(layer, Add | AvgPool | Requantize) and isinstance(layer.requant, Requant):
        return float(layer.requant.scale[0])
    return 1.0


def _wanted(model: Model, layer: Weighted, scale: dict[str, float]) -> float:
    """The other branch's scale where the output meets one in an addition, else 1."""
    if layer.requant is None:
        return scale[layer.inputs[0]]
    for other in model.layers:
        if isinstance(other, Add) and layer.output in other.inputs:
            known = [scale[name] for name in other.inputs if name in scale]
            if known:
                return known[0]
    return 1.0
