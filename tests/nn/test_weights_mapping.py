"""Weights in the program on a chip: values, counts and activity, whatever carries them out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim import cost, nn
from apsim.cam.lanes import planes_of
from apsim.cam.stream import Tile
from apsim.closed_form import weights as closed
from apsim.counts import Counts
from apsim.debug.layer_load import image_of
from apsim.debug.targets import Wanted, open_target
from apsim.errors import CountError, InputError, ProgramError
from apsim.functions import weight_run
from apsim.functions import weights as program
from apsim.lut.model import Lut, Pass
from apsim.nn.model import Conv2d
from apsim.nn.model.words import Words
from apsim.nn.on_ap import patches, plan, tasks, work
from apsim.nn.on_ap.chip import COSTS, Chip
from apsim.nn.on_ap.layer_run import Part
from apsim.nn.on_ap.mapping import fold_words
from apsim.nn.on_ap.tasks import Setting
from apsim.nn.zoo import sources
from apsim.ops.steps import look_up
from tests.conftest import ROOT
from tests.helpers.networks import Case, conv2d_cases, linear_cases, small_network

Array = np.ndarray


def _chip(engine: str = "fused", mapping: str = "weights", **more: Any) -> Chip:
    return Chip.preset("bf-imna-lr", engine=engine, mapping=mapping, **more)


@dataclass(frozen=True)
class Layer:
    """Pixels [u, J], weights [i, J], the words of the pixels, and the rows of a CAP.

    With a number of `caps` it is laid out for least latency; `bias` [i] is to be in presets.
    """

    x: Array
    w: Array
    act: Words
    rows: int
    caps: int = 0
    bias: Array | None = None

    @classmethod
    def random(cls, seed: int, pixels: int = 300) -> Layer:
        """Of any widths, some weights 0, loads that are no multiple of 64 among them."""
        rng = np.random.default_rng(seed)
        bits, of_weights = int(rng.choice([1, 2, 3, 4, 8])), int(rng.choice([1, 2, 4, 8]))
        act = Words(bits, bool(rng.integers(2)) and bits > 1)
        low, half = -(1 << (bits - 1)) if act.signed else 0, 1 << (of_weights - 1)
        shape = int(rng.integers(1, 6)), int(rng.integers(1, 40))
        w = rng.integers(-half, half, shape)
        w[rng.random(shape) < 0.2] = 0
        u = int(rng.integers(1, pixels))
        x = rng.integers(low, low + (1 << bits), (u, shape[1]))
        return cls(x, w, act, int(rng.integers(max(u // 4, 2), u + 2)))

    @classmethod
    def of_signs(cls, seed: int, pixels: int = 300) -> Layer:
        """Binary and ternary weights, mostly of one sign."""
        layer, rng = cls.random(seed, pixels), np.random.default_rng(seed)
        signs = rng.choice([-1, 0, 1], layer.w.shape, p=rng.dirichlet([1, 0.3, 1]))
        return replace(layer, w=signs)

    @classmethod
    def apart(cls, seed: int, pixels: int = 300) -> Layer:
        """Laid out for so many CAPs, some with biases; least and greatest words among others."""
        layer, rng = cls.random(seed, pixels), np.random.default_rng(seed)
        layer.x[0], layer.x[-1] = layer.x.min(), layer.x.max()
        bias = rng.integers(-50, 50, len(layer.w)) if seed % 3 else None
        return replace(layer, caps=int(rng.choice([1, 16, 64, 300])), bias=bias)

    @property
    def task(self) -> tasks.WeightedSums:
        on = Setting(_chip().kind, self.rows, 1, "host", "weights")
        if self.caps:
            on = replace(on, cost="latency", caps=self.caps)
        return tasks.weighted_sums(self.w, len(self.x), self.act, on, bias=self.bias)

    def run(self, engine: str = "fused") -> tuple[Array, Part]:
        chip = _chip(engine, rows=self.rows, literal=engine != "fused")
        return work.MAPPINGS["weights"](chip, self.task, self.x, self.w, lambda _: None)


def assert_right(layer: Layer, sums: Array, part: Part) -> None:
    """sums == w x, counted == closed form times loads == named terms"""
    right, plans = layer.w @ layer.x.T, layer.task.plans
    if layer.bias is not None and plans[0].raised is not None:
        right = right + layer.bias[:, None]
    assert np.array_equal(sums, right)
    loads = -(-len(layer.x) // layer.rows)
    assert part.loads == loads * len(plans)
    assert part.counts == sum((plan.counts for plan in plans), Counts()) * loads
    if not layer.caps:
        assert plans == (closed(layer.w, layer.act.bits, 160)[1],)
    assert part.counts_match


@pytest.mark.parametrize(
    "seeds", [range(60), pytest.param(range(60, 1060), marks=pytest.mark.long)]
)
def test_random_layers_are_exact_and_counted(seeds: range) -> None:
    for seed in seeds:
        layer = Layer.random(seed, 1500)
        assert_right(layer, *layer.run())


@pytest.mark.parametrize("seeds", [range(3), pytest.param(range(3, 1003), marks=pytest.mark.long)])
@pytest.mark.parametrize("make", [Layer.random, Layer.of_signs, Layer.apart])
def test_every_engine_does_the_same(make: Callable[[int, int], Layer], seeds: range) -> None:
    """sums, counts, and all five numbers of the activity: fused == strict == dense"""
    for seed in seeds:
        layer = make(seed, 80)
        sums, part = layer.run()
        for engine in ("strict", "dense"):
            others, other = layer.run(engine)
            assert np.array_equal(sums, others)
            assert (part.counts, part.activity, part.loads) == (
                other.counts, other.activity, other.loads,
            )  # fmt: skip
        assert_right(layer, sums, part)


def test_sums_of_signs_and_sums_in_parts_are_among_those() -> None:
    plans = [plan for seed in range(3) for plan in Layer.of_signs(seed, 80).task.plans]
    assert any(plan.offsets for plan in plans)
    assert any(len(Layer.apart(seed, 80).task.plans) > 2 for seed in range(3))
    assert any(Layer.apart(seed, 80).task.plan.raised for seed in range(3))


@pytest.mark.parametrize("engine", ["fused", "strict", "dense"])
@pytest.mark.parametrize(
    ("w", "bits", "chunk", "counts"),
    [
        ([3, -5], 4, 0, (80, 89, 8)),
        ([1, 0, -1, 1], 8, 0, (102, 127, 10)),
        ([-128, 127, 85, -1], 8, 0, (332, 365, 17)),
        ([-128, 127, 85, -1], 8, 2, (414, 449, 17)),
    ],
)
def test_whole_ripples_are_executed_as_the_design_page_counts_them(
    w: list[int], bits: int, chunk: int, counts: tuple[int, int, int], engine: str
) -> None:
    weights = np.array([w])
    x, part, sums = _summed(weights, bits, chunk, engine)
    assert part.counts == Counts(*counts)
    assert np.array_equal(sums, weights @ x.T)


def _summed(w: Array, bits: int, chunk: int, engine: str) -> tuple[Array, Part, Array]:
    """70 random pixels, and what sums of whole ripples over chunks of so many words do and give."""
    _, found = closed(w, bits, 160, [chunk], stop=False)
    x = np.random.default_rng(0).integers(0, 1 << bits, (70, w.shape[1]))
    task = tasks.WeightedSums(
        name="weighted sums", loads=(), plans=(found,), fold=fold_words(70, 70), words="u"
    )
    chip = _chip(engine, literal=engine != "fused")
    sums, part = work.MAPPINGS["weights"](chip, task, x, w, lambda _: None)
    return x, part, sums


@pytest.mark.parametrize("chunk", [0, 2, 3])
def test_sums_in_chunks_do_the_same_on_every_engine(chunk: int) -> None:
    """all five numbers of the activity: fused == strict == dense"""
    w = np.array([[-128, 127, 85, -1, 3], [0, 0, 6, -7, 0]])
    done = {engine: _summed(w, 8, chunk, engine)[1] for engine in ("fused", "strict", "dense")}
    assert len({(part.counts, part.activity) for part in done.values()}) == 1


@pytest.mark.parametrize("pixels", [1, 63, 64, 65, 511, 512, 513, 1537])
def test_counts_depend_on_no_tile_and_no_thread(pixels: int) -> None:
    rng = np.random.default_rng(pixels)
    x, w = rng.integers(0, 16, (pixels, 9)), rng.integers(-8, 8, (3, 9))
    counts, found = closed(w, 4, 160)
    presets = np.zeros(3, np.int64) if found.chunk else program.presets(w, 4)
    planes = planes_of(x.astype(np.uint8).T, 4)
    for rows in (7, 512, 4800):
        ran = [
            weight_run.run(
                found,
                w,
                presets,
                planes,
                pixels,
                rows,
                threads=threads,
                tile=tile,
            )
            for threads, tile in ((1, 0), (2, 1), (3, 2))
        ]
        assert all(one.counts == counts * -(-pixels // rows) for one in ran)
        assert len({one.activity for one in ran}) == 1
        assert all(np.array_equal(ran[0].planes, one.planes) for one in ran)


@pytest.mark.parametrize("zeros", [0.0, 0.9, 0.99])
@pytest.mark.parametrize("chunk", [0, 4])
def test_counts_depend_on_no_range_of_groups(chunk: int, zeros: float) -> None:
    """Groups that write few of a chunk's words leave others as groups long before left them"""
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 16, (70, 11)), rng.integers(-8, 8, (320, 11))
    w[rng.random(w.shape) < zeros] = 0
    counts, found = closed(w, 4, 60, [chunk])
    assert found.groups >= 40
    presets = np.zeros(320, np.int64) if chunk else program.presets(w, 4)
    planes = planes_of(x.astype(np.uint8).T, 4)
    ran = [
        weight_run.run(found, w, presets, planes, 70, 50, threads=2, ranges=ranges)
        for ranges in (1, 2, 5)
    ]
    assert all(one.counts == counts * 2 for one in ran)
    assert len({one.activity for one in ran}) == 1
    assert all(np.array_equal(ran[0].planes, one.planes) for one in ran)


