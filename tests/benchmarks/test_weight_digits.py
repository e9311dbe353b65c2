"""What other digits, ends and sums would gain, by forecast."""

from __future__ import annotations

import re

import numpy as np
import pytest

from apsim.closed_form import weights
from benchmarks import weight_digits


def test_what_runs_is_one_of_the_forecasts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """69,690 cycles of the design page, less 14.2 %: no way is worse than the one it starts from"""
    monkeypatch.setattr(weight_digits, "SAMPLE", 2)
    weight_digits.main(["digits", "--bits", "2"])
    shown = capsys.readouterr().out
    assert shown.startswith("digits, 2 bits: 69,690 cycles; less by: stopped 14.2%")
    gains = {name: float(gain) for name, gain in re.findall(r"(\w+) ([\d.]+)%", shown)}
    assert gains["stopped"] <= min(gains["finest"], gains["chosen"], gains["least"])


@pytest.mark.parametrize("chunk", [0, 3])
def test_digits_of_least_reach_are_as_many_and_reach_no_further(chunk: int) -> None:
    w = np.arange(-127, 128)[None, :]
    canonical, least = weight_digits.Forms.canonical(w), weight_digits.Forms.least(w)
    for forms in (canonical, least):
        assert np.array_equal(forms.positive - forms.negative, w)
    counts = [np.bitwise_count(forms.reach) for forms in (canonical, least)]
    assert np.array_equal(*counts)
    assert (least.reach <= canonical.reach).all()
    _, plan = weights(w, 8, 160, [chunk], stop=False)
    assert weight_digits.cycles(canonical, plan, "whole") == plan.counts.total
