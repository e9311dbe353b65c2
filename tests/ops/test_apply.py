"""LUTs of a user's own: random truth tables compiled, swept over fields, and compared."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import apsim
from apsim import lut, ops
from apsim.errors import LutError, ProgramError
from apsim.layout import Layout
from tests.helpers.benches import bench, words

SEED = st.integers(0, 10**6)
STATES = tuple(product((0, 1), repeat=3))


@given(
    results=st.lists(st.tuples(*[st.integers(0, 1)] * 2), min_size=8, max_size=8),
    minimal=st.booleans(), bits=st.integers(1, 12), seed=SEED,
    walk=st.sampled_from(("lsb-first", "msb-first")),
)  # fmt: skip
@settings(max_examples=30)
def test_a_random_lut_does_in_every_row_what_its_truth_says(
    results: list[tuple[int, int]], minimal: bool, bits: int, walk: str, seed: int
) -> None:
    """apply(compile(truth)) == truth, bit by bit, with a state that runs along the word"""
    truth = dict(zip(STATES, results, strict=True))
    try:
        table = lut.compile(
            truth, name="mine", inputs=("A", "B", "C"), outputs=("B", "C"), per_word=("C",),
            walk=walk, minimal=minimal,
        )  # fmt: skip
    except LutError:
        assume(False)
    rng = np.random.default_rng(seed)
    a, b = words(rng, "u", bits, 65), words(rng, "u", bits, 65)
    on = bench(seed, {"A": (f"u{bits}", a), "B": (f"u{bits}", b), "C": ("u1", 0)})
    on.machine.run(ops.apply(table))
    expected_b, expected_c = swept(truth, a, b, bits, walk)
    np.testing.assert_array_equal(on.machine.peek("B"), expected_b)
    np.testing.assert_array_equal(on.machine.peek("C"), expected_c)
    assert on.machine.counts.compare == len(table.passes) * bits
    assert on.others_kept("B", "C")


def swept(
    truth: dict[tuple[int, ...], tuple[int, int]], a: np.ndarray, b: np.ndarray, bits: int,
    walk: str,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """What the truth table says, one bit after another, in plain Python."""
    order = range(bits) if walk == "lsb-first" else reversed(range(bits))
    out, state = b.copy(), np.zeros_like(b)
    for k in order:
        rows = zip(a >> k & 1, out >> k & 1, state, strict=True)
        new = np.array([truth[tuple(map(int, row))] for row in rows])
        out = out & ~(1 << k) | new[:, 0] << k
        state = new[:, 1]
    return out, state


@given(st.integers(0, 255), st.integers(1, 10), SEED)
@settings(max_examples=20)
def test_any_function_of_two_bits_and_a_clean_one_can_be_written_out(
    code: int, bits: int, seed: int
) -> None:
    """P <- f(A, B, flag) for all 256 functions f of three bits, P clean"""

    def f(a: int, b: int, flag: int, p: int) -> dict[str, int] | None:
        return None if p else {"P": code >> (4 * a + 2 * b + flag) & 1}

    if code == 0:
        return  # nothing to write
    table = lut.compile(f, name="f", inputs=("A", "B", "F", "P"), outputs=("P",), per_word=("F",))
    rng = np.random.default_rng(seed)
    a, b, flag = (words(rng, "u", n, 100) for n in (bits, bits, 1))
    values = {"X": (f"u{bits}", a), "Y": (f"u{bits}", b), "S": ("u1", flag), "P": (f"u{bits}", 0)}
    on = bench(seed, values)
    on.machine.run(ops.apply(table, A="X", B="Y", F="S"))
    places = 1 << np.arange(bits)
    index = 4 * ((a[:, None] & places) > 0) + 2 * ((b[:, None] & places) > 0) + flag[:, None]
    np.testing.assert_array_equal(on.machine.peek("P"), ((code >> index & 1) * places).sum(1))
    assert on.others_kept("P")


def test_a_lut_found_by_name_is_the_operation_of_that_name() -> None:
    """apply("add") == add"""
    layout = Layout(A=5, B=5, C=1)
    assert ops.apply("add").on(layout).items == ops.add("A", "B", carry="C").on(layout).items


def test_a_lut_file_runs_by_its_path(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A table written by a user, saved, and run"""
    table = lut.compile(
        lambda a, p: {"P": 1 - a} if not p else None, name="inverse", inputs=("A", "P"),
        outputs=("P",),
    )  # fmt: skip
    path = tmp_path / "inverse.toml"
    path.write_text(lut.to_toml(table))
    machine = apsim.Machine(rows=3, layout=Layout(A=4, P=4))
    machine.write("A", [0, 5, 15])
    machine.run(ops.apply(str(path)))
    assert machine.read("P").tolist() == [15, 10, 0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"X": "A"}, "LUT 'add' has columns A, B, C, no 'X'"),
        ({"B": "W"}, "LUT 'add' wants A, B equally wide and one column for each other"),
        ({"C": "A"}, "got A: 4, B: 4, C: 4"),
    ],
)
def test_fields_that_do_not_suit_a_lut_are_refused(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        ops.apply("add", **fields).on(Layout(A=4, B=4, C=1, W=5))


def test_an_unknown_lut_is_refused() -> None:
    with pytest.raises(LutError, match="ad"):
        ops.apply("adder_of_mine")
