"""What a notebook shows of the objects that people hold: tables, escaped, with their numbers."""

from __future__ import annotations

import pydoc
from html.parser import HTMLParser

import numpy as np
import pytest

import apsim
from apsim import cost, lut, nn, ops
from apsim.check import Conformance
from apsim.explore.sweep import Results
from apsim.nn import runtime
from apsim.nn.rules import real
from apsim.nn.zoo import datasets
from apsim.records import Tabular


class Texts(HTMLParser):
    """Collects the texts of a page, and sees that its tags close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts += data.split()


def adder() -> apsim.Machine:
    machine = apsim.Machine(rows=3, layout=apsim.Layout(A=4, B=4, C=1))
    machine.write("A", [1, 2, 3])
    machine.run(ops.add("A", "B", carry="C"))
    return machine


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lut.find("relu"), ["relu", "A", "F", "pass"]),
        (apsim.Layout(A=4, B="s8"), ["A", "B", "complement"]),
        (ops.add("A", "B", carry="C").on(apsim.Layout(A=4, B=4, C=1)), ["add", "A,", "B:", "16"]),
        (adder(), ["<Machine:", "3", "rows", "16", "compares,"]),
        (adder().counts, ["compares", "writes", "reads", "16", "20", "36"]),
    ],
    ids=["Lut", "Layout", "Microprogram", "Machine", "Counts"],
)
def test_an_object_shows_itself_in_a_notebook(value: object, words: list[str]) -> None:
    texts = Texts(value._repr_html_()).texts  # type: ignore[attr-defined]
    assert [word for word in words if word not in texts] == []


def test_a_run_shows_its_layers_in_a_notebook() -> None:
    model = nn.load("digits")
    chip = nn.Chip.preset("bf-imna-lr")
    run = runtime.run(model, real.quantize(model, datasets.digits().images[:1]), chip)
    texts = Texts(run._repr_html_()).texts
    assert [layer.name for layer in run.layers if layer.name not in texts] == []
    assert texts.count("True") == 2 * len(run.layers)


def test_a_conformance_table_shows_itself_in_a_notebook() -> None:
    rows = Conformance.of("relu", aps=["1d"])
    texts = Texts(rows._repr_html_()).texts
    assert {"function", "relu", "1d", str(len(rows))} <= set(texts)
    assert "relu" in str(rows)


@pytest.mark.parametrize("value", [adder(), apsim.Layout(A=4), adder().counts, lut.find("add")])
def test_a_repr_is_one_short_line(value: object) -> None:
    assert "\n" not in repr(value)
    assert len(repr(value)) <= 120


def tables() -> dict[str, Tabular]:
    """Everything that is a table, by its class."""
    machine = adder()
    execution = machine.run(ops.add("A", "B", carry="C"))
    (event, *_) = machine.steps(ops.add("A", "B", carry="C"))
    chip, model = nn.Chip.preset("lr", engine="fused"), nn.load("digits")
    run = runtime.run(model, real.quantize(model, datasets.digits().images[:1]), chip)
    sram = cost.technology("sram")
    spent = cost.estimate(machine.counts, machine.activity, sram)
    results = Results([{"id": "0", "bits": [8, 4], "<b>": 1.5}])
    found = (execution, event, chip, model, run, sram, spent, cost.chip("lr"), results)
    return {f"{type(one).__module__}.{type(one).__name__}": one for one in found}


@pytest.mark.parametrize("name", tables())
def test_a_table_is_plain_records_and_the_page_shows_them(name: str) -> None:
    """every cell is a number, a text, a list or nothing; every name is a heading"""
    value = tables()[name]
    rows = value.table()
    assert rows
    assert all(list(row) == list(rows[0]) for row in rows)
    plain = (int, float, str, list, type(None))
    assert all(isinstance(cell, plain) for row in rows for cell in row.values())
    page = value._repr_html_()
    assert "<b>" not in page
    words = Texts(page).texts
    assert all(word in words for heading in rows[0] for word in heading.split())


def test_what_an_execution_did_adds_up_in_its_table() -> None:
    """sums over the records == its activity"""
    machine = adder()
    execution = machine.run(ops.add("A", "B", carry="C"))
    for name in ("compared", "matched", "written", "flipped"):
        total = sum(row[name] for row in execution.table())
        assert total == getattr(execution.activity, name)


@pytest.mark.parametrize("engine", ["dense", "strict", "fused"])
def test_a_look_at_the_first_rows_is_the_first_of_a_whole_look(engine: str) -> None:
    """peek(k) == peek()[:k], and no array is longer than asked for"""
    draw = np.random.default_rng(0)
    machine = apsim.Machine(rows=200, layout=apsim.Layout(A=8, B=3), engine=engine)
    machine.write("A", draw.integers(0, 256, 200))
    machine.write("B", draw.integers(0, 8, 200))
    whole = machine.cam.peek()
    for rows in (1, 8, 63, 64, 65, 200):
        some = machine.cam.peek(rows)
        np.testing.assert_array_equal(some, whole[:rows])
        assert some.shape == (rows, 11)


def test_printing_a_machine_looks_at_eight_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = apsim.Machine(rows=10_000, layout=apsim.Layout(A=8))
    asked: list[int | None] = []
    look = type(machine.cam).peek
    monkeypatch.setattr(
        type(machine.cam), "peek", lambda cam, rows=None: asked.append(rows) or look(cam, rows)
    )
    assert str(machine).endswith("...")
    assert asked == [8]


def test_names_import_as_the_guide_shows_them() -> None:
    from apsim import Session, debug, explore, faults, trace

    assert Session is debug.Session
    assert {explore.sweep.__name__, faults.study.__name__} == {"sweep", "study"}
    assert {"debug", "explore", "faults", "trace", "Session"} <= set(dir(apsim))
    assert trace.recorder


def test_help_on_a_machine_shows_what_it_holds() -> None:
    said = pydoc.plain(pydoc.render_doc(apsim.Machine))
    assert all(name in said for name in ("counts", "activity", "counts_by_phase"))
    assert ">>> m.run(ops.add" in said
