"""Softmax, layer norm and RMS norm: against Python's integers, and the counts of the design."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim import functions
from apsim.ap_kind import ApKind
from apsim.closed_form import normalize as counts
from apsim.counts import Counts, Phase
from apsim.errors import InputError, LutError, ProgramError
from apsim.functions import Function, exponential, ita_softmax, layer_norm, rms_norm, softmax
from apsim.functions.normalize import norm_quotient
from apsim.functions.table import FUNCTIONS
from apsim.machine import Machine
from apsim.program import Op

KINDS = [kind.value for kind in ApKind]
TABLE = exponential(1 / 16)
SEED = st.integers(0, 10**6)


def probabilities(scores: np.ndarray, table: tuple[int, ...] = TABLE) -> list[list[int]]:
    """min(round half up(256 e / sum e), 255), in fractions."""
    found = []
    for row in scores.tolist():
        each = [table[max(row) - score] for score in row]
        exact = (Fraction(256 * e, sum(each)) + Fraction(1, 2) for e in each)
        found.append([min(math.floor(p), 255) for p in exact])
    return found


def normal(words: np.ndarray, centred: bool = True) -> list[list[int]]:
    """sgn(c) min(round half up(32 |c| / R), 127), in fractions."""
    found = []
    for row in words.tolist():
        size, total = len(row), sum(row) if centred else 0
        root = max(math.isqrt(size * sum(x * x for x in row) - total**2), 1)
        c = [size * x - total for x in row]
        rounded = (math.floor(Fraction(32 * abs(one), root) + Fraction(1, 2)) for one in c)
        found.append([min(y, 127) * (1 if k >= 0 else -1) for y, k in zip(rounded, c, strict=True)])
    return found


def words(seed: int, bits: int, groups: int, size: int) -> np.ndarray:
    """Words of all widths up to `bits`, so that small groups and equal ones occur."""
    rng = np.random.default_rng(seed)
    width = rng.integers(0, bits + 1, (groups, 1))
    return rng.integers(-(1 << bits - 1), 1 << bits - 1, (groups, size)) >> (bits - width)


def values(function: Function, operand: np.ndarray, dirty: int | None = None) -> list[list[int]]:
    """Results on a fresh machine, or on a used one with more rows and columns than needed."""
    more = 0 if dirty is None else 3
    machine = Machine(function.rows + more, function.layout, columns=function.columns + more)
    if dirty is not None:
        rng = np.random.default_rng(dirty)
        machine.cam.poke(rng.random((machine.rows, machine.cam.columns)) < 0.5)
    return functions.run(function, operand, machine=machine).values.tolist()


@pytest.mark.parametrize("kind", KINDS)
@given(
    bits=st.integers(2, 8), size=st.integers(1, 20), groups=st.integers(1, 4),
    broadcast=st.sampled_from(("group", "rows")), used=st.booleans(), seed=SEED,
)  # fmt: skip
@settings(max_examples=8)
def test_softmax_is_the_exact_quotient_rounded_once(
    kind: str, bits: int, size: int, groups: int, broadcast: str, used: bool, seed: int
) -> None:
    table = exponential(2.0 ** (3 - bits), bits)
    function = softmax(table, bits, size, groups, kind=kind, broadcast=broadcast, clear=used)
    scores = words(seed, bits, groups, size)
    found = values(function, scores, seed if used else None)
    assert found == probabilities(scores, table)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@given(
    bits=st.integers(2, 8), size=st.sampled_from([1, 2, 3, 5, 8, 11, 16, 21, 24, 27, 32, 48]),
    groups=st.integers(1, 4),
    broadcast=st.sampled_from(("group", "rows")), used=st.booleans(), seed=SEED,
)  # fmt: skip
@settings(max_examples=6)
def test_norms_are_the_exact_quotient_by_the_floor_of_the_root(
    kind: str, centred: bool, bits: int, size: int, groups: int, broadcast: str, used: bool,
    seed: int,
) -> None:  # fmt: skip
    build = layer_norm if centred else rms_norm
    function = build(bits, size, groups, kind=kind, broadcast=broadcast, clear=used)
    x = words(seed, bits, groups, size)
    assert values(function, x, seed if used else None) == normal(x, centred)


def test_softmax_of_ties_of_one_dominant_score_and_of_the_extremes() -> None:
    """all alike: 256 / T; one alone: 255, the others 0; ties share"""
    scores = np.array([[5] * 8, [127] + [-128] * 7, [-128] * 8, [9, 9] + [-128] * 6, [127] * 8])
    found = values(softmax(TABLE, 8, 8, 5, kind="1d"), scores)
    assert found == probabilities(scores)
    assert found[0] == found[2] == found[4] == [32] * 8
    assert found[1] == [255] + [0] * 7
    assert found[3] == [128, 128] + [0] * 6


@pytest.mark.parametrize("kind", KINDS)
@given(size=st.integers(2, 12), groups=st.integers(1, 4), used=st.booleans(), seed=SEED)
@settings(max_examples=6)
def test_a_masked_word_is_as_if_it_were_not_there(
    kind: str, size: int, groups: int, used: bool, seed: int
) -> None:
    """p of the others == softmax of the others alone, p of the masked == 0"""
    function = softmax(TABLE, 8, size, groups, kind=kind, masked=True, clear=used)
    scores, rng = words(seed, 8, groups, size), np.random.default_rng(seed)
    mask = rng.integers(0, 2, (groups, size))
    mask[np.arange(groups), rng.integers(0, size, groups)] = 0
    machine = Machine(function.rows, function.layout)
    if used:
        machine.cam.poke(rng.random((machine.rows, machine.cam.columns)) < 0.5)
    found = functions.run(function, scores, mask, machine=machine).values
    assert not (found * mask).any()
    for p, s, hidden in zip(found, scores, mask.astype(bool), strict=True):
        assert p[~hidden].tolist() == probabilities(s[None, ~hidden])[0]


def test_a_mask_takes_a_write_and_two_passes() -> None:
    open_to_all, masked = (
        softmax(TABLE, 8, 5, 2, kind="1d", masked=way).program.counts() for way in (False, True)
    )
    assert masked - open_to_all == Counts(compare=2, write=3)
    taken = counts.softmax(8, 5, 2, 66, "1d", masked=True).whole
    assert taken == masked


@pytest.mark.parametrize("mask", [[[1, 1], [0, 0]], [[2, 0], [0, 0]]])
def test_a_mask_that_leaves_nothing_is_refused(mask: list[list[int]]) -> None:
    function = softmax(TABLE, 8, 2, 2, masked=True)
    with pytest.raises(InputError, match="wanted a mask of 0 and 1, with a 0 in each group"):
        functions.run(function, np.zeros((2, 2), int), np.array(mask))


def halved(scores: np.ndarray, shift: int) -> list[list[int]]:
    """floor(floor(65280 / Z) / 2**k), k = round half up((max - s) / 2**shift), in fractions."""
    found = []
    for row in scores.tolist():
        steps = [math.floor(Fraction(max(row) - s, 1 << shift) + Fraction(1, 2)) for s in row]
        total = sum(math.floor(Fraction(256, 2**k)) for k in steps)
        found.append([math.floor(Fraction(65280 // total, 2**k)) for k in steps])
    return found


@pytest.mark.parametrize("kind", KINDS)
@given(
    bits=st.integers(2, 8), size=st.integers(1, 20), groups=st.integers(1, 4),
    shift=st.integers(0, 6), broadcast=st.sampled_from(("group", "rows")), used=st.booleans(),
    seed=SEED,
)  # fmt: skip
@settings(max_examples=6)
def test_the_softmax_of_ita_halves_an_exact_reciprocal(
    kind: str, bits: int, size: int, groups: int, shift: int, broadcast: str, used: bool, seed: int
) -> None:
    function = ita_softmax(
        bits, size, groups, kind=kind, shift=shift, broadcast=broadcast, clear=used
    )
    scores = words(seed, bits, groups, size)
    assert values(function, scores, seed if used else None) == halved(scores, shift)


ITA = {(16, 4): (1030, 1178, 136), (197, 2): (1582, 2403, 796)}


@pytest.mark.parametrize(("sizes", "golden"), ITA.items())
def test_the_softmax_of_ita_takes_the_golden_counts(
    sizes: tuple[int, int], golden: tuple[int, int, int]
) -> None:
    size, groups = sizes
    scores = words(size, 8, groups, size)
    done = functions.run(ita_softmax(8, size, groups, kind="1d"), scores)
    assert done.counts == Counts(*golden)
    assert done.values.tolist() == halved(scores, 0)
    assert counts.ita_softmax(8, size, groups, 9, "1d").whole == done.counts


def test_a_norm_of_the_least_variance_that_is_not_0() -> None:
    """V = 1: two words one apart, R = 1, |y| = 32; V = d - 1: one word one off"""
    assert values(layer_norm(8, 2, 2), np.array([[7, 8], [-1, -2]])) == [[-32, 32], [32, -32]]
    spike = np.array([[5] * 7 + [6]])
    assert values(layer_norm(8, 8, 1), spike) == normal(spike)


def test_a_softmax_of_one_word_is_certain() -> None:
    assert values(softmax(TABLE, 8, 1, 3), np.array([[-128], [0], [127]])) == [[255]] * 3


def extremes(size: int) -> np.ndarray:
    """Tokens where a norm's widths are used to the last bit."""
    rng = np.random.default_rng(size)
    spike = np.zeros(size, int)
    spike[3] = 1
    alternating = np.where(np.arange(size) % 2, -128, 127)
    lone = np.full(size, -128)
    lone[-1] = 127
    step = np.full(size, 7)
    step[0] = -8
    random = rng.integers(-128, 128, size)
    tokens = [np.full(size, -128), spike, -spike, alternating, lone, -step, -lone - 1, random]
    return np.stack(tokens)


