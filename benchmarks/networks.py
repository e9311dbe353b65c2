"""`python -m benchmarks.networks`: layers and whole networks, every product as real passes.

The rule: the yardstick is numpy's int32 `@` on the same matrix shapes, in the same
process; engine seconds are load, passes and unload with all counts, without checking.
Sums are compared with int64 before anything is timed.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from apsim import functions
from apsim.nn import matrix, runtime, synthetic
from apsim.nn.chip import Chip
from apsim.nn.mapping import fold_sums
from apsim.nn.model import Conv2d, Linear, Model
from apsim.program import ApKind
from benchmarks.timing import Goal, alternating, report

Integers = NDArray[np.int64]
SECONDS = {"resnet50": 2.0, "vgg16": 8.0, "resnet18": 1.0}  # stated for 8 bits, 2 cores
GIB = 1 << 30


def operands(i: int, j: int, u: int, bits: int) -> tuple[Integers, Integers]:
    """Unsigned x [u, j] and signed weights [i, j]."""
    draw = np.random.default_rng(3).integers
    half = 1 << (bits - 1)
    return draw(0, 1 << bits, (u, j)), draw(-half, half, (i, j))


def products(
    x: Integers, weights: Integers, bits: int, kind: str, engine: str, threads: int = 2
) -> Callable[[], matrix.Batch]:
    """All dot products of a layer on one AP kind, ready to run."""
    length = x.shape[1]

    @lru_cache
    def make(groups: int) -> functions.Function:
        return functions.dot_products(
            bits, groups, length, kind=kind, words="u", words_b="s", clear=True
        )

    fold = fold_sums(len(x) * len(weights), length, ApKind.named(kind), 4800)
    return lambda: matrix.dot_products(x, weights, fold, make, engine=engine, threads=threads)


def int32(x: Integers, weights: Integers) -> Callable[[], object]:
    """numpy's own matrix product of the same operands."""
    a, b = weights.astype(np.int32), np.ascontiguousarray(x.T.astype(np.int32))
    return lambda: a @ b


def layer(rounds: int) -> tuple[list[Goal], dict[str, float]]:
    """56x56x64 -> 64, 3x3, 8 bits (116 M products): engines, kinds and cores."""
    x, weights = operands(64, 576, 3136, 8)
    runs: dict[str, Callable[[], object]] = {"numpy int32 @": int32(x, weights)}
    for engine in ("strict", "fused"):
        for threads in (1, 2):
            runs[f"2d {engine}, {threads} threads"] = products(x, weights, 8, "2d", engine, threads)
    for kind in (kind.value for kind in ApKind if kind.value != "2d"):
        runs[f"{kind} fused, 2 threads"] = products(x, weights, 8, kind, "fused")
    wanted = weights @ x.T
    for name, run in runs.items():
        if name.startswith("numpy"):
            continue
        if not np.array_equal(run().sums, wanted):  # type: ignore[attr-defined]
            raise SystemExit(f"{name}: sums are wrong")
    seconds = alternating(runs, rounds)
    show("conv 56x56x64 -> 64, 3x3, 8 bits", seconds, x.size * len(weights))
    spent = alternating(runs, 1, clock=time.process_time)
    show("the same, CPU seconds of all threads", spent, x.size * len(weights))
    fused = seconds["2d fused, 2 threads"]
    return [
        Goal("conv layer against numpy int32 @, speed", 1, seconds["numpy int32 @"] / fused),
        Goal("conv layer, second core", 1.7, seconds["2d fused, 1 threads"] / fused),
    ], seconds | {f"{name}, CPU": value for name, value in spent.items()}


def show(title: str, seconds: dict[str, float], macs: int) -> None:
    """A line for each run."""
    print(f"\n{title}")
    for name, value in seconds.items():
        print(f"  {name:<28} {value * 1e3:>12,.1f} ms   {macs / value / 1e6:9,.0f} M products/s")


def network(name: str, bits: int, engine: str, kind: str) -> tuple[list[Goal], dict[str, float]]:
    """A whole network: engine seconds, against int32 products of its shapes."""
    model = synthetic.network(name, bits)
    yardstick = int32_seconds(model)
    chip = Chip.preset("bf-imna-lr", ap=kind, engine=engine)
    start, spent = time.perf_counter(), time.process_time()
    done = runtime.run(model, synthetic.inputs(model, 1), chip, check="sample", keep="outputs")
    figures = {
        "engine seconds": sum(one.engine_seconds for one in done.layers),
        "seconds with a sampled check": time.perf_counter() - start,
        "CPU seconds of all threads, with that": time.process_time() - spent,
        "numpy int32 @ seconds": yardstick,
        "peak memory, GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB,
    }
    print(f"\n{name}, {bits} bits, {kind}, {engine}")
    for what, value in figures.items():
        print(f"  {what:<32} {value:9.2f}")
    title = f"{name} {bits} bit {kind} {engine}"
    goals = [
        Goal(f"{title} against int32 @", 1, yardstick / figures["engine seconds"]),
        Goal(f"{title}, peak memory in GiB", 4, figures["peak memory, GiB"], False),
    ]
    if bits == 8 and name in SECONDS:
        goals.insert(
            0, Goal(f"{title}, engine seconds", SECONDS[name], figures["engine seconds"], False)
        )
    return goals, figures


def int32_seconds(model: Model) -> float:
    """int32 products of every weighted layer's shape, one after another."""
    total = 0.0
    for one in model.layers:
        if isinstance(one, Conv2d | Linear):
            pixels = int(np.prod(model.tensors[one.output].shape[1:])) if one.op == "conv2d" else 1
            weights = one.weights.reshape(len(one.weights), -1).astype(np.int32)
            x = np.ones((weights.shape[1], pixels), np.int32)
            start = time.perf_counter()
            weights @ x
            total += time.perf_counter() - start
    return total


def main(argv: list[str] | None = None) -> int:
    """Measure, print goals, and write them where `--json` says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks", description=__doc__)
    parser.add_argument("names", nargs="*", default=["resnet18", "resnet50"])
    parser.add_argument("--bits", type=int, nargs="*", default=[8, 4])
    parser.add_argument("--ap", default="2d", help="AP kind of the networks")
    parser.add_argument("--engine", default="fused")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="also write the figures here")
    args = parser.parse_args(argv)
    goals, seconds = layer(args.rounds)
    figures: dict[str, object] = {"conv layer": seconds}
    for name in args.names:
        for bits in args.bits:
            more, found = network(name, bits, args.engine, args.ap)
            goals += more
            figures[f"{name} {bits}"] = found
    return report("networks", goals, figures, args.json)


if __name__ == "__main__":
    raise SystemExit(main())
