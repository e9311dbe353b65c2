"""ONNX's own operators where its evaluator departs from the specification, on numpy arrays.

The rule: each is the specification's words: a softmax before opset 13 is over all axes from
its own on (the evaluator's is over one); a transposed convolution adds each word times the
kernel to where its window lies (the evaluator's goes wrong with groups); a global maximum is
over all axes behind the channels (the evaluator's is right for planes alone).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from apsim.nn.judges.reading import Array

__all__ = ["COERCED", "OPERATORS", "conv_transpose", "global_max_pool", "softmax_before_13"]


def softmax_before_13(x: Array, axis: int = 1, **_: Any) -> Array:
    """Softmax of the axes from `axis` on, as if they were one."""
    flat = x.reshape(*x.shape[: axis % x.ndim], -1)
    powers = np.exp(flat - flat.max(axis=-1, keepdims=True))
    return np.asarray((powers / powers.sum(axis=-1, keepdims=True)).reshape(x.shape), x.dtype)


def conv_transpose(
    x: Array, weights: Array, bias: Array | None = None, *, auto_pad: Any = "NOTSET",
    dilations: Sequence[int] | None = None, group: int = 1,
    output_padding: Sequence[int] | None = None, output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None, strides: Sequence[int] | None = None, **_: Any,
) -> Array:  # fmt: skip
    """ConvTranspose: x [N, I, ...], weights [I, O / group, ...]; gives [N, O, ...]."""
    axes, kernel = x.ndim - 2, weights.shape[2:]
    ones, zeros = [1] * axes, [0] * axes
    step, wide, more = strides or ones, dilations or ones, output_padding or zeros
    ways = zip(x.shape[2:], step, kernel, wide, more, strict=True)
    sizes = [(n - 1) * s + (k - 1) * d + 1 + m for n, s, k, d, m in ways]
    whole = np.zeros((len(x), weights.shape[1] * group, *sizes), np.float64)
    parts = x.reshape(len(x), group, -1, *x.shape[2:]).astype(np.float64)
    lines = weights.reshape(group, -1, *weights.shape[1:]).astype(np.float64)
    for at in itertools.product(*map(range, kernel)):
        tap: Any = (..., *at)
        made: Any = np.einsum("ngi...,gio->ngo...", parts, np.asarray(lines[tap]))
        there: Any = [slice(i * d, i * d + (n - 1) * s + 1, s)
                      for i, d, n, s in zip(at, wide, x.shape[2:], step, strict=True)]  # fmt: skip
        whole[(..., *there)] += made.reshape(len(x), -1, *x.shape[2:])
    text = auto_pad.decode() if isinstance(auto_pad, bytes) else str(auto_pad)
    cut: Any = _cut(text, x.shape[2:], sizes, step, pads, output_shape)
    kept = whole[(..., *cut)]
    kept = kept if bias is None else kept + bias.reshape(-1, *ones)
    return np.asarray(kept, x.dtype)


def _cut(
    auto: str, given: Sequence[int], sizes: Sequence[int], step: Sequence[int],
    pads: Sequence[int] | None, shape: Sequence[int] | None,
) -> list[slice]:  # fmt: skip
    """Which places of the whole result are its output."""
    axes = len(sizes)
    if shape is None and not auto.startswith("SAME"):
        ends = [0] * (2 * axes) if pads is None or auto == "VALID" else list(pads)
        return [slice(ends[i], size - ends[i + axes]) for i, size in enumerate(sizes)]
    wanted = [n * s for n, s in zip(given, step, strict=True)] if shape is None else shape[-axes:]
    found = []
    for size, kept in zip(sizes, wanted, strict=True):
        total = size - kept
        before = total // 2 if auto == "SAME_UPPER" else total - total // 2
        found.append(slice(before, before + kept))
    return found


def global_max_pool(x: Array, **_: Any) -> Array:
    """The greatest of each channel: over all axes from the third on."""
    return np.asarray(x.max(axis=tuple(range(2, x.ndim)), keepdims=True))


OPERATORS: Mapping[str, Callable[..., Array]] = {
    "ConvTranspose": conv_transpose, "GlobalMaxPool": global_max_pool,
}  # fmt: skip
COERCED: Mapping[str, Callable[..., Array]] = {"Softmax": softmax_before_13}
"""Before opset 13."""
