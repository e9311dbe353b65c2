"""Every page of the guide does what it shows: snippets, commands, files, and its notebook.

`APSIM_GOLDEN=write` writes what came into the pages instead.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from apsim import errors, guide
from apsim.cli import main
from apsim.closed_form import realisable
from apsim.nn.importers.options import NORM_RULES, SOFTMAX_RULES
from apsim.nn.rules import FAMILIES

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SECONDS = re.compile(r"\d+\.\d+ m?s\b")
WRITE = os.environ.get("APSIM_GOLDEN") == "write"
ELSEWHERE = {"rtl", "mappings"}  # tests/rtl and tests/commands/test_mappings.py run them
FOLDER = Path(guide.__file__).parent


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.mark.parametrize("topic", [t for t in guide.topics() if t not in ELSEWHERE])
def test_a_page_does_what_it_shows(topic: str, folder: Path) -> None:
    """In order: files are written, snippets print what they show, commands too."""
    page = guide.page(topic)
    text, names = page.text, {}
    for block in page.blocks:
        came = run(block, names, folder)
        if WRITE and came != block.text:
            text = text.replace(block.text, came, 1)
        elif not WRITE:
            assert agrees(block.text, came), came
    if WRITE:
        (FOLDER / f"{topic}.md").write_text(text)


def run(block: guide.Block, names: dict[str, object], folder: Path) -> str:
    """The block as it would stand with what it gives."""
    first, _, rest = block.text.partition("\n")
    if block.language in ("toml", "csv") and first.startswith("# "):
        (folder / first[2:]).write_text(rest)
    if block.language == "python":
        return snippet(block.text, names)
    if block.language == "console":
        parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
        return "".join(command(*part.partition("\n")[::2]) for part in parts)
    return block.text


def snippet(text: str, names: dict[str, object]) -> str:
    """The examples of a snippet with what each printed; doctest's own way of running them."""
    came = []
    for example in doctest.DocTestParser().get_examples(text):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(example.source, "<page>", "single"), names)
        source = example.source.rstrip("\n").split("\n")
        prompts = ["... "] * len(source)
        prompts[0] = ">>> "
        came += [f"{p}{line}".rstrip() for p, line in zip(prompts, source, strict=True)]
        printed = out.getvalue().rstrip("\n")
        shown = doctest.OutputChecker().check_output(example.want, printed + "\n", FLAGS)
        kept = example.want.rstrip("\n") if shown and example.want else printed
        came += [kept] if kept else []
    return "\n".join(came) + "\n"


