"""Programs with a mistake in them: each is noticed, by a wrong value or a wrong count.

A step that idles costs what it cost before and does nothing, so that only the values
can tell; a step that is left out changes the count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from apsim.ap_kind import ApKind
from apsim.check.row import Case, examine, subject
from apsim.functions import Function
from apsim.program import Item, Loop, Mode, Op, Operation, Step

KINDS = [kind.value for kind in ApKind]
Change = Callable[[Step], Step | None]


def mutant(function: Function, change: Callable[[int, Step], Step | None]) -> Function:
    """The function with its steps changed, by number and step; None leaves a step out."""
    items: list[Item] = []
    number = 0
    for item in function.program.items:
        steps = item.body if isinstance(item, Loop) else (item,)
        kept = [change(number + n, step) for n, step in enumerate(steps)]
        body = tuple(step for step in kept if step is not None)
        number += len(steps)
        if isinstance(item, Loop):
            items += [replace(item, body=body)] if body else []
        else:
            items += body
    return replace(function, operation=Operation("mutant", lambda layout: items))


def steps_of(function: Function) -> list[Step]:
    """The steps of the listing, loops' bodies once."""
    items = function.program.items
    return [s for item in items for s in (item.body if isinstance(item, Loop) else (item,))]


def idle(step: Step) -> Step:
    """A step of the same cost that changes nothing."""
    if step.op is Op.PASS:
        return replace(step, write=step.key)  # writes what it matched
    if step.op is Op.WRITE_TAG and step.mode is Mode.VERTICAL:
        return replace(step, width=0)
    return replace(step, write=())


def wrong_values(case: Case, change: Callable[[int, Step], Step | None]) -> bool:
    """Whether the changed program, at the right count, gives wrong values for some operands."""
    function = mutant(subject(case).build(case.ap, case.params), change)
    for trial in range(8):  # operands are drawn from a case's parameters
        row = examine(replace(case, params=case.params | {"trial": trial}), function=function)
        assert row.counted == row.realisable
        if not row.bit_exact:
            return row.status == "fail"
    return False


def case_of(name: str, kind: str, **more: object) -> Case:
    sizes = {
        "add": {"M": 3, "signs": "u", "rows": 512},
        "subtract": {"M": 4, "signs": "u", "rows": 512},
        "multiply": {"Ma": 4, "Mw": 5, "signs": "ss", "rows": 512},
        "relu": {"M": 3, "signs": "s", "rows": 64},
        "max": {"M": 3, "signs": "o", "rows": 512},
        "min": {"M": 3, "signs": "u", "rows": 512},
        "reduce": {"M": 4, "L": 22, "signs": "u"},
        "dot": {"Ma": 4, "Mw": 4, "j": 11, "signs": "uu"},
        "matmul": {"Ma": 3, "Mw": 3, "i": 4, "j": 7, "u": 4, "signs": "uu"},
        "average_pool": {"M": 4, "S": 16, "K": 9, "signs": "u", "divide": "none"},
        "softmax": {"M": 3, "T": 3, "G": 90, "values": (255, 201, 170, 94, 77, 33, 0, 0)},
        "layer_norm": {"M": 3, "T": 8, "G": 9},
        "rms_norm": {"M": 3, "T": 8, "G": 9},
        "max_pool": {"M": 4, "S": 14, "K": 40, "signs": "u", "scheme": "moves"},
    }
    return Case(name, kind, sizes[name] | more)


ROWWISE = ("add", "subtract", "multiply", "relu", "max", "min")
GROUPED = ("reduce", "dot", "matmul", "average_pool", "max_pool")
EVERYWHERE = [
    *(case_of(name, "2d") for name in ROWWISE),
    *(case_of("multiply", "2d", signs=signs) for signs in ("uu", "us")),
    *(case_of(name, kind) for name in GROUPED for kind in KINDS),
    *(case_of("max_pool", kind, scheme="prefix") for kind in KINDS[1:]),
    *(case_of("max_pool", kind, scheme="chain") for kind in KINDS if "tc" in kind),
]
NORMALIZING = [case_of(name, kind) for name in ("softmax", "layer_norm", "rms_norm")
               for kind in ("1d", "2d-seg")]  # fmt: skip


@pytest.mark.parametrize("case", NORMALIZING, ids=str)
def test_a_broadcast_or_move_that_is_forgotten_gives_wrong_values(case: Case) -> None:
    """Every move of a tree and every broadcast is needed"""
    steps = steps_of(subject(case).build(case.ap, case.params))
    moves = [n for n, s in enumerate(steps) if s.op is Op.WRITE_TAG and s.mode is Mode.VERTICAL]
    assert len(moves) >= 4
    for move in moves:
        assert wrong_values(
            case,
            lambda n, s, move=move: idle(s) if n == move else s,  # type: ignore[misc]
        ), f"step {move}, {steps[move]}, idles unnoticed"


