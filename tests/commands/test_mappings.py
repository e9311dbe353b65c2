"""Mappings as a person types them: run, cost, check, explore, faults, and their mistakes."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from apsim import cli
from tests.conftest import ROOT


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def test_a_run_with_weights_in_the_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.json"
    command = ["run", "digits", "--images", "2", "--mapping", "weights", "--json", str(path)]
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    assert "mapping of each layer:" in shown
    assert "  conv1: weights (asked for)\n" in shown
    assert "  classifier: weights (asked for; with so few pixels im2col takes " in shown
    found = {layer["name"]: layer for layer in _json(path)["layers"]}
    assert found["conv1"]["ap"] == ["weighted sums", "relu"]
    program = found["conv1"]["mapping"]["program"]
    assert program["digits"] > 0
    assert program["bytes"] >= program["digits"]


@pytest.mark.parametrize("mapping", ["weights", "auto"])
def test_a_product_of_two_activations_is_im2col_and_says_so(
    mapping: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "vit:3,4", "--images", "1", "--mapping", mapping]) == 0
    said = capsys.readouterr().out
    for layer in ("scores", "context"):
        why = "im2col (a product of two activations, which no program can hold)"
        assert f"  block1.head1.{layer}: {why}\n" in said


def test_a_binary_network_adds_one_sum_of_all_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Digits of at most half of its weights, in a run that is exact and counted as predicted"""
    folder, path = ROOT.parent / "shared" / "models", tmp_path / "run.json"
    if not folder.exists():
        pytest.skip("the models are not there")
    command = ["run", str(folder / "qonnx_TFC_1W1A_mnist.onnx"), "--mapping", "weights", "--input",
               str(folder / "finn_mnist_input_4x1x28x28.npy"), "--json", str(path)]  # fmt: skip
    assert cli.main(command) == 0
    assert " common_sum* +" in capsys.readouterr().out
    for layer in _json(path)["layers"]:
        if layer["mapping"]:
            assert 0 < layer["mapping"]["program"]["digits"] <= layer["macs"] / 4 / 2


def test_the_cost_of_a_run_spreads_its_groups_over_caps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Latency of a layer with weights in the program == that of its entry, in SRAM's cycles"""
    run, costed = tmp_path / "run.json", tmp_path / "cost.json"
    assert cli.main(["run", "digits", "--images", "2", "--mapping", "weights",
                     "--json", str(run)]) == 0  # fmt: skip
    assert cli.main(["cost", str(run), "--json", str(costed)]) == 0
    capsys.readouterr()
    layers = {layer["name"]: layer for layer in _json(run)["layers"]}
    for entry in _json(costed)["layers"]:
        layer = layers[entry.get("name") or entry["layer"]]
        if layer["mapping"]:
            alone, counts = layer["mapping"]["program"]["latency"], layer["counts"]
            cycles = counts["compare"] + 2 * counts["write"] + counts["read"]
            least = alone * cycles / sum(counts.values())
            assert alone * 1.4 < least <= entry["cycles"] < least + 500  # of transfers
            assert entry["averages_energy_j"] is None


def test_both_mappings_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    files = [str(tmp_path / name) for name in ("m.json", "m.csv", "m.svg")]
    command = ["cost", "digits", "--bits", "8", "--batch", "16", "--mapping", "auto", "--cost",
               "cycles", "--json", files[0], "--csv", files[1], "--plot", files[2]]  # fmt: skip
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    assert "note: too few pixels in this batch for fewer cycles: classifier" in shown
    with open(files[1]) as stream:
        rows = {row["layer"]: row for row in csv.DictReader(stream)}
    cycles = {name: (row["im2col_cycles"], row["weights_cycles"]) for name, row in rows.items()}
    assert cycles["conv1"] == ("1053923.0", "32302.0")
    assert cycles["classifier"][1] == "125541.0"
    assert (rows["conv1"]["taken"], rows["classifier"]["taken"]) == ("weights", "im2col")
    assert 24 < float(rows["classifier"]["break_even_rows"]) < 25
    found = _json(tmp_path / "m.json")
    assert found["schema"] == "apsim.mappings/1"
    assert all(f"{name}: {what}" in shown for name, what in found["assumes"].items())
    assert [row["layer"] for row in found["layers"]] == list(rows)
    assert Path(files[2]).read_text().count("<svg") == 1


