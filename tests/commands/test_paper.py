"""`apsim paper`: every published number, its tier, and the report."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import cost
from apsim.cli import main
from apsim.functions.table import EQUATIONS
from apsim.report.paper import figures, page, reproduce
from apsim.report.paper.published import TIERS, Published, Reproduced, by_tier, judge, published

IDS = [row.id for row in published()]


@pytest.fixture(scope="module")
def rows() -> dict[str, Reproduced]:
    return reproduce.reproduce()


@pytest.mark.parametrize("row", IDS)
def test_the_published_number_is_reproduced_in_its_tier(
    row: str, rows: dict[str, Reproduced]
) -> None:
    assert rows[row].holds, rows[row]


def test_every_tier_has_its_rows(rows: dict[str, Reproduced]) -> None:
    assert {tier: total for tier, (_, total) in by_tier(rows).items()} == {
        "exact": 23,
        "within 5 %": 36,
        "trend": 11,
        "not reproducible": 11,
    }


def test_every_published_row_is_told_how_it_may_hold() -> None:
    for row in published():
        assert row.tier in TIERS
        if row.tier == "not reproducible":
            assert row.reason
            assert row.documented is not None
        elif not isinstance(row.paper, str):
            assert row.bound or (row.digits, row.tolerance, row.absolute) != (None, None, None)


def test_no_row_within_5_percent_may_miss_by_more() -> None:
    """tolerance <= 5 %, or an absolute bound for percentages"""
    for row in published():
        if row.tier == "within 5 %":
            assert (row.tolerance or 0) <= 0.05
            assert (row.absolute or 0) <= 0.01


@given(st.floats(0.5, 2.0), st.floats(0.001, 0.05))
def test_a_worse_number_fails_its_tier(factor: float, tolerance: float) -> None:
    """holds == (|model / paper - 1| <= tolerance)"""
    row = Published("x", "here", "x", 100.0, "within 5 %", tolerance=tolerance)
    assert judge(row, 100.0 * factor).holds == (abs(100.0 * factor / 100.0 - 1) <= tolerance)


def test_an_irreproducible_number_holds_as_documented_or_closer() -> None:
    row = Published("x", "here", "x", 42.0, "not reproducible", documented=13.0, reason="why")
    assert [judge(row, model).holds for model in (13.1, 20.0, 42.0, 12.0, 80.0)] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_a_statement_holds_or_does_not() -> None:
    row = Published("x", "here", "x", "yes", "trend")
    assert judge(row, True).model == "yes"
    assert not judge(row, False).holds


def test_mixed_widths_from_uniform_runs_are_those_of_a_run() -> None:
    """Uniform.mixed(widths) == infer(widths), for any widths"""
    random = Random(1)
    for chip in ("lr", "ir"):
        widths = figures.mix(4.5, 8, random)
        run = cost.infer(
            cost.network("alexnet"), cost.chip(chip), cost.technology("sram"), EQUATIONS,
            bits=widths,
        )  # fmt: skip
        joules, seconds = figures.Uniform.of("alexnet", chip).mixed(widths)
        assert math.isclose(joules, run.energy.total)
        assert math.isclose(seconds, run.latency)


@given(st.integers(4, 16), st.integers(1, 60), st.randoms(use_true_random=False))
def test_mixes_have_the_average_they_are_asked_for(
    halves: int, layers: int, random: Random
) -> None:
    """sum(mix) == round(average x layers), each width 2 to 8"""
    widths = figures.mix(halves / 2, layers, random)
    assert sum(widths) == round(halves / 2 * layers)
    assert set(widths) <= set(range(2, 9))


def test_the_command_writes_rows_and_a_page_that_stands_alone(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page, data = tmp_path / "paper.html", tmp_path / "paper.json"
    assert main(["paper", "--html", str(page), "--json", str(data)]) == 0
    html = page.read_text()
    assert len(html) < 3_000_000
    assert html.count("<svg") == 5
    for outside in ("<script", "<link", "<img", "src=", "@import"):
        assert outside not in html
    found = json.loads(data.read_text())
    assert found["schema"] == "apsim.paper/1"
    assert found["passed"] is True
    assert [row["id"] for row in found["rows"]] == IDS
    assert found["table1"]["addition, 1d"] == "11*M + 1"
    assert set(found["figure7"]) == {
        f"{net}, {chip}" for net in reproduce.NETWORKS for chip in ("lr", "ir")
    }


def test_a_row_that_fails_is_shown_and_sets_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(reproduce.VALUES, "gops_8", lambda: 140435.0)
    assert main(["paper"]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_a_page_without_matplotlib_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = tmp_path / "paper.html"
    assert main(["paper", "--html", str(page)]) == 2
    assert "apsim[report]" in capsys.readouterr().err
    assert not page.exists()


def test_a_failing_row_is_told_apart_on_the_page(rows: dict[str, Reproduced]) -> None:
    bad = {"gops_8": replace(rows["gops_8"], holds=False)}
    text = page.paper_page(bad, dict.fromkeys(page.CAPTIONS, "<svg></svg>"))
    assert "Some rows do not hold" in text
    assert ">FAILS<" in text


def test_executed_steps_take_the_place_of_closed_forms(tmp_path: Path) -> None:
    """counted == realisable and sums right, for each conv layer of AlexNet and the digits net"""
    pytest.importorskip("matplotlib")
    page, data = tmp_path / "paper.html", tmp_path / "paper.json"
    assert main(["paper", "--executed", "--html", str(page), "--json", str(data)]) == 0
    found = json.loads(data.read_text())["executed"]
    assert [step["layer"] for step in found["alexnet"]] == [f"conv{k}" for k in range(1, 6)]
    for step in found["alexnet"]:
        assert step["holds"]
        assert step["counts"] == step["predicted"]
        assert step["counts"] != step["paper"]
    assert found["digits"]["activity"] == "executed"
    assert "AlexNet, conv5" in page.read_text()
