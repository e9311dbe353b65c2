"""The averages of the cost model against executed passes on random data."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from apsim import cost, functions
from apsim.cost.energy import layer_energy
from apsim.errors import InputError
from apsim.functions.table import EQUATIONS
from apsim.report.paper.cell_writes import CELL_WRITES, changed, driven

SRAM, LR = cost.technology("sram"), cost.chip("lr")
REALISABLE = cost.chip("bf-imna-lr-realisable")
ON_CAPS = ("populate", "multiply", "reduce", "read_out")

# Executed energy over that of `vertical_add = realisable`: 4 dot products of 64 terms, on
# arrays of just their rows.  The averages charge the lines that hold data; an array charges
# all: words that are added up already, and columns that no addition touches.
IDLE_LINES = {
    (8, "1d"): 2.21, (8, "2d"): 1.63, (8, "2d-seg"): 1.58, (8, "2d-tc"): 1.29,
    (8, "2d-seg-tc"): 1.29, (4, "1d"): 3.32, (4, "2d"): 2.51, (4, "2d-seg"): 2.36,
    (4, "2d-tc"): 1.68, (4, "2d-seg-tc"): 1.68,
}  # fmt: skip


def executed(bits: int, kind: str, groups: int = 4, terms: int = 64) -> cost.Energy:
    """Energy of dot products of random words, executed."""
    function = functions.dot_products(bits, groups, terms, kind=kind)
    a, b = np.random.default_rng(bits).integers(0, 2**bits, (2, groups, terms))
    done = functions.run(function, a, b)
    return cost.estimate(done.counts, done.activity, SRAM).energy


def averages(bits: int, kind: str, groups: int = 4, terms: int = 64) -> dict[str, cost.Energy]:
    layer = cost.Layer("dot", "conv", i=groups, j=terms, u=1)
    return dict(layer_energy(layer, (bits, bits), 4096, replace(REALISABLE, ap=kind), SRAM))


@pytest.mark.parametrize(("bits", "kind"), IDLE_LINES)
def test_executed_energy_is_the_realisable_average_and_its_idle_lines(bits: int, kind: str) -> None:
    """|executed / averages - stated ratio| <= 5 % of it, on every kind"""
    energy = averages(bits, kind)
    ratio = executed(bits, kind).total / sum(energy[name].total for name in ON_CAPS)
    assert math.isclose(ratio, IDLE_LINES[bits, kind], rel_tol=0.05)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_multiply_takes_its_average(bits: int) -> None:
    """executed compares of M^2 bit pairs == 4 M^2 e4, within 3 %; no line of it is idle"""
    function = functions.multiply(bits, 2000)
    a, b = np.random.default_rng(bits).integers(0, 2**bits, (2, 2000))
    done = functions.run(function, a, b)
    energy = cost.estimate(done.counts, done.activity, SRAM).energy
    wanted = 2000 * bits**2 * 4 * SRAM.compare_energy(4)
    assert math.isclose(energy.compare, wanted, rel_tol=0.03)


def test_a_multiply_changes_fewer_cells_than_the_average_of_the_adder() -> None:
    """Cells for each bit pair over all operands: 1/4, 1/4, 9/32, 0.319, and 0.345 at 16 bits"""
    assert [changed(bits, bits) for bits in (1, 2, 4)] == [1 / 4, 1 / 4, 9 / 32]
    assert [round(changed(bits, bits), 3) for bits in (8, 16)] == [0.319, 0.345]
    for bits in (1, 2, 4, 8):
        assert changed(bits, bits) <= driven(bits, bits) <= 2 * changed(bits, bits) < 0.75


@pytest.mark.parametrize(("a", "b"), [(1, 3), (3, 1), (4, 2), (5, 5)])
def test_changed_cells_are_those_of_shifted_additions(a: int, b: int) -> None:
    """flips == popcounts of what each gated addition changes in product and carry columns"""
    flips = 0
    for x in range(1 << a):
        for y in range(1 << b):
            flips += _flips(x, y, a, b)
    assert changed(a, b) == flips / ((1 << (a + b)) * a * b)


def _flips(x: int, y: int, a: int, b: int) -> int:
    """Cells that change while x is added at each place where y holds a 1, bit by bit."""
    product, flips = [0] * (a + b), 0
    for j in range(b):
        for i in range(a if y >> j & 1 else 0):
            place, carry = i + j, j + a
            total = (x >> i & 1) + product[place] + product[carry]
            for column, bit in ((place, total & 1), (carry, total >> 1)):
                flips += product[column] != bit
                product[column] = bit
    return flips


def test_cell_writes_of_a_chip_choose_what_a_multiply_writes() -> None:
    """write energy of the multiplies: paper 0.75, driven and exact as executed"""
    net, reram = cost.network("alexnet"), cost.technology("reram")
    writes = {}
    for name in ("paper", "exact", "driven"):
        chip = replace(LR, cell_writes=name)
        found = cost.infer(net, chip, reram, EQUATIONS, cell_writes=CELL_WRITES)
        writes[name] = sum(layer.energy["multiply"].write for layer in found.layers
                           if layer.layer.gemm)  # fmt: skip
    each = net.macs * 64 * reram.cell_write_energy
    assert math.isclose(writes["paper"], 0.75 * each)
    assert math.isclose(writes["exact"], changed(8, 8) * each)
    assert math.isclose(writes["driven"], driven(8, 8) * each)


def test_cell_writes_that_nobody_gave_are_refused() -> None:
    chip = replace(LR, cell_writes="exact")
    with pytest.raises(InputError, match="cell_writes 'exact': no such averages were given"):
        cost.infer(cost.network("alexnet"), chip, SRAM, EQUATIONS)
