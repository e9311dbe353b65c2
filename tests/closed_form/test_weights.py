"""Weights in the program by formula: the goldens, the published tables, and what does not fit."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from apsim.closed_form import weights
from apsim.closed_form.weights import spread
from apsim.counts import Counts
from apsim.errors import InputError, ProgramError
from apsim.nn.zoo import sources

DATA = Path(__file__).resolve().parents[3] / "shared/design/data"
HARD = [-128, 127, 85, -1]


@pytest.mark.parametrize(
    ("w", "bits", "chunk", "counts", "width", "short"),
    [
        ([3, -5], 4, 0, (80, 89, 8), 8, 0),
        ([1, 0, -1, 1], 8, 0, (102, 127, 10), 10, 0),
        (HARD, 8, 0, (332, 365, 17), 17, 0),
        (HARD, 8, 2, (414, 449, 17), 17, 16),
    ],
)
def test_one_output_takes_what_was_counted_by_hand(
    w: list[int], bits: int, chunk: int, counts: tuple[int, int, int], width: int, short: int
) -> None:
    found, plan = weights([w], bits, 160, [chunk], stop=False)
    assert (found, plan.width, plan.short) == (Counts(*counts), width, short)


def _digits(weight: int) -> list[tuple[int, int]]:
    """By the definition: no two neighbours, the first by w mod 4."""
    found, place = [], 0
    while weight:
        if weight % 2:
            digit = 2 - weight % 4
            found.append((place, digit))
            weight -= digit
        weight //= 2
        place += 1
    return found


@pytest.mark.parametrize("seed", range(8))
def test_a_plan_is_the_definition_counted_weight_by_weight(seed: int) -> None:
    """nd, nk, W, WQ, live, populated == loops over digits, chunks and groups"""
    rng = np.random.default_rng(seed)
    bits, widest, i, words = 1 + seed, 2 + seed, rng.integers(1, 6), rng.integers(1, 20)
    w = rng.integers(-(1 << widest), 1 << widest, (i, words))
    w[rng.random(w.shape) < 0.4] = 0
    for chunk in (0, 3):
        _, plan = weights(w, bits, 160, [chunk])
        every = [digit for line in w.tolist() for weight in line for digit in _digits(weight)]
        assert (plan.digits, plan.places) == (len(every), sum(k for k, _ in every))
        size = (1 << bits) - 1
        reach = np.array(
            [[sum(1 << k for k, _ in _digits(x)) for x in line] for line in w.tolist()]
        )
        assert plan.width == max(int(reach.sum(axis=1).max() * size).bit_length(), 1)
        parts = [reach[:, k : k + chunk] for k in range(0, words, chunk or words)] if chunk else []
        assert plan.short == max([int(p.sum(1).max() * size).bit_length() for p in parts] or [0])
        assert plan.live == sum(int(p.any(axis=1).sum()) for p in parts)
        groups = [w[k : k + plan.together] for k in range(0, i, plan.together)]
        assert plan.populated == sum(int(group.any(axis=0).sum()) for group in groups)


def test_terms_are_all_of_it() -> None:
    """digits + ripple + merge + preset + populate + read_out == counts"""
    w = np.random.default_rng(0).integers(-128, 128, (7, 30))
    for chunk in (0, 2, 8):
        counts, plan = weights(w, 8, 160, [chunk])
        assert sum(plan.terms.values(), Counts()) == counts
        assert bool(plan.terms["merge"].total) == bool(chunk)


def test_an_all_zero_layer_takes_presets_and_reads_alone() -> None:
    assert weights(np.zeros((3, 5), int), 8, 160)[0] == Counts(0, 1, 3)


def test_exactly_enough_columns_and_one_less() -> None:
    wanted = 1 + 8 + 17
    assert weights([HARD], 8, wanted)[1].columns == wanted
    with pytest.raises(ProgramError, match=r"wants 1 \+ M \+ W = 1 \+ 8 \+ 17 = 26.*a CAP has 25"):
        weights([HARD], 8, wanted - 1)


@pytest.mark.parametrize("w", [[1, 2], [[]], [[0.5]], [[1 << 40]], [[-(1 << 31) - 1]]])
def test_what_are_no_weights_is_refused(w: object) -> None:
    with pytest.raises(InputError, match="weights: wanted"):
        weights(w, 8, 160)  # type: ignore[arg-type]


def test_the_widest_weights_are_taken() -> None:
    assert weights([[-(1 << 31), (1 << 31) - 1]], 1, 160)[1].digits == 3


def test_a_chip_is_never_slower_than_one_cap_and_needs_no_more_than_it_has() -> None:
    """spread(plan, loads, 1) == all loads one after another; more CAPs, fewer cycles"""
    counts, plan = weights(np.random.default_rng(0).integers(-128, 128, (16, 144)), 8, 160)
    assert (spread(plan, 5, 1).cycles, spread(plan, 5, 1).split) == (5 * counts.total, 1)
    cycles = [spread(plan, 5, caps).cycles for caps in (1, 2, 16, 256, 4096)]
    assert cycles == sorted(cycles, reverse=True)


@pytest.mark.parametrize("net", ["digits", pytest.param("resnet18", marks=pytest.mark.long)])
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_networks_take_what_the_design_page_lists(net: str, bits: int) -> None:
    path = DATA / f"{net}_weights_mapping.csv"
    if not path.exists():
        pytest.skip("the design pages are not there")
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    wanted = {row["layer"]: row for row in csv.DictReader(lines) if row["bits"] == str(bits)}
    model = sources.model(net, bits=str(bits))
    layers = {layer.name: layer for layer in model.layers}
    for name, row in wanted.items():
        layer = layers[name]
        w = layer.weights.reshape(len(layer.weights), -1)  # type: ignore[attr-defined]
        counts, plan = weights(w, model.tensors[layer.inputs[0]].bits, 160)
        counts -= plan.terms["stopped"]  # the page's ripples are whole
        found = [plan.chunk, plan.width, plan.together, counts.total]
        assert found == [int(row[k]) for k in ("chunk", "W", "T", "cycles_rowload")], name
