"""A run as a table and as JSON: what it must hold, and what it must not hide."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import jsonschema
import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from apsim.counts import Counts
from apsim.nn import runtime
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.seconds import Seconds
from apsim.nn.runtime import Run
from apsim.report.run.tables import run_json, run_lines, run_table, verdict
from apsim.report.screen import screen
from tests.helpers.networks import integers_in, small_network

MODEL = small_network()


@pytest.fixture(scope="module")
def done() -> Run:
    """Two images through a small network."""
    x = integers_in(MODEL.tensors["x"], 2, 0)
    return runtime.run(MODEL, x, Chip.preset("bf-imna-lr", ap="2d-seg-tc"), labels=[1, 2])


def failed(run: Run, layer: int, **changes: Any) -> Run:
    """The run with one layer's verdict changed."""
    layers = list(run.layers)
    layers[layer] = replace(layers[layer], **changes)
    return replace(run, layers=tuple(layers))


def miscounted(run: Run, layer: int) -> Run:
    part = run.layers[layer].parts[0]
    return failed(run, layer, parts=(replace(part, counts=part.counts + Counts(write=1)),))


NUMBER = {"type": "integer", "minimum": 0}
SECONDS = {"type": "number", "minimum": 0}
PARTS = ("program", "load", "passes", "unload")


def record(required: dict[str, Any], *, closed: bool = False) -> dict[str, Any]:
    """A JSON schema: these keys with these types, and others where it is not closed."""
    return {
        "type": "object", "properties": required, "required": list(required),
        "additionalProperties": not closed,
    }  # fmt: skip


COUNTS = record({"compare": NUMBER, "write": NUMBER, "read": NUMBER}, closed=True)
DIFFERENCE = record({name: {"type": "integer"} for name in ("compare", "write", "read")})
SECONDS_BY = record(dict.fromkeys(PARTS, SECONDS), closed=True)
TERMS = {"type": "object", "additionalProperties": DIFFERENCE}
YES = {"type": "boolean"}
LAYER = record({
    "name": {"type": "string"}, "op": {"type": "string"}, "bits_a": NUMBER,
    "bits_w": {"type": ["integer", "null"]}, "macs": NUMBER, "loads": NUMBER, "counts": COUNTS,
    "predicted": COUNTS, "paper": COUNTS, "terms": TERMS, "bit_exact": YES, "counts_match": YES,
    "compared": {"type": "string"}, "shape": {"type": "array", "items": NUMBER},
    "activity": record(dict.fromkeys(("compared", "matched", "written", "flipped"), NUMBER)),
    "engine_seconds": SECONDS, "engine_seconds_by": SECONDS_BY, "seconds": SECONDS,
})  # fmt: skip
AP = record({
    "kind": {"enum": ["1d", "2d", "2d-seg"]}, "tag_chain": YES, "rows": NUMBER,
    "columns": NUMBER,
})  # fmt: skip
SCHEMA = record({
    "schema": {"const": "apsim.run/1"}, "model": {"type": "string"}, "ap": AP, "images": NUMBER,
    "correct": {"type": ["integer", "null"]}, "bit_exact": YES, "counts_match": YES,
    "layers": {"type": "array", "items": LAYER, "minItems": 1},
    "totals": record({"counts": COUNTS, "predicted": COUNTS, "paper": COUNTS, "terms": TERMS}),
    "engine_seconds": SECONDS, "engine_seconds_by": SECONDS_BY, "seconds": SECONDS,
})  # fmt: skip


def test_the_json_of_a_run_is_of_its_schema(done: Run) -> None:
    """Keys and types of apsim.run/1, after a way through text"""
    jsonschema.validate(json.loads(json.dumps(run_json(done), allow_nan=False)), SCHEMA)


def test_the_json_of_a_failed_run_is_of_the_same_schema(done: Run) -> None:
    wrong = run_json(miscounted(failed(done, 0, bit_exact=False), 1))
    jsonschema.validate(json.loads(json.dumps(wrong)), SCHEMA)
    assert (wrong["bit_exact"], wrong["counts_match"]) == (False, False)


def add(counts: list[dict[str, int]]) -> dict[str, int]:
    return {name: sum(c[name] for c in counts) for name in ("compare", "write", "read")}


def test_the_json_adds_up(done: Run) -> None:
    """totals == sum of layers; counts == predicted == paper + terms, in each layer and in total"""
    found = run_json(done)
    for name in ("counts", "predicted", "paper"):
        assert found["totals"][name] == add([layer[name] for layer in found["layers"]])
    assert found["totals"]["loads"] == sum(layer["loads"] for layer in found["layers"])
    assert found["totals"]["cycles"] == sum(found["totals"]["counts"].values())
    for one in (*found["layers"], found["totals"]):
        assert one["counts"] == one["predicted"]
        assert one["counts"] == add([one["paper"], *one["terms"].values()])


def test_the_parts_of_engine_seconds_add_up(done: Run) -> None:
    """program + load + passes + unload == engine seconds, in each layer and in total"""
    found = run_json(done)
    for one in (*found["layers"], found):
        assert sum(one["engine_seconds_by"].values()) == pytest.approx(one["engine_seconds"])
    for part in PARTS:
        spent = [layer["engine_seconds_by"][part] for layer in found["layers"]]
        assert sum(spent) == pytest.approx(found["engine_seconds_by"][part])
        assert all(seconds > 0 for seconds, layer in zip(spent, done.layers, strict=True)
                   if layer.parts)  # fmt: skip
    assert found["engine_seconds"] <= found["seconds"]


