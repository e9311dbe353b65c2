"""The points that no other point beats in every objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apsim.explore.values import MAXIMISED, read_objectives

__all__ = ["beats", "pareto_front"]


def pareto_front(
    results: Sequence[Mapping[str, Any]], objectives: Sequence[str]
) -> list[Mapping[str, Any]]:
    """Results that no other one equals or betters in all objectives and betters in one.

    Objectives are metric names; those of which more is better (`points.MAXIMISED`) are
    maximised, the others minimised.  Results without metrics are left out.

    >>> results = [{"energy_j": 1, "latency_s": 3}, {"energy_j": 2, "latency_s": 3}]
    >>> pareto_front(results, ("energy_j", "latency_s"))
    [{'energy_j': 1, 'latency_s': 3}]
    """
    read_objectives("pareto_front", objectives)
    signs = [-1 if name in MAXIMISED else 1 for name in objectives]
    placed = [
        (tuple(s * r[name] for s, name in zip(signs, objectives, strict=True)), r)
        for r in results
        if "error" not in r
    ]
    front: list[tuple[tuple[float, ...], Mapping[str, Any]]] = []
    for place, result in sorted(placed, key=lambda item: item[0]):
        if not any(beats(other, place) for other, _ in front):
            front.append((place, result))
    return [result for _, result in front]


def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether `one` is nowhere greater than `other`, and not the same place."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
