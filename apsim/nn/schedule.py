"""A stream of batches under changing budgets: widths switched while the network stays loaded.

The rule: each batch takes the setting of least loss whose executed cost kept to the budget
when it was measured; what the batch itself took is executed again, and said beside it.

A schedule is a TOML file:

    settings = "fluid.json"       # what `apsim fluid --json` wrote
    [[batch]]
    images = 4
    energy = 2.5e-6               # J per image at most; latency in s likewise
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsim import schemas
from apsim.cost.estimate import estimate
from apsim.cost.technology import Technology
from apsim.counts import Activity
from apsim.errors import InputError
from apsim.files import read_text
from apsim.nn import runtime
from apsim.nn.model import Model
from apsim.nn.on_ap.chip import Chip
from apsim.nn.rules import real
from apsim.nn.search import Images
from apsim.readers import parse_toml, read_json

__all__ = ["Batch", "Known", "Schedule", "Took", "read_schedule", "stream"]

_SCHEMA = "apsim.fluid/2"


@dataclass(frozen=True)
class Batch:
    """So many images, and what each may take: latency in s, energy in J; None asks nothing."""

    images: int
    latency: float | None = None
    energy: float | None = None

    def allows(self, latency: float, energy: float) -> bool:
        """Whether a cost per image keeps to it."""
        return (self.latency is None or latency <= self.latency) and (
            self.energy is None or energy <= self.energy
        )


@dataclass(frozen=True)
class Known:
    """A setting that a search measured: widths of all layers, loss, latency [s], energy [J]."""

    bits: tuple[int, ...]
    loss: float
    latency: float
    energy: float


@dataclass(frozen=True)
class Schedule:
    """The settings to switch between, and the batches in order; `layers` are what was searched."""

    settings: tuple[Known, ...]
    batches: tuple[Batch, ...]
    layers: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Took:
    """A batch as executed: per image latency [s], energy [J]; and the switch before it [s]."""

    batch: Batch
    chosen: Known
    latency: float
    energy: float
    correct: int | None
    passed: bool
    switch_seconds: float

    @property
    def kept(self) -> bool:
        """Whether the batch kept to its budget."""
        return self.batch.allows(self.latency, self.energy)


def stream(
    model: Model, schedule: Schedule, images: Images, make_chip: Callable[[], Chip],
    technology: Technology, *, check: str = "all",
) -> Iterator[Took]:  # fmt: skip
    """Run batch after batch, each at the setting that its budget allows.

    The model stays loaded; a setting is made from it once (`Model.at`) and kept.  Raises
    `InputError` where there are fewer images than the batches want, and for settings that
    were found for other layers.
    """
    known = tuple(layer.name for layer in model.fluid)
    for name, searched in zip(known, schedule.layers or known, strict=False):
        if name != searched:
            raise InputError(
                f"the settings are of another network: {model.name} has a layer {name!r}, they "
                f"have {searched!r}"
            )
    wanted = sum(batch.images for batch in schedule.batches)
    if wanted > len(images):
        raise InputError(f"the batches want {wanted} images, there are {len(images)}")
    made: dict[tuple[int, ...], Model] = {}
    first = 0
    for batch in schedule.batches:
        chosen = choose(schedule.settings, batch)
        started = time.perf_counter()
        if chosen.bits not in made:
            made[chosen.bits] = model.at(chosen.bits)
        switched = time.perf_counter() - started
        part = slice(first, first + batch.images)
        yield _run(made[chosen.bits], batch, chosen, images, part, make_chip(), technology,
                   switched, check)  # fmt: skip
        first += batch.images


def choose(settings: Sequence[Known], batch: Batch) -> Known:
    """The least loss in the budget; the setting of least energy where none keeps to it."""
    allowed = [one for one in settings if batch.allows(one.latency, one.energy)]
    if allowed:
        return min(allowed, key=lambda one: (one.loss, one.energy))
    return min(settings, key=lambda one: (one.energy, one.latency))


def _run(
    model: Model, batch: Batch, chosen: Known, images: Images, part: slice, chip: Chip,
    technology: Technology, switched: float, check: str,
) -> Took:  # fmt: skip
    x = {name: real.quantize(model, v[part], name) for name, v in images.inputs.items()}
    labels = None if images.labels is None else images.labels[part]
    done = runtime.run(model, x, chip, labels=labels, keep="outputs", check=check)
    activity = sum((layer.activity for layer in done.layers), Activity())
    cost = estimate(done.counts, activity, technology)
    return Took(
        batch, chosen, cost.seconds / batch.images, cost.energy.total / batch.images,
        done.correct, done.passed, switched,
    )  # fmt: skip


def read_schedule(path: str) -> Schedule:
    """A schedule file with the settings that it names; raises `InputError` with the place."""
    table = parse_toml(read_text(path), f"{path}: not valid TOML")
    _only(table, {"settings", "batch"}, path)
    name, batches = table.get("settings"), table.get("batch")
    if not isinstance(name, str):
        raise InputError(f"{path}: settings: wanted the name of a file of apsim fluid --json")
    if not isinstance(batches, list) or not batches:
        raise InputError(f"{path}: wanted at least one [[batch]]")
    found = tuple(_batch(entry, f"{path}, batch {k}") for k, entry in enumerate(batches, 1))
    settings, layers = _settings(str(Path(path).parent / name))
    return Schedule(settings, found, layers)


def _batch(entry: Any, where: str) -> Batch:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: wanted a table [[batch]]")
    _only(entry, {"images", "latency", "energy"}, where)
    images = entry.get("images", 1)
    if not isinstance(images, int) or isinstance(images, bool) or images < 1:
        raise InputError(f"{where}: images: wanted 1 or more, got {images!r}")
    return Batch(images, *(_positive(entry, key, where) for key in ("latency", "energy")))


def _positive(entry: Mapping[str, Any], key: str, where: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e300:
        raise InputError(f"{where}: {key}: wanted a positive number, got {value!r}")
    return float(value)


def _settings(path: str) -> tuple[tuple[Known, ...], tuple[str, ...] | None]:
    table = schemas.check(read_json(path), _SCHEMA, f"{path}: not a file of apsim fluid --json")
    layers = None if table.get("layers") is None else tuple(map(str, table["layers"]))
    return tuple(_known(one) for one in table["settings"]), layers


def _known(one: Mapping[str, Any]) -> Known:
    loss = one["predicted"] if one["measured"] is None else one["measured"]
    return Known(
        tuple(int(bits) for bits in one["bits"]), float(loss), float(one["latency"]),
        float(one["joules"]),
    )  # fmt: skip


def _only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}; known are {', '.join(sorted(known))}")
