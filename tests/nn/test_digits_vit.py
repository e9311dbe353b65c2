"""The bundled transformer: its golden tensors, its accuracy, and what its records say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from apsim.errors import ModelError
from apsim.nn import exact
from apsim.nn.model import Linear, Model, check
from apsim.nn.on_ap.execute import macs
from apsim.nn.rules import real
from apsim.nn.zoo import bundled, datasets
from tests.conftest import ROOT

GOLDEN = ROOT.parent / "shared" / "design" / "golden" / "digits_vit.npz"


@pytest.fixture(scope="module")
def model() -> Model:
    return bundled.load("digits-vit")


@pytest.fixture(scope="module")
def tensors(model: Model) -> dict[str, exact.Integers]:
    """Every tensor of all 360 test images."""
    return exact.run(model, real.quantize(model, datasets.test("digits-vit").images))


def test_it_is_right_on_351_of_360_images(tensors: dict[str, exact.Integers]) -> None:
    answers = tensors["logits"].argmax(axis=1)
    assert np.count_nonzero(answers == datasets.test("digits-vit").labels) == 351


def test_its_tensors_are_the_golden_ones(tensors: dict[str, exact.Integers]) -> None:
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
