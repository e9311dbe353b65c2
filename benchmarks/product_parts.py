"""`python -m benchmarks.product_parts`: what operations a product of a network takes, and how long.

The rule: the operations of a real tile of lanes are run one kind at a time, on cells as they
come; the sum of the parts and the time of the whole are both shown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from apsim import functions
from apsim.cam import frame, step
from apsim.cam.lanes import LaneProgram, Operands, kernel
from apsim.cam.lanes.rows import Walk
from apsim.cam.lanes.run import Runner

Numbers = NDArray[np.int64]
GROUPS = 8
KNOWN = (
    step.step, step.fill, kernel.take,
    kernel.put, kernel.put_columns, kernel.move, kernel.chain,
)  # fmt: skip


def program(bits: int, length: int, kind: str) -> LaneProgram:
    """Dot products of so many words on one AP kind."""
    function = functions.dot_products(
        bits, GROUPS, length, kind=kind, words="u", words_b="s", clear=True
    )
    return LaneProgram(function.program.code, GROUPS, length, function.columns)


def operands(size: int, bits: int, words: int) -> Operands:
    """Operands for one tile of lanes, all of which live."""
    random = np.random.default_rng(0)
    packed = random.integers(0, 1 << 63, (size, bits, words), np.uint64)
    other = random.integers(0, 1 << bits, (size, 1), np.uint64)
    pairs = np.stack([np.arange(words), np.zeros(words, np.int64)], axis=1)
    live = np.full(words, ~np.uint64(0))
    return Operands(packed, other, 0, pairs, live, live)


def only(walk: Walk, address: int) -> tuple[Walk, int]:
    """The operations at one address, and how many rows they have."""
    ops, made, rows = walk.ops.copy(), {}, 0
    for at in {int(op[kernel.ROWS]) for op in ops}:
        (given,) = [one for one in walk.kept if frame.address(one) == at]
        made[at] = np.ascontiguousarray(given[given[:, frame.FN] == address])
    for op in ops:
        some = made[int(op[kernel.ROWS])]
        op[kernel.ROWS], op[kernel.MANY_ROWS] = frame.address(some), len(some)
        rows += len(some)
    return Walk(ops[ops[:, kernel.MANY_ROWS] > 0], walk.chosen, [*made.values(), *walk.kept]), rows


def addresses(walk: Walk) -> Iterator[int]:
    """The operations that occur, in the order in which they do."""
    for at in dict.fromkeys(walk.ops[:, kernel.ROWS].tolist()):
        (given,) = [one for one in walk.kept if frame.address(one) == at]
        yield from given[:, frame.FN].tolist()


def seconds(lanes: LaneProgram, given: Operands, walk: Walk, rounds: int) -> float:
    """The shortest of some runs of operations."""
    runner, shortest = Runner(lanes, given, walk), float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        runner.tile(slice(0, len(given.live)))
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


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
    given = operands(args.length, args.bits, 8 * args.vectors)
    often = [one for one, times in lanes.rows.often.items() if times > args.length // 8]
    walk = lanes.rows.walk(frozenset(often))
    names = {one.address: one.function.__name__ for one in KNOWN}
    names |= {one.address: f"{type(one).__name__} of {one.lines} lines" for one in often}
    each = 1e9 / (args.length * args.vectors)
    nothing = seconds(lanes, given, only(walk, -1)[0], 1 + args.rounds)
    print(f"{args.bits} bits, sums of {args.length}, {args.ap}: ns for 512 products, one core")
    total = 0.0
    for address in dict.fromkeys(addresses(walk)):
        some, rows = only(walk, address)
        taken = (seconds(lanes, given, some, args.rounds) - nothing) * each
        total += taken
        print(f"  {names[address]:<24} {rows:>6} times {taken:9.1f}")
    print(f"  {'sum of the parts':<37} {total:9.1f}")
    print(f"  {'the whole':<37} {seconds(lanes, given, walk, args.rounds) * each:9.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
