"""Bit widths for the layers of a network.

The rule: a specification is turned into one (activation bits, weight bits) pair for
each layer here, so that nothing later asks how it was written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from apsim.cost.network import Layer, Network
from apsim.errors import InputError

__all__ = ["HAWQ", "LISTS", "MAX_BITS", "Bits", "Widths", "assign", "average", "parse_bits"]

MAX_BITS = 16
Widths = tuple[tuple[int, int], ...]
Bits = str | int | Sequence[int] | Widths

# HAWQ-V3's bit widths of ResNet18 under three latency budgets: BF-IMNA, Table VII.  The
# table prints 18 entries for "high"; the missing 4 is entry 15 of HAWQ-V3's own list.
HAWQ: Mapping[str, tuple[int, ...]] = {
    "int4": (4,) * 19,
    "high": (8, 8, 8, 8, 8, 8, 8, 8, 4, 8, 8, 8, 8, 4, 8, 4, 8, 8, 4),
    "medium": (8, 8, 8, 8, 8, 4, 8, 8, 4, 8, 8, 8, 4, 4, 8, 4, 8, 4, 4),
    "low": (8, 8, 8, 4, 8, 4, 8, 4) + (4,) * 11,
    "int8": (8,) * 19,
}
LISTS: Mapping[str, str] = {  # as `--bits` takes them: the paper's names, and HAWQ-V3's own
    **{f"hawq-{name}": name for name in HAWQ},
    "hawq:latency_0.75": "high", "hawq:latency_0.5": "medium", "hawq:latency_0.25": "low",
    "hawq:uniform8": "int8", "hawq:uniform4": "int4",
}  # fmt: skip
_OTHERS = 8  # layers that have no slot in a list of widths


def parse_bits(text: str) -> int | tuple[int, int] | tuple[int, ...] | str:
    """Read `--bits`: "8", "8/4" (activations/weights), "8,4,...", or a HAWQ-V3 budget.

    >>> parse_bits("8/4"), parse_bits("4,8,8"), parse_bits("hawq-low")
    ((8, 4), (4, 8, 8), 'low')
    """
    name = LISTS.get(text, text)
    if name in HAWQ:
        return name
    if re.fullmatch(r"\d+", text):
        return int(text)
    if found := re.fullmatch(r"(\d+)/(\d+)", text):
        return int(found[1]), int(found[2])
    if re.fullmatch(r"\d+(,\d+)+", text):
        return tuple(int(part) for part in text.split(","))
    near = get_close_matches(text, LISTS, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(
        f"bits {text!r}: wanted a width, activations/weights as in 8/4, a list as in 8,4,4, "
        f"or one of {', '.join(LISTS)}{hint}"
    )


def assign(network: Network, bits: Bits, *, slots: str = "paper") -> Widths:
    """(activation bits, weight bits) for each layer of `network`.

    `bits` is one width for all layers, text as `parse_bits` reads it, a pair for each
    layer, or a list: of HAWQ-V3 slots where the network has slots and the list is as long
    ("paper" or "hawq" order, other layers 8 bits), else one width for each conv and fc
    layer, in order.
    """
    if isinstance(bits, str):
        spec = parse_bits(bits)
        if "/" in bits and isinstance(spec, tuple):
            return ((_check(spec[0]), _check(spec[1])),) * len(network.layers)
        return assign(network, HAWQ[spec] if isinstance(spec, str) else spec, slots=slots)
    if isinstance(bits, int):
        return ((_check(bits), bits),) * len(network.layers)
    pairs = [pair for pair in bits if not isinstance(pair, int)]
    if pairs and len(pairs) == len(bits) == len(network.layers):
        return tuple((_check(a), _check(w)) for a, w in pairs)
    widths = [_check(width) for width in bits if isinstance(width, int)]
    return tuple((width, width) for width in _spread(network, widths, slots))


def average(network: Network, widths: Widths) -> float:
    """Mean activation width over the conv and fc layers, as Table VII takes it."""
    found = [w[0] for layer, w in zip(network.layers, widths, strict=True) if layer.gemm]
    return sum(found) / len(found)


def _spread(network: Network, widths: list[int], slots: str) -> list[int]:
    """One width for each layer; a layer without its own takes that of its input."""
    slotted = [_slot(layer, slots) for layer in network.layers]
    if len(widths) == sum(slot is not None for slot in _all_slots(network)):
        return [_OTHERS if slot is None else widths[slot] for slot in slotted]
    gemms = sum(layer.gemm for layer in network.layers)
    if len(widths) != gemms:
        raise InputError(
            f"{network.name} has {gemms} conv and fc layers; bits has {len(widths)} widths"
        )
    spread, following, last = [], iter(widths), widths[0]
    for layer in network.layers:
        last = next(following) if layer.gemm else last
        spread.append(last)
    return spread


def _all_slots(network: Network) -> list[int | None]:
    return [layer.hawq_slot for layer in network.layers]


def _slot(layer: Layer, slots: str) -> int | None:
    if slots not in ("paper", "hawq"):
        raise InputError(f"slots must be paper or hawq, got {slots!r}")
    return layer.paper_slot if slots == "paper" else layer.hawq_slot


def _check(width: int) -> int:
    if not 1 <= width <= MAX_BITS:
        raise InputError(f"a width must be 1 to {MAX_BITS} bits, got {width}")
    return width
