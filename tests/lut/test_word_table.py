"""Lists of passes for any function of a word: proved on every input, and as short as known."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim.errors import LutError
from apsim.layout import Field
from apsim.lut import word_table as module
from apsim.lut.curves import Curve, tabulated
from apsim.lut.word_table import WordTable, word_table
from apsim.ops.table import patterns_of
from tests.conftest import ROOT

GOLDEN = ROOT.parent / "shared" / "design" / "golden" / "tables.json"


@st.composite
def functions(draw: st.DrawFn) -> tuple[tuple[int, ...], int]:
    """Any function of 1 to 6 bits into 1 to 6 bits: (values, output bits)."""
    inputs, outputs = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    values = st.integers(0, (1 << outputs) - 1)
    size = 1 << inputs
    return tuple(draw(st.lists(values, min_size=size, max_size=size))), outputs


@given(functions(), st.sampled_from(module.METHODS))
def test_every_list_gives_its_function(drawn: tuple[tuple[int, ...], int], method: str) -> None:
    """run(word_table(f)) == f for all 2^n words"""
    values, outputs = drawn
    assert tuple(word_table(values, outputs, method).run()) == values


@given(functions())
def test_a_freer_search_is_never_longer(drawn: tuple[tuple[int, ...], int]) -> None:
    """passes(grouped) <= passes(tree) <= passes(prefix)"""
    grouped, tree, prefix = (len(word_table(*drawn, m).passes) for m in module.METHODS)
    assert grouped <= tree <= prefix


@given(functions())
def test_a_whole_word_list_changes_value_as_often_as_there_are_values(
    drawn: tuple[tuple[int, ...], int],
) -> None:
    """passes(tree) >= distinct values - 1"""
    assert len(word_table(*drawn, "tree").passes) >= len(set(drawn[0])) - 1


def optimum(inputs: int) -> dict[tuple[int, ...], int]:
    """The least passes for every function into one bit: breadth-first from both presets."""
    words = range(1 << inputs)
    keys = [
        [w for w in words if all(k is None or w >> i & 1 == k for i, k in enumerate(key))]
        for key in product((None, 0, 1), repeat=inputs)
    ]
    found = {(bit,) * (1 << inputs): 0 for bit in (0, 1)}
    front = list(found)
    while front:
        after = []
        for state, rows, bit in product(front, keys, (0, 1)):
            reached = tuple(bit if w in rows else v for w, v in enumerate(state))
            if reached not in found:
                found[reached] = found[state] + 1
                after.append(reached)
        front = after
    return found


def test_all_functions_of_three_bits_into_one_take_the_least_passes() -> None:
    """passes(grouped) == optimum over all masked compares and writes, 256 functions"""
    best = optimum(3)
    assert len(best) == 256
    assert all(len(word_table(f, 1).passes) == least for f, least in best.items())
    assert sum(best.values()) / 256 == pytest.approx(2.008, abs=1e-3)


@pytest.mark.parametrize(
    "name,scale,out,passes",
    [
        ("logistic", 1 / 32, 1 / 256, 168), ("logistic", 1 / 16, 1 / 256, 126),
        ("logistic", 1 / 8, 1 / 256, 74), ("tanh", 1 / 32, 1 / 128, 126),
        ("tanh", 1 / 16, 1 / 128, 74), ("tanh", 1 / 8, 1 / 128, 42), ("abs", 1, 1, 24),
        ("identity", 1, 1, 8),
    ],
)  # fmt: skip
def test_known_counts_of_functions_of_eight_bits(
    name: str, scale: float, out: float, passes: int
) -> None:
    source, target = (
        Field("X", 0, 8, "s"),
        Field("Y", 8, 8, "s" if name in ("tanh", "identity") else "u"),
    )
    values = tabulated(
        Curve(name, scale, out_scale=out), source.values, target.lowest, target.highest
    )
    assert len(word_table(patterns_of(values, source, target), 8).passes) == passes


def test_golden_lists_are_as_long_as_worked_out_before() -> None:
    if not GOLDEN.is_file():
        pytest.skip("no golden lists beside the project")
    for golden in json.loads(GOLDEN.read_text()):
        found = word_table(tuple(golden["table"]), golden["m"])
        assert len(found.passes) == golden["passes"], golden["name"]
        assert (matches(found), flips(found)) == (
            golden["matches_all_256_rows"], golden["flips_all_256_rows"],
        ), golden["name"]  # fmt: skip


def matches(found: WordTable) -> int:
    words = np.arange(len(found.values))
    return sum(int(((words & one.mask) == one.key).sum()) for one in found.passes)


def flips(found: WordTable) -> int:
    """Cells that change over all words, in columns that held 0."""
    words, out = np.arange(len(found.values)), np.full(len(found.values), found.preset)
    flipped = len(words) * found.preset.bit_count()
    for one in found.passes:
        tagged = (words & one.mask) == one.key
        new = np.where(tagged, (out & ~one.write) | one.value, out)
        flipped += sum(int(x).bit_count() for x in out ^ new)
        out = new
    return flipped


def test_twelve_bits_are_the_widest_word() -> None:
    ramp = tuple(word >> 4 for word in range(1 << 12))
    assert word_table(ramp, 8).method == "prefix"
    with pytest.raises(LutError, match="at most 12 input bits, got 13"):
        word_table(tuple(0 for _ in range(1 << 13)), 1)


@pytest.mark.parametrize(
    "values,outputs,message",
    [
        ((0, 1, 2), 2, r"wants 2\^n values"),
        ((0,), 1, r"wants 2\^n values"),
        ((0, 4), 2, "input 1: value 4 does not fit into 2 columns"),
        ((0, -1), 2, "value -1 does not fit"),
    ],
)
def test_what_is_no_table_is_refused(values: tuple[int, ...], outputs: int, message: str) -> None:
    with pytest.raises(LutError, match=message):
        word_table(values, outputs)


def test_a_wrong_list_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation: a search that forgets the last pass."""
    real = module.plain

    def short(*arguments: object) -> object:
        found = real(*arguments)  # type: ignore[arg-type]
        return type(found)(found.preset, found.passes[:-1])

    monkeypatch.setattr(module, "plain", short)
    with pytest.raises(LutError, match="the passes are wrong: input"):
        word_table((0, 1, 1, 0, 1, 0, 0, 2), 2, "tree")