def test_executed_activity_of_a_mapping(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["cost", "digits", "--bits", "2", "--activity", "executed", "--mapping", "weights"]
    assert cli.main(command) == 0
    assert "executed activity" in capsys.readouterr().out


def test_checked_as_functions(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--ap", "2d", "--mapping", "weights"]) == 0
    shown = capsys.readouterr().out
    assert "weighted_sums" in shown
    assert "0 fail: PASS" in shown
    assert "multiply" not in shown


def test_swept_and_struck_by_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "s.toml"
    spec.write_text(
        'kind = "run"\nimages = 1\nblock = 1\n[axes]\nmodel = "digits"\nbits = [2]\n'
        'mapping = ["im2col", "weights", "rows"]\n'
    )
    results = tmp_path / "results"
    cli.main(["explore", str(spec), "--out", str(results), "--workers", "1"])
    assert "mapping: 'rows' is not one of im2col, weights, auto" in "".join(
        path.read_text() for path in results.rglob("*.json*")
    ) + "".join(capsys.readouterr())
    command = ["faults", "digits", "--bits", "2", "--images", "1", "--repeats", "1", "--workers",
               "1", "--mapping", "weights", "--write-error", "0"]  # fmt: skip
    assert cli.main(command) == 0
    assert "100.0%" in capsys.readouterr().out


def test_auto_takes_the_mapping_whose_columns_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """35 columns: no layer's 41 or 49 of im2col, all layers' 1 + M + W"""
    auto = [
        "run",
        "digits",
        "--bits",
        "8",
        "--images",
        "1",
        "--mapping",
        "auto",
        "--cost",
        "cycles",
    ]
    assert cli.main([*auto, "--columns", "35"]) == 0
    shown = capsys.readouterr().out
    assert shown.count(": weights (im2col: dot products on the 2d AP needs ") == 4
    assert cli.main([*auto, "--columns", "29"]) == 2
    told = capsys.readouterr().err
    assert "49 columns" in told and "weights: wants 1 + M + W = 1 + 8 + 21 = 30 columns" in told


def _own_chip(path: Path, **sizes: int) -> str:
    entries = [f'[{k}]\nvalue = {v}\nunit = "1"\nsource = "a test"\n' for k, v in sizes.items()]
    path.write_text(f'extends = "lr"\nname = "{path.stem}"\n' + "".join(entries))
    return str(path)


def test_forecasts_are_of_the_columns_of_the_chip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """4 columns of operands, 40 of a CAP: im2col does not fit, as `apsim run` says"""
    chip = _own_chip(tmp_path / "small.toml", columns=4)
    assert cli.main(["cost", "digits", "--bits", "8", "--chip", chip, "--mapping", "auto"]) == 0
    shown = capsys.readouterr().out
    assert len(re.findall(r"weights +does not fit", shown)) == 4
    assert cli.main(["run", "--bits", "8", "--images", "1", "--chip", chip]) == 2


def test_a_program_has_the_latency_of_the_chip_that_it_was_spread_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """fewer CAPs, a later end; another number of CAPs than the run's is refused"""
    few = _own_chip(tmp_path / "few.toml", clusters=1, caps_per_cluster=2)
    ran = {chip: str(tmp_path / f"{k}.json") for k, chip in enumerate(("lr", few, "ir"))}
    latency = {}
    for chip, path in ran.items():
        command = ["run", "--images", "1", "--mapping", "weights", "--chip", chip, "--json", path]
        assert cli.main(command) == 0
        costed = str(tmp_path / "cost.json")
        assert cli.main(["cost", path, "--chip", chip, "--json", costed]) == 0
        latency[chip] = _json(Path(costed))["totals"]["latency_s"]
    assert latency["ir"] <= latency["lr"] < latency[few]
    capsys.readouterr()
    assert cli.main(["cost", ran["lr"], "--chip", few]) == 2
    told = capsys.readouterr().err
    assert "layer 'conv1': its program was spread over 4,096 CAPs, few has 2 CAPs" in told
    assert cli.main(["cost", ran["ir"]]) == 2
    assert "spread over unlimited CAPs" in capsys.readouterr().err


def test_a_chip_without_limits_has_as_many_caps_as_programs_want(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "m.json"
    command = ["cost", "digits", "--chip", "ir", "--mapping", "weights", "--cost", "latency"]
    assert cli.main([*command, "--json", str(whole)]) == 0
    assert "spread over unlimited CAPs" in " ".join(capsys.readouterr().out.split())
    assert _json(whole)["caps"] is None


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (["run", "digits", "--mapping", "weight"], "got 'weight'; did you mean 'weights'?"),
        (["run", "digits", "--cost", "energy"], "--cost goes with --mapping auto"),
        (["run", "digits", "--mapping", "weights", "--columns", "26"], "a CAP has 26"),
        (["run", "digits", "--mapping", "im2col", "--cost", "latency"], "auto or weights"),
        (["cost", "digits", "--cost", "energy"], "--cost goes with --mapping auto"),
        (["cost", "digits", "--plot", "x.svg"], "--plot goes with --mapping"),
        (["cost", "x.csv", "--mapping", "auto"], "is a layer table and has no weights"),
        (["check", "--mapping", "weights", "--function", "add"], "no add on"),
    ],
)
def test_mistakes(command: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = cli.main(command)
    except SystemExit as stop:
        code = int(str(stop.code))
    assert code == 2
    assert what in capsys.readouterr().err


GUIDE = ROOT / "apsim" / "guide" / "mappings.md"
BLOCK = re.compile(r"```console\n\$ (.*)\n((?:.*\n)*?)```\n")


def _run(command: str) -> str:
    """What a shell prints, 160 columns wide."""
    apsim = f"{shlex.quote(sys.executable)} -m apsim"
    done = subprocess.run(
        ["sh", "-c", command.replace("apsim ", f"{apsim} ")], cwd=ROOT, capture_output=True,
        env=os.environ | {"COLUMNS": "160"}, text=True, check=True,
    )  # fmt: skip
    lines = (line.rstrip() for line in done.stdout.splitlines())
    return re.sub(r"\d+\.\d\d s$", "... s", "".join(f"{line}\n" for line in lines), flags=re.M)


@pytest.mark.parametrize("command", [command for command, _ in BLOCK.findall(GUIDE.read_text())])
def test_the_guide_shows_what_comes(command: str) -> None:
    """`python -m tests.commands.test_mappings` writes it anew"""
    assert dict(BLOCK.findall(GUIDE.read_text()))[command] == _run(command)


if __name__ == "__main__":
    GUIDE.write_text(
        BLOCK.sub(
            lambda found: f"```console\n$ {found[1]}\n{_run(found[1])}```\n", GUIDE.read_text()
        )
    )
