"""`--requant ap`: sums become activations in passes, integer for integer as the host's rules."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apsim import cli, functions
from apsim.ap_kind import ApKind
from apsim.counts import Counts
from apsim.errors import InputError, ModelError, ProgramError
from apsim.functions import Function, Recipe
from apsim.machine import Machine
from apsim.nn import exact, rules, runtime
from apsim.nn.model import Add, Model, Requant, Tensor
from apsim.nn.on_ap.chip import Chip, Design
from apsim.nn.rules import real
from apsim.nn.rules.factors import clip_of, fill_add
from apsim.nn.rules.ranges import Range
from apsim.nn.rules.recipes import Share, shares
from apsim.nn.zoo import bundled, datasets
from apsim.ops.requantize import MODES
from apsim.program import Op, Operation, Step
from tests.helpers import networks, on_ap
from tests.helpers.networks import Case

KINDS = [kind.value for kind in ApKind]
EXACT = ["onnx-exact", *(f"dyadic({bits},{mode})" for mode in MODES for bits in (8, 31))]
LAYERS = {
    "conv2d": networks.conv2d_cases(8),
    "linear": networks.linear_cases(8),
    "average pool": networks.pool_cases(networks.AvgPool),
    "global average pool": networks.global_pool_cases(),
    "add": networks.add_cases(8),
    "plain": networks.plain_cases(),
}


def chip(kind: str = "2d", rows: int = 4800, columns: int = 160, **options: Any) -> Chip:
    design = Design("test", 1, 1, rows, columns, "this test")
    return Chip(design, ap=kind, requant="ap", **options)


@dataclass(frozen=True)
class Job:
    """Accumulators [channels, n] within a range, a bias and a rule for them."""

    requant: Requant
    sums: np.ndarray
    bias: np.ndarray
    relu: bool

    @property
    def plan(self) -> tuple[Share, ...]:
        within = Range(self.sums.min(axis=1), self.sums.max(axis=1))
        return shares(self.requant, within, self.bias, relu=self.relu)

    @property
    def wanted(self) -> np.ndarray:
        """What the host's rules make of it."""
        q = rules.scale(self.sums + self.bias[:, None], self.requant, axis=0)
        return rules.finish(np.maximum(q, 0) if self.relu else q, self.requant)

    def run(self, on: Chip) -> tuple[np.ndarray, Any]:
        return on_ap.requantize(on, self.sums, self.plan, 0)


@st.composite
def jobs(draw: st.DrawFn, names: list[str]) -> Job:
    """Any rule, factors of one or of each channel, powers of two (ties) often, any output."""
    channels = draw(st.integers(1, 3))
    factor = st.floats(2**-18, 2.0, width=32) | st.integers(-1, 12).map(lambda n: 2.0**-n)
    size = draw(st.sampled_from([1, channels]))
    output = draw(networks.input_tensors((1,), 16))
    made = rules.requant(
        draw(st.sampled_from(names)), draw(st.lists(factor, min_size=size, max_size=size)),
        zero_point=output.zero_point, lo=output.lo, hi=output.hi,
        parity=draw(st.sampled_from([0, output.zero_point])),
    )  # fmt: skip
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    top = 1 << draw(st.integers(1, 22))
    sums = rng.integers(-top * draw(st.integers(0, 1)), top, (channels, 400))
    bias = rng.integers(-5000, 5000, channels) * draw(st.integers(0, 1))
    bias = np.broadcast_to(bias[:1], bias.shape) if draw(st.booleans()) else bias
    return Job(made, sums, bias, draw(st.booleans()))


@pytest.mark.parametrize("names", [EXACT, ["tflite"], ["sign"]], ids=["exact", "tflite", "sign"])
@settings(max_examples=100)
@given(data=st.data())
def test_accumulators_become_what_the_rule_says(names: list[str], data: st.DataObject) -> None:
    """AP(sums) == finish(max(scale(sums + bias), 0)), counted == predicted; loads of 300 rows"""
    job = data.draw(jobs(names))
    values, part = job.run(chip(rows=300))
    np.testing.assert_array_equal(values, job.wanted)
    assert part.counts_match


