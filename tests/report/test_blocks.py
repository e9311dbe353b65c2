"""What each block of a transformer took: sums of its layers' parts, and nothing else."""

from __future__ import annotations

import pytest

from apsim import nn
from apsim.counts import Activity, Counts
from apsim.nn import runtime
from apsim.nn.on_ap.chip import Chip
from apsim.nn.runtime import Run
from apsim.report.run.blocks import block_lines, blocks_of
from apsim.report.run.tables import run_json, run_lines
from tests.helpers.networks import integers_in, small_network


def run_of(requant: str, kind: str = "2d-seg") -> Run:
    model = nn.load("digits-vit")
    chip = Chip.preset("bf-imna-lr", ap=kind, requant=requant)
    return runtime.run(model, integers_in(model.tensors[model.input], 1, 0), chip)


@pytest.mark.parametrize("requant", ["host", "ap"])
def test_blocks_are_all_that_ran(requant: str) -> None:
    """counts, activity and operations of all blocks == those of the run"""
    run = run_of(requant)
    blocks = blocks_of(run.layers, 1)
    assert sum((one.counts for one in blocks), Counts()) == run.counts == run.chip.counts
    assert sum((one.activity for one in blocks), Activity()) == run.chip.activity
    names = {"linear", "normalize", "matmul", "softmax", "add", "table", "sum"}
    assert {one.name for one in blocks} == names | (
        {"requantization"} if requant == "ap" else set()
    )
    macs = sum(one.operations for one in blocks if one.name in ("linear", "matmul"))
    assert macs == sum(layer.macs for layer in run.layers) == 297_280
    assert run_json(run)["totals"]["blocks"].keys() == {one.name for one in blocks}


def test_moves_of_softmax_and_norms_are_told_apart() -> None:
    """2 (G (T - 1)) cycles a tree on the plain array, a broadcast for each group; 16 tokens"""
    moved = {one.name: one.moved.total for one in blocks_of(run_of("host", "1d").layers, 1)}
    softmax, norms = 4, 5
    assert moved["softmax"] == softmax * 16 * (2 * 2 * 15 + 2 * 2)
    assert moved["normalize"] == norms * 16 * (2 * 2 * 31 + 2 * 2)
    assert not any(moved[name] for name in moved.keys() - {"softmax", "normalize"})


def test_the_report_says_what_products_are_of_all() -> None:
    run = run_of("host")
    lines = block_lines(run.layers, 1)
    assert all(line in run_lines(run) for line in lines)
    assert lines[1].startswith("  linear: ")
    assert lines[-1].startswith("products of matrices: 97.47% of the operations on the AP, ")


def test_a_network_without_softmax_or_norm_has_no_such_lines() -> None:
    model = small_network()
    run = runtime.run(model, integers_in(model.tensors["x"], 1, 0), Chip.preset("bf-imna-lr"))
    assert block_lines(run.layers, 1) == []


def test_terms_that_only_the_count_tests_are_marked_in_a_run() -> None:
    """Of weights in the program as of softmax and norms: the paper has no equation for either"""
    model = nn.load("digits-vit")
    x = integers_in(model.tensors[model.input], 1, 0)
    run = runtime.run(model, x, Chip.preset("bf-imna-lr", ap="1d", mapping="weights"))
    (line,) = [line for line in run_lines(run) if line.startswith("cycles = paper")]
    named = [one.split()[0] for one in line.split(": ")[1].split(", ")]
    assert {"digits*", "ripple*", "stopped*", "normalization*", "broadcast*"} <= set(named)
    assert [name for name in named if not name.endswith("*")] == ["division"]
