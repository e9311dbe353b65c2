"""From activations to the operands of APs: im2col and windows, on the host.

The rule: data are moved and repeated, never computed with; padding holds the value
given for it.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from apsim.nn.model import AvgPool, Conv2d, Integers, MaxPool, Tensor
from apsim.nn.model.windows import kernel_of, plane
from apsim.nn.model.words import Words

__all__ = ["columns", "narrow", "windows"]

P = TypeVar("P", Conv2d, MaxPool, AvgPool)


def narrow(tensor: Tensor, x: Integers, layer: P, pad: int) -> tuple[Integers, P, int]:
    """What `columns` and `windows` take, in the narrowest type that holds the tensor's words.

    Raises `InputError` for what is wider, padding included where there is any.
    """
    words = Words.of(tensor)
    return words.narrow(x), layer, int(words.narrow(pad)) if any(layer.padding) else 0


def columns(x: Integers, layer: Conv2d, pad: int) -> Integers:
    """The input-patch matrix of each group, transposed: [groups, N*H'*W', I/groups*kh*kw].

    In memory the outputs N*H'*W' lie side by side: planes are copied, a tap at a time.
    """
    taps = _taps(x, layer, pad)  # [N, C, H', W', kh, kw]
    batch, _, height, width, _, _ = taps.shape
    lines = taps.transpose(1, 4, 5, 0, 2, 3).reshape(layer.groups, -1, batch * height * width)
    return lines.swapaxes(1, 2)


def windows(x: Integers, layer: MaxPool | AvgPool, pad: int) -> Integers:
    """The words of each window: [N*C*H'*W', kh*kw]."""
    taps = _taps(x, layer, pad)
    return np.ascontiguousarray(taps).reshape(-1, taps.shape[-1] * taps.shape[-2])


def _taps(x: Integers, layer: Conv2d | MaxPool | AvgPool, pad: int) -> Integers:
    """A view of padded x: [N, C, H', W', kh, kw]."""
    top, left, bottom, right = layer.padding
    around = (0, 0), (0, 0), (top, bottom), (left, right)
    padded = np.pad(x, around, constant_values=pad) if any(layer.padding) else x
    tall, wide = (1, 1) if isinstance(layer, AvgPool) else layer.dilation
    (height, width), kernel = plane(layer, *x.shape[2:]), kernel_of(layer)
    batch, channel, row, column = padded.strides
    return np.lib.stride_tricks.as_strided(
        padded,
        (*x.shape[:2], height, width, *kernel),
        (
            batch,
            channel,
            row * layer.stride[0],
            column * layer.stride[1],
            row * tall,
            column * wide,
        ),
        writeable=False,
    )