def command(line: str, shown: str) -> str:
    program, *arguments = shlex.split(line)
    assert program == "apsim"
    done = subprocess.run(
        [sys.executable, "-m", "apsim", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    came = "".join(f"{one.rstrip()}\n" for one in done.stdout.splitlines())
    kept = shown if agrees(shown, came) and shown.strip() else came
    return f"$ {line}\n{kept}"


def agrees(shown: str, came: str) -> bool:
    """Equal but for seconds, and for what `...` leaves out."""
    return doctest.OutputChecker().check_output(
        SECONDS.sub("- s", shown), SECONDS.sub("- s", came), FLAGS
    )


@pytest.mark.parametrize("topic", guide.topics())
def test_a_page_is_a_notebook_of_the_same_cells(topic: str) -> None:
    """as many code cells as blocks that run, each without prompts"""
    nbformat = pytest.importorskip("nbformat")
    from apsim.guide.notebook import notebook

    made = nbformat.reads(notebook(guide.page(topic)), 4)
    code = [cell.source for cell in made.cells if cell.cell_type == "code"]
    runnable = [b for b in guide.page(topic).blocks if b.language in ("python", "console")]
    assert len(code) >= len(runnable)
    assert not any(line.startswith((">>> ", "... ")) for one in code for line in one.splitlines())


def test_the_kernel_hands_a_command_to_the_shell_as_the_page_has_it() -> None:
    """what IPython makes of each command cell == the page's line, of this environment's apsim"""
    text = pytest.importorskip("IPython.utils.text")
    from apsim.guide.notebook import notebook

    lines, came = [], []
    for topic in guide.topics():
        blocks = [block for block in guide.page(topic).blocks if block.language == "console"]
        lines += re.findall(r"^\$ (.*)", "\n".join(block.text for block in blocks), re.M)
        for cell in json.loads(notebook(guide.page(topic)))["cells"]:
            shell = [line[1:] for line in cell["source"].splitlines() if line.startswith("!")]
            came += [text.DollarFormatter().vformat(line, (), {"sys": sys}) for line in shell]
    assert any("$" in line for line in lines)
    assert came == [line.replace("apsim ", f"{sys.executable} -m apsim ") for line in lines]


IN_CI = "first-lut"
RUN = [
    topic if topic == IN_CI else pytest.param(topic, marks=pytest.mark.long)
    for topic in guide.topics()
    if topic != "rtl"
]


@pytest.mark.parametrize("topic", RUN)
def test_a_notebook_runs(topic: str, folder: Path) -> None:
    """Executed from the first cell to the last, nothing raises, and every command is found."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    from apsim.guide.notebook import notebook

    made = nbformat.reads(notebook(guide.page(topic)), 4)
    here = {"metadata": {"path": str(folder)}}
    client.NotebookClient(made, timeout=120, resources=here).execute()
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    said = "".join(str(output) for cell in code for output in cell.outputs)
    assert not re.search(r"not found|No module|apsim: (error|a defect)", said)


def test_a_lut_of_ones_own_is_proved_and_property_tested_in_ten_lines() -> None:
    """at the deadline that hypothesis has by itself"""
    (block,) = [b for b in guide.page("first-lut").blocks if "@given" in b.text]
    lines = block.text.splitlines()
    assert [line[4:] for line in lines].index("test_xor()") <= 10
    assert "deadline" not in block.text


def test_topics_are_listed_with_their_titles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guide"]) == 0
    out = capsys.readouterr().out
    assert all(f"{topic:16} {guide.page(topic).title}" in out for topic in guide.topics())


def test_a_page_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guide", "first-lut"]) == 0
    assert "property-tested" in capsys.readouterr().out
    assert main(["guide", "first-lut", "--plain"]) == 0
    assert capsys.readouterr().out == guide.page("first-lut").text


@pytest.mark.parametrize(
    "arguments,message",
    [(["frst-lut"], "did you mean 'first-lut'?"), (["--notebook", "x.ipynb"], "wanted a topic")],
)
def test_what_is_no_page_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["guide", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_notebook_that_exists_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nbformat")
    assert main(["guide", "first-lut", "--notebook", "lut.ipynb"]) == 0
    before = Path("lut.ipynb").read_bytes()
    Path("lut.ipynb").write_text("mine")
    assert main(["guide", "first-lut", "--notebook", "lut.ipynb"]) == 2
    assert "--force" in capsys.readouterr().err and Path("lut.ipynb").read_text() == "mine"
    assert main(["guide", "first-lut", "--notebook", "lut.ipynb", "--force"]) == 0
    assert Path("lut.ipynb").read_bytes() == before


def test_the_reference_has_every_rule_term_and_error() -> None:
    text = " ".join(guide.page("reference").text.split())
    for name, reason in realisable.REASONS.items():
        assert f"`{name}`" in text and " ".join(reason.split()) in text
    assert all(rule in text for rule in FAMILIES)
    assert all(f"`{rule}`" in text for rule in (*SOFTMAX_RULES, *NORM_RULES))
    assert all(f"`{rule}`" in text for rule in (*SOFTMAX_RULES, *NORM_RULES))
    kinds = [one for one in vars(errors).values() if isinstance(one, type)]
    known = [one.__name__ for one in kinds if issubclass(one, errors.ApsimError)]
    assert all(f"`{name}`" in text for name in known)