@settings(max_examples=30)
@given(data=st.data(), lift=st.integers(1, 20))
def test_branches_are_lifted_before_they_are_rounded(data: st.DataObject, lift: int) -> None:
    """AP(sums) == finish(scale((sums + bias) << lift)), as TFLite rounds what it adds"""
    job = data.draw(jobs(["tflite", "onnx-exact"]))
    small = replace(job, sums=job.sums >> 14, bias=job.bias >> 8, relu=False)
    within = Range(small.sums.min(axis=1), small.sums.max(axis=1))
    plan = shares(small.requant, within, small.bias, lift=lift)
    values, part = on_ap.requantize(chip(), small.sums, plan, 0)
    lifted = (small.sums + small.bias[:, None]) << lift
    wanted = rules.finish(rules.scale(lifted, small.requant, axis=0), small.requant)
    np.testing.assert_array_equal(values, wanted)
    assert part.counts_match


@settings(max_examples=30)
@given(data=st.data())
def test_offsets_that_are_no_multiple_of_the_factor_are_added_to_the_product(
    data: st.DataObject,
) -> None:
    """AP(sums) == finish(round((sums * M + offset) / 2**e)), an offset for each channel

    Of a sign it is the threshold, and goes into the bias.
    """
    job = data.draw(jobs(["onnx-exact", "sign"]))
    steps = data.draw(st.lists(st.floats(-9, 9), min_size=len(job.sums), max_size=len(job.sums)))
    offset = np.rint(np.ldexp(steps, job.requant.exponent)).astype(np.int64)
    job = replace(job, requant=replace(job.requant, offset=offset))
    values, part = job.run(chip(columns=250))
    np.testing.assert_array_equal(values, job.wanted)
    assert part.counts_match


