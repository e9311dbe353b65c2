"""A layer's output held against its exact twin: all of it, or some channels.

The rule: what was compared is said; a sample is never called the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from apsim.errors import InputError
from apsim.nn import exact
from apsim.nn.model import Conv2d, Integers, Layer, Linear, Model, Requant, Weighted

__all__ = ["CHECKS", "Verdict", "verify"]

CHECKS = ("all", "sample")
SAMPLE = 8


@dataclass(frozen=True)
class Verdict:
    """Whether the values compared are equal, and which they were."""

    equal: bool
    compared: str


def verify(
    model: Model, layer: Layer, tensors: Mapping[str, Integers], output: Integers, check: str
) -> Verdict:
    """Compare a layer's output with its twin on the same inputs, by `check` "all" or "sample"."""
    if check not in CHECKS:
        raise InputError(f"unknown check {check!r}: wanted one of {', '.join(CHECKS)}")
    channels = len(layer.weights) if isinstance(layer, Weighted) else 0
    if check == "all" or channels <= SAMPLE or (isinstance(layer, Conv2d) and layer.groups > 1):
        truth = exact.layer_output(model, layer, tensors)
        return Verdict(bool(np.array_equal(truth, output)), "all")
    assert isinstance(layer, Conv2d | Linear)
    chosen = np.random.default_rng(channels).choice(channels, SAMPLE, replace=False)
    truth = exact.layer_output(model, _some(layer, chosen), tensors)
    some = output[..., chosen] if isinstance(layer, Linear) else output[:, chosen]
    return Verdict(bool(np.array_equal(truth, some)), f"{SAMPLE} of {channels} channels")


def _some(layer: Conv2d | Linear, channels: Integers) -> Conv2d | Linear:
    """The layer with some of its output channels."""
    requant = layer.requant and _channels(layer.requant, channels)
    return replace(
        layer, weights=layer.weights[channels], bias=layer.bias[channels], requant=requant
    )


def _channels(requant: Requant, channels: Integers) -> Requant:
    def part(values: Integers) -> Integers:
        return values[channels] if len(values) > 1 else values

    return replace(
        requant,
        scale=requant.scale[channels] if len(requant.scale) > 1 else requant.scale,
        mantissa=part(requant.mantissa),
        exponent=part(requant.exponent),
        offset=part(requant.offset),
    )
