"""Groups side by side as lanes: the sums and every number of the literal execution."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apsim import cam, functions
from apsim.ap_kind import ApKind
from apsim.cam import frame
from apsim.cam.base import Execution
from apsim.cam.jit import Operation
from apsim.cam.jit import kernel as jit_kernel
from apsim.cam.lanes import LaneProgram, Operands, kernel, planes_of
from apsim.cam.lanes import run as running
from apsim.cam.lanes.rows import Walk
from apsim.cam.step import step as step_kernel
from apsim.encoding import Code
from apsim.errors import CountError, ProgramError
from apsim.nn.on_ap import matrix
from apsim.nn.on_ap.mapping import fold_sums, fold_windows
from apsim.nn.on_ap.matrix import Order
from apsim.ops.rows import Groups
from apsim.program import Gate, Loop, Microprogram, Mode, Op, Step
from tests.helpers import random_programs

KINDS = [kind.value for kind in ApKind]
Words = NDArray[np.uint64]
NUMBERS = ("times", "compared", "matched", "written", "flipped")


@dataclass(frozen=True)
class Work:
    """Outputs [i, u], a group of `size` rows for each, `groups` of them in a load of `rows` rows.

    `code(g)` is the program of a load of g groups; a and b hold words [u, size] and [i, size].
    """

    code: Callable[[int], Code]
    groups: int
    size: int
    shared: int
    columns: int
    a: Words
    b: Words
    by_group: bool = False  # whether word g is put out for group g, and not for its first row

    @property
    def outputs(self) -> int:
        return len(self.a) * len(self.b)

    def loads(self) -> list[range]:
        starts = range(0, self.outputs, self.groups)
        return [range(k, min(k + self.groups, self.outputs)) for k in starts]


def literally(work: Work, engine: str = "strict") -> tuple[Words, dict[str, Any]]:
    """Every load on an array of zeros, one by one: words put out, numbers of each step."""
    out, total = (
        [],
        {name: np.zeros(len(work.code(1)), np.int64) for name in NUMBERS},
    )
    for load in work.loads():
        rows = len(load) * work.size + work.shared
        data = np.zeros((2, rows), np.uint64)
        data[0, : len(load) * work.size] = work.a[np.array(load) % len(work.a)].ravel()
        data[1, : len(load) * work.size] = work.b[np.array(load) // len(work.a)].ravel()
        words = np.zeros((2, rows), np.uint64)
        done: Execution = cam.make(engine, rows, work.columns).execute(
            work.code(len(load)), data, words
        )
        for name, numbers in total.items():
            numbers += getattr(done, name)
        out.append(words)
    return np.concatenate(out, axis=1), total


def as_lanes(
    work: Work, *, over_weights: bool = False, fused: bool = False, **how: Any
) -> tuple[Words, dict[str, Any]]:
    """The same, side by side; lanes run over the columns of one operand or of the other."""
    i, u = len(work.b), len(work.a)
    order = Order(u, i, True) if over_weights else Order(i, u, False)
    output = np.arange(work.outputs).reshape(i, u)
    ends = (output % work.groups == work.groups - 1) | (output == output.size - 1)
    a, b = np.ascontiguousarray(work.a.T), np.ascontiguousarray(work.b.T)
    packed, other, port = (b, a, 1) if over_weights else (a, b, 0)
    operands = Operands(
        planes_of(packed, 64), other, port, order.pairs(),
        order.spread(np.ones((i, u), bool)), order.spread(ends),
    )  # fmt: skip
    first = len(work.loads()[0])
    lanes = LaneProgram(work.code(first), first, work.size, work.columns)
    chosen = frozenset(lanes.rows.often if fused else ())
    done = lanes.run(operands, walk=lanes.rows.walk(chosen), **how)
    numbers = {name: getattr(done.execution, name) for name in NUMBERS}
    return order.gather(done.out).ravel(), numbers


def agree(work: Work, **how: Any) -> None:
    """lanes(work) == literal(work): words of first rows, numbers of every step"""
    words, numbers = literally(work)
    out, found = as_lanes(work, **how)
    step = 1 if work.by_group else work.size
    starts = [
        k * (work.groups * work.size + work.shared) + np.arange(len(load)) * step
        for k, load in enumerate(work.loads())
    ]
    np.testing.assert_array_equal(out, words[0, np.concatenate(starts)])
    for name in NUMBERS:
        np.testing.assert_array_equal(found[name], numbers[name], err_msg=name)


@st.composite
def dot_products(draw: st.DrawFn) -> Work:
    """Dot products of a few words on any AP kind; loads full and partial."""
    kind, size = draw(st.sampled_from(KINDS)), draw(st.integers(1, 9))
    bits, bits_b = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    signs = draw(st.sampled_from(["uu", "us", "su", "ss"]))
    groups, partial = draw(st.sampled_from([1, 2, 5, 64, 70])), draw(st.booleans())

    def function(count: int) -> functions.Function:
        return functions.dot_products(
            bits, count, size, kind=kind, bits_b=bits_b, words=signs[0], words_b=signs[1],
            clear=True, partial=partial,
        )  # fmt: skip

    one = function(1)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    u, i = draw(st.integers(1, 140) | st.sampled_from([250, 509])), draw(st.integers(1, 4))
    code = cache(lambda count: function(count).program.code)
    return Work(
        code, groups, size, one.rows - size, one.columns,
        rng.integers(0, 1 << bits, (u, size), np.uint64),
        rng.integers(0, 1 << bits_b, (i, size), np.uint64), partial,
    )  # fmt: skip


HOW = st.fixed_dictionaries(
    {
        "over_weights": st.booleans(),
        "threads": st.sampled_from([1, 2]),
        "tile": st.sampled_from([1, 2, 8, 64]),
        "fused": st.sampled_from([False] * 7 + [True]),
    }
)


@settings(max_examples=40)
@given(dot_products(), HOW)
def test_dot_products_as_lanes_are_the_loads_one_by_one(work: Work, how: dict[str, Any]) -> None:
    """lanes == literal for every kind, load size, tile, order of lanes and number of threads"""
    agree(work, **how)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sum_of_five_products_is_the_literal_one_whatever_has_code(
    kind: str, fused: bool
) -> None:
    """Moves, chains and additions of every kind, in passes and in code of their own"""
    one = functions.dot_products(3, 1, 5, kind=kind, words_b="s", clear=True)
    rng = np.random.default_rng(7)
    code = cache(
        lambda n: functions.dot_products(3, n, 5, kind=kind, words_b="s", clear=True).program.code
    )
    x, weights = (rng.integers(0, 8, (many, 5), np.uint64) for many in (70, 2))
    agree(Work(code, 5, 5, one.rows - 5, one.columns, x, weights), fused=fused)


@pytest.mark.parametrize("scheme", ["moves", "chain"])
@pytest.mark.parametrize("engine", ["strict", "fused"])
def test_maxima_of_windows_as_lanes_are_those_of_integers(engine: str, scheme: str) -> None:
    """lanes(max pool) == max, flags spread by moves, and by the tag chain"""
    words, kind = np.random.default_rng(3).integers(0, 64, (70, 5)), ApKind("2d-seg-tc")
    fold = fold_windows(70, 5, kind, 60, scheme)
    make = cache(lambda n: functions.max_pool(6, 5, n, kind=kind, scheme=scheme, clear=True))
    done = matrix.grouped(words, fold, make, engine=engine)
    np.testing.assert_array_equal(done.sums, words.max(axis=1))


def test_the_literal_execution_is_that_of_the_definition() -> None:
    """strict(load) == dense(load), so that lanes are held against the definition too"""
    function = functions.dot_products(3, 3, 5, kind="2d", words_b="s", clear=True)
    rng = np.random.default_rng(0)
    work = Work(
        lambda n: functions.dot_products(
            3, n, 5, kind="2d", words_b="s", clear=True
        ).program.code, 3, 5, 1, function.columns,
        rng.integers(0, 8, (4, 5), np.uint64), rng.integers(0, 8, (2, 5), np.uint64),
    )  # fmt: skip
    (words, numbers), (others, more) = literally(work), literally(work, "dense")
    np.testing.assert_array_equal(words, others)
    for name in numbers:
        np.testing.assert_array_equal(numbers[name], more[name])


COLUMNS = 5


@pytest.fixture(scope="module", autouse=True)
def nothing_from_before() -> Iterator[None]:
    """A tile begins on cells of anyhow."""
    clean, random = running.room, np.random.default_rng(11)

    def dirty(*shape: int) -> Words:
        planes = clean(*shape)
        planes[:] = random.integers(0, 1 << 64, planes.shape, np.uint64)
        return planes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "room", dirty)
        yield


@st.composite
def bodies(draw: st.DrawFn, slots: int, *, shared: bool) -> tuple[Step, ...]:
    """Vertical steps of a loop; where its last slot is a shared row, it is cleared first."""
    drawn = st.lists(random_programs.steps_along(slots, COLUMNS), min_size=1, max_size=5)
    steps = [replace(step, port=-1) for step in draw(drawn) if step.op is not Op.WRITE_DATA]
    clear = Step(Op.WRITE_ALL, Mode.VERTICAL, (), ((slots - 1, 0),))
    return (clear, *(steps if draw(st.integers(0, 9)) == 0 else tamed(steps)))


def tamed(steps: list[Step]) -> list[Step]:
    """The steps, those that use tags or latches of before turned into others."""
    kept: list[Step] = []
    for step in steps:
        ops, gates = [s.op for s in kept], {s.gate for s in kept}
        sets = [op for op in ops if op in (Op.PASS, Op.COMPARE, Op.READ)]
        if step.op in (Op.WRITE, Op.WRITE_TAG) and (not sets or sets[-1] is Op.PASS):
            continue
        wild = {Gate.LOAD_K: Gate.LOAD_G not in gates, Gate.CARRY: Gate.LOAD_K not in gates}
        kept.append(replace(step, gate=Gate.NONE) if wild.get(step.gate) else step)
    return kept


@dataclass(frozen=True)
class Regularly:
    """Steps, and loops as (body, lines of blocks, whether a shared row is their last slot)."""

    size: int
    items: tuple[Any, ...]

    def __call__(self, groups: int) -> Code:
        items = (
            item if isinstance(item, Step) else in_groups(*item, groups, self.size)
            for item in self.items
        )
        return Microprogram(tuple(items)).code


@st.composite
def regular_programs(draw: st.DrawFn) -> Regularly:
    """Programs that treat all groups alike, perhaps with one row behind the groups."""
    items: list[Any] = []
    size, spare = draw(st.integers(1, 4)), draw(st.booleans())
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.booleans()):
            step = draw(random_programs.steps_across(COLUMNS))
            known = any(isinstance(i, Step) and i.op in (0, 1, 4) for i in items)
            step = replace(step, port=min(step.port, 0)) if step.op is Op.READ else step
            items += [] if step.op in (Op.WRITE, Op.WRITE_TAG) and not known else [step]
            continue
        shared = spare and draw(st.booleans())
        spare = spare and not shared
        slots = draw(st.integers(1, min(3, size)))
        count = 1 if shared else draw(st.integers(1, 3))
        lines = [draw(st.permutations(range(size)))[:slots] for _ in range(count)]
        items.append((draw(bodies(slots + shared, shared=shared)), lines, shared))

    return Regularly(size, tuple(items))


def in_groups(
    body: tuple[Step, ...], lines: list[list[int]], shared: bool, groups: int, size: int
) -> Loop:
    place = Groups(groups, size)
    table = place.table(lines)
    return Loop(body, place.beside(table, 1) if shared else table)


@settings(max_examples=100)
@given(regular_programs(), HOW, st.sampled_from([1, 3, 66]), st.integers(0, 99))
def test_whatever_is_taken_for_regular_runs_alike(
    code: Regularly, how: dict[str, Any], groups: int, seed: int
) -> None:
    """Regular.of(program) refuses, or lanes(program) == literal(program)"""
    size = code.size
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(0, 1 << 16, (n, size), np.uint64) for n in (67, 2))
    shared = int(max(code(1).rows.max(initial=-1) + 1 - size, 0))
    work = Work(cache(code), groups, size, shared, COLUMNS, a, b)
    try:
        assert LaneProgram(work.code(groups), groups, size, COLUMNS).regular.groups == groups
    except ProgramError:
        return
    agree(work, **how)


def runs_alike(items: list[Any], size: int, *, by_group: bool = False, fused: bool) -> None:
    """lanes(program) == literal(program), for words of 16 bits in five columns."""
    code, rng = Regularly(size, tuple(items)), np.random.default_rng(3)
    a, b = (rng.integers(0, 1 << 16, (n, size), np.uint64) for n in (5, 2))
    agree(Work(cache(code), 3, size, 0, COLUMNS, a, b, by_group), fused=fused, threads=1)


TAKEN = [
    Step(Op.WRITE_DATA, Mode.HORIZONTAL, ((k, 1),), port=k % 2, place=k) for k in range(COLUMNS)
]


def gated(key: list[int], write: list[int], gate: Gate) -> Step:
    bits = (tuple((slot, 1) for slot in slots) for slots in (key, write))
    return Step(Op.PASS, Mode.VERTICAL, *bits, gate)


MANY_ROWS = (
    gated([0, 1], [2, 3], Gate.LOAD_G), gated([4], [5], Gate.LOAD_K), gated([4], [5], Gate.CARRY),
)  # fmt: skip
WRITE_BETWEEN = (
    gated([0], [1], Gate.LOAD_G),
    Step(Op.WRITE_ALL, Mode.VERTICAL, (), ((2, 0),)),
    gated([1], [2], Gate.LOAD_K),
    gated([2], [0], Gate.CARRY),
)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("body", [MANY_ROWS, WRITE_BETWEEN], ids=["many rows", "a write between"])
def test_latches_are_kept_for_gated_passes_that_have_other_code(
    body: tuple[Step, ...], fused: bool
) -> None:
    look = Step(Op.COMPARE, Mode.VERTICAL, tuple((slot, 1) for slot in range(6)))
    runs_alike([*TAKEN, ((look, *body), [list(range(6))], False)], 6, fused=fused)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("source", [-10_000_000, -1, 0, 2, 4, 10_000_000])
def test_a_row_read_out_has_zeros_where_there_are_no_columns(source: int, fused: bool) -> None:
    """And replaces the whole word that was read out before."""
    whole, part = (
        Step(Op.READ, Mode.VERTICAL, ((0, 1),), port=0, source=first, width=width)
        for first, width in ((0, 5), (source, 4))
    )
    runs_alike([*TAKEN, ((whole, part), [[0]], False)], 2, by_group=True, fused=fused)


def along(op: Op, slot: int, **how: Any) -> Step:
    return Step(op, Mode.VERTICAL, ((slot, 1),), **how)


UP = along(Op.WRITE_TAG, 0, source=-1, width=3)
PASS = Step(Op.PASS, Mode.VERTICAL, ((0, 1),), ((1, 0),), width=5)
CLEAR = Step(Op.WRITE_ALL, Mode.VERTICAL, (), ((1, 0),))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    "body",
    [
        (along(Op.READ, 0, width=5), UP),
        (PASS, along(Op.READ, 0), UP),
        (along(Op.READ, 0), UP, along(Op.READ, 0), replace(UP, width=5)),
    ],
    ids=["read", "pass", "two moves"],
)
def test_a_row_moves_as_wide_as_it_is_written(body: tuple[Step, ...], fused: bool) -> None:
    """Whatever widths stand in steps beside it, which mean nothing there"""
    look = Step(Op.READ, Mode.HORIZONTAL, ((4, 1),), port=0)
    runs_alike([*TAKEN, (body, [[0, 1]], False), look], 2, fused=fused)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("op", [Op.WRITE, Op.WRITE_TAG])
def test_tags_of_a_row_that_moves_are_there_for_who_uses_them_later(op: Op, fused: bool) -> None:
    """A write of all lines between leaves them as they are."""
    later = Step(op, Mode.VERTICAL, ((1, 1),), ((1, 1),) * (op == Op.WRITE), width=4)
    body = (along(Op.READ, 0), UP, CLEAR, later)
    runs_alike([*TAKEN, (body, [[0, 1]], False)], 2, fused=fused)


def across(op: Op, *bits: tuple[int, int], **how: Any) -> Step:
    key, write = ((), bits) if op == Op.WRITE_ALL else (bits, ())
    return Step(op, Mode.HORIZONTAL, key, write, **how)


BEGINNINGS = {
    "a column twice": [across(Op.WRITE_DATA, (0, 1), port=1, place=3), *TAKEN],
    "a bit, then a word": [across(Op.WRITE_ALL, (2, 1)), *TAKEN],
    "two bits at once": [across(Op.WRITE_ALL, *((k, k % 2) for k in (0, 1, 2, 3, 4, 0, 3)))],
    "all bits at once": [across(Op.WRITE_ALL, *((k, k % 2) for k in range(COLUMNS)))],
    "a part": TAKEN[1:4],
    "nothing": [],
}


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_a_program_may_begin_with_any_writes(begin: str) -> None:
    """What a block holds that no write has reached is 0, and each flip is that of a cell."""
    later = Step(Op.PASS, Mode.HORIZONTAL, ((0, 0), (4, 0)), ((0, 1), (3, 1)))
    reads = [across(Op.READ, (k, 1), port=0, place=k) for k in range(COLUMNS)]
    runs_alike([*BEGINNINGS[begin], later, *reads], 3, fused=False)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("sets", [Op.PASS, Op.COMPARE, Op.READ])
def test_tags_are_there_for_who_uses_them_on_every_block(sets: Op, fused: bool) -> None:
    """The last tag before a horizontal write, of blocks that put no words out, too"""
    bits = ((0, 1), (1, 0))
    makes, uses, tags = (
        Step(op, Mode.HORIZONTAL, key, write)
        for op, key, write in (
            (sets, bits[: 1 + (sets != Op.READ)], bits * (sets == Op.PASS)),
            (Op.WRITE, (), ((2, 1), (3, 0))), (Op.WRITE_TAG, ((4, 1),), ()),
        )
    )  # fmt: skip
    runs_alike([*TAKEN, makes, uses, makes, tags], 3, fused=fused)


def test_only_the_first_bit_that_a_column_takes_meets_zeros() -> None:
    """A field goes on to columns that another word has filled: their flips are those of cells"""
    before, field = ([(3, 1), (4, 1)], [(column, 0) for column in range(5)])
    runs_alike([
        Step(Op.WRITE_DATA, Mode.HORIZONTAL, ((column, 1),), port=port, place=column)
        for column, port in before + field
    ], 2, fused=False)  # fmt: skip


def operands(**changed: Any) -> Operands:
    """Operands of one row for five lane words, and what is wrong with them."""
    live = np.full(5, ~np.uint64(0))
    right = {
        "packed": np.zeros((1, 2, 4), np.uint64), "words": np.ones((1, 3), np.uint64), "port": 0,
        "pairs": np.array([[0, 0], [1, 0], [0, 1], [1, 1], [2, 1]]), "live": live, "ends": live,
    }  # fmt: skip
    return Operands(**(right | changed))


def taking(port: int, place: int = 0, column: int = 0) -> Code:
    take = Step(Op.WRITE_DATA, Mode.HORIZONTAL, ((column, 1),), port=port, place=place)
    return Microprogram((take, Step(Op.READ, Mode.HORIZONTAL, ((column, 1),), port=0))).code


@pytest.mark.parametrize(
    ("program", "wrong"),
    [
        (taking(0, column=7), operands()),
        (taking(2), operands()),
        (taking(0), operands(pairs=np.full((5, 2), 4))),
        (taking(0), operands(pairs=np.full((5, 2), -1))),
        (taking(0), operands(pairs=np.zeros((4, 2), int))),
        (taking(0), operands(pairs=np.zeros(5, int))),
        (taking(0), operands(live=np.ones(5, np.int64))),
        (taking(0), operands(ends=np.zeros(4, np.uint64))),
        (taking(0), operands(packed=np.asfortranarray(np.zeros((2, 2, 4), np.uint64)))),
        (taking(0), operands(packed=np.zeros((1, 2, 4), np.int64))),
        (taking(0), operands(packed=np.zeros((0, 2, 4), np.uint64))),
    ],
)
def test_operands_that_do_not_fit_never_reach_machine_code(program: Code, wrong: Operands) -> None:
    with pytest.raises(ProgramError, match="the program on lanes wants"):
        LaneProgram(program, 1, 1, 2).run(wrong)


def test_lane_words_may_take_their_words_in_any_order() -> None:
    """Two lane words for a word, then three: the word that they put out is the word they took."""
    words = np.array([[0, 1, 0]], np.uint64)
    out = LaneProgram(taking(1), 1, 1, 2).run(operands(words=words), threads=1).out
    np.testing.assert_array_equal(out.reshape(5, 64)[:, 0], [0, 0, 1, 1, 1])


@pytest.mark.parametrize("place", [1, 2, 63])
def test_bits_above_those_of_an_operand_are_0(place: int) -> None:
    ones = np.full((1, 2, 4), ~np.uint64(0))
    out = LaneProgram(taking(0, place), 1, 1, 2).run(operands(packed=ones), tile=8).out
    assert (out == (place < 2)).all()


def test_no_lanes_at_all_give_nothing() -> None:
    none = np.zeros(0, np.uint64)
    empty = operands(packed=np.zeros((1, 2, 0), np.uint64), pairs=np.zeros((0, 2), int),
                  live=none, ends=none)  # fmt: skip
    done = LaneProgram(taking(0), 1, 1, 2).run(empty)
    assert not done.out.size and not done.execution.times.any()


def test_a_program_on_lanes_is_copied_without_addresses() -> None:
    """run(copy of a program that ran) == run(program)"""
    program = LaneProgram(taking(1), 1, 1, 2)
    first = program.run(operands())
    other = pickle.loads(pickle.dumps(copy.deepcopy(program))).run(operands())
    np.testing.assert_array_equal(other.execution.flipped, first.execution.flipped)


def nothing(frame: Any, row: Any) -> None:
    """An operation that is left out."""


LEFT_OUT = Operation(nothing)


@jit_kernel("void(int64, int64, int64, int64, int64, int64)")
def idle(frames: Any, given: Any, ops: Any, many: Any, totals: Any, apart: Any) -> None:
    """A walk that does nothing."""


def products(kind: str, walk: Callable[[Walk], Walk], fused: bool = False) -> matrix.Batch:
    """Sums of five products, 24 outputs in loads of 4 and of 3, on a walk that is tampered with."""
    rng, length = np.random.default_rng(5), 5
    x, weights = rng.integers(0, 4, (8, length)), rng.integers(-2, 2, (3, length))
    make = cache(
        lambda groups: functions.dot_products(
            2, groups, length, kind=kind, words="u", words_b="s", clear=True
        )
    )
    prepare = LaneProgram.prepare

    def tampered(self: LaneProgram, words: int, *, fused: bool) -> Walk:
        whole = prepare(self, words, fused=False)
        chosen = frozenset(self.rows.often if fused else ())
        return walk(self.rows.walk(chosen) if fused else whole)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LaneProgram, "prepare", tampered)
        fold = fold_sums(24, length, ApKind.named(kind), 36)
        engine = "fused" if fused else "strict"
        done = matrix.dot_products(x, weights, fold, make, engine=engine, threads=1)
    np.testing.assert_array_equal(done.sums, weights @ x.T)
    return done


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_counted_is_what_the_loads_list_where_nothing_is_left_out(
    kind: str, fused: bool
) -> None:
    done = products(kind, lambda walk: walk, fused)
    listed = functions.dot_products(2, 7, 5, kind=kind, words="u", words_b="s", clear=True)
    assert done.loads > 1
    assert done.counts.total > listed.program.counts().total


@settings(max_examples=30)
@given(st.sampled_from(KINDS), st.integers(0, 1 << 30))
def test_a_block_that_is_left_out_is_missed(kind: str, which: int) -> None:
    """Whatever operation of a walk is left out, but for zeros: the run fails, and counts nothing"""

    def shorter(walk: Walk) -> Walk:
        counted = np.flatnonzero(walk.ops[:, kernel.MANY_ROWS] > 0)
        return replace(walk, ops=np.delete(walk.ops, counted[which % len(counted)], axis=0))

    with pytest.raises(CountError):
        products(kind, shorter)


@settings(max_examples=30)
@given(st.sampled_from(KINDS), st.booleans(), st.integers(0, 1 << 30))
def test_a_step_that_is_left_out_is_missed(kind: str, fused: bool, which: int) -> None:
    """Whatever row of a walk is left out: each part of a step counts that it was carried out"""
    left_out: list[Any] = []

    def emptied(walk: Walk) -> Walk:
        places = {int(at) for at in walk.ops[:, kernel.ROWS]}
        rows = [one for one in walk.kept if frame.address(one) in places]
        every = [(one, k) for one in rows for k in range(len(one))]
        one, k = every[which % len(every)]
        left_out.append((one, k, one[k, frame.FN]))
        one[k, frame.FN] = LEFT_OUT.address
        return walk

    with pytest.raises(CountError):
        products(kind, emptied, fused)
    for one, k, code in left_out:
        one[k, frame.FN] = code


@pytest.mark.parametrize("which", [0, 1, -1])
@pytest.mark.parametrize("beside", [1, -1], ids=["its compare", "its write"])
def test_a_half_of_a_gated_pass_that_is_left_out_is_missed(beside: int, which: int) -> None:
    """What stands before, or after, the chain that makes the matches tags"""
    left_out: list[Any] = []

    def emptied(walk: Walk) -> Walk:
        places = {int(at) for at in walk.ops[:, kernel.ROWS]}
        halves = [
            (one, k)
            for one in walk.kept
            if frame.address(one) in places
            for k in range(len(one))
            if one[k, frame.FN] == step_kernel.address
            and one[(k + beside) % len(one), frame.FN] == kernel.chain.address
        ]
        one, k = halves[which]
        left_out.append((one, k))
        one[k, frame.FN] = LEFT_OUT.address
        return walk

    with pytest.raises(CountError):
        products("2d-tc", emptied)
    for one, k in left_out:
        one[k, frame.FN] = step_kernel.address


@pytest.mark.parametrize("kind", KINDS)
def test_a_tile_that_is_left_out_is_missed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.Runner, "tile", lambda self, where: (0, self.numbers()))
    with pytest.raises(CountError, match="the loads list"):
        products(kind, lambda walk: walk)


def test_lanes_that_carry_out_nothing_count_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a kernel that does nothing a product is no product of 0 cycles, but an error"""
    monkeypatch.setattr(kernel, "walk", idle)
    with pytest.raises(CountError, match="step 0, times: 0, the loads list"):
        products("2d", lambda walk: walk)
