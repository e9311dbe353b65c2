"""Networks on chips: mapping, cycles and energies against their stated formulas."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import closed_form, cost
from apsim.cost.energy import layer_energy
from apsim.cost.latency import step_counts
from apsim.cost.mapping import place
from apsim.cost.network import Layer
from apsim.counts import Activity, Counts
from apsim.errors import InputError

EQUATIONS = {"paper": closed_form, "realisable": closed_form.realisable}
LR, IR, SRAM = cost.chip("lr"), cost.chip("ir"), cost.technology("sram")
CHIPS = [LR, IR, cost.chip("bf-imna-lr-realisable")]

convs = st.builds(
    Layer,
    name=st.just("conv"),
    kind=st.sampled_from(["conv", "fc"]),
    groups=st.integers(1, 4),
    i=st.integers(1, 600),
    j=st.integers(1, 30000),
    u=st.integers(1, 5000),
)


@given(convs, st.integers(1, 4))
def test_a_step_never_holds_more_than_its_rows(layer: Layer, batch: int) -> None:
    """0 < utilization <= 1, and segments x rows <= rows of a CAP"""
    for chip in CHIPS:
        placed = place(layer, chip, batch)
        assert 0 < placed.utilization <= 1
        assert placed.segments * placed.segment_rows <= chip.rows
        assert placed.folds * placed.segment_rows >= layer.j


@given(st.builds(Layer, name=st.just("p"), kind=st.just("maxpool"), window=st.integers(2, 200),
                 windows=st.integers(1, 10**6)))  # fmt: skip
def test_pooling_windows_find_their_rows(layer: Layer) -> None:
    for chip in CHIPS:
        placed = place(layer, chip)
        assert placed.steps * placed.caps * placed.segments >= layer.windows
        assert 0 < placed.utilization <= 1


@given(convs.filter(lambda layer: layer.j <= 4800), st.integers(1, 16))
def test_the_parts_of_a_step_add_up_to_the_equation(layer: Layer, bits: int) -> None:
    """populate + multiply + reduce + read_out == matmul(segments x rows)"""
    for chip in CHIPS:
        placed = place(layer, chip)
        forms = EQUATIONS[chip.vertical_add]
        parts = step_counts(layer, (bits, bits), placed, chip, forms)
        assert parts.total == forms.matmul(bits, placed.segments, layer.j, 1, chip.ap)


def test_a_dot_product_longer_than_a_cap_is_folded_and_merged() -> None:
    """j = 25088: 6 folds of 4182 rows, 5 additions more, reads for the full width"""
    layer = Layer("fc", "fc", i=4096, j=25088, u=1)
    placed = place(layer, LR)
    assert (placed.folds, placed.segment_rows) == (6, 4182)
    reduced = step_counts(layer, (8, 8), placed, LR, closed_form).parts
    assert reduced["reduce"] == Counts(4, 4) * (4181 + 5)
    assert reduced["read_out"] == Counts(read=16 + 15)


def test_latencies_of_the_bundled_networks() -> None:
    """8 bits, packed: ms and steps; literal: steps (design, section 6)"""
    expected = {"alexnet": (2.42, 46, 88), "resnet18": (6.77, 120, 519),
                "resnet50": (15.56, 284, 1065), "vgg16": (48.41, 859, 2569)}  # fmt: skip
    literal = replace(LR, columns_per_step="literal")
    for name, (ms, steps, literal_steps) in expected.items():
        found = cost.infer(cost.network(name), LR, SRAM, EQUATIONS)
        assert round(found.latency * 1e3, 2) == ms
        assert found.steps == steps
        other = cost.infer(cost.network(name), literal, SRAM, EQUATIONS)
        assert other.steps == literal_steps
        assert abs(other.latency / found.latency - 1) < 0.06


@given(st.integers(1, 16), st.integers(1, 4000), st.integers(1, 64))
def test_multiply_energy_is_four_compares_and_three_quarters_of_a_write(
    bits: int, j: int, i: int
) -> None:
    """E_mult == m M^2 (4 e4 + 0.75 E_w)"""
    layer = Layer("conv", "conv", i=i, j=j, u=7)
    found = layer_energy(layer, (bits, bits), 4096, LR, SRAM)["multiply"].total
    each = 4 * SRAM.compare_energy(4) + 0.75 * SRAM.cell_write_energy
    assert math.isclose(found, layer.macs * bits**2 * each)


def test_energy_parts_and_functions_have_one_sum() -> None:
    """sum over parts == sum over functions == sum over layers"""
    found = cost.infer(cost.network("resnet50"), LR, SRAM, EQUATIONS)
    assert math.isclose(found.energy.total, sum(found.energy_by_function().values()))
    assert math.isclose(found.energy.total, sum(layer.joules for layer in found.layers))
    assert math.isclose(found.cycles, sum(found.cycles_by_part().values()))


def test_figures_of_merit_follow_from_energy_latency_and_area() -> None:
    found = cost.infer(cost.network("alexnet"), LR, SRAM, EQUATIONS)
    assert math.isclose(found.gops, found.gops_per_watt * found.power)
    assert math.isclose(found.edp, found.energy.total * found.latency)
    assert math.isclose(found.gops_per_watt / found.gops_per_watt_mm2, found.area.total * 1e6)


def test_a_batch_amortizes_weights_in_lr_and_pipelines_in_ir() -> None:
    """LR: T(B) < B T(1) by the weights alone; IR: T(B) == T(1) + (B-1) slowest layer"""
    net = cost.network("alexnet")
    one, many = (cost.infer(net, LR, SRAM, EQUATIONS, batch=b) for b in (1, 8))
    assert many.latency < 8 * one.latency
    assert many.energy.total < 8 * one.energy.total
    first, eight = (cost.infer(net, IR, SRAM, EQUATIONS, batch=b) for b in (1, 8))
    slowest = max(layer.total_cycles for layer in first.layers)
    assert math.isclose(eight.cycles, first.cycles + 7 * slowest)
    assert eight.caps == sum(layer.placed.caps for layer in first.layers) > first.caps


def test_realisable_additions_cost_more_than_the_printed_ones_by_little() -> None:
    """The omitted carry resolution is below 2 % of the latency"""
    net = cost.network("resnet18")
    paper = cost.infer(net, LR, SRAM, EQUATIONS)
    real = cost.infer(net, cost.chip("bf-imna-lr-realisable"), SRAM, EQUATIONS)
    assert paper.cycles != real.cycles
    assert abs(real.cycles / paper.cycles - 1) < 0.2


@pytest.mark.parametrize("ap", ["1d", "2d", "2d-seg", "2d-tc", "2d-seg-tc"])
def test_every_kind_of_ap_can_be_costed(ap: str) -> None:
    chip = replace(cost.chip("bf-imna-lr-realisable"), ap=ap)
    found = cost.infer(cost.network("resnet18"), chip, SRAM, EQUATIONS)
    assert found.energy.total > 0
    assert found.latency > 0


TOO_SMALL = [
    ("alexnet", {"rows": 4}, 8, "pool1: a window of 9 words takes 5 rows; a CAP of"),
    ("alexnet", {}, 9, "conv1: operands and results take 36 columns; a CAP of bf-imna-lr has 32"),
    ("vgg16", {"weight_store_bits": 1e9}, 8, "vgg16: its weights take 1,106,753,024 bits"),
]


@pytest.mark.parametrize(("name", "changes", "bits", "message"), TOO_SMALL)
def test_a_chip_too_small_says_what_it_lacks(
    name: str, changes: dict[str, Any], bits: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        cost.infer(cost.network(name), replace(LR, **changes), SRAM, EQUATIONS, bits=bits)


@given(*[st.integers(0, 10**6)] * 4)
def test_executed_activity_is_charged_line_by_line_and_cell_by_cell(
    compared: int, matched: int, written: int, flipped: int
) -> None:
    """E == kappa C V^2 mismatched + E_w written; cycles == counts x cycles"""
    matched = min(matched, compared)
    activity = Activity(compared, matched, written, min(flipped, written))
    found = cost.estimate(Counts(3, 5, 7), activity, SRAM)
    wanted = (compared - matched) * 1.55 * 50e-15 + written * 0.24e-15
    assert math.isclose(found.energy.total, wanted, abs_tol=1e-30)
    assert found.cycles == 3 + 2 * 5 + 7
    assert (found + found).cycles == 2 * found.cycles
