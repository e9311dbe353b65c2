"""What a product is made of: the parts of a tile's machine code."""

from __future__ import annotations

import re

import pytest

from apsim.cam.jit import PLAIN
from benchmarks.product_parts import main

pytestmark = pytest.mark.skipif(PLAIN, reason="there is no machine code here")


def test_every_operation_of_a_tile_is_in_the_parts(capsys: pytest.CaptureFixture[str]) -> None:
    """Nine rows are loaded and multiplied; eight are added to the first."""
    assert main(["--length", "9", "--bits", "3", "--vectors", "3", "--rounds", "1"]) == 0
    shown = capsys.readouterr().out
    times = {name.strip(): int(n) for name, n in re.findall(r"  (.+?) +(\d+) times", shown)}
    assert times["fill"] == 9 + 1  # a row's product is cleared; one more asks no tag
    assert times["take"] == 2 * 9
    assert times["put"] == 6 + 4  # bits of a sum of nine products of six bits
    assert "sum of the parts" in shown and "the whole" in shown
