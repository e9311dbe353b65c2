"""A TFLite file as plain records: tensors with their quantization, operators with options.

The rule: the only module that calls the `tflite` package (the schema), an optional extra.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from apsim.errors import MissingExtra, ModelError
from apsim.nn.importers.graph import Array
from apsim.nn.model import Floats

__all__ = ["Operator", "TfliteGraph", "TfliteTensor", "read"]

# element types of the schema: (numpy type, bits)
TYPES = {0: ("f4", 32), 2: ("i4", 32), 3: ("u1", 8), 4: ("i8", 64), 7: ("i2", 16), 9: ("i1", 8),
         17: ("i1", 4)}  # fmt: skip
# operators whose options matter, with the fields that are read
OPTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "CONV_2D": ("Conv2DOptions", ("Padding", "StrideW", "StrideH", "DilationWFactor",
                                  "DilationHFactor", "FusedActivationFunction")),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions",
                          ("Padding", "StrideW", "StrideH", "DilationWFactor",
                           "DilationHFactor", "FusedActivationFunction")),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat")),
    "AVERAGE_POOL_2D": ("Pool2DOptions", ("Padding", "StrideW", "StrideH", "FilterWidth",
                                          "FilterHeight", "FusedActivationFunction")),
    "MAX_POOL_2D": ("Pool2DOptions", ("Padding", "StrideW", "StrideH", "FilterWidth",
                                      "FilterHeight", "FusedActivationFunction")),
    "ADD": ("AddOptions", ("FusedActivationFunction", "PotScaleInt16")),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class TfliteTensor:
    """A tensor; `data` is None where it is computed, `scale` empty where it is real."""

    name: str
    shape: tuple[int, ...]
    kind: str
    bits: int
    scale: Floats
    zero: Array
    axis: int
    data: Array | None


@dataclass(frozen=True)
class Operator:
    """One operator, its inputs and outputs by index (-1 where an input is left out)."""

    index: int
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int] = field(default_factory=dict, hash=False)

    def refuse(self, why: str, nearest: str = "") -> ModelError:
        """The error that says what cannot be imported, where, and what comes nearest."""
        hint = f"; nearest supported form: {nearest}" if nearest else ""
        return ModelError(f"operator {self.index} {self.op}: {why}{hint}")


@dataclass(frozen=True, eq=False)
class TfliteGraph:
    """The main subgraph of a file."""

    name: str
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read(path: str | os.PathLike[str]) -> TfliteGraph:
    """Read a TFLite file; raises `ModelError` where it is missing, truncated or something else."""
    where = Path(path)
    try:
        import tflite
    except ImportError:
        raise MissingExtra("tflite", "tflite") from None
    try:
        data = where.read_bytes()
    except OSError as error:
        raise ModelError(f"{where}: cannot be read: {error.strerror or error}") from None
    if data[4:8] != b"TFL3":
        raise ModelError(f"{where}: truncated or not a TFLite file")
    try:
        return _graph(tflite, tflite.Model.GetRootAsModel(data, 0), where.stem)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{where}: truncated or damaged: {error}") from None


def _graph(tflite: Any, model: Any, name: str) -> TfliteGraph:
    if model.SubgraphsLength() != 1:
        raise ModelError(f"{name}: expected one subgraph, got {model.SubgraphsLength()}")
    graph = model.Subgraphs(0)
    names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if not k.startswith("_")}
    return TfliteGraph(
        name,
        tuple(_tensor(model, graph.Tensors(i)) for i in range(graph.TensorsLength())),
        tuple(
            _operator(tflite, model, graph.Operators(i), i, names)
            for i in range(graph.OperatorsLength())
        ),
        tuple(int(i) for i in graph.InputsAsNumpy()),
        tuple(int(i) for i in graph.OutputsAsNumpy()),
    )


def _tensor(model: Any, proto: Any) -> TfliteTensor:
    name = proto.Name().decode()
    if proto.Type() not in TYPES:
        raise ModelError(f"tensor {name!r} has element type {proto.Type()}, which is not supported")
    kind, bits = TYPES[proto.Type()]
    shape = tuple(int(n) for n in proto.ShapeAsNumpy()) if proto.ShapeLength() else ()
    quantization = proto.Quantization()
    scale, zero, axis = np.zeros(0), np.zeros(0, np.int64), 0
    if quantization is not None and quantization.ScaleLength():
        scale = quantization.ScaleAsNumpy().astype(np.float64)
        zero = quantization.ZeroPointAsNumpy().astype(np.int64)
        axis = int(quantization.QuantizedDimension())
    buffer = model.Buffers(proto.Buffer())
    raw = buffer.DataAsNumpy() if buffer.DataLength() else None
    data = None if raw is None else _values(raw, kind, bits, shape)
    return TfliteTensor(name, shape, kind, bits, scale, zero, axis, data)


def _values(raw: Array, kind: str, bits: int, shape: tuple[int, ...]) -> Array:
    """The numbers of a buffer; two 4-bit values share a byte, the low one first."""
    if bits == 4:
        both = np.stack([raw & 15, raw >> 4], axis=-1).reshape(-1)[: int(np.prod(shape))]
        return np.where(both > 7, both.astype(np.int8) - 16, both).astype(np.int8).reshape(shape)
    return raw.view(np.dtype(kind).newbyteorder("<")).reshape(shape)


def _operator(
    tflite: Any, model: Any, proto: Any, index: int, names: Mapping[int, str]
) -> Operator:
    code = model.OperatorCodes(proto.OpcodeIndex())
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    op = names.get(number, f"operator code {number}")
    options: dict[str, int] = {}
    if op in OPTIONS and proto.BuiltinOptions() is not None:
        kind, fields = OPTIONS[op]
        table = getattr(tflite, kind)()
        table.Init(proto.BuiltinOptions().Bytes, proto.BuiltinOptions().Pos)
        options = {one: int(getattr(table, one)()) for one in fields}
    return Operator(
        index, op, tuple(int(i) for i in proto.InputsAsNumpy()),
        tuple(int(i) for i in proto.OutputsAsNumpy()), options,
    )  # fmt: skip
