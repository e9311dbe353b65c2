"""How a pending value becomes layers of the integer network under construction.

The rule: all layers of an import are made here, once each, with the requantization of
the model's rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from apsim.errors import ModelError
from apsim.nn import rules
from apsim.nn.importers.draft import Draft
from apsim.nn.importers.pending import Chained, Pending, Source, Target
from apsim.nn.model import (
    Add,
    AvgPool,
    Concat,
    Entry,
    Layer,
    Model,
    Relu,
    Requantize,
    Tensor,
    Weighted,
)
from apsim.nn.rules import factors

__all__ = ["Builder"]

PLACEHOLDER = rules.requant("onnx-exact", 1.0, lo=0, hi=1)  # made anew by `factors.refill`


class Builder(Draft):
    """Turns pending values into the layers of a draft, in the requantization of its rule."""

    def enter(self, source: Source, name: str, target: Target) -> str:
        """Quantize a real input of the graph: it becomes an input tensor of the network."""
        key = (source.name, source.factor, source.shift, target)
        raw = name if not source.chain else f"{source.name} (quantized)"
        if key in self.entered:
            self.shared.add(self.entered[key])
        else:
            shape = source.chain[0].before if source.chain else source.shape
            entry = Entry(
                source.name, source.factor, source.shift, target.rounding or "half-even",
                target.lo if target.lo != target.tensor.lo else None,
                target.hi if target.hi != target.tensor.hi else None,
                zero_first=bool(target.parity),
            )  # fmt: skip
            self.entered[key] = raw
            self.add_input(raw, replace(target.tensor, shape=shape), entry)
        return self._chain(self.entered[key], source.chain, name, target.tensor)

    def finish(self, value: Pending, name: str, target: Target) -> str:
        """Round a pending value to the integers of `target`, in the tensor `name`."""
        if value.parts:
            names = [
                self.finish(part.bounded_by(value), f"{name}/{i}", target)
                for i, part in enumerate(value.parts)
            ]
            return self._join(value, names, name, target)
        if value.source and self._alike(value, target):
            return self._chain(value.source, value.chain, name, self.tensors[value.source], value)
        clip = _clip(value, target)
        if value.layer is None:
            return self._rescale(value, name, target, clip)
        tensor = replace(target.tensor, shape=self._shape_before(value))
        output = name if not value.chain else f"{name} (before {value.chain[0].layer.op})"
        layer = replace(_with_relu(value.layer, value), output=output)
        self.tensors[output] = tensor
        model = self._model(layer)
        layer = factors.refill(model, layer, self.rule, clip)
        made = self.emit(layer, tensor, value.nodes)
        return self._chain(made, value.chain, name, tensor, value)

    def settle(self, value: Pending, name: str) -> str:
        """Make the integer tensor of a value that no quantization follows, once."""
        if id(value) not in self.settled:
            self.settled[id(value)] = (value, self._settle(value, name))
        return self.settled[id(value)][1]

    def _settle(self, value: Pending, name: str) -> str:
        if value.source and not value.bounded:
            return self._chain(value.source, value.chain, name, self.tensors[value.source], value)
        if value.source and value.relu and math.isinf(value.hi) and math.isinf(value.lo):
            return self._relu(value, name)
        if value.parts and not value.bounded:
            return self._settle_parts(value, name)
        layer = value.layer
        bare = not value.chain and math.isinf(value.hi) and math.isinf(value.lo)
        if bare and isinstance(layer, Weighted | Add):
            return self._accumulators(value, layer, name)
        raise ModelError(
            f"tensor {name!r}: a result that is not rounded before it is used or given out; "
            "put QuantizeLinear and DequantizeLinear after it"
        )

    def _accumulators(self, value: Pending, layer: Weighted | Add, name: str) -> str:
        """A last layer whose output is its accumulator, in its own unit."""
        inputs = [self.tensors[one] for one in layer.inputs]
        layer = replace(layer, output=name, requant=None, relu=value.relu)
        if isinstance(layer, Add):
            zeros = inputs[0].zero_point + inputs[1].zero_point
            if inputs[0].scale != inputs[1].scale:
                raise ModelError(f"tensor {name!r}: unequal scales added and not rounded")
            tensor = Tensor(value.shape, inputs[0].bits + 2, True, inputs[0].scale)
            return self.emit(replace(layer, bias=-zeros), tensor, value.nodes)
        steps = rules.one_scale(inputs[0]) * np.asarray(layer.weight_scale, np.float64)
        shift = np.zeros(1) if layer.shift is None else layer.shift
        reach = np.abs(layer.weights.astype(np.float64)).reshape(len(layer.weights), -1).sum(1)
        top = float((reach * 2.0 ** inputs[0].bits + np.abs(layer.bias)).max())
        tensor = Tensor(
            value.shape, 32 if top < 2**31 else 64, True, _one_or_all(steps),
            shift=_one_or_all(shift),
        )  # fmt: skip
        return self.emit(replace(layer, shift=None), tensor, value.nodes)

    def _settle_parts(self, value: Pending, name: str) -> str:
        names = [self.settle(part, f"{name}/{i}") for i, part in enumerate(value.parts)]
        first = self.tensors[names[0]]
        alike = {(t.scale, t.zero_point) for t in (self.tensors[n] for n in names)}
        if len(alike) > 1:
            raise ModelError(f"tensor {name!r}: inputs of unequal scales joined and not rounded")
        return self._join(value, names, name, Target(first, first.lo, first.hi))

    def _join(self, value: Pending, names: Sequence[str], name: str, target: Target) -> str:
        shape = self._shape_before(value)
        output = name if not value.chain else f"{name} (joined)"
        layer = Concat(name=name, inputs=tuple(names), output=output, axis=value.axis)
        made = self.emit(layer, replace(target.tensor, shape=shape), value.nodes)
        return self._chain(made, value.chain, name, target.tensor, value)

    def _relu(self, value: Pending, name: str) -> str:
        """max(x, zero point) at the scale it has; nothing at all where that is the least."""
        tensor = self.tensors[value.source]
        made = value.source
        if tensor.zero_point > tensor.lo:
            output = name if not value.chain else f"{name} (relu)"
            layer = Relu(name=name, inputs=(made,), output=output)
            made = self.emit(layer, tensor, value.nodes)
        return self._chain(made, value.chain, name, tensor, value)

    def _rescale(self, value: Pending, name: str, target: Target, clip: factors.Clip) -> str:
        """An integer tensor at another scale or width."""
        made = self._chain(
            value.source, value.chain, f"{name} (before)", self.tensors[value.source], value
        )
        tensor = replace(target.tensor, shape=value.shape)
        self.tensors[name] = tensor
        layer = Requantize(
            name=name, inputs=(made,), output=name, relu=value.relu, requant=PLACEHOLDER
        )
        layer_ = factors.refill(self._model(layer), layer, self.rule, clip)
        return self.emit(layer_, tensor, value.nodes)

    def _alike(self, value: Pending, target: Target) -> bool:
        """Whether the value's integers are already those that the target asks for."""
        had, wanted = self.tensors[value.source], target.tensor
        same = (had.scale, had.zero_point) == (wanted.scale, wanted.zero_point)
        return (
            same
            and not value.bounded
            and target.rounding != "sign"
            and target.lo <= had.lo
            and had.hi <= target.hi
        )

    def _chain(
        self, made: str, chain: Sequence[Chained], name: str, tensor: Tensor,
        value: Pending | None = None,
    ) -> str:  # fmt: skip
        """Put the steps that keep a scale behind the tensor `made`; the last gives `name`."""
        for index, step in enumerate(chain):
            last = index == len(chain) - 1
            output = name if last else f"{name} (after {step.layer.op} {index})"
            layer = replace(step.layer, inputs=(made,), output=output)
            made = self.emit(layer, replace(tensor, shape=step.shape),
                             value.nodes if value else ())  # fmt: skip
        return made

    def _shape_before(self, value: Pending) -> tuple[int, ...]:
        return value.chain[0].before if value.chain else value.shape

    def _model(self, layer: Layer) -> Model:
        """Enough of a model for `factors.refill`."""
        return Model("import", self.rule, (), (), self.tensors, (layer,))


def _with_relu(layer: Layer, value: Pending) -> Layer:
    """The layer, to be requantized, with the ReLU that follows it where its kind has one."""
    if isinstance(layer, Weighted | Add):
        return replace(layer, relu=value.relu, requant=PLACEHOLDER)
    return layer


def _one_or_all(values: Any) -> float | tuple[float, ...]:
    listed = tuple(float(v) for v in np.ravel(values))
    return listed[0] if len(set(listed)) == 1 else listed


def _clip(value: Pending, target: Target) -> factors.Clip:
    """The target's bounds, tightened by the real clip that the value passed."""
    tensor = target.tensor
    step = rules.one_scale(tensor)
    lo, hi = target.lo, target.hi
    if value.lo > -math.inf:
        lo = max(lo, round(float(np.float32(value.lo) / np.float32(step))) + tensor.zero_point)
    if value.hi < math.inf:
        hi = min(hi, round(float(np.float32(value.hi) / np.float32(step))) + tensor.zero_point)
    if value.relu and isinstance(value.layer, AvgPool):
        lo = max(lo, tensor.zero_point)
    return factors.Clip(lo, max(lo, hi), target.parity, target.rounding)
