"""The data of Figs. 5-9 and of Tables V, VII and VIII, recomputed.

The rule: numbers only, in the units that the figures show; `plots` draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

from apsim import closed_form, cost
from apsim.cost import peak
from apsim.cost.inference import Inference
from apsim.cost.precision import HAWQ, MAX_BITS
from apsim.report.paper.reproduce import NETWORKS, inference

__all__ = [
    "FIG6_PAPER",
    "BitFluid",
    "Framework",
    "Point",
    "Series",
    "Uniform",
    "figure5",
    "figure6",
    "figure7",
    "figure8",
    "figure9",
    "mix",
    "table7",
    "table8",
]

KINDS = ("1d", "2d", "2d-seg")
SIZES = tuple(2**q for q in range(1, 13))
WIDTHS = tuple(range(1, MAX_BITS + 1))
FIG6_PAPER = {2: 80.9, 3: 72.9, 4: 68.9, 5: 66.6, 6: 65.0, 7: 63.9, 8: 63.1}
LEAST_BITS, MOST_BITS = 2, 8
AVERAGES = tuple(half / 2 for half in range(2 * LEAST_BITS, 2 * MOST_BITS + 1))


@dataclass(frozen=True)
class Series:
    """One line of a panel: a label and its points."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Point:
    """A mean over the combinations of one average precision (Fig. 7)."""

    bits: float
    joules: float
    seconds: float
    gops_per_watt_mm2: float


@dataclass(frozen=True)
class BitFluid:
    """One row of Table VII: INT8 over the configuration, and its energy-delay product."""

    configuration: str
    average_bits: float
    normalized_energy: float
    normalized_latency: float
    edp_j_s: float
    edp_over_int8: float


@dataclass(frozen=True)
class Framework:
    """One row of Table VIII."""

    framework: str
    technology: str
    bits: int
    gops: float
    gops_per_watt: float
    note: str


def figure5() -> dict[str, tuple[Series, ...]]:
    """Run time in cycles of each function over its size, M = 8, or over M."""
    forms = closed_form
    return {
        "reduction over L": _kinds(SIZES, lambda n, ap: forms.reduce(8, n, ap).total),
        "matrix product over j (i = u = 8)": _kinds(
            SIZES, lambda n, ap: forms.matmul(8, 8, n, 8, ap).total
        ),
        "average pooling over S (K = 64)": _kinds(
            SIZES, lambda n, ap: forms.average_pool(8, n, 64, ap).total
        ),
        "max pooling over S (K = 64)": _kinds(
            SIZES, lambda n, ap: forms.max_pool(8, n, 64, ap).total
        ),
        "addition over M": _widths(lambda m: forms.add(m).total),
        "multiplication over M": _widths(lambda m: forms.multiply(m).total),
        "ReLU over M": _widths(lambda m: forms.relu(m).total),
    }


def _kinds(sizes: Sequence[int], total: Callable[[int, str], int]) -> tuple[Series, ...]:
    x = tuple(float(n) for n in sizes)
    return tuple(Series(ap, x, tuple(float(total(n, ap)) for n in sizes)) for ap in KINDS)


def _widths(total: Callable[[int], int]) -> tuple[Series, ...]:
    x = tuple(float(m) for m in WIDTHS)
    return (Series("every kind", x, tuple(float(total(m)) for m in WIDTHS)),)


def figure6() -> dict[str, tuple[Series, ...]]:
    """ReRAM over SRAM for VGG16, energy and latency over the precision."""
    bits = tuple(FIG6_PAPER)
    x = tuple(float(b) for b in bits)

    def ratio(b: int, what: str, preset: str = "") -> float:
        reram = inference("vgg16", b, technology=f"reram{preset}")
        sram = inference("vgg16", b, technology=f"sram{preset}")
        if what == "latency":
            return reram.latency / sram.latency
        return reram.energy.total / sram.energy.total

    energy = (
        Series("paper", x, tuple(FIG6_PAPER.values())),
        Series("model, preset A", x, tuple(ratio(b, "energy") for b in bits)),
        Series("model, preset B", x, tuple(ratio(b, "energy", "-b") for b in bits)),
    )
    latency = (
        Series("paper", x, (1.85,) * len(x)),
        Series("model", x, tuple(ratio(b, "latency") for b in bits)),
    )
    return {"energy": energy, "latency": latency}


def figure7(
    averages: Sequence[float] = AVERAGES, combinations: int = 100, seed: int = 0
) -> dict[tuple[str, str], tuple[Point, ...]]:
    """Energy, latency and efficiency over the average precision, by (network, chip).

    For each average, `combinations` random per-layer widths of 2 to 8 bits have it (to
    one bit over all layers); their means are taken, as the paper does.
    """
    random = Random(seed)
    found = {}
    for name in NETWORKS:
        layers = sum(layer.gemm for layer in cost.network(name).layers)
        mixes = {a: [mix(a, layers, random) for _ in range(combinations)] for a in averages}
        for chip in ("lr", "ir"):
            uniform = Uniform.of(name, chip)
            found[name, chip] = tuple(_mean(uniform, mixes[a]) for a in averages)
    return found


