"""`python -m benchmarks.networks`: layers and whole networks, every product as real passes.

The rule: the yardstick is numpy's int32 `@` on the same matrix shapes, in the same
process; engine seconds are programs, load (with im2col), passes and unload with all
counts, without checking.  Sums are compared with int64 before a layer is timed; every
network runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apsim import functions
from apsim.ap_kind import ApKind
from apsim.cli import ONE_THREAD
from apsim.nn import runtime
from apsim.nn.model import Conv2d, Linear, Model
from apsim.nn.on_ap import matrix
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.mapping import fold_sums
from apsim.nn.zoo import synthetic
from benchmarks.timing import Goal, alternating, report

Integers = NDArray[np.int64]
NAMES = ("alexnet", "resnet18", "resnet50", "vgg16")
SECONDS = {"resnet50": 2.0, "vgg16": 8.0, "resnet18": 1.0}  # stated for 8 bits, 2 cores
PART = {8: 1.0, 4: 0.5}  # of those seconds, by bits
OVER = {("resnet18", 8): 0.9}  # engine seconds over those of int32 @
MOVING = 0.12  # share of load, im2col and unload
MEMORY = 4.0  # GiB
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


def network(name: str, bits: int, engine: str, kind: str, threads: int) -> dict[str, float]:
    """A whole network: engine seconds and what they went into, memory, the yardstick.

    It runs twice: kernels are compiled, or loaded, and programs are made by the first run.
    """
    model = synthetic.network(name, bits)
    inputs = synthetic.inputs(model, 1)

    def run() -> runtime.Run:
        chip = Chip.preset("bf-imna-lr", ap=kind, engine=engine, threads=threads)
        done = runtime.run(model, inputs, chip, check="sample", keep="outputs")
        if not done.passed:
            raise SystemExit(f"{name}, {bits} bits: values or counts are wrong")
        return done

    first = run().engine_seconds_by.total
    start, spent = time.perf_counter(), time.process_time()
    parts = run().engine_seconds_by
    return {
        "engine seconds, first": first,
        "engine seconds": parts.total,
        **{f"engine seconds: {part}": seconds for part, seconds in parts.as_dict().items()},
        "share of load, im2col, unload": parts.moving,
        "seconds with a sampled check": time.perf_counter() - start,
        "CPU seconds of all threads, with that": time.process_time() - spent,
        "peak memory, GiB": peak_memory(),  # before the yardstick takes any
        "numpy int32 @ seconds": int32_seconds(model),
    }


def in_its_own_process(
    name: str, bits: int, engine: str, kind: str, threads: int
) -> dict[str, float]:  # fmt: skip
    """The same, with no memory, no program and no array left by another network."""
    os.environ.setdefault(*ONE_THREAD)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        figures = pool.submit(network, name, bits, engine, kind, threads).result()
    print(f"\n{name}, {bits} bits, {kind}, {engine}, threads {threads}")
    for what, value in figures.items():
        print(f"  {what:<38} {value:9.3f}")
    return figures


def goals_of(name: str, bits: int, title: str, figures: Mapping[str, float]) -> list[Goal]:
    """What a network is to reach, and what it did."""
    seconds = figures["engine seconds"]
    goals = [
        Goal(f"{title} over int32 @", OVER.get((name, bits), 1.0),
             seconds / figures["numpy int32 @ seconds"], False),
        Goal(f"{title}, share of load, im2col, unload", MOVING,
             figures["share of load, im2col, unload"], False),
        Goal(f"{title}, peak memory in GiB", MEMORY, figures["peak memory, GiB"], False),
    ]  # fmt: skip
    if name in SECONDS and bits in PART:
        wanted = SECONDS[name] * PART[bits]
        goals.insert(0, Goal(f"{title}, engine seconds", wanted, seconds, False))
    return goals


def peak_memory() -> float:
    """The most memory that this process has held, in GiB."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    held = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    kib = held[0] if held else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib * 1024 / GIB


def int32_seconds(model: Model) -> float:
    """int32 products of every weighted layer's shape, one after another; numpy has one thread."""
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
    parser.add_argument("names", nargs="*", default=NAMES, help=f"default: {' '.join(NAMES)}")
    parser.add_argument("--bits", type=int, nargs="*", default=[8, 4])
    parser.add_argument("--ap", default="2d", help="AP kind of the networks")
    parser.add_argument("--engine", default="fused")
    parser.add_argument("--threads", type=int, default=2, help="of the emulator; numpy has one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="also write the figures here")
    args = parser.parse_args(argv)
    goals, seconds = layer(args.rounds)
    figures: dict[str, object] = {"conv layer": seconds}
    for name in args.names:
        for bits in args.bits:
            found = in_its_own_process(name, bits, args.engine, args.ap, args.threads)
            goals += goals_of(name, bits, f"{name} {bits} bit {args.ap} {args.engine}", found)
            figures[f"{name} {bits}"] = found
    return report("networks", goals, figures, args.json)


if __name__ == "__main__":
    raise SystemExit(main())
