"""Where each layer ran: its parts on the AP, and what the host did around them.

The rule: layers alike stand on one line, in the order in which they ran; the JSON names
each of them.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from apsim.report.cost.model_rows import MOVES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apsim.nn.on_ap.layer_run import LayerRun

__all__ = ["place_lines", "share_line"]

NAMED = 4
Work = tuple[str, ...]


def place_lines(layers: Sequence[LayerRun]) -> list[str]:
    """A line for each kind of work that the host and the AP shared in the same way."""
    alike: dict[tuple[Work, Work], list[str]] = {}
    for layer in layers:
        on_ap = tuple(dict.fromkeys(part.name for part in layer.parts))
        alike.setdefault((on_ap, layer.host), []).append(layer.name)
    return [f"  {_named(names)}: {_shared(*work)}" for work, names in alike.items()]


def share_line(layers: Sequence[LayerRun], images: int) -> str:
    """The share of operations on the AP: products of a layer, or else words that it gives.

    What is only moved is no operation; rounding (requantization) has a line of its own.
    """
    done = {layer.name: layer.macs or prod(layer.shape) * images for layer in layers}
    every = [layer for layer in layers if layer.op not in MOVES]
    whole = sum(done[layer.name] for layer in every)
    on_ap = sum(done[layer.name] for layer in every if layer.parts)
    if not whole:
        return "operations: none, words are moved only"
    off: dict[str, int] = {}
    for layer in every:
        if not layer.parts:
            off[layer.op] = off.get(layer.op, 0) + done[layer.name]
    rest = f"; on the host: {', '.join(f'{op} {n:,}' for op, n in off.items())}" if off else ""
    return f"operations: {on_ap:,} of {whole:,} on the AP = {on_ap / whole:.2%}{rest}"


def _named(names: Sequence[str]) -> str:
    """All names where they are few, else the first ones and how many follow."""
    if len(names) <= NAMED + 1:
        return ", ".join(names)
    return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more like these"


def _shared(on_ap: Work, host: Work) -> str:
    sides = (("AP", on_ap), ("host", host))
    return "; ".join(f"{side} {', '.join(work)}" for side, work in sides if work) or "nothing to do"
