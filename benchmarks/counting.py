"""What exact counting costs: the engines' own code with the counts left out, to compare with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from apsim.cam import FusedCam, PackedCam
from apsim.cam import _fusion as fusion
from apsim.cam import _kernels as kernels
from apsim.cam._grouping import fused, single
from apsim.cam._plan import Plan, plan
from benchmarks.timing import Goal, alternating

NO_WORDS = np.zeros((0, 0), np.uint64)


def uncounted(job: Any, rounds: int) -> list[Goal]:
    """Counting overhead of the strict and of the fused engine, on one thread."""
    group = {"strict": single, "fused": partial(fused, least=FusedCam.least)}
    goals = []
    for (engine, grouped), most in zip(group.items(), (1.1, 1.5), strict=True):
        runs = {
            name: _run(job, grouped(plan(job.code), partial(fusion.address, counted=counted)))
            for name, counted in (("counts", True), ("none", False))
        }
        times = alternating(runs, rounds)
        ratio = times["counts"] / times["none"]
        goals.append(Goal(f"counting overhead, {engine} {job.name}", most, ratio, False))
    return goals


def _run(job: Any, steps: Plan) -> Callable[[], None]:
    """All of a program on all rows, on an array of its own."""
    cam = PackedCam(job.rows, job.columns)
    cam.poke(job.cells())
    totals = np.zeros((4, len(job.code)), np.int64)
    span, size = (0, len(job.code), 0, cam._vectors), (job.rows, job.rows // 512, cam._tile)
    return lambda: kernels.horizontal(
        cam._planes, steps.steps, steps.pool, steps.extra, steps.lines, span, size, NO_WORDS,
        NO_WORDS, totals,
    )  # fmt: skip
