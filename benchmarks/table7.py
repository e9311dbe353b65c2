"""Table VII of BF-IMNA from executed passes, and what the AP itself would choose.

    python -m benchmarks.table7 [--ap 2d] [--technology sram] [--json FILE]

One 8-bit ResNet18 with random weights is loaded once; each row's widths are switched with
`model.at` and the network runs on emulated CAPs, every pass executed and counted, values
compared with the exact twin on a sample of channels.  Latency is the cycles of all passes
one after another, energy what the executed passes discharge and write; ratios are to
uniform 8 bits, as in the table.

Rows: HAWQ-V3's lists in the order of layers that reproduces the paper's table, and in
HAWQ-V3's own order; uniform widths; and the optima of HAWQ's losses (omega) under executed
joules, limit 4 bits + f (8 bits - 4 bits), from widths 4 and 8 alone and from 2 to 8.
Omega says what a row loses: uniform 6 bits loses less than the best mix of 4 and 8 bits.

The energy ratios come out smaller than the paper's, for one reason: in the executed
reduction every column takes part in a search between rows, and every row in resolving the
carries, so that half of the energy at 8 bits falls with M instead of M^2.  The layers that
stay at 8 bits have no part in it: ResNet18 wholly at 4 bits gives 1.941 instead of 1.934.
`python -m benchmarks.table7_parts` shows where each picojoule goes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from apsim.cost.network import network as cost_network
from apsim.cost.precision import HAWQ, assign
from apsim.cost.technology import technology
from apsim.files import write_json
from apsim.nn import search
from apsim.nn.on_ap.chip import Chip
from apsim.nn.rules import scales
from apsim.nn.search import Bench, Executed, Space
from apsim.nn.zoo import calibration, sensitivities, sources, synthetic

# Table VII, normalised to uniform 8 bits: (energy, latency), higher is better
PAPER = {
    "uniform4": (3.29, 1.004), "latency_0.75": (1.13, 1.001), "latency_0.5": (1.22, 1.002),
    "latency_0.25": (1.90, 1.004), "uniform8": (1.0, 1.0),
}  # fmt: skip
UNIFORM = range(8, 1, -1)
PARTS = (0.75, 0.5, 0.25)
SETS = {"{4,8}": (4, 8), "2..8": tuple(range(2, 9))}


@dataclass(frozen=True)
class Row:
    """A list of widths as executed; `omega` is HAWQ's loss over its 19 slots."""

    name: str
    widths: str
    mean_bits: float
    omega: float
    cycles: float
    energy: float
    edp: float


def space_of(bench: Bench, widths: tuple[int, ...]) -> Space:
    """HAWQ's losses and executed costs over the slots of ResNet18."""
    given = sensitivities.read("hawq:resnet18", widths)
    costs = bench.costs(widths).only(tuple(given.losses))
    known = tuple(layer.name for layer in bench.model.weighted)
    return Space(known, given.losses, costs, "energy", given.ties, 8)


def settings(bench: Bench) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every row's name with the widths of all layers."""
    for budget in PAPER:
        yield budget, tuple(sources.budget_widths(bench.model.name, f"hawq:{budget}"))
    network = cost_network(bench.model.name)
    for part, budget in zip(PARTS, ("high", "medium", "low"), strict=True):
        pairs = zip(network.layers, assign(network, HAWQ[budget], slots="hawq"), strict=True)
        yield f"HAWQ T4 f={part}", tuple(bits for layer, (bits, _) in pairs if layer.gemm)
    for width in UNIFORM:
        yield f"all layers {width}", (width,) * len(bench.model.weighted)
    for name, widths in SETS.items():
        space = space_of(bench, widths)
        front = search.front(space.losses, space.costs.joules, space.ties)
        low, high = (search.total(space.costs.joules, (b,) * len(space.layers)) for b in (4, 8))
        for part in PARTS:
            chosen = search.best(front, low + part * (high - low))
            yield f"AP {name} f={part}", space.whole(chosen.widths)


def row_of(name: str, done: Executed, space: Space) -> Row:
    """A row from what was executed."""
    chosen = dict(zip(space.model_layers, done.widths, strict=True))
    widths = [chosen[layer] for layer in space.layers]
    return Row(
        name, "".join(map(str, widths)), sum(widths) / len(widths),
        search.total(space.losses, widths), done.cycles, done.joules, done.edp,
    )  # fmt: skip


def lines(rows: list[Row]) -> list[str]:
    """The table, each row over uniform 8 bits."""
    base = next(row for row in rows if row.name == "uniform8")
    head = f"{'':17}{'widths of the 19 slots':24}{'bits':>6}{'omega':>9}{'cycles':>16}"
    head += f"{'energy [J]':>12}{'EDP [J s]':>11}{'energy x':>10}{'paper':>7}"
    found = [head + f"{'latency x':>11}{'paper':>7}"]
    for row in rows:
        paper = PAPER.get(row.name)
        energy, latency = ("-", "-") if paper is None else (f"{paper[0]:.2f}", f"{paper[1]:.3f}")
        found.append(
            f"{row.name:17}{row.widths:24}{row.mean_bits:6.2f}{row.omega:9.4f}{row.cycles:16,.0f}"
            f"{row.energy:12.4g}{row.edp:11.4g}{base.energy / row.energy:10.3f}{energy:>7}"
            f"{base.cycles / row.cycles:11.4f}{latency:>7}"
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ap", default="2d", help="AP kind (default 2d)")
    parser.add_argument("--engine", default="fused", help="strict, fused (default) or dense")
    parser.add_argument("--technology", default="sram", help="sram (default) or reram")
    parser.add_argument("--json", metavar="FILE", help="write the rows as JSON")
    args = parser.parse_args()
    model = scales.with_scales(synthetic.network("resnet18"))
    bench = Bench(
        model, calibration.test_images(model, None),
        lambda: Chip.preset("bf-imna-lr", ap=args.ap, engine=args.engine),
        technology(args.technology), check="sample",
    )  # fmt: skip
    space, rows = space_of(bench, SETS["2..8"]), []
    for name, widths in settings(bench):
        rows.append(row_of(name, bench.execute(widths), space))
        print(f"{name}: {rows[-1].energy:.4g} J", file=sys.stderr)
    print("\n".join(lines(rows)))
    if args.json:
        write_json(args.json, {"schema": "apsim.table7/2", "rows": [asdict(row) for row in rows]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