def test_a_large_run_says_what_its_engine_seconds_went_into(done: Run) -> None:
    """1 + 2 + 5 + 2 seconds: load and unload are 40 %; not a word of it in a small run"""
    assert not any(line.startswith("engine") for line in run_lines(done))
    part = replace(done.layers[0].parts[0], seconds=Seconds(1, 2, 5, 2))
    others = tuple(replace(layer, parts=()) for layer in done.layers[1:])
    large = replace(done.layers[0], macs=10**9, parts=(part,))
    (line,) = (
        line for line in run_lines(replace(done, layers=(large, *others)))
        if line.startswith("engine")
    )  # fmt: skip
    assert line == (
        "engine 10.00 s: program 1.00 s, load 2.00 s, passes 5.00 s, unload 2.00 s; "
        "load (im2col included) and unload 40.0% of it"
    )


def test_the_tag_chain_stands_beside_the_kind(done: Run) -> None:
    """2d-seg-tc is the kind 2d-seg with a tag chain, and its hardware is named."""
    ap = run_json(done)["ap"]
    assert (ap["kind"], ap["tag_chain"]) == ("2d-seg", True)
    assert "chain across the column tags" in ap["hardware"]


def shown(run: Run, width: int, **options: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width, **options)
    console.print(run_table(run, short=width < 180))
    stream: Any = console.file
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 180, 240])
def test_a_table_keeps_within_its_width_and_shows_every_layer(done: Run, width: int) -> None:
    lines = shown(done, width)
    assert max(map(len, lines)) <= width
    for layer in done.layers:
        named = [line for line in lines if layer.name[:8] in line]
        assert named, layer.name
    assert sum(" exact" in line for line in lines) == 1 + sum(bool(x.parts) for x in done.layers)


@pytest.mark.parametrize("name", ["conv[1]", "[/block]", "[red]x", "a\\[b]"])
def test_names_that_look_like_markup_are_shown_as_they_are(done: Run, name: str) -> None:
    assert any(name in line for line in shown(failed(done, 0, name=name), 200))


def test_a_wide_table_holds_the_numbers_whole(done: Run) -> None:
    text = "\n".join(shown(done, 200))
    for layer in done.layers:
        if layer.parts:
            assert f" {layer.counts.total:,} " in text
    assert f" {done.counts.total:,} " in text


@pytest.mark.parametrize(
    ("exact", "match", "words"),
    [
        (True, True, "exact"),
        (False, True, "value differs"),
        (True, False, "count differs"),
        (False, False, "value and count differ"),
    ],
)
def test_a_verdict_says_what_differs(exact: bool, match: bool, words: str) -> None:
    assert verdict(exact, match) == words


def test_a_layer_that_fails_is_seen_in_its_line_and_at_the_end(done: Run) -> None:
    """One wrong layer: its verdict, the total's, and FAIL"""
    wrong = failed(done, 2, bit_exact=False)
    lines = shown(wrong, 200)
    assert sum("value differs" in line for line in lines) == 2
    assert run_lines(wrong)[-1].startswith("FAIL: NOT bit-exact, counted == predicted, ")


def test_a_wrong_count_is_seen_in_its_line_and_at_the_end(done: Run) -> None:
    wrong = miscounted(done, 2)
    assert sum("count differs" in line for line in shown(wrong, 200)) == 2
    assert run_lines(wrong)[-1].startswith("FAIL: bit-exact, counted != predicted, ")


def test_a_layer_on_the_host_that_fails_is_not_called_on_the_host(done: Run) -> None:
    place = next(k for k, layer in enumerate(done.layers) if not layer.parts)
    assert sum("on the host" in line for line in shown(done, 200)) == 1
    lines = shown(failed(done, place, bit_exact=False), 200)
    assert not any("on the host" in line for line in lines)


def test_a_sampled_check_is_said_in_the_report(done: Run) -> None:
    """Not a word of it where all values were compared"""
    said = "checked: a sample of channels of each weighted layer, all of the others"
    assert said not in run_lines(done)
    assert said in run_lines(failed(done, 0, compared="8 of 40 channels"))


def test_the_accuracy_is_that_of_the_images(done: Run) -> None:
    right = replace(done, correct=1)
    assert "accuracy: 1 of 2 = 50.00%" in run_lines(right)
    assert not any("accuracy" in line for line in run_lines(replace(done, correct=None)))


def test_terms_explain_the_whole_difference_from_the_paper(done: Run) -> None:
    """paper + named terms == cycles, as the line says"""
    (line,) = (line for line in run_lines(done) if line.startswith("cycles = paper"))
    numbers = [int(word.strip(",").replace(",", "")) for word in line.split()
               if word.strip(",+-").replace(",", "").isdigit()]  # fmt: skip
    assert sum(numbers) == done.counts.total


def test_a_run_without_labels_has_no_accuracy() -> None:
    x = np.zeros((1, *MODEL.tensors["x"].shape), int)
    run = runtime.run(MODEL, x, Chip.preset("bf-imna-lr"))
    assert run_json(run)["correct"] is None


def test_a_name_that_looks_like_an_emoji_is_shown_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen().say(":warning:")
    table = Table(":x:")
    table.add_row(":smile:")
    screen().fit(table)
    assert capsys.readouterr().out.split() == [":warning:", ":x:", ":smile:"]
