"""Where the tensors of a TFLite file stand in the network that is made of it, in which layout.

The rule: a tensor stands as [C, H, W] (planes), in the file's own layout (flat), or in both;
words that only change places are one layer, whatever the operator is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from apsim.errors import ModelError
from apsim.nn.importers.graph import Array
from apsim.nn.importers.tflite_file import Operator, TfliteGraph, TfliteTensor
from apsim.nn.model import Layer, Rearrange, Reshape, Tensor, Transpose

__all__ = ["INTEGERS", "IN_REALS", "TO_PLANES", "Layouts", "Padding", "require_quantization"]

TO_PLANES, FROM_PLANES = (2, 0, 1), (1, 2, 0)
IN_REALS = (
    "in floating point; convert the model with full integer quantization "
    "(inference_input_type=tf.int8)"
)
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "int4", "bool")
Padding = tuple[int, int, int, int]
NOTHING: Mapping[int, str] = {}


class Layouts:
    """The file's tensors by index, and the names of those that they became."""

    def __init__(self, file: TfliteGraph, rule: str, batch: int) -> None:
        self.file = file
        self.rule = rule
        self.batch = batch
        self.tensors: dict[str, Tensor] = {}
        self.layers: list[Layer] = []
        self.planes: dict[int, str] = {}  # tensors as [C, H, W]
        self.flat: dict[int, str] = {}  # tensors in the file's own layout
        self.constants: dict[int, Array] = {
            i: tensor.data for i, tensor in enumerate(file.tensors) if tensor.data is not None
        }
        self.padded: dict[int, tuple[int, Padding]] = {}  # not laid out before it must be
        self.means: dict[int, TfliteTensor] = {}  # the integers that real numbers stand for
        self.outward = _outward(file)  # tensors that leave the network

    def name(self, index: int) -> str:
        """What the file calls a tensor."""
        return self.file.tensors[index].name

    def layer_name(self, index: int) -> str:
        """What a layer is called that makes a tensor: the last of the names that were fused."""
        return self.name(index).split(";")[-1]

    def made(self, index: int, planes: bool) -> str:
        """What the tensor is called that a layer makes: outputs keep their name in their layout."""
        outside = planes and index in self.outward
        return f"{self.name(index)} (CHW)" if outside else self.name(index)

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of a tensor of the file without the batch."""
        shape = self.file.tensors[index].shape
        return shape[1:] if self.batched(shape) else shape

    def batched(self, shape: Sequence[int]) -> bool:
        """Whether the first axis is the batch."""
        return self.batch > 0 and tuple(shape[:1]) == (self.batch,)

    def is_plane(self, index: int) -> bool:
        """Whether a tensor can stand as [C, H, W]."""
        return len(self.file.tensors[index].shape) == 4 and len(self.shape(index)) == 3

    def in_planes(self, *indices: int) -> bool:
        """Whether one of the tensors stands as [C, H, W] and nowhere else, and all can."""
        stand = any(i in self.planes and i not in self.flat for i in indices)
        return stand and all(map(self.is_plane, indices))

    def kind(self, index: int, shape: Sequence[int]) -> Tensor:
        """A tensor of the network in the place of one of the file."""
        tensor = self.means.get(index, self.file.tensors[index])
        if tensor.real:
            raise ModelError(IN_REALS)
        if tensor.type not in INTEGERS:
            raise ModelError(f"tensor {tensor.name!r} is of type {tensor.type}")
        if tensor.scale.size > 1:
            raise ModelError(f"tensor {tensor.name!r} has {tensor.scale.size} scales, not one")
        if tensor.scale.size:
            require_quantization(tensor)
        if not tensor.scale.size:
            return Tensor(tuple(shape), tensor.bits, tensor.signed)
        scale, zero = float(tensor.scale[0]), int(tensor.zero[0])
        return Tensor(tuple(shape), tensor.bits, tensor.signed, scale, zero)

    def quantized(self, index: int, *types: str) -> Tensor:
        """The kind of a tensor that must have a scale and be of one of the types."""
        tensor = self.kind(index, self.shape(index))
        own = self.means.get(index, self.file.tensors[index]).type
        if types and own not in types:
            raise ModelError(f"tensor {self.name(index)!r} is of type {own}; nearest supported "
                             f"form: {', '.join(types)}")  # fmt: skip
        if tensor.scale is None:
            raise ModelError(f"tensor {self.name(index)!r} has no scale")
        return tensor

    def constant(self, operator: Operator, place: int, default: Any = None) -> Array:
        """A constant input; raises `ModelError` where it is computed."""
        index = operator.inputs[place] if place < len(operator.inputs) else -1
        if index < 0 and default is not None:
            return np.asarray(default)
        if index not in self.constants:
            raise ModelError(f"its input {place} is computed; nearest supported form: a constant")
        return self.constants[index]

    def stand(self, index: int, planes: bool) -> str:
        """The name of a tensor in one of the two layouts."""
        return self.as_planes(index) if planes else self.as_file(index)

    def as_planes(self, index: int) -> str:
        """The name of a tensor as [C, H, W]."""
        if not self.is_plane(index):
            shape = list(self.file.tensors[index].shape)
            raise ModelError(f"tensor {self.name(index)!r} of shape {shape}; nearest supported "
                             "form: [N, H, W, C]")  # fmt: skip
        self._lay_out(index)
        if index not in self.planes:
            flat = self.flat[index]
            self.planes[index] = self._transposed(flat, TO_PLANES, f"{flat} (CHW)")
        return self.planes[index]

    def as_file(self, index: int) -> str:
        """The name of a tensor in the file's layout."""
        self._lay_out(index)
        if index not in self.flat:
            planes = self.planes[index]
            shape, own = self.tensors[planes].shape, self.name(index)
            name = f"{own} (HWC)" if own in self.tensors else own
            if shape[1:] == (1, 1) or shape[0] == 1:  # the order of values is the same
                self.flat[index] = self.reshaped(planes, (*shape[1:], shape[0]), name)
            else:
                self.flat[index] = self._transposed(planes, FROM_PLANES, name)
        return self.flat[index]

    def _lay_out(self, index: int) -> None:
        """Give a padded plane, or a constant, a tensor of its own where it has none yet."""
        if index in self.planes or index in self.flat:
            return
        if index in self.padded:
            source, (top, left, bottom, right) = self.padded[index]
            ends = ((0, 0), (top, bottom), (left, right), (0, 0))
            self.rearranged(
                "PAD", [source], [index], lambda x: [np.pad(x, ends, constant_values=-1)]
            )
        elif index in self.constants and self.tensors:
            self.rearranged("a constant", [index], [index], lambda x: [x])
        else:
            raise ModelError(f"tensor {self.name(index)!r} is not computed")

    def _transposed(self, name: str, axes: tuple[int, ...], output: str) -> str:
        tensor = self.tensors[name]
        layer = Transpose(name=output, inputs=(name,), output=output, axes=axes)
        shape = tuple(tensor.shape[axis] for axis in axes)
        return self.emit(layer, replace(tensor, shape=shape))

    def reshaped(self, name: str, shape: Sequence[int], output: str) -> str:
        """The same integers in another shape, as a tensor of its own."""
        layer = Reshape(name=output, inputs=(name,), output=output)
        return self.emit(layer, replace(self.tensors[name], shape=tuple(shape)))

    def emit(self, layer: Layer, tensor: Tensor) -> str:
        """Add a layer with its output tensor; gives the tensor's name."""
        taken = {one.name for one in self.layers}
        fresh, i = layer.name, 2
        while fresh in taken:
            fresh, i = f"{layer.name}#{i}", i + 1
        self.tensors[layer.output] = tensor
        self.layers.append(replace(layer, name=fresh))
        return layer.output

    def rearranged(
        self, what: str, inputs: Sequence[int], outputs: Sequence[int],
        move: Callable[..., Sequence[Array]], instead: Mapping[int, str] = NOTHING,
    ) -> None:  # fmt: skip
        """Outputs whose words are those of the inputs at other places.

        `move` takes an array for each input, in the file's own layout, and gives one for each
        output; where it puts -1 stands the output's zero point.  `instead` names tensors (in
        the file's layout) that take the place of some inputs.
        """
        computed = [i for i in inputs if i not in self.constants]
        names = [instead.get(i) or self._as_it_stands(i) for i in computed]
        places, pool = self._places(inputs, names)
        names = names or [self._any_tensor()]
        for index, found in zip(outputs, move(*places), strict=True):
            shape = self.file.tensors[index].shape
            if found.shape != shape:
                raise ModelError(f"an output of shape {list(shape)} where {list(found.shape)} "
                                 "comes out")  # fmt: skip
            found = self._of_one(found)
            planes = self.is_plane(index) and bool(self.in_planes(*computed[:1]))
            if planes:
                found = found.transpose(TO_PLANES)
            tensor, name = self.kind(index, found.shape), self.made(index, planes)
            self._place(what, self.layer_name(index), name, tensor, tuple(names), found, pool)
            self.stands(index, name, planes)

    def laid_along(self, index: int, other: int, place: int, planes: bool) -> str:
        """A tensor (or constant) repeated to the shape of another one, in one of the layouts."""
        shape = self.file.tensors[other].shape
        name = f"{self.name(index)} (operand {place} of {self.layer_name(other)})"
        return self.laid(
            index, name, "broadcast", lambda x: np.broadcast_to(x, shape), planes=planes
        )

    def laid(
        self, index: int, name: str, what: str, move: Callable[[Array], Array], *,
        planes: bool = False,
    ) -> str:  # fmt: skip
        """A tensor's (or constant's) words at the places that `move` gives, as a new tensor."""
        names = [] if index in self.constants else [self._as_it_stands(index)]
        places, pool = self._places([index], names)
        found = self._of_one(move(places[0]))
        found = found.transpose(TO_PLANES) if planes else found
        names = names or [self._any_tensor()]
        tensor = self.kind(index, found.shape)
        self._place(what, name, name, tensor, tuple(names), found, pool)
        return name

    def _any_tensor(self) -> str:
        """What a constant is laid out beside, for the batch alone."""
        if not self.tensors:
            raise ModelError("constants alone; nearest supported form: an operator of a computed "
                             "tensor")  # fmt: skip
        return next(iter(self.tensors))

    def spread(self, source: str, index: Array, name: str, what: str) -> str:
        """A tensor's words at other places of a larger one, zero points between them."""
        tensor = replace(self.tensors[source], shape=index.shape)
        self._place(what, name, name, tensor, (source,), index, np.zeros(0, np.int64))
        return name

    def _place(
        self, what: str, called: str, name: str, tensor: Tensor, names: tuple[str, ...],
        found: Array, pool: Array,
    ) -> None:  # fmt: skip
        known = np.concatenate([[0, 0], pool - tensor.zero_point])  # -1: the zero point itself
        fill = np.where(found < -1, known[np.maximum(-found, 0)], 0)
        fill = fill if (found < -1).any() else np.zeros(1, np.int64)
        layer: Layer = Rearrange(
            name=called, inputs=names, output=name, what=what,
            index=np.ascontiguousarray(np.maximum(found, -1), np.int32), fill=fill,
        )  # fmt: skip
        if len(names) == 1 and np.array_equal(
            found.ravel(), np.arange(prod(self.tensors[names[0]].shape))
        ):
            layer = Reshape(name=layer.name, inputs=names, output=name)
        self.emit(layer, tensor)

    def _as_it_stands(self, index: int) -> str:
        self._lay_out(index)
        return self.planes[index] if index in self.planes else self.flat[index]

    def _places(
        self, inputs: Sequence[int], names: Sequence[str]
    ) -> tuple[list[Array], Array]:  # fmt: skip
        """For each input where its words stand (constants from -2 downwards), and the constants."""
        places: list[Array] = []
        start, pool, given = 0, [np.zeros(0, np.int64)], iter(names)
        below = 2
        for index in inputs:
            shape = self.file.tensors[index].shape
            if index in self.constants:
                values = self.constants[index].ravel().astype(np.int64)
                pool.append(values)
                places.append(-np.arange(below, below + values.size).reshape(shape))
                below += values.size
                continue
            name = next(given)
            words: Array = np.arange(prod(self.tensors[name].shape)) + start
            start += words.size
            if name == self.planes.get(index):
                words = words.reshape(self.tensors[name].shape).transpose(FROM_PLANES)
            words = words.reshape(self.shape(index))
            places.append(self._of_all(words, shape))
        return places, np.concatenate(pool)

    def _of_all(self, words: Array, shape: tuple[int, ...]) -> Array:
        """Places of one image as those of the whole batch that the file was made for."""
        if not self.batched(shape):
            return words
        far = np.arange(self.batch).reshape(-1, *[1] * words.ndim) << 40
        return np.asarray(words[None] + far)

    def _of_one(self, found: Array) -> Array:
        """What is alike for all images of the batch, of one; raises `ModelError` else."""
        if not self.batched(found.shape):
            if (found >> 40 > 0).any():
                raise ModelError("images of a batch are brought together; nearest supported form: "
                                 "a file for one image")  # fmt: skip
            return found
        image = np.where(found < 0, 0, found >> 40)
        own = np.arange(self.batch).reshape(-1, *[1] * (found.ndim - 1))
        first = np.where(found < 0, found, found & ((1 << 40) - 1))
        if ((image != own) & (found >= 0)).any() or (first != first[0]).any():
            raise ModelError("images of a batch change places; nearest supported form: a file "
                             "for one image")  # fmt: skip
        return np.asarray(first[0])

    def stands(self, index: int, name: str, planes: bool) -> None:
        """Note where a tensor of the file stands."""
        (self.planes if planes else self.flat)[index] = name


