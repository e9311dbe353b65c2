"""Softmax, norms and products of two activations as layers: executed, and counted as forecast."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim.ap_kind import ApKind
from apsim.counts import Counts, Phase
from apsim.debug.layer_load import find_load, image_of
from apsim.debug.targets import on_function
from apsim.errors import InputError, ProgramError
from apsim.nn import exact, runtime
from apsim.nn.model import Layer, Linear, MatMul, Model, Normalize, Softmax, Tensor, check, store
from apsim.nn.on_ap import plan
from apsim.nn.on_ap.chip import Chip, Design
from apsim.nn.on_ap.execute import execute
from apsim.nn.on_ap.tasks import Setting
from apsim.nn.rules.normalize import exponential
from apsim.program import Op
from tests.helpers.on_ap import build_otherwise

KINDS = [kind.value for kind in ApKind]
WHAT = ("softmax", "ita", "layer", "rms")


NAMES = {"softmax": "softmax", "ita": "ITA softmax", "layer": "layer norm", "rms": "RMS norm"}
ROWS = {"softmax": "softmax", "ita": "ita_softmax", "layer": "layer_norm", "rms": "rms_norm"}


def chip(kind: str = "2d", rows: int = 4800, columns: int = 160, **options: Any) -> Chip:
    return Chip(Design("test", 1, 1, rows, columns, "this test"), ap=kind, **options)


def of_one(layer: Layer, **tensors: Tensor) -> Model:
    return Model("one", "onnx-exact", layer.inputs, (layer.output,), tensors, (layer,))


def network(what: str, shape: tuple[int, ...] = (3, 8), bits: int = 8) -> Model:
    """One layer over words of the last axis."""
    named: Any = {"name": what, "inputs": ("x",), "output": "y"}
    scale = 2.0 ** (4 - bits)
    x = Tensor(shape, bits, True, scale)
    if what == "ita":
        layer = Softmax(**named, factor=math.log(2) / (1 << bits // 2), rule="ita")
        return of_one(layer, x=x, y=Tensor(shape, 8, False, 1 / 256))
    if what == "softmax":
        table = exponential(scale, bits)
        layer = Softmax(**named, factor=scale, rule="ap", table=table)
        return of_one(layer, x=x, y=Tensor(shape, 8, False, 1 / 256))
    return of_one(Normalize(**named, kind=what), x=x, y=Tensor(shape, 8, True, 1 / 32))


def words(model: Model, images: int, seed: int = 0) -> np.ndarray:
    """Images whose words have all widths, so that roots, sums and ties are small as well."""
    rng, x = np.random.default_rng(seed), model.tensors["x"]
    drawn = rng.integers(x.lo, x.hi, (images, *x.shape), endpoint=True)
    return drawn >> rng.integers(0, x.bits, (images, *x.shape[:-1], 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", WHAT)
@settings(max_examples=6)
@given(
    size=st.sampled_from([1, 2, 3, 8, 11, 16, 24, 32]), lead=st.integers(1, 3),
    images=st.integers(1, 3),
    bits=st.integers(2, 8), rows=st.sampled_from([4800, 70]), literal=st.booleans(),
    broadcast=st.sampled_from(["group", "rows"]), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_layer_is_its_twin_and_takes_what_is_predicted(
    what: str, kind: str, size: int, lead: int, images: int, bits: int, rows: int,
    literal: bool, broadcast: str, seed: int,
) -> None:  # fmt: skip
    """run(layer, x) == exact(layer, x), counted == predicted, on CAPs of any size"""
    model = network(what, (2, lead, size), bits)
    x = words(model, images, seed)
    on = chip(kind, rows, literal=literal, broadcast=broadcast)
    done = runtime.run(model, x, on)
    np.testing.assert_array_equal(done.outputs, exact.run(model, x)["y"])
    assert done.passed
    assert (
        done.counts
        == on.counts
        == plan.predicted(model, images, ApKind(kind), rows, broadcast=broadcast)[what].predicted
    )
    assert not done.layers[0].host


@pytest.mark.parametrize("what", WHAT)
def test_groups_that_do_not_fit_one_cap_are_dealt_to_several(what: str) -> None:
    """loads == ceil(groups / (rows div T)); each takes what its own program lists"""
    model = network(what, (5, 8))
    done = runtime.run(model, words(model, 3), chip("1d", rows=39)).layers[0]
    task = plan.plan_of(model, model.layers[0], Setting(ApKind.ONE_D, 39, 3)).body[0]  # type: ignore[union-attr]
    (loads,) = task.loads
    assert done.loads == loads.fold.loads == -(-15 // (39 // 8)) == 4
    each = [(loads.program(groups).program.counts(), times) for groups, times in loads.fold.sizes()]
    assert [times for _, times in each] == [3, 1]
    assert done.counts == sum((counts * times for counts, times in each), Counts())


@pytest.mark.parametrize("kind", KINDS)
def test_a_causal_mask_leaves_later_words_out(kind: str) -> None:
    """p[t, u > t] == 0 and each line is the softmax of its first words; 2 C and 3 W a load more"""
    model = network("softmax", (2, 6, 6))
    mask = np.triu(np.ones((6, 6), np.int64), 1)
    masked = replace(model, layers=(replace(model.layers[0], mask=mask),))  # type: ignore[call-arg]
    x = words(model, 3)
    done, open_to_all = (runtime.run(net, x, chip(kind, 70)) for net in (masked, model))
    assert done.passed
    table = model.layers[0].table  # type: ignore[attr-defined]
    for line, (row, p) in enumerate(
        zip(x.reshape(-1, 6).tolist(), done.outputs.reshape(-1, 6).tolist(), strict=True)
    ):
        first = row[: line % 6 + 1]
        e = [int(table[max(first) - s]) for s in first]
        assert p[: len(first)] == [min((512 * k + sum(e)) // (2 * sum(e)), 255) for k in e]
    assert not (done.outputs * mask).any()
    loads = done.layers[0].loads
    assert done.counts - open_to_all.counts == Counts(compare=2, write=3) * loads


@pytest.mark.parametrize("what", ["softmax", "ita", "layer"])
@pytest.mark.parametrize("kind", ["1d", "2d-seg-tc"])
def test_unsigned_words_are_taken_as_they_are(what: str, kind: str) -> None:
    """A softmax or layer norm of words and of words less a constant is the same"""
    signed = network(what)
    tensors = {**signed.tensors, "x": Tensor((3, 8), 8, False, 1 / 16, 3)}
    model = replace(signed, tensors=tensors)
    x = words(model, 4)
    done = runtime.run(check.verify(model), x, chip(kind))
    assert done.passed
    np.testing.assert_array_equal(done.outputs, exact.run(signed, x - 128)["y"])


@pytest.mark.parametrize("what", WHAT)
def test_groups_of_one_word_run_on_loads_of_any_number(what: str) -> None:
    """Rows that know nothing of each other, as loads of the emulator side by side"""
    model = network(what, (16, 1))
    done = runtime.run(model, words(model, 12), chip("1d", 9))
    assert done.passed


@pytest.mark.parametrize(("rule", "factor"), [("ap", 1e-6), ("ita", math.log(2) / 2**16)])
def test_an_exponential_that_is_one_value_takes_no_passes(rule: str, factor: float) -> None:
    """p == min((512 T + T) div 2T, 255) or (65280 div 256 T), the same for all words"""
    table = exponential(factor, 8) if rule == "ap" else None
    layer = Softmax(name="s", inputs=("x",), output="y", factor=factor, rule=rule, table=table)
    model = of_one(layer, x=Tensor((2, 5), 8, True, 1.0), y=Tensor((2, 5), 8, False, 1 / 256))
    done = runtime.run(model, words(model, 3), chip("1d"))
    assert done.passed
    assert set(done.outputs.ravel().tolist()) == {51}


@pytest.mark.parametrize("what", WHAT)
def test_every_engine_gives_the_same_values_counts_and_activity(what: str) -> None:
    model = network(what)
    x = words(model, 2)
    found = [runtime.run(model, x, chip("2d", 30, engine=engine))
             for engine in ("dense", "strict", "fused")]  # fmt: skip
    first, *others = found
    assert first.passed
    for other in others:
        np.testing.assert_array_equal(first.outputs, other.outputs)
        assert (first.chip.counts, first.chip.activity) == (other.chip.counts, other.chip.activity)


def test_a_broadcast_by_rows_takes_a_write_for_each_other_row() -> None:
    """+ G (T - 1) writes for each of the two words that are shared"""
    model = network("layer", (3, 8))
    x = words(model, 2)
    at_once, by_rows = (runtime.run(model, x, chip(broadcast=way)) for way in ("group", "rows"))
    assert by_rows.counts - at_once.counts == Counts(write=2 * 6 * 7)
    terms = [run.layers[0].terms["broadcast"] for run in (at_once, by_rows)]
    assert terms == [Counts(write=12, read=12), Counts(write=96, read=12)]


@pytest.mark.parametrize("what", WHAT)
def test_a_step_that_is_left_out_shows_in_the_value_or_the_count(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(what)
    name = ROWS[what]

    def without_a_pass(function: Any) -> Any:
        def build(layout: Any) -> list[Any]:
            items = list(operation.build(layout))
            places = [k for k, item in enumerate(items) if getattr(item, "op", None) == Op.PASS]
            return items[: places[-3]] + items[places[-3] + 1 :]

        operation = function.operation
        return replace(function, operation=type(operation)("less", build))

    build_otherwise(monkeypatch, name, without_a_pass)
    on = chip("2d", rows=4801)  # a program of its own
    assert not runtime.run(model, words(model, 3), on).counts_match


@pytest.mark.parametrize(
    ("what", "size", "rows", "columns", "says"),
    [
        ("softmax", 200, 199, 160,
         "softmax of 200 words of 8 bits wants 200 rows and 119 columns; a CAP has 199 rows"),
        ("layer", 32, 4800, 108,
         "layer norm of 32 words of 8 bits wants 32 rows and 109 columns; a CAP has 4800 rows and "
         "108 columns"),
        ("rms", 64, 63, 90, "RMS norm of 64 words of 8 bits wants 64 rows and 106 columns"),
    ],
)  # fmt: skip
def test_a_group_that_does_not_fit_a_cap_is_refused(
    what: str, size: int, rows: int, columns: int, says: str
) -> None:
    model = network(what, (1, size))
    with pytest.raises(ProgramError, match=f"layer '{what}': {says}"):
        runtime.run(model, words(model, 1), chip("2d", rows, columns))
    with pytest.raises(ProgramError, match=says):
        plan.predicted(model, 1, ApKind.TWO_D, rows, columns=columns)


def test_an_unknown_way_to_broadcast_is_refused() -> None:
    with pytest.raises(InputError, match="broadcast: wanted one of group, rows, got 'all'"):
        chip(broadcast="all")


@pytest.mark.parametrize("what", ["softmax", "layer"])
def test_other_rules_are_islands_of_the_host(what: str) -> None:
    """Real numbers are computed by nobody's passes, and counted nowhere"""
    model = network(what)
    real: dict[str, Any] = {"rule": "real"}
    real |= {"table": None} if what == "softmax" else {"epsilon": 1e-5}
    layer = replace(model.layers[0], **real)
    island = replace(model, layers=(layer,))
    done = runtime.run(island, words(model, 2), chip())
    assert done.layers[0].host == (layer.on_host,)
    assert "real rule" in layer.on_host
    assert (done.counts, done.chip.loads) == (Counts(), 0)


