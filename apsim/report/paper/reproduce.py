"""The model's value for every published number of BF-IMNA.

The rule: each function computes from the tables and the model, and knows no published
value; `published` holds those, and a test sees that every row has its function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from math import log10
from statistics import fmean

from apsim import cost
from apsim.closed_form import tables
from apsim.cost import peak
from apsim.cost.circuit import circuit_compare_energy
from apsim.cost.inference import Inference
from apsim.cost.precision import HAWQ
from apsim.functions.table import EQUATIONS
from apsim.report.paper.published import Reproduced, judge, published

__all__ = ["NETWORKS", "inference", "reproduce"]

NETWORKS = ("alexnet", "resnet50", "vgg16")
EDP_INT8 = 1.91  # J s, Table VII: the scale of the other rows of that column
Value = Callable[[], float | bool]


@cache
def inference(
    network: str,
    bits: int | str = 8,
    chip: str = "lr",
    technology: str = "sram",
    volts: float = 1.0,
    mult_latency: str = "eq2",
) -> Inference:
    """A bundled network on a bundled chip, by names; remembered, for many rows share one."""
    return cost.infer(
        cost.network(network),
        replace(cost.chip(chip), mult_latency=mult_latency),
        cost.technology(technology).at_write_voltage(volts),
        EQUATIONS,
        bits=bits,
    )


def reproduce() -> dict[str, Reproduced]:
    """Every published row beside the model's value, by id, in the order of the data."""
    return {row.id: judge(row, VALUES[row.id]()) for row in published()}


def _joules(network: str, bits: int | str = 8, **where: str) -> float:
    return inference(network, bits, **where).energy.total


def _cells(agree: Callable[[str, str], bool]) -> float:
    return sum(agree(function, kind) for function in tables.FUNCTIONS for kind in tables.KINDS)


def _table1_cell(function: str, kind: str) -> bool:
    derived = tables.derive(function, kind)
    points = [(m, q, r) for m in (1, 2, 4, 8, 16) for q in (1, 3, 6, 12) for r in (1, 7)]
    return all(tables.printed_total(function, kind, *p) == derived(*p) for p in points)


def _peak(bits: int) -> float:
    return peak.peak_gops(bits, cost.chip("lr"), cost.technology("sram"))


def _efficiency(bits: int, technology: str = "sram") -> float:
    return peak.peak_gops_per_watt(bits, cost.technology(technology))


def _peer(name: str) -> cost.Peer:
    return next(peer for peer in cost.peers() if peer.name == name)


def _ratio(network: str, bits: int, preset: str = "") -> float:
    """ReRAM over SRAM in energy."""
    reram = _joules(network, bits, technology=f"reram{preset}")
    return reram / _joules(network, bits, technology=f"sram{preset}")


def _bit_fluid(budget: str, what: str, mult_latency: str = "eq2") -> float:
    """INT8 over a HAWQ-V3 budget on ResNet18, in energy or latency."""
    runs = [
        inference("resnet18", bits, mult_latency=mult_latency) for bits in (8, f"hawq-{budget}")
    ]
    first, second = (run.latency if what == "latency" else run.energy.total for run in runs)
    return first / second


def _edp(budget: str) -> float:
    return EDP_INT8 / _bit_fluid(budget, "energy") / _bit_fluid(budget, "latency")


def _saving(network: str, bits: int) -> float:
    """Energy saved by writing at 0.5 V, in %."""
    scaled = inference(network, bits, volts=0.5).energy.total
    return 100 * (1 - scaled / _joules(network, bits))


def _lr_over_ir(network: str) -> float:
    return inference(network).latency / inference(network, chip="ir").latency


def _falling(values: list[float]) -> bool:
    return all(a > b for a, b in pairwise(values))


def _energy_grows() -> bool:
    return all(
        _falling([_joules(net, bits, chip=chip) for bits in range(8, 1, -1)])
        for net in NETWORKS
        for chip in ("lr", "ir")
    )


def _flat_latency() -> bool:
    return all(
        inference(net, 8, chip).latency < 1.05 * inference(net, 2, chip).latency
        for net in NETWORKS
        for chip in ("lr", "ir")
    )


def _spread() -> float:
    """Largest relative difference of GOPS/W/mm^2 between two networks on LR, in %."""
    worst = 0.0
    for bits in range(2, 9):
        values = [inference(net, bits).gops_per_watt_mm2 for net in NETWORKS]
        worst = max(worst, 100 * (max(values) / min(values) - 1))
    return worst


def _share(found: Mapping[str, float], *names: str) -> float:
    return sum(found[name] for name in names) / sum(found.values())


def _reduction_dominates() -> bool:
    gemm = ("populate", "multiply", "reduce", "read_out", "weights", "outputs")
    shares = []
    for net in NETWORKS:
        parts = inference(net).cycles_by_part()
        shares.append(_share({name: parts[name] for name in gemm}, "reduce"))
    return min(shares) > 0.96


def _gemm_dominates() -> bool:
    gemm = ("populate", "multiply", "reduce", "read_out")
    return all(_share(inference(n).energy_by_function(), *gemm) > 0.9 for n in NETWORKS)


