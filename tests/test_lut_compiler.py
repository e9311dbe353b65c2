"""From truth to passes: what can be done in place is done, with the fewest passes; the rest is
refused with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import permutations, product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apsim import lut
from apsim.errors import LutError
from apsim.lut.check import Unsound
from apsim.lut.compiler import prove_minimal
from apsim.lut.minimal import shortest
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


def _add(a: int, b: int, c: int) -> State:
    return (a + b + c) & 1, (a + b + c) >> 1


def _sub(a: int, b: int, c: int) -> State:
    return (b - a - c) & 1, int(b - a - c < 0)


def _top(a: int, b: int, c: int) -> State:
    return (c - a - b) & 1, ((c - a - b) >> 1) & 1


def _negate(b: int, c: int) -> State:
    return b ^ c, b | c


def _flags(a: int, b: int, f: int, g: int) -> State | None:
    if f > g:
        return None
    return (f, g) if g or a == b else (int(a < b), 1)


def _max_top(a: int, b: int, f: int, g: int) -> State | None:
    return None if f or g else (max(a, b), int(a < b), int(a != b))


N = None
MINIMUM: list[tuple[str, int, str, str, Callable[..., object]]] = [
    ("add, A kept", 4, "A B C", "B C", _add),
    ("add, A destroyed", 3, "A B C", "A B C", lambda a, b, c: (N, *_add(a, b, c))),
    ("add, first bit", 2, "A B C", "B C", lambda a, b, c: N if c else _add(a, b, c)),
    ("subtract, A kept", 4, "A B C", "B C", _sub),
    ("subtract, A destroyed", 3, "A B C", "A B C", lambda a, b, c: (N, *_sub(a, b, c))),
    ("reverse subtract, A kept", 6, "A B C", "B C", lambda a, b, c: _sub(b, a, c)),
    ("reverse subtract, A destroyed", 5, "A B C", "A B C", lambda a, b, c: (N, *_sub(b, a, c))),
    ("half add", 2, "A B", "A B", lambda a, b: (a & b, a ^ b)),
    ("increment, or add a constant 0", 2, "B C", "B C", lambda b, c: _add(0, b, c)),
    ("add a constant 1", 2, "B C", "B C", lambda b, c: _add(1, b, c)),
    ("conditional add", 4, "D A P C", "P C", lambda d, a, p, c: _add(d & a, p, c) if d >= c else N),
    ("conditional sub", 4, "D A P C", "P C", lambda d, a, p, c: _sub(d & a, p, c) if d >= c else N),
    ("add of NOT(A and D)", 5, "D A P C", "P C", lambda d, a, p, c: _add(1 - (a & d), p, c)),
    ("max, top bit", 2, "A B F G", "B F G", _max_top),
    ("signed top bit, A kept", 6, "A B C", "B C", _top),
    ("signed top bit, A destroyed", 5, "A B C", "A B C", lambda a, b, c: (N, *_top(a, b, c))),
    ("full add out of place", 5, "A B C D", "C D",
     lambda a, b, c, d: N if d else _add(a, b, c)[::-1]),
    ("and in place", 1, "A B", "B", lambda a, b: a & b),
    ("or in place", 1, "A B", "B", lambda a, b: a | b),
    ("xor, A destroyed", 2, "A B", "A B", lambda a, b: (N, a ^ b)),
    ("xor, scratch left dirty", 2, "A B S", "B S", lambda a, b, s: N if s else (a ^ b, N)),
    ("xor, scratch restored", 3, "A B S", "B S", lambda a, b, s: N if s else (a ^ b, 0)),
    ("swap, scratch restored", 3, "A B S", "A B S", lambda a, b, s: N if s else (b, a, 0)),
    ("xor out of place", 2, "A B S", "S", lambda a, b, s: N if s else a ^ b),
    ("xnor out of place", 2, "A B S", "S", lambda a, b, s: N if s else 1 - (a ^ b)),
    ("and out of place", 1, "A B S", "S", lambda a, b, s: N if s else a & b),
    ("not out of place", 1, "A S", "S", lambda a, s: N if s else 1 - a),
    ("copy, B clean", 1, "A B", "B", lambda a, b: N if b else a),
    ("copy, B dirty", 2, "A B", "B", lambda a, b: a),
    ("select", 2, "F A B", "B", lambda f, a, b: a if f else b),
    ("compare, lowest bit first", 2, "A B G", "G", lambda a, b, g: g if a == b else a),
    ("compare, highest bit first", 2, "A B F G", "F G", _flags),
    ("not-equal flag", 2, "A B G", "G", lambda a, b, g: g | (a ^ b)),
    ("ReLU", 1, "A F", "A", lambda a, f: a & (1 - f)),
    ("negate", 3, "B C", "B C", _negate),
    ("conditional negate", 3, "S B C", "B C",
     lambda s, b, c: (N if c > s else _negate(b, c) if s else (b, c))),
]  # fmt: skip
"""Operations of one bit with the fewest passes they can be done in, from an independent search."""


@pytest.mark.parametrize(
    ("passes", "inputs", "outputs", "truth"),
    [case[1:] for case in MINIMUM],
    ids=[case[0] for case in MINIMUM],
)
def test_the_fewest_passes_of_an_operation(
    passes: int, inputs: str, outputs: str, truth: Callable[..., object]
) -> None:
    made = lut.compile(truth, name="op", inputs=inputs, outputs=outputs, minimal=True)
    assert (len(made.passes), made.minimal) == (passes, "proved")
    assert lut.droppable(made) == ()


@pytest.mark.parametrize("table", ["max", "min"])
def test_table_iv_can_be_done_in_three_passes(table: str) -> None:
    found = lut.find(table)
    made = lut.compile(
        found.truth | {s: r and r[1:] for s, r in found.truth.items()},
        name="three",
        inputs=found.columns,
        outputs=found.outputs,
        minimal=True,
    )
    assert (len(made.passes), made.minimal) == (3, "proved")


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


@given(st.lists(st.integers(0, 7), min_size=8, max_size=8))
@settings(max_examples=60)
def test_the_search_never_needs_more_passes_than_the_order(image: list[int]) -> None:
    """len(shortest(f)) <= len(order(f)) == moving states + pure cycles."""
    states = list(product((0, 1), repeat=3))
    targets = {states[i]: states[image[i]] for i in range(8)}
    assume(len(set(image)) < 8)
    moves = order(targets, range(3))
    assert len(moves) == sum(i != t for i, t in enumerate(image)) + pure_cycles(image)
    if len(moves) <= 3:
        found = shortest(targets, range(3), limit=len(moves))
        assert found.passes is not None and len(found.passes) <= len(moves)


def pure_cycles(image: list[int]) -> int:
    """Cycles of two or more states into which no other state leads."""
    count = 0
    for start in range(len(image)):
        cycle, state = [start], image[start]
        while state not in cycle:
            cycle.append(state)
            state = image[state]
        led = [i for i, target in enumerate(image) if target in cycle and i not in cycle]
        count += state == start and start == min(cycle) and len(cycle) > 1 and not led
    return count


STEPS = st.tuples(*[st.tuples(*[st.sampled_from([None, 0, 1])] * 3)] * 2)
STATES = list(product((0, 1), repeat=3))


def carry_out(steps: Iterable[tuple[tuple[int | None, ...], ...]]) -> tuple[State, ...]:
    """Where a list of masked passes (key, write) sends each of the eight states."""
    ends = STATES
    for key, write in steps:
        ends = [
            tuple(b if w is None else w for b, w in zip(state, write, strict=True))
            if all(k in (None, b) for k, b in zip(key, state, strict=True))
            else state
            for state in ends
        ]
    return tuple(ends)


@cache
def two_passes() -> set[tuple[State, ...]]:
    """All maps of three bits that two passes can carry out, by trying every pair."""
    cells = list(product((None, 0, 1), repeat=3))
    keys = [key for key in cells if key != (None, None, None)]
    single = {carry_out([step]) for step in product(keys, cells)}
    index = {state: i for i, state in enumerate(STATES)}
    return {tuple(second[index[state]] for state in first) for first in single for second in single}


@given(st.lists(STEPS.filter(lambda step: any(k is not None for k in step[0])), max_size=3))
@settings(max_examples=60)
def test_the_search_finds_what_some_passes_do_with_no_more_of_them(
    steps: list[tuple[tuple[int | None, ...], ...]],
) -> None:
    """len(shortest(do(steps))) <= len(steps), and <= 2 just where trying all pairs says so."""
    wanted = carry_out(steps)
    found = shortest(dict(zip(STATES, wanted, strict=True)), range(3), limit=3)
    assert found.passes is not None
    assert carry_out(found.passes) == wanted
    assert found.below == len(found.passes) <= len(steps)
    assert (len(found.passes) <= 2) == (wanted in two_passes())


def test_an_impossible_order_names_a_cycle() -> None:
    with pytest.raises(Impossible) as caught:
        order({(0,): (1,), (1,): (0,)}, [0])
    assert (caught.value.cycle, caught.value.size) == (((0,), (1,)), 2)


def test_a_search_that_is_thinned_out_says_what_it_excluded() -> None:
    """With one node expanded on each level, only lists of one and two passes are all tried."""
    found = lut.find("add")
    targets = {state: result for state, result in found.truth.items() if result is not None}
    thinned = shortest(targets, [1, 2], limit=8, max_work=1)
    assert thinned.below == 3
    assert thinned.passes is None or len(thinned.passes) >= 4


def test_too_many_columns_for_the_search_are_labelled_not_proved() -> None:
    made = lut.compile(
        lambda *bits: int(any(bits)), name="any", inputs="A B C D E F", outputs="F", minimal=True
    )
    assert made.minimal == "not proved"


def test_a_false_claim_to_the_fewest_passes_is_refused() -> None:
    claimed = replace(lut.find("max"), minimal="proved", origin="luts/max.toml")
    with pytest.raises(Unsound, match=r"luts/max\.toml: expected the fewest .*, but 3 will do"):
        prove_minimal(claimed)


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
