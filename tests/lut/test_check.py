"""The proof of a LUT: what it refuses, and what it tells the LUT's author."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import lut
from apsim.errors import LutError
from apsim.lut.check import Unsound, filled, visits
from apsim.lut.model import Lut, Pass

LUTS = Path(__file__).resolve().parents[2] / "luts"


def reordered(name: str, *order: int) -> Lut:
    """The LUT with its passes (counted from 1) in another order."""
    found = replace(lut.find(name), origin=f"luts/{name}.toml")
    return replace(found, passes=tuple(found.passes[i - 1] for i in order))


def complaint(table: Lut) -> str:
    with pytest.raises(Unsound) as caught:
        lut.prove(table)
    return str(caught.value)


def test_passes_out_of_order_are_refused_with_row_culprit_and_advice() -> None:
    text = (LUTS / "add.toml").read_text(encoding="utf-8")
    swapped = text.replace("|  1   |", "|  0   |").replace("|  2   |", "|  1   |")
    with pytest.raises(Unsound) as caught:
        lut.parse(swapped.replace("|  0   |", "|  2   |"), origin="luts/add.toml")
    assert str(caught.value) == (
        'luts/add.toml, line 14, table row "1 0 0": '
        "expected B C = 1 0, but running the passes in order gives 0 1.\n"
        '    Pass 1 turns this row into "1 1 0", which pass 2 matches and writes again. '
        "Run pass 2 before pass 1."
    )


def test_two_hazards_at_once_are_told_a_whole_order() -> None:
    assert complaint(reordered("add", 2, 1, 4, 3)).endswith(
        "Run the passes in the order 2, 1, 4, 3."
    )


def test_a_missing_pass_is_said_to_be_missing() -> None:
    assert complaint(reordered("relu")) == (
        'luts/relu.toml, line 13, table row "1 1": '
        "expected A = 0, but running the passes in order gives 1.\n"
        "    No pass matches this row. "
        "No order of these passes is sound: a pass is wrong or missing."
    )


def test_a_pass_that_writes_the_wrong_bit_is_named() -> None:
    relu = replace(lut.find("relu"), passes=(Pass((("F", 1),), (("A", 1),)),))
    assert 'Pass 1 alone matches this row and makes it "1 1".' in complaint(relu)


def test_what_a_bit_leaves_must_be_possible_for_the_next_bit() -> None:
    """A per-word column may not be left in a state that the table calls not possible."""
    found = lut.find("ha2d")
    walked = replace(found, per_bit=("A", "B"), per_word=("C",), origin="mine")
    assert complaint(walked) == (
        'mine, line 15, table row "1 1 0": this row leaves C = 1 for the next bit, '
        "where the table says NP."
    )


def test_visits_name_the_passes_that_a_state_meets() -> None:
    """In FA3 the state 0 0 1 is turned into 1 0 0, which pass 3 makes the sum."""
    met = visits(lut.find("fa3"), (0, 0, 1))
    assert [(v.index, v.before, v.after) for v in met] == [
        (0, (0, 0, 1), (1, 0, 0)),
        (2, (1, 0, 0), (1, 1, 0)),
    ]


def test_free_cells_are_settled_by_the_passes_and_never_judged() -> None:
    found = lut.find("fa3")
    assert all(found.truth[s] == lut.run_passes(found, s) for s in found.reachable)
    wrong = {s: r and (1 - r[0], *r[1:]) for s, r in found.truth.items()}
    assert lut.is_sound(replace(found, truth=wrong))
    assert filled(replace(found, truth=wrong)) == found


def test_orders_of_too_many_passes_are_not_counted() -> None:
    many = replace(lut.find("relu"), passes=lut.find("relu").passes * 9)
    with pytest.raises(LutError, match="at most 8 passes, got 9"):
        lut.valid_orders(many)


def test_a_pass_given_twice_can_be_dropped() -> None:
    relu = lut.find("relu")
    assert lut.droppable(replace(relu, passes=relu.passes * 2)) == (1, 2)


@given(st.data())
def test_the_proof_agrees_with_replaying_every_possible_row(data: st.DataObject) -> None:
    """prove(lut) raises if and only if some possible state ends elsewhere than its truth."""
    found = lut.find(data.draw(st.sampled_from(lut.names())))
    bits = st.lists(
        st.tuples(st.sampled_from(found.columns), st.integers(0, 1)), min_size=1, max_size=3
    ).map(lambda pairs: tuple(dict(pairs).items()))
    extra = Pass(data.draw(bits), data.draw(bits))
    place = data.draw(st.integers(0, len(found.passes)))
    changed = replace(
        found, passes=(*found.passes[:place], extra, *found.passes[place:]), per_word=()
    )
    ends = {state: lut.run_passes(changed, state) for state in found.reachable}
    sound = all(
        bit == wanted or (state, name) in found.free
        for state, end in ends.items()
        for name, bit, wanted in zip(found.columns, end, found.truth[state] or (), strict=True)
    )
    if sound:
        lut.prove(changed)
    else:
        complaint(changed)
