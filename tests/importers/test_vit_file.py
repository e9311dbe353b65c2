"""A small vision transformer, quantized by onnxruntime's own tool, from file to passes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnxruntime.quantization.shape_inference import quant_pre_process

from apsim import cli
from apsim.nn import importers, runtime
from apsim.nn.importers import Imported, Options
from apsim.nn.model import store
from apsim.nn.on_ap.chip import Chip
from apsim.nn.rules import real
from tests.conftest import ROOT
from tests.helpers.judged import judged

IMAGE, DIM = 8, 16


@pytest.fixture(scope="module")
def script() -> Any:
    """The module `scripts/make_vit.py`."""
    spec = importlib.util.spec_from_file_location("make_vit", ROOT / "scripts" / "make_vit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["channels", "tensors", "preprocessed"])
def file(script: Any, tmp_path_factory: Any, request: pytest.FixtureRequest) -> Path:
    """One block of two heads over five tokens; weights with a scale for each output, or one.

    Preprocessed by onnxruntime's tool, its linear layers are Gemm of rows of all images.
    """
    folder = Path(tmp_path_factory.mktemp("vit"))
    model = script.vit(IMAGE, 4, DIM, 1, 2, 0)
    if request.param == "preprocessed":
        onnx.save(model, folder / "float.onnx")
        quant_pre_process(folder / "float.onnx", folder / "more.onnx", skip_symbolic_shape=True)
        model = onnx.load(folder / "more.onnx")
    script.quantized(model, folder / "vit.onnx", IMAGE, per_channel=request.param != "tensors")
    return folder / "vit.onnx"


def pictures(script: Any, imported: Imported, count: int) -> Any:
    return real.quantize(imported.model, script.pictures(IMAGE, count, 3))


def test_every_integer_is_the_reference_s(script: Any, file: Path) -> None:
    imported = importers.read(file)
    kinds = {layer.op for layer in imported.model.layers}
    assert {"normalize", "softmax", "matmul", "table", "multiply", "rearrange"} <= kinds
    for x in pictures(script, imported, 2):
        found = judged(file, imported, x[None], "reference")
        assert found.agreed and found.sum("forced") == found.sum("ties") + found.sum("float32")
        assert found.compared[0] >= 25


@pytest.mark.parametrize("judge", ["onnxruntime", "onnxruntime-plain"])
def test_every_integer_is_onnxruntime_s_by_the_rule_of_its_softmax(
    script: Any, file: Path, judge: str
) -> None:
    """Fused as its QLinearSoftmax; by itself one rounding of the real one"""
    rule = "ort-fused" if judge == "onnxruntime" else "real"
    imported = importers.read(file, options=Options(softmax=rule))
    x = pictures(script, imported, 1)
    found = judged(file, imported, x, judge)
    assert found.sum("forced") == found.sum("ties") + found.sum("float32")
    assert found.compared[0] >= 25


@pytest.mark.parametrize("kind", ["1d", "2d", "2d-seg"])
def test_it_runs_as_passes_that_are_predicted(script: Any, file: Path, kind: str) -> None:
    imported = importers.read(file)
    x = pictures(script, imported, 1)
    done = runtime.run(imported.model, x, Chip.preset("bf-imna-lr", ap=kind))
    assert done.bit_exact and done.counts_match


def test_the_command_takes_the_ap_s_own_rules_by_name_and_says_so(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["import", str(file), "-o", str(tmp_path / "vit.npz"), "--quiet"]
    assert cli.main([*given, "--rule-softmax", "ap", "--rule-norm", "ap"]) == 0
    out = capsys.readouterr().out
    assert "import: held against onnx's reference evaluator" in out
    assert "made under --rule-softmax ap and --rule-norm ap, not under the file's own" in out
    own = [layer for layer in store.load(tmp_path / "vit.npz").layers if hasattr(layer, "rule")]
    assert {layer.rule for layer in own} == {"ap"} and len(own) == 4
    assert cli.main(given) == 0
    assert "made under" not in capsys.readouterr().out


def test_the_ap_s_own_softmax_runs_as_passes(script: Any, file: Path) -> None:
    imported = importers.read(file, options=Options(softmax="ap"))
    x = pictures(script, imported, 1)
    done = runtime.run(imported.model, x, Chip.preset("bf-imna-lr", ap="2d-seg"))
    assert done.bit_exact and done.counts_match
    softmax = next(layer for layer in done.layers if layer.name.endswith("softmax"))
    assert softmax.counts is not None and softmax.counts.compare > 0


def test_rules_of_softmax_are_onnx_files_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "digits", "--rule-softmax", "ap"]) == 2
    assert "--rule-softmax and --rule-norm: only ONNX files have them" in capsys.readouterr().err