def mix(average: float, layers: int, random: Random) -> list[int]:
    """Random widths of `layers` layers with the given average, each 2 to 8 bits."""
    total = round(average * layers)
    widths = [total // layers + (k < total % layers) for k in range(layers)]
    random.shuffle(widths)
    for _ in range(4 * layers):
        a, b = random.randrange(layers), random.randrange(layers)
        if a != b and widths[a] < MOST_BITS and widths[b] > LEAST_BITS:
            widths[a], widths[b] = widths[a] + 1, widths[b] - 1
    return widths


@dataclass(frozen=True)
class Uniform:
    """Runs with one width everywhere: (joules, cycles) of each layer, by width."""

    run: Inference
    layers: Mapping[int, Sequence[tuple[float, float]]]

    @staticmethod
    def of(network: str, chip: str) -> Uniform:
        """The runs of a bundled network at 2 to 8 bits."""
        runs = {b: inference(network, b, chip) for b in range(LEAST_BITS, MOST_BITS + 1)}
        layers = {b: [(c.joules, c.total_cycles) for c in run.layers] for b, run in runs.items()}
        return Uniform(runs[MOST_BITS], layers)

    def mixed(self, widths: Sequence[int]) -> tuple[float, float]:
        """Joules and seconds with per-layer `widths`.

        A layer costs what it costs in the uniform run of its width, because mapping does
        not depend on precision.  Layers without weights take the width before them.
        """
        joules = cycles = 0.0
        following, bits = iter(widths), widths[0]
        for k, layer in enumerate(self.run.network.layers):
            bits = next(following) if layer.gemm else bits
            joules += self.layers[bits][k][0]
            cycles += self.layers[bits][k][1]
        return joules, cycles / self.run.chip.frequency

    def efficiency(self, joules: float) -> float:
        """GOPS/W/mm^2 where an inference takes `joules`."""
        return self.run.operations / joules / 1e9 / (self.run.area.total * 1e6)


def _mean(uniform: Uniform, mixes: Sequence[Sequence[int]]) -> Point:
    runs = [uniform.mixed(widths) for widths in mixes]
    return Point(
        fmean(fmean(widths) for widths in mixes),
        fmean(joules for joules, _ in runs),
        fmean(seconds for _, seconds in runs),
        fmean(uniform.efficiency(joules) for joules, _ in runs),
    )


def figure8() -> dict[str, dict[str, dict[str, float]]]:
    """Shares of energy by function, and of GEMM latency by part, by network, on LR."""
    gemm = ("populate", "multiply", "reduce", "read_out", "weights", "outputs")
    energy, latency = {}, {}
    for name in NETWORKS:
        run = inference(name)
        energy[name] = _shares(run.energy_by_function())
        cycles = run.cycles_by_part()
        latency[name] = _shares({part: cycles[part] for part in gemm})
    return {"energy": energy, "latency": latency}


def _shares(found: dict[str, float]) -> dict[str, float]:
    total = sum(found.values())
    return {name: part / total for name, part in found.items()}


def figure9() -> dict[str, tuple[float, float]]:
    """(GOPS, GOPS/W) of the peers and of the modelled peaks."""
    return {row.framework: (row.gops, row.gops_per_watt) for row in table8()}


def table7() -> list[BitFluid]:
    """Table VII's modelled columns, a row for each bit-width configuration of ResNet18."""
    int8 = inference("resnet18")
    rows = []
    for name, widths in HAWQ.items():
        run = inference("resnet18", f"hawq-{name}")
        rows.append(
            BitFluid(
                name,
                fmean(widths),
                int8.energy.total / run.energy.total,
                int8.latency / run.latency,
                run.edp,
                run.edp / int8.edp,
            )
        )
    return rows


def table8() -> list[Framework]:
    """Table VIII: the peers as printed, BF-IMNA as modelled."""
    rows = [
        Framework(p.name, p.technology, p.bits, p.gops, p.gops_per_watt, p.note)
        for p in cost.peers()
    ]
    lr, sram = cost.chip("lr"), cost.technology("sram")
    for bits in (1, 8, 16):
        gops, efficiency = peak.peak_gops(bits, lr, sram), peak.peak_gops_per_watt(bits, sram)
        note = f"modelled; implies {gops / efficiency:.1f} W"
        rows.append(Framework(f"BF-IMNA_{bits}b", "CMOS (16nm)", bits, gops, efficiency, note))
    return rows
