"""Loads of row-by-row functions, side by side on one tall array or one after another."""

from __future__ import annotations

import numpy as np
import pytest

from apsim.errors import ProgramError
from apsim.functions import add, relu
from apsim.nn.model.words import Words
from apsim.nn.on_ap import work
from apsim.nn.on_ap.chip import Chip
from tests.helpers import on_ap


@pytest.mark.parametrize("words", [1, 63, 64, 65, 200, 64 * work.TALL + 70])
def test_loads_side_by_side_give_and_take_what_loads_one_by_one_do(words: int) -> None:
    """beside(values) == literal(values) in values, counts, activity and loads"""
    draw = np.random.default_rng(words)
    a, b = draw.integers(-128, 128, (2, words))
    taken = []
    for literal in (False, True):
        chip = Chip.preset("bf-imna-lr", rows=64, literal=literal)
        total, adding = on_ap.add(chip, a, b, Words(8, True))
        positive, clearing = on_ap.relu(chip, a, 8)
        assert (total == a + b).all()
        assert (positive == np.maximum(a, 0)).all()
        assert adding.counts_match
        assert clearing.counts_match
        taken.append((chip.counts, chip.activity, chip.loads))
    assert taken[0] == taken[1]


def test_only_loads_of_one_program_stand_side_by_side() -> None:
    chip = Chip.preset("bf-imna-lr", rows=64)
    tall, load = add(8, 128), relu(8, 64)
    with pytest.raises(ProgramError, match="side by side must have one program"):
        chip.execute_beside(tall, load, 2, np.zeros((2, 128), np.uint64))
