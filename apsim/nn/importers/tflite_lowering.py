"""The integer network of a TFLite file under construction, its planes turned to [C, H, W].

The rule: where a tensor stands (and in which layout) is known here; `tflite` says what
each operator means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from apsim.errors import ModelError
from apsim.nn.importers.builder import PLACEHOLDER, Builder
from apsim.nn.importers.graph import Fate, Graph
from apsim.nn.importers.onnx import Imported
from apsim.nn.importers.tflite_file import Operator, TfliteGraph, TfliteTensor
from apsim.nn.model import (
    Add,
    AvgPool,
    Layer,
    Model,
    Origin,
    Requantize,
    Reshape,
    Tensor,
    Transpose,
    Weighted,
)
from apsim.nn.model.check import verify
from apsim.nn.rules import factors

__all__ = ["Handler", "Lowering"]

TO_HOST = ("SOFTMAX", "LOG_SOFTMAX", "ARG_MAX")
TO_PLANES, FROM_PLANES = (2, 0, 1), (1, 2, 0)
Handler = Callable[["Lowering", Operator], None]


class Lowering:
    """One import: the file's tensors by index, and where each stands in the new network."""

    def __init__(self, file: TfliteGraph, rule: str) -> None:
        self.file = file
        self.build = Builder(Graph(file.name, (), {}, (), ()), rule)
        self.planes: dict[int, str] = {}  # tensors as [C, H, W]
        self.flat: dict[int, str] = {}  # tensors in the file's own layout
        self.padded: dict[int, tuple[int, tuple[int, int, int, int]]] = {}
        self.became: dict[int, str] = {}

    def run(self, handlers: Mapping[str, Handler]) -> Imported:
        """Lower every operator in order."""
        for index in self.file.inputs:
            tensor = self.file.tensors[index]
            self.build.add_input(tensor.name, self.kind(tensor, tensor.shape[1:]))
            self.flat[index] = tensor.name
        for operator in self.file.operators:
            handler = handlers.get(operator.op)
            if handler is None:
                raise operator.refuse("this operator has no integer form here",
                                      ", ".join(sorted(handlers)))  # fmt: skip
            handler(self, operator)
        outputs = [self.as_file(index) for index in self.file.outputs]
        model = self.build.model(self.file.name, outputs)
        fates = tuple(self._fate(one) for one in self.file.operators)
        return Imported(verify(model), fates, self._origins())

    def _origins(self) -> tuple[Origin, ...]:
        """Where the file holds the network's integers; what the host was left is none of it."""
        hosts = {one.outputs[0] for one in self.file.operators if one.op in TO_HOST}
        names = [tensor.name for tensor in self.file.tensors]
        found = [Origin(made, names[i], i, TO_PLANES) for i, made in self.planes.items()]
        found += [Origin(made, names[i], i) for i, made in self.flat.items()]
        return tuple(one for one in found if one.index not in hosts)

    def _fate(self, operator: Operator) -> Fate:
        place = f"operator {operator.index} {operator.op}"
        name = self.file.tensors[operator.outputs[0]].name
        return Fate(place, self.became.get(operator.index, f"layer {name.split(';')[-1]!r}"))

    def kind(self, tensor: TfliteTensor, shape: Sequence[int]) -> Tensor:
        """A tensor of the network in the place of one of the file."""
        if tensor.kind.startswith("f"):
            raise ModelError(
                f"tensor {tensor.name!r} is in floating point; convert the model with full "
                "integer quantization (inference_input_type=tf.int8)"
            )
        if tensor.scale.size != 1:
            raise ModelError(f"tensor {tensor.name!r} has {tensor.scale.size} scales, not one")
        signed = tensor.kind.startswith("i")
        return Tensor(
            tuple(shape), tensor.bits, signed, float(tensor.scale[0]), int(tensor.zero[0])
        )

    def as_planes(self, index: int) -> str:
        """The name of a tensor as [C, H, W]."""
        if index not in self.planes:
            self.planes[index] = self._transposed(self.flat[index], TO_PLANES, "CHW")
        return self.planes[index]

    def as_file(self, index: int) -> str:
        """The name of a tensor in the file's layout."""
        if index not in self.flat:
            shape = self.build.tensors[self.planes[index]].shape
            if shape[1:] == (1, 1) or shape[0] == 1:  # the order of values is the same
                self.flat[index] = self._reshaped(self.planes[index], (*shape[1:], shape[0]), "HWC")
            else:
                self.flat[index] = self._transposed(self.planes[index], FROM_PLANES, "HWC")
        return self.flat[index]

    def _transposed(self, name: str, axes: tuple[int, ...], layout: str) -> str:
        tensor = self.build.tensors[name]
        output = f"{name} ({layout})"
        layer = Transpose(name=output, inputs=(name,), output=output, axes=axes)
        shape = tuple(tensor.shape[axis] for axis in axes)
        return self.build.emit(layer, replace(tensor, shape=shape))

    def _reshaped(self, name: str, shape: tuple[int, ...], layout: str) -> str:
        output = f"{name} ({layout})"
        layer = Reshape(name=output, inputs=(name,), output=output)
        return self.build.emit(layer, replace(self.build.tensors[name], shape=shape))

    def finish(self, operator: Operator, layer: Layer, planes: bool) -> None:
        """Requantize a layer to the operator's output and add it."""
        index = operator.outputs[0]
        file = self.file.tensors[index]
        shape = file.shape[1:]
        if planes:
            shape = (shape[2], shape[0], shape[1])
        tensor = self.kind(file, shape)
        layer = replace(layer, name=file.name.split(";")[-1], output=file.name)
        clip, relu = _activation(operator, tensor)
        if isinstance(layer, Weighted | Add | Requantize):
            layer = replace(layer, relu=relu)
        elif relu:
            clip = replace(clip, lo=max(clip.lo, tensor.zero_point))
        self.build.tensors[file.name] = tensor
        if isinstance(layer, Weighted | Add | AvgPool | Requantize):
            layer = replace(layer, requant=PLACEHOLDER)
            model = Model("import", self.build.rule, (), (), self.build.tensors, (layer,))
            layer = factors.refill(model, layer, self.build.rule, clip)
        self.build.emit(layer, tensor)
        (self.planes if planes else self.flat)[index] = file.name


def _activation(operator: Operator, y: Tensor) -> tuple[factors.Clip, bool]:
    """The output's bounds and whether a ReLU is fused; TFLite rounds bounds half away."""
    fused = operator.options.get("FusedActivationFunction", 0)
    assert isinstance(y.scale, float)
    if fused == 3:  # RELU6
        return factors.Clip(y.lo, min(y.hi, y.zero_point + _away(6.0 / y.scale))), True
    if fused == 2:  # RELU_N1_TO_1
        one = _away(1.0 / y.scale)
        return factors.Clip(max(y.lo, y.zero_point - one), min(y.hi, y.zero_point + one)), False
    if fused not in (0, 1):
        raise operator.refuse(f"fused activation {fused}", "RELU, RELU6 or RELU_N1_TO_1")
    return factors.Clip(y.lo, y.hi), fused == 1


def _away(value: float) -> int:
    return int(np.floor(value + 0.5))
