"""Other implementations as judges: onnxruntime and ONNX's own reference evaluator.

The rule: integers are compared, all of them, with `==`.  Each layer is judged twice: on
the oracle's own inputs (teacher-forced, so that one difference does not hide the next),
and end to end.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.errors import InputError, MissingExtra
from apsim.nn import exact
from apsim.nn.model import Integers, Layer, Model
from apsim.nn.rules import real

__all__ = ["ORACLES", "Agreement", "answers", "compare", "oracle_tensors"]

ORACLES = ("onnxruntime", "onnxruntime-plain", "reference")
QDQ_OPSET = 19  # from here on the reference evaluator knows QuantizeLinear
Feeds = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Agreement:
    """How many integers of a layer's output differ from the oracle's, of `total`.

    `forced` counts them with the oracle's inputs, `whole` in the run from end to end;
    `first` is the index of the first teacher-forced difference, with both values.
    """

    layer: str
    tensor: str
    total: int
    forced: int
    whole: int
    first: str = ""

    @property
    def equal(self) -> bool:
        """Whether nothing differs, neither way."""
        return self.forced == self.whole == 0


def answers(
    path: str | os.PathLike[str], model: Model, x: Mapping[str, Integers], oracle: str
) -> dict[str, Integers]:
    """What another implementation of an ONNX file makes of the integer inputs `x`.

    Raises `InputError` where it cannot run the file, or none of its tensors is ours.
    """
    if Path(path).suffix != ".onnx":
        raise InputError(f"--against {oracle} judges ONNX files, {path} is none")
    feeds = dict(_feed(model, name, values) for name, values in x.items())
    theirs = {**x, **oracle_tensors(path, model, feeds, oracle)}  # the file's own inputs too
    if not any(_judged(layer, theirs) for layer in model.layers):
        raise InputError(f"--against {oracle}: {path} names no tensor of a whole layer")
    return theirs


def _feed(model: Model, name: str, integers: Integers) -> tuple[str, npt.NDArray[Any]]:
    """An input as the file wants it: real values where it quantizes them itself."""
    tensor, entry = model.tensors[name], model.entries.get(name)
    if entry is None or entry.rounding == "none":
        return name, integers.astype(f"{'i' if tensor.signed else 'u'}{max(1, tensor.bits // 8)}")
    values = (real.dequantize(tensor, integers) - entry.shift) / entry.factor
    if not np.array_equal(real.quantize(model, values, name), integers):
        raise InputError(f"input {entry.name!r}: no real values give these integers, so no oracle")
    return entry.name, values.astype(np.float32)


def oracle_tensors(
    path: str | os.PathLike[str], model: Model, feeds: Feeds, oracle: str = "onnxruntime"
) -> dict[str, Integers]:
    """Run an ONNX file elsewhere and give the integer tensors that `model` names as well.

    `feeds` has the file's own inputs by name.  "onnxruntime" optimises all it can,
    "onnxruntime-plain" nothing; "reference" is onnx.reference.ReferenceEvaluator.  Raises
    `InputError` with the oracle's own reason where it cannot run the file.
    """
    if oracle not in ORACLES:
        raise InputError(f"unknown oracle {oracle!r}; known: {', '.join(ORACLES)}")
    proto, names = _with_outputs(path, model)
    try:
        values = _reference(proto, feeds) if oracle == "reference" else _ort(proto, feeds, oracle)
    except MissingExtra:
        raise
    except Exception as error:  # each has many kinds of its own, most without a common base
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{oracle} cannot run {path}: {reason}") from error
    return {name: _integers(value) for name, value in zip(names, values, strict=True)}


def _integers(value: Any) -> Integers:
    return np.asarray(value).astype(np.int64)


def _with_outputs(path: str | os.PathLike[str], model: Model) -> tuple[Any, list[str]]:
    """The model with every shared integer tensor among its outputs."""
    try:
        import onnx
    except ImportError:
        raise MissingExtra("onnx", "onnx") from None
    proto = onnx.load(os.fspath(path))
    made = [name for node in proto.graph.node for name in node.output if name in model.tensors]
    del proto.graph.output[:]
    for name in made:
        proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return proto, made


def _reference(proto: Any, feeds: Feeds) -> list[Any]:
    from onnx.reference import ReferenceEvaluator

    opset = max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=21)
    if opset < QDQ_OPSET:
        from onnx.version_converter import convert_version

        proto = convert_version(proto, 21)
    return list(ReferenceEvaluator(proto).run(None, dict(feeds)))


def _ort(proto: Any, feeds: Feeds, oracle: str) -> list[Any]:
    try:
        import onnxruntime as ort
    except ImportError:
        raise MissingExtra("onnxruntime", "oracle") from None
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    level = ort.GraphOptimizationLevel
    plain = oracle == "onnxruntime-plain"
    options.graph_optimization_level = level.ORT_DISABLE_ALL if plain else level.ORT_ENABLE_ALL
    providers = ["CPUExecutionProvider"]
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=providers)
    return list(session.run(None, dict(feeds)))


def compare(
    model: Model, ours: Mapping[str, Integers], theirs: Mapping[str, Integers]
) -> tuple[Agreement, ...]:
    """Judge every layer whose inputs and output the oracle gave too."""
    return tuple(
        _judge(model, layer, ours, theirs) for layer in model.layers if _judged(layer, theirs)
    )


def _judged(layer: Layer, theirs: Mapping[str, Integers]) -> bool:
    return all(name in theirs for name in (*layer.inputs, layer.output))


def _judge(
    model: Model, layer: Any, ours: Mapping[str, Integers], theirs: Mapping[str, Integers]
) -> Agreement:
    expected = theirs[layer.output]
    forced = exact.layer_output(model, layer, theirs)
    wrong = np.argwhere(forced != expected)
    first = ""
    if len(wrong):
        index = tuple(int(i) for i in wrong[0])
        first = f"{list(index)}: {forced[index]}, the oracle has {expected[index]}"
    whole = int((ours[layer.output] != expected).sum())
    return Agreement(layer.name, layer.output, expected.size, len(wrong), whole, first)
