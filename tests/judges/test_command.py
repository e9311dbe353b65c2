"""`apsim import` and `apsim run` with a judge: lines, JSON and exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsim import cli
from apsim.nn import importers
from tests.helpers.judge_models import conv_net

HELD = "import: held against onnx's reference evaluator: 4 inputs, "


@pytest.fixture
def net(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(0, 1, (2, 3, 5, 5)))
    return conv_net(tmp_path / "net.onnx")


@pytest.fixture
def misread(monkeypatch: pytest.MonkeyPatch) -> None:
    """An importer whose biases are off by a step and a half."""
    right = importers.read

    def wrong(*args: Any, **more: Any) -> Any:
        imported = right(*args, **more)
        first, *rest = imported.model.layers
        layers = (replace(first, bias=first.bias + 200), *rest)
        return replace(imported, model=imported.model.replace(layers=layers))

    monkeypatch.setattr(importers, "read", wrong)


def run(net: Path, *more: str) -> int:
    return cli.main(
        ["run", str(net), "--input", str(net.parent / "x.npy"), "--threads", "1", *more]
    )


def test_the_first_run_of_a_file_says_that_its_import_was_held(
    net: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(net, "--json", str(net.parent / "run.json")) == 0
    assert HELD in capsys.readouterr().out
    found = json.loads((net.parent / "run.json").read_text())["import_check"]
    assert found["held"] and found["passed"] and found["differ"] == 0 and not found["remembered"]
    assert run(net, "--json", str(net.parent / "run.json")) == 0
    assert json.loads((net.parent / "run.json").read_text())["import_check"]["remembered"]


def test_a_misread_file_ends_the_run_with_exit_1(
    net: Path, misread: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(net) == 1
    out = capsys.readouterr().out
    assert HELD in out and "first: the Conv c" in out and "PASS" not in out


def test_a_misread_file_ends_the_import_with_exit_1(
    net: Path, misread: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["import", str(net), "-o", str(net.parent / "net.npz")]) == 1
    assert "first: the Conv c" in capsys.readouterr().out


def test_the_check_can_be_left_out(
    net: Path, misread: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(net, "--no-import-check") == 0
    assert "import:" not in capsys.readouterr().out


@pytest.mark.parametrize("rule", ["ort-f32", "tflite", "dyadic(12,half-up)"])
def test_under_another_rule_the_file_still_means_the_same(
    net: Path, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(net, "--rule", rule) == 0
    assert HELD in capsys.readouterr().out


@pytest.mark.parametrize("judge", ["reference", "onnxruntime", "onnxruntime-plain"])
def test_against_a_judge_the_run_agrees(
    net: Path, judge: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if judge != "reference":
        pytest.importorskip("onnxruntime")
    assert run(net, "--against", judge, "--json", str(net.parent / "run.json")) == 0
    out = capsys.readouterr().out
    assert "1 of 1 layers compared, 150 integers: 0 differ layer by layer, 0 end to end" in out
    assert json.loads((net.parent / "run.json").read_text())["against"]["agreed"]


def test_against_a_judge_a_misread_file_is_convicted(
    net: Path, misread: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(net, "--no-import-check", "--against", "reference") == 1
    out = capsys.readouterr().out
    assert "the Conv c (tensor 'yc' of the file): " in out and "the judge has" in out


def test_a_judge_wants_a_network_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "digits", "--against", "reference"]) == 2
    assert "judges ONNX files, digits is none" in capsys.readouterr().err


def test_a_batch_that_the_file_fixes_must_go_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = conv_net(tmp_path / "net.onnx", batch=2)
    np.save(tmp_path / "x.npy", np.zeros((3, 3, 5, 5)))
    assert run(path, "--against", "reference") == 2
    assert "takes batches of 2, and 3 inputs make no whole ones" in capsys.readouterr().err
