"""The search for the fewest passes: what it finds is right, and what it excludes is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apsim import lut
from apsim.lut.check import Unsound
from apsim.lut.compiler import prove_minimal
from apsim.lut.minimal import shortest
from apsim.lut.order import order

State = tuple[int, ...]


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
