"""One vocabulary: an option means and takes the same in every verb that has it."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from apsim import cost, explore, nn
from apsim.cli import VERBS, main, parser
from apsim.cost import precision
from apsim.cost.precision import LISTS
from apsim.explore.points import evaluate
from apsim.explore.spec import spec_of
from apsim.nn.zoo import sources

SHARED = {
    "--chip": "lr|ir|FILE",
    "--tech": "sram|reram|FILE",
    "--json": "FILE",
    "--csv": "FILE",
    "--images": "N",
    "--input": "FILE",
    "--write-voltage": "V",
    "--workers": "N",
}
MINE = 'extends = "lr"\nname = "mine"\n[rows]\nvalue = 96\nunit = "1"\nsource = "an example"\n'


def shown() -> Iterator[tuple[str, argparse.Action]]:
    """Every option that a verb's help shows."""
    for verb in VERBS:
        for action in parser(verb)._actions:
            if action.help != argparse.SUPPRESS:
                yield verb, action


@pytest.mark.parametrize("name", LISTS)
def test_a_published_list_of_widths_is_the_same_list_in_every_verb(name: str) -> None:
    """what costs are of == what a run has, layer by layer; near names are named"""
    network = cost.network("resnet18")
    pairs = zip(network.layers, precision.assign(network, name), strict=True)
    executed = sources.model("resnet18", bits=name).bits
    assert executed == tuple(widths for layer, widths in pairs if layer.gemm)


@pytest.mark.parametrize("verb", ["run", "cost", "faults"])
def test_a_list_that_is_not_published_is_refused(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "resnet18", "--bits", "hawq-lo"]) == 2
    assert "did you mean hawq-low?" in capsys.readouterr().err


@pytest.mark.parametrize("option", SHARED)
def test_an_option_takes_the_same_in_every_verb(option: str) -> None:
    found = {verb: a.metavar for verb, a in shown() if option in a.option_strings}
    assert len(found) > 1
    assert set(found.values()) == {SHARED[option]}


def test_what_is_written_first_of_all_is_o_everywhere() -> None:
    """whoever has --output has -o; nobody shows another spelling"""
    for _, action in shown():
        if "--output" in action.option_strings:
            assert "-o" in action.option_strings
    spelled = {text for _, action in shown() for text in action.option_strings}
    assert not spelled & {"--out", "--technology", "--batch"}


def test_older_spellings_go_on_working(tmp_path: Path) -> None:
    out = tmp_path / "w.jsonl"
    assert main(["explore", "precision", "--workers", "1", "--out", str(out)]) == 0
    assert out.exists()
    one, other = tmp_path / "1.json", tmp_path / "2.json"
    asked = ["cost", "alexnet"]
    assert main([*asked, "--batch", "2", "--technology", "reram", "--json", str(one)]) == 0
    assert main(["cost", "alexnet", "--images", "2", "--tech", "reram", "--json", str(other)]) == 0
    assert one.read_text() == other.read_text()


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--images", "1"],
        ["cost", "alexnet"],
        ["check", "--function", "add", "--ap", "1d"],
        ["paper"],
    ],
)
def test_a_table_is_written_as_csv(command: list[str], tmp_path: Path) -> None:
    """as many lines as the JSON has rows or layers, each with every column"""
    table, whole = tmp_path / "x.csv", tmp_path / "x.json"
    assert main([*command, "--csv", str(table), "--json", str(whole)]) == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    found = json.loads(whole.read_text())
    assert len(rows) == len(found.get("layers") or found["rows"])
    assert not any(None in row or "{" in "".join(map(str, row.values())) for row in rows)


def test_a_chip_of_ones_own_is_executed(tmp_path: Path) -> None:
    """run, cost and the library take the same file; smaller CAPs take more loads"""
    chip, whole = tmp_path / "mine.toml", tmp_path / "run.json"
    chip.write_text(MINE)
    assert main(["run", "--images", "1", "--chip", str(chip), "--json", str(whole)]) == 0
    small = json.loads(whole.read_text())
    assert (small["chip"], small["ap"]["rows"]) == ("mine", 96)
    assert main(["run", "--images", "1", "--json", str(whole)]) == 0
    large = json.loads(whole.read_text())
    assert small["totals"]["loads"] > large["totals"]["loads"]
    assert nn.Chip.preset(str(chip)).design.rows == 96
    executed = ["cost", "digits", "--activity", "executed", "--chip", str(chip)]
    assert main([*executed, "--json", str(whole)]) == 0
    assert json.loads(whole.read_text())["totals"]["write"] == small["totals"]["counts"]["write"]


def test_a_model_is_a_network_of_a_sweep() -> None:
    """its own widths give what `apsim cost MODEL` gives, and 8 bits something else"""
    table = {"axes": {"network": ["digits"], "bits": ["own", 8]}}
    own, eight = (evaluate("cost", point) for point in spec_of(table, "here").points)
    assert own["mean_bits"] == 7
    assert eight["mean_bits"] == 8
    assert own["energy_j"] < eight["energy_j"]


@pytest.mark.long
def test_a_budget_of_the_width_search_is_an_axis(tmp_path: Path) -> None:
    """widths == those that `apsim fluid --budget` picks; less budget, no more energy"""
    whole = tmp_path / "fluid.json"
    assert main(["fluid", "--ap", "2d-seg", "--budget", "50%", "--json", str(whole)]) == 0
    picked = json.loads(whole.read_text())["picked"]["bits"]
    axes = {"model": ["digits"], "ap": ["2d-seg"], "bits": ["search:50%", "search:20%"]}
    points = spec_of({"kind": "run", "axes": axes, "images": 1, "block": 1}, "here").points
    half, fifth = (evaluate("run", point) for point in points)
    assert half["widths"] == picked
    assert half["bit_exact"] and half["counts_match"]
    assert fifth["energy_j"] < half["energy_j"]


@pytest.mark.parametrize("bits", ["search:", "search:50", "search:101%", "search:x%"])
def test_budgets_that_cannot_be_are_refused(bits: str, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f'kind = "run"\n[axes]\nmodel = ["digits"]\nbits = ["{bits}"]\n')
    assert main(["explore", str(path)]) == 2


def test_help_names_every_sweep_that_comes_with_the_package() -> None:
    shown = " ".join(parser("explore").format_help().split())
    names = [path.stem for path in Path(explore.__file__).parent.glob("specs/*.toml")]
    assert names and all(name in shown for name in names)


@pytest.mark.parametrize("option", ["--mapping weights", "--caps 2", "--cap 1", "--load 1"])
@pytest.mark.parametrize("verb", ["debug add", "trace add --jsonl x.jsonl"])
def test_what_only_a_layer_has_is_refused_for_an_operation(
    verb: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*verb.split(), *option.split()]) == 2
    wanted = f"{option.split()[0]} goes with a layer of a network: MODEL:LAYER"
    assert wanted in capsys.readouterr().err
