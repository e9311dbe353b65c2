"""What an interrupted run has done, whole layers only, to be gone on with.

The rule: one file without code in it, written aside and renamed after each layer; it
belongs to one model, chip and input, and is refused by any other.  A digest covers all of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from apsim import schemas
from apsim.counts import Activity, Counts
from apsim.errors import InputError
from apsim.files import replacing
from apsim.nn.model import Integers, Layer, Model
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layer_run import Choice, Facts, Forecast, LayerRun, Part
from apsim.nn.on_ap.seconds import Seconds
from apsim.readers import parse_json, read_arrays

__all__ = ["Checkpoint", "identity", "model_digest", "read", "write"]

SCHEMA = "apsim.checkpoint/3"


@dataclass(frozen=True)
class Checkpoint:
    """Layers done and the tensors that later layers or the user still need."""

    layers: tuple[LayerRun, ...]
    tensors: dict[str, Integers]


def identity(model: Model, tensors: Mapping[str, Integers], chip: Chip, check: str) -> str:
    """A digest of everything that decides what a run gives and counts."""
    design = chip.design
    plain = [SCHEMA, model_digest(model), chip.kind.value, design.rows, design.columns, check]
    plain += ["requant on the ap"] * (chip.requant == "ap")
    if chip.mapping != "im2col":
        plain += [chip.mapping, chip.cost, f"split over {design.shared} CAPs, ripples stop"]
    plain += [f"broadcast by {chip.broadcast}"] * (chip.broadcast != "group")
    text = hashlib.sha256(json.dumps(plain).encode())
    for name in sorted(tensors):
        text.update(json.dumps([name, list(np.shape(tensors[name]))]).encode())
        text.update(np.ascontiguousarray(tensors[name]).tobytes())
    return text.hexdigest()


def model_digest(model: Model) -> str:
    """A digest of everything in a model that decides what it gives and counts."""
    text = hashlib.sha256(json.dumps([model.name, model.rule]).encode())
    for name in sorted(model.tensors):
        text.update(f"{name}: {model.tensors[name]!r}".encode())
    for layer in model.layers:
        text.update(_layer_text(layer).encode())
        for values in _arrays(layer):
            text.update(np.ascontiguousarray(values).tobytes())
    return text.hexdigest()


def _arrays(layer: Layer) -> Iterator[np.ndarray[Any, Any]]:
    """Weights, tables, places: all numbers that are a layer's own."""
    for value in vars(layer).values():
        every = value if isinstance(value, tuple) else (value,)
        yield from (one for one in every if isinstance(one, np.ndarray))


def _layer_text(layer: Layer) -> str:
    fields = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
    return repr(
        {k: v for k, v in fields.items() if not isinstance(v, np.ndarray)} | _requant(layer)
    )


def _requant(layer: Layer) -> dict[str, Any]:
    requant = getattr(layer, "requant", None)
    if requant is None:
        return {}
    return {"requant": [repr(np.asarray(v).tolist()) for v in vars(requant).values()]}


def write(path: str | os.PathLike[str], run: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint of run `run` (its identity); the old one stays where that fails."""
    layers = [asdict(layer) for layer in checkpoint.layers]
    head: dict[str, Any] = {"schema": SCHEMA, "run": run, "layers": layers}
    head["digest"] = _digest(json.loads(json.dumps(head)), checkpoint.tensors)
    arrays: dict[str, Any] = {f"tensor/{k}": v for k, v in checkpoint.tensors.items()}
    arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    with replacing(path) as stream:
        np.savez(stream, **arrays)


def read(path: str | os.PathLike[str], run: str) -> Checkpoint:
    """Read a checkpoint of run `run`; raises `InputError` where it is another's or damaged.

    Nothing in it is believed that its digest does not cover.
    """
    head, tensors = _parts_of(path)
    given = head.pop("digest")
    if given != _digest(head, tensors):
        raise InputError(f"{path}: its contents are not those that were written: wrong digest")
    if head["run"] != run:
        raise InputError(f"{path} belongs to a run of another model, input, chip or check")
    return Checkpoint(tuple(map(_layer, head["layers"])), tensors)


def _digest(head: Mapping[str, Any], tensors: Mapping[str, Integers]) -> str:
    """A digest of all contents: what was done, and every tensor with its name, kind and shape."""
    text = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        text.update(json.dumps([name, tensor.dtype.str, list(tensor.shape)]).encode())
        text.update(tensor.tobytes())
    return text.hexdigest()


def _parts_of(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Integers]]:
    arrays = read_arrays(path, what="the checkpoint")
    if not isinstance(arrays, dict) or "head" not in arrays or arrays["head"].dtype != np.uint8:
        raise InputError(f"{path} is not a checkpoint: it lacks an entry head of bytes")
    text = arrays.pop("head").tobytes().decode(errors="replace")
    head = schemas.check(
        parse_json(text, f"{path}: entry 'head'"), SCHEMA, f"the checkpoint {path}"
    )
    return head, {name.removeprefix("tensor/"): array for name, array in arrays.items()}


def _layer(fields: dict[str, Any]) -> LayerRun:
    parts = tuple(_part(part) for part in fields.pop("parts"))
    shape, host = tuple(fields.pop("shape")), tuple(fields.pop("host"))
    return LayerRun(parts=parts, shape=shape, host=host, choice=_choice(fields.pop("choice", None)),
                    **fields)  # fmt: skip


def _choice(fields: dict[str, Any] | None) -> Choice | None:
    if fields is None:
        return None
    facts = fields.pop("facts")
    costs = tuple((name, cost) for name, cost in fields.pop("costs"))
    return Choice(costs=costs, facts=facts and Facts(**facts), **fields)


def _part(fields: dict[str, Any]) -> Part:
    forecast = fields.pop("forecast")
    terms = {name: Counts(**counts) for name, counts in forecast.pop("terms").items()}
    predicted, paper = (Counts(**forecast[name]) for name in ("predicted", "paper"))
    return Part(
        counts=Counts(**fields.pop("counts")),
        activity=Activity(**fields.pop("activity")),
        seconds=Seconds(**fields.pop("seconds")),
        forecast=Forecast(forecast["loads"], predicted, paper, terms),
        **fields,
    )
