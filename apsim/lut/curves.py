"""Functions of a real number as tables of integers: what an activation makes of a word.

The rule: y = clip(round_half_even(f(scale (x - zero)) / out_scale) + out_zero), computed in
float64 for every word; a value that is no number is refused with its input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from apsim.errors import LutError

__all__ = ["CURVES", "Curve", "curve", "tabulated"]

CURVES: Mapping[str, Callable[[float], float]] = {
    "abs": abs,
    "elu": lambda x: x if x >= 0 else math.expm1(x),
    "erf": math.erf,
    "exp": math.exp,
    "gelu": lambda x: 0.5 * x * math.erfc(-x * math.sqrt(0.5)),
    "hard-sigmoid": lambda x: min(max(x / 6 + 0.5, 0.0), 1.0),
    "hard-swish": lambda x: x * min(max(x / 6 + 0.5, 0.0), 1.0),
    "identity": lambda x: x,
    "leaky-relu": lambda x: x if x >= 0 else 0.1 * x,
    "log": lambda x: math.log(x) if x > 0 else math.nan,
    "logistic": lambda x: 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x)),
    "reciprocal": lambda x: 1 / x if x else math.nan,
    "relu": lambda x: max(x, 0.0),
    "silu": lambda x: x * CURVES["logistic"](x),
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "sqrt": lambda x: math.sqrt(x) if x >= 0 else math.nan,
    "square": lambda x: x * x,
    "tanh": math.tanh,
}


@dataclass(frozen=True)
class Curve:
    """A function with the scales and zero points of its input and output words."""

    name: str
    scale: float = 1.0
    zero: int = 0
    out_scale: float = 1.0
    out_zero: int = 0


def curve(name: str) -> Callable[[float], float]:
    """The function of that name; raises `LutError` with the nearest name."""
    if name not in CURVES:
        near = get_close_matches(name, CURVES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise LutError(f"unknown function {name!r}: wanted one of {', '.join(CURVES)}{hint}")
    return CURVES[name]


def tabulated(what: Curve, words: range, low: int, high: int) -> tuple[int, ...]:
    """The value of every one of `words`, clipped to `low`..`high`.

    Raises `LutError` for an unknown function, a scale that is not positive and finite, and
    a function that has no value at a word.
    """
    function = curve(what.name)
    for name, scale in (("scale", what.scale), ("out scale", what.out_scale)):
        if not (math.isfinite(scale) and scale > 0):
            raise LutError(f"{what.name}: a {name} must be positive and finite, got {scale}")
    return tuple(min(max(_value(function, what, x), low), high) for x in words)


def _value(function: Callable[[float], float], what: Curve, x: int) -> int:
    real = what.scale * (x - what.zero)
    try:
        y = function(real) / what.out_scale
    except OverflowError:
        y = math.inf
    if math.isnan(y):
        raise LutError(f"{what.name}({real:g}) has no value, at word {x}")
    near = min(max(y, -(2.0**53)), 2.0**53)
    return round(near) + what.out_zero