def passes_of(case: Case) -> Iterator[tuple[str, str, Mode]]:
    """The different passes of a program: the LUT's (or its text), the number, the direction."""
    steps = steps_of(subject(case).build(case.ap, case.params))
    yield from dict.fromkeys(name_of(step) for step in steps if step.op is Op.PASS)


def name_of(step: Step) -> tuple[str, str, Mode]:
    return step.table.name if step.table else step.text, step.label, step.mode


@pytest.mark.parametrize("case", EVERYWHERE, ids=str)
def test_a_lut_without_one_of_its_passes_gives_wrong_values(case: Case) -> None:
    """Every pass of every LUT is needed: idling, it leaves the count right and the values wrong"""
    for name in passes_of(case):
        assert wrong_values(
            case,
            lambda _, s, name=name: idle(s) if name_of(s) == name else s,  # type: ignore[misc]
        ), f"{name} idles unnoticed"


@pytest.mark.parametrize(
    "case", [case_of(name, kind) for name in GROUPED for kind in KINDS], ids=str
)
def test_a_word_or_carry_that_is_not_moved_gives_wrong_values(case: Case) -> None:
    """Every move of a word beside its partner, and every alignment of a carry, is needed"""
    steps = steps_of(subject(case).build(case.ap, case.params))
    moves = [n for n, s in enumerate(steps) if s.op is Op.WRITE_TAG and s.mode is Mode.VERTICAL]
    assert bool(moves) == ("tc" not in case.ap or case.params.get("scheme") == "moves")
    for move in moves:
        assert wrong_values(
            case,
            lambda n, s, move=move: idle(s) if n == move else s,  # type: ignore[misc]
        ), f"step {move}, {steps[move]}, idles unnoticed"


AGAIN = ("C, P, D <- 0", "C, V0 <- 0")
"""The carry is cleared with fields whose columns are used again."""

CLEARS = [
    (case_of("add", "2d", dirty=True), "clear"),
    (case_of("multiply", "2d", dirty=True), "clear"),
    (case_of("max", "2d", dirty=True), "clear"),
    *((case_of("reduce", kind, dirty=True), "scratch <- 0") for kind in KINDS),
    *((case_of("matmul", kind, dirty=True), "scratch <- 0") for kind in KINDS),
    *((case_of("matmul", kind, signs="us"), "scratch <- 0, top 1") for kind in KINDS),
    *((case_of("average_pool", kind, dirty=True), "scratch <- 0") for kind in KINDS),
    *((case_of("max_pool", kind, dirty=True), "scratch <- 0") for kind in KINDS),
    (case_of("max_pool", "2d", scheme="prefix", dirty=True), "clear"),
    (case_of("max_pool", "2d-seg-tc", scheme="chain", dirty=True), "clear"),
    (case_of("reduce", "1d"), "D <- 0"),
    (case_of("matmul", "1d"), "D <- 0"),
    (case_of("matmul", "2d"), "carry <- 0"),
    (case_of("average_pool", "2d"), "carry <- 0"),
    (case_of("relu", "2d"), "sign <- 0"),
    *((case_of("max_pool", "2d", scheme="prefix"), f"F{n} <- 0") for n in (1, 2)),
    *((case_of("max_pool", "2d-tc", scheme="chain"), f"F{n} <- 0") for n in (1, 2)),
    *((case_of("max_pool", "1d"), f"F{n} <- 0") for n in (1, 2)),
    *((case_of("softmax", "1d", T=6), text) for text in ("F1 <- 0", "F2 <- 0", "D <- 0")),
    *((case_of("layer_norm", "1d"), text) for text in ("G <- 0", *AGAIN)),
    (case_of("rms_norm", "1d"), AGAIN[0]),
    *((case_of(n, "1d", dirty=True), "clear") for n in ("softmax", "layer_norm", "rms_norm")),
]


@pytest.mark.parametrize(("case", "text"), CLEARS, ids=str)
def test_a_clear_that_is_forgotten_gives_wrong_values(case: Case, text: str) -> None:
    """Every clear is needed: with dirty scratch where it is for that, else on a fresh array"""
    text = "scratch <- 0" if text == "clear" else text
    found = [s for s in steps_of(subject(case).build(case.ap, case.params)) if s.text == text]
    assert found
    assert wrong_values(case, lambda _, s: idle(s) if s.text == text else s)


COUNTED = [case_of(name, kind) for name in ("add", "relu", "matmul", "max_pool") for kind in KINDS]


@pytest.mark.parametrize("case", COUNTED, ids=str)
def test_a_step_that_is_left_out_shows_in_the_count(case: Case) -> None:
    """counted != realisable for every single step left out, whatever the values"""
    function = subject(case).build(case.ap, case.params)
    expected = function.program.counts()
    for number in range(len(steps_of(function))):
        without = mutant(function, lambda n, s, number=number: None if n == number else s)  # type: ignore[misc]
        assert without.program.counts() != expected
    row = examine(case, function=without)  # the last step: a bit that is not read
    assert row.status == "fail"
    assert "counted" in row.wrong[0]