def test_a_sum_of_all_words_is_made_before_every_group_that_adds_it() -> None:
    """A range of groups begins with the first, which makes the sum, whatever is asked for."""
    rng = np.random.default_rng(0)
    layer = Layer(rng.integers(0, 16, (70, 11)), np.full((320, 11), 1), Words(4, False), 50)
    layer.w[rng.random(layer.w.shape) < 0.1] = -1
    plan = layer.task.plan
    assert plan.offsets and plan.groups >= 2 * weight_run.FEWEST
    assert_right(layer, *layer.run())


HARD = {
    "nothing but zeros": np.zeros((3, 7), int),
    "a single weight": np.array([[-5]]),
    "the lowest": np.full((2, 9), -128),
    "all negative": -1 - np.arange(24).reshape(2, 12),
    "extremes": np.array([[-128, 127, 1, -1, 85, -86]] * 4),
    "one output of zeros": np.array([[0, 0, 0], [3, -7, 99]]),
}


@pytest.mark.parametrize("engine", ["fused", "strict"])
@pytest.mark.parametrize("what", HARD)
def test_hard_weights_times_the_least_and_the_most(what: str, engine: str) -> None:
    w = HARD[what]
    for act in (Words(8, False), Words(8, True)):
        low = -128 if act.signed else 0
        x = np.array([[low] * w.shape[1], [low + 255] * w.shape[1], [low + 1] * w.shape[1]])
        layer = Layer(x, w, act, 4800)
        assert_right(layer, *layer.run(engine))


