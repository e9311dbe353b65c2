"""A streaming network step by step: what one step leaves is what the next one finds.

The rule: a step is a whole run, checked like any other; counts are those of all steps, and a
state belongs to the model that left it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from apsim.errors import InputError
from apsim.files import replacing
from apsim.nn import runtime
from apsim.nn.checkpoint import model_digest
from apsim.nn.model import Integers, Model
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layer_run import LayerRun, Part
from apsim.nn.on_ap.seconds import Seconds
from apsim.nn.runtime import Run, Watcher
from apsim.readers import read_arrays

__all__ = ["Steps", "read_state", "run", "write_state"]

Tensors = Mapping[str, Integers]
DIGEST = "model"


@dataclass(frozen=True)
class Steps:
    """All steps as one run, its tensors [steps, N, ...], and the states [N, ...] left behind."""

    run: Run
    state: dict[str, Integers]


def run(
    model: Model,
    steps: Iterable[Tensors],
    chip: Chip,
    *,
    state: Tensors | None = None,
    check: str = "all",
    keep: str = "outputs",
    watcher: Watcher | None = None,
) -> Steps:
    """Run the inputs of one step after the other; raises `InputError` as `runtime.run` does.

    `state` is what an earlier run left, else the model's own start.
    """
    if not model.states:
        raise InputError(f"model {model.name!r} keeps no state from step to step")
    left: dict[str, Integers] = dict(state or {})
    ran = []
    for inputs in steps:
        done = runtime.run(
            model, {**inputs, **left}, chip, check=check, keep=keep, watcher=watcher
        )  # fmt: skip
        left = {one.read: done.tensors[one.written] for one in model.states}
        ran.append(done)
    if not ran:
        raise InputError("a stream of at least one step is wanted, got none")
    return Steps(_together(ran), left)


def _together(ran: list[Run]) -> Run:
    """Runs of one model as one: layers added up, tensors one step after the other."""
    names = [name for name in ran[0].tensors if all(name in one.tensors for one in ran)]
    layers = zip(*(one.layers for one in ran), strict=True)
    return replace(
        ran[0],
        images=sum(one.images for one in ran),
        layers=tuple(reduce(_added, some) for some in layers),
        tensors={name: np.stack([one.tensors[name] for one in ran]) for name in names},
        seconds=sum(one.seconds for one in ran),
    )


def _added(a: LayerRun, b: LayerRun) -> LayerRun:
    """One layer of two steps."""
    return replace(
        a,
        macs=a.macs + b.macs,
        parts=tuple(_part(one, other) for one, other in zip(a.parts, b.parts, strict=True)),
        bit_exact=a.bit_exact and b.bit_exact,
        seconds=a.seconds + b.seconds,
    )


def _part(a: Part, b: Part) -> Part:
    return Part(
        a.name, a.counts + b.counts, a.activity + b.activity, a.loads + b.loads,
        a.forecast + b.forecast, Seconds.sum([a.seconds, b.seconds]),
    )  # fmt: skip


def write_state(path: str | os.PathLike[str], model: Model, state: Tensors) -> None:
    """Write what a run left to an .npz file."""
    arrays: dict[str, Any] = {f"state/{name}": values for name, values in state.items()}
    arrays[DIGEST] = np.frombuffer(bytes.fromhex(model_digest(model)), np.uint8)
    with replacing(path) as stream:
        np.savez_compressed(stream, **arrays)


def read_state(path: str | os.PathLike[str], model: Model) -> dict[str, Integers] | None:
    """Read what a run of this model left, None where there is no file yet.

    Raises `InputError` for another model's state and for what is no such file.
    """
    if not Path(path).exists():
        return None
    arrays = read_arrays(path, what="the state")
    if not isinstance(arrays, dict):
        raise InputError(f"{path} is not a state of model {model.name!r}: it is one array")
    owner = arrays.pop(DIGEST, np.zeros(0, np.uint8)).tobytes().hex()
    if owner != model_digest(model):
        raise InputError(f"{path} is not a state of model {model.name!r}: it belongs to another")
    state = {name.removeprefix("state/"): values for name, values in arrays.items()}
    wanted = {one.read for one in model.states}
    unlike = sorted(set(state) ^ wanted)
    if unlike:
        what = "lacks" if unlike[0] in wanted else "also has"
        raise InputError(f"{path} does not hold the states of model {model.name!r}: it {what} "
                         f"{unlike[0]!r}")  # fmt: skip
    return state
