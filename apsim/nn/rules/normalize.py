"""Softmax and norms over the last axis: the AP's own integers, and real ones rounded once.

The rule: the definitions as they are written down (transformer.md, sections 4 and 5), in
numpy and Python's integers; nothing here knows how an AP does it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from apsim.nn.model import Integers, Normalize, Tensor
from apsim.nn.rules.requantize import one_scale

__all__ = ["exponential", "ita_softmax", "norm", "norm_real", "softmax", "softmax_real"]

Reals = npt.NDArray[np.float64]


def exponential(factor: float, bits: int) -> Integers:
    """floor(255 exp(-factor * d) + 1/2) of each difference d of two words of `bits` bits."""
    differences = range(1 << bits)
    return np.array([math.floor(255 * math.exp(-factor * d) + 0.5) for d in differences], np.uint8)


def softmax(scores: Integers, table: Integers, mask: Integers | None = None) -> Integers:
    """Probabilities in units of 1/256 of integers [..., T]; `table` as of `exponential`.

    Words whose `mask` is 1 are as if they were not there, and get 0.

    e = table[max - s], Z = sum e, p = min((512 e + Z) div 2Z, 255).

    >>> softmax(np.array([[0, 0, 0], [9, 0, 0]]), exponential(1.0, 4)).tolist()
    [[85, 85, 85], [255, 0, 0]]
    """
    s = np.asarray(scores, np.int64)
    if mask is None:
        e = table.astype(np.int64)[s.max(axis=-1, keepdims=True) - s]
    else:
        hidden = np.broadcast_to(mask, s.shape).astype(bool)
        most = np.where(hidden, np.iinfo(np.int64).min, s).max(axis=-1, keepdims=True)
        e = np.where(hidden, 0, table.astype(np.int64)[np.where(hidden, 0, most - s)])
    z = e.sum(axis=-1, keepdims=True)
    return np.asarray(np.minimum((512 * e + z) // (2 * z), 255))


def ita_softmax(scores: Integers, shift: int) -> Integers:
    """Probabilities in units of 1/256 of integers [..., T] whose unit is ln 2 / 2**shift.

    k = (max - s) / 2**shift, rounded half up, e = 256 >> k, p = (65280 div sum e) >> k.

    >>> ita_softmax(np.array([[0, 0, 0, -1], [9, 0, 0, 0]]), 0).tolist()
    [[72, 72, 72, 36], [255, 0, 0, 0]]
    """
    s = np.asarray(scores, np.int64)
    k = (s.max(axis=-1, keepdims=True) - s + (1 << shift) // 2) >> shift
    total = (256 >> np.minimum(k, 9)).sum(axis=-1, keepdims=True)
    return np.asarray((65280 // total) >> np.minimum(k, 9))


def norm(words: Integers, centred: bool) -> Integers:
    """Layer norm (`centred`) or RMS norm of integers [..., d], in units of 1/32.

    c = d x - sum x and V = d sum x^2 - (sum x)^2, or c = d x and V = d sum x^2;
    R = max(floor(sqrt V), 1), y = sgn(c) min((64 |c| + R) div 2R, 127).

    >>> norm(np.array([30, 30, 30, 70]), centred=True).tolist()
    [-19, -19, -19, 56]
    """
    x = np.asarray(words, np.int64)
    size = x.shape[-1]
    mean = x.sum(axis=-1, keepdims=True) if centred else np.zeros((), np.int64)
    c, v = size * x - mean, size * (x * x).sum(axis=-1, keepdims=True) - mean * mean
    roots = [max(math.isqrt(int(each)), 1) for each in v.ravel()]
    r = np.array(roots, np.int64).reshape(v.shape)
    return np.asarray(np.sign(c) * np.minimum((64 * np.abs(c) + r) // (2 * r), 127))


def softmax_real(scores: Integers, factor: float, output: Tensor, fused: bool = False) -> Integers:
    """Softmax of factor * integers [..., T] in float64, rounded once (RNE) to `output`.

    `fused`: times floor(1 / float32(output scale)), as onnxruntime's QLinearSoftmax has it.
    """
    s = np.asarray(scores, np.int64)
    e = np.exp(factor * (s - s.max(axis=-1, keepdims=True)))
    p = e / e.sum(axis=-1, keepdims=True)
    if fused:
        return _rounded(p * np.floor(1 / np.float64(np.float32(one_scale(output)))), output)
    return _rounded(p / one_scale(output), output)


def norm_real(words: Integers, layer: Normalize, given: Tensor, output: Tensor) -> Integers:
    """LayerNormalization or RMSNormalization of dequantized integers [..., d] in float64."""
    x = (np.asarray(words, np.int64) - given.zero_point) * one_scale(given)
    if layer.kind == "layer":
        x = x - x.mean(axis=-1, keepdims=True)
    y = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + layer.epsilon)
    y = y if layer.gamma is None else y * layer.gamma
    y = y if layer.beta is None else y + layer.beta
    return _rounded(y / one_scale(output), output)


def _rounded(values: Reals, output: Tensor) -> Integers:
    words = np.rint(values) + output.zero_point
    return np.asarray(np.clip(words, output.lo, output.hi), np.int64)
