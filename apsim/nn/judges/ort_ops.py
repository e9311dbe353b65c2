"""onnxruntime's own quantized operators, from their documentation, as the reference computes.

The rule: sums of integers are exact, the rest is float64, and the zero point is added
before anything rounds, as onnx's reference evaluator does in QLinearConv.  Source:
onnxruntime's page of contributed operators (domain com.microsoft).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from apsim.nn.judges.reading import Array, Rounding

__all__ = ["DOMAIN", "OPERATORS", "ROUNDINGS"]

DOMAIN = "com.microsoft"


def _real(x: Array, scale: Array, zero: Array | None) -> Array:
    wide = x.astype(np.float64) - (0 if zero is None else np.asarray(zero, np.float64))
    return np.asarray(wide * np.asarray(scale, np.float64))


def rounding(real: Array, scale: Array, zero: Array | None, kind: Any = np.uint8) -> Rounding:
    """Real values on their way to integers of the zero point's type."""
    info = np.iinfo(kind if zero is None else zero.dtype)
    offset = 0 if zero is None else np.asarray(zero, np.float64)
    steps = real / np.asarray(scale, np.float64) + offset
    return Rounding(steps, lambda s: np.clip(np.rint(s), info.min, info.max).astype(info.dtype))


def add(
    a: Array, sa: Array, za: Array | None, b: Array, sb: Array, zb: Array | None,
    sy: Array, zy: Array | None = None,
) -> Rounding:  # fmt: skip
    """QLinearAdd."""
    return rounding(_real(a, sa, za) + _real(b, sb, zb), sy, zy, a.dtype)


def multiply(
    a: Array, sa: Array, za: Array | None, b: Array, sb: Array, zb: Array | None,
    sy: Array, zy: Array | None = None,
) -> Rounding:  # fmt: skip
    """QLinearMul."""
    return rounding(_real(a, sa, za) * _real(b, sb, zb), sy, zy, a.dtype)


def _product(
    a: Array, sa: Array, za: Array | None, b: Array, sb: Array, zb: Array | None,
    c: Array | None = None, *, transA: int = 0, transB: int = 0, alpha: float = 1.0,
) -> Array:  # fmt: skip
    left = a.astype(np.float64) - (0 if za is None else np.asarray(za, np.float64))
    right = b.astype(np.float64)
    if zb is not None:  # one for each output: along the axis of the outputs
        right = right - np.asarray(zb, np.float64).reshape([-1, 1] if transB else [1, -1])
    total = (left.T if transA else left) @ (right.T if transB else right)
    total = total if c is None else total + c.astype(np.float64)
    return np.asarray(
        total * (alpha * np.asarray(sa, np.float64) * np.ravel(np.asarray(sb, np.float64)))
    )


def gemm(*inputs: Array | None, **attributes: Any) -> Rounding:
    """QGemm with an output scale."""
    given = [*inputs, *[None] * (9 - len(inputs))]
    if given[7] is None:
        raise ValueError("QGemm without an output scale gives real numbers")
    real = _product(*given[:7], **attributes)  # type: ignore[arg-type]
    return rounding(real, given[7], given[8])


def average_pool(
    x: Array, sx: Array, zx: Array | None, sy: Array, zy: Array | None = None, *,
    pool: Callable[[Array], Array], channels_last: int = 0,
) -> Rounding:  # fmt: skip
    """QLinearAveragePool and QLinearGlobalAveragePool around a `pool` of real planes."""
    real = _real(x, sx, zx)
    mean = np.moveaxis(pool(np.moveaxis(real, -1, 1)), 1, -1) if channels_last else pool(real)
    return rounding(mean, sy, zy, x.dtype)


def global_average_pool(*inputs: Any, channels_last: int = 0) -> Rounding:
    """QLinearGlobalAveragePool."""

    def mean(planes: Array) -> Array:
        return np.asarray(planes.mean(axis=tuple(range(2, planes.ndim)), keepdims=True))

    return average_pool(*inputs, pool=mean, channels_last=channels_last)


def leaky_relu(
    x: Array, sx: Array, zx: Array | None, sy: Array, zy: Array | None = None, *,
    alpha: float = 0.01,
) -> Rounding:  # fmt: skip
    """QLinearLeakyRelu."""
    real = _real(x, sx, zx)
    return rounding(np.where(real >= 0, real, alpha * real), sy, zy, x.dtype)


def sigmoid(x: Array, sx: Array, zx: Array | None, sy: Array, zy: Array | None = None) -> Rounding:
    """QLinearSigmoid."""
    return rounding(1 / (1 + np.exp(-_real(x, sx, zx))), sy, zy, x.dtype)


def softmax(
    x: Array, sx: Array, zx: Array | None, sy: Array, zy: Array | None = None, *,
    axis: int = -1, opset: int = 13,
) -> Rounding:  # fmt: skip
    """QLinearSoftmax: times the whole part of 1 / the output's scale; before opset 13 coerced."""
    real = _real(x, sx, zx)
    first = axis % real.ndim
    around = (first,) if opset >= 13 else tuple(range(first, real.ndim))
    powers = np.exp(real - real.max(axis=around, keepdims=True))
    whole = np.floor(1 / np.asarray(np.float32(sy), np.float64))
    steps = powers / powers.sum(axis=around, keepdims=True)
    return rounding(steps * whole, np.ones(1), zy, x.dtype)


def where(
    condition: Array, a: Array, sa: Array, za: Array, b: Array, sb: Array, zb: Array,
    sy: Array, zy: Array,
) -> Rounding:  # fmt: skip
    """QLinearWhere."""
    return rounding(np.where(condition, _real(a, sa, za), _real(b, sb, zb)), sy, zy)


def concat(sy: Array, zy: Array, *parts: Any, axis: int) -> Rounding:
    """QLinearConcat: three inputs for each part."""
    reals = [_real(*parts[i : i + 3]) for i in range(0, len(parts), 3)]
    return rounding(np.concatenate(reals, axis=axis), sy, zy)


ROUNDINGS: Mapping[str, Callable[..., Rounding]] = {
    "QLinearAdd": add,
    "QLinearMul": multiply,
    "QGemm": gemm,
    "QLinearGlobalAveragePool": global_average_pool,
    "QLinearConcat": concat,
    "QLinearLeakyRelu": leaky_relu,
    "QLinearSigmoid": sigmoid,
    "QLinearSoftmax": softmax,
    "QLinearWhere": where,
}


def _finished(made: Callable[..., Rounding]) -> Callable[..., Array]:
    def operator(*inputs: Any, **attributes: Any) -> Array:
        given = made(*inputs, **attributes)
        return given.finish(given.steps)

    return operator


OPERATORS = {name: _finished(made) for name, made in ROUNDINGS.items()}
