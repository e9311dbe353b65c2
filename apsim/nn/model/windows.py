"""Where windows lie: the arithmetic of kernels, strides, dilations and padding.

The rule: sizes and positions only, no data.  Shared by shape checks, the exact twin and
the runtime, so that all three agree on how many windows there are.
"""

from __future__ import annotations

import numpy as np

from apsim.nn.model import AvgPool, Conv2d, Integers, MaxPool

__all__ = ["kernel_of", "out_size", "plane", "window_counts"]

Windowed = Conv2d | MaxPool | AvgPool


def kernel_of(layer: Windowed) -> tuple[int, int]:
    """The height and width of the window, not dilated."""
    if isinstance(layer, Conv2d):
        return int(layer.weights.shape[2]), int(layer.weights.shape[3])
    return layer.kernel


def out_size(size: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    """How many windows fit in `size + padding` values (0 where none does)."""
    return max(0, (size + padding - dilation * (kernel - 1) - 1) // stride + 1)


def plane(layer: Windowed, height: int, width: int) -> tuple[int, int]:
    """The height and width of the output for an input plane of `height` x `width`."""
    top, left, bottom, right = layer.padding
    dilation = (1, 1) if isinstance(layer, AvgPool) else layer.dilation
    kernel = kernel_of(layer)
    return (
        out_size(height, kernel[0], layer.stride[0], dilation[0], top + bottom),
        out_size(width, kernel[1], layer.stride[1], dilation[1], left + right),
    )


def window_counts(layer: AvgPool, height: int, width: int) -> Integers:
    """How many values each window's divisor counts, [out height, out width]."""
    rows, columns = plane(layer, height, width)
    top, left, _, _ = layer.padding
    above, before, below, after = layer.counted
    tall = _overlaps(rows, layer.kernel[0], layer.stride[0], top, -above, height + below)
    wide = _overlaps(columns, layer.kernel[1], layer.stride[1], left, -before, width + after)
    return tall[:, None] * wide[None, :]


def _overlaps(
    windows: int, kernel: int, stride: int, padding: int, first: int, end: int
) -> Integers:
    """How much of each window lies in first..end, along one axis."""
    start = np.arange(windows, dtype=np.int64) * stride - padding
    return np.minimum(start + kernel, end) - np.maximum(start, first)
