"""`apsim lut` as a person types it: what it prints, and the exit codes."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from apsim import cli, lut

LUTS = Path(__file__).resolve().parents[2] / "luts"

AND = " A B | B\n 0 - | 0\n 1 - | -\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the command runs in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def swap_passes(text: str) -> str:
    """`add` with its passes 1 and 2 swapped, which is unsound."""
    return text.replace("|  1 ", "|  9 ").replace("|  2 ", "|  1 ").replace("|  9 ", "|  2 ")


def test_list_names_every_lut(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lut", "list"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["LUT", "columns", "passes", "walk", "what", "it", "does"]
    assert [row.split()[0] for row in rows] == list(lut.names())


def test_list_is_a_drawn_table_in_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert cli.main(["lut", "list"]) == 0
    out = capsys.readouterr().out
    assert "┃" in out
    assert "add" in out


def test_show_prints_the_table_and_what_is_proved(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lut", "show", "add"]) == 0
    out = capsys.readouterr().out
    assert " 1 1 0 |  1   | 0 1\n" in out
    assert out.endswith("\nsound in 6 of 24 orders; 4 passes, proved the fewest\n")


def test_show_of_an_unknown_name_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lut", "show", "relv"]) == 2
    message = "apsim: error: there is no LUT named 'relv'; did you mean relu?\n"
    assert capsys.readouterr().err == message


def test_check_proves_all_luts(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lut", "check"]) == 0
    *lines, total = capsys.readouterr().out.splitlines()
    assert all(": sound" in line for line in lines)
    assert total == f"{len(lines)} of {len(lines)} LUTs are sound"
    assert len(lines) == len(lut.names())


def test_check_of_an_unsound_file_exits_with_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (LUTS / "add.toml").read_text(encoding="utf-8")
    (folder / "bad.toml").write_text(swap_passes(text), encoding="utf-8")
    assert cli.main(["lut", "check", "bad.toml", "add"]) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith("1 of 2 LUTs are sound\n")
    assert captured.err.startswith(
        'apsim: unsound: bad.toml, line 14, table row "1 0 0": expected B C = 1 0, '
    )
    assert captured.err.endswith("Run pass 2 before pass 1.\n")


def test_check_of_a_false_claim_exits_with_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (LUTS / "max.toml").read_text(encoding="utf-8")
    claimed = text.replace("\nwalk", '\nminimal = "proved"\nwalk')
    (folder / "max.toml").write_text(claimed, encoding="utf-8")
    assert cli.main(["lut", "check", "max.toml"]) == 1
    assert "got 4, but 3 will do: " in capsys.readouterr().err


def test_check_of_files_that_cannot_be_read_exits_with_2_and_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.toml").write_text("name = \n", encoding="utf-8")
    assert cli.main(["lut", "check", "none.toml", "broken.toml", "relu"]) == 2
    captured = capsys.readouterr()
    assert captured.err == (
        "apsim: error: cannot read the LUT file none.toml: No such file or directory\n"
        "apsim: error: broken.toml, line 1: not valid TOML: Invalid value\n"
    )
    assert captured.out.endswith("1 of 3 LUTs are sound\n")


def test_check_says_which_pass_is_idle(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (LUTS / "ha2.toml").read_text(encoding="utf-8").replace('minimal  = "proved"\n', "")
    (folder / "ha2.toml").write_text(text.replace(" 1 1 | - 0\n", " 1 1 | - 0\n 1 1 | - 0\n"))
    assert cli.main(["lut", "check", "ha2.toml"]) == 0
    assert "; pass 2 can be dropped\n" in capsys.readouterr().out


def test_make_writes_a_lut_file_that_is_found_and_sound(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "and.txt").write_text(AND, encoding="utf-8")
    assert cli.main(["lut", "make", "--truth", "and.txt", "-o", "and.toml"]) == 0
    assert capsys.readouterr().out == "wrote and.toml: sound; 1 pass\n"
    made = lut.find("./and.toml")
    assert (made.name, [str(step) for step in made.passes]) == ("and", ["A B = 0 1 -> B = 0"])


def test_make_prints_what_it_would_write(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "and.txt").write_text(AND, encoding="utf-8")
    assert cli.main(["lut", "make", "--truth", "and.txt", "--name", "both"]) == 0
    made = lut.parse(capsys.readouterr().out)
    assert (made.name, made.source) == ("both", "and.txt")


def test_make_minimal_finds_the_three_pass_maximum(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--truth", str(LUTS / "max.toml"), "--name", "max_again"]
    assert cli.main(["lut", "make", *arguments, "--minimal", "-o", "max.toml"]) == 0
    assert capsys.readouterr().out.endswith("; 3 passes, proved the fewest\n")
    assert lut.load("max.toml").truth == lut.find("max").truth


def test_make_refuses_what_cannot_be_done_in_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "xor.txt").write_text(" A B | B\n 0 - | -\n 1 0 | 1\n 1 1 | 0\n", encoding="utf-8")
    assert cli.main(["lut", "make", "--truth", "xor.txt", "-o", "xor.toml"]) == 2
    assert capsys.readouterr().err.startswith("apsim: error: xor cannot be done in place: ")
    assert not (folder / "xor.toml").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" A B | B\n 0 - | 0\n 1 1 | 1\n", "t.txt, line 1, table: no row for A B = 1 0; "),
        (AND + " 1 1 | 0\n", 't.txt, line 4, table row "1 1": the state 1 1 already has a row'),
        ("A,B,B\n", "t.txt, line 1, table header: expected `INPUTS | pass | OUTPUTS` or "),
    ],
    ids=["missing row", "contradicting row", "no table"],
)
def test_make_names_what_is_wrong_with_a_truth_file(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (folder / "t.txt").write_text(text, encoding="utf-8")
    assert cli.main(["lut", "make", "--truth", "t.txt"]) == 2
    assert capsys.readouterr().err.startswith(f"apsim: error: {message}")


def test_make_asks_for_a_name_where_the_file_gives_none(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "2.txt").write_text(AND, encoding="utf-8")
    assert cli.main(["lut", "make", "--truth", "2.txt"]) == 2
    assert "--name: a LUT's name is small letters" in capsys.readouterr().err


def test_make_to_a_folder_that_does_not_exist_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "and.txt").write_text(AND, encoding="utf-8")
    assert cli.main(["lut", "make", "--truth", "and.txt", "-o", "none/and.toml"]) == 2
    assert "cannot write none/and.toml" in capsys.readouterr().err


def test_a_function_of_a_word_is_listed_as_passes(capsys: pytest.CaptureFixture[str]) -> None:
    scale = ["--scale", "0.125", "--out-scale", "0.0078125"]
    assert cli.main(["lut", "table", "tanh", *scale]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("42 passes (grouped) for 256 words") and len(out) == 2 + 42
    assert cli.main(["lut", "table", "list"]) == 0
    assert "gelu" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["geluu"], "did you mean 'gelu'?"),
        (["log"], "log(-128) has no value, at word -128"),
        (["tanh", "--scale", "0"], "scale must be positive"),
        (["tanh", "--word", "s13"], "13 bits, wanted 12 at most"),
    ],
)
def test_a_function_without_a_table_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["lut", "table", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "rows", "first"),
    [
        (["list"], len(lut.names()), {"LUT": "add", "columns": "A B C", "passes": "4"}),
        (["show", "add"], 4, {"pass": "1", "key_A": "1", "key_B": "1", "write_C": "1"}),
        (["check", "add", "sub"], 2, {"LUT": "add", "code": "0"}),
        (
            ["table", "gelu", "--scale", "0.0625", "--count"],
            None,
            {"pass": "0", "mask": "0", "write": "255"},
        ),
    ],
)
def test_tables_are_written_as_csv(
    command: list[str], rows: int | None, first: dict[str, str], tmp_path: Path
) -> None:
    """a line for each LUT, or for each pass: keys and written bits by column, masked ones empty"""
    path = tmp_path / "x.csv"
    assert cli.main(["lut", *command, "--csv", str(path)]) == 0
    found = list(csv.DictReader(path.read_text().splitlines()))
    assert rows is None or len(found) == rows
    assert found[0].items() >= first.items()


def test_a_file_s_name_is_shown_and_not_obeyed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`wrote NAME` of any verb: no escape sequence gets out"""
    monkeypatch.chdir(tmp_path)
    name = "\x1b]0;title\x07"
    for command in (
        ["lut", "list", "--csv", f"{name}.csv"],
        ["check", "--function", "add", "--ap", "1d", "--json", f"{name}.json"],
        ["guide", "costs", "--notebook", f"{name}.ipynb"],
        ["trace", "add", "--bits", "2", "--html", f"{name}.html"],
    ):
        if command[0] == "guide":
            pytest.importorskip("nbformat")
        assert cli.main(command) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out and "wrote \\x1b]0;title\\x07" in out