def million(requant: Requant, channels: int, each: int) -> Job:
    """Accumulators of 20 bits: random ones, the ends, and every one of a run around 0."""
    rng = np.random.default_rng(5)
    sums = rng.integers(-(1 << 19), 1 << 19, (channels, each))
    sums[:, : each // 4] = np.arange(each // 4) - each // 8
    sums[:, -2:] = -(1 << 19), (1 << 19) - 1
    return Job(requant, sums, rng.integers(-2000, 2000, channels), relu=False)


def ties(job: Job) -> int:
    """How many quotients end in exactly one half."""
    mantissa = np.broadcast_to(job.requant.mantissa, (len(job.sums),))
    exponent = np.broadcast_to(job.requant.exponent, (len(job.sums),))
    product = (job.sums + job.bias[:, None]) * mantissa[:, None]
    rest = product & ((1 << exponent) - 1)[:, None]
    return int((rest == (1 << (exponent - 1))[:, None]).sum())


FACTORS = {
    "powers of two": [2.0**-6, 2.0**-9],
    "any": [0.0006525772, 0.00031, 0.0123, 0.0011],
    "one": [0.0006525772],
    "short": [3 * 2.0**-7, 5 * 2.0**-8],
}


@pytest.mark.parametrize("rule", ["onnx-exact", "tflite", "dyadic(31,half-up)"])
@pytest.mark.parametrize("factors", FACTORS)
def test_thousands_of_accumulators_with_ties_and_both_saturations(rule: str, factors: str) -> None:
    """AP(sums) == host(sums) where sums fall on ties and leave the range at both ends"""
    examine(rule, factors, 8000)


@pytest.mark.long
@pytest.mark.parametrize("rule", ["onnx-exact", "tflite", "dyadic(31,half-up)"])
@pytest.mark.parametrize("factors", FACTORS)
def test_a_million_accumulators_with_ties_and_both_saturations(rule: str, factors: str) -> None:
    """As above, for 10**6 accumulators"""
    examine(rule, factors, 1_000_000)


def examine(rule: str, factors: str, count: int) -> None:
    real = FACTORS[factors]
    requant = rules.requant(rule, real, zero_point=3, lo=-128, hi=127)
    job = million(requant, len(real), count // len(real))
    values, part = job.run(chip())
    np.testing.assert_array_equal(values, job.wanted)
    assert part.counts_match and values.size == count
    assert min((values == -128).sum(), (values == 127).sum()) > count // 100
    assert ties(job) > count // 1000 or factors in ("any", "one")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", LAYERS)
@settings(max_examples=6)
@given(data=st.data())
def test_a_layer_is_its_twin_with_nothing_left_to_the_host(
    layer: str, kind: str, data: st.DataObject
) -> None:
    """run(layer, x) == exact(layer, x), counted == predicted == paper + terms"""
    case: Case = data.draw(LAYERS[layer])
    requant = getattr(case.layer, "requant", None)
    assume(requant is None or requant.rule != "ort-f32")
    done = runtime.run(case.model, case.x, chip(kind, data.draw(st.sampled_from([4800, 101]))))
    np.testing.assert_array_equal(done.outputs, exact.run(case.model, case.x)["y"])
    assert done.passed, done.layers
    host = {work.partition(" ")[0] for work in done.layers[0].host}
    assert host <= {"im2col", "windows", "reshape", "divide"}
    assert "divide" not in host or layer.endswith("average pool")


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    """The bundled network and three images."""
    model = bundled.load("digits")
    return model, real.quantize(model, datasets.digits().images[:3])


@pytest.mark.parametrize("kind", ["1d", "2d"])
def test_the_bundled_network_runs_wholly_on_the_ap(digits: Any, kind: str) -> None:
    """logits == exact logits; the paper's share as on the host; the rest is named"""
    model, x = digits
    by_ap, by_host = (
        runtime.run(model, x, Chip.preset("bf-imna-lr", ap=kind, requant=who))
        for who in ("ap", "host")
    )
    np.testing.assert_array_equal(by_ap.outputs, exact.run(model, x)[model.output])
    assert by_ap.passed
    for ours, theirs in zip(by_ap.layers, by_host.layers, strict=True):
        assert ours.paper == theirs.paper
        assert not any("requantize" in work or work == "bias" for work in ours.host)
    first = by_ap.layers[0]
    assert [part.name for part in first.parts] == [
        "multiply-accumulate", "requantize (onnx-exact) and relu"
    ]  # fmt: skip
    assert first.terms["requantization"].total > 0
    assert "requantization" not in by_host.layers[0].terms


def test_an_addition_whose_branches_are_rounded_first_runs_wholly_on_the_ap() -> None:
    """run(add) == exact(add) as TFLite and HAWQ specify it, and nothing is the host's"""
    given = {"a": Tensor((2, 5), 8, True, 0.031, -3), "b": Tensor((2, 5), 8, True, 0.017, 9)}
    made = Tensor((2, 5), 8, True, 0.029, 1)
    plain = Add(name="layer", inputs=("a", "b"), output="y", relu=True)
    x = {name: networks.integers_in(tensor, 40, 3) for name, tensor in given.items()}
    for rule in ("tflite", "dyadic(31,half-even)", "dyadic(12,toward-zero)"):
        layer = fill_add(rule, plain, list(given.values()), made, clip_of(made))
        model = Model("case", rule, ("a", "b"), ("y",), {**given, "y": made}, (layer,))
        done = runtime.run(model, x, chip())
        np.testing.assert_array_equal(done.outputs, exact.run(model, x)["y"])
        assert done.passed and done.layers[0].host == () and len(done.layers[0].parts) == 4


def test_the_command_says_who_requantizes(tmp_path: Path, capsys: Any) -> None:
    for who, words in (("host", "on the host"), ("ap", "on the AP, as counted passes")):
        file = tmp_path / f"{who}.json"
        code = cli.main(["run", "--images", "1", "--requant", who, "--json", str(file)])
        found = json.loads(file.read_text())
        assert code == 0 and found["requant"] == who and found["bit_exact"]
        assert f"requantization: {words}" in capsys.readouterr().out
        assert ("bias" in found["layers"][0]["host"]) == (who == "host")


def test_a_float_rule_is_refused_with_the_rules_that_can_run() -> None:
    model = bundled.load("digits").replace(rule="ort-f32")
    x = np.zeros((1, *model.tensors[model.input].shape), np.int64)
    with pytest.raises(ModelError, match=r"floating point .* onnx-exact, tflite, .*dyadic"):
        runtime.run(model, x, chip())


def test_an_array_without_room_says_what_is_needed() -> None:
    job = million(rules.requant("onnx-exact", 0.001, lo=0, hi=255), 1, 100)
    with pytest.raises(ProgramError, match=r"requantize .* needs 100 rows and \d+ columns; a CAP"):
        job.run(chip(columns=40))


def test_products_wider_than_a_field_are_refused() -> None:
    recipe = Recipe(
        40, True, 9, 0, 255, multiplier=None, multiplier_bits=30, shift=50, mode="floor"
    )
    with pytest.raises(ProgramError, match="products of 70 bits"):
        functions.requantize(recipe, 8)


def test_who_else_could_requantize_is_refused() -> None:
    with pytest.raises(InputError, match="wanted one of host, ap, got 'both'"):
        Chip.preset("bf-imna-lr", requant="both")


WORDS = np.arange(-256, 256)
RECIPES = {
    "known multiplier": Job(
        rules.requant("dyadic(4,half-even)", 13 / 2, zero_point=-1, lo=-3000, hi=3000),
        WORDS[None], np.array([37]), relu=False,
    ),
    "rows": Job(
        rules.requant("dyadic(3,half-away)", [5 / 2, 7 / 2], lo=-3000, hi=3000),
        np.stack([WORDS, WORDS]), np.array([37, -45]), relu=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_a_program_with_an_idle_pass_is_noticed(name: str) -> None:
    """Without any compare and write that flips a cell some integer is wrong

    With one bit dropped and no bound within reach, so that rounding hides nothing.
    """
    job = RECIPES[name]
    (share,) = job.plan
    function = functions.requantize(share.recipe, job.sums.size)
    constants = [np.repeat(values, WORDS.size) for values in share.constants]
    data = function.words(job.sums.ravel(), *constants)
    machine = Machine(function.rows, function.layout)
    out = np.zeros((1, function.rows), np.uint64)
    events = list(machine.steps(function.program, data, out))
    np.testing.assert_array_equal(function.results(out), job.wanted.ravel())
    flipping = [
        number
        for number, event in enumerate(events)
        if event.activity.flipped and event.step.op in (Op.PASS, Op.WRITE_ALL)
    ]
    assert len(flipping) > 100
    for number in flipping:
        assert (_without(function, number, data) != job.wanted.ravel()).any(), events[number]


def _without(function: Function, number: int, data: np.ndarray) -> np.ndarray:
    """The results where one step, of the same cost, does nothing."""
    items = list(function.program.items)
    step = items[number]
    assert isinstance(step, Step)
    items[number] = replace(step, write=step.key if step.op is Op.PASS else ())
    changed = replace(function, operation=Operation("mutant", lambda layout: items))
    out = np.zeros((1, function.rows), np.uint64)
    Machine(function.rows, function.layout).run(changed.program, data, out)
    return changed.results(out)


def test_a_program_with_a_pass_left_out_is_noticed_by_its_count() -> None:
    job = RECIPES["rows"]
    (share,) = job.plan
    _, part = job.run(chip())
    once = functions.requantize(share.recipe, job.sums.size).program.counts()
    assert part.counts == once == part.forecast.predicted
    assert once - Counts(compare=1, write=1) != part.forecast.predicted
