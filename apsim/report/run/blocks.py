"""What the blocks of a transformer took: products, softmax, norms, tables, requantization.

The rule: a block is what all layers of one operation did, requantization on the AP being a
block of its own.  Cycles are sums of what ran; what moves and broadcasts take of them is by
the closed forms' named terms, whose sum with all others the run was held against.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from apsim.counts import Activity, Counts

if TYPE_CHECKING:
    from apsim.nn.on_ap.layer_run import LayerRun, Part

__all__ = ["Block", "block_lines", "blocks_of"]

GROUPED = ("softmax", "normalize")  # operations that make a network a transformer here
PRODUCTS = ("conv2d", "linear", "matmul")
MOVED = ("word_moves", "broadcast")
REQUANTIZATION = "requantization"
NOTHING = Counts()


@dataclass(frozen=True)
class Block:
    """What ran of one kind of work; `moved` of its counts are moves and broadcasts by forecast.

    `operations` are those of its layers: products, or else words that they give.
    """

    name: str
    operations: int
    counts: Counts
    moved: Counts
    activity: Activity


def blocks_of(layers: Sequence[LayerRun], images: int) -> list[Block]:
    """The blocks in the order in which they first ran."""
    parts: dict[str, list[Part]] = {}
    for layer in layers:
        for part in layer.parts:
            again = REQUANTIZATION in part.forecast.terms
            parts.setdefault(REQUANTIZATION if again else layer.op, []).append(part)
    return [_block(name, some, layers, images) for name, some in parts.items()]


def _block(name: str, parts: Sequence[Part], layers: Sequence[LayerRun], images: int) -> Block:
    moved = (part.forecast.terms.get(term, NOTHING) for part in parts for term in MOVED)
    return Block(
        name,
        sum(layer.macs or prod(layer.shape) * images for layer in layers if layer.op == name),
        sum((part.counts for part in parts), NOTHING),
        sum(moved, NOTHING),
        sum((part.activity for part in parts), Activity()),
    )


def block_lines(layers: Sequence[LayerRun], images: int) -> list[str]:
    """A line for each block, and the share of products; none where there is no softmax or norm."""
    if not any(layer.op in GROUPED and layer.parts for layer in layers):
        return []
    blocks = blocks_of(layers, images)
    cycles, operations = (
        sum(one.counts.total for one in blocks), sum(one.operations for one in blocks),
    )  # fmt: skip
    products = [one for one in blocks if one.name in PRODUCTS]
    shares = (
        sum(one.operations for one in products) / max(operations, 1),
        sum(one.counts.total for one in products) / max(cycles, 1),
    )
    return [
        "cycles of each block, and by closed form how many of them move or broadcast words:",
        *_lines(blocks, cycles),
        "products of matrices: {:.2%} of the operations on the AP, {:.2%} of its cycles".format(
            *shares
        ),
    ]


def _lines(blocks: Sequence[Block], cycles: int) -> Iterator[str]:
    for one in sorted(blocks, key=lambda one: -one.counts.total):
        moved = f" ({one.moved.total:,} moved)" if one.moved.total else ""
        yield f"  {one.name}: {one.counts.total:,} = {one.counts.total / cycles:.2%}{moved}"
