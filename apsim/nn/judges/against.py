"""A run held against another implementation of the same file: `apsim run --against`.

The rule: the judge gets the untouched file and the user's own inputs, in the batches that
the file fixes; layer by layer only what the file holds as integers, or on their grid, is
compared.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apsim.errors import ApsimError, InputError
from apsim.nn.judges import cases, kinds
from apsim.nn.judges.cases import Case
from apsim.nn.judges.compare import Agreement, agreed, compare, merged
from apsim.nn.judges.reading import Reading
from apsim.nn.model import Integers, Model, Origin

__all__ = ["Answers", "Verdict", "ask", "compared"]

MANY = 8  # images in a batch where the file fixes none


@dataclass(frozen=True, eq=False)
class Answers:
    """What a judge made of the inputs, batch by batch."""

    judge: str
    title: str
    parts: tuple[tuple[Case, Reading], ...]


@dataclass(frozen=True)
class Verdict:
    """How a run compares with the judge `judge`; its `layers` layers have these `names`."""

    judge: str
    rule: str
    layers: int
    judged: tuple[Agreement, ...]
    names: frozenset[str]

    @property
    def compared(self) -> tuple[int, int]:
        """How many layers were compared, and how many integers of them."""
        found = [one for one in self.judged if one.layer in self.names]
        return len({one.layer for one in found}), sum(one.total for one in found)

    @property
    def agreed(self) -> bool:
        """Whether nothing differs but what the judge's float32 decided."""
        return agreed(self.judged)

    def sum(self, name: str) -> int:
        """One number of `Agreement` over all tensors."""
        return sum(int(getattr(one, name)) for one in self.judged)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        numbers = ("forced", "whole", "ties", "float32", "unexplained")
        layers, integers = self.compared
        return {
            "judge": self.judge, "agreed": self.agreed, "layers": self.layers,
            "compared": layers, "integers": integers,
            **{name: self.sum(name) for name in numbers},
        }  # fmt: skip


def ask(name: str, path: str | os.PathLike[str], case: Case) -> Answers:
    """Run a file in a judge on the user's inputs, before any work of our own.

    Raises `InputError` with the judge's own reason where it cannot.
    """
    judge = kinds.judge(name, path)
    size = judge.batch or (MANY if case.size % MANY == 0 else case.size)
    if case.size % size:
        raise InputError(
            f"{path} takes batches of {size}, and {case.size} inputs make no whole ones"
        )
    try:
        parts = [(part, judge.read(part.feeds)) for part in cases.parts(case, size)]
    except ApsimError:
        raise
    except Exception as error:  # each judge has many kinds of its own
        raise kinds.cannot(name, path, error) from error
    return Answers(name, judge.title, tuple(parts))


def compared(
    answers: Answers, model: Model, origins: Sequence[Origin], ours: Mapping[str, Integers]
) -> Verdict:
    """Hold the tensors `ours` of a run against the answers.

    Raises `InputError` where the judge gives none of the network's integers.
    """
    runs, start = [], 0
    for case, reading in answers.parts:
        cut = {name: values[start : start + case.size] for name, values in ours.items()}
        runs.append(compare(model, origins, case.x, reading, cut))
        start += case.size
    judged = tuple(merged(runs))
    names = frozenset(layer.name for layer in model.layers)
    if not any(one.layer in names for one in judged):
        raise InputError(f"--against {answers.judge}: the file names no tensor of a whole layer")
    return Verdict(answers.title, model.rule, len(model.layers), judged, names)
