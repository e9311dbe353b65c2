"""One row of the conformance table: a function executed, counted, and held against the paper.

The rules, from which the verdict follows:
A. counted == realisable, compares, writes and reads each;
B. realisable == printed equation + the sum of the named terms;
C. every result is the integer that numpy gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np

from apsim import functions
from apsim.check.folded import CAP_ROWS, folded
from apsim.check.subject import FUNCTIONS, SMALLER_LUTS, Integers, Params, Subject
from apsim.counts import Counts
from apsim.functions import Function
from apsim.machine import Machine

__all__ = ["FUNCTIONS", "OPT", "Case", "Row", "examine", "subject"]

OPT = "opt"


@dataclass(frozen=True)
class Case:
    """What to run: a function, an AP kind (or `opt`: smaller LUTs), and its parameters."""

    function: str
    ap: str
    params: Params

    @property
    def seed(self) -> int:
        """A number of its own for each case, the same in every run."""
        return crc32(json.dumps([self.function, self.params], sort_keys=True).encode())

    def __str__(self) -> str:
        sizes = ", ".join(f"{name}={value}" for name, value in self.params.items())
        return f"{self.function} on {self.ap} ({sizes})"


@dataclass(frozen=True)
class Row:
    """What came of a case; `paper` is None where the paper prints no equation.

    `labels` are those of the terms that rule B cannot refute.
    """

    case: Case
    counted: Counts
    realisable: Counts
    paper: Counts | None
    terms: Mapping[str, Counts]
    bit_exact: bool
    wrong: tuple[str, ...] = field(default=())
    labels: tuple[str, ...] = field(default=())

    @property
    def status(self) -> str:
        """`fail` where a rule is broken, else `exact` or, with terms, `explained`."""
        if self.wrong:
            return "fail"
        return "explained" if self.terms else "exact"

    @property
    def below(self) -> bool:
        """Whether the run takes less than the printed equation."""
        return self.paper is not None and self.counted.total < self.paper.total

    def as_dict(self) -> dict[str, Any]:
        """The row as the result file holds it."""
        return {
            "function": self.case.function,
            "ap": self.case.ap,
            "tag_chain": self.case.ap.endswith("-tc"),
            "params": dict(self.case.params),
            "counted": self.counted.as_dict(),
            "realisable": self.realisable.as_dict(),
            "paper": None if self.paper is None else self.paper.as_dict(),
            "terms": {name: term.as_dict() for name, term in self.terms.items()},
            "bit_exact": self.bit_exact,
            "status": self.status,
        }


def subject(case: Case) -> Subject:
    """What is to be expected of the case's function."""
    return (SMALLER_LUTS if case.ap == OPT else FUNCTIONS)[case.function]


@dataclass(frozen=True)
class Outcome:
    """What an execution gave, what it took, and what it should have taken."""

    values: Integers
    counted: Counts
    realisable: Counts
    paper: Counts | None
    terms: Mapping[str, Counts]


def examine(case: Case, *, engine: str = "strict", function: Function | None = None) -> Row:
    """Execute a case on random operands and hold it against the three rules.

    `function` stands in for the one that the case builds (mutated programs in tests).
    """
    of, generator = subject(case), np.random.default_rng(case.seed)
    operands = of.operands(generator, case.params)
    if CAP_ROWS in case.params:
        out = _folded(case, operands, engine)
    else:
        function = function or of.build(case.ap, case.params)
        out = _executed(case, function, operands, generator, engine)
    terms = {name: term for name, term in out.terms.items() if term != Counts()}
    exact = bool(np.array_equal(out.values, of.expected(case.params, *operands)))
    wrong = _broken(case, out, terms, exact)
    labels = tuple(name for name in terms if name in of.labels(case.params))
    return Row(case, out.counted, out.realisable, out.paper, terms, exact, wrong, labels)


def _executed(
    case: Case,
    function: Function,
    operands: Sequence[Integers],
    generator: np.random.Generator,
    engine: str,
) -> Outcome:
    """One load, on an array of the function's size."""
    machine = Machine(function.rows, function.layout, engine=engine)
    if case.params.get("dirty"):
        machine.cam.poke(generator.random((function.rows, function.columns)) < 0.5)
    result = functions.run(function, *operands, machine=machine)
    of, ap, p = subject(case), case.ap, case.params
    counts = of.realisable(ap, p), of.paper(ap, p), of.terms(ap, p)
    return Outcome(result.values, result.counts, *counts)


def _folded(case: Case, operands: Sequence[Integers], engine: str) -> Outcome:
    """Several loads, on CAPs of few rows."""
    first, second = operands
    values, part = folded(case.ap, case.params, first, second, engine)
    expected = part.forecast
    return Outcome(values, part.counts, expected.predicted, expected.paper, expected.terms)


def _broken(case: Case, out: Outcome, terms: Mapping[str, Counts], exact: bool) -> tuple[str, ...]:
    """What each broken rule wanted and what came."""
    wrong = []
    if out.counted != out.realisable:
        wrong.append(f"{case}: wanted {out.realisable}, counted {out.counted}")
    if out.paper is not None and out.realisable != sum(terms.values(), out.paper):
        named = ", ".join(f"{name} {term.total:+}" for name, term in terms.items()) or "no terms"
        wrong.append(f"{case}: {out.realisable} is not the paper's {out.paper} with {named}")
    if not exact:
        wrong.append(f"{case}: the result is not that of integer arithmetic")
    return tuple(wrong)
