"""ONNX's ways to write kernels, strides and padding, as one.

The rule: `auto_pad` and `ceil_mode` are resolved to numbers here; no layer knows them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from apsim.nn.importers.graph import Node

__all__ = ["Window", "lifted", "window_of"]

LIFTED = {"strides": 1, "dilations": 1, "kernel_shape": 1, "output_padding": 0, "output_shape": 1}
FAR = 1 << 31  # what strides, pads and kernels stay below


@dataclass(frozen=True)
class Window:
    """A two-dimensional window; padding is (top, left, bottom, right).

    `counted` is the padding as written, without what ceil_mode adds.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]
    counted: tuple[int, int, int, int]


def lifted(node: Node) -> Node:
    """A node with windows over one axis as one with windows over a plane of height 1."""
    attributes = dict(node.attributes)
    for name, first in LIFTED.items():
        if len(attributes.get(name, ())) == 1:
            attributes[name] = [first, *attributes[name]]
    if len(attributes.get("pads", ())) == 2:
        first, last = attributes["pads"]
        attributes["pads"] = [0, first, 0, last]
    return replace(node, attributes=attributes)


def window_of(node: Node, kernel: tuple[int, ...], plane: tuple[int, ...]) -> Window:
    """The window that a node's attributes describe over a plane [H, W]."""
    if len(kernel) != 2 or len(plane) != 2:
        axes = len(plane) if len(plane) != 2 else len(kernel)
        raise node.refuse(f"windows over {axes} axes", "windows over 2 axes [N, C, H, W]")
    if not all(1 <= size < FAR for size in kernel):
        raise node.refuse(f"a kernel of {list(kernel)}", f"sizes from 1 to {FAR - 1}")
    stride = _pair(node, "strides")
    dilation = _pair(node, "dilations")
    written = _padding(node, kernel, plane, stride, dilation)
    padding = list(written)
    if node.attribute("ceil_mode", 0):
        for axis in (0, 1):
            extra = _ceil_extra(
                plane[axis], dilation[axis] * (kernel[axis] - 1) + 1, stride[axis],
                written[axis], written[axis + 2],
            )  # fmt: skip
            padding[axis + 2] += extra
    return Window((kernel[0], kernel[1]), stride, dilation, _four(padding), _four(written))


def _pair(node: Node, name: str) -> tuple[int, int]:
    first, second = _numbers(node, name, (1, 1), least=1)
    return first, second


def _numbers(node: Node, name: str, default: tuple[int, ...], least: int) -> tuple[int, ...]:
    """An attribute of integers, as many as its default has."""
    values = tuple(int(value) for value in node.attribute(name, default) or default)
    if len(values) != len(default) or not all(least <= value < FAR for value in values):
        raise node.refuse(f"{name} {list(values)}",
                          f"{len(default)} numbers from {least} to {FAR - 1}")  # fmt: skip
    return values


def _four(values: list[int]) -> tuple[int, int, int, int]:
    top, left, bottom, right = (int(value) for value in values)
    return top, left, bottom, right


def _padding(
    node: Node, kernel: tuple[int, ...], plane: tuple[int, ...], stride: tuple[int, int],
    dilation: tuple[int, int],
) -> list[int]:  # fmt: skip
    auto = node.attribute("auto_pad", "NOTSET")
    if auto == "NOTSET":
        return list(_numbers(node, "pads", (0, 0, 0, 0), least=0))
    if auto == "VALID":
        return [0, 0, 0, 0]
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise node.refuse(f"auto_pad {auto!r}", "NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    before, after = [0, 0], [0, 0]
    for axis in (0, 1):
        out = -(-plane[axis] // stride[axis])
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        total = max(0, (out - 1) * stride[axis] + reach - plane[axis])
        small, large = total // 2, total - total // 2
        first_is_small = auto == "SAME_UPPER"
        before[axis], after[axis] = (small, large) if first_is_small else (large, small)
    return [*before, *after]


def _ceil_extra(size: int, reach: int, stride: int, before: int, after: int) -> int:
    """What the end must be padded by so that the last, partly covered window exists.

    That window must start inside the plane or the padding before it.
    """
    spare = size + before + after - reach
    windows = -(-spare // stride) + 1
    if (windows - 1) * stride >= size + before:
        windows -= 1
    return max(0, (windows - 1) * stride + reach - size - before - after)
