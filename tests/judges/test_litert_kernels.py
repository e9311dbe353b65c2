"""Which of LiteRT's kernels judge a file, and that the verdict says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite")
pytest.importorskip("flatbuffers")
pytest.importorskip("ai_edge_litert.interpreter")

from apsim.nn import importers
from apsim.nn.judges.held import Held, hold
from tests.helpers.tflite_models import TensorSpec, TfliteCase
from tests.helpers.tflite_operators import case, ints


def words(name: str, *shape: int, scale: float = 0.05, zero: int = 0) -> TensorSpec:
    return TensorSpec(name, shape, "int8", [scale], [zero])


def verdict(one: TfliteCase, folder: Path) -> Held:
    path = folder / "net.tflite"
    path.write_bytes(one.content)
    imported = importers.read(path)
    return hold(path, imported.model, imported.origins)


def summed(scale: float) -> TfliteCase:
    specs = [words("x", 1, 6, 5), ints("axes", [1]), words("y", 1, 5, scale=scale)]
    return case("SUM", specs, 1, "ReducerOptions", {"KeepDims": False}, 2, [np.zeros(1)])


def test_reference_kernels_judge_what_they_have(tmp_path: Path) -> None:
    one = case("TANH", [words("x", 1, 8), words("y", 1, 8, scale=2.0**-7)], 1, "", {}, 1, [])
    held = verdict(one, tmp_path)
    assert held.by == "LiteRT's reference kernels" and held.passed and held.integers


def test_default_kernels_judge_an_operator_that_those_lack(tmp_path: Path) -> None:
    held = verdict(case("ELU", [words("x", 1, 8), words("y", 1, 8)], 1, "", {}, 1, []), tmp_path)
    assert held.by == "LiteRT's default kernels, for its reference kernels lack ELU"
    assert held.passed and held.integers


@pytest.mark.parametrize("scale", [0.05, 0.7])
def test_default_kernels_judge_sums_of_signed_words(scale: float, tmp_path: Path) -> None:
    """The reference kernel reads what nobody wrote"""
    held = verdict(summed(scale), tmp_path)
    assert held.by.startswith("LiteRT's default kernels") and held.passed and held.integers
