"""Inputs for judge and network alike: drawn at random, at the ends of the range, or given.

The rule: real inputs are given to the judge as real numbers and quantized by each of the
two on its own; integers stay the same integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apsim.errors import InputError
from apsim.nn.judges.reading import Array, Feeds
from apsim.nn.model import Entry, Integers, Model, Tensor
from apsim.nn.rules import real

__all__ = ["Case", "drawn", "given", "parts"]

Draw = Callable[[float, float, Sequence[int]], Array]
SEED = 20_260_101
SPREAD = 0.05  # real inputs go past both ends by so much of the range


@dataclass(frozen=True, eq=False)
class Case:
    """One batch: what the file is fed, by its own names, and the network's integers."""

    what: str
    feeds: Feeds
    x: Mapping[str, Integers]

    @property
    def size(self) -> int:
        """How many images it holds."""
        return len(next(iter(self.x.values())))


def drawn(model: Model, batch: int, *, own: Case | None = None) -> Iterator[Case]:
    """Four batches: the user's own or one about the middle, a random one, and both ends."""
    rng = np.random.default_rng(SEED)
    if own is not None:
        yield own
    else:
        yield _case(model, "middle", batch, lambda lo, hi, shape: _middle(rng, lo, hi, shape))
    yield _case(model, "random", batch, lambda lo, hi, shape: rng.uniform(lo, hi, shape))
    yield _case(model, "all minimum", batch, lambda lo, hi, shape: np.full(shape, lo))
    yield _case(model, "all maximum", batch, lambda lo, hi, shape: np.full(shape, hi))


def _middle(rng: np.random.Generator, lo: float, hi: float, shape: Sequence[int]) -> Array:
    return np.clip(rng.normal((lo + hi) / 2, (hi - lo) / 12, shape), lo, hi)


def _case(model: Model, what: str, batch: int, draw: Draw) -> Case:
    feeds: dict[str, Array] = {}
    x: dict[str, Integers] = {}
    for name in model.inputs:
        called, tensor, entry = model.called(name), model.tensors[name], model.entries.get(name)
        if called not in feeds:
            feeds[called] = _values(tensor, entry, batch, draw)
        x[name] = _taken(model, name, feeds[called])
        if entry is not None and entry.chosen:  # the file is fed what the network takes
            feeds[called] = _undone(model, name, x[name])
    return Case(what, feeds, x)


def _values(tensor: Tensor, entry: Entry | None, batch: int, draw: Draw) -> Array:
    shape = (batch, *tensor.shape)
    if entry is None or entry.rounding == "none":
        ends = (tensor.lo, tensor.hi)
        whole = np.rint(draw(*ends, shape))
        return np.asarray(np.clip(whole, *ends), np.int64)
    if entry.thresholds:
        lo = min(line[0] for line in entry.thresholds)
        hi = max(line[-1] for line in entry.thresholds)
        return np.asarray(draw(lo - 1, hi + 1, shape), np.float32)
    scale = tensor.scale if isinstance(tensor.scale, float) else 1.0
    least, most = ((end - tensor.zero_point) * scale for end in (tensor.lo, tensor.hi))
    if isinstance(entry.shift, tuple) or isinstance(entry.factor, tuple):
        past = SPREAD * (most - least)
        return _before_steps(draw(least - past, most + past, shape), entry)
    lo, hi = sorted((end - entry.shift) / entry.factor for end in (least, most))
    past = SPREAD * (hi - lo)
    return np.asarray(draw(lo - past, hi + past, shape), np.float32)


def _before_steps(values: Array, entry: Entry) -> Array:
    """What the file's arithmetic makes such values of."""
    shift, factor = (real.beside(by, entry, values.ndim) for by in (entry.shift, entry.factor))
    return np.asarray((values - shift) / factor, np.float32)


def _taken(model: Model, name: str, values: Array) -> Integers:
    """The network's integers for what the file is fed."""
    if values.dtype.kind == "f":
        return real.quantize(model, values, name)
    tensor = model.tensors[name]
    return np.clip(values, tensor.lo, tensor.hi).astype(np.int64)


def given(model: Model, x: Mapping[str, Integers], raw: Feeds | None = None) -> Case:
    """The user's own inputs: `raw` as the file takes them, where they are at hand.

    Raises `InputError` where no real numbers give these integers.
    """
    known = {} if raw is None else raw
    feeds: dict[str, Array] = {}
    for name, values in x.items():
        called = model.called(name)
        taken = known.get(called, known.get(name))
        entry = model.entries.get(name)
        chosen = entry is not None and entry.chosen
        if taken is not None and taken.dtype.kind == "f" and not chosen:
            feeds[called] = np.broadcast_to(taken, values.shape)
        else:
            feeds[called] = _undone(model, name, values)
    return Case("given", feeds, x)


def _undone(model: Model, name: str, integers: Integers) -> Array:
    """An input as the file wants it: real values where it quantizes them itself."""
    tensor, entry = model.tensors[name], model.entries.get(name)
    if entry is None or entry.rounding == "none":
        return integers
    if entry.thresholds:
        return _at_thresholds(tensor, entry, integers)
    values = _before_steps(real.dequantize(tensor, integers), entry)
    if not np.array_equal(real.quantize(model, values, name), integers):
        raise InputError(f"input {entry.name!r}: no real values give these integers, so no judge")
    return values


def _at_thresholds(tensor: Tensor, entry: Entry, integers: Integers) -> Array:
    """Numbers that reach as many thresholds as the words say: the last of them themselves."""
    lines = np.asarray(entry.thresholds, np.float32)
    below = np.nextafter(lines[:, :1], np.float32(-np.inf))
    least = tensor.lo if entry.lo is None else entry.lo
    reached = np.moveaxis(integers - least, entry.along + 1, -1)
    which = np.arange(len(lines)) if len(lines) > 1 else np.zeros(reached.shape[-1], int)
    values = np.concatenate([below, lines], axis=1)[which, reached]
    return np.moveaxis(values, -1, entry.along + 1)


def parts(case: Case, size: int) -> Iterator[Case]:
    """The case in batches of `size`, without what makes no whole one."""
    for start in range(0, case.size - size + 1, size):
        cut = slice(start, start + size)
        feeds = {name: values[cut] for name, values in case.feeds.items()}
        yield Case(case.what, feeds, {name: values[cut] for name, values in case.x.items()})
