"""The growth of executed totals: Fig. 5 and Table II, and what the benchmark writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import complexity
from benchmarks.growth import Growth, measure


@pytest.fixture(scope="module")
def growth() -> dict[tuple[str, str], Growth]:
    return {(cell.function, cell.ap): cell for cell in measure()}


def test_polynomials_through_executions_meet_one_far_outside(
    growth: dict[tuple[str, str], Growth],
) -> None:
    """total(5, 2**9, 3) == executed, for 7 functions on 5 kinds"""
    assert len(growth) == 35
    assert all(cell.holds for cell in growth.values())


def test_growth_is_that_of_table_2_but_for_maxima_without_a_chain(
    growth: dict[tuple[str, str], Growth],
) -> None:
    """Moved words cost O(M log2 S) in place of flags; parallel resets cost no O(K log2 S)"""
    others = {key for key, cell in growth.items() if not cell.agrees}
    assert others == {("max pooling", kind) for kind in ("2d", "2d-seg", "2d-seg-tc")}
    assert growth["max pooling", "2d"].measured == {"M log2(S)", "S K"}
    assert growth["max pooling", "2d-seg-tc"].measured == {"M", "log2(S)"}


def test_the_measured_polynomials_hold_the_omitted_carry_resolution(
    growth: dict[tuple[str, str], Growth],
) -> None:
    """reduction: 2d has 8 log2 L more and 8 M more than the printed 10*M + 4*L - 7"""
    assert growth["reduction", "2d-tc"].total == "10*M + 4*L - 7"
    assert growth["reduction", "2d"].total == "18*M + 8*log2(L) + 4*L - 16"


def test_a_sweep_is_printed_written_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, plot = tmp_path / "complexity.json", tmp_path / "figure.svg"
    options = ["--function", "add", "--json", str(path)]
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        plot = None  # type: ignore[assignment]
    assert complexity.main([*options, *(["--plot", str(plot)] if plot else [])]) == 0
    assert "addition over M" in capsys.readouterr().out
    document = json.loads(path.read_text())
    assert document["schema"] == "apsim.complexity/1"
    assert [sweep["ap"] for sweep in document["sweeps"]] == list(document["hardware"])
    assert all(sweep["counted"] == sweep["printed"] for sweep in document["sweeps"])
    assert plot is None or plot.read_text().lstrip().startswith("<?xml")


def test_a_plot_of_an_unknown_format_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert complexity.main(["--plot", "figure.gif"]) == 2
    assert "wanted a name that ends in .png or .svg" in capsys.readouterr().err
