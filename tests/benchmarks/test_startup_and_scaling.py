"""Benchmarks of the first command, and of growth: they run, and say what they measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import scaling, startup


def test_a_start_is_measured_cold_warm_and_for_help(tmp_path: Path) -> None:
    """Every command has its seconds, memory and goal, whether that is met or not."""
    path = tmp_path / "startup.json"
    assert startup.main(["--rounds", "1", "--images", "1", "--json", str(path)]) in (0, 1)
    found = json.loads(path.read_text())
    assert set(found["figures"]) == set(startup.GOALS)
    assert all(figure["seconds"] > 0 and figure["MiB"] > 10 for figure in found["figures"].values())
    assert [goal["wanted"] for goal in found["goals"]] == [2.0, 1.0, 0.3]


def test_a_command_that_fails_stops_the_benchmark(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="apsim rum failed with 2"):
        startup.command(str(tmp_path), "rum")


def test_growth_is_shown_for_rows_widths_and_threads(tmp_path: Path) -> None:
    """A line for each engine: two programs at one size, three widths, and on two threads."""
    path = tmp_path / "scaling.json"
    assert scaling.main(["--most", "1000", "--rounds", "1", "--json", str(path)]) in (0, 1)
    figures = json.loads(path.read_text())["figures"]
    assert len(figures) == 2 * 2 * (1 + 3 + 1)
    assert "multiply 16 bits, 1000 rows, 1 threads, fused" in figures
