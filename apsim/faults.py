"""Networks on failing arrays: accuracy, logits and energy under injected faults.

The rule: every trial is an executed run on `FaultyCam`s with a seed of its own; what is
compared is a faultless run of the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.ap_kind import ApKind
from apsim.cam.base import Cam
from apsim.cam.faulty import Faults, FaultyCam
from apsim.counts import Activity, Counts
from apsim.errors import InputError
from apsim.functions import Function
from apsim.nn.model import Integers, Layer, Model
from apsim.nn.on_ap.chip import Chip, Design
from apsim.nn.runtime import Run, Watcher, run
from apsim.workers import over_processes, tick

__all__ = ["FaultyChip", "Study", "Trial", "interval", "study"]

RESAMPLES = 2000
CONFIDENCE = 0.95


class FaultyChip(Chip):
    """A chip whose CAPs fail: each array has the faults, and a seed of its own.

    Every load runs on an array, one after another: lanes have no arrays that could fail.
    """

    def __init__(self, design: Design, *, ap: ApKind | str, faults: Faults, **options: Any) -> None:
        super().__init__(design, ap=ap, literal=True, **options)
        self.faults = faults

    def _array(self, function: Function) -> tuple[Cam, object]:
        size = function.rows, function.columns
        if size not in self._arrays:
            seed = int(np.random.default_rng([self.faults.seed, *size]).integers(2**63))
            array = FaultyCam(*size, replace(self.faults, seed=seed))
            self._arrays[size] = array, array.snapshot()
        return self._arrays[size]


@dataclass(frozen=True)
class Trial:
    """One run with faults: right answers, and how the logits moved from the faultless run.

    `correct` is None where nobody knows the right answers.  `moved` is the mean absolute
    change of a logit, in steps of the output's integers; `changed` the share of images
    whose answer changed.
    """

    correct: int | None
    moved: float
    changed: float
    counts: Counts
    activity: Activity


@dataclass(frozen=True)
class Study:
    """Trials of one kind of faults on the same images."""

    faults: Faults
    images: int
    clean_correct: int | None
    clean_activity: Activity
    trials: tuple[Trial, ...]

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Accuracy of each trial; none without labels."""
        right = (trial.correct for trial in self.trials)
        return tuple(correct / self.images for correct in right if correct is not None)

    @property
    def accuracy(self) -> float | None:
        """Mean accuracy over the trials, None without labels."""
        return fmean(self.accuracies) if self.accuracies else None

    @property
    def accuracy_interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the mean accuracy over the trials."""
        return interval(self.accuracies) if self.accuracies else None

    @property
    def moved(self) -> float:
        """Mean absolute change of a logit over the trials."""
        return fmean(trial.moved for trial in self.trials)

    @property
    def moved_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of `moved`."""
        return interval([trial.moved for trial in self.trials])

    @property
    def changed(self) -> float:
        """Mean share of images whose answer changed."""
        return fmean(trial.changed for trial in self.trials)

    @property
    def changed_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of `changed`."""
        return interval([trial.changed for trial in self.trials])

    @property
    def activity(self) -> Activity:
        """Activity of all trials together."""
        return sum((trial.activity for trial in self.trials), Activity())


def study(
    model: Model,
    images: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    labels: npt.ArrayLike | None,
    chip: Chip,
    faults: Sequence[Faults],
    *,
    repeats: int = 5,
    workers: int = 1,
    watch: Callable[[int], None] = lambda multiplications: None,
) -> list[Study]:
    """Run `images` [N, ...] once without faults and `repeats` times with each of `faults`.

    `labels` [N] are the right answers, None where nobody knows them.  `chip` gives design, AP
    kind, mapping with the cost it is chosen for, and broadcast.  Repeat r of faults with seed s
    uses seed s + r; `workers` processes share the trials; `watch` is told the multiplications
    that trials have done.  Raises `ApsimError` where processes keep dying, and `InputError` for
    a chip that faulty arrays cannot stand for.
    """
    _require_plain(chip)
    clean = run(model, images, Chip(chip.design, ap=chip.kind, **_made(chip)), labels=labels)
    trial = partial(_trial, model, images, labels, chip, clean.outputs)
    seeded = [replace(kind, seed=kind.seed + r) for kind in faults for r in range(repeats)]
    if workers == 1:
        trials = dict(enumerate(map(partial(trial, _Counter(watch).add), seeded)))
    else:
        trials = dict(over_processes(partial(trial, tick), seeded, workers, watch))
    parts = [tuple(trials[k + r] for r in range(repeats)) for k in range(0, len(seeded), repeats)]
    return [
        Study(kind, clean.images, clean.correct, _activity(clean), part)
        for kind, part in zip(faults, parts, strict=True)
    ]


def _require_plain(chip: Chip) -> None:
    """Refuse what a faulty run cannot be made with: `InputError`."""
    if chip.array != "load":
        raise InputError(f"array: faulty arrays are cut to the load, got {chip.array!r}")
    if chip.requant != "host":
        raise InputError(
            "requant: faulty sums leave the widths that the AP's passes are made for: wanted "
            f"'host', got {chip.requant!r}"
        )


def _made(chip: Chip) -> dict[str, Any]:
    """How a chip runs a network, of what a faulty one can do as well."""
    return {name: getattr(chip, name) for name in ("mapping", "cost", "broadcast")}


class _Counter:
    """Adds up what it is told, and tells the sum."""

    def __init__(self, watch: Callable[[int], None]) -> None:
        self.watch, self.done = watch, 0

    def add(self, amount: int) -> None:
        self.done += amount
        self.watch(self.done)


class _Ticking(Watcher):
    """Tells the multiplications of a run as they are done."""

    def __init__(self, told: Callable[[int], None]) -> None:
        self.told = told

    def advance(self, layer: Layer, multiplications: int) -> None:
        """See `runtime.Watcher`."""
        self.told(multiplications)


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Bootstrap confidence interval of the mean, at 95 %.

    >>> interval([0.5, 0.5, 0.5])
    (0.5, 0.5)
    """
    found = np.asarray(values, float)
    picks = np.random.default_rng(seed).integers(len(found), size=(RESAMPLES, len(found)))
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(found[picks].mean(axis=1), [tail, 100 - tail])
    return float(low), float(high)


def _trial(
    model: Model,
    images: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    labels: npt.ArrayLike | None,
    like: Chip,
    truth: Integers,
    told: Callable[[int], None],
    faults: Faults,
) -> Trial:
    """One run with faults against the outputs `truth` [N, ...] of the faultless one."""
    chip = FaultyChip(like.design, ap=like.kind, faults=faults, **_made(like))
    faulty = run(model, images, chip, labels=labels, watcher=_Ticking(told))
    logits, right = (found.reshape(faulty.images, -1) for found in (faulty.outputs, truth))
    return Trial(
        faulty.correct,
        float(np.abs(logits - right).mean()),
        float((logits.argmax(axis=1) != right.argmax(axis=1)).mean()),
        faulty.counts,
        _activity(faulty),
    )


def _activity(found: Run) -> Activity:
    return sum((layer.activity for layer in found.layers), Activity())
