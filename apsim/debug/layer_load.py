"""One load of one layer of a network: the program and the very words that a CAP gets.

The rule: the layer runs as in `apsim run --literal`, on a chip that notes the load
asked for and stops there; the layers before it come from their exact twins.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from apsim import cost
from apsim.errors import InputError
from apsim.functions import Function
from apsim.nn import exact, load
from apsim.nn.model import Integers, Layer, Model
from apsim.nn.on_ap.chip import Chip, design_of
from apsim.nn.on_ap.execute import execute
from apsim.nn.rules import real
from apsim.nn.zoo import datasets

__all__ = ["Load", "find_load", "image_of"]

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Load:
    """A function and the words [ports, rows] that it gets."""

    function: Function
    data: Words


class _Found(Exception):
    """The load that was asked for is there."""


class _Listener(Chip):
    """A chip that keeps one load, by its number, and stops when it has it."""

    wanted = passed = 0
    found: Load | None = None

    def _execute(self, function: Function, data: Words, loads: int) -> Words:
        if self.passed == self.wanted:
            self.found = Load(function, data.copy())
            raise _Found
        self.passed += 1
        return super()._execute(function, data, loads)


def find_load(
    model: str,
    layer: str | None,
    ap: str,
    *,
    cap: int = 0,
    number: int = 0,
    caps: int = 1,
    mapping: str = "im2col",
    cost_of: str = "energy",
    requant: str = "host",
    broadcast: str = "group",
) -> Load:
    """Load `number` of a CAP in a layer, where `caps` CAPs share the loads in turn.

    `mapping`, `requant` and `broadcast` are those of `nn.Chip`, `cost_of` its `cost`.  With
    weights in the program it is a group of a load's outputs, on cells of zeros.

    Raises `InputError` where the model, the layer, the CAP or the load is not there.
    """
    network = load(model)
    chosen = _layer(network, layer)
    if not 0 <= cap < caps or number < 0:
        raise InputError(f"wanted a CAP 0 to {caps - 1} and a load >= 0, got {cap} and {number}")
    chip = _Listener(
        design_of(cost.chip("lr")), ap=ap, literal=True, mapping=mapping, cost=cost_of,
        requant=requant, broadcast=broadcast,
    )  # fmt: skip
    chip.wanted = cap + number * caps
    tensors = dict(exact.checked_inputs(network, image_of(network)))
    for before in network.layers[: network.layers.index(chosen)]:
        tensors[before.output] = exact.layer_output(network, before, tensors)
    try:
        execute(network, chosen, tensors, chip)
    except _Found:
        assert chip.found is not None
        return chip.found
    raise InputError(
        f"layer {chosen.name!r} has {chip.passed} loads, dealt to {caps} CAPs in turn; "
        f"there is no load {number} on CAP {cap}"
    )


def _layer(network: Model, name: str | None) -> Layer:
    names = [layer.name for layer in network.layers]
    if name is None:
        raise InputError(f"--layer: wanted one of {', '.join(names)}")
    if name not in names:
        near = get_close_matches(name, names, 1, 0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"unknown layer {name!r}: wanted one of {', '.join(names)}{hint}")
    return network.layers[names.index(name)]


def image_of(network: Model) -> Integers:
    """One real image where the network has some, else seeded random integers in range."""
    if network.name in datasets.OWNERS:
        return real.quantize(network, datasets.test(network.name).images[:1])
    tensor = network.tensors[network.input]
    generator = np.random.default_rng(0)
    low, high, shape = tensor.lo, tensor.hi, (1, *tensor.shape)
    return np.asarray(generator.integers(low, high, shape, np.int64, endpoint=True))
