"""`apsim cost`: networks, tables, models and runs, and what it refuses."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from apsim import cost, nn
from apsim.ap_kind import ApKind
from apsim.cli import main
from apsim.closed_form import AP_KINDS
from apsim.counts import Activity, Counts
from apsim.errors import InputError
from apsim.functions.table import EQUATIONS
from apsim.nn.on_ap.plan import predicted
from apsim.nn.rules import real
from apsim.nn.zoo import datasets, synthetic
from apsim.report.cost.executed import SOURCES, cost_run
from apsim.report.cost.model_rows import network_of, widths_of
from apsim.report.run.tables import run_json


@pytest.fixture(scope="module")
def digits_run() -> nn.runtime.Run:
    model, digits = nn.load("digits"), datasets.digits()
    chip = nn.Chip.preset("bf-imna-lr", ap="2d")
    return nn.run(model, real.quantize(model, digits.images[:2]), chip, labels=digits.labels[:2])


def test_all_bundled_networks_can_be_costed(tmp_path: Path) -> None:
    for name in cost.network_names():
        out = tmp_path / f"{name}.json"
        assert main(["cost", name, "--json", str(out)]) == 0
        found = json.loads(out.read_text())
        assert found["schema"] == "apsim.cost/1"
        assert found["activity"] == "paper"
        assert found["totals"]["energy_j"] > 0
        assert found["chip"]["clusters"] == 64
        assert found["technology"]["constants"]["cell_write_energy"]["unit"] == "fJ"


def test_json_csv_and_totals_agree(tmp_path: Path) -> None:
    """sum of the layers' joules and cycles == totals, in JSON and CSV"""
    out, table = tmp_path / "a.json", tmp_path / "a.csv"
    assert main(["cost", "alexnet", "--json", str(out), "--csv", str(table)]) == 0
    found = json.loads(out.read_text())
    rows = list(csv.DictReader(table.read_text().splitlines()))
    for column, total in (("energy_j", "energy_j"), ("cycles", "cycles")):
        assert math.isclose(sum(float(row[column]) for row in rows), found["totals"][total])
        assert math.isclose(sum(layer[column] for layer in found["layers"]), found["totals"][total])


def test_options_change_what_they_say(tmp_path: Path) -> None:
    def joules(*options: str) -> float:
        out = tmp_path / "x.json"
        assert main(["cost", "alexnet", "--json", str(out), *options]) == 0
        return float(json.loads(out.read_text())["totals"]["energy_j"])

    base = joules()
    assert 60 < joules("--tech", "reram") / base < 65
    assert joules("--bits", "4") < base / 3
    assert base > joules("--bits", "8/4") > joules("--bits", "4/4")
    assert 0.999 < joules("--write-voltage", "0.5") / base < 1
    assert 7.5 < joules("--batch", "8") / base < 8


