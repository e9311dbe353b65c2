"""A number for each inconsistency of the paper, computed where it is asked for.

The rule: what can be executed is executed; a sentence holds no number that was typed in,
but those that the paper prints.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from apsim import closed_form, functions
from apsim.check.theorem import literal_addition
from apsim.closed_form import tables
from apsim.counts import Phase
from apsim.functions import Result
from apsim.machine import Machine
from apsim.program import Loop, Op, Step

__all__ = ["EVIDENCE"]

M = 8


def _words(*shape: int, seed: int = 1) -> NDArray[np.int64]:
    """Random words, the same ones whenever the document is printed."""
    return np.random.default_rng(seed).integers(0, 1 << M, shape)


def _vertical() -> str:
    a, b, low, high = literal_addition(M)
    return f"Eq. (4)'s 8 cycles on the rows {a} and {b} leave {low} (xor) and {high} (and)"


def _average_reads() -> str:
    phases = {ap: _average(4, ap).counts_by_phase for ap in ("1d", "2d")}
    reads = {ap: phase[Phase.READ_OUT].read for ap, phase in phases.items()}
    return ", ".join(f"{ap}: {n} reads" for ap, n in reads.items()) + " for M = 8, S = 4, K = 1"


def _average(window: int, ap: str, divide: str = "shift") -> Result:
    function = functions.average_pool(M, window, 1, kind=ap, divide=divide)
    return functions.run(function, _words(1, window))


def _max_passes() -> str:
    function = functions.max_pool(M, 16, 1, kind="1d")
    times = functions.run(function, _words(1, 16)).counts.compare // (4 * M)
    return f"S = 16: Table IV ran {times} times"


def _horizontal_once() -> str:
    function = functions.max_pool(M, 16, 1, kind="2d-tc")
    wide = sum(step.op is Op.PASS for step in function.program.items if not isinstance(step, Loop))
    return f"S = 16 with a tag chain: {wide // (4 * M)} horizontal sweep"


def _relu() -> str:
    result = functions.run(functions.relu(M, 64), _words(64) - (1 << (M - 1)))
    return f"executed {result.counts.total} = Eq. (15)'s {closed_form.relu(M).total}; 2M has +{M}"


def _flag_resets() -> str:
    window, windows = 16, 9
    function = functions.max_pool(M, window, windows, kind="2d-seg-tc")
    executed = functions.run(function, _words(windows, window)).counts
    paper = closed_form.max_pool(M, window, windows, "2d-seg")
    return f"S = {window}, K = {windows}: executed {executed.total}, printed {paper.total}"


def _write_cycles() -> str:
    counts = functions.run(functions.add(M, 64), _words(64), _words(64, seed=2)).counts
    return (
        f"add: {counts.total} cycles with one for a write, {counts.total + counts.write} with two"
    )


def _latency_ratio() -> str:
    counts = functions.run(
        functions.matmul(M, 4, 16, 4), _words(4, 16), _words(16, 4, seed=2)
    ).counts
    ratio = (counts.total + counts.write) / counts.total
    return f"4 x 16 x 4 product, executed: ratio {ratio:.2f}; with writes alone it would be 2"


def _addition_activity() -> str:
    rows = 4800
    function = functions.add(M, rows)
    machine = Machine(rows, function.layout)
    data = function.words(_words(rows), _words(rows, seed=2))
    done = machine.run(function.program, data, np.zeros((1, rows), np.uint64))
    passes = [isinstance(s, Step) and s.op is Op.PASS for s in function.program.items]
    matched, flipped = (n[passes].sum() / (rows * M) for n in (done.matched, done.flipped))
    return (
        f"{rows} random rows: {matched:.2f} matched passes and {flipped:.2f} cells flipped "
        f"a row and bit, {sum(passes)} writes = 4M"
    )


def _rows() -> str:
    sums = {ap: functions.matmul(M, 2, 8, 2, kind=ap).rows for ap in closed_form.AP_KINDS}
    prefix = functions.max_pool(M, 8, 4, kind="2d", scheme="prefix").rows
    listed = ", ".join(f"{ap} {n}" for ap, n in sums.items())
    return f"2 x 8 x 2 product (32 rows): {listed}; max pool S = 8, K = 4 (16 rows): {prefix}"


def _columns() -> str:
    found = {ap: functions.matmul(M, 1, 64, 1, kind=ap).columns for ap in ("1d", "2d", "2d-tc")}
    return "M = 8, j = 64: " + ", ".join(f"{ap} {n} columns" for ap, n in found.items())


def _segmentation() -> str:
    plain, parts = (functions.matmul(M, 1, 64, 1, kind=ap) for ap in ("2d", "2d-seg"))
    a, b = _words(1, 64), _words(64, 1, seed=2)
    totals = [functions.run(f, a, b).counts.total for f in (plain, parts)]
    return f"dot product of 64 words: {totals[0]} unsegmented, {totals[1]} segmented, executed"


def _improvement() -> str:
    one, two = (closed_form.matmul(M, 64, 64, 64, ap).total for ap in ("1d", "2d"))
    return f"64 x 64 x 64 at M = 8: P(6) = {one:,}, P(7) = {two:,}; see the thresholds"


def _tree_moves() -> str:
    words = 64
    program = functions.reduce(M, words, kind="1d").program
    moves = sum(times for step, times in program.weighted() if step.op is Op.WRITE_TAG)
    return f"L = {words}: {moves} words moved = L/2 - 1"


def _division() -> str:
    costs = []
    for window in (9, 49):
        whole, inside = (
            _average(window, "2d-tc", how).counts.total for how in ("none", "multiply")
        )
        paper = closed_form.average_pool(M, window, 1, "2d").total
        costs.append(f"S = {window}: printed {paper}, whole sum {whole}, in the AP {inside}")
    return "; ".join(costs)


def _peak() -> str:
    peaks = (2 * 4096 * 4800 / (3 * m * m + 11 * m) for m in (1, 8, 16))
    return "2*4096*4800 / (3M^2 + 11M) = " + ", ".join(f"{peak:,.0f}" for peak in peaks)


def _density() -> str:
    return f"641 / 137.45 = {641 / 137.45:.2f}"


def _table_one() -> str:
    cells = [(name, kind) for name in tables.FUNCTIONS for kind in tables.KINDS]
    agree = sum(
        tables.derive(name, kind)(M, 5, 3) == tables.printed_total(name, kind, M, 5, 3)
        for name, kind in cells
    )
    return f"{agree} of {len(cells)} cells equal at M = 8, N = 32"


EVIDENCE: tuple[Callable[[], str], ...] = (
    _vertical, _average_reads, _max_passes, _horizontal_once, _relu, _flag_resets,
    _write_cycles, _latency_ratio, _addition_activity, _rows, _columns, _segmentation,
    _improvement, _tree_moves, _division, _peak, _density, _table_one,
)  # fmt: skip
"""One sentence for each inconsistency, in the order of `inconsistencies.toml`."""
