"""A network on a chip, layer by layer, each held against its exact twin and its forecast.

The rule: every layer's twin runs on the very tensors that the layer got, so that a
mistake shows where it is made; a layer passes when value and count both agree.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from apsim.counts import Counts
from apsim.errors import InputError, ProgramError
from apsim.nn import checkpoint, exact
from apsim.nn.checkpoint import Checkpoint
from apsim.nn.model import Integers, Layer, MatMul, Model, Weighted
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.execute import execute, macs
from apsim.nn.on_ap.layer_run import LayerRun
from apsim.nn.on_ap.seconds import Seconds
from apsim.nn.verify import verify
from apsim.records import Record, Tabular

__all__ = ["Run", "Watcher", "run"]


class Watcher:
    """Told what a run does as it does it; this one looks away."""

    def advance(self, layer: Layer, multiplications: int) -> None:
        """So many more multiplications of a layer are done."""

    def finish(self, layer: Layer, done: LayerRun) -> None:
        """A layer is done and checked."""


@dataclass(frozen=True)
class Run(Tabular):
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
    def engine_seconds_by(self) -> Seconds:
        """What load, passes and the rest took, all layers together, without any check."""
        return Seconds.sum(layer.engine_seconds_by for layer in self.layers)

    @property
    def outputs(self) -> Integers:
        """The model's output, one line per image."""
        return self.tensors[self.model.output]

    def table(self) -> list[Record]:
        """A record for each layer: its shape, counts, predictions and activity."""
        return [
            {
                "layer": layer.name,
                "operation": layer.op,
                "shape": "x".join(map(str, layer.shape)),
                "bits_a": layer.bits_a,
                "bits_w": layer.bits_w,
                "macs": layer.macs,
                "loads": layer.loads,
                **layer.counts.as_dict(),
                "cycles": layer.counts.total,
                "predicted": layer.predicted.total,
                "paper": layer.paper.total,
                **layer.activity.as_dict(),
                "bit_exact": layer.bit_exact,
                "counts_match": layer.counts_match,
                "seconds": layer.seconds,
            }
            for layer in self.layers
        ]


def run(
    model: Model,
    x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    chip: Chip,
    *,
    labels: npt.ArrayLike | None = None,
    check: str = "all",
    keep: str = "all",
    save: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    watcher: Watcher | None = None,
) -> Run:
    """Run integers x [N, ...] through a model on a chip; labels [N] are counted as correct.

    `check` "sample" compares some channels of each layer instead of all.  `keep`
    "outputs" forgets tensors that no later layer needs.  `save` names a checkpoint,
    written after each layer; `resume` goes on from one.  Raises `InputError` for images
    of a wrong shape or range and for another run's checkpoint, `ProgramError` where a CAP
    is too small for a layer.  Seconds are those of all cores: BLAS, which checks, is better
    kept to one of them (OPENBLAS_NUM_THREADS=1), as the command line does.
    """
    started = time.perf_counter()
    if chip.requant == "ap":
        from apsim.nn.rules.recipes import refuse_floats

        refuse_floats(model)
    tensors = exact.checked_inputs(model, x)
    images = len(next(iter(tensors.values())))
    if keep not in ("all", "outputs"):
        raise InputError(f"keep: wanted all or outputs, got {keep!r}")
    wanted = None if labels is None else _labels(labels, images)
    progress = _Progress(model, chip, check, keep, tensors, images, watcher or Watcher())
    progress.name_run(save, resume)
    for layer in model.layers[len(progress.layers) :]:
        progress.step(layer, save)
    return Run(
        model,
        chip,
        images,
        tuple(progress.layers),
        progress.tensors,
        None if wanted is None else _correct(progress.tensors[model.output], wanted),
        time.perf_counter() - started,
    )


def _labels(labels: npt.ArrayLike, images: int) -> Integers:
    wanted = np.asarray(labels)
    if wanted.shape != (images,):
        raise InputError(f"labels: wanted {images}, one per image, got shape {wanted.shape}")
    if wanted.dtype.kind not in "iu":
        raise InputError(f"labels: wanted integers, got {wanted.dtype}")
    return wanted


