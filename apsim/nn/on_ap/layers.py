"""Layers to call by hand, on a chip: `Conv2d(weights, bits=4, padding=1)(x, on=chip)`.

The rule: integers in, accumulators out; no scale, no requantization.  A whole network
is an `apsim.nn.Model`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from apsim.errors import InputError
from apsim.layout import array_of
from apsim.nn import model as records
from apsim.nn.exact import checked_inputs
from apsim.nn.model import Integers, Model, Tensor
from apsim.nn.model.windows import plane
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.execute import execute

__all__ = ["Conv2d", "Linear"]

L = TypeVar("L", records.Conv2d, records.Linear)


@dataclass(frozen=True, eq=False)
class Conv2d:
    """A 2-D convolution of integers, weights [O, I / groups, kh, kw].

    `bits` is the width of activations and of weights (`weight_bits` where it differs);
    activations are unsigned unless `signed`, weights two's complement.  `padding` and
    `stride` are numbers for both axes.
    """

    weights: npt.ArrayLike = field(repr=False)
    bits: int
    weight_bits: int | None = None
    signed: bool = False
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: npt.ArrayLike | None = field(default=None, repr=False)

    def __call__(self, x: npt.ArrayLike, *, on: Chip) -> Integers:
        """Convolve x [N, I, H, W] on a chip; gives [N, O, H', W'].

        Raises `InputError` for values that do not fit and `ProgramError` where a CAP is
        too small.
        """
        _require(self.bits, self.weight_bits)
        for name, least in (("stride", 1), ("padding", 0), ("groups", 1)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < least:
                raise InputError(f"{name}: wanted at least {least}, got {value!r}")
        weights = _weights(self.weights, 4, self.weight_bits or self.bits)
        layer = self._record(weights)
        images = np.asarray(x)
        if images.ndim != 4 or images.shape[1] != weights.shape[1] * self.groups:
            wanted = weights.shape[1] * self.groups
            raise InputError(f"x: wanted [N, {wanted}, H, W], got {list(images.shape)}")
        shape = (len(weights), *plane(layer, *images.shape[2:]))
        if not all(shape):
            raise InputError(
                f"x: wanted a plane that holds at least one window of {weights.shape[2:]}, "
                f"got {list(images.shape[2:])} and padding {self.padding}"
            )
        return _run(layer, images, shape, Tensor(images.shape[1:], self.bits, self.signed), on)

    def _record(self, weights: Integers) -> records.Conv2d:
        if len(weights) % self.groups:
            raise InputError(f"groups: {self.groups} do not divide {len(weights)} outputs")
        return records.Conv2d(
            name="conv2d",
            inputs=("x",),
            output="y",
            weights=weights,
            bias=_bias(self.bias, len(weights)),
            weight_bits=self.weight_bits or self.bits,
            stride=(self.stride, self.stride),
            padding=(self.padding,) * 4,
            groups=self.groups,
        )


@dataclass(frozen=True, eq=False)
class Linear:
    """A matrix product, weights [O, I]; widths and signs as for `Conv2d`."""

    weights: npt.ArrayLike = field(repr=False)
    bits: int
    weight_bits: int | None = None
    signed: bool = False
    bias: npt.ArrayLike | None = field(default=None, repr=False)

    def __call__(self, x: npt.ArrayLike, *, on: Chip) -> Integers:
        """Multiply x [N, I] with the weights on a chip; gives [N, O].  Raises as `Conv2d`."""
        _require(self.bits, self.weight_bits)
        weights = _weights(self.weights, 2, self.weight_bits or self.bits)
        layer = records.Linear(
            name="linear",
            inputs=("x",),
            output="y",
            weights=weights,
            bias=_bias(self.bias, len(weights)),
            weight_bits=self.weight_bits or self.bits,
        )
        rows = np.asarray(x)
        if rows.ndim != 2 or rows.shape[1] != weights.shape[1]:
            raise InputError(f"x: wanted [N, {weights.shape[1]}], got {list(rows.shape)}")
        kind = Tensor(rows.shape[1:], self.bits, self.signed)
        return _run(layer, rows, (len(weights),), kind, on)


def _run(layer: L, x: Integers, shape: tuple[int, ...], kind: Tensor, chip: Chip) -> Integers:
    if not isinstance(chip, Chip):
        raise InputError(f"on: wanted a chip such as Chip.preset('bf-imna-lr'), got {chip!r}")
    tensors = {"x": kind, "y": Tensor(shape, 64, True)}
    model = Model(layer.name, "none", ("x",), ("y",), tensors, (layer,))
    return execute(model, layer, checked_inputs(model, x), chip).output


def _require(*widths: int | None) -> None:
    for bits in widths:
        if bits is not None and not (isinstance(bits, int | np.integer) and 1 <= bits <= 16):
            raise InputError(f"bits: wanted 1 to 16, got {bits!r}")


def _weights(weights: npt.ArrayLike, axes: int, bits: int) -> Integers:
    values = array_of("weights", weights)
    top = 1 << (bits - 1)
    if values.ndim != axes or values.dtype.kind not in "iu" or not values.size:
        raise InputError(
            f"weights: wanted integers with {axes} axes, got {values.dtype} of shape {values.shape}"
        )
    if values.min() < -top or values.max() >= top:
        raise InputError(
            f"weights: wanted {-top} to {top - 1} ({bits} bits), "
            f"got {values.min()} to {values.max()}"
        )
    return values.astype(np.int64)


def _bias(bias: npt.ArrayLike | None, channels: int) -> Integers:
    values = np.zeros(channels, np.int64) if bias is None else array_of("bias", bias)
    if values.shape != (channels,) or values.dtype.kind not in "iu":
        raise InputError(f"bias: wanted {channels} integers, got {values.dtype} {values.shape}")
    return values.astype(np.int64)