def _outward(file: TfliteGraph) -> set[int]:
    """The file's outputs, and the integers before them where those are left to the host."""
    found = set(file.outputs)
    for one in reversed(file.operators):
        if one.op in ("DEQUANTIZE", "SOFTMAX", "LOG_SOFTMAX") and found.intersection(one.outputs):
            found.add(one.inputs[0])
    return found


def require_quantization(tensor: TfliteTensor) -> None:
    """Scales must be positive, zero points integers of the tensor's own type."""
    lo, hi = (-(1 << (tensor.bits - 1)), (1 << (tensor.bits - 1)) - 1) if tensor.signed else (
        0, (1 << tensor.bits) - 1
    )  # fmt: skip
    place = f"tensor {tensor.name!r} ({tensor.type})"
    if tensor.zero.size != tensor.scale.size:
        raise ModelError(f"{place} has {tensor.scale.size} scales and {tensor.zero.size} zero "
                         "points")  # fmt: skip
    if not (np.isfinite(tensor.scale).all() and (tensor.scale > 0).all()):
        raise ModelError(
            f"{place} has a scale of {tensor.scale.min()}; a positive number is needed"
        )
    if tensor.zero.min() < lo or tensor.zero.max() > hi:
        worst = tensor.zero.max() if tensor.zero.max() > hi else tensor.zero.min()
        raise ModelError(f"{place} has zero point {worst}, outside its {lo}..{hi}")
