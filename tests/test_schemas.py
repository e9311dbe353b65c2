"""Every JSON that apsim writes has a schema that any validator takes, and apsim checks by it."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import nn, schemas
from apsim.cli import main
from apsim.errors import InputError

EXPLORE = "[axes]\nnetwork = 'alexnet'\nbits = [8, 99]\n"
RUN_SWEEP = "kind = 'run'\nimages = 1\n[axes]\nmodel = 'digits'\n"
PROOFS = ["rtl --area --rows 4 --columns 4 --json areas.json", "rtl --prove relu --json p.json"]
PLAN = "settings = 'fluid.json'\n[[batch]]\nimages = 1\n[[batch]]\nenergy = 1e-6\n"
COMMANDS = [
    "run digits --images 1 --json run.json --checkpoint run.npz",
    "run digits --images 1 --ap 1d --requant ap --json run-ap.json",
    "run digits --images 1 --mapping auto --cost cycles --json run-auto.json --checkpoint a.npz",
    "cost digits --mapping auto --json mappings.json",
    "check --mapping weights --ap 2d --json check-weights.json",
    "cost resnet18 --bits hawq-low --json cost.json",
    "cost run.json --json executed.json",
    "check --function add --ap 2d --json check.json",
    "check --ap analytic --function add --json equations.json",
    "faults digits --images 1 --repeats 1 --workers 1 --json faults.json",
    "fluid --from 2 --to 3 --points 2 --json fluid.json",
    "run digits --schedule plan.toml --json schedule.json",
    "paper --json paper.json",
    "debug add --script script.txt",
    "debug digits:conv1 -x step -x save\\ layer-session.json -x quit",
    "trace add --jsonl trace.jsonl",
    "import --survey models --json survey.json",
    "rtl add --bits 2 --rows 2 -o circuit --json rtl.json",
    "explore cost.toml --workers 1 --out sweep.jsonl",
    "explore run.toml --workers 1 --out run-sweep.jsonl",
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Documents as the commands write them, by file."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "cost.toml").write_text(EXPLORE)
    (folder / "models").mkdir()
    (folder / "models" / "cut.onnx").write_bytes(b"")
    (folder / "run.toml").write_text(RUN_SWEEP)
    (folder / "script.txt").write_text("break bit 3\nwatch B\nset A[0] = 1\nsave session.json\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "plan.toml").write_text(PLAN)
        proofs = PROOFS if shutil.which("yosys") else []
        for command in (*COMMANDS, *proofs):
            words = [word.replace("\\", " ") for word in command.replace("\\ ", "\\").split()]
            assert main(words) == 0, command
        nn.save(nn.load("digits"), "model.npz")
    found = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    for path in folder.glob("*.jsonl"):
        lines = path.read_text().splitlines()
        found |= {f"{path.name}:{n}": json.loads(line) for n, line in enumerate(lines[:3])}
    for name, entry in (("run", "head"), ("a", "head"), ("model", "model.json")):
        with np.load(folder / f"{name}.npz") as archive:
            found[f"{name}.npz"] = json.loads(bytes(archive[entry]))
    return found


def test_every_document_is_of_its_schema_and_every_schema_has_a_document(
    written: dict[str, Any],
) -> None:
    used = set()
    for name, document in written.items():
        if name.startswith("trace.jsonl:") and "schema" not in document:
            event = schemas.schema("apsim.trace/1")
            jsonschema.validate(document, {"$ref": "#/$defs/event", "$defs": event["$defs"]})
            continue
        used.add(document["schema"])
        jsonschema.validate(document, schemas.schema(document["schema"]))
        assert schemas.check(document, document["schema"], name) == document
    needed = {"apsim.rtl.areas/1", "apsim.rtl.proofs/1"} if shutil.which("yosys") is None else {}
    assert used == set(schemas.names()) - set(needed)


@pytest.mark.parametrize("name", schemas.names())
def test_a_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schemas.schema(name))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something lies in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in inner:
        found.append((*path, key))
        if isinstance(item, dict | list):
            found += places(item, (*path, key))
    return found


WRONG = [None, True, -1, 0, 2, 1.5, "", "x", [], [0], [-1, "x"], {}, {"compare": -1}]


@given(st.data())
def test_the_check_agrees_with_a_validator_on_documents_that_were_changed(
    written: dict[str, Any], data: st.DataObject
) -> None:
    """check(changed) refuses == jsonschema refuses, after an entry is removed, replaced, added"""
    names = sorted(name for name in written if "schema" in written[name])
    document = copy.deepcopy(written[data.draw(st.sampled_from(names))])
    name = document["schema"]
    *path, last = data.draw(st.sampled_from(places(document)))
    holder = document
    for key in path:
        holder = holder[key]
    how = data.draw(st.sampled_from(["remove", "replace", "add"]))
    if how == "remove":
        del holder[last]
    elif how == "replace":
        holder[last] = copy.deepcopy(data.draw(st.sampled_from(WRONG)))
    elif isinstance(holder, dict):
        holder["entry of nobody"] = 1
    else:
        holder.append(copy.deepcopy(holder[last]))
    wanted = jsonschema.Draft202012Validator(schemas.schema(name)).is_valid(document)
    try:
        schemas.check(document, name, "here")
        found = True
    except InputError:
        found = False
    assert found == wanted


BELIEVED = {
    "Infinity": ("layers", 0, "engine_seconds", "Infinity", "Infinity is no number"),
    "a negative count": ("layers", 0, "counts", {"compare": -1, "write": 0, "read": 0}, "0 to inf"),
    "a missing count": ("layers", 0, "counts", {"compare": 1, "write": 0}, "an entry 'read'"),
    "half a total": ("totals", "counts", "write", 1, "totals that add up: counts, write is 1"),
}


@pytest.mark.parametrize("how", BELIEVED)
def test_a_run_is_costed_only_where_it_can_be_one(
    how: str, written: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c, value, message = BELIEVED[how]
    run = copy.deepcopy(written["run.json"])
    run[a][b][c] = value
    text = json.dumps(run).replace('"Infinity"', "Infinity")
    (tmp_path / "run.json").write_text(text)
    assert main(["cost", str(tmp_path / "run.json")]) == 2
    assert message in capsys.readouterr().err
