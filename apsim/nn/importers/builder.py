"""The integer network as far as it is made, and how a pending value becomes layers of it.

The rule: all layers of an import are made here, once each, with the requantization of
the model's rule.  A name is given once; what several consumers ask for is made once.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from apsim.errors import ModelError
from apsim.nn import rules
from apsim.nn.importers import accumulators, drawing, joining
from apsim.nn.importers.drawing import Span
from apsim.nn.importers.graph import Fate, Graph, Node
from apsim.nn.importers.pending import PLACEHOLDER, Bounds, Chained, Pending, Source, Target
from apsim.nn.importers.targets import line, whole
from apsim.nn.model import (
    Add,
    AvgPool,
    Entry,
    Interpolate,
    Layer,
    MatMul,
    Model,
    Multiply,
    Normalize,
    Rearrange,
    Relu,
    Requantize,
    Reshape,
    Softmax,
    Table,
    Tensor,
    Transpose,
    Weighted,
)
from apsim.nn.model.words import holding
from apsim.nn.rules import factors

__all__ = ["PLACEHOLDER", "ROUNDING", "Builder"]

RECTIFIED = (Weighted, Add, Requantize, Multiply, MatMul)
ROUNDING = (*RECTIFIED, AvgPool, Interpolate)


class Builder:
    """Collects tensors, layers and the fate of every node."""

    def __init__(self, graph: Graph, rule: str) -> None:
        self.graph = graph
        self.rule = rule
        self.tensors: dict[str, Tensor] = {}
        self.layers: list[Layer] = []
        self.inputs: list[str] = []
        self.entries: dict[str, Entry] = {}
        self.fates: dict[int, str] = {}
        self.spans: dict[str, Span] = {}  # how far sums that were made tensors reach
        self.named = {name for node in graph.nodes for name in (*node.inputs, *node.outputs)}
        self.taken = set(self.named)
        self.layer_names: set[str] = set()
        self.shared: set[str] = set()  # tensors that several quantizations give
        self.copies: set[str] = set()  # tensors of outputs that share their integers
        self.made: dict[Hashable, tuple[Any, str]] = {}  # what was asked for, kept, and its tensor

    def fate(self, node: Node | int, became: str) -> None:
        """Say what became of a node."""
        self.fates[node if isinstance(node, int) else node.index] = became

    def add_input(self, name: str, tensor: Tensor, entry: Entry | None = None) -> None:
        """Declare an input tensor."""
        self.tensors[name] = tensor
        self.inputs.append(name)
        if entry is not None:
            self.entries[name] = entry

    def emit(self, layer: Layer, tensor: Tensor, nodes: Sequence[int] = ()) -> str:
        """Add a layer with its output tensor; gives the tensor's name."""
        layer = replace(layer, name=self.layer_name(layer.name))
        self.tensors[layer.output] = tensor
        self.layers.append(layer)
        for index in nodes:
            self.fates.setdefault(index, f"layer {layer.name!r} ({layer.op})")
        return layer.output

    def layer_name(self, wanted: str) -> str:
        """A name for a layer, different from all that there are."""
        name = _distinct(wanted, self.layer_names)
        self.layer_names.add(name)
        return name

    def new_name(self, wanted: str) -> str:
        """A name for a tensor that the file has none for, different from all that there are."""
        name = _distinct(wanted, self.taken | self.tensors.keys())
        self.taken.add(name)
        return name

    def once(self, key: Hashable, kept: Any, make: Any) -> str:
        """The tensor of what was asked for before, made now where it was not."""
        if key in self.made:
            self.shared.add(self.made[key][1])
        else:
            self.made[key] = (kept, make())
        return self.made[key][1]

    def enter(self, source: Source, name: str, target: Target) -> str:
        """Quantize a real input of the graph: it becomes an input tensor of the network."""
        lo, hi = self._clip(source.bounds, target)
        ends = joining.Ends(target, lo, hi)
        joining.check_padding(source.chain, ends, self.rule)
        key = ("enter", source.name, source.steps, source.along, lo, hi, target)
        raw = self.once(key, None, lambda: self._enter(source, name, target, lo, hi))
        return self._chain(raw, source.chain, name, ends=ends)

    def _enter(self, source: Source, name: str, target: Target, lo: int, hi: int) -> str:
        raw = self.new_name(f"{source.name} (quantized)") if source.chain else name
        factor, shift = line(source.steps)
        entry = Entry(
            source.name, factor, shift, target.rounding or "half-even",
            lo if lo != target.tensor.lo else None, hi if hi != target.tensor.hi else None,
            zero_first=bool(target.parity), steps=source.steps, along=source.along,
        )  # fmt: skip
        shape = source.chain[0].before if source.chain else source.shape
        self.add_input(raw, replace(target.tensor, shape=shape), entry)
        return raw

    def finish(self, value: Pending, name: str, target: Target) -> str:
        """Round a pending value to the integers of `target`, in the tensor `name`."""
        key = ("finish", *value.core, value.bounds, target)
        return self.once(key, value, lambda: self._finish(value, name, target))

    def _finish(self, value: Pending, name: str, target: Target) -> str:
        if value.factor != 1:
            return self._times(value, name, target)
        if value.parts:
            bounds = value.bounds
            names = [
                self.finish(
                    part.clipped(bounds.lo, bounds.hi), self.new_name(f"{name}/{i}"), target
                )
                for i, part in enumerate(value.parts)
            ]
            return self._join(value, names, name, target)
        clip = factors.Clip(*self._clip(value.bounds, target), target.parity, target.rounding)
        ends = joining.Ends(target, clip.lo, clip.hi)
        joining.check_padding(value.chain, ends, self.rule)
        if value.source and self._alike(value, target):
            return self._chain(value.source, value.chain, name, value, ends)
        if value.layer is None:
            return self._rescale(value, name, target, clip)
        if value.chain:
            shape = self._shape_before(value)
            bare = self.new_name(f"{name} (before {value.chain[0].layer.op})")
            made = self.finish(replace(value, chain=(), shape=shape), bare, target)
            return self._chain(made, value.chain, name, value, ends)
        tensor = replace(target.tensor, shape=value.shape)
        if value.curve is not None and isinstance(value.layer, Table):
            made_of, span = value.curve.tensor, self.spans.get(value.curve.tensor)
            layer = drawing.drawn_as(value, value.curve, self.tensors[made_of], span, target)
            return self.emit(replace(layer, output=name), tensor, value.nodes)
        if isinstance(value.layer, Softmax | Normalize):
            return self._island(value, value.layer, name, target, clip)
        self.tensors[name] = tensor
        self._requantized(value, name, target, clip)
        return name

    def _times(self, value: Pending, name: str, target: Target) -> str:
        """A value times a number: the value at a scale that is so much less, called by its own."""
        scale, zero = self._one(target), target.tensor.zero_point
        if target.rounding == "sign":
            return self.finish(replace(value, factor=1.0), name, target)
        less = replace(target, tensor=replace(target.tensor, scale=scale / value.factor))
        bare = replace(value, factor=1.0)
        made = self.finish(bare, self.new_name(f"{name} (over {value.factor:g})"), less)
        tensor = replace(self.tensors[made], scale=scale, zero_point=zero)
        return self.emit(Reshape(name=name, inputs=(made,), output=name), tensor, value.nodes)

    @staticmethod
    def _one(target: Target) -> float:
        return rules.one_scale(target.tensor)

    def _island(
        self, value: Pending, layer: Layer, name: str, target: Target, clip: factors.Clip
    ) -> str:
        """A layer that rounds by itself; a clip to fewer words is a layer after it."""
        if target.rounding is not None or target.parity % 2:
            raise ModelError(f"{layer.op} rounded {target.rounding or 'after its zero point'}; "
                             "it rounds half to even, then adds it")  # fmt: skip
        tensor = replace(target.tensor, shape=value.shape)
        if (clip.lo, clip.hi) == (tensor.lo, tensor.hi):
            return self.emit(replace(layer, output=name), tensor, value.nodes)
        whole = self.new_name(f"{name} (before)")
        self.emit(replace(layer, output=whole), tensor, value.nodes)
        return self._rescale(Pending(value.shape, source=whole), name, target, clip)

    def _requantized(self, value: Pending, output: str, target: Target, clip: factors.Clip) -> None:
        """A layer with its requantization; one with weights that ran before runs only once."""
        layer, relu = value.layer, self._relu_of(value, target)
        tensor = self.tensors[output]
        assert layer is not None
        first = layer if isinstance(layer, Weighted) else None
        if isinstance(layer, Weighted):
            key = ("sums", layer.inputs, id(layer.weights), id(layer.bias))
            before = self.made.get(key)
            if before is not None and accumulators.shared(self, *before, layer):
                layer, first = accumulators.of_sums(self, before[1], output), None
        if isinstance(layer, Add) and len(layer.inputs) > 2:
            layer = joining.of_many(self, layer, target, value.nodes)
        if isinstance(layer, RECTIFIED):
            layer = replace(layer, relu=relu)
        elif relu:
            clip = replace(clip, lo=max(clip.lo, tensor.zero_point))
        if not isinstance(layer, Requantize):
            layer = replace(layer, output=output)
        layer = replace(layer, requant=PLACEHOLDER)  # type: ignore[call-arg]
        self.emit(factors.refill(self.context(layer), layer, self.rule, clip), tensor, value.nodes)
        if first is not None:
            self.made.setdefault(key, (first, output))

    def settle(self, value: Pending, name: str) -> str:
        """Make the integer tensor of a value that no quantization follows, once."""
        if not self.settled(value):
            self.made[_settling(value)] = (value, self._settle(value, name))
        return self.settled(value)

    def settled(self, value: Pending) -> str:
        """The integer tensor that was made of a value, empty where none was."""
        return self.made.get(_settling(value), (None, ""))[1]

    def _settle(self, value: Pending, name: str) -> str:
        bounds = value.bounds
        if value.factor != 1:
            raise ModelError(f"tensor {name!r}: a result times {value.factor:g}, not rounded")
        if value.source and not bounds.any:
            return self._chain(value.source, value.chain, name, value)
        relu_only = bounds.relu and math.isinf(bounds.hi)
        if value.source and relu_only:
            return self._relu(value, name)
        if value.parts and not bounds.any:
            return self._settle_parts(value, name)
        layer = value.layer
        if isinstance(layer, Weighted | Add) and (relu_only or not bounds.any):
            return self._sums_out(value, layer, name)
        raise ModelError(
            f"tensor {name!r}: a result that is not rounded before it is used or given out; "
            "put QuantizeLinear and DequantizeLinear after it"
        )

    def unit(self, name: str) -> float:
        """The one scale of a tensor."""
        return rules.one_scale(self.tensors[name], f"tensor {name!r}")

    def _sums_out(self, value: Pending, layer: Weighted | Add, name: str) -> str:
        """The accumulators of a layer, in the shape that was asked for."""
        if not value.chain:
            return accumulators.given_out(self, value, layer, name)
        bare = replace(value, chain=(), shape=self._shape_before(value))
        made = self.settle(bare, self.new_name(f"{name} (sums)"))
        if any(
            isinstance(part, tuple) for part in (self.tensors[made].scale, self.tensors[made].shift)
        ):
            raise ModelError(f"tensor {name!r}: sums with a scale for each channel, reordered")
        return self._chain(made, value.chain, name, value)

    def _settle_parts(self, value: Pending, name: str) -> str:
        names = [self.settle(part, self.new_name(f"{name}/{i}"))
                 for i, part in enumerate(value.parts)]  # fmt: skip
        tensors = [self.tensors[one] for one in names]
        if value.integer and len({(t.scale, t.zero_point) for t in tensors}) > 1:
            names = [self.renamed(one, 1.0, 0) for one in names]
            tensors = [self.tensors[one] for one in names]
        first = tensors[0]
        if any((t.scale, t.zero_point) != (first.scale, first.zero_point) for t in tensors):
            raise ModelError(f"tensor {name!r}: inputs of unequal scales joined and not rounded")
        joining.require_on_grid(value.joint, first)
        words = holding(min(t.lo for t in tensors), max(t.hi for t in tensors))
        wide = replace(first, bits=words.bits, signed=words.signed)
        return self._join(value, names, name, Target(wide, wide.lo, wide.hi))

    def _join(self, value: Pending, names: Sequence[str], name: str, target: Target) -> str:
        shape = self._shape_before(value)
        output = self.new_name(f"{name} (joined)") if value.chain else name
        ends = joining.Ends(target, *self._clip(value.bounds, target))
        joining.check_padding(value.chain, ends, self.rule)
        tensor = replace(target.tensor, shape=shape)
        for layer in joining.layers(self, value.joint, names, output, tensor, ends):
            shown = replace(tensor, shape=self.tensors[layer.inputs[0]].shape)
            last = layer.output == output
            self.emit(layer, tensor if last else shown, value.nodes)
        return self._chain(output, value.chain, name, value, ends)

    def _relu(self, value: Pending, name: str) -> str:
        """max(x, zero point) at the scale it has; nothing at all where that is the least."""
        tensor = self.tensors[value.source]
        made = value.source
        if tensor.zero_point > tensor.lo:
            output = self.new_name(f"{name} (relu)") if value.chain else name
            layer = Relu(name=name, inputs=(made,), output=output)
            made = self.emit(layer, tensor, value.nodes)
        return self._chain(made, value.chain, name, value)

    def _rescale(self, value: Pending, name: str, target: Target, clip: factors.Clip) -> str:
        """An integer tensor at another scale or width."""
        before = self.new_name(f"{name} (before)") if value.chain else name
        bare = replace(value, chain=(), shape=self._shape_before(value))
        if value.chain and joining.padded(value.chain):
            name, whole = self.new_name(f"{name} (before)"), name
            made = self._rescale(bare, name, target, clip)
            ends = joining.Ends(target, clip.lo, clip.hi)
            return self._chain(made, value.chain, whole, value, ends)
        made = self._chain(value.source, value.chain, before, value)
        tensor = replace(target.tensor, shape=value.shape)
        self.tensors[name] = tensor
        relu = self._relu_of(value, target)
        layer = Requantize(name=name, inputs=(made,), output=name, relu=relu, requant=PLACEHOLDER)
        filled = factors.refill(self.context(layer), layer, self.rule, clip)
        return self.emit(filled, tensor, value.nodes)

    def reshaped(self, name: str, shape: tuple[int, ...]) -> str:
        """The same integers in another shape, made once."""
        return self._moved(name, shape, Reshape(name="", inputs=(name,), output=""), shape)

    def transposed(self, name: str, axes: tuple[int, ...]) -> str:
        """The same integers with their axes in another order, made once."""
        shape = tuple(self.tensors[name].shape[axis] for axis in axes)
        return self._moved(
            name, axes, Transpose(name="", inputs=(name,), output="", axes=axes), shape
        )

    def spread(self, name: str, shape: tuple[int, ...]) -> str:
        """The same integers repeated along axes of size 1, made once."""
        had = self.tensors[name].shape
        if had == shape:
            return name

        def make() -> str:
            words = np.arange(math.prod(had)).reshape(had)
            output = self.new_name(f"{name} (expand)")
            index = np.ascontiguousarray(np.broadcast_to(words, shape))
            layer = Rearrange(
                name=output, inputs=(name,), output=output, index=index, what="expand"
            )
            return self.emit(layer, replace(self.tensors[name], shape=shape))

        return self.once(("spread", name, shape), None, make)

    def _moved(self, name: str, how: Hashable, layer: Layer, shape: tuple[int, ...]) -> str:
        def make() -> str:
            output = self.new_name(f"{name} ({layer.op})")
            tensor = replace(self.tensors[name], shape=shape)
            return self.emit(replace(layer, name=output, output=output), tensor)

        return self.once(("moved", name, layer.op, how), None, make)

    def copied(self, name: str, wanted: str) -> str:
        """The same integers once more, by the name of another output."""
        output = self.new_name(wanted) if wanted in self.tensors else wanted
        self.copies.add(output)
        copy = Reshape(name=output, inputs=(name,), output=output)
        return self.emit(copy, self.tensors[name])

    def renamed(self, name: str, scale: float, zero_point: int) -> str:
        """The same integers with another real meaning, in a tensor of their own."""
        tensor = replace(self.tensors[name], scale=scale, zero_point=zero_point, shift=0.0)
        if tensor == self.tensors[name]:
            return name

        def make() -> str:
            other = self.new_name(f"{name} as {scale:g}*(x-{zero_point})")
            return self.emit(Reshape(name=other, inputs=(name,), output=other), tensor)

        return self.once(("renamed", name, scale, zero_point), None, make)

    def _alike(self, value: Pending, target: Target) -> bool:
        """Whether the value's integers are already those that the target asks for."""
        had, wanted = self.tensors[value.source], target.tensor
        same = (had.scale, had.zero_point) == (wanted.scale, wanted.zero_point)
        inside = target.lo <= had.lo and had.hi <= target.hi
        return same and inside and not value.bounds.any and target.rounding != "sign"

    def _relu_of(self, value: Pending, target: Target) -> bool:
        return value.bounds.relu and target.rounding != "sign"

    def _clip(self, bounds: Bounds, target: Target) -> tuple[int, int]:
        """The bounds of the target's integers, after the real ones that the value passed.

        Rounding is monotone: what a bound becomes bounds what the values become.
        """
        ends = (whole(end, target, self.rule) for end in (bounds.lo, bounds.hi))
        lo, hi = (min(max(end, target.lo), target.hi) for end in ends)
        return int(lo), int(hi)

    def _chain(
        self, made: str, chain: Sequence[Chained], name: str, value: Pending | None = None,
        ends: joining.Ends | None = None,
    ) -> str:  # fmt: skip
        """Put the steps that keep a scale behind the tensor `made`; the last gives `name`."""
        for index, step in enumerate(chain):
            placed = joining.placed(step, self.tensors[made], ends, self.rule)
            fill = tuple(placed.fill.tolist()) if isinstance(placed, Rearrange) else ()
            key = ("step", made, id(step), fill)
            if key not in self.made:
                last = index == len(chain) - 1 and name not in self.tensors
                output = name if last else self.new_name(f"{name} (after {step.layer.op} {index})")
                layer = replace(placed, inputs=(made,), output=output)
                tensor = replace(self.tensors[made], shape=step.shape)
                self.made[key] = (step, self.emit(layer, tensor, value.nodes if value else ()))
            made = self.made[key][1]
        return made

    def _shape_before(self, value: Pending) -> tuple[int, ...]:
        return value.chain[0].before if value.chain else value.shape

    def context(self, layer: Layer) -> Model:
        """Enough of a model for `factors.refill`."""
        return Model("import", self.rule, (), (), self.tensors, (layer,))

    def model(self, name: str, outputs: Sequence[str], about: str = "") -> Model:
        """The finished network: what its outputs need, and its inputs."""
        layers, wanted = [], set(outputs)
        for layer in reversed(self.layers):
            if layer.output in wanted:
                wanted.update(layer.inputs)
                layers.append(layer)
        tensors = {n: t for n, t in self.tensors.items() if n in wanted or n in self.inputs}
        return Model(
            name, self.rule, tuple(self.inputs), tuple(outputs), tensors,
            tuple(layers[::-1]), about=about, entries=dict(self.entries),
        )  # fmt: skip

    def report(self) -> tuple[Fate, ...]:
        """What became of every node, in the graph's order."""
        return tuple(
            Fate(node.place, self.fates.get(node.index, "constant, or not used"))
            for node in self.graph.nodes
        )


def _settling(value: Pending) -> Hashable:
    return ("settle", *value.core, value.bounds, value.integer)


def _distinct(wanted: str, taken: Any) -> str:
    numbered = (f"{wanted}#{number}" for number in count(2))
    return wanted if wanted not in taken else next(n for n in numbered if n not in taken)
