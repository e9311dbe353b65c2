"""Traces say what the array did, read back by parsers that are not ours."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings

from apsim import cli
from apsim.counts import Activity, Counts
from apsim.debug import storage
from apsim.debug.targets import Wanted, open_target
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.trace import Limits, recorder
from tests.helpers.strategies import cells, programs
from tests.helpers.waves import dump_of

LAYOUT = Layout(A=3, B=3, C=1)
COLUMNS = LAYOUT.columns


def traced(path: Path, machine: Machine, program: Any, limits: Limits | None = None) -> Any:
    """The recorder, after the program has run."""
    with recorder(path, machine, program, limits) as told:
        for event in machine.steps(program):
            told(event)
    return told


def dense(contents: np.ndarray) -> Machine:
    machine = Machine(len(contents), LAYOUT, engine="dense")
    machine.cam.poke(contents)
    return machine


def signals(path: Path) -> Any:
    dump = dump_of(path)
    full = {re.sub(r"\[.*", "", name): name for name in dump.signals}
    return lambda name: dump[full[f"apsim.{name}"]]


def test_waves_of_an_8_bit_add_on_64_rows_say_what_happened_signal_by_signal(
    tmp_path: Path,
) -> None:
    """Every cell, tag, key and counter of the dump equals the run's, at every cycle."""
    wanted = Wanted("add", bits=8, rows=64, ap="1d", engine="dense")
    session = open_target(wanted)
    machine, tape = session.machine, session.tape
    path, expected = tmp_path / "add.vcd", []
    with recorder(path, machine, session.program) as told:
        for event in machine.steps(session.program, tape.data, tape.out):
            told(event)
            expected.append((event, machine.cam.peek()))
    value, time = signals(path), 0
    compares = writes = reads = matched = flipped = 0
    for event, after in expected:
        assert int(value("step.number")[time], 2) == event.index
        held = dict(event.step.key) if event.step.op.name == "PASS" else None
        if held is not None:
            for field in machine.layout.values():
                key = "".join(str(held.get(c, 0)) for c in reversed(field.columns))
                assert unsigned(value(f"key.{field.name}")[time], field.width) == key
                mask = "".join(str(int(c in held)) for c in reversed(field.columns))
                assert unsigned(value(f"key_mask.{field.name}")[time], field.width) == mask
        tag = unsigned(value("tag.rows")[time], 64)
        assert [r for r in range(64) if tag[63 - r] == "1"] == event.tag.lines.tolist()
        time += event.counts.total - 1
        for row in range(64):
            for field in machine.layout.values():
                word = "".join(str(int(after[row, c])) for c in reversed(field.columns))
                assert unsigned(value(f"row{row}.{field.name}")[time], field.width) == word
        compares += event.counts.compare
        writes += event.counts.write
        reads += event.counts.read
        matched += event.activity.matched
        flipped += event.activity.flipped
        shown = [int(value(f"counters.{n}")[time], 2) for n in ("compare", "write", "read")]
        assert shown == [compares, writes, reads]
        assert int(value("counters.matched")[time], 2) == matched
        assert int(value("counters.flipped")[time], 2) == flipped
        time += 1
    assert time == session.program.counts().total == 32 + 48 + 9


def unsigned(text: str, width: int) -> str:
    """A vector at its full width: dumps drop leading repetitions."""
    fill = text[0] if text[0] in "xz" else "0"
    return text.rjust(width, fill)


def test_labels_are_strings_of_the_dump(tmp_path: Path) -> None:
    session = open_target(Wanted("relu", bits=4, rows=2, engine="dense"))
    path, labels = tmp_path / "r.vcd", []
    with recorder(path, session.machine, session.program) as told:
        for event in session.machine.steps(session.program, session.tape.data, session.tape.out):
            told(event)
            labels.append(event.step.label)
    text = path.read_text()
    (name,) = re.findall(r"\$var string 1 (\S) label", text)
    shown = re.findall(rf"^s(\S*) {re.escape(name)}$", text, re.MULTILINE)
    changes = [b for a, b in zip(["", *labels], labels, strict=False) if a != b]
    assert [label for label in shown if label] == [label.replace(" ", "_") for label in changes]


