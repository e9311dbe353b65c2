"""Alternating runs, medians, goals and their distance, and the machine they hold for."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np


@dataclass(frozen=True)
class Goal:
    """A ratio to reach: at least or at most so much."""

    name: str
    wanted: float
    measured: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Whether the measured ratio is on the right side."""
        return (self.measured >= self.wanted) is self.at_least or self.measured == self.wanted

    @property
    def distance(self) -> float:
        """Measured over wanted, turned so that 1 is the goal and more is better."""
        ratio = self.measured / self.wanted
        return ratio if self.at_least else 1 / ratio

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        verdict = "met" if self.met else "MISSED"
        return (
            f"{self.name:<72} {sign} {self.wanted:>7,.4g}   {self.measured:>9,.4g}   "
            f"{self.distance:6.2f}x  {verdict}"
        )


usual_clock: Callable[[], float] = time.perf_counter


def use_cpu_seconds() -> None:
    """From now on, time by what the process spent: for a machine that does other work too."""
    global usual_clock
    usual_clock = time.process_time


def alternating(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    least: float = 0.002,
    clock: Callable[[], float] | None = None,
) -> dict[str, float]:
    """Seconds a run, the median over rounds in which every one takes its turn.

    A run shorter than `least` seconds is repeated within its turn.  `clock` may be
    `time.process_time`, which other work on the same cores disturbs less; `usual_clock`
    serves where none is given.
    """
    clock = clock or usual_clock
    repeats = {}
    for name, run in runs.items():
        run()
        start = time.perf_counter()
        run()
        repeats[name] = max(1, int(least / max(time.perf_counter() - start, 1e-7)))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = clock()
            for _ in range(repeats[name]):
                run()
            seconds[name].append((clock() - start) / repeats[name])
    return {name: median(values) for name, values in seconds.items()}


def machine() -> dict[str, object]:
    """What the figures hold for."""
    import llvmlite.binding as llvm
    import numba

    return {
        "processor": _processor(),
        "target": llvm.get_host_cpu_name(),
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def report(name: str, goals: list[Goal], figures: Mapping[str, object], path: str | None) -> int:
    """Print goals and their distance; write all of it as JSON where a path is given."""
    about = machine()
    print("\n" + ", ".join(f"{key} {value}" for key, value in about.items()))
    print(f"\n{'goal':<72} {'wanted':>10}   {'measured':>9}   distance")
    for goal in goals:
        print(goal)
    if path:
        results = {
            "schema": f"apsim.benchmark.{name}/1",
            "machine": about,
            "goals": [asdict(goal) | {"met": goal.met} for goal in goals],
            "figures": figures,
        }
        aside = Path(path).with_suffix(".part")
        aside.write_text(json.dumps(results, indent=1) + "\n")
        aside.replace(path)
    return 0 if all(goal.met for goal in goals) else 1