@given(conv2d_cases(widest=8))
@settings(max_examples=20, deadline=None)
def test_convolutions_with_groups_dilation_and_padding(case: Case) -> None:
    _assert_runs(case)


@given(linear_cases(widest=8))
@settings(max_examples=10, deadline=None)
def test_matrix_products(case: Case) -> None:
    _assert_runs(case)


def _assert_runs(case: Case) -> None:
    """Every value is the exact twin's, every count the forecast's; one part for each group."""
    ran = nn.run(case.model, case.x, _chip(rows=50))
    assert ran.passed
    sums = [part for part in ran.layers[0].parts if part.name == "weighted sums"]
    assert len(sums) == (case.layer.groups if isinstance(case.layer, Conv2d) else 1)


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_digits_end_to_end_as_the_design_page_lists(bits: int) -> None:
    """Cycles of 16 images, and what stopped ripples spare: digits_weights_mapping.csv's layers"""
    listed = {
        8: (32998, 520742, 521956, 137505), 4: (10066, 119671, 129830, 30341),
        2: (1779, 29500, 30580, 7831),
    }  # fmt: skip
    model = sources.model("digits", bits=str(bits))
    x, _ = sources.inputs(model, 16, None)
    ran = nn.run(model, x, _chip())
    assert ran.passed
    weighted = [layer for layer in ran.layers if layer.choice]
    parts = [layer.parts[0] for layer in weighted]
    spared = [part.forecast.terms["stopped"] for part in parts]
    assert tuple((p.counts - s).total for p, s in zip(parts, spared, strict=True)) == listed[bits]
    assert all(counts.compare < 0 for counts in spared)


