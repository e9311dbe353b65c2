"""TFLite files held against LiteRT's reference kernels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite")
pytest.importorskip("ai_edge_litert.interpreter")

from apsim.nn import importers
from apsim.nn.judges import kinds
from apsim.nn.judges.held import hold
from apsim.nn.model import Conv2d

KWS = "mlperf_tiny_kws_dscnn_int8.tflite"


def test_a_right_import_is_held_in_every_tensor(models_dir: Path) -> None:
    path = models_dir / KWS
    imported = importers.read(path)
    found = hold(path, imported.model, imported.origins)
    assert found.passed and found.by == "LiteRT's reference kernels"
    assert found.integers >= 4 * 72_140 and found.differ == found.ties == 0


def test_one_weight_that_is_one_off_is_convicted_where_it_is(models_dir: Path) -> None:
    path = models_dir / KWS
    imported = importers.read(path)
    at = next(i for i, one in enumerate(imported.model.layers) if isinstance(one, Conv2d))
    layer = imported.model.layers[at]
    assert isinstance(layer, Conv2d)
    weights = layer.weights.astype(np.int32)
    weights[3, 0, 4, 2] += 9
    layers = list(imported.model.layers)
    layers[at] = replace(layer, weights=weights)
    found = hold(path, imported.model.replace(layers=tuple(layers)), imported.origins)
    assert not found.passed
    assert found.first.startswith(layer.name) and "[0, 3, " in found.first


def test_each_reading_starts_anew(models_dir: Path) -> None:
    """What a streaming network remembers does not reach the next reading"""
    path = models_dir / "zoo" / "wakeword_vad_streaming.tflite"
    if not path.is_file():
        pytest.skip(f"no {path.name} beside the models")
    judge = kinds.judge("litert", path)
    shape = tuple(int(n) for n in judge.inputs[0]["shape"])  # type: ignore[attr-defined]
    feeds = {judge.inputs[0]["name"]: np.full(shape, 77)}  # type: ignore[attr-defined]
    first, second = (judge.read(feeds).values for _ in range(2))
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[key], second[key]) for key in first)
