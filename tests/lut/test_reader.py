"""Reading LUT files: the notation, and one clear message for each mistake in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from apsim.errors import LutError
from apsim.lut import Lut, load, parse
from apsim.lut.reader import read_truth

RELU = '''\
name     = "relu"
about    = "Clear A in rows whose flag says the word is negative."
source   = "Rakka et al., BF-IMNA, Table III"
per_bit  = ["A"]             # moves along the word
per_word = ["F"]             # one flag column per row
walk     = "msb-first"
table = """
 A F | pass | A
 1 0 |  -   | 1
 0 1 |  -   | 0
 1 1 |  1   | 0
 0 0 |  -   | 0
"""
'''

LISTED = RELU.replace(
    RELU[RELU.index(" A F |") :],
    ''' A F | A
 - 0 | -
 - 1 | 0
"""
passes = """
 A F | A
 1 1 | 0
"""
''',
)


def test_a_file_reads_like_the_table_in_the_paper() -> None:
    relu = parse(RELU)
    assert relu.columns == ("A", "F")
    assert (relu.per_bit, relu.per_word, relu.walk) == (("A",), ("F",), "msb-first")
    assert [str(step) for step in relu.passes] == ["A F = 1 1 -> A = 0"]
    assert relu.truth == {(1, 0): (1, 0), (0, 1): (0, 1), (1, 1): (0, 1), (0, 0): (0, 0)}


def test_nc_may_be_written_out() -> None:
    assert parse(RELU.replace(" -   |", "NC   |")) == parse(RELU)


def test_masked_rows_and_listed_passes_say_the_same() -> None:
    listed = parse(LISTED)
    assert listed.passes == parse(RELU).passes
    assert listed.truth == parse(RELU).truth


def test_comments_and_blank_lines_in_a_table_are_skipped() -> None:
    assert parse(RELU.replace(" 0 1 |", "\n # the flag alone\n 0 1 |")) == parse(RELU)


def test_np_rows_need_no_outputs() -> None:
    text = RELU.replace(" 0 1 |  -   | 0", " 0 1 |  NP  |")
    assert parse(text).truth[0, 1] is None
    assert parse(LISTED.replace(" - 1 | 0", " 0 1 | NP\n 1 1 | 0")).truth[0, 1] is None


def test_x_takes_the_bit_that_the_passes_leave() -> None:
    free = parse(RELU.replace(" 1 0 |  -   | 1", " 1 0 |  -   | x"))
    assert free.truth[1, 0] == (1, 0)
    assert free.free == {((1, 0), "A")}


def test_a_dash_among_the_outputs_is_not_written() -> None:
    text = RELU.replace("| A\n", "| A F\n").replace("| 0\n", "| 0 -\n").replace("| 1\n", "| 1 -\n")
    assert parse(text).passes == parse(RELU).passes


BASES = {"relu": RELU, "listed": LISTED}
GOLDEN = Path(__file__).parents[1] / "golden" / "lut_errors.txt"


def golden_cases() -> Iterator[tuple[str, str]]:
    """The blocks of the golden file: a LUT file with one mistake, and the message it must give."""
    for block in GOLDEN.read_text(encoding="utf-8").split("\n\n")[1:]:
        kinds: dict[str, list[str]] = {"-": [], "+": [], ">": []}
        name, *lines = block.strip("\n").split("\n")
        for line in lines:
            kinds[line[0]].append(line[2:])
        base = BASES[name.removeprefix("in ")]
        old, new = "\n".join(kinds["-"]), "\n".join(kinds["+"])
        assert base.count(old) == 1, block
        yield base.replace(old, new), "\n".join(kinds[">"])


@pytest.mark.parametrize(("text", "message"), list(golden_cases()))
def test_a_mistake_is_named_with_file_line_and_row(text: str, message: str) -> None:
    with pytest.raises(LutError) as caught:
        parse(text, origin="my.toml")
    assert str(caught.value) == message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LutError, match=r"cannot read the LUT file .*no\.toml: No such file"):
        load(tmp_path / "no.toml")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bytes.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LutError, match=r"cannot read the LUT file .*bytes\.toml: it is not UTF-8"):
        load(path)


def test_a_truth_file_may_be_a_bare_table() -> None:
    spec, outputs = read_truth(" A B | B\n - 1 | 1\n - 0 | x\n", name="mine", origin="t.txt")
    assert (spec.name, spec.per_bit, outputs) == ("mine", ("A", "B"), ("B",))
    assert spec.free == {((0, 0), "B"), ((1, 0), "B")}


def test_a_truth_file_may_be_a_lut_file_whose_passes_are_not_looked_at() -> None:
    spec, outputs = read_truth(RELU.replace("  1   ", "  7   "), name="x", origin="relu.toml")
    assert (spec.name, spec.passes, outputs) == ("relu", (), ("A",))
    assert spec.truth == parse(RELU).truth


def test_the_line_of_a_mistake_in_a_bare_table_is_named() -> None:
    with pytest.raises(LutError) as caught:
        read_truth("# bits\n A B | B\n - 1 | 2\n", name="mine", origin="t.txt")
    assert (
        str(caught.value)
        == 't.txt, line 3, table row "- 1": column B: expected 0, 1, -, x, got `2`'
    )


def test_a_lut_keeps_the_text_it_was_read_from() -> None:
    relu: Lut = parse(RELU)
    assert relu.text == RELU
