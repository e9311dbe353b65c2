"""Bit fluidity measured: fronts, budgets, and a small sweep on a chip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import nn
from apsim.cli import main
from apsim.cost.energy import Energy
from apsim.cost.estimate import Cost
from apsim.cost.technology import technology
from apsim.errors import InputError
from apsim.nn import fluid
from apsim.nn.on_ap.chip import Chip


def setting(correct: int, cycles: int, joules: float) -> fluid.Setting:
    return fluid.Setting((8,), correct, 100, Cost(Energy(compare=joules, write=0.0), cycles), 1)


SETTINGS = st.lists(
    st.builds(setting, st.integers(0, 100), st.integers(1, 1000), st.floats(1e-9, 1e-6)),
    min_size=1,
    max_size=20,
)


@given(SETTINGS)
def test_no_setting_beats_one_on_the_front(settings: list[fluid.Setting]) -> None:
    """For each s of the front no t has accuracy(t) >= accuracy(s) and edp(t) < edp(s)."""
    front = fluid.pareto(settings)
    for one in front:
        assert not any(t.correct >= one.correct and t.edp < one.edp for t in settings)
    for one in settings:
        assert any(f.correct >= one.correct and f.edp <= one.edp for f in front)


@given(SETTINGS, st.floats(1e-9, 1e-6), st.integers(0, 100))
def test_what_is_picked_keeps_to_the_budget(
    settings: list[fluid.Setting], energy: float, correct: int
) -> None:
    """allows(pick(settings, b)), or no setting is allowed and the message says how near."""
    budget = fluid.Budget(energy=energy, accuracy=correct / 100)
    if any(budget.allows(one) for one in settings):
        picked = fluid.pick(settings, budget)
        assert budget.allows(picked)
        assert all(picked.edp <= one.edp for one in settings if budget.allows(one))
    else:
        with pytest.raises(InputError, match="no measured setting keeps to the budget"):
            fluid.pick(settings, budget)


@given(SETTINGS, st.floats(1e-9, 1e-6))
def test_without_an_accuracy_asked_the_best_one_is_picked(
    settings: list[fluid.Setting], energy: float
) -> None:
    allowed = [one for one in settings if one.joules <= energy]
    if allowed:
        picked = fluid.pick(settings, fluid.Budget(energy=energy))
        assert picked.correct == max(one.correct for one in allowed)


def test_a_sweep_measures_each_width_alone_and_a_walk_to_the_narrowest() -> None:
    seen: list[fluid.Setting] = []
    swept = fluid.sweep(
        nn.load("digits"),
        nn.datasets.digits(),
        lambda: Chip.preset("bf-imna-lr", ap="1d"),
        technology("sram"),
        narrowest=3,
        widest=4,
        batch=1,
        watch=seen.append,
    )
    measured = {one.widths for one in swept.settings}
    assert {(4, 4, 4, 4), (3, 3, 3, 3), (3, 4, 4, 4), (4, 3, 4, 4), (4, 4, 3, 4)} <= measured
    assert set(seen) == set(swept.settings)
    full = next(one for one in swept.settings if one.widths == (4, 4, 4, 4))
    narrow = next(one for one in swept.settings if one.widths == (3, 3, 3, 3))
    assert narrow.cost.cycles < full.cost.cycles and narrow.joules < full.joules
    assert swept.sensitivity["conv1"][3] == pytest.approx(
        full.accuracy - next(s.accuracy for s in swept.settings if s.widths == (3, 4, 4, 4))
    )


def test_the_command_writes_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fluid.json"
    options = ["--from", "7", "--ap", "1d", "--accuracy", "97", "--json", str(path)]
    assert main(["fluid", *options]) == 0
    assert "picked: --bits" in capsys.readouterr().out
    written = json.loads(path.read_text())
    assert written["schema"] == "apsim.fluid/1" and written["picked"]["accuracy"] >= 0.97
    assert [s["widths"] for s in written["settings"] if s["pareto"]]


def test_the_command_refuses_what_makes_no_sense(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fluid", "--from", "8", "--to", "4"]) == 2
    assert "2 <= --from < --to <= 8" in capsys.readouterr().err
    assert main(["fluid", "--energy", "-1"]) == 2
    assert "wanted positive numbers" in capsys.readouterr().err