def _correct(outputs: Integers, wanted: Integers) -> int:
    return int((outputs.reshape(len(outputs), -1).argmax(axis=1) == wanted).sum())


@contextmanager
def _blaming(layer: Layer) -> Iterator[None]:
    """Name the layer in what goes wrong with it, memory that does not suffice included."""
    try:
        yield
    except ProgramError as error:
        raise ProgramError(f"layer {layer.name!r}: {error}") from error
    except MemoryError as error:
        raise InputError(
            f"layer {layer.name!r}: not enough memory ({error}); fewer images need less"
        ) from error


@dataclass
class _Progress:
    """Where a run stands: layers done, and the tensors so far."""

    model: Model
    chip: Chip
    check: str
    keep: str
    tensors: dict[str, Integers]
    images: int
    watcher: Watcher
    layers: list[LayerRun] = field(default_factory=list)
    identity: str = ""

    def name_run(
        self, save: str | os.PathLike[str] | None, resume: str | os.PathLike[str] | None
    ) -> None:
        """Work out the run's identity where a checkpoint needs it, and take one up."""
        if save is not None or resume is not None:
            if self.chip.array == "cap":
                raise InputError(
                    "array cap goes without checkpoints: they do not hold what a CAP's cells do"
                )
            self.identity = checkpoint.identity(self.model, self.tensors, self.chip, self.check)
        if resume is not None:
            found = checkpoint.read(resume, self.identity)
            self._require(found, resume)
            self.layers, self.tensors = list(found.layers), found.tensors
            for layer, done in zip(self.model.layers, self.layers, strict=False):
                self.chip.note(done.counts, done.activity, done.loads)
                self.watcher.advance(layer, done.macs)

    def _require(self, found: Checkpoint, path: str | os.PathLike[str]) -> None:
        """Refuse a checkpoint of other layers, or without tensors which this run is to keep."""
        names = [layer.name for layer in found.layers]
        if names != [layer.name for layer in self.model.layers[: len(names)]]:
            raise InputError(f"{path}: wanted the first layers of {self.model.name}, got {names}")
        made = [layer.output for layer in self.model.layers[: len(found.layers)]]
        lost = [name for name in (*self.model.inputs, *made) if name not in found.tensors]
        if self.keep == "all" and lost:
            raise InputError(f"{path} does not hold {lost[0]}: start anew to keep every tensor")

    def step(self, layer: Layer, save: str | os.PathLike[str] | None) -> None:
        """Run one layer, check it, and write it down."""
        self.watcher.advance(layer, 0)
        with _blaming(layer):
            record = self._run(layer)
        self.layers.append(record)
        self._forget()
        if save is not None:
            checkpoint.write(save, self.identity, Checkpoint(tuple(self.layers), self.tensors))
        self.watcher.finish(layer, record)

    def _run(self, layer: Layer) -> LayerRun:
        """Run a layer and hold it against its twin on the same tensors."""
        started = time.perf_counter()
        done = execute(
            self.model, layer, self.tensors, self.chip, lambda n: self.watcher.advance(layer, n)
        )
        verdict = verify(self.model, layer, self.tensors, done.output, self.check)
        self.tensors[layer.output] = done.output
        return LayerRun(
            layer.name,
            layer.op,
            tuple(done.output.shape[1:]),
            self.model.tensors[layer.inputs[0]].bits,
            self._second_width(layer),
            macs(self.model, layer, self.images),
            done.parts,
            done.host,
            verdict.equal,
            time.perf_counter() - started,
            verdict.compared,
            done.choice,
        )

    def _second_width(self, layer: Layer) -> int | None:
        """Bits of the weights, or of the second of two tensors that are multiplied."""
        if isinstance(layer, Weighted):
            return layer.weight_bits
        both = isinstance(layer, MatMul)
        return self.model.tensors[layer.inputs[1]].bits if both else None

    def _forget(self) -> None:
        if self.keep == "all":
            return
        needed = {name for layer in self.model.layers[len(self.layers) :] for name in layer.inputs}
        needed.update(self.model.outputs)
        needed.update(state.written for state in self.model.states)
        self.tensors = {name: value for name, value in self.tensors.items() if name in needed}