@pytest.mark.parametrize("build", [layer_norm, rms_norm])
@pytest.mark.parametrize("size", [32, 48, 64])
def test_norms_of_constant_spiked_and_alternating_tokens(build: object, size: int) -> None:
    """V = 0 and V greatest, a quotient of 576 at d = 64, root and sum at their widest"""
    tokens = extremes(size)
    found = values(build(8, size, len(tokens), kind="1d"), tokens)  # type: ignore[operator]
    assert found == normal(tokens, build is layer_norm)
    assert (found[0] == [0] * size) == (build is layer_norm)


def test_a_quotient_of_a_spike_needs_ten_bits_from_64_words_on() -> None:
    assert [norm_quotient(1 << b) for b in range(9)] == [9, 9, 9, 9, 9, 9, 10, 10, 11]
    assert 64 * 63 // math.isqrt(63) == 576 >= 1 << 9
    assert (norm_quotient(48), norm_quotient(49)) == (9, 10)  # 64 sqrt(47) 7 / 6 = 511.9


SOFTMAX = {
    (1, 2): (643, 658, 12), (4, 1): (895, 918, 16), (5, 3): (1027, 1076, 38),
    (16, 1): (1163, 1214, 40), (16, 4): (1163, 1310, 136), (16, 8): (1163, 1438, 264),
    (64, 2): (1447, 1726, 264), (197, 2): (1747, 2567, 796),
}  # fmt: skip
LAYER_NORM = {
    (8, 2): (2141, 2186, 40), (32, 3): (2861, 3066, 200), (64, 2): (3337, 3606, 264),
    (32, 8): (2861, 3386, 520), (64, 8): (3337, 4374, 1032),
}  # fmt: skip
"""Compares, writes and reads by (size, groups), of the design's own execution (1D)."""


