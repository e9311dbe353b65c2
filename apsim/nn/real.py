"""The borders of an integer network: real numbers in, real numbers out.

The rule: floating point appears here and in `factors`, and nowhere between.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.errors import InputError
from apsim.nn.model import Integers, Model, Tensor
from apsim.nn.rules import one_scale

__all__ = ["dequantize", "quantize"]


def quantize(model: Model, x: npt.ArrayLike) -> Integers:
    """Quantize real inputs [N, ...] as the model does: clip(rint(x / scale) + zero point).

    Computed in float32, as QuantizeLinear is.  Raises `InputError` for NaN or infinity
    and for a shape that does not fit.
    """
    tensor = model.tensors[model.input]
    values = np.asarray(x, np.float32)
    if values.shape[1:] != tensor.shape:
        wanted = ", ".join(["N", *map(str, tensor.shape)])
        raise InputError(
            f"input {model.input!r} must have shape [{wanted}], got {list(values.shape)}"
        )
    if not np.isfinite(values).all():
        raise InputError(f"input {model.input!r} holds NaN or infinity")
    entered = values * np.float32(model.entry.factor) + np.float32(model.entry.shift)
    steps = np.rint(entered / np.float32(one_scale(tensor, f"input {model.input!r}")))
    return np.asarray(np.clip(steps + tensor.zero_point, tensor.lo, tensor.hi), np.int64)


def dequantize(tensor: Tensor, integers: Integers) -> npt.NDArray[np.floating[Any]]:
    """Give the real values [N, ...] that a tensor's integers stand for."""
    if tensor.scale is None:
        raise InputError(f"a tensor {tensor} has no scale, its real values are unknown")
    scale = np.asarray(tensor.scale, np.float32)
    if scale.ndim and len(tensor.shape) == 3:
        scale = scale.reshape(-1, 1, 1)
    return np.asarray((integers - tensor.zero_point) * scale, np.float32)
