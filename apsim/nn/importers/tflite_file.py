"""A TFLite file as plain records: tensors with their quantization, operators with options.

The rule: the only module that calls the `tflite` package (the schema), an optional extra.
Every table and vector is held against the file's bounds before it is read; what a tensor
or an operator means is no matter of this module, so that nothing is refused for a kind of
number that nobody uses.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from apsim.errors import MissingExtra, ModelError
from apsim.nn.importers.graph import Array
from apsim.nn.model import Floats

__all__ = ["Operator", "TfliteGraph", "TfliteTensor", "read"]

MOST_VALUES = 1 << 28  # of a tensor
# element types of the schema: (name, numpy type, bits); None where no number of ours is meant
TYPES = {
    0: ("float32", "f4", 32), 1: ("float16", "f2", 16), 2: ("int32", "i4", 32),
    3: ("uint8", "u1", 8), 4: ("int64", "i8", 64), 5: ("string", None, 0), 6: ("bool", "u1", 8),
    7: ("int16", "i2", 16), 8: ("complex64", None, 0), 9: ("int8", "i1", 8),
    10: ("float64", "f8", 64), 11: ("complex128", None, 0), 12: ("uint64", "u8", 64),
    13: ("resource", None, 0), 14: ("variant", None, 0), 15: ("uint32", "u4", 32),
    16: ("uint16", "u2", 16), 17: ("int4", "i1", 4),
}  # fmt: skip
_WINDOW = ("Padding", "StrideW", "StrideH")
_POOL = (*_WINDOW, "FilterWidth", "FilterHeight", "FusedActivationFunction")
_DILATED = (*_WINDOW, "DilationWFactor", "DilationHFactor", "FusedActivationFunction")
_FUSED = ("FusedActivationFunction",)
_RESIZE = ("AlignCorners", "HalfPixelCenters")
# operators with options, and the fields that are read
OPTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "CONV_2D": ("Conv2DOptions", (*_DILATED, "QuantizedBiasType")),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (*_DILATED, "DepthMultiplier")),
    "TRANSPOSE_CONV": ("TransposeConvOptions",
                       (*_WINDOW, "FusedActivationFunction", "QuantizedBiasType")),
    "FULLY_CONNECTED": ("FullyConnectedOptions",
                        (*_FUSED, "WeightsFormat", "KeepNumDims", "QuantizedBiasType")),
    "BATCH_MATMUL": ("BatchMatMulOptions", ("AdjX", "AdjY")),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL),
    "MAX_POOL_2D": ("Pool2DOptions", _POOL),
    "ADD": ("AddOptions", (*_FUSED, "PotScaleInt16")),
    "SUB": ("SubOptions", (*_FUSED, "PotScaleInt16")),
    "MUL": ("MulOptions", _FUSED),
    "DIV": ("DivOptions", _FUSED),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", *_FUSED)),
    "STRIDED_SLICE": ("StridedSliceOptions", ("BeginMask", "EndMask", "EllipsisMask",
                                              "NewAxisMask", "ShrinkAxisMask", "Offset")),
    "PACK": ("PackOptions", ("Axis",)),
    "UNPACK": ("UnpackOptions", ("Axis", "Num")),
    "GATHER": ("GatherOptions", ("Axis", "BatchDims")),
    "SQUEEZE": ("SqueezeOptions", ()),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
    "SUM": ("ReducerOptions", ("KeepDims",)),
    "REDUCE_MAX": ("ReducerOptions", ("KeepDims",)),
    "REDUCE_MIN": ("ReducerOptions", ("KeepDims",)),
    "REDUCE_PROD": ("ReducerOptions", ("KeepDims",)),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", _RESIZE),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", _RESIZE),
    "LEAKY_RELU": ("LeakyReluOptions", ("Alpha",)),
    "GELU": ("GeluOptions", ("Approximate",)),
    "SOFTMAX": ("SoftmaxOptions", ("Beta",)),
    "MIRROR_PAD": ("MirrorPadOptions", ("Mode",)),
    "DEPTH_TO_SPACE": ("DepthToSpaceOptions", ("BlockSize",)),
    "SPACE_TO_DEPTH": ("SpaceToDepthOptions", ("BlockSize",)),
    "CALL_ONCE": ("CallOnceOptions", ("InitSubgraphIndex",)),
    "VAR_HANDLE": ("VarHandleOptions", ("Container", "SharedName")),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": ("UnidirectionalSequenceLSTMOptions",
                                     (*_FUSED, "CellClip", "ProjClip", "TimeMajor",
                                      "AsymmetricQuantizeInputs", "DiagonalRecurrentTensors")),
    "SVDF": ("SVDFOptions", ("Rank", *_FUSED, "AsymmetricQuantizeInputs")),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class TfliteTensor:
    """A tensor; `data` is None where it is computed, `scale` empty where it has no scale.

    `type` is the schema's name of its element type, `wanting` says why its constants are
    not to be had where the file has a buffer for them.  `name` is the file's where that
    names one tensor, else `t<index>`.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    bits: int
    scale: Floats
    zero: Array
    axis: int
    data: Array | None
    wanting: str = ""
    variable: bool = False

    @property
    def real(self) -> bool:
        """Whether it is in floating point."""
        return self.type.startswith("float")

    @property
    def signed(self) -> bool:
        """Whether its integers have a sign."""
        return self.type.startswith("int")