def test_a_layer_table_of_the_users_own_is_costed(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text(
        "name,type,in_c,in_h,in_w,kernel,stride,pad,groups,out_c,out_h,out_w\n"
        "c1,conv,3,8,8,3,1,1,1,4,8,8\n"
    )
    out = tmp_path / "mine.json"
    assert main(["cost", str(table), "--json", str(out)]) == 0
    assert json.loads(out.read_text())["totals"]["macs"] == 9 * 3 * 4 * 64


@pytest.mark.parametrize("requant", ["host", "ap"])
@pytest.mark.parametrize("kind", AP_KINDS)
def test_the_counts_of_the_digits_net_are_those_of_its_run(kind: str, requant: str) -> None:
    """predicted(layer) == counts of the executed layer, on every kind, whoever requantizes"""
    model, digits = nn.load("digits"), datasets.digits()
    chip = nn.Chip.preset("bf-imna-lr", ap=kind, requant=requant)
    run = nn.run(model, real.quantize(model, digits.images[:1]), chip)
    forecasts = predicted(model, 1, ApKind.named(kind), chip.design.rows, requant)
    counted = {layer.name: layer.counts for layer in run.layers if layer.parts}
    assert {name: one.predicted for name, one in forecasts.items()} == counted


COLUMNS = "name,type,in_c,in_h,in_w,kernel,stride,pad,groups,out_c,out_h,out_w,relu,input_from\n"
REDUCED_RESNET = """\
conv1,conv,3,16,16,3,1,1,1,8,16,16,1,input
pool,maxpool,8,16,16,3,2,1,1,8,8,8,0,conv1
a1,conv,8,8,8,3,1,1,1,8,8,8,1,pool
a2,conv,8,8,8,3,1,1,1,8,8,8,0,a1
add1,add,8,8,8,1,1,0,1,8,8,8,1,a2+pool
b1,conv,8,8,8,3,2,1,1,16,4,4,1,add1
b2,conv,16,4,4,3,1,1,1,16,4,4,0,b1
down,conv,8,8,8,1,2,0,1,16,4,4,0,add1
add2,add,16,4,4,1,1,0,1,16,4,4,1,b2+down
avg,avgpool,16,4,4,4,1,0,1,16,1,1,0,add2
fc,fc,16,1,1,1,1,0,1,10,1,1,0,avg
"""


@pytest.mark.parametrize("requant", ["host", "ap"])
@pytest.mark.parametrize("kind", ["1d", "2d"])
def test_the_counts_of_a_reduced_resnet_are_those_of_its_run(
    kind: str, requant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """predicted(layer) == counts of the executed layer, loads that do not fill a CAP included"""
    rows = list(csv.DictReader((COLUMNS + REDUCED_RESNET).splitlines()))
    monkeypatch.setattr(synthetic, "_rows", lambda name: rows)
    model = synthetic.network("reduced", 4)
    chip = nn.Chip.preset("bf-imna-lr", ap=kind, rows=600, requant=requant)
    run = nn.run(model, synthetic.inputs(model, 1), chip)
    forecasts = predicted(model, 1, ApKind.named(kind), 600, requant)
    counted = {layer.name: layer.counts for layer in run.layers if layer.parts}
    assert run.passed
    assert {name: one.predicted for name, one in forecasts.items()} == counted


def test_a_model_becomes_a_network_of_its_shapes() -> None:
    model = nn.load("digits")
    network = network_of(model)
    assert len(network.layers) == len(widths_of(model))
    weights = sum(layer.weights.size for layer in model.weighted)
    assert network.weights == weights
    assert main(["cost", "digits"]) == 0


def test_a_run_is_costed_from_its_own_counts_and_activity(
    digits_run: nn.runtime.Run, tmp_path: Path
) -> None:
    """counts == the run's; compares + reads == kappa C V^2 mismatched, writes == E_w written"""
    path, out = tmp_path / "run.json", tmp_path / "cost.json"
    path.write_text(json.dumps(run_json(digits_run)))
    assert main(["cost", str(path), "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["activity"] == "executed"
    total = sum((Counts(*(row[k] for k in ("compare", "write", "read")))
                 for row in found["layers"]), Counts())  # fmt: skip
    assert total == digits_run.counts
    activity = sum((layer.activity for layer in digits_run.layers), Activity())
    joules = {part: found["totals"][f"energy_{part}_j"] for part in SOURCES}
    lines = {"read": activity.read_mismatched}
    lines["compare"] = activity.mismatched - lines["read"]
    for part in ("compare", "read"):
        assert math.isclose(joules[part], lines[part] * 1.55 * 50e-15)
    assert math.isclose(joules["write"], activity.written * 0.24e-15)
    assert math.isclose(sum(joules.values()), found["totals"]["energy_j"])
    assert set(found["sources"].values()) == {"executed activity", "mapping model"}


@pytest.mark.parametrize("chip", ["lr", "ir"])
def test_what_a_run_moves_costs_what_the_mapping_model_says(
    digits_run: nn.runtime.Run, chip: str
) -> None:
    """mesh and reshape of a run == those of its model on the same chip, layer by layer"""
    model, sram = digits_run.model, cost.technology("sram")
    run = cost_run(run_json(digits_run), cost.chip(chip), sram)
    averages = cost.infer(
        network_of(model), cost.chip(chip), sram, EQUATIONS, bits=widths_of(model), batch=2
    )
    parts = {layer.layer.name: layer.parts for layer in averages.layers}
    for layer in run.layers:
        there = parts.get(layer.name, cost.Energy())
        assert math.isclose(layer.energy.mesh, there.mesh)
        assert math.isclose(layer.energy.reshape, there.reshape)
    assert run.energy.mesh > 0 < run.energy.reshape


def test_executed_energy_stands_beside_the_averages(digits_run: nn.runtime.Run) -> None:
    """Every layer that ran has both: averages == the model's, without mesh and reshaping"""
    found = cost_run(run_json(digits_run), cost.chip("lr"), cost.technology("sram"))
    assert [layer.name for layer in found.layers if layer.gap is None] == ["flatten"]
    model = digits_run.model
    wanted = cost.infer(
        network_of(model), found.chip, found.technology, EQUATIONS, bits=widths_of(model), batch=2
    ).energy
    averages = sum(layer.averages for layer in found.layers if layer.averages is not None)
    assert math.isclose(averages, wanted.compare + wanted.write + wanted.read)
    assert all(1 < layer.gap < 4 for layer in found.layers if layer.gap is not None)


def test_executed_latency_stands_beside_the_mapping_models(digits_run: nn.runtime.Run) -> None:
    """model_cycles sum up to those of `apsim cost MODEL`; latency_gap == executed over them"""
    found = cost_run(run_json(digits_run), cost.chip("lr"), cost.technology("reram"))
    model = digits_run.model
    wanted = cost.infer(
        network_of(model), found.chip, found.technology, EQUATIONS, bits=widths_of(model), batch=2
    )
    said = sum(layer.model_cycles for layer in found.layers if layer.model_cycles is not None)
    assert math.isclose(said, wanted.cycles)
    assert found.latency_gap is not None
    assert math.isclose(found.latency_gap * wanted.latency, found.latency)


@pytest.mark.parametrize(("charge", "cells"), [("driven", "written"), ("flipped", "flipped")])
def test_the_technology_says_which_cells_a_write_charges(
    charge: str, cells: str, digits_run: nn.runtime.Run, tmp_path: Path
) -> None:
    """energy_write_j == the cells charged x E_w; reports hold both, whatever is charged"""
    path, out, tech = (tmp_path / name for name in ("run.json", "cost.json", "mine.toml"))
    path.write_text(json.dumps(run_json(digits_run)))
    tech.write_text(
        'extends = "sram"\nname = "mine"\n[writes_charge]\n'
        f'value = "{charge}"\nsource = "a circuit of mine"\n'
    )
    assert main(["cost", str(path), "--tech", str(tech), "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    totals = found["totals"]
    assert found["technology"]["writes_charge"]["source"] == "a circuit of mine"
    assert math.isclose(totals["energy_write_j"], totals[cells] * 0.24e-15)
    assert math.isclose(totals["energy_write_driven_j"], totals["written"] * 0.24e-15)
    assert math.isclose(totals["energy_write_flipped_j"], totals["flipped"] * 0.24e-15)


def test_a_run_is_made_as_its_options_say(tmp_path: Path) -> None:
    """counts of --requant ap and --broadcast rows == those of a chip with these"""
    out, model = tmp_path / "cost.json", nn.load("digits")
    how = ["--activity", "executed", "--requant", "ap", "--broadcast", "rows", "--json", str(out)]
    assert main(["cost", "digits", *how]) == 0
    chip = nn.Chip.preset("bf-imna-lr", requant="ap", broadcast="rows")
    nn.run(model, real.quantize(model, datasets.digits().images[:1]), chip)
    totals = json.loads(out.read_text())["totals"]
    assert totals["written"] == chip.activity.written


REFUSED = [
    (["digits", "--requant", "ap"], "--requant: only a run knows it; add --activity executed"),
    (["resnet5"], "did you mean 'resnet50'"),
    (["alexnet", "--chip", "xr"], "neither a TOML file nor a bundled table of chips"),
    (["alexnet", "--tech", "dram"], "did you mean"),
    (["alexnet", "--bits", "wide"], "bits 'wide': wanted a width"),
    (["alexnet", "--batch", "0"], "--images: wanted at least 1, got 0"),
    (["alexnet", "--bits", "9"], "conv1: operands and results take 36 columns"),
    (["digits", "--activity", "executed", "--images", "361"], "--images: wanted 1 to 360, got 361"),
    (["resnet18", "--activity", "executed", "--batch", "0"], "--images: wanted at least 1, got 0"),
    (["mine.csv", "--activity", "executed"], "mine.csv is a layer table and has no weights"),
    (["digits", "--input", "x.npy"], "--input: only a run takes inputs; add --activity executed"),
    (["digits", "--activity", "executed", "--input", "nowhere.npy"], "cannot read inputs from"),
    (["digits", "--activity", "executed", "--bits", "8/4"], "--bits: wanted numbers such as 8"),
    (["digit"], "one of digits, digits-vit, alexnet, alexnet_torchvision"),
    (["nowhere.json"], "cannot read nowhere.json"),
    (["alexnet", "--write-voltage", "2"], "write voltage must be above 0"),
    (["alexnet", "--json", "/nowhere/x.json"], "cannot write /nowhere/x.json"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_a_mistake_is_one_message_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


CANNOT_HOLD = {
    'weight_store_bits = { value = 1e6, unit = "bit" }': (
        "vgg16: its weights take 1,106,753,024 bits (822,083,584 of them in fc6); "
        "mine stores 1,000,000"
    ),
    "columns = 15": "conv1_1: operands and results take 32 columns; a CAP of mine has 30",
    "rows = 1": "pool1: a window of 4 words takes 2 rows; a CAP of mine has 1",
}


@pytest.mark.parametrize("lacks", CANNOT_HOLD)
def test_a_chip_that_cannot_hold_a_layer_is_told_which_and_what_it_lacks(
    lacks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "lr"\n{lacks}\n')
    assert main(["cost", "vgg16", "--chip", str(path)]) == 2
    assert CANNOT_HOLD[lacks] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "wanted schema 'apsim.run/1', got None"),
        ('{"schema": "apsim.run/1"}', "wanted an entry 'model', got none - at $"),
    ],
)
def test_a_text_that_is_no_run_is_refused(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    assert main(["cost", str(path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("images",), 0),
        (("layers", 0, "loads"), "many"),
        (("layers", 0, "name"), 3),
        (("layers", 0, "table_row", "j"), 0),
        (("layers", 1, "table_row", "windows"), -1),
        (("layers", 0, "counts"), {"compare": 1, "search": 2}),
        (("ap", "kind"), "3d"),
    ],
)
def test_a_damaged_entry_of_a_run_is_refused(
    digits_run: nn.runtime.Run, path: tuple[str | int, ...], value: object
) -> None:
    run = json.loads(json.dumps(run_json(digits_run)))
    entry = run
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = value
    with pytest.raises(InputError, match=r"the run"):
        cost_run(run, cost.chip("lr"), cost.technology("sram"))


@pytest.mark.parametrize("option", ["--bits", "--images"])
def test_a_run_keeps_what_it_ran_with(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", str(tmp_path / "run.json"), option, "4"]) == 2
    assert f"{option}: a run has its own" in capsys.readouterr().err


def test_a_saved_model_is_run_on_inputs_from_a_file(tmp_path: Path) -> None:
    """The first --batch inputs of the file are run, and counted as a run counts them"""
    model, digits = nn.load("digits"), datasets.digits()
    np.save(tmp_path / "x.npy", digits.images[:3])
    saved = tmp_path / "mine.npz"
    nn.save(model, saved)
    out = tmp_path / "cost.json"
    command = ["cost", str(saved), "--activity", "executed", "--input", str(tmp_path / "x.npy")]
    assert main([*command, "--batch", "2", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    run = nn.run(model, real.quantize(model, digits.images[:2]), nn.Chip.preset("bf-imna-lr"))
    assert found["images"] == 2
    assert found["totals"]["compare"] == run.counts.compare
    energy = sum(layer.activity.written for layer in run.layers) * 0.24e-15
    assert math.isclose(found["totals"]["energy_write_j"], energy)
    assert main([*command, "--batch", "4"]) == 2


def test_an_imported_model_is_costed(models_dir: Path, tmp_path: Path) -> None:
    """The keyword spotter has 2.66 M multiply-accumulates"""
    pytest.importorskip("onnx")
    out = tmp_path / "kws.json"
    model = models_dir / "converted_kws_int8_qdq.onnx"
    assert main(["cost", str(model), "--json", str(out)]) == 0
    assert round(json.loads(out.read_text())["totals"]["macs"] / 1e6, 2) == 2.66


@pytest.mark.parametrize("requant", ["host", "ap"])
@pytest.mark.parametrize("file", ["digits_qdq_u8s4.onnx", "mlperf_tiny_kws_dscnn_int8.tflite"])
def test_the_counts_of_an_imported_model_are_those_of_its_run(
    file: str, requant: str, models_dir: Path
) -> None:
    """predicted(layer) == counts of the executed layer, depthwise and rescaled ones included"""
    pytest.importorskip("onnx" if file.endswith("onnx") else "tflite")
    model = nn.load(str(models_dir / file))
    shape = model.tensors[model.input].shape
    images = np.zeros((1, *shape), np.int64) + model.tensors[model.input].zero_point
    run = nn.run(model, images, nn.Chip.preset("bf-imna-lr", ap="2d-seg", requant=requant))
    forecasts = predicted(model, 1, ApKind.named("2d-seg"), 4800, requant)
    counted = {layer.name: layer.counts for layer in run.layers if layer.parts}
    assert {name: one.predicted for name, one in forecasts.items()} == counted


def test_products_of_two_activations_are_rows_and_what_is_left_out_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """MACs of digits-vit == 297,280; its softmaxes and norms have no printed equation"""
    network = network_of(nn.load("digits-vit"))
    assert network.macs == 297_280
    assert sum(layer.macs for layer in network.layers if layer.kind == "matmul") == 2 * 2 * 8192
    out = tmp_path / "vit.json"
    assert main(["cost", "digits-vit", "--json", str(out)]) == 0
    left = json.loads(out.read_text())["left_out"]
    assert left == {"normalize": 5, "softmax": 4, "table": 2, "sum": 1}
    assert "not in it, for the paper has no equation: normalize 5, " in capsys.readouterr().out


def test_a_matmul_moves_both_matrices_for_each_image() -> None:
    """mesh and cycles of B images == B times those of one; an fc layer's weights move once"""
    chip, technology = cost.chip("lr"), cost.technology("sram")
    mesh = {}
    for kind in ("matmul", "fc"):
        network = cost.Network("one", (cost.Layer("one", kind, 2, 64, 16, 64),))
        for batch in (1, 5):
            found = cost.infer(network, chip, technology, EQUATIONS, batch=batch)
            (layer,) = found.layers
            mesh[kind, batch] = layer.parts.mesh, layer.cycles["weights"]
    assert mesh["matmul", 5] == pytest.approx([5 * each for each in mesh["matmul", 1]])
    assert mesh["matmul", 1] == mesh["fc", 1]
    assert mesh["fc", 5][1] == mesh["fc", 1][1] < mesh["matmul", 5][1]
    assert mesh["fc", 5][0] < mesh["matmul", 5][0]
    at_hand = cost.chip("ir")
    assert cost.infer(network, at_hand, technology, EQUATIONS).layers[0].cycles["weights"] == 0
    other = cost.Network("one", (cost.Layer("one", "matmul", 2, 64, 16, 64),))
    assert cost.infer(other, at_hand, technology, EQUATIONS).layers[0].cycles["weights"] > 0


def test_a_run_of_a_transformer_is_costed_by_operation_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """cycles and joules of the operations == those of the run"""
    out, figure = tmp_path / "vit.json", tmp_path / "vit.svg"
    command = ["cost", "digits-vit", "--activity", "executed", "--json", str(out), "--plot"]
    assert main([*command, str(figure)]) == 0
    found = json.loads(out.read_text())
    totals, rows = found["totals"], found["operations"]
    names = {"linear", "matmul", "normalize", "softmax", "table", "sum", "add"}
    assert {row["operation"] for row in rows} == names
    for what in ("cycles_on_one_cap", "energy_j"):
        assert math.isclose(sum(row[what] for row in rows), totals[what])
    assert sum(row["macs"] for row in rows) == 297_280
    assert "by operation, cycles on one CAP and energy:" in capsys.readouterr().out
    assert "<svg" in figure.read_text()


def test_what_cycles_assume_is_what_they_are(tmp_path: Path) -> None:
    """averages: cycles / frequency == latency, of the model's steps; executed: all on one CAP"""
    found = {}
    for activity in ("paper", "executed"):
        path = tmp_path / f"{activity}.json"
        assert main(["cost", "digits", "--activity", activity, "--json", str(path)]) == 0
        found[activity] = json.loads(path.read_text())
    averages, done = found["paper"], found["executed"]
    frequency = averages["chip"]["frequency"]
    assert averages["totals"]["cycles"] / frequency == averages["totals"]["latency_s"]
    assert "one after another" not in averages["assumes"]["cycles"]
    assert averages["assumes"]["latency_s"] in averages["assumes"]["cycles"]
    taken = done["totals"]
    assert taken["cycles_on_one_cap"] == taken["compare"] + 2 * taken["write"] + taken["read"]
    assert done["assumes"]["cycles_on_one_cap"].endswith("all loads one after another")
    assert done["assumes"]["model_cycles"] == averages["assumes"]["latency_s"]
