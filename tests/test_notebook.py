"""What a notebook shows of the objects that people hold: tables, escaped, with their numbers."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

import apsim
from apsim import lut, nn, ops
from apsim.check import Conformance
from apsim.nn import runtime
from apsim.nn.rules import real
from apsim.nn.zoo import datasets


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
    assert texts.count("True") == len(run.layers)


def test_a_conformance_table_shows_itself_in_a_notebook() -> None:
    rows = Conformance.of("relu", aps=["1d"])
    texts = Texts(rows._repr_html_()).texts
    assert {"function", "relu", "1d", str(len(rows))} <= set(texts)
    assert "relu" in str(rows)


@pytest.mark.parametrize("value", [adder(), apsim.Layout(A=4), adder().counts, lut.find("add")])
def test_a_repr_is_one_short_line(value: object) -> None:
    assert "\n" not in repr(value)
    assert len(repr(value)) <= 120
