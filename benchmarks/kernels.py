"""`python -m benchmarks.kernels`: the engines against numpy, the dense array and C++.

The rule: one process, every executor in its turn, medians; the same program on the same
cells, and all executors must count the same matched rows before anything is timed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsim import ops
from apsim.cam import DenseCam, FusedCam, PackedCam
from apsim.cam.plan import plan
from apsim.encoding import Code
from apsim.layout import Layout
from apsim.machine import Machine
from benchmarks.baselines import Reference, numpy_planes, numpy_rows, passes_of
from benchmarks.timing import Goal, alternating, report, use_cpu_seconds

TILE = 32 * 8  # words of a tile in the C++ reference: 32 vectors, as the packed array's


@dataclass(frozen=True)
class Work:
    """A program on a layout, on so many rows of random cells."""

    name: str
    code: Code
    columns: int
    rows: int

    def cells(self) -> NDArray[np.bool_]:
        """The same random cells for every executor."""
        return np.random.default_rng(7).random((self.rows, self.columns)) < 0.5

    @property
    def row_passes(self) -> int:
        """Passes times rows: the unit of work."""
        return self.rows * len(self.code)


LAYOUTS = {
    "add8": (ops.add("A", "B", carry="C"), Layout(A=8, B=8, C=1)),
    "mul8": (ops.multiply("A", "B", "P"), Layout(A=8, B=8, P=16)),
}


def work(name: str, rows: int) -> Work:
    """add8 or mul8, as the library builds it."""
    operation, layout = LAYOUTS[name]
    return Work(name, operation.on(layout).code, layout.columns, rows)


def executors(job: Work, reference: Reference | None) -> dict[str, Callable[[], int]]:
    """Every way to run the program once on cells of its own; each gives rows matched."""
    passes, cells = passes_of(job.code), job.cells()
    own, planes = cells.copy(), _planes(cells)
    copied = planes.copy()
    runs: dict[str, Callable[[], int]] = {
        "numpy bool, rows x columns": lambda: numpy_rows(own, passes),
        "numpy packed": lambda: numpy_planes(copied, passes),
    }
    for name, kind in (("dense", DenseCam), ("strict", PackedCam), ("fused", FusedCam)):
        runs[name] = _on(kind(job.rows, job.columns), cells, job.code)
    if reference:
        lines = _lines(job.code)
        fused = reference.fused(job.name[:3], _aligned(planes), lines, TILE)
        runs["C++ pass by pass"] = reference.generic(_aligned(planes), passes, TILE)
        runs["C++ fused by hand"] = fused
    return runs


def _on(cam: DenseCam | PackedCam, cells: NDArray[np.bool_], code: Code) -> Callable[[], int]:
    if isinstance(cam, PackedCam):
        cam.threads = 1
    if isinstance(cam, FusedCam):
        cam.always = True
    cam.poke(cells)
    return lambda: int(cam.execute(code).matched.sum())


def _planes(cells: NDArray[np.bool_]) -> NDArray[np.uint64]:
    octets = np.packbits(cells.T, axis=1, bitorder="little")
    return np.ascontiguousarray(octets).view(np.uint64)


def _aligned(planes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A copy at a multiple of 64 bytes, its stride an odd number of cache lines."""
    lines, words = planes.shape
    stride = (words // 8 | 1) * 8
    raw = np.zeros(lines * stride + 8, np.uint64)
    first = -raw.ctypes.data % 64 // 8
    copy = raw[first : first + lines * stride].reshape(lines, stride)[:, :words]
    copy[:] = planes
    return copy


def _lines(code: Code) -> list[list[int]]:
    """The lines of each LUT step, as the fused engine finds them."""
    return [list(piece.lines) for piece in plan(code).pieces]


def measure(job: Work, reference: Reference | None, rounds: int) -> dict[str, float]:
    """Seconds of every executor, after they agreed on what matched."""
    runs = executors(job, reference)
    first = {name: run() for name, run in runs.items()}
    if len(set(first.values())) != 1:
        raise SystemExit(f"executors disagree on matched rows: {first}")
    seconds = alternating(runs, rounds)
    print(f"\n{job.name}, {job.rows:,} rows, {len(job.code)} passes")
    for name, value in seconds.items():
        speed = job.row_passes / value
        print(f"  {name:<28} {value * 1e6:>14,.1f} us   {speed:9.2e} row-passes/s")
    return seconds


def machine_call(rounds: int) -> tuple[Goal, dict[str, float]]:
    """A whole call of the public API on one CAP against numpy bool."""
    job = work("mul8", 4800)
    operation, layout = LAYOUTS["mul8"]
    program, machine = operation.on(layout), Machine(job.rows, layout, engine="strict")
    cells, passes = job.cells(), passes_of(job.code)
    runs = {
        "Machine.run": lambda: machine.run(program),
        "numpy bool, rows x columns": lambda: numpy_rows(cells, passes),
    }
    seconds = alternating(runs, rounds)
    ratio = seconds["numpy bool, rows x columns"] / seconds["Machine.run"]
    return Goal("Machine.run(mul8) at 4,800 rows against numpy bool", 300, ratio), seconds


def second_core(rounds: int) -> tuple[Goal, dict[str, float]]:
    """One thread against two on a job of more than 10 ms."""
    job = work("mul8", 10_000_000)
    cams = {f"{k} threads": FusedCam(job.rows, job.columns, threads=k) for k in (1, 2)}
    for cam in cams.values():
        cam.always = True
        cam.poke(job.cells())
    runs = {name: lambda c=cam: c.execute(job.code) for name, cam in cams.items()}
    seconds = alternating(runs, rounds)
    ratio = seconds["1 threads"] / seconds["2 threads"]
    return Goal("fused mul8, 1e7 rows: two threads against one", 1.7, ratio), seconds


def goals_of(job: Work, t: dict[str, float]) -> list[Goal]:
    """What is wanted of an array, for one program at one size."""
    where = f"{job.name}, {job.rows:,} rows"
    goals = []
    if "C++ fused by hand" in t:
        fused = t["fused"] / t["C++ fused by hand"]
        strict = t["strict"] / t["C++ pass by pass"]
        goals = [
            Goal(f"fused against C++ fused, time: {where}", 1.0, fused, False),
            Goal(f"strict against C++ pass by pass, time: {where}", 1.1, strict, False),
        ]
    if job.name == "mul8":
        bools = t["numpy bool, rows x columns"]
        goals += [
            Goal(f"strict against numpy bool: {where}", 2000, bools / t["strict"]),
            Goal(f"fused against numpy bool: {where}", 4000, bools / t["fused"]),
        ]
    return goals


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[98_304, 999_936])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each executor")
    parser.add_argument("--cpu", action="store_true", help="CPU seconds, for a busy machine")
    parser.add_argument("--json", metavar="FILE", help="also write the figures here")
    args = parser.parse_args(argv)
    if args.cpu:
        use_cpu_seconds()
    reference, goals, figures = Reference.where_possible(), [], {}
    print(f"C++ reference: {reference.compiler if reference else 'no compiler, left out'}")
    for rows in args.rows:
        for name in LAYOUTS:
            job = work(name, rows // 512 * 512)
            seconds = measure(job, reference, args.rounds)
            figures[f"{name} {job.rows}"] = seconds
            goals += goals_of(job, seconds)
    extra = (
        [machine_call(args.rounds)]
        if args.cpu
        else [machine_call(args.rounds), second_core(args.rounds)]
    )
    for goal, seconds in extra:
        goals.append(goal)
        figures[goal.name] = seconds
    return report("kernels", goals, figures, args.json)


if __name__ == "__main__":
    raise SystemExit(main())
