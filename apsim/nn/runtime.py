"""A network on a chip, layer by layer, each held against its exact twin and its forecast.

The rule: every layer's twin runs on the very tensors that the layer got, so that a
mistake shows where it is made; a layer passes when value and count both agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from apsim.counts import Activity, Counts
from apsim.nn import exact
from apsim.nn.chip import Chip
from apsim.nn.execute import execute, macs
from apsim.nn.model import Integers, Layer, Model, Weighted
from apsim.nn.part import Part, total_terms

__all__ = ["LayerRun", "Run", "run"]

Progress = Callable[[Layer, int], None]


@dataclass(frozen=True)
class LayerRun:
    """One layer: what it is, what ran, and the two verdicts."""

    name: str
    op: str
    shape: tuple[int, ...]
    bits_a: int
    bits_w: int | None
    macs: int
    parts: tuple[Part, ...]
    host: tuple[str, ...]
    bit_exact: bool
    seconds: float

    @property
    def loads(self) -> int:
        """Programs run on CAPs."""
        return sum(part.loads for part in self.parts)

    @property
    def counts(self) -> Counts:
        """What the programs took."""
        return sum((part.counts for part in self.parts), Counts())

    @property
    def predicted(self) -> Counts:
        """Closed forms times loads."""
        return sum((part.forecast.predicted for part in self.parts), Counts())

    @property
    def paper(self) -> Counts:
        """The printed equations times loads."""
        return sum((part.forecast.paper for part in self.parts), Counts())

    @property
    def terms(self) -> dict[str, Counts]:
        """Named differences of `predicted` from `paper`."""
        return total_terms(tuple(part.forecast.terms for part in self.parts))

    @property
    def activity(self) -> Activity:
        """Data-dependent work of the programs."""
        return sum((part.activity for part in self.parts), Activity())

    @property
    def engine_seconds(self) -> float:
        """Time spent in parts: operands, passes and results, without any check."""
        return sum(part.seconds for part in self.parts)

    @property
    def counts_match(self) -> bool:
        """Counted equals predicted for every part."""
        return all(part.counts_match for part in self.parts)


@dataclass(frozen=True)
class Run:
    """A whole run: layers, outputs, and how many images were classified rightly."""

    model: Model
    chip: Chip
    images: int
    layers: tuple[LayerRun, ...]
    tensors: Mapping[str, Integers]
    correct: int | None
    seconds: float

    @property
    def bit_exact(self) -> bool:
        """Every layer equals its exact twin."""
        return all(layer.bit_exact for layer in self.layers)

    @property
    def counts_match(self) -> bool:
        """Every layer took what was predicted."""
        return all(layer.counts_match for layer in self.layers)

    @property
    def passed(self) -> bool:
        """Values and counts agree."""
        return self.bit_exact and self.counts_match

    @property
    def counts(self) -> Counts:
        """What all layers took."""
        return sum((layer.counts for layer in self.layers), Counts())

    @property
    def outputs(self) -> Integers:
        """The model's output, one line per image."""
        return self.tensors[self.model.output]


def run(
    model: Model,
    x: npt.ArrayLike,
    chip: Chip,
    *,
    labels: npt.ArrayLike | None = None,
    progress: Progress = lambda layer, done: None,
) -> Run:
    """Run integers x [N, ...] through a model on a chip; labels [N] are counted as correct.

    Raises `InputError` for images of a wrong shape or range and `ProgramError` where a
    CAP is too small for a layer.
    """
    started = time.perf_counter()
    images = np.asarray(x)
    tensors = dict(exact.checked_inputs(model, images))
    layers = tuple(_layers(model, tensors, chip, progress))
    correct = None
    if labels is not None:
        answers = tensors[model.output].reshape(len(images), -1).argmax(axis=1)
        correct = int((answers == np.asarray(labels)).sum())
    return Run(model, chip, len(images), layers, tensors, correct, time.perf_counter() - started)


def _layers(
    model: Model, tensors: dict[str, Integers], chip: Chip, progress: Progress
) -> Iterator[LayerRun]:
    for layer in model.layers:
        started = time.perf_counter()
        progress(layer, 0)
        done = execute(model, layer, tensors, chip, lambda amount, of=layer: progress(of, amount))  # type: ignore[misc]
        truth = exact.layer_output(model, layer, tensors)
        tensors[layer.output] = done.output
        yield LayerRun(
            layer.name,
            layer.op,
            tuple(done.output.shape[1:]),
            model.tensors[layer.inputs[0]].bits,
            layer.weight_bits if isinstance(layer, Weighted) else None,
            macs(model, layer, len(done.output)),
            done.parts,
            done.host,
            bool(np.array_equal(done.output, truth)),
            time.perf_counter() - started,
        )
