"""`python -m benchmarks.product_parts`: what operations a product of a network takes, and how long.

The rule: the machine code of a real tile of lanes is run one kind of operation at a time, on
cells as they come; the sum of the parts and the time of the whole are both shown.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim import functions
from apsim.cam import FusedCam
from apsim.cam import _frame as frame
from apsim.cam._operations import operations
from apsim.cam._tiles import Tiles
from apsim.cam.lanes import LaneProgram, Operands

Numbers = NDArray[np.int64]
GROUPS = 8


def program(bits: int, length: int, kind: str) -> LaneProgram:
    """Dot products of so many words on one AP kind."""
    function = functions.dot_products(
        bits, GROUPS, length, kind=kind, words="u", words_b="s", clear=True
    )
    return LaneProgram(function.program.code, GROUPS, length, function.columns, FusedCam.least)


class Tile:
    """One tile of lanes, all of which live, and operands for it."""

    def __init__(self, lanes: LaneProgram, bits: int, vectors: int) -> None:
        random, words = np.random.default_rng(0), 8 * vectors
        packed = random.integers(0, 1 << 63, (lanes.size, bits, words), np.uint64)
        other = random.integers(0, 1 << bits, (lanes.size, 1), np.uint64)
        pairs = np.stack([np.arange(words), np.zeros(words, np.int64)], axis=1)
        live = np.full(words, ~np.uint64(0))
        self.operands = Operands(packed, other, 0, pairs, live, live)
        self.runs = np.array([[0, words, 0, 0, 0]], np.int64)
        self.out = np.zeros((lanes.places, words), np.uint64)
        self.totals = np.zeros((4, len(lanes.code)), np.int64)
        self.tiles: Tiles = lanes.tiles
        self.planes = self.tiles.planes(words)

    def seconds(self, rows: Numbers, rounds: int) -> float:
        """The shortest of some runs of operations."""
        rows, shortest = np.ascontiguousarray(rows), float("inf")
        for _ in range(rounds):
            start = time.perf_counter()
            self.tiles.walk(
                self.planes, rows, self.operands, self.operands.live, self.runs, self.out,
                self.totals,
            )  # fmt: skip
            shortest = min(shortest, time.perf_counter() - start)
        return shortest


def name_of(row: Any, horizontal: NDArray[np.bool_]) -> str:
    """What an operation is, in words."""
    known = {address: name for name, address in vars(operations()).items()}
    name = known.get(int(row[frame.FN]))
    if name:
        return name
    steps = int(row[frame.COUNT])
    return f"{steps} LUT steps" if horizontal[row[frame.INDEX]] else "vertical passes"


def main(argv: list[str] | None = None) -> int:
    """Print nanoseconds for 512 products, by kind of operation."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.product_parts", description=__doc__)
    parser.add_argument("--bits", type=int, default=8)
    parser.add_argument("--length", type=int, default=576, help="words of a sum")
    parser.add_argument("--ap", default="2d", help="AP kind")
    parser.add_argument("--vectors", type=int, default=49, help="of 512 lanes, in a tile")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args(argv)
    lanes = program(args.bits, args.length, args.ap)
    tile, rows = Tile(lanes, args.bits, args.vectors), lanes.tiles.whole
    horizontal = np.array([step == 0 for step in lanes.code.steps[:, 1]])
    each = 1e9 / (args.length * args.vectors)
    print(f"{args.bits} bits, sums of {args.length}, {args.ap}: ns for 512 products, one core")
    total = 0.0
    for code in dict.fromkeys(rows[:, frame.FN].tolist()):
        some = rows[rows[:, frame.FN] == code]
        taken = tile.seconds(some, args.rounds) * each
        total += taken
        print(f"  {name_of(some[0], horizontal):<24} {len(some):>6} times {taken:9.1f}")
    print(f"  {'sum of the parts':<37} {total:9.1f}")
    print(f"  {'the whole':<37} {tile.seconds(rows, args.rounds) * each:9.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
