"""The machine that users hold: words in and out, counters that run along, snippets as written."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import apsim
from apsim import closed_form, cost, lut, nn, ops
from apsim.counts import Activity, Counts, Phase
from apsim.errors import ApsimError, InputError, LayoutError, MissingExtra, ProgramError
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.program import Microprogram, Mode, Op, Operation, Step
from tests.helpers.benches import words

MASK = np.array([True, False, True, False])
HIDDEN = np.ma.MaskedArray([1, 2, 3, 4], MASK)


def adder() -> Machine:
    machine = Machine(rows=4, layout=Layout(A=8, B=8, C=1))
    machine.write("A", [1, 2, 3, 4])
    machine.write("B", [10, 20, 30, 250])
    return machine


def test_the_first_snippet_runs_as_written() -> None:
    """m.counts == Counts(compare=32, write=48, read=9) == eq. (1), 89 operations"""
    m = apsim.Machine(rows=4, layout=apsim.Layout(A=8, B=8, C=1))
    m.write("A", [1, 2, 3, 4])
    m.write("B", [10, 20, 30, 250])
    m.run(ops.add("A", "B", carry="C"))
    assert m.read("B", "C").tolist() == [11, 22, 33, 254]
    assert m.counts == Counts(compare=32, write=48, read=9)
    assert m.counts == closed_form.add(bits=8)
    assert m.counts.total == 89


def test_looking_costs_nothing() -> None:
    machine = adder()
    before = machine.counts, machine.activity
    assert machine.peek("B").tolist() == [10, 20, 30, 250]
    assert (machine.counts, machine.activity) == before


def test_counts_are_kept_by_phase() -> None:
    machine = adder()
    machine.run(ops.add("A", "B", carry="C"))
    machine.read("B")
    assert machine.counts_by_phase == {
        Phase.POPULATE: Counts(write=16),
        Phase.COMPUTE: Counts(compare=32, write=32),
        Phase.READ_OUT: Counts(read=8),
    }
    assert sum(machine.counts_by_phase.values(), Counts()) == machine.counts


@given(
    st.integers(1, 63), st.sampled_from("uso"), st.sampled_from((1, 63, 64, 65, 513)),
    st.integers(0, 10**6),
)  # fmt: skip
@settings(max_examples=25)
def test_words_come_back_as_they_were_written(bits: int, kind: str, rows: int, seed: int) -> None:
    """read(write(x)) == peek == x, for one write and one read a column"""
    machine = Machine(rows, Layout(N=3, A=f"{kind}{bits}"))
    values = words(np.random.default_rng(seed), kind, bits, rows)
    machine.write("A", values)
    np.testing.assert_array_equal(machine.peek("A"), values)
    np.testing.assert_array_equal(machine.read("A"), values)
    assert machine.counts == Counts(write=bits, read=bits)
    assert not machine.peek("N").any()


@given(st.integers(1, 16), st.sets(st.integers(0, 70), min_size=1), st.integers(0, 10**6))
@settings(max_examples=25)
def test_words_of_some_rows_are_written_and_read_by_row(
    bits: int, rows: set[int], seed: int
) -> None:
    """One write and one read a row; the other rows keep what they had"""
    rng, chosen = np.random.default_rng(seed), sorted(rows)
    machine = Machine(71, Layout(N=2, A=f"s{bits}"))
    old, new = words(rng, "s", bits, 71), words(rng, "s", bits, len(chosen))
    machine.write("A", old)
    machine.write_words("A", chosen, new)
    np.testing.assert_array_equal(machine.read_words("A", chosen), new)
    assert machine.counts == Counts(write=bits + len(chosen), read=len(chosen))
    old[chosen] = new
    np.testing.assert_array_equal(machine.peek("A"), old)


def test_words_of_no_rows_take_nothing() -> None:
    machine = adder()
    before = machine.counts
    machine.write_words("A", [], [])
    assert machine.read_words("A", []).size == 0
    assert machine.counts == before


def test_one_value_fills_all_rows() -> None:
    machine = Machine(100, Layout(A="s4"))
    machine.write("A", -3)
    assert set(machine.peek("A").tolist()) == {-3}


def test_several_fields_are_read_as_one_word() -> None:
    machine = Machine(1, Layout(A=4, B=4))
    machine.write("A", [0b0001])
    machine.write("B", [0b1000])
    assert machine.read("A", "B").tolist() == [0b10000001]
    assert machine.read("A", "B", kind="s").tolist() == [0b10000001 - 256]


def test_activity_adds_up_over_runs() -> None:
    """Clearing 100 rows of 4 columns drives 400 cells, 200 of them flip"""
    machine = Machine(100, Layout(A=4))
    machine.write("A", 0b0101)
    before = machine.activity
    machine.run(ops.clear("A"))
    assert machine.activity == before + Activity(written=400, flipped=200)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.write("A", [1, 2]), InputError, r"field 'A': wanted 4 words, .*shape \(2,\)"),
        (lambda m: m.write("A", [1, 2, 3, 256]), InputError, "wanted values from 0 to 255"),
        (lambda m: m.write("D", 0), LayoutError, "unknown field 'D': the layout has A, B, C"),
        (lambda m: m.read("A", "X"), LayoutError, "unknown field 'X'"),
        (lambda m: m.write_words("A", [4], [0]), InputError, "wanted rows 0 to 3, got 4 to 4"),
        (lambda m: m.read_words("A", [-1]), InputError, "wanted rows 0 to 3, got -1 to -1"),
        (lambda m: m.run(ops.populate("A")), ProgramError, "needs 1 input words a row; 0 were"),
        (lambda m: m.write("A", [[1], [2, 3]]), InputError, "A: wanted an array, got lists of une"),
        (lambda m: m.write("A", HIDDEN), InputError, "A: wanted values all of which are there"),
        (lambda m: m.write_words("A", [0, 1, 2], [3, 4]), InputError, r"wanted 3 words.*\(2,\)"),
        (lambda m: m.write_words("A", MASK, [3]), InputError, "rows: wanted numbers of rows, got"),
        (lambda m: m.read_words("A", [0.5]), InputError, "rows: wanted numbers of rows, got float"),
        (lambda m: m.run(ops.populate("A"), [[1.5] * 4]), ProgramError, "data: wanted integers"),
    ],
)  # fmt: skip
def test_what_a_machine_cannot_do_is_refused(
    call: object, error: type[ApsimError], message: str
) -> None:
    machine = adder()
    before = machine.cam.peek()
    with pytest.raises(error, match=message):
        call(machine)  # type: ignore[operator]
    np.testing.assert_array_equal(machine.cam.peek(), before)


@pytest.mark.parametrize("rows", [1.5, 4.0, "4", True, -1, 10**13])
def test_a_machine_of_no_possible_size_is_refused(rows: object) -> None:
    with pytest.raises(ProgramError, match=r"rows: wanted .* got"):
        Machine(rows, Layout(A=8))  # type: ignore[arg-type]


def test_a_machine_is_as_wide_as_its_layout_at_least() -> None:
    with pytest.raises(ProgramError, match="columns: the layout spans 8, got 4"):
        Machine(4, Layout(A=8), columns=4)
    with pytest.raises(ProgramError, match=r"layout: wanted a Layout such as Layout\(A=8\), got"):
        Machine(4, {"A": 8})  # type: ignore[arg-type]


def test_what_is_no_program_is_refused_by_what_was_wanted() -> None:
    machine = Machine(4, Layout(A=8))
    with pytest.raises(ProgramError, match=r"wanted an operation such as ops.add\(...\)"):
        machine.run("add")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="wanted fields by name, of A; got none"):
        machine.read()
    wrong = Microprogram((Step(Op.COMPARE, Mode.HORIZONTAL, ((0, 2),)),))
    with pytest.raises(ProgramError, match="wanted bits 0 or 1 in the key and the write"):
        machine.run(wrong)


def test_whole_numbers_of_64_bits_may_come_in_a_list() -> None:
    """numpy makes real numbers of them by itself"""
    machine = Machine(2, Layout(W=64))
    machine.write("W", [2**64 - 1, 0])
    assert machine.peek("W").tolist() == [2**64 - 1, 0]
    for wrong in ([2**64, 0], [2**64 - 1, -1], [2**70, 0]):
        with pytest.raises(InputError, match="wanted values from 0 to 18446744073709551615"):
            machine.write("W", wrong)


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        (ops.subtract("A", "A", borrow="C"), lambda a: 0 * a),
        (ops.copy("A", "A"), lambda a: a),
        (ops.add("A", "A", carry="C"), None),
        (ops.apply("add", A="A", B="A", C="C"), None),
    ],
)
def test_operands_that_are_one_field_are_right_or_refused(
    operation: Operation, wanted: Callable[[Any], Any] | None
) -> None:
    machine, values = Machine(4, Layout(A=8, C=1)), np.array([1, 2, 3, 200])
    machine.write("A", values)
    if wanted is None:
        with pytest.raises(ProgramError, match="add: A and B are one place"):
            machine.run(operation)
    else:
        machine.run(operation)
        assert (machine.peek("A") == wanted(values)).all()


def public_objects() -> dict[str, Any]:
    machine = Machine(4, Layout(A=8, B=8, C=1))
    program = machine.program(ops.add("A", "B", carry="C"))
    execution = machine.run(program)
    return {
        "technology": cost.technology("sram"), "chip": cost.chip("ir"), "lut": lut.find("add"),
        "network": cost.network("alexnet"), "program": program, "machine": machine,
        "activity": execution.activity, "model": nn.load("digits"),
        "chip of a run": nn.Chip.preset("bf-imna-lr"),
        "operation": ops.add("A", "B", carry="C") + ops.clear("A"),
        "constants": ops.preset({"A": 3}) + ops.add_constant_multiple(-3, "A", "P", carry="C"),
        "error": MissingExtra("numba", "fast"),
    }  # fmt: skip


@pytest.mark.parametrize("how", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy])
def test_what_users_hold_is_pickled_and_copied(how: Callable[[Any], Any]) -> None:
    for name, one in public_objects().items():
        assert repr(how(one)) == repr(one), name


def test_impossible_machines_are_refused() -> None:
    with pytest.raises(ProgramError, match="rows: wanted a whole number of at least 1, got 0"):
        Machine(0, Layout(A=4))
    with pytest.raises(ProgramError, match="unknown engine 'quick': wanted one of dense, strict"):
        Machine(4, Layout(A=4), engine="quick")


def test_a_machine_prints_itself() -> None:
    machine = adder()
    assert repr(machine) == "<Machine: 4 rows x 17 columns, 0 compares, 16 writes, 0 reads>"
    text = str(machine)
    assert "A[0:8] u8  B[8:16] u8  C[16:17] u1" in text
    assert text.splitlines()[-1].split() == ["3", "4", "250", "0"]
    assert "&lt;Machine" in machine._repr_html_()
    assert str(Machine(20, Layout(A=4))).endswith("...")


def test_engines_give_the_same_machine() -> None:
    """dense == strict: words, counts and activity of the same calls"""
    found = []
    for engine in ("dense", "strict"):
        machine = Machine(70, Layout(A="s8", B="s8", P="s16"), engine=engine)
        machine.write("A", np.arange(70) - 35)
        machine.write("B", np.arange(70)[::-1] - 20)
        machine.run(ops.multiply("A", "B", "P"))
        found.append((machine.read("P").tolist(), machine.counts, machine.activity))
    assert found[0] == found[1]
    assert found[0][0] == ((np.arange(70) - 35) * (np.arange(70)[::-1] - 20)).tolist()


@pytest.mark.parametrize("engine", ["dense", "strict", "fused"])
@pytest.mark.parametrize("waits", [True, False])
def test_words_put_out_over_those_taken_in_are_not_taken_in(engine: str, waits: bool) -> None:
    m = Machine(rows=3, layout=Layout(A=4, B=4), engine=engine)
    m.cam.waits = waits  # type: ignore[attr-defined]
    m.write("A", [1, 2, 3])
    words = np.array([[9, 10, 11]], np.uint64)
    m.run(ops.read("A") + ops.populate("B"), words, words)
    assert (m.peek("B").tolist(), words.tolist()) == ([9, 10, 11], [[1, 2, 3]])
