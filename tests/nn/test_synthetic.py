"""Networks of the literature: shapes of their tables, seeded weights, any widths."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from apsim.cost.network import network as table
from apsim.errors import InputError
from apsim.nn import exact, runtime
from apsim.nn.model import AvgPool, Conv2d, Linear, Model, check
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.execute import macs
from apsim.nn.zoo import synthetic

NAMES = synthetic.network_names()


@pytest.fixture(scope="module")
def resnet18() -> Model:
    return synthetic.network("resnet18", 4)


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("resnet")])
def test_a_network_has_the_multiplications_of_its_table(name: str) -> None:
    """sum of macs(model) == sum of macs(table), and the model is consistent"""
    model = check.verify(synthetic.network(name, 4))
    products = sum(macs(model, layer, 1) for layer in model.layers)
    assert products == sum(layer.macs for layer in table(name).layers if layer.gemm)
    assert len(model.weighted) == sum(layer.gemm for layer in table(name).layers)


def test_weights_come_from_the_seed(resnet18: Model) -> None:
    """The same seed, the same weights; another seed, others"""
    first, again, other = (
        model.weighted[3].weights
        for model in (resnet18, synthetic.network("resnet18", 4),
                      synthetic.network("resnet18", 4, seed=1))
    )  # fmt: skip
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_images_come_from_the_seed(resnet18: Model) -> None:
    first, again, other = (synthetic.inputs(resnet18, 2, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first.shape, first.min(), first.max()) == ((2, 3, 224, 224), 0, 15)


@pytest.mark.parametrize("bits", [1, 2, 8, 16])
def test_every_width_is_kept(bits: int) -> None:
    """Inputs and weights of every weighted layer have the width that was asked for."""
    model = synthetic.network("resnet18", bits)
    assert model.bits == ((bits, bits),) * 21
    reach = (1 << (bits - 1)) - 1 if bits > 1 else 1
    for layer in model.weighted:
        assert np.abs(layer.weights).max() <= reach


def test_each_layer_may_have_a_width_of_its_own() -> None:
    widths = [4, 8] * 10 + [2]
    model = synthetic.network("resnet18", widths)
    assert model.bits == tuple((width, width) for width in widths)
    check.verify(model)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("resnet19", 8), "unknown network 'resnet19': wanted one of "),
        (("resnet18", [8, 8]), "resnet18: wanted one width or 21, .* got 2"),
        (("resnet18", 0), "resnet18: wanted widths of 1 to 16 bits, got "),
        (("resnet18", 17), "resnet18: wanted widths of 1 to 16 bits, got "),
    ],
)
def test_what_cannot_be_built_is_refused(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        synthetic.network(*call)


def row(name: str, kind: str, source: str, shapes: tuple[str, str], **more: int) -> dict[str, str]:
    """A line of a layer table, from shapes such as 4x6x6."""
    inputs, outputs = (shape.split("x") for shape in shapes)
    sizes = dict(zip(("in_c", "in_h", "in_w"), inputs, strict=True))
    sizes |= dict(zip(("out_c", "out_h", "out_w"), outputs, strict=True))
    plain = {"kernel": 1, "stride": 1, "pad": 0, "groups": 1, "relu": 0} | more
    numbers = {key: str(value) for key, value in plain.items()}
    return {"name": name, "type": kind, "input_from": source, **sizes, **numbers}


REDUCED = [
    row("conv1", "conv", "input", ("3x12x12", "8x6x6"), kernel=3, stride=2, pad=1, relu=1),
    row("pool1", "maxpool", "conv1", ("8x6x6", "8x3x3"), kernel=3, stride=2, pad=1),
    row("conv2", "conv", "pool1", ("8x3x3", "8x3x3"), kernel=3, pad=1, relu=1),
    row("conv3", "conv", "conv2", ("8x3x3", "8x3x3"), kernel=3, pad=1),
    row("add1", "add", "conv3+pool1", ("8x3x3", "8x3x3"), relu=1),
    row("pool2", "avgpool", "add1", ("8x3x3", "8x1x1"), kernel=3),
    row("fc", "fc", "pool2", ("8x1x1", "20x1x1")),
]


@pytest.fixture
def reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of the literature's kinds of layers, small enough to be run whole."""
    monkeypatch.setattr(synthetic, "_rows", lambda name: REDUCED)


@pytest.mark.parametrize("kind", ["1d", "2d", "2d-seg", "2d-tc", "2d-seg-tc"])
@pytest.mark.parametrize("bits", [8, [8, 4, 2, 6]])
def test_a_reduced_network_runs_exact_on_every_kind(
    reduced: None, kind: str, bits: int | list[int]
) -> None:
    """run == exact, counted == predicted, for one width and for widths of each layer"""
    model = check.verify(synthetic.network("reduced", bits))
    x = synthetic.inputs(model, 2)
    done = runtime.run(model, x, Chip.preset("bf-imna-lr", ap=kind, rows=300))
    assert done.passed
    np.testing.assert_array_equal(done.outputs, exact.run(model, x)[model.output])


def test_values_neither_vanish_nor_saturate(reduced: None) -> None:
    """Less than one in four activations at an end of its range: counts and flips mean something."""
    model = synthetic.network("reduced", 8)
    tensors = exact.run(model, synthetic.inputs(model, 4))
    for layer in model.layers:
        values, kind = tensors[layer.output], model.tensors[layer.output]
        if isinstance(layer, Conv2d | Linear) and not layer.relu:
            assert ((values == kind.hi) | (values == kind.lo)).mean() < 1 / 4
        elif not isinstance(layer, AvgPool):
            assert (values == kind.hi).mean() < 1 / 4
        assert len(Counter(values.ravel().tolist())) > 8


@pytest.mark.long
def test_resnet18_runs_exact_and_as_predicted(resnet18: Model) -> None:
    """The whole network at four bits, all values compared"""
    x = synthetic.inputs(resnet18, 1)
    done = runtime.run(resnet18, x, Chip.preset("bf-imna-lr"), keep="outputs")
    assert done.passed
    assert done.outputs.shape == (1, 1000)
