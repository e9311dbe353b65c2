"""How accumulators become activations: the requantization rules and all that follows from them."""

from apsim.nn.rules.requantize import (
    FAMILIES,
    divide,
    finish,
    multiplier,
    one_scale,
    parse,
    requant,
    scale,
)

__all__ = [
    "FAMILIES", "divide", "finish", "multiplier", "one_scale", "parse", "requant", "scale",
]  # fmt: skip
