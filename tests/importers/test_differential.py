"""Random ONNX graphs: every integer is the reference evaluator's, or the graph is refused by name.

Constants of every shape that broadcasts, attributes other than the defaults, up to three clips,
branches, renamed and unnamed tensors, opsets 10 to 23; attention, softmax, layer norm, choices,
transposed convolutions, linear resizing, thresholds, rows of which the batch is a part.
"""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from apsim.errors import ApsimError
from apsim.nn import exact
from apsim.nn.importers.onnx import Imported, lower
from apsim.nn.importers.onnx_file import graph_of
from apsim.nn.rules import real
from tests.helpers.onnx_graphs import Drawn, Graph, by_reference, with_outputs

TIE = 1e-3  # how near a half float32 may decide


def verdict(seed: int) -> str:
    """equal, tie, refused, or no graph; raises where integers differ without a reason."""
    try:
        graph = Drawn(seed).build()
        expected = by_reference(graph.proto, graph.x)
    except Exception:  # the evaluator says that this is no graph
        return "no graph"
    if not all(np.isfinite(values).all() for values in expected):
        return "no graph"
    try:
        imported = lower(graph_of(graph.proto, f"seed {seed}"))
    except ApsimError as error:
        assert any(f"{part} " in str(error) for part in ("node", "output", "tensor", "layer")), (
            error
        )
        assert "\n" not in str(error)
        return "refused"
    return compared(graph, imported, expected)


def compared(graph: Graph, imported: Imported, expected: list[Any]) -> str:
    model = imported.model
    whole = graph.x.dtype.kind in "iu"
    entered = {name: graph.x if whole else real.quantize(model, graph.x, name)
               for name in model.inputs}  # fmt: skip
    ours = exact.run(model, entered)
    for name, wanted in zip(model.outputs, expected, strict=True):
        got = real.dequantize(model.tensors[name], ours[name])
        if got.shape != wanted.shape or not np.array_equal(got, wanted):
            return explained(graph, imported, ours, (name, got, wanted))
    return "equal"


def explained(graph: Graph, imported: Imported, ours: Any, first: Any) -> str:
    """A tie, where the first quantization that differs met one in the evaluator's float32."""
    held = {origin.name: origin.tensor for origin in imported.origins}
    names = [n for n in graph.quantized if n in held]
    more = [graph.quantized[n][0] for n in names]
    proto = with_outputs(graph.proto, [*names, *more])
    keys = [output.name for output in proto.graph.output]
    theirs = dict(zip(keys, by_reference(proto, graph.x), strict=True))
    for name in names:
        differ = theirs[name].astype(np.int64) != ours[held[name]]
        if differ.any():
            source, scale = graph.quantized[name]
            steps = theirs[source][differ].astype(np.float64) / scale
            far = np.abs(steps % 1 - 0.5).max()
            assert far < TIE, f"{name!r}: {far} from a half, {first}"
            return "tie"
    raise AssertionError(first)


def judged(seeds: range) -> collections.Counter[str]:
    found: collections.Counter[str] = collections.Counter()
    for seed in seeds:
        try:
            found[verdict(seed)] += 1
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    return found


def test_three_hundred_graphs_equal_the_reference_or_are_refused() -> None:
    found = judged(range(300))
    assert found["equal"] >= 130 and found["tie"] <= 15, found


@pytest.mark.long
def test_twenty_thousand_graphs_equal_the_reference_or_are_refused() -> None:
    found = judged(range(300, 20_300))
    assert found["equal"] >= 6000, found
