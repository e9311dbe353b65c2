"""The guide's recipe for PyTorch, run as it stands, and what it says `apsim run` then does."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch", reason="the recipe starts from a torch model")

from apsim.cli import main  # noqa: E402

PAGE = (ROOT / "apsim" / "guide" / "networks.md").read_text()


def test_a_torch_model_goes_through_onnx_to_the_chip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    found = re.findall(r"^```py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (recipe,) = (block for block in found if "import torch" in block)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces its other exporter
        exec(compile(recipe, "networks.md", "exec"), names)
    command = ["run", "int8.onnx", "--input", "x.npy", "--output", "y.npz", "--ap", "1d"]
    assert main(command) == 0
    with np.load("y.npz") as outputs:
        assert np.array_equal(outputs[names["model"].output], names["integers"])