def test_who_requantizes_changes_no_weighted_sum() -> None:
    model = small_network()
    x = np.random.default_rng(0).integers(0, 4, (2, *model.tensors["x"].shape))
    x = np.clip(x, model.tensors["x"].lo, model.tensors["x"].hi)
    ran = [nn.run(model, x, _chip(requant=who)) for who in ("host", "ap")]
    assert all(one.passed for one in ran)
    assert np.array_equal(ran[0].outputs, ran[1].outputs)


@pytest.mark.parametrize("by", ["cycles", "latency", "energy"])
@pytest.mark.parametrize("images", [1, 16])
def test_auto_is_never_worse_than_the_better_of_both(by: str, images: int) -> None:
    """Layer by layer, executed: cost(auto) == min(cost(im2col), cost(weights))"""
    model = sources.model("digits", bits="4")
    x, _ = sources.inputs(model, images, None)
    chips = {name: _chip(mapping=name, cost=by) for name in ("im2col", "weights", "auto")}
    ran = {name: nn.run(model, x, chip) for name, chip in chips.items()}
    assert all(one.passed for one in ran.values())
    technology = cost.technology("sram")

    def spent(name: str, k: int) -> float:
        layer = ran[name].layers[k]
        if by == "latency" and layer.choice and layer.choice.facts:
            return layer.choice.facts.latency
        if by == "energy":
            return cost.estimate(layer.counts, layer.activity, technology).energy.total
        return sum(p.counts.total / (p.loads if by == "latency" else 1) for p in layer.parts[:1])

    for k, layer in enumerate(ran["auto"].layers):
        if layer.choice is not None:
            best = min(spent("im2col", k), spent("weights", k))
            assert spent("auto", k) <= best * (1 + 1e-9), layer.name
            assert "by forecast" in layer.choice.why
    if by == "cycles" and images == 1:
        taken = {layer.name: layer.choice.mapping for layer in ran["auto"].layers if layer.choice}
        assert taken["conv1"] == "weights"
        assert taken["classifier"] == "im2col"


@pytest.mark.parametrize(("rows", "taken"), [(64, "weights"), (4800, "im2col")])
def test_auto_knows_that_all_rows_of_a_used_cap_take_part(rows: int, taken: str) -> None:
    """16 pixels of conv2 in 64 or 4,800 rows, executed on CAPs in use: energy(auto) == the least"""
    model = sources.model("digits", bits="2")
    x, _ = sources.inputs(model, 1, None)
    spent, sram = {}, cost.technology("sram")
    for name in ("im2col", "weights", "auto"):
        chip = _chip(mapping=name, cost="energy", array="cap", rows=rows)
        ran = nn.run(model, x, chip)
        assert ran.passed
        spent[name] = cost.estimate(ran.counts, chip.activity, sram).energy.total
    assert spent["auto"] <= min(spent["im2col"], spent["weights"])
    layers = {layer.name: layer.choice for layer in ran.layers}
    assert layers["conv2"] is not None and layers["conv2"].mapping == taken


