"""The conformance rules: what a row says, and that each rule can fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apsim.ap_kind import ApKind
from apsim.check import analytic, cases, examine, table
from apsim.check.row import FUNCTIONS, Case, Row
from apsim.closed_form import AP_KINDS
from apsim.closed_form.differences import OF_WEIGHTS, REASONS
from apsim.counts import Counts
from apsim.program import Operation

SECTION_9 = {
    "first_add", "carry_resolution", "second_compressor", "flag_propagation", "flag_reset",
    "stale_clear", "scratch_clear", "division",
}  # fmt: skip
NORMALIZING = ("softmax", "ita_softmax", "layer_norm", "rms_norm")
TABLED = ("table", "weighted_sums", *NORMALIZING)
SMALL = Case("matmul", "2d", {"i": 2, "j": 4, "u": 2, "Ma": 2, "Mw": 2, "signs": "uu"})


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Every second case of the reduced grid."""
    return [examine(case) for case in cases()[::2]]


def test_no_row_of_the_grid_fails(rows: list[Row]) -> None:
    assert [line for row in rows for line in row.wrong] == []


def test_the_grid_has_every_function_on_every_kind_and_the_smaller_luts() -> None:
    found = {(case.function, case.ap) for case in cases()}
    assert found >= {(name, ap) for name in FUNCTIONS for ap in AP_KINDS}
    assert {name for name, ap in found if ap == "opt"} == {"add", "multiply", "max", "relu"}
    assert {case.params["scheme"] for case in cases(names=["max_pool"])} == {
        "moves", "prefix", "chain"
    }  # fmt: skip
    assert len(cases(full=True)) > 5 * len(cases())


def test_every_cycle_of_difference_has_one_of_the_agreed_names(rows: list[Row]) -> None:
    """Terms that are not among the eight names add up to no cycles, or lie below the paper"""
    for row in rows:
        for name, term in row.terms.items():
            assert name in REASONS
            if row.case.ap == "opt":
                assert name == "smaller_lut"
                assert term.total < 0
            elif name == "partial_sums":
                assert "cap_rows" in row.case.params  # a sum that no equation covers
            elif row.case.function in TABLED:
                assert row.paper is None  # a function that the paper has not
            elif name not in SECTION_9:
                assert term.total == 0


def test_horizontal_functions_are_exact_on_fresh_arrays_on_every_kind(rows: list[Row]) -> None:
    for row in rows:
        simple = row.case.function in ("add", "subtract", "multiply", "relu", "max", "min")
        if simple and row.case.ap != "opt" and "dirty" not in row.case.params:
            assert row.status == "exact"


def test_a_row_is_written_with_the_agreed_keys() -> None:
    """The result file's row: counts by category, terms by name, a verdict"""
    found = examine(SMALL).as_dict()
    assert list(found) == [
        "function", "ap", "tag_chain", "params", "counted", "realisable", "paper", "terms",
        "bit_exact", "status",
    ]  # fmt: skip
    assert found["counted"] == found["realisable"]
    assert set(found["counted"]) == {"compare", "write", "read"}
    assert found["status"] == "explained"
    differences = sum(sum(term.values()) for term in found["terms"].values())
    assert differences == sum(found["counted"].values()) - sum(found["paper"].values())


@pytest.mark.parametrize("kind", AP_KINDS)
def test_a_sum_longer_than_a_cap_is_executed_in_several_loads(kind: str) -> None:
    """70 products on CAPs of 32 rows: chunks, partial sums moved and added, every cycle named"""
    params = {"i": 1, "j": 70, "u": 1, "Ma": 4, "Mw": 3, "signs": "us", "cap_rows": 32}
    row = examine(Case("matmul", kind, params))
    assert row.wrong == ()
    assert "scratch_clear" in row.terms
    assert row.counted == row.realisable


def test_a_wrong_count_fails() -> None:
    """Rule A: one read too few"""
    function = FUNCTIONS["matmul"].build("2d", SMALL.params)
    items = function.program.items[:-1]
    shorter = replace(function, operation=Operation("shorter", lambda layout: items))
    row = examine(SMALL, function=shorter)
    assert row.status == "fail"
    assert "wanted" in row.wrong[0]
    assert "counted" in row.wrong[0]


