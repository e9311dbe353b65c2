"""Networks of integers alone get scales, and with them other widths."""

from __future__ import annotations

import numpy as np
import pytest

from apsim.errors import InputError
from apsim.nn.model import Model, Weighted
from apsim.nn.rules import precision, scales
from apsim.nn.zoo import sources, synthetic

RESNET18 = scales.with_scales(synthetic.network("resnet18", 8))


def factors(model: Model) -> list[np.ndarray]:
    return [layer.requant.scale for layer in model.layers
            if getattr(layer, "requant", None) is not None]  # fmt: skip


def test_scales_give_each_factor_again() -> None:
    """with_rule(with_scales(m)) has the factors of m, to one rounding in float32."""
    again = precision.with_rule(RESNET18, RESNET18.rule)
    for before, after in zip(factors(RESNET18), factors(again), strict=True):
        assert np.allclose(before, after, rtol=2**-22, atol=0)


def test_scales_leave_the_integers_alone() -> None:
    plain = synthetic.network("resnet18", 8)
    for before, after in zip(plain.weighted, RESNET18.weighted, strict=True):
        assert np.array_equal(before.weights, after.weights)
        assert np.array_equal(before.bias, after.bias)


@pytest.mark.parametrize(
    ("budget", "eights"), [("latency_0.75", 17), ("latency_0.5", 14), ("latency_0.25", 7)]
)
def test_hawq_lists_run_on_one_loaded_resnet18(budget: str, eights: int) -> None:
    """Table VII: the list's widths on 19 layers, 8 bits on the layers it leaves out."""
    widths = sources.budget_widths("resnet18", f"hawq:{budget}")
    model = RESNET18.at(widths)
    assert model.bits == tuple((width, width) for width in widths)
    assert widths.count(8) == eights and set(widths) == {4, 8} and len(widths) == 21
    assert all(isinstance(layer, Weighted) for layer in model.weighted)


def test_a_budget_that_hawq_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match=r"--bits hawq:latency_0\.9: wanted one of hawq-int4"):
        sources.model("resnet18", bits="hawq:latency_0.9")
    with pytest.raises(InputError, match="HAWQ-V3's lists are for resnet18, not vgg16"):
        sources.budget_widths("vgg16", "hawq:latency_0.5")
