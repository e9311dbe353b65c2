"""Windows over planes as TFLite says them, and its pools.

The rule: SAME and VALID are resolved to numbers here; no layer knows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from apsim.nn import rules
from apsim.nn.importers.tflite_file import Operator
from apsim.nn.importers.tflite_lowering import PLACEHOLDER, Handler, Lowering, activation
from apsim.nn.model import AvgPool, MaxPool, Requantize
from apsim.nn.model.windows import plane

__all__ = ["HANDLERS", "NO_PADDING", "padding_of", "pair"]

NO_PADDING = (0, 0, 0, 0)


def padding_of(
    operator: Operator, shape: Sequence[int], kernel: tuple[int, int], stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, int, int, int]:  # fmt: skip
    """(top, left, bottom, right): SAME puts the odd one at the end, VALID has none."""
    if min(*stride, *dilation) < 1:
        raise operator.refuse(f"strides {stride} and dilations {dilation}", "1 or more")
    if operator.option("Padding") == 1:
        return NO_PADDING
    ends = []
    for axis in (0, 1):
        out = -(-shape[axis] // stride[axis])
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        total = max(0, (out - 1) * stride[axis] + reach - shape[axis])
        ends.append((total // 2, total - total // 2))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def pair(operator: Operator, high: str, wide: str) -> tuple[int, int]:
    """Two options of an operator, that of the rows first."""
    return operator.option(high), operator.option(wide)


def _pool(low: Lowering, operator: Operator, kind: Any) -> None:
    low.require_words(operator, operator.inputs[0], operator.outputs[0])
    low.require_alike(operator, operator.inputs)
    name = low.as_planes(operator.inputs[0])
    kernel = pair(operator, "FilterHeight", "FilterWidth")
    stride = pair(operator, "StrideH", "StrideW")
    padding = padding_of(operator, low.file.tensors[operator.inputs[0]].shape[1:3], kernel, stride)
    more = {"requant": PLACEHOLDER} if kind is AvgPool else {}
    layer = kind(
        name="", inputs=(name,), output="", kernel=kernel, stride=stride, padding=padding, **more
    )
    if kind is MaxPool and operator.option("FusedActivationFunction"):
        _activated(low, operator, layer)
    elif kind is AvgPool and low.tensors[name].scale != low.quantized(operator.outputs[0]).scale:
        raise operator.refuse("a mean at a scale that parts in its last bits", "equal scales")
    else:
        low.finish(operator, layer, planes=True)


def _activated(low: Lowering, operator: Operator, layer: MaxPool) -> None:
    """A maximum, and its fused activation as a layer that clips."""
    index = operator.outputs[0]
    x = low.tensors[layer.inputs[0]]
    given = replace(x, shape=(x.shape[0], *plane(layer, *x.shape[1:])))
    name = f"{low.name(index)} (maximum)"
    low.emit(replace(layer, name=name, output=name), given)
    clip, relu = activation(operator, given)
    lo = max(clip.lo, given.zero_point) if relu else clip.lo
    same = rules.requant("dyadic(1,floor)", 1.0, zero_point=given.zero_point, lo=lo, hi=clip.hi)
    clipped = Requantize(
        name=low.layer_name(index), inputs=(name,), output=low.made(index, True),
        bias=-given.zero_point, requant=same,
    )  # fmt: skip
    low.settled(index, clipped, given, True)


HANDLERS: dict[str, Handler] = {
    "AVERAGE_POOL_2D": lambda low, operator: _pool(low, operator, AvgPool),
    "MAX_POOL_2D": lambda low, operator: _pool(low, operator, MaxPool),
}
