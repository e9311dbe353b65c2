"""`apsim check` as a person types it: files, exit codes, findings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apsim.check import row
from apsim.cli import main
from tests.conftest import ROOT

QUICK = ["check", "--function", "matmul", "--ap", "2d"]


def test_rows_are_written_as_json_markdown_and_html(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {kind: tmp_path / f"check.{kind}" for kind in ("json", "markdown", "html")}
    options = [text for kind, path in files.items() for text in (f"--{kind}", str(path))]
    assert main([*QUICK, "--ap", "1d", *options]) == 0
    document = json.loads(files["json"].read_text())
    assert document["schema"] == "apsim.check/1"
    assert {entry["ap"] for entry in document["rows"]} == {"1d", "2d"}
    assert {entry["status"] for entry in document["rows"]} <= {"exact", "explained"}
    assert files["markdown"].read_text().startswith("# Conformance to the equations")
    assert files["html"].read_text().startswith("<!DOCTYPE html>")
    assert f"{len(document['rows'])} rows" in capsys.readouterr().out


def test_a_failed_row_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    wrong = replace(row.FUNCTIONS["matmul"], expected=lambda p, a, b: a @ b + 1)
    monkeypatch.setitem(row.FUNCTIONS, "matmul", wrong)
    assert main(QUICK) == 1
    shown = capsys.readouterr()
    assert "FAIL" in shown.out
    assert "fail: matmul on 2d (i=2, j=4, u=2" in shown.err


def test_the_tag_chain_is_an_option_of_the_2d_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    """--ap 2d --tag-chain == --ap 2d-tc, with its extra hardware stated"""
    assert main([*QUICK, "--tag-chain"]) == 0
    shown = capsys.readouterr().out
    assert "2d-tc" in shown
    assert "beyond the paper: a carry/prefix chain" in shown


def test_the_equations_alone_are_printed_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "equations.json"
    assert main(["check", "--ap", "analytic", "--function", "add", "--json", str(path)]) == 0
    assert "nothing below was executed" in capsys.readouterr().out
    assert {entry["status"] for entry in json.loads(path.read_text())["rows"]} == {"equation"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ap", "3d"], "got '3d'; did you mean "),
        (["--function", "divide"], "got 'divide'"),
        (["--ap", "1d", "--tag-chain"], "--tag-chain: wanted --ap 2d or 2d-seg, got 1d"),
        (["--ap", "opt", "--function", "subtract"], "no subtract on opt: nothing to check"),
        (["--ap", "analytic", "--ap", "2d"], "--ap analytic prints equations: no other kind"),
        (["--findings", "--ap", "2d"], "--findings goes with --markdown, --json and --csv FILE"),
        (["--function", "add", "--ap", "1d", "--json", "no/such/x.json"], "cannot write no/such"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["check", *options])
    except SystemExit as stop:  # argparse's own way
        code = int(stop.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err


def test_findings_are_printed_with_numbers_just_computed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """P(7) of 64 x 64 x 64, its terms, the thresholds, and all 18 inconsistencies"""
    assert main(["check", "--findings"]) == 0
    text = capsys.readouterr().out
    assert "| 2,064,934 | 2,061,006 | 770,388, 1,032,548, 258,070 |" in text
    assert "carry_resolution +168, first_add -4,096" in text
    assert "| reduce | M=8 | L=256 | L=256 |" in text
    assert "| matmul | Ma=8, Mw=8, j=64, u=1 | i=3 | i=2 |" in text  # 192 rows printed
    assert "| max_pool | M=8, S=4, scheme=prefix | K=9 | K=3 |" in text
    assert "= 219 and\n`181 and 110` = 36, not 291" in text
    assert sum(f"\n| {number} | " in text for number in range(1, 30)) == 18
    assert "21 of 21 cells equal" in text


def test_the_findings_that_the_readme_links_to_are_those_printed_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """apsim/check/findings.md == apsim check --findings"""
    path = tmp_path / "findings.md"
    assert main(["check", "--findings", "--markdown", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    assert path.read_text() == (ROOT / "apsim" / "check" / "findings.md").read_text()
