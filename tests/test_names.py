"""Names from files are data: none steers a terminal, a page or a viewer."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from apsim import lut, nn
from apsim.cli import main
from apsim.errors import LayoutError, shown
from apsim.layout import Field
from apsim.nn import runtime
from apsim.nn.model import Model, store
from tests.helpers.networks import integers_in, small_network

EVIL = "\x1b]0;PWN\x07\u202e<script>alert(1)</script>\r\n\x9b[2J"
SPELLED = r"\x1b]0;PWN\x07\u202e"


def evil_network() -> Model:
    """The small network with a name of its own and a first layer whose names want to be obeyed."""
    model = small_network()
    first, *others = model.layers
    others = [replace(one, inputs=tuple(_named(n) for n in one.inputs)) for one in others]
    tensors = {_named(name): tensor for name, tensor in model.tensors.items()}
    first = replace(first, name=EVIL, output=_named(first.output))
    return model.replace(name=EVIL, layers=(first, *others), tensors=tensors)


def _named(name: str) -> str:
    return EVIL if name == small_network().layers[0].output else name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import numpy as np

    monkeypatch.chdir(tmp_path)
    store.save(evil_network(), "evil.npz")
    np.save("x.npy", integers_in(evil_network().tensors["x"], 1, 0))
    return tmp_path


COMMANDS = {
    "a run": "run evil.npz --input x.npy --json out.json",
    "its cost": "cost evil.npz --json out.json",
    "an executed cost": "cost evil.npz --activity executed --input x.npy --csv out.csv",
    "faults": "faults evil.npz --input x.npy --repeats 1 --workers 1 --json out.json",
    "a timeline": "trace evil.npz --perfetto out.json",
    "an unknown layer": "debug evil.npz:none -x quit",
}


@pytest.mark.parametrize("what", COMMANDS)
def test_no_command_prints_or_writes_what_steers(
    what: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(COMMANDS[what].split())
    text = "".join(capsys.readouterr())
    assert code == (2 if what == "an unknown layer" else 0), text
    for path in folder.glob("out.*"):
        if path.suffix == ".json":
            text += path.read_text()
    assert not set(text) & set("\x1b\x07\u202e\x9b\r")


def test_a_timeline_shows_names_spelled_out(folder: Path) -> None:
    assert main(["trace", "evil.npz", "--perfetto", "out.json"]) == 0
    names = {event["name"] for event in json.loads(Path("out.json").read_text())["traceEvents"]}
    assert any(SPELLED in name for name in names)
    assert EVIL not in names


def test_a_notebook_gets_names_as_text() -> None:
    model = evil_network()
    x = integers_in(model.tensors["x"], 1, 0)
    html = runtime.run(model, x, nn.Chip.preset("bf-imna-lr"))._repr_html_()
    assert "<script>" not in html
    assert SPELLED in html


@pytest.mark.parametrize("name", ["conv 1", "größe", "层", "a/b:0"])
def test_other_names_are_shown_as_they_are(name: str) -> None:
    assert shown(name) == name


def test_a_look_up_table_is_shown_with_its_text_spelled_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = re.sub(r'about(\s*)= "', r'about\1= "\\u001b]0;PWN', lut.find("add").text, count=1)
    (tmp_path / "x.toml").write_text(text)
    assert main(["lut", "show", str(tmp_path / "x.toml")]) == 0
    assert (
        main(["debug", str(tmp_path / "x.toml"), "-x", "step", "-x", "show lut", "-x", "quit"]) == 0
    )
    shown = capsys.readouterr().out
    assert shown.count(r"\x1b]0;PWN") == 2
    assert "\x1b" not in shown


def test_a_field_is_named_by_what_can_be_printed() -> None:
    with pytest.raises(LayoutError, match="wanted a name that can be printed"):
        Field("A\x1b", 0, 8)
