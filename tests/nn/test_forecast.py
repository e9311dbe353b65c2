"""Forecasts: what parts will take, known before a program is made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim.ap_kind import ApKind
from apsim.counts import Activity, Counts
from apsim.nn.model.words import Words
from apsim.nn.on_ap import tasks
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layer_run import Forecast, Part, total_terms
from tests.conftest import ROOT
from tests.helpers import on_ap

KINDS = [kind.value for kind in ApKind]
ROWS = st.sampled_from([12, 40, 100, 4800])


def zeros(*shape: int) -> Any:
    return np.zeros(shape, np.int64)


def took(chip: Chip, run: Callable[[], Any], predicted: Forecast) -> bool:
    """Whether a part took what was predicted, and the named terms explain the paper's."""
    run()
    explained = sum(predicted.terms.values(), predicted.paper)
    return (chip.loads, chip.counts, chip.counts) == (
        predicted.loads, predicted.predicted, explained,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(st.tuples(st.integers(1, 20), st.integers(1, 30), st.integers(1, 3)), ROWS,
       st.integers(1, 8), st.integers(1, 8))  # fmt: skip
def test_products_are_forecast(
    kind: str, sizes: tuple[int, int, int], rows: int, bits: int, bits_b: int
) -> None:
    """counted == predicted == paper + terms, chunks included, whatever the data"""
    u, length, i = sizes
    chip = Chip.preset("bf-imna-lr", ap=kind, rows=rows)
    words = Words(bits, False), Words(bits_b, True)
    expected = tasks.products(u * i, length, *words, on_ap.setting(chip)).forecast
    assert took(
        chip, lambda: on_ap.products(chip, zeros(u, length), zeros(i, length), *words), expected
    )


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(st.integers(1, 60), st.integers(2, 12), ROWS, st.integers(1, 8))
def test_pools_are_forecast(kind: str, count: int, window: int, rows: int, bits: int) -> None:
    """The same for sums and maxima of windows, odd ones included"""
    words, windows = Words(bits, False), zeros(count, window)
    chip = Chip.preset("bf-imna-lr", ap=kind, rows=rows)
    sums = tasks.window_sums(count, window, words, on_ap.setting(chip)).forecast
    assert took(chip, lambda: on_ap.window_sums(chip, windows, words), sums)
    chip = Chip.preset("bf-imna-lr", ap=kind, rows=rows + 30)
    maxima = tasks.window_maxima(count, window, words, on_ap.setting(chip)).forecast
    assert took(chip, lambda: on_ap.window_maxima(chip, windows, words), maxima)


@settings(max_examples=15)
@given(st.integers(1, 200), ROWS, st.integers(1, 16))
def test_additions_and_relus_are_forecast(words: int, rows: int, bits: int) -> None:
    chip = Chip.preset("bf-imna-lr", rows=rows)
    pair, on, signed = (zeros(words), zeros(words)), on_ap.setting(chip), Words(bits, True)
    sums = tasks.add(words, signed, on).forecast
    assert took(chip, lambda: on_ap.add(chip, *pair, signed), sums)
    chip = Chip.preset("bf-imna-lr", rows=rows)
    positive = tasks.relu(words, bits, on).forecast
    assert took(chip, lambda: on_ap.relu(chip, zeros(words), bits), positive)


def test_forecasts_add_up_and_multiply() -> None:
    """(f + g) * 2 == f * 2 + g * 2, terms by name"""
    f = Forecast(1, Counts(1, 2, 3), Counts(1, 1, 1), {"a": Counts(0, 1, 2)})
    g = Forecast(2, Counts(4, 4, 4), Counts(5, 4, 4), {"a": Counts(-1), "b": Counts(1)})
    assert (f + g) * 2 == f * 2 + g * 2
    assert (f + g).terms == {"a": Counts(-1, 1, 2), "b": Counts(1)}
    assert total_terms((f.terms, g.terms)) == (f + g).terms


@pytest.mark.parametrize(
    ("counts", "loads", "right"),
    [
        (Counts(2, 3, 4), 2, True),
        (Counts(2, 3, 5), 2, False),
        (Counts(2, 3, 4), 3, False),
    ],
)
def test_a_part_matches_only_in_counts_and_loads(counts: Counts, loads: int, right: bool) -> None:
    """counted == predicted == paper + terms and loads == predicted loads"""
    expected = Forecast(2, Counts(2, 3, 4), Counts(2, 2, 4), {"scratch_clear": Counts(write=1)})
    assert Part("part", counts, Activity(), loads, expected).counts_match is right


def test_a_part_whose_terms_explain_too_little_does_not_match() -> None:
    expected = Forecast(2, Counts(2, 3, 4), Counts(2, 2, 4), {})
    assert not Part("part", Counts(2, 3, 4), Activity(), 2, expected).counts_match


def test_a_forecast_is_made_without_any_program() -> None:
    """The equations and the fold alone: no table, no kernel is loaded."""
    code = (
        "from apsim.nn.on_ap import tasks; from apsim.ap_kind import ApKind\n"
        "from apsim.nn.model.words import Words\n"
        "from apsim import program\n"
        "def refuse(*a): raise AssertionError('a program was made')\n"
        "program.Operation.on = program.Microprogram.counts = refuse\n"
        "words, on = Words(8, True), tasks.Setting(ApKind.TWO_D, 4800)\n"
        "print(tasks.products(9, 5000, words, words, on).forecast.loads)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "19"), done.stderr
