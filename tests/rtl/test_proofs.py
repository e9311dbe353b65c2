"""Proofs of yosys, and apsim's own checks: the same verdict on what is sound and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from apsim import functions, lut
from apsim.ap_kind import ApKind
from apsim.errors import InputError
from apsim.functions import Function
from apsim.lut.check import Unsound, prove, run_passes
from apsim.lut.model import Lut, Pass
from apsim.program import Operation
from apsim.rtl.prove import OPERATIONS, prove_lut, prove_operation
from tests.helpers.circuits import needs


@pytest.fixture(autouse=True)
def yosys() -> None:
    needs("yosys")


def test_every_shipped_lut_is_proved(tmp_path: Path) -> None:
    assert [name for name in lut.names() if not prove_lut(lut.find(name), tmp_path).holds] == []


def mutants(table: Lut) -> Iterator[Lut]:
    """Each pass dropped, each neighbouring pair swapped, each written bit inverted."""
    steps = table.passes
    for k in range(len(steps)):
        yield replace(table, passes=steps[:k] + steps[k + 1 :])
        (name, bit), *others = steps[k].write
        wrong = Pass(steps[k].key, ((name, 1 - bit), *others))
        yield replace(table, passes=(*steps[:k], wrong, *steps[k + 1 :]))
    for k in range(len(steps) - 1):
        yield replace(table, passes=(*steps[:k], steps[k + 1], steps[k], *steps[k + 2 :]))


def is_sound(table: Lut) -> bool:
    try:
        prove(table)
    except Unsound:
        return False
    return True


FEW = ("add", "max", "relu", "fa3", "sub")
MANY = [pytest.param(name, marks=pytest.mark.long) for name in lut.names() if name not in FEW]


@pytest.mark.parametrize("name", [*FEW, *MANY])
def test_mutants_get_the_verdict_of_the_loader(name: str, tmp_path: Path) -> None:
    """yosys(mutant) == apsim(mutant), and the state shown is one that the passes get wrong"""
    for mutant in mutants(lut.find(name)):
        proof = prove_lut(mutant, tmp_path)
        assert proof.holds == is_sound(mutant), mutant.passes
        if not proof.holds:
            state = tuple(int(proof.counterexample[column]) for column in mutant.columns)
            left = run_passes(mutant, state)
            met = {
                tuple(s[mutant.columns.index(n)] for n in mutant.per_word) for s in mutant.reachable
            }
            wanted = mutant.truth[state]
            assert wanted is not None
            assert (
                left != wanted
                or tuple(left[mutant.columns.index(n)] for n in mutant.per_word) not in met
            )


def shapes(name: str, words: int) -> list[tuple[int, ...]]:
    return [(words,)] * (1 if name in ("relu", "reduce") else 2)


@pytest.mark.parametrize(
    ("name", "bits"),
    [("add", 32), ("subtract", 8), ("maximum", 8), ("minimum", 8), ("relu", 32), ("multiply", 4)],
)
def test_an_operation_is_proved_for_all_words(name: str, bits: int, tmp_path: Path) -> None:
    assert prove_operation(name, getattr(functions, name)(bits, 1), shapes(name, 1), tmp_path).holds


@pytest.mark.parametrize("words", ["s", "u"])
def test_signs_are_those_of_the_fields(words: str, tmp_path: Path) -> None:
    function = functions.multiply(3, 1, words=words, words_b=words)
    assert prove_operation("multiply", function, shapes("multiply", 1), tmp_path).holds
    function = functions.maximum(4, 2, words=words)
    assert prove_operation("maximum", function, shapes("maximum", 2), tmp_path).holds


@pytest.mark.parametrize("kind", [kind.value for kind in ApKind])
def test_a_reduction_is_proved_on_the_whole_array(kind: str, tmp_path: Path) -> None:
    """moves, carry-save, segments and chain, all words at once"""
    assert prove_operation("reduce", functions.reduce(4, 4, kind=kind), [(4,)], tmp_path).holds


def without(function: Function, number: int) -> Function:
    """A function that lacks one step."""
    items = function.program.items
    left = items[:number] + items[number + 1 :]
    return replace(function, operation=Operation("less", lambda layout: left))


def test_a_missing_step_is_refuted_with_operands_that_go_wrong(tmp_path: Path) -> None:
    function = without(functions.add(4, 1), 8 + 4 + 2)  # pass 3 of bit 1
    proof = prove_operation("add", function, shapes("add", 1), tmp_path)
    assert not proof.holds
    a, b = (int(proof.counterexample[name], 2) for name in ("x0_0", "x1_0"))
    assert functions.run(function, [a], [b]).values[0] != a + b


def test_words_too_wide_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="multiply: a proof is tried up to 8 bits, got 9"):
        prove_operation("multiply", functions.multiply(9, 1), shapes("multiply", 1), tmp_path)
    assert set(OPERATIONS) >= {"add", "subtract", "maximum", "relu", "multiply", "reduce"}