@pytest.mark.parametrize(("sizes", "golden"), SOFTMAX.items())
def test_softmax_takes_the_golden_counts(
    sizes: tuple[int, int], golden: tuple[int, int, int]
) -> None:
    """With one list for whole words (68 passes); lists for groups of bits take 66"""
    size, groups = sizes
    scores = words(size, 8, groups, size)
    by_tree = softmax(TABLE, 8, size, groups, kind="1d", method="tree")
    done = functions.run(by_tree, scores)
    assert done.counts == Counts(*golden)
    assert done.values.tolist() == probabilities(scores)
    assert counts.softmax(8, size, groups, 68, "1d").whole == done.counts
    usual = softmax(TABLE, 8, size, groups, kind="1d").program.counts()
    assert done.counts - usual == Counts(compare=2, write=2)


@pytest.mark.parametrize(("sizes", "golden"), LAYER_NORM.items())
def test_layer_norm_takes_the_golden_counts(
    sizes: tuple[int, int], golden: tuple[int, int, int]
) -> None:
    size, groups = sizes
    tokens = extremes(size)[-groups:]
    done = functions.run(layer_norm(8, size, groups, kind="1d"), tokens)
    assert done.counts == Counts(*golden)
    assert done.values.tolist() == normal(tokens)
    assert counts.layer_norm(8, size, groups, "1d").whole == done.counts


