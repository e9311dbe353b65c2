"""Widths of each layer that a search finds under a budget: the axis `bits = ["search:50%"]`.

The rule: as `apsim fluid --budget` chooses them: losses are measured on calibration images,
costs are executed, and the images of the sweep are no part of the choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apsim.errors import InputError

if TYPE_CHECKING:
    from apsim.nn.model import Model
    from apsim.nn.search import Bench, Candidate, Images, Space
    from apsim.nn.zoo.sensitivities import Sensitivities

__all__ = ["OF_RUNS", "SEARCH", "share", "widths"]

SEARCH = "search:"
WIDTHS = tuple(range(2, 9))
OF_RUNS = {
    "mapping": ("im2col", "weights", "auto"),
    "cost": ("energy", "cycles", "latency"),
    "requant": ("host", "ap"),
    "broadcast": ("group", "rows"),
    "array": ("load", "cap"),
}
"""What runs alone have, the options of `nn.Chip` by their names."""


@dataclass(frozen=True)
class _Tried:
    """What a search found, before any budget."""

    space: Space
    candidates: tuple[Candidate, ...]
    bench: Bench


_tried: dict[tuple[str, ...], _Tried] = {}


def share(text: str) -> float:
    """The budget in "search:50%": so far from the narrowest to the widest energy, 0 to 1.

    >>> share("search:50%")
    0.5
    """
    try:
        part = float(text.removeprefix(SEARCH).removesuffix("%")) / 100
    except ValueError:
        part = -1.0
    if not (text.endswith("%") and 0 <= part <= 1):
        raise InputError(f"bits: wanted search:0% to search:100%, got {text!r}")
    return part


def widths(point: dict[str, Any], digests: dict[str, str]) -> list[int]:
    """The widths of the point's model that lose least within its budget in energy.

    `digests` are those of what the point names: points that share them share a search.
    Raises `InputError` for a model on which nothing can be measured.
    """
    from apsim.nn import search

    key = (
        *(f"{axis} {digest}" for axis, digest in sorted(digests.items())),
        *(str(point[axis]) for axis in ("ap", *OF_RUNS)),
    )
    if key not in _tried:
        _tried[key] = _search(point)
    found = _tried[key]
    limit = search.limit(found.space.costs.of("energy"), share(point["bits"]))
    budget = search.Budget(cost=limit)
    picked = search.pick(found.candidates, budget, "energy", found.bench, found.space)
    return list(found.space.whole(picked.widths))


def _search(point: dict[str, Any]) -> _Tried:
    from apsim import cost, nn
    from apsim.nn import search
    from apsim.nn.rules import scales
    from apsim.nn.zoo import calibration, datasets, sources, synthetic

    model = sources.model(point["model"])
    if point["model"] in synthetic.network_names():
        model = scales.with_scales(model)
    chosen_on = calibration.calibration_images(model, point["calibration"])
    seen = calibration.test_images(model, None) if chosen_on is None else chosen_on
    bench = search.Bench(
        model, seen,
        lambda: nn.Chip.preset(
            point["chip"], ap=point["ap"], engine="fused", **{name: point[name] for name in OF_RUNS}
        ),
        cost.technology(point["technology"]),
        check="all" if model.name in datasets.OWNERS else "sample",
    )  # fmt: skip
    judge = None if chosen_on is None else search.Judge(model, chosen_on, "kl", WIDTHS[-1])
    losses = _losses(model, chosen_on)
    known = tuple(layer.name for layer in model.fluid)
    costs = bench.costs(WIDTHS).only(tuple(losses.losses))
    space = search.Space(known, losses.losses, costs, "energy", losses.ties, WIDTHS[-1])
    return _Tried(space, search.candidates(space, "additive", judge), bench)


def _losses(model: Model, images: Images | None) -> Sensitivities:
    """What each layer loses at each width: measured, or published for what has random weights."""
    from apsim.nn import search
    from apsim.nn.zoo import sensitivities

    if images is None:
        return sensitivities.read(f"hawq:{model.name}", WIDTHS)
    return sensitivities.Sensitivities(search.measure(model, images, "kl", widths=WIDTHS).losses)