@given(cells(5, COLUMNS), programs(5, COLUMNS))
@settings(max_examples=25)
def test_waves_of_any_program_end_in_its_cells(
    tmp_path_factory: pytest.TempPathFactory, contents: np.ndarray, program: Any
) -> None:
    path, machine = tmp_path_factory.mktemp("t") / "p.vcd", dense(contents)
    traced(path, machine, program)
    value, last = signals(path), max(program.counts().total - 1, 0)
    for row in range(5):
        word = "".join(str(int(machine.cam.peek()[row, c])) for c in reversed(LAYOUT["B"].columns))
        assert unsigned(value(f"row{row}.B")[last], 3) == word


def test_the_signal_list_names_signals_of_the_dump(tmp_path: Path) -> None:
    path = tmp_path / "w.vcd"
    assert cli.main(["trace", "relu", "--bits", "4", "--rows", "3", "--vcd", str(path)]) == 0
    lines = (tmp_path / "w.gtkw").read_text().split("\n")
    named = [line for line in lines if line.startswith("apsim.")]
    there = set(dump_of(path).signals)
    assert {re.sub(r"\[.*", "", n) for n in named} == {re.sub(r"\[.*", "", s) for s in there}
    assert '[dumpfile] "w.vcd"' in lines


@given(cells(5, COLUMNS), programs(5, COLUMNS))
@settings(max_examples=30)
def test_events_add_up_to_the_run(
    tmp_path_factory: pytest.TempPathFactory, contents: np.ndarray, program: Any
) -> None:
    """sum(lines) == machine.counts, machine.activity; one line for each step."""
    path, machine = tmp_path_factory.mktemp("t") / "p.jsonl", dense(contents)
    traced(path, machine, program)
    head, *events = [json.loads(line) for line in path.read_text().splitlines()]
    assert head["schema"] == "apsim.trace/1"
    assert [event["step"] for event in events] == list(range(len(program)))
    assert sum((Counts(**e["counts"]) for e in events), Counts()) == machine.counts
    assert sum((Activity(**e["activity"]) for e in events), Activity()) == machine.activity


@pytest.mark.parametrize("suffix", ["vcd", "jsonl", "html"])
@given(cells(5, COLUMNS), programs(5, COLUMNS))
@settings(max_examples=10)
def test_a_traced_run_ends_as_a_plain_run(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, contents: np.ndarray, program: Any
) -> None:
    """Watching changes nothing: cells, tags and counters equal those of machine.run."""
    watched, plain = dense(contents), dense(contents)
    traced(tmp_path_factory.mktemp("t") / f"p.{suffix}", watched, program)
    plain.run(program)
    assert watched.cam.peek().tolist() == plain.cam.peek().tolist()
    assert watched.cam.tag.tolist() == plain.cam.tag.tolist()
    assert (watched.counts, watched.activity) == (plain.counts, plain.activity)


def test_a_saved_session_is_traced_from_its_start_with_its_edits(tmp_path: Path) -> None:
    """trace(save(session)) has every step, and ends where the session ends."""
    saved, path = tmp_path / "s.json", tmp_path / "t.jsonl"
    session = open_target(Wanted("add", {"A": [1, 2], "B": [3, 4]}, bits=4, ap="1d"))
    session.go_to(16)
    session.edit((0, session.machine.layout["B"][3], 1))
    storage.save(session, saved)
    assert cli.main(["trace", str(saved), "--jsonl", str(path)]) == 0
    events = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    session.go_to(session.end)
    assert len(events) == len(session.timeline)
    total = sum((Activity(**event["activity"]) for event in events), Activity())
    assert total == session.tape.activity


@pytest.mark.parametrize("suffix", ["vcd", "jsonl", "html"])
def test_what_is_cut_is_said(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"c.{suffix}"
    command = [
        "trace",
        "add",
        "--bits",
        "4",
        "--rows",
        "70",
        f"--{suffix}",
        str(path),
        "--steps",
        "5",
    ]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "cut to 64 of 70 rows and the first 5 of 29 steps" in said
    assert "cut to 64 of 70 rows" in path.read_text()


EVENTS = {
    "type": "object",
    "required": ["traceEvents", "displayTimeUnit"],
    "properties": {
        "displayTimeUnit": {"enum": ["ns", "ms"]},
        "traceEvents": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "ph", "pid", "tid"],
                "properties": {
                    "name": {"type": "string"}, "ph": {"enum": ["X", "M", "i"]},
                    "pid": {"type": "integer"}, "tid": {"type": "integer"},
                    "ts": {"type": "integer", "minimum": 0},
                    "dur": {"type": "integer", "minimum": 0}, "args": {"type": "object"},
                },
                "if": {"properties": {"ph": {"const": "X"}}}, "then": {"required": ["ts", "dur"]},
            },
        },
    },
}  # fmt: skip