@pytest.mark.parametrize("what", WHAT)
def test_a_run_is_gone_on_with_after_a_softmax_or_norm(what: str, tmp_path: Path) -> None:
    """counts, terms and outputs of a resumed run are those of a whole one"""
    model, path = network(what), tmp_path / "run.npz"
    x = words(model, 2)
    whole = runtime.run(model, x, chip(), save=path)
    again = runtime.run(model, x, chip(), resume=path)
    assert (again.layers[0].counts, again.layers[0].terms) == (
        whole.layers[0].counts, whole.layers[0].terms,
    )  # fmt: skip
    with pytest.raises(InputError, match="belongs to a run of another"):
        runtime.run(model, x, chip(broadcast="rows"), resume=path)
    layer = model.layers[0]
    changes: Any = {"kind": "rms" if what == "layer" else "layer"}
    if isinstance(layer, Softmax):
        changes = {"table": exponential(0.3, 8), "rule": "ap"}
    other = replace(model, layers=(replace(layer, **changes),))
    with pytest.raises(InputError, match="belongs to a run of another"):
        runtime.run(other, x, chip(), resume=path)


@pytest.mark.parametrize("what", WHAT)
def test_a_load_of_a_softmax_or_norm_can_be_debugged(what: str, tmp_path: Path) -> None:
    """The session's program and words are those of the run"""
    path = tmp_path / "net.npz"
    model = network(what)
    store.save(model, path)
    load = find_load(str(path), what, "2d")
    x = image_of(model)
    assert load.function.name == NAMES[what]
    session = on_function(load.function, load.data)
    session.go_to(session.end)
    assert session.counts == load.function.program.counts()
    wanted = exact.run(model, x)["y"].ravel()
    field = load.function.layout["P" if what in ("softmax", "ita") else "Y"]
    np.testing.assert_array_equal(session.values(field)[: wanted.size], np.abs(wanted))


