"""Weights in the program by formula: the goldens, the published tables, and what does not fit."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from apsim.closed_form import WeightPlan, latency, split, spread, weights
from apsim.closed_form.weight_plan import Spread
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


def _ends(plan: WeightPlan, w: np.ndarray) -> int:
    """Passes of ripples and merges, added up one by one as the bounds of accumulators grow."""
    size, step, found = (1 << plan.bits) - 1, max(plan.chunk, 1), 0
    for line in w.tolist():
        every = [digit for weight in line for digit in _digits(weight)]
        held = 0 if plan.chunk else size * sum(1 << k for k, sign in every if sign < 0)
        for start in range(0, plan.words, step):
            some = [digit for weight in line[start : start + step] for digit in _digits(weight)]
            below = size * sum(1 << k for k, sign in some if sign < 0)
            bound = below if plan.chunk else held
            found += 2 * sum(bound.bit_length() - plan.bits - k for k, sign in some if sign < 0)
            for weight in line[start : start + step]:
                more = [k for k, sign in _digits(weight) if sign > 0]
                bound += size * sum(1 << k for k in more)
                found += 2 * sum(bound.bit_length() - plan.bits - k for k in more)
            held = held + bound if plan.chunk else bound
            if plan.chunk and some:
                short = bound.bit_length()
                found += 3 * short - 1 + 2 * (held.bit_length() - short)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_ripples_end_where_nothing_is_left_to_carry(seed: int) -> None:
    """ripple + merge + stopped == a walk over digits in order, in whole numbers of Python"""
    rng = np.random.default_rng(seed)
    w = rng.integers(-(1 << seed), (1 << seed) + 1, (4, 30))
    for bits, chunk in ((1, 0), (8, 0), (3, 4), (8, 7)):
        counts, plan = weights(w, bits, 400, [chunk])
        terms = plan.terms
        if plan.offsets:
            continue
        walked = terms["ripple"] + terms["merge"] + terms.get("stopped", Counts())
        assert walked.compare == _ends(plan, w)
        whole = weights(w, bits, 400, [chunk], stop=False)[0]
        assert whole - counts == -1 * terms.get("stopped", Counts())


def test_binary_weights_take_one_sum_of_all_words() -> None:
    """2 Q - S or S - 2 Q: each output's rarer sign, 64 words for S, and S added to 16 outputs"""
    w = np.random.default_rng(0).choice([-1, 1], (16, 64))
    counts, plan = weights(w, 8, 400, [0], stop=False)
    assert set(plan.offsets) == {-1, 1}
    rarer = np.minimum((w > 0).sum(axis=1), (w < 0).sum(axis=1))
    assert plan.digits == rarer.sum()
    made, used = 64 * (30 + 2 * (14 - 8)), 16 * (4 * 14 - 2 + 2 * (plan.width - 14))
    assert plan.terms["common_sum"] == Counts(1, 1) * (made + used)
    plain = 16 * 64 * (30 + 2 * (14 - 8))  # W = 14: every weight one digit at bit 0
    assert 1.85 < plain / counts.compare < 1.95
    assert weights(w[:1], 8, 400, [0])[1].offsets == ()  # for one output it does not pay


def test_ternary_weights_are_one_digit_each_unless_one_sign_prevails() -> None:
    even = np.random.default_rng(0).choice([-1, 0, 1], (16, 64))
    _, plan = weights(even, 8, 160)
    assert not plan.offsets
    assert plan.digits == np.count_nonzero(even)
    _, plan = weights(np.where(even == 0, -1, even), 8, 160)
    assert plan.offsets
    assert plan.digits <= np.count_nonzero(even == 1)


def test_presets_hold_biases_where_accumulators_have_room() -> None:
    """preset + bias - least bias < 2^W, at no operation more"""
    w = np.array([[3, -5], [7, 1]])
    plain, plan = weights(w, 4, 160, [0], stop=False)
    room = (1 << plan.width) - 1 - 15 * 10  # of the second: 8 - 1 and 1, each up to 15
    for most, held in ((room, True), (room + 1, False)):
        counts, found = weights(w, 4, 160, [0], stop=False, bias=[-100, most - 100])
        assert counts == plain
        assert (found.raised is not None) == held
        if held:
            assert (found.raised, found.least) == ((0, most), -100)


def test_parts_get_each_other_once() -> None:
    """Of s parts all but the first are received by exactly one, in ceil(log2 s) rounds"""
    w = np.random.default_rng(0).integers(-8, 8, (3, 40))
    _, whole = weights(w, 4, 160)
    for parts in range(1, 20):
        plans = split(w, whole, 160, Spread(0, 2, parts))
        got = [k + (1 << level) for k, plan in enumerate(plans) for level in range(plan.received)]
        assert sorted(got) == list(range(1, parts))
        assert plans[0].received == (parts - 1).bit_length()
        assert sum(plan.words for plan in plans) == 40
        assert {(plan.width, plan.together) for plan in plans} == {(whole.width, 2)}
        sums = sum((p.terms.get("received_sums", Counts()) for p in plans), Counts())
        assert sums + Counts(read=whole.width * 3 * (parts - 1)) == Counts(
            4 * whole.width - 2, 5 * whole.width - 2, whole.width
        ) * (3 * (parts - 1))


def test_partial_sums_want_columns_of_their_own() -> None:
    """1 + M + W and W more: exactly enough, and one less"""
    w = np.random.default_rng(0).integers(-8, 8, (1, 40))
    _, whole = weights(w, 4, 160)
    wanted = 1 + 4 + 2 * whole.width
    assert split(w, whole, wanted, Spread(0, 1, 2))[0].columns == wanted
    with pytest.raises(ProgramError, match=rf"wants 1 \+ M \+ W \+ W = .* = {wanted} columns"):
        split(w, whole, wanted - 1, Spread(0, 1, 2))


def test_latency_of_one_cap_is_all_of_it_and_of_many_that_of_one_group() -> None:
    w = np.random.default_rng(0).integers(-128, 128, (16, 144))
    counts, plan = weights(w, 8, 160)
    assert latency((plan,), 5, 1) == 5 * counts.total
    assert latency((plan,), 5, 10**6) == -(-counts.total // plan.groups)
    quickest = spread(plan, 5, 4096)
    assert quickest.split > 1
    assert latency(split(w, plan, 160, quickest), 5, 4096) < latency((plan,), 5, 4096)


def test_sums_wider_than_a_number_are_refused() -> None:
    with pytest.raises(InputError, match="wanted sums of 62 bits"):
        weights([[-(1 << 31)]], 32, 400)


def test_terms_are_all_of_it() -> None:
    """digits + ripple + merge + preset + populate + read_out + stopped == counts"""
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
        counts -= plan.terms.get("stopped", Counts())  # the page's ripples are whole
        found = [plan.chunk, plan.width, plan.together, counts.total]
        assert found == [int(row[k]) for k in ("chunk", "W", "T", "cycles_rowload")], name
