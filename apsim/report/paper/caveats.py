"""What no simulator says of itself: physical limits behind the reproduced numbers.

The rule: every number in a caveat is computed here and now.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from apsim import closed_form, cost, functions
from apsim.cost import peak
from apsim.cost.circuit import sense_window
from apsim.cost.energy import layer_energy
from apsim.cost.mapping import place
from apsim.report.paper.reproduce import inference

__all__ = ["Caveat", "Reading", "caveats", "readings"]


@dataclass(frozen=True)
class Caveat:
    """A limit: what it is about, and what the numbers say."""

    about: str
    text: str


@dataclass(frozen=True)
class Reading:
    """An inconsistency of the paper and the reading that was taken."""

    where: str
    problem: str
    taken: str


def readings() -> tuple[Reading, ...]:
    """The inconsistencies of the paper, in the order of the data file."""
    table = tomllib.loads(files("apsim.report.paper").joinpath("readings.toml").read_text())
    return tuple(Reading(**row) for row in table["reading"])


def caveats() -> tuple[Caveat, ...]:
    """The physical caveats, with their numbers computed."""
    return (
        _power(),
        _columns(),
        _rows(),
        _throughput(),
        _carries(),
        _idle_lines(),
        _timing(),
        _cooling_area(),
        _scope(),
    )


def _power() -> Caveat:
    lr, sram = cost.chip("lr"), cost.technology("sram")
    watts = [peak.peak_power(bits, lr, sram) for bits in (1, 8, 16)]
    density = watts[1] / (cost.chip_area(lr, sram).total * 1e6)
    return Caveat(
        "Peak power",
        "Table VIII implies {:.0f}, {:.0f} and {:.0f} W at 1, 8 and 16 bits. At 8 bits that is "
        "{:.2f} W/mm^2 over the whole chip, more than air cooling takes away.".format(
            *watts, density
        ),
    )


def _columns() -> Caveat:
    lr = cost.chip("lr")
    product = 2 * (8 + 8)
    matmul = 2 * (16 + 6) + 1
    return Caveat(
        "Columns",
        f"A CAP has {lr.columns} columns, two 8-bit operands. A product beside its operands takes "
        f"{product} columns, a matrix product with 64 terms {matmul} with its carries. Table V's "
        "columns are operand columns here; at 16 bits not even the operands fit.",
    )


def _rows() -> Caveat:
    lr = cost.chip("lr")
    layer = next(one for one in cost.network("alexnet").layers if one.name == "conv2")
    placed = place(layer, lr)
    used = placed.segments * placed.segment_rows
    return Caveat(
        "Rows",
        f"{placed.segments} dot products of AlexNet's conv2 take {used} of a CAP's {lr.rows} rows; "
        "vertical additions need one more, for carries. A run on a CAP of that size holds "
        f"{(lr.rows - 1) // placed.segment_rows}.",
    )


def _throughput() -> Caveat:
    lr, sram = cost.chip("lr"), cost.technology("sram")
    best = peak.peak_gops(8, lr, sram)
    kept = peak.sustained_gops(8, lr, sram, closed_form)
    run = inference("resnet50")
    return Caveat(
        "Throughput with reduction",
        f"The peak of {best:,.0f} GOPS leaves the reduction out. With Eq. (7) in it a full CAP "
        f"step sustains {kept:,.0f} GOPS, {best / kept:.0f} times less; ResNet50 on the whole "
        f"chip reaches {run.gops:,.0f} GOPS and {run.gops_per_watt:.0f} GOPS/W.",
    )


def _carries() -> Caveat:
    paper = closed_form.matmul(8, 1, 64, 1, "2d").total
    real = closed_form.realisable.matmul(8, 1, 64, 1, "2d").total
    chain = closed_form.realisable.matmul(8, 1, 64, 1, "2d-tc").total
    return Caveat(
        "Vertical additions",
        f"Eq. (7) gives {paper} operations for a dot product of 64 terms; a run with correct sums "
        f"takes {real} on the paper's hardware, and {chain} with a carry chain across the column "
        "tags, which the paper does not have and whose delay must fit the clock.",
    )


def _idle_lines() -> Caveat:
    chip, sram = cost.chip("bf-imna-lr-realisable"), cost.technology("sram")
    a, b = np.random.default_rng(0).integers(0, 1 << 8, (2, 4, 64))
    done = functions.run(functions.dot_products(8, 4, 64, kind=chip.ap), a, b, engine="dense")
    executed = cost.estimate(done.counts, done.activity, sram).energy.total
    layer = cost.Layer("dot products", "conv", i=4, j=64, u=1)
    energy = dict(layer_energy(layer, (8, 8), chip.caps, chip, sram))
    averages = sum(energy[name].total for name in energy if name not in ("mesh", "reshape"))
    return Caveat(
        "Idle lines",
        "The averages charge rows that hold data. An array charges all: in 4 dot products of 64 "
        "random terms, words that are added up already and columns outside an addition raise "
        f"the executed energy to {executed / averages:.2f} times the average for the same counts.",
    )


def _timing() -> Caveat:
    windows = [sense_window(cost.technology(name), 3) * 1e9 for name in ("sram", "reram")]
    return Caveat(
        "Compare in one cycle",
        "With Table VI's resistances and capacitance a compare of 3 cells is best sensed after "
        "{:.1f} ns in SRAM and {:.1f} ns in ReRAM; the clock leaves 1 ns.".format(*windows),
    )


def _cooling_area() -> Caveat:
    ir = inference("vgg16", chip="ir")
    return Caveat(
        "Infinite resources",
        f"Unrolling VGG16's largest layer takes {ir.caps:,} CAPs, {ir.area.total * 1e4:,.0f} cm^2 "
        "of silicon at the calibrated cell area. It is a bound, not a chip.",
    )


def _scope() -> Caveat:
    return Caveat(
        "What is left out",
        "Host, off-chip memory, im2col, controllers, clock and leakage are in neither the paper's "
        "numbers nor in these. Energies assume random bits; `apsim cost RUN.json` takes the "
        "activity of an executed run.",
    )