def test_segments_move_and_broadcast_at_once() -> None:
    """G groups take what one takes, and a level's moves what one move takes"""
    for build in (layer_norm, rms_norm):
        one, many = (build(8, 16, groups, kind="2d-seg").program.counts() for groups in (1, 9))
        assert one == many
    serial, parallel = (softmax(TABLE, 8, 16, 4, kind=kind).program.counts() for kind in KINDS[1:3])
    moves, level = 2 * 4 * 15, 2 * 4
    broadcasts = 2 * 4 - 2
    gone = moves - level + broadcasts
    assert serial - parallel == Counts(write=gone, read=gone)


def test_without_the_option_a_broadcast_takes_a_write_for_each_row() -> None:
    """+ G (T - 1) a broadcast: the alternative term"""
    for build, words_each in ((layer_norm, 2), (rms_norm, 1)):
        at_once, by_rows = (
            build(8, 16, 3, kind="1d", broadcast=way).program.counts() for way in ("group", "rows")
        )
        assert by_rows - at_once == Counts(write=words_each * 3 * 15)


def test_a_function_without_the_option_drives_one_row_in_each_vertical_write() -> None:
    function = softmax(TABLE, 8, 4, 2, kind="1d", broadcast="rows")
    moves = [step for step, _ in function.program.weighted() if step.op is Op.WRITE_TAG]
    assert moves
    assert {len(step.key) for step in moves} == {1}


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (lambda: softmax((0,) * 256, 8, 4, 1), InputError, "a table that is 1 or more at 0"),
        (lambda: softmax(TABLE[:9], 8, 4, 1).program, LutError, "wanted 256 values"),
        (lambda: softmax((300,) * 256, 8, 4, 1).program, LutError, "does not fit field"),
        (lambda: softmax(TABLE, 8, 4, 1, broadcast="all"), ProgramError, "wanted one of group"),
        (lambda: ita_softmax(8, 4, 1, shift=-1), InputError, "wanted a shift of 0 to 32"),
        (lambda: layer_norm(8, 0, 1), InputError, "a norm: wanted groups of one word at least"),
        (lambda: rms_norm(8, 0, 1), InputError, "a norm: wanted groups of one word at least"),
        (lambda: layer_norm(1, 1, 3), InputError, "of one word: wanted 2 bits at least, got 1"),
        (lambda: layer_norm(8, 64, 80).require(4800, 100), ProgramError, "needs 5120 rows and"),
        (lambda: functions.run(layer_norm(8, 4, 2), np.zeros(8, int)), InputError, r"\(2, 4\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        wrong()  # type: ignore[operator]


@pytest.mark.parametrize("build", [layer_norm, rms_norm])
def test_norms_of_as_many_words_as_an_array_has_rows_fit_its_columns(build: object) -> None:
    """Columns of dead fields are used again; clearing them takes no write more"""
    for level in range(13):
        function = build(8, 1 << level, 1)  # type: ignore[operator]
        assert function.columns <= 160
    assert layer_norm(8, 32, 3).columns == 109


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("broadcast", ["group", "rows"])
@pytest.mark.parametrize("what", ["softmax", "ita_softmax", "layer_norm", "rms_norm"])
def test_moves_and_broadcasts_are_what_words_are_transferred_for(
    what: str, broadcast: str, kind: str
) -> None:
    """the program's transfers == the closed forms of word_moves and broadcast"""
    sizes: dict[str, Any] = {"M": 4, "T": 6, "G": 3, "broadcast": broadcast}
    sizes |= {"values": exponential(0.5, 4)} if what == "softmax" else {}
    entry = FUNCTIONS[what]
    listed = entry.build(kind, sizes).program.counts_by_phase()[Phase.TRANSFER]
    terms = entry.terms(kind, sizes)
    assert listed == terms["word_moves"] + terms["broadcast"]
