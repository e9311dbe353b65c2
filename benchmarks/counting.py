"""What exact counting costs: the engines' own code with the counts left out, to compare with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from apsim.cam import FusedCam, PackedCam
from apsim.cam._across import Across
from benchmarks.timing import Goal, alternating


def uncounted(job: Any, rounds: int) -> list[Goal]:
    """Counting overhead of the strict and of the fused engine, on one thread."""
    goals = []
    for engine, kind, most in (("strict", PackedCam, 1.1), ("fused", FusedCam, 1.5)):
        runs = {str(counted): kernel(job, kind, counted) for counted in (True, False)}
        times = alternating(runs, rounds)
        ratio = times["True"] / times["False"]
        goals.append(Goal(f"counting overhead, {engine} {job.name}", most, ratio, False))
    return goals


def kernel(job: Any, kind: type[PackedCam], counted: bool = True) -> Callable[[], int]:
    """The machine code of a program for all rows, on an array of its own; gives rows matched."""
    cam = kind(job.rows, job.columns, threads=1)
    cam.poke(job.cells())
    made = cam.coded(job.code)
    across = Across(made.plan, made.pieces, counted=counted)
    (section,) = made.plan.sections
    totals = np.zeros((4, len(job.code)), np.int64)
    call = cam.prepared(across, section, (0, -(-job.rows // 512)), totals)

    def run() -> int:
        totals[1:] = 0
        call()
        return int(totals[1].sum())

    return run
