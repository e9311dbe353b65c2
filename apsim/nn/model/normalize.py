"""Layers that bring the words of an axis to one scale: softmax, layer norm, RMS norm.

The rule: a layer names its rule, for rules give other integers; those of the AP run on it, and
real ones are islands of the host.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from apsim.nn.model.network import Layer
from apsim.nn.model.tensor import Floats, Integers

__all__ = ["Normalize", "Softmax"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(Layer):
    """Probabilities over the last axis, by one of five rules that differ in their integers.

    `factor` is what a step of the input adds to an exponent: its scale, times beta if any.

    "litert": TFLite's integer softmax.  "real": in float64, rounded once to the output (RNE).
    "ort-fused": the same over floor(1 / output scale), as onnxruntime's QLinearSoftmax.
    "ap": the AP's own, on integers: `table` holds the exponential of each of the 2**bits
    differences from the greatest word, which `factor` was taken for; the output is u8, its
    unit 1/256.  "ita": ITA's powers of two on integers, `factor` being ln 2 / 2**k; the output
    likewise.  All but "ap" and "ita" are islands of the host.  `mask`, of rule "ap" alone, is 1
    where a word has no part in its line (0 in the output), and broadcasts to the input's shape.
    """

    op: ClassVar[str] = "softmax"
    factor: float
    rule: str = "litert"
    table: Integers | None = None
    mask: Integers | None = None

    @property
    def is_fluid(self) -> bool:
        """By the AP's own rule, whose table any width has."""
        return self.rule == "ap"

    @property
    def halving(self) -> int | None:
        """k of rule "ita", whose factor is ln 2 / 2**k to the precision of float32; else None."""
        if self.rule != "ita" or not 0 < self.factor <= 1:
            return None
        shift = max(round(math.log2(math.log(2) / self.factor)), 0)
        near = math.isclose(self.factor, math.log(2) / 2**shift, rel_tol=2**-22)
        return shift if near else None

    @property
    def on_host(self) -> str:
        """What the host computes."""
        return _island("softmax", "integer" if self.rule == "litert" else self.rule)


@dataclass(frozen=True, eq=False, kw_only=True)
class Normalize(Layer):
    """Words over the last axis, brought to mean 0 and variance 1, or by their mean square alone.

    `kind` is "layer" (less the mean, over the standard deviation) or "rms" (over the root of
    the mean square).  Rule "ap" is the AP's own, on integers: s8 in units of 1/32, no gamma,
    beta or epsilon.  Rule "real" is float64 on dequantized words, `* gamma + beta` where they
    are given (one for each word of the axis), rounded once to the output (RNE): an island.
    """

    op: ClassVar[str] = "normalize"
    kind: str = "layer"
    rule: str = "ap"
    gamma: Floats | None = None
    beta: Floats | None = None
    epsilon: float = 0.0

    @property
    def on_host(self) -> str:
        """What the host computes."""
        return _island("layer norm" if self.kind == "layer" else "RMS norm", self.rule)


def _island(what: str, rule: str) -> str:
    return f"arithmetic ({what})" if rule in ("ap", "ita") else f"island ({what}, {rule} rule)"
