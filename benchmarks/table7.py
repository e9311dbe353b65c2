"""Table VII of BF-IMNA from executed passes: HAWQ-V3's lists on one loaded ResNet18.

    python -m benchmarks.table7 [--ap 2d] [--json FILE]

One 8-bit ResNet18 with random weights is loaded once; each budget's widths are switched
with `model.at` and the network runs on emulated CAPs, every pass executed and counted,
values compared with the exact twin on a sample of channels.  Latency is the cycles of all
passes one after another, energy what the executed passes discharge and write; both are
given over uniform 8 bits, as the table does.

The energy ratios come out smaller than the paper's, for one reason: in the executed
reduction every column takes part in a search between rows, and every row in resolving the
carries, so that half of the energy at 8 bits falls with M instead of M^2.  The layers that
stay at 8 bits have no part in it: ResNet18 wholly at 4 bits gives 1.941 instead of 1.934.
`python -m benchmarks.table7_parts` shows where each picojoule goes.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, dataclass

from apsim.cost.estimate import Cost, estimate
from apsim.cost.technology import technology
from apsim.counts import Activity
from apsim.files import write_json
from apsim.nn import runtime
from apsim.nn.model import Model
from apsim.nn.on_ap.chip import Chip
from apsim.nn.rules import scales
from apsim.nn.zoo import sources, synthetic

# Table VII, normalised to uniform 8 bits: (energy, latency), higher is better
PAPER = {
    "uniform4": (3.29, 1.004), "latency_0.75": (1.13, 1.001), "latency_0.5": (1.22, 1.002),
    "latency_0.25": (1.90, 1.004), "uniform8": (1.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One budget as executed."""

    budget: str
    mean_bits: float
    cycles: int
    energy: float
    passed: bool
    seconds: float


def execute(model: Model, budget: str, chip: Chip) -> Row:
    """Switch the loaded model to a budget's widths and run one image."""
    started = time.perf_counter()
    widths = sources.budget_widths(model.name, budget)
    narrow = model.at(widths)
    done = runtime.run(narrow, synthetic.inputs(narrow, 1), chip, check="sample", keep="outputs")
    activity = sum((layer.activity for layer in done.layers), Activity())
    cost: Cost = estimate(done.counts, activity, technology("sram"))
    return Row(
        budget, sum(widths) / len(widths), cost.cycles, cost.energy.total, done.passed,
        time.perf_counter() - started,
    )  # fmt: skip


def lines(rows: list[Row]) -> list[str]:
    """The table, each budget over uniform 8 bits."""
    base = next(row for row in rows if row.budget == "uniform8")
    head = f"{'budget':14}{'bits':>6}{'cycles':>16}{'energy [J]':>12}"
    found = [head + f"{'energy x':>10}{'paper':>7}{'latency x':>11}{'paper':>7}  verdict  seconds"]
    for row in rows:
        energy, latency = PAPER[row.budget]
        found.append(
            f"{row.budget:14}{row.mean_bits:6.2f}{row.cycles:16,}{row.energy:12.4g}"
            f"{base.energy / row.energy:10.3f}{energy:7.2f}"
            f"{base.cycles / row.cycles:11.4f}{latency:7.3f}  "
            f"{'PASS' if row.passed else 'FAIL':8} {row.seconds:6.1f}"
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ap", default="2d", help="AP kind (default 2d)")
    parser.add_argument("--engine", default="fused", help="strict, fused (default) or dense")
    parser.add_argument("--json", metavar="FILE", help="write the rows as JSON")
    args = parser.parse_args()
    model = scales.with_scales(synthetic.network("resnet18"))
    rows = []
    for budget in PAPER:
        chip = Chip.preset("bf-imna-lr", ap=args.ap, engine=args.engine)
        rows.append(execute(model, budget, chip))
        print(f"{budget}: {rows[-1].seconds:.1f} s", file=sys.stderr)
    print("\n".join(lines(rows)))
    if args.json:
        write_json(args.json, {"schema": "apsim.table7/1", "rows": [asdict(row) for row in rows]})
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
