"""Which width each tensor takes when the layers ask for theirs.

The rule: tensors that must share a scale form a group (what pools, reshapes and plain
additions tie together), and a group takes the greatest width that a layer with weights
asks of it.  A layer that asks for less than its group gives reads through a
`Requantize` of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from apsim.nn import rules
from apsim.nn.model import (
    Add,
    AvgPool,
    Concat,
    Flatten,
    Interpolate,
    Layer,
    Maximum,
    MaxPool,
    Model,
    Rearrange,
    Relu,
    Requantize,
    Reshape,
    Tensor,
    Transpose,
    Weighted,
)

__all__ = ["Plan"]

_PASSING = (
    MaxPool, Relu, Flatten, Reshape, Transpose, Concat, Rearrange, Maximum, Interpolate
)  # fmt: skip
Group = frozenset[str]


class Plan:
    """The tensors of a model for given input widths of its layers with weights."""

    def __init__(self, model: Model, wanted: Mapping[str, int]) -> None:
        self.model = model
        self.wanted = wanted
        self.groups = _groups(model)

    def model_with_tensors(self) -> Model:
        """The model with its tensors at their new widths and with the adapters it needs.

        Requantizations are not made anew here.
        """
        tensors = dict(self.model.tensors)
        for group in dict.fromkeys(self.groups.values()):
            bits = self._demand(group, set())
            if bits is not None:
                tensors.update(self._resized(group, bits))
        layers: list[Layer] = []
        for layer in self.model.layers:
            adapter = self._adapter(layer, tensors)
            if adapter is not None:
                layers.append(adapter)
                layer = replace(layer, inputs=(adapter.output,))
            layers.append(layer)
        return self.model.replace(tensors=tensors, layers=tuple(layers))

    def _demand(self, group: Group, seen: set[Group]) -> int | None:
        """The greatest width asked of a group, by the next layers that have weights."""
        if group in seen:
            return None
        seen.add(group)
        consumers = [x for x in self.model.layers if group & set(x.inputs)]
        for kinds in (Weighted, (AvgPool, Requantize), Add):
            asked = [self._asked(x, seen) for x in consumers if isinstance(x, kinds)]
            known = [bits for bits in asked if bits is not None]
            if known:
                return max(known)
        return None

    def _asked(self, layer: Layer, seen: set[Group]) -> int | None:
        if isinstance(layer, Weighted):
            return self.wanted[layer.name]
        return self._demand(self.groups[layer.output], seen)

    def _resized(self, group: Group, bits: int) -> dict[str, Tensor]:
        """The tensors of a group, all at one scale, `bits` wide.

        Signed tensors tied to unsigned ones take one bit more, for their sign.
        """
        old = {name: self.model.tensors[name] for name in sorted(group)}
        unsigned = {name: t for name, t in old.items() if not t.signed}
        leading = unsigned or old
        ranged = {name: t for name, t in leading.items() if name in self.model.ranges}
        if not ranged and all(t.bits == bits for t in leading.values()):
            return {}
        scale = max(self._scale(name, t, bits) for name, t in (ranged or leading).items())
        return {
            name: _at_scale(t, bits + bool(t.signed and unsigned), scale) for name, t in old.items()
        }

    def _scale(self, name: str, tensor: Tensor, bits: int) -> float:
        """The step that covers what the tensor covered, or its stored range at this width."""
        new = replace(tensor, bits=bits)
        covered = self.model.ranges.get(name)
        if covered is not None:
            return float(np.float32(covered[bits] / new.hi))
        steps = tensor.hi if tensor.zero_point == 0 else tensor.hi - tensor.lo
        grid = new.hi if tensor.zero_point == 0 else new.hi - new.lo
        return float(np.float32(rules.one_scale(tensor) * steps / grid))

    def _adapter(self, layer: Layer, tensors: dict[str, Tensor]) -> Requantize | None:
        """A requantization in front of a layer that asks for less than its group gives."""
        if not isinstance(layer, Weighted):
            return None
        name, bits = layer.inputs[0], self.wanted[layer.name]
        if tensors[name].bits <= bits:
            return None
        tensor = tensors[name]
        output = f"{name}@{bits} for {layer.name}"
        tensors[output] = _at_scale(tensor, bits, self._scale(name, self.model.tensors[name], bits))
        requant = rules.requant("onnx-exact", 1.0, lo=0, hi=1)  # made anew by `refill`
        return Requantize(name=output, inputs=(name,), output=output, requant=requant)


def _at_scale(tensor: Tensor, bits: int, scale: float) -> Tensor:
    """The tensor at another width and scale, its least real value where it was."""
    new = replace(tensor, bits=bits, scale=scale)
    if tensor.zero_point == 0:
        return new
    least = rules.one_scale(tensor) * (tensor.lo - tensor.zero_point)
    zero = new.lo - round(least / scale)
    return replace(new, zero_point=min(max(zero, new.lo), new.hi))


def _groups(model: Model) -> dict[str, Group]:
    """The group of each tensor: those that must keep one scale."""
    group = {name: {name} for name in model.tensors}
    for names in _ties(model):
        joined = set[str]().union(*(group[name] for name in names))
        for name in joined:
            group[name] = joined
    return {name: frozenset(members) for name, members in group.items()}


def _ties(model: Model) -> Iterator[Iterable[str]]:
    for layer in model.layers:
        if isinstance(layer, _PASSING):
            yield (*layer.inputs, layer.output)
        elif isinstance(layer, Add) and _equal_scales(model, layer):
            yield layer.inputs


def _equal_scales(model: Model, layer: Add) -> bool:
    first, second = (model.tensors[name].scale for name in layer.inputs)
    return first is not None and first == second
