"""What an interrupted run has done, whole layers only, to be gone on with.

The rule: one file without code in it, written aside and renamed after each layer; it
belongs to one model, chip and input, and is refused by any other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apsim.counts import Activity, Counts
from apsim.errors import InputError
from apsim.files import replacing
from apsim.nn.model import Integers, Layer, Model, Weighted
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layer_run import Forecast, LayerRun, Part
from apsim.nn.on_ap.seconds import Seconds

__all__ = ["Checkpoint", "identity", "read", "write"]

SCHEMA = "apsim.checkpoint/2"


@dataclass(frozen=True)
class Checkpoint:
    """Layers done and the tensors that later layers or the user still need."""

    layers: tuple[LayerRun, ...]
    tensors: dict[str, Integers]


def identity(model: Model, tensors: Mapping[str, Integers], chip: Chip, check: str) -> str:
    """A digest of everything that decides what a run gives and counts."""
    text = hashlib.sha256()
    design = chip.design
    plain = [SCHEMA, model.name, model.rule, chip.kind.value, design.rows, design.columns, check]
    plain += ["requant on the ap"] * (chip.requant == "ap")
    text.update(json.dumps(plain).encode())
    for name in sorted(model.tensors):
        text.update(f"{name}: {model.tensors[name]!r}".encode())
    for layer in model.layers:
        text.update(_layer_text(layer).encode())
        if isinstance(layer, Weighted):
            text.update(np.ascontiguousarray(layer.weights).tobytes())
            text.update(np.ascontiguousarray(layer.bias).tobytes())
    for name in sorted(tensors):
        text.update(name.encode() + np.ascontiguousarray(tensors[name]).tobytes())
    return text.hexdigest()


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
    head = {
        "schema": SCHEMA,
        "run": run,
        "layers": [asdict(layer) for layer in checkpoint.layers],
    }
    arrays: dict[str, Any] = {f"tensor/{k}": v for k, v in checkpoint.tensors.items()}
    arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    with replacing(path) as stream:
        np.savez(stream, **arrays)


def read(path: str | os.PathLike[str], run: str) -> Checkpoint:
    """Read a checkpoint of run `run`; raises `InputError` where it is another's or damaged."""
    try:
        head, tensors = _parts_of(path)
        if head["schema"] == SCHEMA and head["run"] == run:
            return Checkpoint(tuple(_layer(layer) for layer in head["layers"]), tensors)
    except FileNotFoundError as error:
        raise InputError(f"there is no checkpoint {Path(path)}") from error
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot read the checkpoint {Path(path)}: {reason}") from error
    except Exception as error:  # whatever a damaged archive makes its readers raise
        raise InputError(f"{Path(path)} is not a usable checkpoint: {_why(error)}") from error
    if head["schema"] != SCHEMA:
        raise InputError(f"{path}: wanted a checkpoint of {SCHEMA}, got {head['schema']!r}")
    raise InputError(f"{path} belongs to a run of another model, input, chip or check")


def _parts_of(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Integers]]:
    with open(path, "rb") as stream:
        archive = np.load(stream, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ValueError("it is one array, not an archive")
        tensors = {
            name.removeprefix("tensor/"): archive[name] for name in archive.files if name != "head"
        }
        return json.loads(bytes(archive["head"])), tensors


def _why(error: Exception) -> str:
    missing = isinstance(error, KeyError)
    return f"it lacks {error.args[0]}" if missing else str(error) or type(error).__name__


def _layer(fields: dict[str, Any]) -> LayerRun:
    parts = tuple(_part(part) for part in fields.pop("parts"))
    shape, host = tuple(fields.pop("shape")), tuple(fields.pop("host"))
    return LayerRun(parts=parts, shape=shape, host=host, **fields)


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