def _pooling() -> float:
    return max(100 * _share(inference(n).energy_by_function(), "pool") for n in NETWORKS)


def _similar_compare() -> bool:
    ratios = [
        circuit_compare_energy(cost.technology("reram"), cells)
        / circuit_compare_energy(cost.technology("sram"), cells)
        for cells in range(1, 5)
    ]
    return all(abs(ratio - 1) < 0.03 for ratio in ratios)


def _area(technology: str = "sram") -> cost.Area:
    return cost.chip_area(cost.chip("lr"), cost.technology(technology))


def _scaling(what: Callable[[Inference], float]) -> float:
    return what(inference("resnet50")) / what(inference("alexnet"))


def _penalty() -> float:
    return max(
        log10(inference(n).gops_per_watt_mm2 / inference(n, chip="ir").gops_per_watt_mm2)
        for n in NETWORKS
    )


def _ir_gap() -> float:
    return max(_joules(n, chip="ir") - _joules(n) for n in NETWORKS)


def _mac_energy_ratio() -> float:
    run = inference("resnet50")
    each = run.energy.total / run.network.macs
    return each / peak.peak_mac_energy(8, cost.technology("sram"))


VALUES: dict[str, Value] = {
    "table1": lambda: _cells(_table1_cell),
    "table2": lambda: _cells(lambda f, k: tables.printed_growth(f, k) == tables.growth(f, k)),
    "isaac_gops": lambda: _peak(16) / _peer("ISAAC").gops,
    "isaac_efficiency": lambda: _peer("ISAAC").gops_per_watt / _efficiency(16),
    "pipelayer_gops": lambda: _peer("PipeLayer").gops / _peak(16),
    "pipelayer_efficiency": lambda: _efficiency(16) / _peer("PipeLayer").gops_per_watt,
    "puma_gops": lambda: _peer("PUMA").gops / _peak(16),
    "puma_efficiency": lambda: _peer("PUMA").gops_per_watt / _efficiency(16),
    "macs_alexnet": lambda: cost.network("alexnet").macs / 1e9,
    "macs_vgg16": lambda: cost.network("vgg16").macs / 1e9,
    "macs_resnet50": lambda: cost.network("resnet50").macs / 1e9,
    "area": lambda: _area().total * 1e6,
    "energy_resnet50_8": lambda: _joules("resnet50"),
    "energy_resnet50_2": lambda: _joules("resnet50", 2),
    "energy_resnet50_ratio": lambda: _joules("resnet50") / _joules("resnet50", 2),
    "efficiency_area": lambda: _efficiency(8) / (_area().arrays * 1e6),
    "voltage": lambda: max(_saving(n, bits) for n in NETWORKS for bits in (2, 8)),
    "order_energy": lambda: _falling([_joules(n) for n in ("vgg16", "resnet50", "alexnet")]),
    "spread": _spread,
    "order_precision": _energy_grows,
    "flat_latency": _flat_latency,
    "lr_ir_efficiency": lambda: _penalty() > 0,
    "reduction": _reduction_dominates,
    "gemm": _gemm_dominates,
    "similar_compare": _similar_compare,
    "reram_latency": lambda: (
        inference("vgg16", technology="reram").latency / inference("vgg16").latency
    ),
    "lr_ir_alexnet": lambda: _lr_over_ir("alexnet"),
    "reram_area": lambda: _area().total / _area("reram").total,
    "lr_ir_resnet50": lambda: _lr_over_ir("resnet50"),
    "lr_ir_vgg16": lambda: _lr_over_ir("vgg16"),
    "order_latency": lambda: inference("resnet50").latency / inference("vgg16").latency,
    "edp_absolute": lambda: inference("resnet18").edp,
    "gops_scaling": lambda: _scaling(lambda run: run.gops),
    "power_scaling": lambda: _scaling(lambda run: run.power),
    "ir_penalty": _penalty,
    "pooling": _pooling,
    "ir_lr_energy": _ir_gap,
    "area_efficiency": lambda: _efficiency(8) / (_area().total * 1e6),
    "one_energy": _mac_energy_ratio,
}
for _bits in (1, 8, 16):
    VALUES[f"gops_{_bits}"] = partial(_peak, _bits)
    VALUES[f"efficiency_{_bits}"] = partial(_efficiency, _bits)
    VALUES[f"efficiency_uncalibrated_{_bits}"] = partial(
        _efficiency, _bits, "first-principles-16nm"
    )
for _bits in range(2, 9):
    VALUES[f"fig6_{_bits}"] = partial(_ratio, "vgg16", _bits)
    VALUES[f"fig6b_{_bits}"] = partial(_ratio, "vgg16", _bits, "-b")
for _name, _widths in HAWQ.items():
    VALUES[f"bits_{_name}"] = partial(fmean, _widths)
    VALUES[f"t7_energy_{_name}"] = partial(_bit_fluid, _name, "energy")
    VALUES[f"t7_latency_{_name}"] = partial(_bit_fluid, _name, "latency")
    VALUES[f"t7_latency_peak_{_name}"] = partial(_bit_fluid, _name, "latency", "peak")
    VALUES[f"t7_edp_{_name}"] = partial(_edp, _name)