def product(heads: int, tokens: int, inner: int, outer: int) -> Model:
    """Scores of heads: [h, T, d] by [h, U, d]."""
    layer = MatMul(name="scores", inputs=("q", "k"), output="y", transposed=True)
    q, k = (Tensor((heads, rows, inner), 8, True, 1.0) for rows in (tokens, outer))
    return of_one(layer, q=q, k=k, y=Tensor((heads, tokens, outer), 32, True, 1.0))


def operands(model: Model, images: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(images)
    return {
        name: rng.integers(-128, 128, (images, *model.tensors[name].shape)) for name in ("q", "k")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_product_of_two_activations_is_populated_for_each_head_of_each_image(kind: str) -> None:
    """counted == h N (what one head of one image takes), 16 writes of populate in each load"""
    heads, images, (tokens, inner, outer), rows = 3, 2, (5, 6, 4), 61
    model, one = product(heads, tokens, inner, outer), product(1, tokens, inner, outer)
    done, single = (
        runtime.run(net, operands(net, n), chip(kind, rows))
        for net, n in ((model, images), (one, 1))
    )
    assert done.passed
    assert done.counts == single.counts * (heads * images)
    loads = -(-tokens * outer // ((rows - (kind == "2d")) // inner))
    assert done.layers[0].loads == heads * images * loads
    task = plan.plan_of(one, one.layers[0], Setting(ApKind(kind), rows)).body[0]  # type: ignore[union-attr]
    programs = [(task.loads[0].program(g).program, n) for g, n in task.loads[0].fold.sizes()]
    populated = sum(program.counts_by_phase()[Phase.POPULATE].write * n for program, n in programs)
    assert populated == loads * (8 + 8)


@pytest.mark.parametrize("mapping", ["im2col", "weights", "auto"])
def test_a_bias_for_each_place_is_added_under_every_mapping(mapping: str) -> None:
    """y[t] == W x[t] + b[t]: positions of tokens, which no program's presets hold"""
    rng = np.random.default_rng(0)
    weights, bias = rng.integers(-8, 8, (3, 4)), rng.integers(-99, 99, (5, 3))
    layer = Linear(
        name="embed", inputs=("x",), output="y", weights=weights, bias=bias, weight_bits=4
    )
    model = of_one(layer, x=Tensor((5, 4), 8, False, 1.0), y=Tensor((5, 3), 32, True, 1.0))
    x = rng.integers(0, 256, (2, 5, 4))
    done = runtime.run(model, x, chip(mapping=mapping))
    np.testing.assert_array_equal(done.outputs, x @ weights.T + bias)
    assert done.passed


class Listening(Chip):
    """A chip that keeps what its loads take in."""

    def execute(self, function: Any, data: Any) -> Any:
        self.heard = [*getattr(self, "heard", []), (function, data.copy())]
        return super().execute(function, data)


def test_each_head_gets_its_own_second_operand() -> None:
    """The words in a load's ports are those of q[n, h] and of k[n, h], row for row"""
    heads, images, tokens, inner = 2, 3, 4, 8
    model = product(heads, tokens, inner, tokens)
    x = operands(model, images)
    on = Listening(Design("test", 1, 1, 128, 160, "this test"), ap="1d", literal=True)
    execute(model, model.layers[0], x, on)
    assert len(on.heard) == heads * images
    for (function, data), q, k in zip(
        on.heard, x["q"].reshape(-1, tokens, inner), x["k"].reshape(-1, tokens, inner), strict=True
    ):
        fields = (function.layout["A"], function.layout["B"])
        first, second = (
            field.decode(port)[: tokens * tokens * inner].reshape(tokens, tokens, inner)
            for field, port in zip(fields, data, strict=True)
        )
        np.testing.assert_array_equal(first, np.broadcast_to(k, first.shape))
        np.testing.assert_array_equal(second, np.broadcast_to(q[:, None], second.shape))
