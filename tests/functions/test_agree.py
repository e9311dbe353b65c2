"""Whole functions on both arrays: the same values, cells, tags, counts and activity."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from apsim import functions
from apsim.ap_kind import ApKind
from apsim.cam import ENGINES
from apsim.check.row import Case, subject
from apsim.counts import Activity, Counts
from apsim.functions import Function
from apsim.functions.base import cleared
from apsim.machine import Machine

KINDS = [kind.value for kind in ApKind]
SMALL = {
    "add": {"M": 5, "signs": "o", "rows": 65},
    "subtract": {"M": 5, "signs": "u", "rows": 65},
    "multiply": {"Ma": 3, "Mw": 4, "signs": "ss", "rows": 65},
    "relu": {"M": 5, "signs": "s", "rows": 65},
    "max": {"M": 5, "signs": "s", "rows": 65},
    "min": {"M": 5, "signs": "u", "rows": 65},
    "reduce": {"M": 3, "L": 13, "signs": "o"},
    "dot": {"Ma": 3, "Mw": 2, "j": 11, "signs": "us"},
    "matmul": {"Ma": 3, "Mw": 2, "i": 2, "j": 5, "u": 2, "signs": "ss"},
    "average_pool": {"M": 2, "S": 5, "K": 2, "signs": "u", "divide": "multiply"},
    "max_pool": {"M": 3, "S": 11, "K": 2, "signs": "o", "scheme": "moves"},
}
NORMALIZING = {  # their programs are the same on kinds with and without a chain
    "softmax": {"M": 2, "T": 5, "G": 2, "values": (255, 94, 35, 13)},
    "ita_softmax": {"M": 3, "T": 5, "G": 2, "shift": 1},
    "layer_norm": {"M": 2, "T": 4, "G": 2},
    "rms_norm": {"M": 2, "T": 2, "G": 2},
}
CASES = (
    [(name, kind, params) for name, params in SMALL.items() for kind in KINDS]
    + [(name, kind, params) for name, params in NORMALIZING.items() for kind in ("1d", "2d-seg")]
    + [
        ("max_pool", kind, SMALL["max_pool"] | {"scheme": scheme})
        for kind in KINDS[1:]
        for scheme in ("prefix", *["chain"] * ("tc" in kind))
    ]
)


def machines(function: Function, seed: int, engine: str) -> list[Machine]:
    """A machine of the definition and one of another engine, with the same random cells."""
    cells = np.random.default_rng(seed).random((function.rows, function.columns)) < 0.5
    both = [Machine(function.rows, function.layout, engine=e) for e in ("dense", engine)]
    for machine in both:
        machine.cam.poke(cells)
    return both


def inputs(case: Case, function: Function) -> np.ndarray:
    rng = np.random.default_rng(case.seed)
    return function.words(*subject(case).operands(rng, case.params))


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "dense"])
@pytest.mark.parametrize(("name", "kind", "params"), CASES)
def test_every_engine_does_whole_functions_as_the_definition_does(
    name: str, kind: str, params: dict[str, object], engine: str
) -> None:
    """engine(function) == dense(function), from dirty cells: words out, state, every counter"""
    case = Case(name, kind, params)
    function = subject(case).build(kind, params)
    data, both = inputs(case, function), machines(function, 7, engine)
    outs = [np.zeros((1, function.rows), np.uint64) for _ in both]
    done = [m.run(function.program, data, out) for m, out in zip(both, outs, strict=True)]
    np.testing.assert_array_equal(*outs)
    for number in ("compared", "matched", "written", "flipped"):
        np.testing.assert_array_equal(*(getattr(one, number) for one in done))
    for look in (lambda m: m.cam.peek(), lambda m: m.cam.tag, lambda m: m.cam.column_tag):
        np.testing.assert_array_equal(*(look(machine) for machine in both))
    assert both[0].counts == both[1].counts
    assert both[0].counts_by_phase == both[1].counts_by_phase
    assert both[0].activity == both[1].activity


@pytest.mark.parametrize("by", ["pass", "cycle"])
@pytest.mark.parametrize(("name", "kind", "params"), CASES)
def test_stepping_through_a_function_is_running_it(
    name: str, kind: str, params: dict[str, object], by: str
) -> None:
    """steps(function) == run(function): cells, words out, counts, activity, and their phases"""
    case = Case(name, kind, params)
    function = subject(case).build(kind, params)
    data = inputs(case, function)
    cells = np.random.default_rng(9).random((function.rows, function.columns)) < 0.5
    whole, stepped = (Machine(function.rows, function.layout) for _ in range(2))
    outs = [np.zeros((1, function.rows), np.uint64) for _ in range(2)]
    for machine in (whole, stepped):
        machine.cam.poke(cells)
    whole.run(function.program, data, outs[0])
    events = list(stepped.steps(function.program, data, outs[1], by=by))
    np.testing.assert_array_equal(*outs)
    np.testing.assert_array_equal(whole.cam.peek(), stepped.cam.peek())
    assert sum((event.counts for event in events), Counts()) == whole.counts == stepped.counts
    assert sum((event.activity for event in events), Activity()) == whole.activity
    assert stepped.counts_by_phase == whole.counts_by_phase
    assert [event.index for event in events] == list(range(len(events)))


@pytest.mark.parametrize("how", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_of_a_function_is_the_same_program(how: Callable[[Any], Any]) -> None:
    """steps(copy) == steps(function), cleared or not; a copy is run like the function"""
    made = functions.reduce(4, 9, kind="1d")
    for function in (made, cleared(made)):
        again = how(function)
        assert again.program.counts() == function.program.counts()
        assert again.layout == function.layout and again.kind is function.kind
        assert functions.run(again, np.arange(9)).values == 36
