"""What narrowing a layer loses, measured on images with the exact twin.

The rule: no chip, no cost and no test image here.  Losses are differences to the network
at its widest, so that the widest setting loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.errors import InputError
from apsim.nn import exact
from apsim.nn.model import Model
from apsim.nn.rules import real
from apsim.nn.search.front import Table

__all__ = ["MEASURES", "Images", "Judge", "Score", "Sensitivity", "measure"]

MEASURES = ("kl", "loss", "errors")
Logits = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Images:
    """Real inputs by tensor name, each [N, ...], and a label for each where there are any."""

    inputs: dict[str, npt.NDArray[Any]]
    labels: npt.NDArray[np.integer[Any]] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True)
class Score:
    """A setting on images: its loss by the measure, and how many it classified rightly."""

    loss: float
    correct: int | None
    images: int

    @property
    def accuracy(self) -> float | None:
        """The part that was classified rightly; None without labels."""
        return None if self.correct is None else self.correct / self.images

    @property
    def se(self) -> float | None:
        """The binomial standard error of the accuracy."""
        part = self.accuracy
        return None if part is None else float(np.sqrt(part * (1 - part) / self.images))


@dataclass(frozen=True)
class Sensitivity:
    """layer -> width -> loss when that layer alone is narrowed; and how it was measured."""

    losses: Table
    measure: str
    images: int


class Judge:
    """Scores settings of one model on the same images; each setting once."""

    def __init__(
        self, model: Model, images: Images, measure: str = "kl", widest: int = 8,
    ) -> None:  # fmt: skip
        """Raises `InputError` for an unknown measure or one that wants labels there are not."""
        _check(model, images, measure)
        self.model, self.images, self.measure = model, images, measure
        self._full = self._logits((widest,) * len(model.fluid))
        self._base = self._plain(self._full)
        self._scores: dict[tuple[int, ...], Score] = {}

    def score(self, widths: Sequence[int]) -> Score:
        """The network at `widths`, one for each layer of `fluid`."""
        key = tuple(widths)
        if key not in self._scores:
            logits = self._logits(key)
            loss = self._plain(logits) - self._base
            self._scores[key] = Score(loss, self._correct(logits), len(self.images))
        return self._scores[key]

    def _logits(self, widths: tuple[int, ...]) -> Logits:
        """Real outputs [N, classes]; the model is made from the one that was loaded."""
        model = self.model.at(widths)
        entered = {name: real.quantize(model, x, name) for name, x in self.images.inputs.items()}
        found = exact.run(model, entered)[model.output]
        values = real.dequantize(model.tensors[model.output], found)
        return np.asarray(values, np.float64).reshape(len(found), -1)

    def _plain(self, logits: Logits) -> float:
        if self.measure == "kl":
            return _kl(self._full, logits)
        assert self.images.labels is not None
        if self.measure == "errors":
            return float((logits.argmax(axis=1) != self.images.labels).mean())
        return float(-_log_softmax(logits)[np.arange(len(logits)), self.images.labels].mean())

    def _correct(self, logits: Logits) -> int | None:
        labels = self.images.labels
        return None if labels is None else int((logits.argmax(axis=1) == labels).sum())


def measure(
    model: Model, images: Images, measure: str = "kl", *, widths: Sequence[int] = range(2, 9),
    watch: Callable[[], None] = lambda: None,
) -> Sensitivity:  # fmt: skip
    """The loss of each layer at each width while all others keep the widest.

    `kl`: mean Kullback-Leibler divergence from the widest network's softmax, in nats (needs
    no labels); `loss`: mean negative log likelihood; `errors`: share of wrong answers.
    """
    judge = Judge(model, images, measure, max(widths))
    full = (max(widths),) * len(model.fluid)
    losses: dict[str, dict[int, float]] = {}
    for k, layer in enumerate(model.fluid):
        losses[layer.name] = {}
        for width in widths:
            losses[layer.name][width] = judge.score((*full[:k], width, *full[k + 1 :])).loss
            watch()
    return Sensitivity(losses, measure, len(images))


def _check(model: Model, images: Images, measure: str) -> None:
    if measure not in MEASURES:
        raise InputError(f"measure {measure!r}: wanted one of {', '.join(MEASURES)}")
    if len(images) == 0:
        raise InputError("no calibration images")
    if measure != "kl" and images.labels is None:
        raise InputError(f"measure {measure!r} needs labels; kl needs none")
    classes = int(np.prod(model.tensors[model.output].shape))
    if classes < 2:
        raise InputError(f"output {model.output!r} has {classes} value: a choice wants two classes")
    labels = images.labels
    if labels is not None and (labels.shape != (len(images),) or np.any(labels >= classes)):
        raise InputError(f"wanted {len(images)} labels below {classes}, got {labels.shape}")


def _log_softmax(logits: Logits) -> Logits:
    """In float64, the greatest taken off first."""
    near = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(near - np.log(np.exp(near).sum(axis=1, keepdims=True)))


def _kl(full: Logits, logits: Logits) -> float:
    p = _log_softmax(full)
    return float((np.exp(p) * (p - _log_softmax(logits))).sum(axis=1).mean())
