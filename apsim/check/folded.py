"""Products larger than a CAP: several loads, and sums longer than a CAP's rows.

The rule: as any row of the table, but what is executed is the folding of `apsim.nn`, load
by load on a chip whose CAPs have few rows; the paper's equations count once a load.
"""

from __future__ import annotations

import numpy as np

from apsim.check.subject import Integers, Params
from apsim.nn.model.words import Words
from apsim.nn.on_ap import tasks, work
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layer_run import Part

__all__ = ["CAP_ROWS", "folded"]

CAP_ROWS = "cap_rows"
"""The parameter that says how many rows a CAP has; a case without it fits one CAP."""


def folded(ap: str, p: Params, a: Integers, b: Integers, engine: str) -> tuple[Integers, Part]:
    """A [i, j] times B [j, u] on CAPs of p["cap_rows"] rows, and what it took and should take."""
    chip = Chip.preset("bf-imna-lr", ap=ap, engine=engine, rows=p[CAP_ROWS])
    first, second = p["signs"]
    words = Words(p["Mw"], second == "s"), Words(p["Ma"], first == "s")
    on = tasks.Setting(chip.kind, chip.design.rows)
    task = tasks.products(len(a) * b.shape[1], len(b), *words, on)
    values, part = work.products(chip, task, b.T, a, lambda done: None)
    return values.astype(np.int64), part
