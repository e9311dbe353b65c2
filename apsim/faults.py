"""Networks on failing arrays: accuracy, logits and energy under injected faults.

The rule: every trial is an executed run on `FaultyCam`s with a seed of its own; what is
compared is a faultless run of the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from apsim.cam.base import Cam
from apsim.cam.faulty import Faults, FaultyCam
from apsim.counts import Activity, Counts
from apsim.functions import Function
from apsim.nn.chip import Chip
from apsim.nn.model import Integers, Model
from apsim.nn.runtime import Run, run

__all__ = ["FaultyChip", "Study", "Trial", "interval", "study"]

RESAMPLES = 2000
CONFIDENCE = 0.95


class FaultyChip(Chip):
    """A chip whose CAPs fail: each array has the faults, and a seed of its own."""

    faults = Faults()

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

    `moved` is the mean absolute change of a logit, in steps of the output's integers;
    `changed` the share of images whose answer changed.
    """

    correct: int
    moved: float
    changed: float
    counts: Counts
    activity: Activity


@dataclass(frozen=True)
class Study:
    """Trials of one kind of faults on the same images."""

    faults: Faults
    images: int
    clean_correct: int
    clean_activity: Activity
    trials: tuple[Trial, ...]

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Accuracy of each trial."""
        return tuple(trial.correct / self.images for trial in self.trials)

    @property
    def accuracy(self) -> float:
        """Mean accuracy over the trials."""
        return fmean(self.accuracies)

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the mean accuracy over the trials."""
        return interval(self.accuracies)

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
    def activity(self) -> Activity:
        """Activity of all trials together."""
        return sum((trial.activity for trial in self.trials), Activity())


def study(
    model: Model,
    images: Integers,
    labels: Integers,
    chip: Chip,
    faults: Sequence[Faults],
    *,
    repeats: int = 5,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Study]:
    """Run `images` once without faults and `repeats` times with each of `faults`.

    `chip` gives design and AP kind.  Repeat r of faults with seed s uses seed s + r.
    """
    clean = run(model, images, _like(chip, Faults()), labels=labels)
    studies, done, total = [], 0, repeats * len(faults)
    for kind in faults:
        trials = []
        for repeat in range(repeats):
            there = _like(chip, replace(kind, seed=kind.seed + repeat))
            trials.append(_trial(run(model, images, there, labels=labels), clean))
            done += 1
            progress(done, total)
        studies.append(
            Study(kind, len(images), clean.correct or 0, _activity(clean), tuple(trials))
        )
    return studies


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


def _like(chip: Chip, faults: Faults) -> FaultyChip:
    there = FaultyChip(chip.design, ap=chip.kind)
    there.faults = faults
    return there


def _trial(faulty: Run, clean: Run) -> Trial:
    logits, truth = (found.outputs.reshape(found.images, -1) for found in (faulty, clean))
    return Trial(
        faulty.correct or 0,
        float(np.abs(logits - truth).mean()),
        float((logits.argmax(axis=1) != truth.argmax(axis=1)).mean()),
        faulty.counts,
        _activity(faulty),
    )


def _activity(found: Run) -> Activity:
    return sum((layer.activity for layer in found.layers), Activity())
