"""A chip: loads on CAPs, what they took, and sizes that do not suffice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsim import functions
from apsim.counts import Activity, Counts
from apsim.errors import InputError, ProgramError
from apsim.nn.on_ap.chip import Chip

ADD = functions.add(4, 5)
WORDS = ADD.words(np.arange(5), np.arange(5) + 3)


def test_the_paper_s_chip_has_the_sizes_of_table_v() -> None:
    """8 x 8 clusters of 8 x 8 CAPs of 4800 rows"""
    design = Chip.preset("lr").design
    assert (design.clusters, design.caps, design.rows) == (8 * 8, 8 * 8, 4800)


@pytest.mark.parametrize("engine", ["dense", "strict", "fused"])
def test_a_load_gives_the_function_and_its_counts(engine: str) -> None:
    """execute(add) == a + b; chip.counts == sum of the loads' programs"""
    chip = Chip.preset("bf-imna-lr", engine=engine)
    for load in range(1, 4):
        found = ADD.results(chip.execute(ADD, WORDS)[None])
        np.testing.assert_array_equal(found, 2 * np.arange(5) + 3)
        assert chip.counts == ADD.program.counts() * load
        assert chip.loads == load


def test_every_load_finds_a_cap_of_zeros() -> None:
    """The second load takes and flips what the first did, whatever ran between them."""
    chip, other = Chip.preset("bf-imna-lr"), functions.add(4, 5, words="o")
    chip.execute(ADD, WORDS)
    first = chip.activity
    chip.execute(other, other.words(np.zeros(5, int), np.zeros(5, int)))
    before = chip.activity
    chip.execute(ADD, WORDS)
    assert chip.activity == before + first


def test_what_ran_side_by_side_is_noted() -> None:
    chip = Chip.preset("bf-imna-lr")
    chip.note(Counts(1, 2, 3), Activity(4, 3, 2, 1), 5)
    chip.note(Counts(1, 0, 0), Activity(1, 1, 1, 1), 1)
    assert (chip.counts, chip.activity, chip.loads) == (
        Counts(2, 2, 3), Activity(5, 4, 3, 2), 6,
    )  # fmt: skip


def test_a_load_that_does_not_fit_takes_nothing() -> None:
    chip = Chip.preset("bf-imna-lr", rows=4)
    with pytest.raises(ProgramError, match="add on the 2d AP needs 5 rows and 9 columns; a CAP of "
                       "bf-imna-lr has 4 rows and 160 columns"):  # fmt: skip
        chip.execute(ADD, WORDS)
    assert (chip.counts, chip.loads) == (Counts(), 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "warp"}, "unknown engine 'warp': wanted one of dense, strict, fused"),
        ({"ap": "3d"}, "unknown AP kind '3d'"),
        ({"threads": 0}, "wanted at least one thread, got 0"),
        ({"threads": 1.5}, "wanted at least one thread, got 1.5"),
        ({"columns": 160.5}, "wanted CAPs of 2 rows and 1 column at least, got 4800 x 160.5"),
        ({"threads": -1}, "wanted at least one thread, got -1"),
        ({"rows": 1}, "wanted CAPs of 2 rows and 1 column at least, got 1 x 160"),
        ({"columns": 0}, "wanted CAPs of 2 rows and 1 column at least, got 4800 x 0"),
        ({"requant": "moon"}, "requant: wanted one of host, ap, got 'moon'"),
    ],
)
def test_a_chip_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, ProgramError), match=message):
        Chip.preset("bf-imna-lr", **options)


def test_an_unknown_chip_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'bf-imna-rl' is neither .*did you mean 'bf-imna-lr'"):
        Chip.preset("bf-imna-rl")


def test_a_chip_of_ones_own_has_the_sizes_and_the_kind_of_its_table(tmp_path: Path) -> None:
    """rows == the table's; columns == 10 for each of the table's; ap == the table's"""
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "lr"\nname = "mine"\nap = "1d"\n[rows]\nvalue = 64\nunit = "1"\nsource = "me"\n'
    )
    chip = Chip.preset(str(path))
    assert (chip.design.rows, chip.design.columns, chip.kind.value) == (64, 160, "1d")
    assert Chip.preset(str(path), ap="2d", columns=80).design.columns == 80


def test_a_chip_prints_what_it_is_and_took() -> None:
    chip = Chip.preset("bf-imna-lr", ap="1d", rows=100)
    chip.execute(ADD, WORDS)
    assert repr(chip) == (
        f"<Chip bf-imna-lr: 64 x 64 CAPs of 100 rows x 160 columns, 1d AP, {ADD.program.counts()}>"
    )