def timeline(path: Path) -> list[dict[str, Any]]:
    """The events of a file that fits the trace event format."""
    found = json.loads(path.read_text())
    jsonschema.validate(found, EVENTS)
    return [event for event in found["traceEvents"] if event["ph"] == "X"]


def test_a_timeline_of_an_operation_lasts_as_long_as_its_steps(tmp_path: Path) -> None:
    """dur(program) == sum(dur(steps)) == counts: 89 cycles for an 8-bit add."""
    path = tmp_path / "t.json"
    assert cli.main(["trace", "add", "--ap", "1d", "--perfetto", str(path)]) == 0
    events = timeline(path)
    (whole,) = [event for event in events if event["cat"] == "program"]
    steps = [event for event in events if event["cat"] == "step"]
    assert whole["dur"] == sum(step["dur"] for step in steps) == 89
    ends = [step["ts"] + step["dur"] for step in steps]
    assert [step["ts"] for step in steps] == [0, *ends[:-1]]


def test_a_timeline_of_a_whole_network_is_the_run_of_its_layers(tmp_path: Path) -> None:
    """Layers follow one another; the counts of a layer are those of its loads; < 20 MB."""
    path = tmp_path / "t.json"
    assert cli.main(["trace", "digits", "--perfetto", str(path)]) == 0
    events = timeline(path)
    layers = [event for event in events if event["cat"] == "layer"]
    loads = [event for event in events if event["cat"] == "load"]
    for layer in layers:
        end = layer["ts"] + layer["dur"]
        inside = [load for load in loads if layer["ts"] <= load["ts"] < end]
        assert all(load["ts"] + load["dur"] <= end for load in inside)
        total = sum((Counts(**load["args"]) for load in inside), Counts())
        assert total == Counts(**layer["args"])
    assert [b["ts"] for b in layers[1:]] == [a["ts"] + a["dur"] for a in layers[:-1]]
    assert path.stat().st_size < 20e6


def test_operations_of_a_load_fill_it(tmp_path: Path) -> None:
    """Within a load: sum(operations) == load, sum(phases) == sum(operations)."""
    path = tmp_path / "t.json"
    cli.main(["trace", "digits", "--perfetto", str(path)])
    events = [event for event in timeline(path) if event["pid"] == 2]
    by_kind = {kind: sum(e["dur"] for e in events if e["cat"] == kind)
               for kind in ("load", "operation", "phase")}  # fmt: skip
    assert by_kind["load"] == by_kind["operation"] == by_kind["phase"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add"], "wanted at least one of --vcd"),
        (["add", "--vcd", "x.txt"], "wanted a file named .vcd"),
        (["add", "--jsonl", "missing/x.jsonl"], "cannot write"),
        (["ad", "--jsonl", "x.jsonl"], "did you mean 'add'?"),
        (["digits", "--vcd", "x.vcd"], "name a layer as digits:LAYER"),
        (["digits:conv9", "--vcd", "x.vcd"], "did you mean 'conv"),
        (["digits:conv1", "--load", "7", "--vcd", "x.vcd"], "there is no load 7 on CAP 0"),
        (["digits:conv1", "--caps", "2", "--cap", "2", "--vcd", "x.vcd"], "wanted a CAP 0 to 1"),
        (["add", "--set", "Q=1", "--vcd", "x.vcd"], "operands are A, B"),
        (["add", "--set", "A", "--vcd", "x.vcd"], "wanted FIELD=1,2,3"),
        (["add", "--set", "A=999", "--vcd", "x.vcd"], "wanted values from 0 to 255"),
        (["add", "--set", "A=1,2", "--set", "B=1,2,3", "--vcd", "x.vcd"], "wanted 1 or 3 words"),
        (["add", "--show-rows", "9", "--vcd", "x.vcd"], "wanted rows 0 to 3"),
        (["add", "--rows", "-1", "--vcd", "x.vcd"], "wanted 1 to"),
        (["run", "--vcd", "x.vcd"], "a layer is named as MODEL:LAYER"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_in_one_line_and_leaves_no_file(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.main(["trace", *arguments]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.startswith("apsim: error: ")
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
