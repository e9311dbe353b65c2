"""Where the executed energy of a multiply-accumulate goes, and why Table VII's falls faster.

    python -m benchmarks.table7_parts [--words 256]

One dot product is stepped at 8 and at 4 bits on the 2D AP; each step's activity is put
down to its phase.  The paper's energies follow 4 M^2 + 8 M compares a multiply-accumulate:
the multiplication, and 4 searches in the 2 M columns of the product for each addition
between rows.  Executed passes search more in the reduction, for two reasons:

* A vertical pass tags columns, and every column of the array takes part in its search,
  operands and scratch with it: there is no mask over columns that would keep them out.
* The carries that the additions leave are resolved by horizontal passes, and every row
  takes part in those, whether its word is still needed or not.

So the reduction is half of the energy at 8 bits, not a fifth, and it falls with M, not M^2.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from apsim.controller import steps
from apsim.cost.technology import Technology, technology
from apsim.counts import Activity, Phase
from apsim.functions.macro import dot_products
from apsim.machine import Machine
from apsim.program import Mode

Part = tuple[Phase, Mode]
PARTS: dict[Part, str] = {
    (Phase.POPULATE, Mode.HORIZONTAL): "populate",
    (Phase.COMPUTE, Mode.HORIZONTAL): "multiply",
    (Phase.REDUCE, Mode.VERTICAL): "add rows, vertical",
    (Phase.REDUCE, Mode.HORIZONTAL): "resolve carries, horizontal",
    (Phase.READ_OUT, Mode.HORIZONTAL): "read out",
}
WIDTHS = (8, 4)


def paper_compares(bits: int) -> dict[str, int]:
    """Compares of a multiply-accumulate that reproduce the paper's energies."""
    return {"multiply": 4 * bits**2, "add rows, vertical": 8 * bits}


def measure(bits: int, words: int) -> tuple[dict[Part, Activity], int]:
    """Activity of one dot product of random words by part, and the array's columns."""
    rng = np.random.default_rng(0)
    function = dot_products(bits, 1, words, kind="2d", words_b="s", clear=True)
    a = rng.integers(0, 1 << bits, (1, words))
    w = rng.integers(-(1 << bits - 1), 1 << bits - 1, (1, words))
    machine, out = Machine(function.rows, function.layout), np.zeros((1, function.rows), np.uint64)
    found = dict.fromkeys(PARTS, Activity())
    for event in steps(function.program, machine.cam, function.words(a, w), out):
        found[event.step.phase, event.step.mode] += event.activity
    if function.results(out).item() != int((a * w).sum()):
        raise AssertionError("the stepped dot product is wrong")
    return found, function.columns


def picojoules(activity: Activity, cells: Technology, words: int) -> float:
    """Energy of a multiply-accumulate in pJ: lines discharged and cells written."""
    joules = activity.mismatched * cells.discharge_energy
    joules += activity.written * cells.cell_write_energy
    return joules / words * 1e12


def lines(words: int) -> list[str]:
    """The table: searched lines and energy of a multiply-accumulate, at both widths."""
    cells, measured = technology("sram"), [measure(bits, words) for bits in WIDTHS]
    paper = [paper_compares(bits) for bits in WIDTHS]
    found = [
        f"a multiply-accumulate of {words} on the 2D AP; arrays of "
        f"{' and '.join(str(columns) for _, columns in measured)} columns",
        f"{'':28}{'lines searched':>16}{'paper':>12}{'energy [pJ]':>16}{'ratio':>8}",
        f"{'bits':28}{8:>8}{4:>8}{8:>6}{4:>6}{8:>8}{4:>8}{'8 / 4':>8}",
    ]
    totals = np.zeros(2)
    for part, name in PARTS.items():
        searched = [activity[part].compared / words for activity, _ in measured]
        energy = np.array([picojoules(activity[part], cells, words) for activity, _ in measured])
        totals += energy
        wanted = "".join(f"{compares.get(name, 0):6}" for compares in paper)
        found.append(
            f"{name:28}{searched[0]:8.1f}{searched[1]:8.1f}{wanted}"
            f"{energy[0]:8.2f}{energy[1]:8.2f}{energy[0] / energy[1]:8.2f}"
        )
    sums = [sum(compares.values()) for compares in paper]
    found.append(
        f"{'total':44}{sums[0]:6}{sums[1]:6}{totals[0]:8.2f}{totals[1]:8.2f}"
        f"{totals[0] / totals[1]:8.2f}  (paper's compares: {sums[0] / sums[1]:.2f})"
    )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--words", type=int, default=256, help="words a dot product (default 256)")
    print("\n".join(lines(parser.parse_args().words)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