def test_terms_that_do_not_add_up_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule B: a term forgotten"""
    wrong = replace(FUNCTIONS["matmul"], terms=lambda ap, p: {})
    monkeypatch.setitem(FUNCTIONS, "matmul", wrong)
    row = examine(SMALL)
    assert row.status == "fail"
    assert "is not the paper's" in row.wrong[0]
    assert row.bit_exact


def test_a_wrong_value_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule C: another integer wanted"""
    wrong = replace(FUNCTIONS["matmul"], expected=lambda p, a, b: a @ b + 1)
    monkeypatch.setitem(FUNCTIONS, "matmul", wrong)
    row = examine(SMALL)
    assert (row.status, row.bit_exact) == ("fail", False)
    assert "not that of integer arithmetic" in row.wrong[0]


def test_terms_that_nothing_can_refute_are_called_labels(rows: list[Row]) -> None:
    """Presets and clears, in-place divisions and moves of maxima are marked; the others are not"""
    for row in rows:
        params = row.case.params
        moved = row.case.function == "max_pool" and params["scheme"] == "moves"
        inside = row.case.function == "average_pool" and params["divide"] == "multiply"
        wanted = {"scratch_clear", "table"} | ({"flag_propagation"} if moved else set())
        wanted |= {"division"} if inside else set()
        if row.case.function in NORMALIZING:  # no equation at all
            wanted |= {"normalization", "word_moves", "broadcast"}
        if row.case.function == "weighted_sums":  # no equation, and a sum of its terms
            wanted |= set(OF_WEIGHTS)
        assert set(row.labels) == wanted & row.terms.keys()
    assert ("*", table.LABEL) in table.reasons(rows)
    params = {"M": 3, "S": 11, "K": 2, "signs": "u", "scheme": "moves"}
    moved = examine(Case("max_pool", "2d", params))
    assert moved.labels == ("flag_propagation",)
    assert (
        table.named_terms(moved) == f"flag_propagation* {moved.terms['flag_propagation'].total:+}"
    )


def test_a_case_draws_the_same_operands_every_time() -> None:
    assert examine(SMALL) == examine(SMALL)
    assert SMALL.seed != Case("matmul", "2d", SMALL.params | {"j": 5}).seed


def test_the_table_names_terms_hardware_and_what_is_below_the_paper(rows: list[Row]) -> None:
    """Markdown and HTML: a line for each function and kind, each kind's hardware stated"""
    text, page = table.markdown(rows), table.html(rows)
    for kind in ApKind:
        assert f"- `{kind.value}`: {kind.hardware}" in text
    assert "below the paper" in text
    lines = table.lines(rows)
    assert text.count("\n| ") == len(lines) + 2  # and two of the head
    assert page.count("<tr") == len(lines) + 1
    assert table.verdict(rows) in text
    assert table.verdict(rows) in page
    assert '<tr class="fail">' not in page


def test_a_failed_row_is_the_one_that_its_line_shows() -> None:
    good = examine(SMALL)
    bad = replace(good, counted=Counts(1), wrong=("one",))
    (line,) = table.lines([good, bad, good])
    assert line.example is bad
    assert line.status == {"explained": 2, "fail": 1}
    assert '<tr class="fail">' in table.html([good, bad])


def test_equations_are_never_called_emulated() -> None:
    """The mode `analytic` has no counts and no verdict, and each size once"""
    found = [equation.as_dict() for equation in analytic.equations(names=["reduce", "subtract"])]
    assert found
    for row in found:
        assert (row["counted"], row["realisable"], row["bit_exact"]) == (None, None, None)
        assert row["status"] == "equation"
        assert row["ap"] == "analytic"
    assert {row["function"] for row in found} == {"reduce"}  # the paper subtracts nowhere
    keys = [str((row["function"], row["params"])) for row in found]
    assert len(keys) == len(set(keys))


@pytest.mark.long
def test_no_row_of_the_whole_grid_fails() -> None:
    assert [line for case in cases(full=True) for line in examine(case).wrong] == []
