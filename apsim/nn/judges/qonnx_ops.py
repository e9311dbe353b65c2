"""QONNX's and FINN's operators, written from their specification, on numpy arrays.

The rule: each computes in the type of its first input, in the order that the specification
gives: divide by the scale, add the zero point, clip, round, and back.  Sources: QONNX's
pages on Quant, BipolarQuant, Trunc and channels_last; FINN's page on MultiThreshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from apsim.nn.judges.reading import Array, Rounding

__all__ = ["CHANNELS_LAST", "GENERAL", "OPERATORS", "ROUNDINGS", "first", "last"]

GENERAL = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
CHANNELS_LAST = "qonnx.custom_op.channels_last"

MODES: Mapping[str, Callable[[Array], Array]] = {
    "ROUND": np.rint,
    "HALF_EVEN": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "DOWN": np.trunc,
    "ROUND_TO_ZERO": np.trunc,
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5),
}


def _mode(name: Any) -> Callable[[Array], Array]:
    text = (name.decode() if isinstance(name, bytes) else str(name)).upper()
    if text not in MODES:
        raise ValueError(f"rounding mode {text}; the specification has {', '.join(MODES)}")
    return MODES[text]


def _ends(bits: Array, signed: int, narrow: int) -> tuple[Array, Array]:
    """The least and the greatest integer of a width, which need not be whole."""
    wide = np.asarray(bits, np.float64)
    if signed:
        return -(2.0 ** (wide - 1)) + narrow, 2.0 ** (wide - 1) - 1
    return np.zeros_like(wide), 2.0**wide - 1 - narrow


def quant_rounding(
    x: Array, scale: Array, zero: Array, bits: Array, *,
    signed: int = 1, narrow: int = 0, rounding_mode: Any = "ROUND",
) -> Rounding:  # fmt: skip
    """Quant before it rounds; one signed bit is -1 and +1."""
    lo, hi = _ends(bits, signed, narrow)
    signs = np.asarray(np.asarray(bits) == 1) & bool(signed)
    rounded = _mode(rounding_mode)

    def finish(steps: Array) -> Array:
        kept = rounded(np.clip(steps, lo.astype(steps.dtype), hi.astype(steps.dtype)))
        return np.where(signs, np.where(steps >= 0, 1, -1), kept).astype(steps.dtype)

    return Rounding(x / scale + zero, finish)


def quant(x: Array, scale: Array, zero: Array, bits: Array, **attributes: Any) -> Array:
    """Quant: clip(x / scale + zero point), rounded, and back to real numbers."""
    given = quant_rounding(x, scale, zero, bits, **attributes)
    return np.asarray((given.finish(given.steps) - zero) * scale, x.dtype)


def bipolar_rounding(x: Array, scale: Array) -> Rounding:
    """BipolarQuant before it takes the sign."""
    return Rounding(x / scale, lambda steps: np.where(steps >= 0, 1, -1))


def bipolar_quant(x: Array, scale: Array) -> Array:
    """BipolarQuant: +scale from zero upwards, else -scale."""
    return np.asarray(np.where(x >= 0, 1, -1) * scale, x.dtype)


def trunc(x: Array, scale: Array, zero: Array, *more: Array, **attributes: Any) -> Array:
    """Trunc: the low bits of integers dropped; five inputs, or seven with an output scale."""
    if len(more) == 2:
        return _trunc_bits(x, scale, zero, *more, **attributes)
    if len(more) == 4:
        return _trunc_scale(x, scale, zero, more[1], more[3], **attributes)
    raise ValueError(f"Trunc takes 5 or 7 inputs, got {3 + len(more)}")


def _trunc_bits(
    x: Array, scale: Array, zero: Array, bits: Array, kept: Array, *, rounding_mode: Any = "FLOOR"
) -> Array:
    whole = np.rint(x / scale + zero) / 2.0 ** np.asarray(bits - kept)
    return np.asarray((_mode(rounding_mode)(whole) - zero) * scale, x.dtype)


def _trunc_scale(
    x: Array, scale: Array, zero: Array, step: Array, bits: Array, *,
    rounding_mode: Any = "FLOOR", narrow: int = 0, signed: int = 1,
) -> Array:  # fmt: skip
    power = 2.0 ** np.rint(np.log2(step / scale))
    whole = np.clip(np.rint(x / scale + zero) / power, *_ends(bits, signed, narrow))
    return np.asarray((_mode(rounding_mode)(whole) - zero / power) * step, x.dtype)


def multi_threshold(
    x: Array, thresholds: Array, *, out_dtype: Any = "", out_scale: float = 1.0,
    out_bias: float = 0.0, data_layout: Any = "NCHW",
) -> Array:  # fmt: skip
    """MultiThreshold: how many thresholds of its channel a value reaches, scaled."""
    layout = data_layout.decode() if isinstance(data_layout, bytes) else data_layout
    along = x if layout == "NHWC" else np.moveaxis(x, 1, -1)
    if len(thresholds) not in (1, along.shape[-1]):
        raise ValueError(f"thresholds of {len(thresholds)} channels for {along.shape[-1]}")
    counts = (along[..., None] >= thresholds).sum(axis=-1)
    counts = counts if along is x else np.moveaxis(counts, -1, 1)
    return np.asarray(out_scale * counts + out_bias, x.dtype)


def first(x: Array) -> Array:
    """Channels from the last place to the second."""
    return np.moveaxis(x, -1, 1)


def last(x: Array) -> Array:
    """Channels from the second place to the last."""
    return np.moveaxis(x, 1, -1)


OPERATORS: Mapping[str, Callable[..., Array]] = {
    "Quant": quant,
    "IntQuant": quant,
    "BipolarQuant": bipolar_quant,
    "Trunc": trunc,
    "MultiThreshold": multi_threshold,
}

ROUNDINGS: Mapping[str, Callable[..., Rounding]] = {
    "Quant": quant_rounding,
    "IntQuant": quant_rounding,
    "BipolarQuant": bipolar_rounding,
}
