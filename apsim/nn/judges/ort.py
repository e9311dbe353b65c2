"""An ONNX file in onnxruntime: its own outputs from the untouched file, its integers inside.

The rule: what onnxruntime fuses it computes otherwise, and asking the file for more outputs
un-fuses it.  So the optimized graph that it saved itself is asked, unoptimized, and only
believed where its outputs are those of the untouched file.  Without optimisation nothing
is fused, and the file can be asked for all its tensors.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from apsim.nn.judges import reference
from apsim.nn.judges.fused import Shared, shared
from apsim.nn.judges.reading import Array, Feeds, Reading

__all__ = ["Session"]

LEVELS = ("enable_all", "enable_extended", "enable_basic", "disable_all")
NUMBERS = {
    f"tensor({kind})" for kind in
    ("float", "float16", "double", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")
}  # fmt: skip


class Session:
    """onnxruntime with one file, optimized or `plain`."""

    def __init__(self, path: str | os.PathLike[str], plain: bool) -> None:
        self.proto = reference.load(path)
        self.batch, self.types = reference.batch_of(self.proto), reference.feed_types(self.proto)
        self.whole, self.level, self.title = _highest(os.fspath(path), plain)
        try:
            self.inside, self.shared = self._inside(path)
        except Exception:  # onnxruntime has many kinds of its own; its outputs are still judged
            self.inside, self.shared = None, []

    def _inside(self, path: str | os.PathLike[str]) -> tuple[Any, list[Shared]]:
        """A session that gives the tensors in between, and what they are called in the file."""
        made = {name for node in self.proto.graph.node for name in node.output if name}
        if self.level == LEVELS[-1]:
            found = [Shared(name, name) for name in sorted(made)]
            return _asked(onnx.load(os.fspath(path)), found, Path(path).parent)
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / "optimized.onnx"
            _session(os.fspath(path), self.level, saved)
            graph = onnx.load(saved)
        return _asked(graph, shared(self.proto.graph, graph.graph), Path(path).parent)

    def read(self, feeds: Feeds, deadline: float = float("inf")) -> Reading:
        """The outputs of the untouched file, and the integers inside where they lead to them."""
        typed = {name: values.astype(self.types[name]) for name, values in feeds.items()}
        outputs = dict(zip(_names(self.whole), self.whole.run(None, typed), strict=True))
        values: dict[Any, Any] = {**typed, **self._values(typed, outputs), **outputs}
        return Reading(values, lambda: self._exact(typed, values))

    def _values(self, feeds: Feeds, outputs: Mapping[str, Array]) -> dict[str, Array]:
        if self.inside is None:
            return {}
        names = _names(self.inside)
        given = dict(zip(names, self.inside.run(names, dict(feeds)), strict=True))
        if any(not np.array_equal(given[name], value, equal_nan=True)
               for name, value in outputs.items() if name in given):  # fmt: skip
            return {}  # not what the untouched file computes
        return {one.name: one.as_file(given[one.inside]) for one in self.shared
                if one.inside in given}  # fmt: skip

    def _exact(self, feeds: Feeds, values: Mapping[Any, Array]) -> Mapping[str, Any]:
        return reference.Reference(self.proto).exact(feeds, values)


def _highest(path: str, plain: bool) -> tuple[Any, str, str]:
    """A session at the highest level of optimisation that onnxruntime itself can do."""
    if plain:
        return _session(path, LEVELS[-1]), LEVELS[-1], "onnxruntime without optimisation"
    for level in LEVELS[:-1]:
        try:
            made = _session(path, level)
        except Exception as error:  # its optimizers make models that it then refuses
            failed = error
        else:
            lower = "" if level == LEVELS[0] else f" (optimisation {level}: it fails at more)"
            return made, level, f"onnxruntime{lower}"
    raise failed


def _session(model: Any, level: str, saved: Path | None = None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = getattr(levels, f"ORT_{level}".upper())
    if saved is not None:
        options.optimized_model_filepath = os.fspath(saved)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _asked(graph: Any, found: list[Shared], folder: Path) -> tuple[Any, list[Shared]]:
    """A session of the graph that gives these tensors, too: those of a type that it can give."""
    onnx.load_external_data_for_model(graph, os.fspath(folder))
    had = {output.name for output in graph.graph.output}
    for one in found:
        if one.inside not in had:
            graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(one.inside))
            had.add(one.inside)
    session = _session(graph.SerializeToString(), LEVELS[-1])
    return session, found


def _names(session: Any) -> list[str]:
    return [one.name for one in session.get_outputs() if one.type in NUMBERS]
