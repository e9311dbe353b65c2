"""Networks on chips: every layer is its exact twin, and takes what was predicted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim.ap_kind import ApKind
from apsim.counts import Counts
from apsim.errors import InputError, ProgramError
from apsim.nn import exact, rules, runtime
from apsim.nn.model import AvgPool, Conv2d, Linear, MaxPool, Model, Tensor
from apsim.nn.on_ap.chip import Chip, Design
from apsim.nn.on_ap.layer_run import Forecast
from apsim.nn.rules import real
from apsim.nn.verify import verify
from apsim.nn.zoo import bundled, datasets
from apsim.program import Op, Operation, Step
from tests.helpers import networks
from tests.helpers.networks import Case
from tests.helpers.on_ap import build_otherwise, forecast_otherwise

KINDS = [kind.value for kind in ApKind]
CASES = {
    "conv2d": networks.conv2d_cases(),
    "linear": networks.linear_cases(),
    "max pool": networks.pool_cases(MaxPool),
    "average pool": networks.pool_cases(AvgPool),
    "global average pool": networks.global_pool_cases(),
    "add": networks.add_cases(),
    "plain": networks.plain_cases(),
}


def chip(kind: str, rows: int = 4800, **options: Any) -> Chip:
    return Chip(Design("test", 1, 1, rows, 160, "this test"), ap=kind, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", CASES)
@settings(max_examples=12)
@given(data=st.data())
def test_a_layer_is_its_twin_and_takes_what_is_predicted(
    layer: str, kind: str, data: st.DataObject
) -> None:
    """run(layer, x) == exact(layer, x), counted == predicted == paper + terms, on CAPs of any size

    Small CAPs cut sums into chunks and fold layers over many loads.
    """
    case: Case = data.draw(CASES[layer])
    rows = data.draw(st.sampled_from([4800, 101, 58]))
    literal = data.draw(st.booleans())
    done = runtime.run(case.model, case.x, chip(kind, rows, literal=literal))
    np.testing.assert_array_equal(done.outputs, exact.run(case.model, case.x)["y"])
    assert done.passed, done.layers
    assert done.chip.counts == done.counts == done.layers[0].predicted


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any, Any]:
    """The bundled network, sixteen images and their labels."""
    model, data = bundled.load("digits"), datasets.digits()
    return model, real.quantize(model, data.images[:16]), data.labels[:16]


def test_the_bundled_network_gives_the_same_logits_on_every_kind(digits: Any) -> None:
    """logits(kind) == exact logits, for all five kinds, and every count as predicted"""
    model, x, labels = digits
    twin = exact.run(model, x)[model.output]
    for kind in KINDS:
        done = runtime.run(model, x, Chip.preset("bf-imna-lr", ap=kind), labels=labels)
        np.testing.assert_array_equal(done.outputs, twin)
        assert done.passed
        assert done.correct == int((twin.argmax(axis=1) == labels).sum())


def everything(done: runtime.Run) -> list[Any]:
    """All that a run gives and took, but for seconds."""
    return [
        (
            layer.name,
            layer.bit_exact,
            [(p.name, p.counts, p.activity, p.loads) for p in layer.parts],
        )
        for layer in done.layers
    ] + [value.tolist() for value in done.tensors.values()]


@pytest.mark.parametrize("options", [{"literal": True}, {"threads": 1}, {"engine": "fused"}])
@pytest.mark.parametrize("kind", KINDS)
def test_how_the_emulator_works_changes_nothing(
    digits: Any, kind: str, options: dict[str, Any]
) -> None:
    """run(literal | one thread | fused) == run(lanes, two threads, strict), activity included"""
    model, x, _ = digits
    plain = runtime.run(model, x[:2], Chip.preset("bf-imna-lr", ap=kind))
    other = runtime.run(model, x[:2], Chip.preset("bf-imna-lr", ap=kind, **options))
    assert everything(other) == everything(plain)


def same_on_the_definition(model: Any, x: Any) -> None:
    """dense(model, x) == strict(model, x): tensors, counts, activity"""
    dense, strict = (
        runtime.run(model, x, Chip.preset("bf-imna-lr", engine=engine))
        for engine in ("dense", "strict")
    )
    assert everything(dense) == everything(strict)


def test_the_definition_runs_a_small_network_alike() -> None:
    model = networks.small_network()
    same_on_the_definition(model, networks.integers_in(model.tensors["x"], 1, 0))


@pytest.mark.long
def test_the_definition_runs_the_bundled_network_alike(digits: Any) -> None:
    same_on_the_definition(digits[0], digits[1][:1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_of_which_a_pass_does_nothing_gives_wrong_values(
    digits: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One multiplier pass writes what it compared: as many operations, other values."""
    model, x, _ = digits
    build_otherwise(monkeypatch, "dot_products", lambda function: spoilt(function, still))
    done = runtime.run(model, x[:1], Chip.preset("bf-imna-lr", ap=kind))
    assert not done.bit_exact
    assert done.counts_match
    assert not done.layers[0].bit_exact
    assert done.layers[1].bit_exact  # its twin saw the same wrong tensor


