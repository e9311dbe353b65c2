"""A stream of batches under changing budgets: each at the widths that its budget allows."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim.cli import main
from apsim.nn.schedule import Batch, Known, choose

SETTINGS = [
    {"bits": [8] * 4, "measured": 0.0, "predicted": 0.0, "latency": 2.48e-5, "joules": 3.74e-6},
    {"bits": [4] * 4, "measured": 0.01, "predicted": 0.0, "latency": 1.2e-5, "joules": 1.9e-6},
    {"bits": [2] * 4, "measured": None, "predicted": 0.7, "latency": 7.2e-6, "joules": 1.3e-6},
]
PLAN = """
settings = "fluid.json"
[[batch]]
images = 2
[[batch]]
energy = 2.0e-6
[[batch]]
latency = 8e-6
[[batch]]
latency = 1e-9
"""


def folder(path: Path, plan: str = PLAN, settings: Any = SETTINGS) -> str:
    document = {"schema": "apsim.fluid/2", "settings": settings}
    (path / "fluid.json").write_text(json.dumps(document))
    (path / "plan.toml").write_text(plan)
    return str(path / "plan.toml")


def stream(plan: str, *options: str) -> int:
    return main(["run", "digits", "--ap", "2d-seg", "--schedule", plan, *options])


def test_each_batch_runs_at_the_widths_of_its_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, table = tmp_path / "stream.json", tmp_path / "stream.csv"
    assert stream(folder(tmp_path), "--json", str(out), "--csv", str(table)) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.split("PASS")[0].split("\n"))) <= 80 and not set(said) & set("│…━")
    lines = list(csv.DictReader(table.read_text().splitlines()))
    assert [line["bits"] for line in lines] == ["8,8,8,8", "4,4,4,4", "2,2,2,2", "2,2,2,2"]
    assert lines[1]["budget_energy"] == "2e-06"
    assert "3 of 4 batches kept to their budget" in said and "PASS" in said
    batches = json.loads(out.read_text())["batches"]
    assert [one["bits"][0] for one in batches] == [8, 4, 2, 2]
    assert [one["kept"] for one in batches] == [True, True, True, False]
    assert all(one["passed"] for one in batches)
    assert batches[0]["energy"] == pytest.approx(3.74e-6, rel=0.02)


def test_settings_of_another_network_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = folder(tmp_path)
    path = tmp_path / "fluid.json"
    others = {"layers": ["conv1", "conv2", "conv9", "classifier"]}
    path.write_text(json.dumps(json.loads(path.read_text()) | others))
    assert stream(plan) == 2
    assert "digits has a layer 'conv3', they have 'conv9'" in capsys.readouterr().err


KNOWN = st.lists(
    st.builds(Known, st.just((8,)), st.floats(0, 1), st.floats(1e-6, 1e-3), st.floats(1e-9, 1e-6)),
    min_size=1,
)


@given(KNOWN, st.floats(1e-6, 1e-3), st.floats(1e-9, 1e-6))
def test_the_least_loss_in_the_budget_is_chosen(
    settings: list[Known], latency: float, energy: float
) -> None:
    """loss(chosen) == min loss of those allowed; the least energy where none is."""
    batch = Batch(1, latency, energy)
    chosen = choose(settings, batch)
    allowed = [one for one in settings if one.latency <= latency and one.energy <= energy]
    if allowed:
        assert chosen in allowed and chosen.loss == min(one.loss for one in allowed)
    else:
        assert chosen.energy == min(one.energy for one in settings)


@pytest.mark.parametrize(
    "plan,message",
    [
        ("settings = 1", "wanted the name of a file"),
        ('settings = "fluid.json"', "at least one [[batch]]"),
        ('settings = "fluid.json"\n[[batch]]\nimages = 0', "batch 1: images: wanted 1 or more"),
        ('settings = "fluid.json"\n[[batch]]\nenergy = -1', "energy: wanted a positive number"),
        ('settings = "fluid.json"\n[[batch]]\nwatts = 1', "unknown key 'watts'"),
        ('settings = "none.json"\n[[batch]]', "none.json"),
        ('settings = "fluid.json"\n[[batch]]\nimages = 361', "the batches want 361 images"),
        ("settings = ", "not valid TOML"),
    ],
)
def test_a_schedule_that_says_nothing_sound_is_refused(
    plan: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stream(folder(tmp_path, plan)) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_settings_of_another_kind_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stream(folder(tmp_path, settings=[{"bits": 8}])) == 2
    assert "not a file of apsim fluid --json" in capsys.readouterr().err
