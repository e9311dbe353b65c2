"""`array="cap"`: a CAP in use takes the same passes, with all its rows and on what was left there.

The oracle is the definition: a machine of the CAP's rows that nobody clears.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from apsim import functions, nn
from apsim.ap_kind import ApKind
from apsim.cli import main
from apsim.counts import Activity
from apsim.errors import InputError
from apsim.functions import Function, macro
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.nn.on_ap.chip import Chip
from apsim.nn.zoo import sources
from tests.helpers import networks

ROWS = 64
SUMS = macro.dot_products(4, 3, 5, words="u", words_b="s", clear=True)
ADD = functions.add(4, 9)


def operands(function: Function, seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    shape = (3, 5) if function is SUMS else (9,)
    low, high = (-8, 8) if function is SUMS else (0, 16)
    return rng.integers(0, 8, shape), rng.integers(low if function is SUMS else 0, high, shape)


@pytest.mark.parametrize("engine", ["dense", "fused"])
def test_loads_do_to_a_cap_what_they_do_to_a_machine_that_nobody_clears(engine: str) -> None:
    """activity(chip) == activity(dense machine of 64 rows, load after load); so are values"""
    chip = Chip.preset("lr", rows=ROWS, engine=engine, array="cap")
    machine = Machine(ROWS, Layout.of(*SUMS.layout.values(), overlap=True), engine="dense")
    total = Activity()
    for seed in range(4):
        given = operands(SUMS, seed)
        done = functions.run(SUMS, *given, machine=machine)
        total += done.activity
        found = SUMS.results(chip.execute(SUMS, SUMS.words(*given))[None])
        np.testing.assert_array_equal(found, (given[0] * given[1]).sum(axis=1))
        assert chip.activity == total
        assert chip.counts == SUMS.program.counts() * (seed + 1)


def test_cells_stay_from_one_function_to_the_next() -> None:
    """What a load leaves in columns that the next does not have is there for the one after."""
    chip = Chip.preset("lr", rows=ROWS, array="cap")
    narrow = functions.add(2, 9)
    chip.execute(ADD, ADD.words(*operands(ADD, 0)))
    left = chip.used.array(ADD.columns).peek()
    chip.execute(narrow, narrow.words(np.ones(9, int), np.ones(9, int)))
    after = chip.used.array(ADD.columns).peek()
    np.testing.assert_array_equal(after[:, narrow.columns :], left[:, narrow.columns :])
    assert left[:, narrow.columns :].any()


@pytest.mark.parametrize("kind", [kind.value for kind in ApKind])
@pytest.mark.parametrize("requant", ["host", "ap"])
def test_a_network_is_exact_on_any_cells_and_takes_the_same_counts(kind: str, requant: str) -> None:
    """bit-exact, counts == those of zeroed arrays, from random cells; idle rows compare as well"""
    model = networks.small_network()
    x = networks.integers_in(model.tensors[model.input], 2, seed=3)
    plain = nn.Chip.preset("lr", ap=kind, rows=200, requant=requant)
    used = nn.Chip.preset("lr", ap=kind, rows=200, requant=requant, array="cap")
    used.used.cells = np.random.default_rng(1).random((200, 160)) < 0.5
    one, other = nn.run(model, x, plain), nn.run(model, x, used)
    assert one.passed and other.passed
    assert used.counts == plain.counts and used.loads == plain.loads
    assert [layer.counts for layer in one.layers] == [layer.counts for layer in other.layers]
    assert used.activity.compared > plain.activity.compared
    assert used.activity.written > plain.activity.written


def test_a_transformer_is_exact_on_any_cells() -> None:
    """products of data, softmax and norms as passes: counts are those of zeroed arrays"""
    model = sources.model("digits-vit")
    x, _ = sources.inputs(model, 1, None)
    plain = nn.Chip.preset("lr", engine="fused")
    used = nn.Chip.preset("lr", engine="fused", array="cap")
    used.used.cells = np.random.default_rng(2).random((4800, 400)) < 0.5
    assert nn.run(model, x, used).passed and nn.run(model, x, plain).passed
    assert used.counts == plain.counts


def test_weights_in_the_program_run_on_a_cap_in_use() -> None:
    model = networks.small_network()
    x = networks.integers_in(model.tensors[model.input], 1, seed=3)
    chips = [nn.Chip.preset("lr", rows=40, mapping="weights", array=a) for a in ("load", "cap")]
    runs = [nn.run(model, x, chip) for chip in chips]
    assert all(run.passed for run in runs)
    assert chips[0].counts == chips[1].counts


def test_a_second_load_flips_more_than_the_first() -> None:
    """The first finds zeros; columns that are cleared or filled anew flip what it left."""
    chip = Chip.preset("lr", rows=ROWS, array="cap")
    data = ADD.words(*operands(ADD, 0))
    chip.execute(ADD, data)
    first = chip.activity
    chip.execute(functions.add(4, 9), data)
    assert chip.activity.flipped - first.flipped != first.flipped
    assert chip.activity.compared == 2 * first.compared


def test_digits_on_a_cap_compare_a_tenth_more() -> None:
    """The guide's figures: compared +9.8 %, flipped +16 %, counts equal (guide costs)"""
    model = sources.model("digits")
    x, labels = sources.inputs(model, 1, None)
    chips = [nn.Chip.preset("lr", engine="fused", array=array) for array in ("load", "cap")]
    assert all(nn.run(model, x, chip, labels=labels).passed for chip in chips)
    load, cap = chips
    assert load.counts == cap.counts
    assert cap.activity.compared / load.activity.compared == pytest.approx(1.098, abs=5e-4)
    assert cap.activity.flipped / load.activity.flipped == pytest.approx(1.164, abs=5e-4)


def test_run_and_cost_say_what_the_activity_is_of(tmp_path: Path) -> None:
    """JSON of both: array, and in words; the run's file costs as the run itself"""
    run, costed, direct = (str(tmp_path / name) for name in ("r.json", "c.json", "d.json"))
    assert main(["run", "--images", "1", "--array", "cap", "--json", run]) == 0
    assert main(["cost", run, "--json", costed]) == 0
    executed = ["cost", "digits", "--activity", "executed", "--array", "cap"]
    assert main([*executed, "--json", direct]) == 0
    first, *others = (json.loads(Path(name).read_text()) for name in (run, costed, direct))
    assert others[0] == others[1]
    assert all(one["array"] == "cap" for one in (first, *others))
    assert "CAP in use" in first["totals"]["assumes"]["activity"]
    assert "CAP in use" in others[0]["assumes"]["activity"]


def test_what_it_does_not_go_with_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """one line, exit code 2"""
    with pytest.raises(InputError, match="array: wanted one of load, cap"):
        Chip.preset("lr", array="row")
    for command, message in (
        (["run", "--array", "cap", "--checkpoint", str(tmp_path / "x")], "without checkpoints"),
        (["cost", "digits", "--array", "cap"], "add --activity executed"),
    ):
        assert main(command) == 2
        assert message in capsys.readouterr().err
