"""Each single term of the energy and mesh formulas, by layers worked out by hand.

Energy is linear in the technology's prices, so that with one price 1 and the others 0 a layer
costs how often it pays that price: a whole number, to be counted on paper.

The layer of products: 2 groups of 3 x 5 by 5 x 4, words of 6 and weights of 3 bits, 2 images:
240 products of 18 bit pairs, 9 bits wide; 48 outputs of 12 bits; 192 additions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest

from apsim import cost
from apsim.cost.energy import layer_energy
from apsim.cost.latency import transfer_cycles
from apsim.cost.network import Layer

LR = cost.chip("lr")
REAL = replace(LR, vertical_add="realisable")
PRODUCTS = Layer("conv", "conv", groups=2, i=3, j=5, u=4, relu=True)
LONE = replace(PRODUCTS, j=1, relu=False)
POOL = Layer("pool", "maxpool", window=5, windows=7)
ADD = Layer("add", "add", window=2, windows=7)
PRICES = ("e4", "e3", "e2", "w", "r")  # compares of 4, 3 and 2 cells, a cell written, a cell read
CELLS = {4: "e4", 3: "e3", 2: "e2"}


@dataclass(frozen=True)
class Price:
    """A technology in which one thing costs 1 J and all others nothing."""

    of: str
    cell_writes_per_bit_pair: float = 0.75
    cell_writes_per_vertical_add: float = 1.25

    def compare_energy(self, cells: int) -> float:
        return float(CELLS[cells] == self.of)

    @property
    def cell_write_energy(self) -> float:
        return float(self.of == "w")

    @property
    def read_energy(self) -> float:
        return float(self.of == "r")


def paid(layer: Layer, chip: cost.Chip = LR, **options: Any) -> dict[str, dict[str, float]]:
    """How often each function of a layer pays each price; batch 2, 6 and 3 bits, 4096 CAPs."""
    found: dict[str, dict[str, float]] = {}
    for price in PRICES:
        technology: Any = Price(price)
        energies = layer_energy(layer, (6, 3), 4096, chip, technology, 2, **options)
        for function, energy in energies.items():
            total = energy.total - energy.mesh
            if total:
                found.setdefault(function, {})[price] = total
    return found


def test_a_product_pays_its_words_its_passes_its_additions_and_its_reads() -> None:
    """Every coefficient of a layer of products under the printed additions, ReLU included"""
    assert paid(PRODUCTS) == {
        "populate": {"w": 240 * 9},
        "multiply": {"e4": 4 * 240 * 18, "w": 0.75 * 240 * 18},
        "reduce": {"e3": 4 * 192 * 9, "w": 1.25 * 192},
        "read_out": {"r": 48 * 12},
        "reshape": {"r": 48 * 6 * 2, "w": 48 * 6},  # read, written elsewhere, read again
        "relu": {"e2": 48 * 5, "w": 48 * (8 + 5 / 4), "r": 48 * 7},
    }


@pytest.mark.parametrize(
    ("ap", "wanted"),
    [
        ("2d-tc", {"e3": 4 * 192 * 9, "w": 1.25 * 192}),
        ("2d-seg-tc", {"e3": 4 * 192 * 9, "w": 1.25 * 192}),
        # A tree of 5 words: 9 + 9, then 10, then 11 bit pairs, and each addend moved.
        ("1d", {"e3": 4 * 48 * 39, "w": 0.75 * 48 * 39 + 192 * 9, "r": 192 * 9}),
        # Three passes a compressor, a move of each carry, 11 bits of carries resolved at the end.
        ("2d", {
            "e3": 3 * 192 * 9 + 4 * 48 * 11,
            "w": 0.75 * 192 * 9 + 192 * 9 + 0.75 * 48 * 11,
            "r": 192 * 9,
        }),
        ("2d-seg", {
            "e3": 2 * 3 * 192 * 9 + 4 * 48 * 11,
            "w": 2 * 0.75 * 192 * 9 + 192 * 9 + 0.75 * 48 * 11,
            "r": 192 * 9,
        }),
    ],
)  # fmt: skip
def test_a_reduction_pays_what_its_kind_really_adds(ap: str, wanted: dict[str, float]) -> None:
    assert paid(PRODUCTS, replace(REAL, ap=ap))["reduce"] == wanted


@pytest.mark.parametrize("ap", ["1d", "2d", "2d-seg", "2d-tc"])
def test_a_lone_product_is_not_reduced(ap: str) -> None:
    """j = 1: nothing is added, nothing resolved; 48 words of 9 bits are read"""
    found = paid(LONE, replace(REAL, ap=ap))
    assert "reduce" not in found
    assert found["read_out"] == {"r": 48 * 9}


def test_a_pool_pays_its_words_its_pairs_its_rows_and_its_reads() -> None:
    """14 windows of 5 words: 3 rows of two words, 2 pairs, 2 row additions, 6 bits each"""
    assert paid(POOL) == {
        "pool": {
            "e3": 4 * 14 * 2 * 6 + 4 * 14 * 2 * 6,
            "w": 14 * 3 * 12 + 0.75 * 14 * 2 * 6 + 1.25 * 14 * 2,
            "r": 14 * 6,
        }
    }


def test_an_addition_pays_two_words_its_passes_and_a_read_of_one_bit_more() -> None:
    assert paid(ADD) == {"add": {"e3": 4 * 14 * 6, "w": 14 * 12 + 0.75 * 14 * 6, "r": 14 * 7}}


def test_given_cell_writes_replace_those_of_the_multiply_alone() -> None:
    """write == pairs x cells(6, 3); compares and every other function as before"""
    found = paid(PRODUCTS, cell_writes=lambda a, w: a + w / 100)
    assert found["multiply"] == {"e4": 4 * 240 * 18, "w": 240 * 18 * 6.03}
    assert found | {"multiply": {}} == paid(PRODUCTS) | {"multiply": {}}


@pytest.mark.parametrize(
    ("chip", "caps", "bits", "stretched"),
    [
        # inputs 2 x 5 x 8 words of 6 bits, 30 weights of 3 bits to 8 columns, 48 words twice
        (LR, 4096, 480 + 8 * 90 + 2 * 288, 1.0),
        (replace(LR, clusters=4), 4096, 480 + 4 * 90 + 2 * 288, 1.0),
        (cost.chip("ir"), 4 * 4096, 480 + 2 * 288, 2.0),  # weights are there; twice the side
    ],
)
def test_the_mesh_carries_inputs_weights_and_outputs_there_and_back(
    chip: cost.Chip, caps: int, bits: int, stretched: float
) -> None:
    """mesh == bits x hops x hop length x sqrt(CAPs / 4096, IR) x energy of a wire"""
    technology: Any = Price("w")
    found = layer_energy(PRODUCTS, (6, 3), caps, chip, technology, 2)["mesh"]
    wanted = bits * chip.hops * chip.hop_length * stretched * chip.wire_energy
    assert math.isclose(found.mesh, wanted)
    assert found.total == found.mesh


@pytest.mark.parametrize(("chip", "copies"), [("lr", 4), ("ir", 1)])
def test_the_other_matrix_of_a_matmul_goes_to_the_columns_of_its_image(
    chip: str, copies: int
) -> None:
    """LR: 60 words of 3 bits to the 4 columns of u, not to the 8 of two images; IR: once"""
    technology: Any = Price("w")
    one, layer = cost.chip(chip), replace(PRODUCTS, kind="matmul")
    found = layer_energy(layer, (6, 3), 4096, one, technology, 2)["mesh"]
    wanted = (480 + 60 * 3 * copies + 2 * 288) * one.hops * one.hop_length * one.wire_energy
    assert math.isclose(found.mesh, wanted)


def test_only_products_use_the_mesh() -> None:
    for layer in (POOL, ADD):
        technology: Any = Price("w")
        energies = layer_energy(layer, (6, 3), 4096, LR, technology, 2)
        assert sum(energy.mesh + energy.reshape for energy in energies.values()) == 0


@pytest.mark.parametrize(
    ("chip", "kind", "weights", "outputs"),
    [
        (LR, "conv", 30.0, 2 * 48 / 64),
        (LR, "fc", 30 / 64, 2 * 48 / 64),  # an fc layer has a link to each cluster
        (replace(LR, clusters=4), "conv", 30.0, 2 * 48 / 4),
        (replace(LR, resources="infinite"), "conv", 0.0, 2 * 48 / 64),
    ],
)
def test_transfers_take_the_cycles_of_their_words(
    chip: cost.Chip, kind: str, weights: float, outputs: float
) -> None:
    """words x lane bits / link bits x f / f(mesh); outputs go out and come back on all links"""
    word = chip.lane_bits / chip.link_bits * chip.frequency / chip.mesh_frequency
    found = transfer_cycles(replace(PRODUCTS, kind=kind), chip, 2)
    assert math.isclose(found["weights"], weights * word)
    assert math.isclose(found["outputs"], outputs * word)