def test_a_program_with_a_pass_dropped_is_noticed_twice(
    digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The values differ, and so does the count."""
    build_otherwise(monkeypatch, "dot_products", lambda function: spoilt(function, dropped))
    done = runtime.run(digits[0], digits[1][:1], Chip.preset("bf-imna-lr"))
    assert not done.layers[0].bit_exact
    assert not done.layers[0].counts_match


def spoilt(function: Any, change: Any) -> Any:
    """The function with `change` made to a pass of its multiplication."""
    operation = function.operation

    def build(layout: Any) -> list[Any]:
        items = list(operation.on(layout).items)
        one = spoilable(items)
        return [*items[:one], *change(items[one]), *items[one + 1 :]]

    return replace(function, operation=Operation("spoilt", build))


def spoilable(items: list[Any]) -> int:
    """Where pass 4 of bit 0 stands: 1 and 1 give 1."""
    passes = [k for k, item in enumerate(items) if isinstance(item, Step) and item.op is Op.PASS]
    return passes[3]


def dropped(step: Step) -> list[Step]:
    return []


def still(step: Step) -> list[Step]:
    key = dict(step.key)
    return [replace(step, write=tuple((line, key.get(line, 0)) for line, _ in step.write))]


def test_a_prediction_that_is_off_by_one_is_noticed(
    digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """counted != predicted + 1 write; values stay right"""
    forecast_otherwise(monkeypatch, "products", Forecast(0, Counts(write=1)))
    done = runtime.run(digits[0], digits[1][:1], Chip.preset("bf-imna-lr"))
    assert done.bit_exact
    assert [layer.name for layer in done.layers if not layer.counts_match] == [
        layer.name for layer in done.model.weighted
    ]


def test_a_load_more_than_predicted_is_noticed(
    digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast_otherwise(monkeypatch, "add", Forecast(1))
    done = runtime.run(digits[0], digits[1][:1], Chip.preset("bf-imna-lr"))
    assert [layer.op for layer in done.layers if not layer.counts_match] == ["add"]


def wide_linear(seed: int = 0) -> Case:
    """Forty outputs of nine inputs: enough channels to be sampled."""
    rng = np.random.default_rng(seed)
    layer = Linear(
        name="layer", inputs=("x",), output="y", weights=rng.integers(-8, 8, (40, 9)),
        bias=np.arange(40), weight_bits=4,
    )  # fmt: skip
    tensors = {"x": Tensor((9,), 4, False), "y": Tensor((40,), 32, True)}
    return Case(Model("wide", "none", ("x",), ("y",), tensors, (layer,)),
                rng.integers(0, 16, (3, 9)))  # fmt: skip


def test_a_sample_says_that_it_is_one() -> None:
    """8 of 40 channels are compared, and the record says so"""
    case = wide_linear()
    done = runtime.run(case.model, case.x, chip("2d"), check="sample")
    assert (done.passed, done.layers[0].compared) == (True, "8 of 40 channels")
    assert runtime.run(case.model, case.x, chip("2d")).layers[0].compared == "all"


def test_a_sample_finds_a_wrong_value_in_its_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A multiplier with a fault is wrong in nearly all channels, hence in some of any eight."""
    build_otherwise(monkeypatch, "dot_products", lambda function: spoilt(function, still))
    case = wide_linear()
    done = runtime.run(case.model, case.x, chip("2d"), check="sample")
    assert not done.bit_exact


@pytest.mark.parametrize("axis", [1, -1])
def test_a_sample_of_channels_is_those_channels_of_the_whole(axis: int) -> None:
    """verify(sample) holds for the twin's own output, whatever its factors for each channel"""
    layer: Any = wide_linear().layer
    factors = [0.01 * (k + 1) for k in range(40)]
    requant = rules.requant("onnx-exact", factors, lo=-128, hi=127)
    x = np.random.default_rng(1).integers(0, 16, (2, 9) if axis == -1 else (2, 9, 3, 3))
    if axis == 1:
        layer = Conv2d(
            name="layer", inputs=("x",), output="y", bias=layer.bias, weight_bits=4,
            weights=layer.weights.reshape(40, 9, 1, 1),
        )  # fmt: skip
    layer = replace(layer, requant=requant)
    model = Model("case", "onnx-exact", ("x",), ("y",), {"x": Tensor(x.shape[1:], 4, False)},
                  (layer,))  # fmt: skip
    output = exact.layer_output(model, layer, {"x": x})
    assert verify(model, layer, {"x": x}, output, "sample").equal
    assert not verify(model, layer, {"x": x}, output + 1, "sample").equal


def test_tensors_that_no_later_layer_needs_are_forgotten_where_one_says_so(digits: Any) -> None:
    done = runtime.run(digits[0], digits[1][:1], Chip.preset("bf-imna-lr"), keep="outputs")
    assert set(done.tensors) == {digits[0].output}


class Record(runtime.Watcher):
    """Keeps what a run tells."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.finished: list[str] = []

    def advance(self, layer: Any, multiplications: int) -> None:
        self.done[layer.name] = self.done.get(layer.name, 0) + multiplications

    def finish(self, layer: Any, done: Any) -> None:
        self.finished.append(layer.name)


@pytest.mark.parametrize("literal", [False, True])
def test_a_watcher_is_told_of_every_multiplication(digits: Any, literal: bool) -> None:
    """sum of advances == macs, layer by layer"""
    watcher, model = Record(), digits[0]
    some = Chip.preset("bf-imna-lr", rows=100, literal=literal)
    done = runtime.run(model, digits[1][:1], some, watcher=watcher)
    assert watcher.done == {layer.name: layer.macs for layer in done.layers}
    assert watcher.finished == [layer.name for layer in model.layers]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 8, 8), int), r"must have shape \[N, 1, 8, 8\], got \[1, 8, 8\]"),
        (np.zeros((0, 1, 8, 8), int), "at least one"),
        (np.array(3), r"must have shape \[N, 1, 8, 8\], got \[\]"),
        (np.full((1, 1, 8, 8), 256), r"must lie in 0..255, got 256..256"),
        (np.full((1, 1, 8, 8), np.nan), "must hold integers, got float64"),
    ],
)
def test_images_that_do_not_fit_are_refused(digits: Any, x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        runtime.run(digits[0], x, Chip.preset("bf-imna-lr"))


def test_labels_that_are_not_one_for_each_image_are_refused(digits: Any) -> None:
    with pytest.raises(InputError, match=r"labels: wanted 2, one per image, got shape \(3,\)"):
        runtime.run(digits[0], digits[1][:2], Chip.preset("bf-imna-lr"), labels=[1, 2, 3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["a", "b"]}, "labels: wanted integers, got <U1"),
        ({"labels": [1.0, 2.0]}, "labels: wanted integers, got float64"),
        ({"keep": "some"}, "keep: wanted all or outputs, got 'some'"),
    ],
)
def test_options_of_no_sense_are_refused_before_any_layer(
    digits: Any, options: dict[str, Any], message: str
) -> None:
    chip = Chip.preset("bf-imna-lr")
    with pytest.raises(InputError, match=message):
        runtime.run(digits[0], digits[1][:2], chip, **options)
    assert chip.loads == 0


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"columns": 16}, "layer 'conv1': .* needs 4798 rows and 41 columns; .* 16 columns"),
        (
            {"rows": 8},
            "layer 'conv2': a sum of 144 words wants a CAP of 13 rows, .*a CAP has 8 rows",
        ),
    ],
)
def test_a_cap_that_is_too_small_is_refused_by_the_layer_that_does_not_fit(
    digits: Any, size: dict[str, int], message: str
) -> None:
    with pytest.raises(ProgramError, match=message):
        runtime.run(digits[0], digits[1][:1], Chip.preset("bf-imna-lr", **size))


def test_too_little_memory_is_one_message(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise MemoryError("Unable to allocate 80. GiB")

    monkeypatch.setattr("apsim.nn.on_ap.patches.columns", full)
    with pytest.raises(InputError, match=r"layer 'conv1': not enough memory.*fewer images"):
        runtime.run(digits[0], digits[1][:1], Chip.preset("bf-imna-lr"))
