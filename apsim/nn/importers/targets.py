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


By = float | tuple[float, ...]  # one number, or one for each channel


def line(steps: Sequence[tuple[str, By]]) -> tuple[By, By]:
    """The factor and the shift that steps of arithmetic come to, in real numbers."""
    factor: Floats = np.ones(())
    shift: Floats = np.zeros(())
    for kind, by in steps:
        number = np.asarray(by, np.float64)
        if kind in ("mul", "div"):
            times = number if kind == "mul" else 1 / number
            factor, shift = np.asarray(factor * times), np.asarray(shift * times)
        else:
            shift = np.asarray(shift + (number if kind == "add" else -number))
    return _by(factor), _by(shift)


def _by(values: Floats) -> By:
    return tuple(values.tolist()) if values.ndim else float(values)


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
