"""From truth to passes: what can be done in place is done, with the fewest passes; the rest is
refused with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import permutations, product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apsim import lut
from apsim.errors import LutError
from apsim.lut.order import Impossible, order

State = tuple[int, ...]
Map = tuple[int, ...]  # of states as integers

ALL_TWO_BIT_MAPS = list(product(range(4), repeat=4))


def two_bits(number: int) -> State:
    return number >> 1, number & 1


def compiled(two_bit_map: Map, *, minimal: bool) -> lut.Lut:
    truth = {two_bits(s): two_bits(t) for s, t in enumerate(two_bit_map)}
    return lut.compile(truth, name="map", inputs="A B", outputs="A B", minimal=minimal)


def all_passes(*, masked: bool) -> Iterator[Map]:
    """Every pass over two bits, as a map of the four states."""
    for key, write in product(product((None, 0, 1), repeat=2), repeat=2):
        if key == (None, None) or (not masked and (None in key or None in write)):
            continue
        yield tuple(
            int("".join(str(b if w is None else w) for b, w in zip(bits, write, strict=True)), 2)
            if all(k in (None, b) for k, b in zip(key, bits, strict=True))
            else state
            for state, bits in enumerate(product((0, 1), repeat=2))
        )


@cache
def fewest_passes(masked: bool) -> dict[Map, int]:
    """The fewest passes for each two-bit map that can be reached, by breadth first search."""
    start = (0, 1, 2, 3)
    depth, frontier = {start: 0}, [start]
    while frontier:
        reached = {
            tuple(step[state] for state in done): depth[done] + 1
            for done in frontier
            for step in all_passes(masked=masked)
        }
        frontier = [new for new in reached if new not in depth]
        depth |= {new: reached[new] for new in frontier}
    return depth


@pytest.mark.parametrize("masked", [False, True])
def test_all_two_bit_maps_take_the_fewest_passes_or_are_refused(masked: bool) -> None:
    """len(compile(f).passes) == breadth first search, for 233 of 256 maps."""
    fewest = fewest_passes(masked)
    refused = set()
    for two_bit_map in ALL_TWO_BIT_MAPS:
        try:
            made = compiled(two_bit_map, minimal=masked)
        except LutError:
            refused.add(two_bit_map)
            continue
        assert len(made.passes) == fewest[two_bit_map]
        assert tuple(made.truth[two_bits(s)] for s in range(4)) == tuple(map(two_bits, two_bit_map))
    assert refused == set(permutations(range(4))) - {(0, 1, 2, 3)}
    assert len(ALL_TWO_BIT_MAPS) - len(refused) == len(fewest) == 233


REFUSED: list[tuple[str, str, str, Callable[..., object]]] = [
    ("xor", "A B", "B", lambda a, b: a ^ b),
    ("xnor", "A B", "B", lambda a, b: 1 - (a ^ b)),
    ("nand", "A B", "B", lambda a, b: 1 - (a & b)),
    ("not", "A", "A", lambda a: 1 - a),
    ("swap", "A B", "A B", lambda a, b: (b, a)),
]


@pytest.mark.parametrize(("name", "inputs", "outputs", "truth"), REFUSED)
def test_what_permutes_all_states_is_refused(
    name: str, inputs: str, outputs: str, truth: Callable[..., object]
) -> None:
    with pytest.raises(LutError, match=f"^{name}x cannot be done in place: .* are permuted "):
        lut.compile(truth, name=f"{name}x", inputs=inputs, outputs=outputs)


def test_a_refusal_gives_the_reason_and_the_scratch_column_that_helps() -> None:
    with pytest.raises(LutError) as caught:
        lut.compile(lambda a, b: a ^ b, name="xor", inputs="A B", outputs="B")
    assert str(caught.value) == (
        "xor cannot be done in place: where A=1, all 2 states of B occur and are permuted "
        "(0 -> 1 -> 0), but a pass can only merge states or move one into a state that no row "
        "holds.\n    Add one scratch column, say S, to inputs and outputs, clean on entry and "
        "exit (NP where it is 1): then 3 passes will do."
    )


def test_the_scratch_column_does_help() -> None:
    made = lut.compile(
        lambda a, b, s: None if s else (a ^ b, 0), name="xor", inputs="A B S", outputs="B S"
    )
    assert len(made.passes) == 3


def test_nand_is_possible_where_the_kept_column_may_be_borrowed() -> None:
    """B <- NAND(A, B) permutes B where A = 1; with A written on the way, 4 passes do it."""
    with pytest.raises(LutError, match=r"Or list A among the outputs too: .*, 4 passes will do"):
        lut.compile(lambda a, b: 1 - (a & b), name="nand", inputs="A B", outputs="B")
    made = lut.compile(
        lambda a, b: (a, 1 - (a & b)), name="nand", inputs="A B", outputs="A B", minimal=True
    )
    assert (len(made.passes), made.minimal) == (4, "proved")


BITS = st.integers(0, 1)
RESULTS = st.none() | st.tuples(*[BITS | st.none()] * 3)


@given(st.lists(RESULTS, min_size=8, max_size=8), st.booleans())
@settings(max_examples=60)
def test_random_truth_tables_compile_to_luts_that_carry_them_out(
    results: list[tuple[int | None, ...] | None], minimal: bool
) -> None:
    """run_passes(compile(f), s) == f(s) where f(s) is a bit; and the file reads back."""
    truth = dict(zip(product((0, 1), repeat=3), results, strict=True))
    assume(any(truth.values()))
    try:
        made = lut.compile(truth, name="f", inputs="A B C", outputs="A B C", minimal=minimal)
    except LutError as error:
        assert "are permuted" in str(error)
        assert permutes_everything(truth)
        return
    for state, wanted in truth.items():
        if wanted is not None:
            ended = lut.run_passes(made, state)
            assert all(w in (None, bit) for w, bit in zip(wanted, ended, strict=True))
    assert lut.parse(lut.to_toml(made)) == made


def permutes_everything(truth: dict[State, tuple[int | None, ...] | None]) -> bool:
    """Whether every way to fill the free bits is a bijection of all states, not the identity."""
    if None in truth.values():
        return False
    results = [row for row in truth.values() if row is not None]
    ways = (product(*((0, 1) if bit is None else (bit,) for bit in row)) for row in results)
    return all(
        len(set(filled)) == len(truth) and list(filled) != list(truth) for filled in product(*ways)
    )


@given(st.permutations(range(8)), st.integers(0, 7))
@settings(max_examples=60)
def test_one_state_that_no_row_holds_makes_any_permutation_possible(
    image: list[int], hole: int
) -> None:
    """passes == states that move + cycles, once a state is free to move through."""
    states = list(product((0, 1), repeat=3))
    targets = {states[i]: states[image[i]] for i in range(8) if hole not in (i, image[i])}
    moves = order(targets, range(3))
    ends = {state: state for state in targets}
    for before, after in moves:
        ends = {state: after if now == before else now for state, now in ends.items()}
    assert ends == targets


def test_an_impossible_order_names_a_cycle() -> None:
    with pytest.raises(Impossible) as caught:
        order({(0,): (1,), (1,): (0,)}, [0])
    assert (caught.value.cycle, caught.value.size) == (((0,), (1,)), 2)


def test_a_table_that_changes_nothing_needs_no_pass() -> None:
    assert lut.compile(lambda a: a, name="same", inputs="A", outputs="A").passes == ()


def test_results_may_be_given_by_name() -> None:
    by_name = lut.compile(lambda a, b: {"B": a & b}, name="and", inputs="A B", outputs="B")
    assert by_name == lut.compile(lambda a, b: a & b, name="and", inputs="A B", outputs="B")


WRONG: list[tuple[dict[str, object], str]] = [
    (
        {"truth": {(0, 0): 1}},
        "f, state A B = 0 1: the truth table has no row; give None if not possible",
    ),
    ({"truth": lambda a, b: (a, b)}, "f, state A B = 0 0: expected 1 bits for B, got (0, 0)"),
    ({"truth": lambda a, b: a + b}, "f, state A B = 1 1: B must be 0, 1 or None (any), got 2"),
    ({"truth": lambda a, b: "1"}, "f, state A B = 0 0: B must be 0, 1 or None (any), got '1'"),
    (
        {"truth": lambda a, b: {"C": 1}},
        "f, state A B = 0 0: B must be 0, 1 or None (any), got 'nothing'",
    ),
    ({"truth": lambda a: a}, "f, state A B = 0 0: the function must take 2 bits"),
    ({"truth": lambda a, b: None}, "f: no state is possible, so there is nothing to compile"),
    ({"inputs": "A B C D E F G H I"}, "f: 1 to 8 input columns are supported, got 9"),
    ({"inputs": "A A"}, "f: each input column must be named once, got A A"),
    ({"inputs": ""}, "f: 1 to 8 input columns are supported, got 0"),
    ({"outputs": ""}, "f: expected at least one output column, got none"),
    (
        {"outputs": "C"},
        "f: column C is not among the inputs A B; "
        "a column that starts clean is an input too (None where it is 1)",
    ),
    ({"walk": "up"}, "f: walk must be 'lsb-first' or 'msb-first', got 'up'"),
    ({"name": "F!"}, "a LUT's name is small letters, digits and _, got 'F!'"),
    ({"inputs": "A 1"}, "f: expected a column name, got '1'"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[case[1][:40] for case in WRONG])
def test_a_truth_that_cannot_be_used_is_named(change: dict[str, object], message: str) -> None:
    usual: dict[str, object] = {"truth": lambda a, b: a & b, "name": "f", "inputs": "A B"}
    asked = usual | {"outputs": "B"} | change
    with pytest.raises(LutError) as caught:
        lut.compile(asked.pop("truth"), **asked)  # type: ignore[arg-type]
    assert str(caught.value) == message