@given(st.one_of(conv2d_cases(widest=8), linear_cases(widest=8)), st.sampled_from(COSTS))
@settings(max_examples=40, deadline=None)
def test_auto_is_never_worse_on_random_layers(case: Case, by: str) -> None:
    """Executed cycles, latency and energy of the products: auto's <= the better of both"""

    def spent(mapping: str) -> float:
        ran = nn.run(case.model, case.x, _chip(mapping=mapping, cost=by, rows=64))
        assert ran.passed
        layer = ran.layers[0]
        body = [p for p in layer.parts if p.name in ("weighted sums", "multiply-accumulate")]
        if by == "latency" and layer.choice and layer.choice.facts:
            return layer.choice.facts.latency
        if by == "energy":
            sram = cost.technology("sram")
            return sum(cost.estimate(p.counts, p.activity, sram).energy.total for p in body)
        total, loads = sum(p.counts.total for p in body), sum(p.loads for p in body)
        return total if by == "cycles" else total / loads * -(-loads // 4096)

    assert spent("auto") <= min(spent("im2col"), spent("weights")) * (1 + 1e-9)


def test_biases_are_in_presets_and_the_host_adds_those_that_have_no_room() -> None:
    """conv1 of digits: -24,295 and more beside sums of 18 bits; one run, counted == predicted"""
    model = sources.model("digits", bits="8")
    x, _ = sources.inputs(model, 2, None)
    for requant in ("host", "ap"):
        ran = nn.run(model, x, _chip(requant=requant))
        assert ran.passed
        layers = {layer.name: layer for layer in ran.layers}
        for name in ("conv1", "conv2", "conv3", "classifier"):
            layer = layers[name]
            assert layer.choice
            assert layer.choice.facts
            assert layer.choice.facts.bias == (requant == "host" and name != "conv1")
            assert ("bias" in layer.host) == (requant == "host" and name == "conv1")


def test_latency_splits_sums_over_caps_and_is_what_was_executed() -> None:
    """latency == rounds of the slowest part, and its merges one after another"""
    model = sources.model("digits", bits="4")
    x, _ = sources.inputs(model, 1, None)
    ran = nn.run(model, x, _chip(cost="latency"))
    assert ran.passed
    one = nn.run(model, x, _chip())
    for layer, other in zip(ran.layers, one.layers, strict=True):
        if layer.choice:
            facts, plain = layer.choice.facts, other.choice and other.choice.facts
            assert facts
            assert plain
            assert facts.split > 1 == plain.split
            assert layer.parts[0].loads == facts.split
            assert facts.latency < plain.latency
            assert layer.counts.total > other.counts.total


def test_auto_takes_what_fits_and_says_what_does_not() -> None:
    """exactly enough columns for weights, where im2col has none, and one less for either"""
    model = sources.model("digits")
    on = Setting(_chip().kind, 4800, mapping="auto", columns=27)
    choice, body = plan.chosen(model, model.layers[0], on)  # type: ignore[arg-type]
    assert body[0].name == "weighted sums"
    assert "im2col: dot products on the 2d AP needs 4798 rows and 41 columns" in choice.why
    assert choice.facts is not None
    assert choice.facts.columns == 27
    with pytest.raises(ProgramError, match=r"41 columns; .*= 1 \+ 8 \+ 18 = 27 columns, .* has 26"):
        plan.chosen(model, model.layers[0], replace(on, columns=26))  # type: ignore[arg-type]


def test_a_column_too_few_is_refused_by_the_layers_name() -> None:
    model = sources.model("digits", bits="8")
    x, _ = sources.inputs(model, 1, None)
    with pytest.raises(ProgramError, match=r"layer 'conv1': weights: wants .* = 27 columns"):
        nn.run(model, x, _chip(columns=26))


@pytest.mark.parametrize(("name", "what"), [("mapping", "weight"), ("cost", "watts")])
def test_unknown_names_are_refused(name: str, what: str) -> None:
    with pytest.raises(InputError, match=rf"{name}: wanted one of .*, got '{what}'"):
        Chip.preset("bf-imna-lr", **{name: what})


def test_the_kernel_takes_the_passes_that_it_is_given() -> None:
    """Without the second pass of `add` the sums are wrong, and the count is one less for it."""
    w, x = np.array([[3]]), np.arange(16)[:, None]
    counts, found = closed(w, 4, 160, [0])
    planes, presets = planes_of(x.astype(np.uint8).T, 4), program.presets(w, 4)
    table = look_up("add")

    def ran(*passes: Pass) -> weight_run.Outcome:
        def luts(name: str) -> Lut:
            return replace(table, passes=passes) if name == "add" else look_up(name)

        return weight_run.run(found, w, presets, planes, 16, 16, luts=luts)

    whole, short = ran(*table.passes), ran(table.passes[0], *table.passes[2:])
    assert whole.counts == counts
    assert whole.counts.compare - short.counts.compare == 3  # bits 1 to 3 of the one added digit
    assert not np.array_equal(whole.planes, short.planes)
    with pytest.raises(ProgramError, match="must not match a row of zeros"):
        ran(Pass((("A", 0), ("B", 0)), (("B", 1),)))


@pytest.mark.parametrize("chunk", [0, 2])
def test_no_row_of_a_stream_can_be_left_out(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of no pixel, or counts part from the closed form, or the cells that were written do; of
    some pixels alone is an error.  That holds for each row of a group, and for all of them."""
    w = np.array([[3, -5, 0], [0, 7, 1]])
    counts, found = closed(w, 4, 160, [chunk])
    x = np.random.default_rng(0).integers(1, 16, (700, 3)).astype(np.uint8)
    planes, presets = planes_of(x.T, 4), program.starts(found, w)
    carry_out, made = Tile.carry_out, [0]

    def ran(left_out: slice, tiles: int = 2) -> weight_run.Outcome:
        def without(tile: Tile, count: int) -> None:
            made[0], rows = count, np.delete(tile.rows[:count], left_out, axis=0)
            if len(given) < tiles:
                tile.rows[: len(rows)], count = rows, len(rows)
            given.append(tile)
            carry_out(tile, count)

        given: list[Tile] = []
        monkeypatch.setattr(Tile, "carry_out", without)
        return weight_run.run(found, w, presets, planes, 700, 400, threads=1, tile=1)

    whole = ran(slice(0))
    assert found.groups == 1 and whole.counts == counts * 2
    for left_out in (*(slice(k, k + 1) for k in range(made[0])), slice(made[0])):
        less = ran(left_out)
        assert less.activity.written < whole.activity.written or less.counts != whole.counts
        if less.counts != whole.counts:
            with pytest.raises(CountError, match="carried out"):
                ran(left_out, tiles=1)


def test_the_kernel_is_the_python_that_it_is_written_in() -> None:
    """Under NUMBA_DISABLE_JIT=1: layers in chunks, of signs, and in parts, on loads not full"""
    code = (
        "from tests.nn.test_weights_mapping import Layer, assert_right\n"
        "for layer in Layer.random(3, 60), Layer.of_signs(0, 60), Layer.apart(1, 60):\n"
        "    assert_right(layer, *layer.run())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_debugger_opens_one_group_of_outputs() -> None:
    """All steps of a group run: its accumulators hold the layer's sums, and what is subtracted"""
    model = sources.model("digits")
    layer: Any = model.layers[0]
    act, w = model.tensors[model.input], layer.weights.reshape(len(layer.weights), -1)
    found = closed(w, act.bits, 160)[1]
    (_, outputs, *_) = program.groups(found)
    session = open_target(Wanted("run", model="digits", layer="conv1", mapping="weights", load=1))
    session.go_to(2 * len(session.timeline))
    (x,) = patches.columns(*patches.narrow(act, image_of(model), layer, act.zero_point))
    sums = w.astype(np.int64) @ x.T.astype(np.int64) + program.subtracted(found, w)[:, None]
    for k, o in enumerate(outputs):
        assert np.array_equal(session.machine.peek(f"P{k}"), sums[o])
    assert not session.machine.peek("C").any()
    assert session.counts.read == len(outputs) * found.width
    session = open_target(Wanted("run", model="digits", layer="conv1", mapping="auto"))
    assert session.machine.layout["P0"].width == found.width


def test_a_run_says_how_each_layer_is_laid_out() -> None:
    from apsim.report.run.tables import run_json, run_lines

    model = sources.model("digits")
    x, _ = sources.inputs(model, 2, None)
    ran = nn.run(model, x, _chip(mapping="auto", cost="cycles"))
    shown, found = "\n".join(run_lines(ran)), run_json(ran)
    by_name = {layer["name"]: layer for layer in found["layers"]}
    assert found["mapping"] == "auto"
    assert by_name["pool1"]["mapping"] is None
    for name in ("conv1", "conv2", "conv3", "classifier"):
        entry = by_name[name]["mapping"]
        assert f"  {name}: {entry['name']} ({entry['why']})" in shown
        assert (entry["program"] is None) == (entry["name"] == "im2col")
    assert by_name["conv1"]["mapping"]["program"]["utilization"] == 128 / 4800
