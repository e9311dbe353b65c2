"""What a quantization makes of real values: of a bound, of a function's results, of an input.

The rule: a bound is rounded as the values are; rounding is monotone, so the one bounds the
others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from apsim.nn import rules
from apsim.nn.importers.pending import Target
from apsim.nn.model import Floats, Integers
from apsim.nn.rules.rounding import round_real

__all__ = ["line", "rounded", "whole"]


def line(steps: Sequence[tuple[str, float]]) -> tuple[float, float]:
    """The factor and the shift that steps of arithmetic come to, in real numbers."""
    factor, shift = 1.0, 0.0
    for kind, by in steps:
        if kind in ("mul", "div"):
            times = by if kind == "mul" else 1 / by
            factor, shift = factor * times, shift * times
        else:
            shift += by if kind == "add" else -by
    return factor, shift


def rounded(real: Floats, target: Target) -> Integers:
    """What a target makes of real values, in float64."""
    if target.rounding == "sign":
        return np.where(real >= 0, 1, -1)
    early = target.tensor.zero_point if target.parity else 0
    with np.errstate(over="ignore"):
        steps = np.clip(real / rules.one_scale(target.tensor), -(2.0**60), 2.0**60) + early
    whole = round_real(steps, target.rounding or "half-even") - early + target.tensor.zero_point
    return np.asarray(np.clip(whole, target.lo, target.hi), np.int64)


def whole(real: float, target: Target, rule: str) -> float:
    """The integer that a target makes of a real bound, in float32 as its values are."""
    if math.isinf(real):
        return real
    if target.rounding == "sign":
        return 1 if real >= 0 else -1
    early = target.tensor.zero_point if target.parity else 0
    with np.errstate(over="ignore"):
        steps = np.float32(real) / np.float32(rules.one_scale(target.tensor)) + np.float32(early)
    steps = np.clip(np.asarray([steps]), -(2.0**60), 2.0**60)
    mode = target.rounding or rules.parse(rule)[1]
    return int(round_real(steps, mode)[0]) - early + target.tensor.zero_point
