"""The largest word of each group of rows, by every scheme that an AP kind offers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim import ops
from apsim.ap_kind import ApKind
from apsim.errors import ProgramError
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.ops.selection import flag_rows, placed
from apsim.program import Loop
from tests.helpers.benches import words

WAYS = [
    (kind.value, scheme)
    for kind in ApKind
    for scheme in ("moves", *["prefix"] * kind.vertical, *["chain"] * kind.chain)
]
SEED = st.integers(0, 10**6)


def machine_with(bits: int, word: str, kind: str, scheme: str, groups: ops.Groups) -> Machine:
    rows = groups.rows + flag_rows(kind, scheme, groups)
    return Machine(rows, Layout(A=f"{word}{bits}", B=f"{word}{bits}", F1=1, F2=1))


@pytest.mark.parametrize(("kind", "scheme"), WAYS)
@given(
    bits=st.integers(1, 16), count=st.integers(1, 4), size=st.integers(1, 17),
    word=st.sampled_from("uo"), seed=SEED,
)  # fmt: skip
@settings(max_examples=15)
def test_the_largest_word_of_each_group_ends_in_its_first_row(
    kind: str, scheme: str, bits: int, count: int, size: int, word: str, seed: int
) -> None:
    """B[first row of group] == max of the group"""
    groups, rng = ops.Groups(count, size), np.random.default_rng(seed)
    machine = machine_with(bits, word, kind, scheme, groups)
    where = placed(groups, kind, scheme).word_rows
    values = words(rng, word, bits, groups.rows).reshape(count, size)
    # Flag rows are scratch: all their columns start clean.
    patterns = np.zeros(machine.rows, np.uint64)
    patterns[where] = machine.layout["B"].encode(values)
    cells = np.zeros((machine.rows, machine.cam.columns), bool)
    for place, column in enumerate(machine.layout["B"].columns):
        cells[:, column] = patterns >> np.uint64(place) & np.uint64(1)
    if scheme != "moves":  # a move overwrites A where it has a partner, and wants A <= B elsewhere
        for column in machine.layout["A"].columns:
            cells[where, column] = rng.random((count, size)) < 0.5
    machine.cam.poke(cells)
    machine.run(
        ops.largest("B", other="A", flags=("F1", "F2"), groups=groups, kind=kind, scheme=scheme)
    )
    found = machine.peek("B")[where[:, 0]]
    np.testing.assert_array_equal(found, values.max(1))


@pytest.mark.parametrize(("kind", "scheme"), WAYS)
@pytest.mark.parametrize("size", [2, 3, 7, 16])
def test_segments_that_act_at_once_are_rows_that_lie_together(
    kind: str, scheme: str, size: int
) -> None:
    """last row of a segment < first row of the next, in every parallel loop, on rows that exist"""
    groups = ops.Groups(3, size)
    layout = Layout(A="u4", B="u4", F1=1, F2=1)
    program = ops.largest(
        "B", other="A", flags=("F1", "F2"), groups=groups, kind=kind, scheme=scheme
    ).on(layout)
    rows = groups.rows + flag_rows(kind, scheme, groups)
    loops = [item for item in program.items if isinstance(item, Loop)]
    assert bool(loops) and all(loop.rows.max() < rows for loop in loops)
    for loop in loops if ApKind.named(kind).segmented else ():
        spans = sorted((segment.min(), segment.max()) for segment in loop.rows)
        assert loop.parallel
        assert all(last < first for (_, last), (first, _) in pairwise(spans))


@pytest.mark.parametrize(
    ("kind", "scheme", "message"),
    [
        ("1d", "prefix", "a maximum by prefix is not possible on the 1d AP"),
        ("1d", "chain", "a maximum by chain is not possible on the 1d AP"),
        ("2d", "chain", "a maximum by chain is not possible on the 2d AP"),
        ("2d-seg", "chain", "a maximum by chain is not possible on the 2d-seg AP"),
        ("2d", "tree", "unknown scheme 'tree': wanted one of moves, prefix, chain"),
        ("4d", "moves", "unknown AP kind '4d'"),
    ],
)
def test_what_a_kind_does_not_offer_is_refused(kind: str, scheme: str, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        ops.largest(
            "B", other="A", flags=("F", "F"), groups=ops.Groups(1, 2), kind=kind, scheme=scheme
        )


def test_vertical_schemes_want_no_twos_complement() -> None:
    wanted = ops.largest(
        "B", other="A", flags=("F", "F"), groups=ops.Groups(1, 2), kind="2d", scheme="prefix"
    )
    with pytest.raises(ProgramError, match="wants unsigned or offset-binary words, got B"):
        wanted.on(Layout(A="s4", B="s4", F=1))
