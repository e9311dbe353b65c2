"""Several values as one, and numbers beside a value: what stands where, in the target's words.

The rule: rounding is monotone and knows no neighbours, so what is picked, compared or put
beside each other is rounded first; a sum is rounded once, at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from apsim.errors import ModelError
from apsim.nn import rules
from apsim.nn.importers.pending import Chained, Joint, Target
from apsim.nn.importers.targets import rounded, whole
from apsim.nn.model import Add, Concat, Integers, Layer, Maximum, Rearrange, Tensor
from apsim.nn.model.words import holding

if TYPE_CHECKING:
    from apsim.nn.importers.builder import Builder

__all__ = ["Ends", "check_padding", "layers", "of_many", "padded", "placed", "require_on_grid"]


@dataclass(frozen=True)
class Ends:
    """A target, and the least and greatest integer that it gives of a value."""

    target: Target
    lo: int
    hi: int


def padded(chain: Sequence[Chained]) -> bool:
    """Whether numbers are put beside the values on their way."""
    return any(step.padded for step in chain)


def check_padding(chain: Sequence[Chained], ends: Ends, rule: str) -> None:
    """Refuse numbers beside a value that would not pass its bounds: before or after is unlike."""
    for step in chain:
        if step.padded and not ends.lo <= _word(step.fill, ends.target, rule) <= ends.hi:
            raise ModelError(
                f"padding with {step.fill:g}, which the quantization after it makes another number"
            )


def _word(real: float, target: Target, rule: str) -> int:
    """What a quantization makes of a number: saturated, as any."""
    return int(min(max(whole(real, target, rule), target.lo), target.hi))


def placed(step: Chained, tensor: Tensor, ends: Ends | None, rule: str) -> Layer:
    """A step's layer, the number that it puts beside the words as one of them."""
    if not step.padded or not step.fill:
        zero = ends is None or whole(0.0, ends.target, rule) == tensor.zero_point
        if not step.padded or zero:
            return step.layer
    if ends is not None:
        word = _word(step.fill, ends.target, rule)
    else:
        word = int(_on_grid(np.array([step.fill]), tensor)[0])
    return replace(step.layer, fill=np.array([word - tensor.zero_point]))  # type: ignore[call-arg]


def _on_grid(real: np.ndarray[tuple[int, ...], np.dtype[np.float64]], tensor: Tensor) -> Integers:
    """Real numbers as words of a tensor that nothing rounds to; they must be some."""
    steps = np.asarray(real, np.float64) / rules.one_scale(tensor) + tensor.zero_point
    sound = np.isfinite(steps).all() and (steps == np.rint(steps)).all()
    if not (sound and (steps >= tensor.lo).all() and (steps <= tensor.hi).all()):
        raise ModelError(f"tensor {tensor}: the number {float(real.ravel()[0]):g} beside it, which "
                         "is none of its words; put a quantization after it")  # fmt: skip
    return np.asarray(np.rint(steps), np.int64)


def require_on_grid(joint: Joint, tensor: Tensor) -> None:
    """Refuse numbers beside the words of a tensor that nothing rounds, where they are none."""
    if joint.fill is not None and joint.index is not None and (joint.index < 0).any():
        _on_grid(joint.fill[joint.index < 0], tensor)


def layers(
    build: Builder, joint: Joint, names: Sequence[str], output: str, tensor: Tensor, ends: Ends
) -> Iterator[Layer]:
    """The layers that make one tensor of several at one scale."""
    if joint.how == "pick":
        yield _picked(joint, names, output, tensor, ends)
    elif joint.how == "concat":
        yield Concat(name=output, inputs=tuple(names), output=output, axis=joint.axis)
    else:
        made = names[0]
        for number, other in enumerate(names[1:], 2):
            into = output if number == len(names) else build.new_name(f"{output} ({number})")
            yield Maximum(name=into, inputs=(made, other), output=into, least=joint.how == "min")
            made = into


def _picked(
    joint: Joint, names: Sequence[str], output: str, tensor: Tensor, ends: Ends
) -> Rearrange:
    assert joint.index is not None
    words: Integers = np.zeros(1, np.int64)
    if joint.fill is not None:
        real = np.asarray(joint.fill, np.float64)
        words = np.clip(rounded(real, ends.target), ends.lo, ends.hi) - tensor.zero_point
    return Rearrange(name=output, inputs=tuple(names), output=output, index=joint.index,
                     fill=words, what="pick")  # fmt: skip


def of_many(build: Builder, layer: Add, target: Target, nodes: Sequence[int]) -> Add:
    """A sum of more than two tensors as one of two: the sum of the others, exact, and the last.

    Each is multiplied by the 24-bit mantissa of its own factor, as in a sum of two.
    """
    if build.rule != "onnx-exact":
        raise ModelError(f"a sum of {len(layer.inputs)} tensors under rule {build.rule}, which "
                         "rounds each; use onnx-exact")  # fmt: skip
    given = [build.tensors[name] for name in layer.inputs]
    step = np.float32(rules.one_scale(target.tensor))
    ratios = [np.float64(np.float32(rules.one_scale(one)) / step) for one in given]
    mantissas, exponents = rules.multiplier(np.asarray(ratios), 24)
    finest = int(exponents.max())
    wide = [int(m) << (finest - int(e)) for m, e in zip(mantissas, exponents, strict=True)]
    spare = min((m & -m).bit_length() - 1 for m in wide)
    unit = float(step) * 2.0 ** (spare - finest)
    made, tensor, by = layer.inputs[0], given[0], wide[0] >> spare
    for name, other, factor in list(zip(layer.inputs, given, wide, strict=True))[1:-1]:
        factors = (by, factor >> spare)
        made, tensor = _added(build, layer, (made, name), (tensor, other), factors, unit, nodes)
        by = 1
    return replace(layer, inputs=(made, layer.inputs[-1]), multipliers=(1, 1))


def _added(
    build: Builder, layer: Add, names: tuple[str, str], given: tuple[Tensor, Tensor],
    factors: tuple[int, int], unit: float, nodes: Sequence[int],
) -> tuple[str, Tensor]:  # fmt: skip
    """The exact sum of two tensors in a unit that divides both scales."""
    ends = [(f * (t.lo - t.zero_point), f * (t.hi - t.zero_point))
            for t, f in zip(given, factors, strict=True)]  # fmt: skip
    bias = -sum(f * t.zero_point for t, f in zip(given, factors, strict=True))
    words = holding(min(sum(e[0] for e in ends), -1) + min(bias, 0),
                    sum(e[1] for e in ends) + max(bias, 0))  # fmt: skip
    output = build.new_name(f"{layer.name} (sum)")
    tensor = Tensor(given[0].shape, words.bits, True, unit)
    part = Add(name=output, inputs=names, output=output, multipliers=factors, bias=bias)
    return build.emit(part, tensor, nodes), tensor