@dataclass(frozen=True)
class Operator:
    """One operator, its inputs and outputs by index (-1 where an input is left out)."""

    index: int
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    version: int = 1
    intermediates: tuple[int, ...] = ()

    def refuse(self, why: str, nearest: str = "") -> ModelError:
        """The error that says what cannot be imported, and what comes nearest."""
        return ModelError(f"{why}; nearest supported form: {nearest}" if nearest else why)

    def option(self, name: str) -> int:
        """An option, 0 where the file leaves it out."""
        return int(self.options.get(name, 0))


@dataclass(frozen=True, eq=False)
class TfliteGraph:
    """A subgraph of a file; `others` are those that follow the main one."""

    name: str
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    others: tuple[TfliteGraph, ...] = ()


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
        model = _sound(tflite.Model.GetRootAsModel(data, 0))
        graphs = [_graph(tflite, model, i, where.stem) for i in range(model.SubgraphsLength())]
    except (struct.error, LookupError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{where}: truncated or damaged: {reason}") from None
    if not graphs:
        raise ModelError(f"{where}: holds no subgraph")
    main = graphs[0]
    return TfliteGraph(
        main.name, main.tensors, main.operators, main.inputs, main.outputs, tuple(graphs[1:])
    )


def _sound(table: Any) -> Any:
    """A table of the file, once it, its fields' places and those of its vectors are inside it."""
    tab = table._tab
    size = len(tab.Bytes)

    def word(place: int, kind: str) -> int:
        width = struct.calcsize(kind)
        if not 0 <= place <= size - width:
            raise ValueError(f"offset {place} lies outside its {size} bytes")
        return int(struct.unpack_from(kind, tab.Bytes, place)[0])

    start = tab.Pos - word(tab.Pos, "<i")
    reach, own = word(start, "<H"), word(start + 2, "<H")
    if reach < 4 or reach % 2 or start + reach > size or tab.Pos + own > size:
        raise ValueError(f"the table at offset {tab.Pos} reaches beyond its {size} bytes")
    if any(word(start + at, "<H") >= max(own, 1) for at in range(4, reach, 2)):
        raise ValueError(f"a field of the table at offset {tab.Pos} lies outside it")
    return table


def _vector(table: Any, name: str) -> list[int]:
    """A vector of whole numbers, empty where the file leaves it out."""
    if not getattr(table, f"{name}Length")():
        return []
    return [int(n) for n in getattr(table, f"{name}AsNumpy")()]


def _graph(tflite: Any, model: Any, number: int, name: str) -> TfliteGraph:
    graph = _sound(model.Subgraphs(number))
    protos = [_sound(graph.Tensors(i)) for i in range(graph.TensorsLength())]
    names = [_text(proto.Name()) for proto in protos]
    often = Counter(names)
    called = [
        name if name and often[name] == 1 else _free(f"t{i}", often) for i, name in enumerate(names)
    ]
    known = {v: k for k, v in vars(tflite.BuiltinOperator).items() if not k.startswith("_")}
    read = TfliteGraph(
        name,
        tuple(_tensor(model, proto, name) for proto, name in zip(protos, called, strict=True)),
        tuple(
            _operator(tflite, model, _sound(graph.Operators(i)), i, known)
            for i in range(graph.OperatorsLength())
        ),
        tuple(_vector(graph, "Inputs")),
        tuple(_vector(graph, "Outputs")),
    )
    _references(read)
    return read


def _free(name: str, taken: Mapping[str, int]) -> str:
    while name in taken:
        name += "'"
    return name


def _text(raw: bytes | None) -> str:
    """A name as text; bytes that are no UTF-8 and what a terminal would obey are written out."""
    text = (raw or b"").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _references(graph: TfliteGraph) -> None:
    """Every tensor that is named must be there, and be made once."""
    made: set[int] = set()
    for one in graph.operators:
        named = (*one.inputs, *one.outputs, *one.intermediates)
        if any(not -1 <= index < len(graph.tensors) for index in named):
            raise ValueError(f"operator {one.index} {one.op} names a tensor that is not there")
        if made.intersection(one.outputs) or len(set(one.outputs)) < len(one.outputs):
            raise ValueError(f"operator {one.index} {one.op} makes a tensor a second time")
        if -1 in one.outputs:
            raise ValueError(f"operator {one.index} {one.op} leaves an output out")
        made.update(one.outputs)
    if any(not 0 <= index < len(graph.tensors) for index in (*graph.inputs, *graph.outputs)):
        raise ValueError("an input or output is a tensor that is not there")


def _tensor(model: Any, proto: Any, name: str) -> TfliteTensor:
    if proto.Type() not in TYPES:
        raise ValueError(f"tensor {name!r} has element type {proto.Type()}, which no schema knows")
    kind, code, bits = TYPES[proto.Type()]
    shape = tuple(_vector(proto, "Shape"))
    if any(size < 0 for size in shape) or prod(shape) > MOST_VALUES:
        raise ValueError(f"tensor {name!r} has shape {list(shape)}")
    scale, zero, axis = np.zeros(0), np.zeros(0, np.int64), 0
    quantization = proto.Quantization()
    if quantization is not None and _sound(quantization).ScaleLength():
        scale = quantization.ScaleAsNumpy().astype(np.float64)
        zero = np.array(_vector(quantization, "ZeroPoint") or [0] * scale.size, np.int64)
        axis = int(quantization.QuantizedDimension())
    data, wanting = _data(model, proto, kind, code, bits, shape)
    return TfliteTensor(
        name, shape, kind, bits, scale, zero, axis, data, wanting, bool(proto.IsVariable())
    )


def _data(
    model: Any, proto: Any, kind: str, code: str | None, bits: int, shape: tuple[int, ...]
) -> tuple[Array | None, str]:
    """A tensor's constants, or why a buffer that should hold them does not."""
    number = proto.Buffer()
    if number >= model.BuffersLength():
        raise ValueError(f"buffer {number} of {model.BuffersLength()} is not there")
    buffer = _sound(model.Buffers(number))
    if not buffer.DataLength():
        return None, ""
    if code is None:
        return None, f"constants of type {kind}"
    raw = buffer.DataAsNumpy()
    wanted = -(-prod(shape) * bits // 8)
    if len(raw) != wanted:
        return None, f"{len(raw)} bytes of constants where {list(shape)} {kind} needs {wanted}"
    if bits == 4:  # two share a byte, the low one first
        both = np.stack([raw & 15, raw >> 4], axis=-1).reshape(-1)[: prod(shape)]
        return np.where(both > 7, both.astype(np.int8) - 16, both).astype(np.int8).reshape(
            shape
        ), ""
    return raw.view(np.dtype(code).newbyteorder("<")).reshape(shape), ""


def _operator(
    tflite: Any, model: Any, proto: Any, index: int, names: Mapping[int, str]
) -> Operator:
    if proto.OpcodeIndex() >= model.OperatorCodesLength():
        raise ValueError(f"operator {index} has code {proto.OpcodeIndex()}, which is not there")
    code = _sound(model.OperatorCodes(proto.OpcodeIndex()))
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    op = names.get(number, f"operator code {number}")
    if op == "CUSTOM":
        op = f"CUSTOM {_text(code.CustomCode())}"
    return Operator(
        index, op, tuple(_vector(proto, "Inputs")), tuple(_vector(proto, "Outputs")),
        _options(tflite, proto, op), int(code.Version()), tuple(_vector(proto, "Intermediates")),
    )  # fmt: skip


def _options(tflite: Any, proto: Any, op: str) -> dict[str, Any]:
    if op not in OPTIONS or proto.BuiltinOptions() is None:
        return {}
    kind, fields = OPTIONS[op]
    table = getattr(tflite, kind)()
    table.Init(proto.BuiltinOptions().Bytes, proto.BuiltinOptions().Pos)
    _sound(table)
    values = {one: getattr(table, one)() for one in fields}
    return {k: _text(v) if v is None or isinstance(v, bytes) else v for k, v in values.items()}
