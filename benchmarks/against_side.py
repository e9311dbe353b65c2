"""What `benchmarks.against` runs in each of two checkouts: jobs by name, one answer for each.

The rule: only what both checkouts have is used, and this file is the same for both.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

if "--cpu" in sys.argv:
    time.perf_counter = time.process_time  # what engine seconds are taken by, too

import numpy as np

from apsim import Machine, ops  # the kernels of an array are loaded with it
from apsim.cam import FusedCam
from apsim.layout import Layout

LAYOUTS = {
    "add8": (ops.add("A", "B", carry="C"), Layout(A=8, B=8, C=1)),
    "mul8": (ops.multiply("A", "B", "P"), Layout(A=8, B=8, P=16)),
}
LEAST = 0.002
"""Seconds that one answer takes at least: short jobs are repeated."""


def kernel(name: str, rows: int) -> tuple[Any, Callable[[], Any]]:
    """A program on one thread, its LUT steps compiled."""
    operation, layout = LAYOUTS[name]
    code = operation.on(layout).code
    cam: Any = FusedCam(rows, layout.columns, threads=1)
    cam.always = True
    cam.poke(np.random.default_rng(7).random((rows, layout.columns)) < 0.5)
    matched = int(cam.execute(code).matched.sum())
    return matched, lambda: cam.execute(code)


def fresh(name: str, rows: int) -> tuple[Any, Callable[[], Any]]:
    """A machine that is told the same again: an operation made anew, words in, words out."""
    _, layout = LAYOUTS["add8"]
    machine, words = Machine(rows, layout, engine="fused"), np.arange(rows) % 256
    jobs: dict[str, Callable[[], Any]] = {
        "add8": lambda: machine.run(ops.add("A", "B", carry="C")),
        "write": lambda: machine.write("A", words),
        "read": lambda: machine.read("A"),
    }
    machine.write("A", words)
    return str(machine.counts), jobs[name]


def moved(*names: str) -> Any:
    """The first of some modules that this checkout has."""
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise SystemExit(f"no module {names[0]}")


def network(name: str, bits: int) -> tuple[Any, Callable[[], dict[str, float]]]:
    """An image through a network of random weights: its engine seconds by part, counts alike."""
    synthetic = moved("apsim.nn.zoo.synthetic", "apsim.nn.synthetic")
    chips = moved("apsim.nn.on_ap.chip", "apsim.nn.chip")
    runtime = import_module("apsim.nn.runtime")
    model = synthetic.network(name, bits)
    inputs = synthetic.inputs(model, 1)

    def run() -> Any:
        chip = chips.Chip.preset("bf-imna-lr", ap="2d", engine="fused", threads=1)
        return runtime.run(model, inputs, chip, check="sample", keep="outputs"), chip

    _, chip = run()
    counted = f"{chip.counts} {chip.activity}"
    return counted, lambda: run()[0].engine_seconds_by.as_dict()


KINDS: dict[str, Callable[[str, int], tuple[Any, Callable[[], Any]]]] = {
    "kernel": kernel, "fresh": fresh, "network": network,
}  # fmt: skip


def seconds(run: Callable[[], Any]) -> float | dict[str, float]:
    """Seconds of one run: what it says itself, by part, or what a clock says."""
    times, spent = 0, 0.0
    while spent < LEAST:
        begun = time.perf_counter()
        said = run()
        if isinstance(said, dict):
            return said
        spent += time.perf_counter() - begun
        times += 1
    return spent / times


def main() -> None:
    """Answer requests, a line each, until there are no more."""
    prepared: dict[str, Callable[[], Any]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "prepare" in request:
            kind, name, number = request["prepare"].split()
            prepared.clear()
            answer, prepared[request["prepare"]] = KINDS[kind](name, int(number))
        else:
            answer = seconds(prepared[request["run"]])
        print(json.dumps(answer), flush=True)


main()
