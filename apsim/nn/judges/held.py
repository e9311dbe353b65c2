"""An import held against an independent reading of its file, bounded in time, remembered.

The rule: an import is believed because another implementation read the same file and got
the same integers, in every tensor that both have a name for.  Where none can read it,
that is said.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from apsim.errors import ApsimError
from apsim.nn.judges import cases, kept, kinds
from apsim.nn.judges.cases import Case
from apsim.nn.judges.compare import Agreement, compare, merged
from apsim.nn.judges.kinds import Judge
from apsim.nn.model import Model, Origin

__all__ = ["BUDGET", "Held", "hold"]

BUDGET = 3.5  # seconds, after which no further input is begun
MANY = 1 << 20  # integers in a batch of the user's own inputs, where the file fixes none


@dataclass(frozen=True)
class Held:
    """What came of it: `by` is the judge, empty where there was none for the `reason`.

    `differ` counts integers that nothing explains, `ties` and `float32` those that the
    judge's float32 decided, `parted` values that differ before they are rounded
    (`Agreement`).  `wanted` is the number of inputs drawn,
    `inputs` how many were read, not all or not in full where they are not `complete`: `cut`
    says why.
    """

    by: str = ""
    reason: str = ""
    wanted: int = 0
    inputs: int = 0
    complete: bool = True
    cut: str = ""
    integers: int = 0
    differ: int = 0
    ties: int = 0
    float32: int = 0
    parted: int = 0
    first: str = ""
    remembered: bool = False

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the import."""
        return not self.first

    @property
    def line(self) -> str:
        """One line for people."""
        if not self.by:
            return f"import: not held against anything: {self.reason}"
        few = "" if self.complete else f" of {self.wanted} ({self.cut})"
        text = (
            f"import: held against {self.by}: {self.inputs}{few} input{'s' * (self.inputs != 1)}, "
            f"{self.integers:,} integers, {self.differ:,} differ"
        )
        decided = self.ties + self.float32
        if decided:
            text += f", {decided:,} tie ({self.ties:,} half-way, {self.float32:,} within float32)"
        if self.parted:
            text += f", {self.parted:,} before they are rounded"
        return text + (f"; first: {self.first}" if self.first else "")

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {"held": bool(self.by), "passed": self.passed, **asdict(self)}


def hold(
    path: str | os.PathLike[str], model: Model, origins: Sequence[Origin], *,
    own: Case | None = None, budget: float = BUDGET,
) -> Held:  # fmt: skip
    """Hold a network, imported under its format's own rule, against a reading of its file.

    `own` is an input of the user's, which takes the place of one that would be drawn.  A
    verdict without differences is remembered by the file, the network made of it and the
    version, and given again.
    """
    place = kept.place(path, model, origins)
    found = kept.find(place)
    if found is not None and found.keys() == Held().__dict__.keys():
        return replace(Held(**found), remembered=True)
    held = _held(path, model, origins, own, budget)
    if held.by and held.passed:
        kept.keep(place, {**asdict(held), "remembered": False})
    return held


def _held(
    path: str | os.PathLike[str], model: Model, origins: Sequence[Origin], own: Case | None,
    budget: float,
) -> Held:  # fmt: skip
    reasons = []
    for name in kinds.readers(path):
        try:
            held = _by(name, path, model, origins, own, budget)
        except ApsimError as error:
            reasons.append(str(error))
            continue
        if held.integers:
            return held
        reasons.append(f"{held.by} gives none of the network's integers")
    return Held(reason="; ".join(reasons) or f"no judge reads files such as {path}")


def _by(
    name: str, path: str | os.PathLike[str], model: Model, origins: Sequence[Origin],
    own: Case | None, budget: float,
) -> Held:  # fmt: skip
    started = time.perf_counter()
    judge = kinds.judge(name, path)
    wanted = list(cases.drawn(model, judge.batch or 1, own=_few(model, own, judge.batch)))
    runs: list[list[Agreement]] = []
    cut = ""
    for case in wanted:
        cut = _over(started, budget, len(runs)) if runs else ""
        if cut:
            break
        try:
            runs.append(_run(judge, model, origins, case, started + budget))
        except Exception as error:  # each judge has kinds of its own
            if not runs:
                raise kinds.cannot(name, path, error) from error
            cut = "the judge refuses others"  # which says nothing against the file
            break
    cut = cut or _over(started, budget, 0)
    found = _summed(judge.title, len(wanted), runs)
    return replace(found, complete=not cut, cut=cut)


def _over(started: float, budget: float, done: int) -> str:
    """Why no further input is begun: the time is over, or would be after one like those done."""
    spent = time.perf_counter() - started
    return "time ran out" if spent + (spent / done if done else 0.0) > budget else ""


def _run(
    judge: Judge, model: Model, origins: Sequence[Origin], case: Case, deadline: float
) -> list[Agreement]:
    reading = judge.read(case.feeds, deadline)
    return compare(model, origins, case.x, reading, deadline=deadline, unrounded=True)


def _few(model: Model, own: Case | None, batch: int | None) -> Case | None:
    """So many of the user's own inputs as are soon done; None where they make no batch."""
    if own is None or own.size < (batch or 1):
        return None
    values = sum(math.prod(tensor.shape) for tensor in model.tensors.values())
    return next(cases.parts(own, batch or max(1, min(own.size, MANY // max(values, 1)))), None)


def _summed(by: str, wanted: int, runs: Sequence[Sequence[Agreement]]) -> Held:
    judged = merged(runs)
    wrong = next((one for one in judged if not one.equal), None)
    return Held(
        by=by, wanted=wanted, inputs=len(runs),
        integers=sum(one.total for one in judged),
        differ=sum(one.unexplained for one in judged),
        ties=sum(one.ties for one in judged),
        float32=sum(one.float32 for one in judged),
        parted=sum(one.parted for one in judged),
        first="" if wrong is None else _place(wrong),
    )  # fmt: skip


def _place(one: Agreement) -> str:
    text = one.problem or one.first
    return f"{one.place}: {text or f'before it is rounded, at {one.before}'}"
