"""The bundled transformer: its golden tensors, its accuracy, and what its records say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from apsim.ap_kind import ApKind
from apsim.errors import InputError, ModelError, ProgramError
from apsim.nn import exact, runtime
from apsim.nn.model import Integers, Linear, Model, Softmax, check
from apsim.nn.on_ap.chip import Chip, Design
from apsim.nn.on_ap.execute import macs
from apsim.nn.rules import real
from apsim.nn.rules.normalize import exponential
from apsim.nn.zoo import bundled, datasets, synthetic
from tests.conftest import ROOT
from tests.helpers.by_hand import transformer

GOLDEN = ROOT.parent / "shared" / "design" / "golden" / "digits_vit.npz"


@pytest.fixture(scope="module")
def model() -> Model:
    return bundled.load("digits-vit")


@pytest.fixture(scope="module")
def tensors(model: Model) -> dict[str, Integers]:
    """Every tensor of all 360 test images."""
    return exact.run(model, real.quantize(model, datasets.test("digits-vit").images))


def test_it_is_right_on_351_of_360_images(tensors: dict[str, Integers]) -> None:
    answers = tensors["logits"].argmax(axis=1)
    assert np.count_nonzero(answers == datasets.test("digits-vit").labels) == 351


def test_its_tensors_are_the_golden_ones(tensors: dict[str, Integers]) -> None:
    if not GOLDEN.exists():
        pytest.skip("the golden file of the transformer is not here")
    stored = {"h0": "stream0", "nf": "norm", "mean": "mean"}
    for i in (0, 1):
        place = f"block{i + 1}"
        stored |= {f"{i}_n1": f"{place}.norm1", f"{i}_ctx": f"{place}.heads",
                   f"{i}_a": f"{place}.up", f"{i}_g": f"{place}.gelu",
                   f"{i}_h1": f"stream{2 * i + 1}", f"{i}_h2": f"stream{2 * i + 2}"}  # fmt: skip
    with np.load(GOLDEN) as golden:
        for key, name in stored.items():
            assert np.array_equal(golden[f"t_{key}"], tensors[name][:2]), name
        for i, head in np.ndindex(2, 2):
            place = f"block{i + 1}.head{head + 1}"
            for key, what in (("s", "scores"), ("p", "softmax")):
                wanted = golden[f"t_{i}_{key}"][:, head]
                assert np.array_equal(wanted, tensors[f"{place}.{what}"][:2]), place
        assert np.array_equal(golden["logits"], tensors["logits"][:8])
        assert np.array_equal(golden["logits_argmax_all"], tensors["logits"].argmax(axis=1))
        assert np.array_equal(golden["x"], tensors["patches"][:8])


@pytest.mark.parametrize("image", [0, 117])
def test_lists_of_python_integers_give_every_tensor_of_an_image(
    model: Model, tensors: dict[str, Integers], image: int
) -> None:
    rows = transformer(model, tensors["image"][image].ravel().tolist())
    for name, lines in rows.items():
        words = [word for line in lines for word in line]
        assert words == tensors[name][image].ravel().tolist(), name


def test_an_image_takes_297280_multiplications(model: Model) -> None:
    assert sum(macs(model, layer, 1) for layer in model.layers) == 297_280


def test_each_token_has_a_bias_of_its_own(model: Model) -> None:
    embed = model.layer("embed")
    assert isinstance(embed, Linear)
    assert embed.bias.shape == (16, 32)
    wrong = replace(embed, bias=embed.bias[:4])
    layers = tuple(wrong if layer is embed else layer for layer in model.layers)
    with pytest.raises(ModelError, match="expected 32 biases"):
        check.verify(model.replace(layers=layers))


def test_its_images_to_choose_on_are_not_those_that_score_it() -> None:
    test, other = datasets.test("digits-vit").images, datasets.calibration("digits-vit").images
    assert not {image.tobytes() for image in test} & {image.tobytes() for image in other}


KINDS = [kind.value for kind in ApKind]


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_of_it_is_exact_on_every_kind_of_ap(model: Model, kind: str) -> None:
    """counted == predicted, and all but moves of words is passes"""
    x = real.quantize(model, datasets.test("digits-vit").images[:1])
    done = runtime.run(model, x, Chip.preset("bf-imna-lr", ap=kind))
    assert done.passed
    on_host = {layer.op for layer in done.layers if not layer.parts}
    assert on_host == {"rearrange", "concat"}


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_all_images_are_right_as_often_on_every_kind_of_ap(model: Model, kind: str) -> None:
    data = datasets.test("digits-vit")
    x = real.quantize(model, data.images)
    done = runtime.run(model, x, Chip.preset("bf-imna-lr", ap=kind), labels=data.labels)
    assert done.passed
    assert done.correct == 351


def fluid(model: Model, **changed: int | tuple[int, int]) -> Model:
    """The network with the widths of some layers changed; `_` stands for a dot."""
    by_name = {name.replace("_", "."): width for name, width in changed.items()}
    return model.at([by_name.get(layer.name, 8) for layer in model.fluid])


def test_widths_are_those_of_products_weights_and_softmax(model: Model) -> None:
    """20 layers with weights, 8 products of two activations, 4 softmaxes"""
    kinds = [layer.op for layer in model.fluid]
    assert {kind: kinds.count(kind) for kind in kinds} == {"linear": 20, "matmul": 8, "softmax": 4}
    assert set(model.bits) == {(8, 8)}


def test_the_widths_that_it_has_change_nothing(model: Model) -> None:
    assert all(a is b for a, b in zip(model.layers, model.at(8).layers, strict=True))


def test_operands_of_a_product_are_narrowed_where_they_are_made(model: Model) -> None:
    """q and k come narrower out of their products; nothing is requantized in between."""
    narrow = fluid(model, block1_head1_scores=(6, 4))
    assert narrow.tensors["block1.head1.q"].bits == 6
    assert narrow.tensors["block1.head1.k"].bits == 4
    assert len(narrow.layers) == len(model.layers)


def test_the_table_of_a_softmax_is_made_anew_for_narrower_scores(model: Model) -> None:
    """A step of scores is 127 / 7 times as great, and so is that of the exponent."""
    narrow = fluid(model, block2_head1_softmax=4)
    old, new = (one.layer("block2.head1.softmax") for one in (model, narrow))
    assert isinstance(old, Softmax)
    assert isinstance(new, Softmax)
    assert new.table is not None
    assert np.array_equal(new.table, exponential(new.factor, 4))
    assert new.factor == pytest.approx(old.factor * 127 / 7, rel=1e-6)


def test_probabilities_and_norms_are_requantized_before_a_narrower_layer(model: Model) -> None:
    """Softmax and norms give 8 bits; layers that want 4 of the same words share what makes them."""
    narrow = fluid(model, block1_head2_context=(4, 8), block2_head1_q=4, block2_head2_v=4)
    added = [layer.name for layer in narrow.layers if layer.op == "requantize"]
    assert added == ["block1.head2.softmax@4", "block2.norm1@4"]
    x = real.quantize(narrow, datasets.test("digits-vit").images[:1])
    assert runtime.run(narrow, x, Chip.preset("bf-imna-lr", ap="2d-seg", requant="ap")).passed


def test_uniform_widths_lose_little_down_to_5_bits(model: Model) -> None:
    data = datasets.test("digits-vit")
    right = []
    for bits in (6, 5, 4):
        narrow = model.at(bits)
        answers = exact.run(narrow, real.quantize(narrow, data.images))["logits"].argmax(axis=1)
        right.append(np.count_nonzero(answers == data.labels))
    assert right == [350, 348, 324]


@pytest.mark.parametrize(("widths", "message"), [
    ((6, 4), "wanted one width of its scores, 2 to 12, got"),
    (13, "wanted one width of its scores, 2 to 12, got"),
    (1, "widths must lie in 2..16"),
])  # fmt: skip
def test_widths_that_no_softmax_has_are_refused(
    model: Model, widths: int | tuple[int, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fluid(model, block1_head1_softmax=widths)


def test_a_token_that_does_not_fit_a_cap_is_refused_with_the_rows_it_wants(model: Model) -> None:
    small = Chip(Design("small", 1, 1, 24, 160, "this test"), ap="2d-seg")
    x = real.quantize(model, datasets.test("digits-vit").images[:1])
    with pytest.raises(ProgramError, match="wants 32 rows and 109 columns; a CAP has 24 rows"):
        runtime.run(model, x, small)


def test_columns_that_do_not_hold_a_norm_are_said(model: Model) -> None:
    narrow = Chip(Design("narrow", 1, 1, 4800, 100, "this test"), ap="2d-seg")
    x = real.quantize(model, datasets.test("digits-vit").images[:1])
    with pytest.raises(ProgramError, match=r"wants 32 rows and 109 columns; .*and 100 columns"):
        runtime.run(model, x, narrow)


@pytest.mark.parametrize("name", ["vit:0,32", "vit:16", "vit:16,32,2", "vit:16,1", "vit:a,b"])
def test_a_transformer_of_no_size_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"wanted vit:T,d with 1 to 4,096 tokens"):
        synthetic.network(name)


def test_a_random_transformer_has_the_tokens_and_words_of_its_name() -> None:
    model = synthetic.network("vit:5,6", [8] * 4 + [7] + [8] * 6)
    assert model.tensors["block1.head1.scores"].shape == (5, 5)
    assert model.tensors["block1.head1.q"].shape == (5, 6)
    x = synthetic.inputs(model, 1)
    assert runtime.run(model, x, Chip.preset("bf-imna-lr")).passed


@pytest.mark.parametrize("options", [
    {"requant": "ap"}, {"mapping": "weights"}, {"mapping": "auto", "requant": "ap"},
    {"broadcast": "rows"}, {"array": "cap"}, {"literal": True, "ap": "2d-seg"},
])  # fmt: skip
def test_it_is_exact_however_it_is_run(model: Model, options: dict[str, Any]) -> None:
    """Two images, so that loads hold tokens of both"""
    x = real.quantize(model, datasets.test("digits-vit").images[:2])
    assert runtime.run(model, x, Chip.preset("bf-imna-lr", **options)).passed
