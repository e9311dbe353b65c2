"""What a LUT looks like: its table in text and HTML, its short repr, its file."""

from __future__ import annotations

import pytest

from apsim import lut
from apsim.lut import Lut, parse, to_toml
from apsim.lut.draw import proved

RELU = """\
relu: Clear A in rows whose flag says the word is negative.
Rakka et al., BF-IMNA, Table III; per bit A, per word F; msb-first

 A F | pass | A
 0 0 |  -   | 0
 0 1 |  -   | 0
 1 0 |  -   | 1
 1 1 |  1   | 0"""

HA2 = """\
ha2: Half add in place: B becomes the sum, A the carry.
search over all masked compares and writes; per bit A B; lsb-first

 A B | A B
 0 0 | 0 0
 0 1 | 0 1
 1 0 | 0 1
 1 1 | 1 0

passes, in order:
 A B | A B
 1 0 | 0 1
 1 1 | - 0"""


def test_a_lut_prints_as_its_table() -> None:
    assert str(lut.find("relu")) == RELU


def test_masked_passes_are_listed_under_the_table() -> None:
    assert str(lut.find("ha2")) == HA2


def test_repr_is_short() -> None:
    assert repr(lut.find("add")) == "<Lut add: A B C, 4 passes>"
    assert repr(lut.find("relu")) == "<Lut relu: A F, 1 pass>"


def test_a_pass_prints_as_compare_and_write() -> None:
    assert str(lut.find("add").passes[1]) == "A B C = 1 0 0 -> B C = 1 0"


def test_html_has_a_table_cell_for_every_bit_and_escapes_text() -> None:
    html = lut.find("add")._repr_html_()
    assert html.count("<td>") == 8 * 6
    assert "B, C &lt;- A + B + C." in html
    assert lut.find("ha2")._repr_html_().count("<table>") == 2


def test_what_is_proved_is_said_in_one_line() -> None:
    assert proved(lut.find("add")) == "sound in 6 of 24 orders; 4 passes, proved the fewest"
    assert proved(lut.find("max")) == "sound in 24 of 24 orders; 4 passes"
    assert proved(lut.find("relu")) == "sound; 1 pass, proved the fewest"


@pytest.mark.parametrize("name", lut.names())
def test_what_is_written_reads_back(name: str) -> None:
    """parse(to_toml(lut)) == lut."""
    found = lut.find(name)
    assert parse(to_toml(found)) == found


def test_names_and_text_that_need_quotes_read_back() -> None:
    odd: Lut = lut.compile(
        lambda a, b: a & b,
        name="odd",
        inputs="Änderung B",
        outputs="B",
        about='says "so"\\ \t\x7f — and\nmore',
    )
    assert parse(to_toml(odd)) == odd
