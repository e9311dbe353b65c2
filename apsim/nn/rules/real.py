"""The borders of an integer network: real numbers in, real numbers out.

The rule: floating point appears here and in `factors`, and nowhere between.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.errors import InputError
from apsim.nn.model import Entry, Integers, Model, Tensor
from apsim.nn.rules import one_scale
from apsim.nn.rules.rounding import round_real

__all__ = ["STEPS", "beside", "dequantize", "quantize", "reached"]


def quantize(model: Model, x: npt.ArrayLike, name: str | None = None) -> Integers:
    """Quantize the real values of an input (the only one, or `name`) [N, ...] as the
    model does: clip(rint(x / scale) + zero point).

    Computed in float32, as QuantizeLinear is.  Raises `InputError` for NaN or infinity, for
    a shape that does not fit, and for an input without a real meaning.
    """
    name = model.input if name is None else name
    tensor, called = model.tensors[name], model.called(name)
    values = np.asarray(x, np.float32)
    if values.shape == tensor.shape and not model.entries.get(name, Entry()).batched:
        values = values[None]
    if values.ndim == 0 or values.shape[1:] != tensor.shape:
        wanted = ", ".join(["N", *map(str, tensor.shape)])
        raise InputError(f"input {called!r} must have shape [{wanted}], got {list(values.shape)}")
    if not np.isfinite(values).all():
        raise InputError(f"input {called!r} holds NaN or infinity")
    entry = model.entries.get(name, Entry())
    if entry.rounding == "none":
        raise InputError(f"input {called!r} takes integers as they are, got {np.asarray(x).dtype}")
    if entry.thresholds:
        return reached(tensor, entry, values)
    steps = _entered(values, entry) / np.float32(one_scale(tensor, f"input {called!r}"))
    early, late = (tensor.zero_point, 0) if entry.zero_first else (0, tensor.zero_point)
    rounded = _rounded(steps + np.float32(early), entry.rounding) + late
    lo = tensor.lo if entry.lo is None else entry.lo
    hi = tensor.hi if entry.hi is None else entry.hi
    return np.asarray(np.clip(rounded, lo, hi), np.int64)


def reached(tensor: Tensor, entry: Entry, values: npt.NDArray[np.float32]) -> Integers:
    """How many thresholds of its line each number [N, ...] reaches, from the least word on."""
    lines = np.asarray(entry.thresholds, np.float32)
    shape = [1] * values.ndim
    shape[entry.along + 1] = -1
    counts = sum((values >= line.reshape(shape)).astype(np.int64) for line in lines.T)
    return np.asarray((tensor.lo if entry.lo is None else entry.lo) + counts, np.int64)


def _entered(values: npt.NDArray[np.float32], entry: Entry) -> npt.NDArray[np.float32]:
    """The arithmetic that a file does before it quantizes, in float32."""
    for kind, by in entry.steps or (("mul", entry.factor), ("add", entry.shift)):
        values = STEPS[kind](values, beside(by, entry, values.ndim, np.float32))
    return values


def beside(
    by: float | tuple[float, ...], entry: Entry, axes: int, kind: type[Any] = np.float64
) -> npt.NDArray[Any]:
    """A number of an entry, or those along its axis, beside values [N, ...] of so many axes."""
    numbers = np.asarray(by, kind)
    return numbers.reshape(-1, *[1] * (axes - 2 - entry.along)) if numbers.ndim else numbers


STEPS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
"""The arithmetic of an entry's steps."""


def _rounded(values: npt.NDArray[np.float32], mode: str) -> npt.NDArray[Any]:
    if mode == "sign":
        return np.where(values >= 0, 1, -1)
    return np.rint(values) if mode == "half-even" else round_real(values, mode)


def dequantize(tensor: Tensor, integers: Integers) -> npt.NDArray[np.floating[Any]]:
    """Give the real values [N, ...] that a tensor's integers stand for."""
    if tensor.scale is None:
        raise InputError(f"a tensor {tensor} has no scale, its real values are unknown")
    scale, shift = (np.asarray(part, np.float32) for part in (tensor.scale, tensor.shift))
    if len(tensor.shape) == 3:
        scale, shift = scale.reshape(-1, 1, 1), shift.reshape(-1, 1, 1)
    wide = np.asarray(integers, np.int64)  # narrow ones wrap around below a zero point
    return np.asarray((wide - tensor.zero_point) * scale + shift, np.float32)
