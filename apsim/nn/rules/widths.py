"""Which width each tensor takes when the layers ask for theirs.

The rule: tensors that must share a scale form a group (what pools, reshapes and plain
additions tie together), and a group takes the greatest width that a layer of `Model.fluid`
asks of it.  What a table, steps, a softmax or norm of the AP, or TFLite's softmax gives keeps
its width.  A layer that asks for less than its group gives reads through a `Requantize`, which
those that ask for the same share.
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
    Normalize,
    Rearrange,
    Relu,
    Requantize,
    Reshape,
    Softmax,
    Steps,
    Table,
    Tensor,
    Transpose,
)

__all__ = ["Plan"]

_PASSING = (
    MaxPool, Relu, Flatten, Reshape, Transpose, Concat, Rearrange, Maximum, Interpolate
)  # fmt: skip
Group = frozenset[str]


class Plan:
    """The tensors of a model for given widths of the inputs of its fluid layers."""

    def __init__(self, model: Model, wanted: Mapping[str, tuple[int, ...]]) -> None:
        """`wanted` has a width for each input of each layer of `Model.fluid`, by its name."""
        self.model = model
        self.wanted = wanted
        self.groups = _groups(model)
        self.fixed = {layer.output for layer in model.layers if _one_width(layer)}

    def model_with_tensors(self) -> Model:
        """The model with its tensors at their new widths and with the adapters it needs.

        Requantizations are not made anew here.
        """
        tensors = dict(self.model.tensors)
        for group in dict.fromkeys(self.groups.values()):
            bits = None if group & self.fixed else self._demand(group, set())
            if bits is not None:
                tensors.update(self._resized(group, bits))
        layers: list[Layer] = []
        made: set[str] = set()
        for layer in self.model.layers:
            adapters = self._adapters(layer, tensors)
            for adapter in adapters.values():
                layers += [adapter] if adapter.output not in made else []
                made.add(adapter.output)
            names = tuple(
                adapters[k].output if k in adapters else name for k, name in enumerate(layer.inputs)
            )
            layers.append(replace(layer, inputs=names) if adapters else layer)
        return self.model.replace(tensors=tensors, layers=tuple(layers))

    def _demand(self, group: Group, seen: set[Group]) -> int | None:
        """The greatest width asked of a group, by the next layers that have widths."""
        if group in seen:
            return None
        seen.add(group)
        consumers = [x for x in self.model.layers if group & set(x.inputs)]
        known = [
            bits
            for x in consumers
            for name, bits in zip(x.inputs, self.wanted.get(x.name, ()), strict=False)
            if name in group
        ]
        if known:
            return max(known)
        for kinds in ((AvgPool, Requantize), Add):
            asked = [
                self._demand(self.groups[x.output], seen) for x in consumers if isinstance(x, kinds)
            ]
            known = [bits for bits in asked if bits is not None]
            if known:
                return max(known)
        return None

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

    def _adapters(self, layer: Layer, tensors: dict[str, Tensor]) -> dict[int, Requantize]:
        """Requantizations before inputs that are asked to be narrower than their groups are."""
        asked = enumerate(zip(layer.inputs, self.wanted.get(layer.name, ()), strict=False))
        return {
            k: self._adapter(layer, name, bits, tensors)
            for k, (name, bits) in asked
            if tensors[name].bits > bits
        }

    def _adapter(
        self, layer: Layer, name: str, bits: int, tensors: dict[str, Tensor]
    ) -> Requantize:  # fmt: skip
        tensor, output = tensors[name], f"{name}@{bits}"
        if output in self.model.tensors:
            output += f" for {layer.name}"
        tensors[output] = _at_scale(tensor, bits, self._scale(name, self.model.tensors[name], bits))
        requant = rules.requant("onnx-exact", 1.0, lo=0, hi=1)  # made anew by `refill`
        return Requantize(name=output, inputs=(name,), output=output, requant=requant)


def _one_width(layer: Layer) -> bool:
    """Whether a layer's output has the width that it has and no other."""
    if isinstance(layer, Softmax):
        return layer.rule in ("ap", "ita", "litert")
    return isinstance(layer, Table | Steps) or (isinstance(layer, Normalize) and layer.rule == "ap")


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
