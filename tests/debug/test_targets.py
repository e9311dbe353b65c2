"""Targets by name start where there is something to see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from apsim import lut
from apsim.debug.session import Session
from apsim.debug.targets import OPERATIONS, Wanted, open_target
from apsim.errors import InputError
from apsim.lut.check import run_passes
from apsim.lut.model import Lut

LUTS = lut.names()


def opened(name: str, **options: object) -> tuple[Lut, Session]:
    path = str(lut.catalog.path_of(name))  # by its file: some operations have names of LUTs
    return lut.find(name), open_target(Wanted(path, **options))


def words(session: Session) -> dict[str, np.ndarray]:
    layout, data = session.machine.layout, session.tape.data
    assert data is not None
    return {name: layout[name].decode(data[k]) for k, name in enumerate(layout)}


def states(table: Lut, found: dict[str, np.ndarray], row: int, bits: int) -> list[tuple[int, ...]]:
    """The state that each bit of a row meets, in the order of the walk, replayed on the table."""
    met, carried = [], {name: int(found[name][row]) for name in table.per_word}
    for bit in reversed(range(bits)) if table.walk == "msb-first" else range(bits):
        now = {n: int(found[n][row]) >> bit & 1 for n in table.per_bit} | carried
        met.append(tuple(now[name] for name in table.columns))
        after = dict(zip(table.columns, run_passes(table, met[-1]), strict=True))
        carried = {name: after[name] for name in table.per_word}
    return met


@pytest.mark.parametrize("name", LUTS)
def test_a_lut_starts_in_every_state_that_can_occur(name: str) -> None:
    """first states of all rows == reachable states; all states met later are reachable"""
    table, session = opened(name, bits=5)
    met = [states(table, words(session), row, 5) for row in range(session.machine.rows)]
    assert [row[0] for row in met] == list(table.reachable)
    assert {state for row in met for state in row} <= set(table.reachable)


@pytest.mark.parametrize("name", LUTS)
def test_a_lut_does_something_where_nothing_is_said(name: str) -> None:
    _, session = opened(name, bits=1)
    loaded = session.parts[0].stop
    session.go_to(2 * loaded)
    before = session.machine.activity.flipped
    session.go_to(session.end)
    assert session.machine.activity.flipped > before


def test_rows_beyond_the_states_go_round_them() -> None:
    table, session = opened("max3", bits=2, rows=30)
    found = words(session)
    firsts = [states(table, found, row, 2)[0] for row in range(30)]
    assert firsts == [table.reachable[row % len(table.reachable)] for row in range(30)]


def test_what_is_given_is_kept_and_outputs_start_clean() -> None:
    _, session = opened("add", given={"A": [5, 9], "B": [6]}, bits=4)
    assert {n: w.tolist() for n, w in words(session).items()} == {
        "A": [5, 9], "B": [6, 6], "C": [0, 0],
    }  # fmt: skip


def test_a_state_that_cannot_occur_is_taken_as_given() -> None:
    """the first bit of an addition finds C clean: the table calls C = 1 not possible"""
    columns = lut.find("add_first").columns
    table, session = opened("add_first", given={name: [1] for name in columns}, bits=1)
    assert (1,) * len(columns) not in table.reachable
    assert all(word.tolist() == [1] * 4 for word in words(session).values())


def test_another_seed_gives_other_words() -> None:
    some = [words(opened("add", bits=8, seed=seed)[1])["A"].tolist() for seed in (0, 0, 1)]
    assert some[0] == some[1] != some[2]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("kind", ["1d", "2d-seg-tc"])
def test_every_operation_opens_and_runs(name: str, kind: str) -> None:
    session = open_target(Wanted(name, bits=3, rows=4, ap=kind))
    session.go_to(session.end)
    assert session.counts == session.program.counts()


def test_a_layer_is_opened_as_the_options_of_its_run_say() -> None:
    """A softmax by rows takes a write for each, its group's at once one"""
    softmax = Wanted("", ap="2d-seg", model="digits-vit", layer="block1.head1.softmax")
    steps = {
        how: len(open_target(replace(softmax, broadcast=how)).program) for how in ("group", "rows")
    }
    assert steps["rows"] > steps["group"]


@pytest.mark.parametrize("name", ["digits", "NET.ONNX", "saved.npz"])
def test_a_network_is_opened_by_one_of_its_layers(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}.* is a network: .*, as {name}:LAYER"):
        open_target(Wanted(name))
