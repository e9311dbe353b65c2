"""The LUTs that ship: each is sound, nothing in it is idle, and it means what it says.

Everything here loops over the whole folder, so that a new file is tested by existing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from apsim import lut
from apsim.lut.check import Unsound
from apsim.lut.compiler import prove_minimal
from apsim.lut.model import Bits, Lut, Pass, State

ROOT = Path(__file__).resolve().parents[2]
NAMES = lut.names()
FILES = sorted(path.stem for path in (ROOT / "luts").glob("*.toml"))

ORDERS = {
    "add": 6,
    "sub": 6,
    "cadd": 6,
    "csub": 6,
    "csubn": 6,
    "corner": 2,
    "cornerb": 2,
    "max": 24,
    "max3": 6,
    "relu": 1,
    "fa3": 1,
    "ha2": 1,
    "ha2d": 1,
    "pp4": 3,
}
"""Sound orders of the passes, counted independently when the LUTs were designed."""


def plain_run(table: Lut, passes: tuple[Pass, ...], state: State) -> dict[str, int]:
    """The obvious interpreter: what the passes do to one row."""
    row = dict(zip(table.columns, state, strict=True))
    for step in passes:
        if all(row[name] == bit for name, bit in step.key):
            row.update(step.write)
    return row


def plainly_sound(table: Lut, passes: tuple[Pass, ...]) -> bool:
    """Whether the passes end every possible state as the truth says, `x` aside."""
    return all(
        (state, name) in table.free or bit == wanted
        for state, result in table.truth.items()
        if result is not None
        for (name, bit), wanted in zip(plain_run(table, passes, state).items(), result, strict=True)
    )


def test_find_knows_the_files_of_the_folder() -> None:
    assert set(FILES) <= set(NAMES)


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_sound_and_called_by_its_name(name: str) -> None:
    found = lut.find(name)
    assert found.name == name
    assert plainly_sound(found, found.passes)
    assert set(found.truth) == {
        tuple(int(bit) for bit in f"{i:0{len(found.columns)}b}")
        for i in range(2 ** len(found.columns))
    }


@pytest.mark.parametrize("name", FILES)
def test_dropping_any_pass_is_detected(name: str) -> None:
    found = lut.find(name)
    assert lut.droppable(found) == ()
    for i in range(len(found.passes)):
        with pytest.raises(Unsound):
            lut.prove(replace(found, passes=found.passes[:i] + found.passes[i + 1 :]))


@pytest.mark.parametrize("name", FILES)
def test_every_order_is_judged_as_the_plain_interpreter_does(name: str) -> None:
    """is_sound(order) == plainly_sound(order), and valid_orders is their number."""
    found = lut.find(name)
    sound = 0
    for order in permutations(found.passes):
        shuffled = replace(found, passes=order)
        assert lut.is_sound(shuffled) == plainly_sound(found, order)
        sound += lut.is_sound(shuffled)
    assert lut.valid_orders(found) == sound


@pytest.mark.parametrize("name", FILES)
def test_every_unsound_order_is_refused_and_told_a_sound_one(name: str) -> None:
    found = lut.find(name)
    for order in permutations(found.passes):
        if not plainly_sound(found, order):
            with pytest.raises(Unsound, match=r"Run (pass \d before pass \d|the passes in)"):
                lut.prove(replace(found, passes=order))


@pytest.mark.parametrize(("name", "orders"), ORDERS.items())
def test_the_number_of_sound_orders_is_the_published_one(name: str, orders: int) -> None:
    assert lut.valid_orders(lut.find(name)) == orders


def flips(bits: Bits) -> Iterator[Bits]:
    """`bits` with one of them flipped, each in turn."""
    for i, (column, bit) in enumerate(bits):
        yield (*bits[:i], (column, 1 - bit), *bits[i + 1 :])


def mutants(found: Lut) -> Iterator[tuple[Pass, ...]]:
    """The passes with one bit of a key or of a write flipped, each in turn."""
    for i, step in enumerate(found.passes):
        for changed in (
            *(Pass(key, step.write) for key in flips(step.key)),
            *(Pass(step.key, write) for write in flips(step.write)),
        ):
            yield (*found.passes[:i], changed, *found.passes[i + 1 :])


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_of_a_pass_is_judged_as_the_plain_interpreter_does(name: str) -> None:
    """is_sound(mutant) == plainly_sound(mutant), and some mutant is unsound."""
    found = lut.find(name)
    verdicts = [
        (lut.is_sound(replace(found, passes=mutant)), plainly_sound(found, mutant))
        for mutant in mutants(found)
    ]
    assert all(judged == plain for judged, plain in verdicts)
    assert not all(judged for judged, _ in verdicts)


@pytest.mark.parametrize("name", [name for name in FILES if lut.find(name).minimal])
def test_a_claim_to_the_fewest_passes_is_true(name: str) -> None:
    prove_minimal(lut.find(name))


@pytest.mark.parametrize("name", FILES)
def test_files_are_written_the_way_to_toml_writes_them(name: str) -> None:
    text = (ROOT / "luts" / f"{name}.toml").read_text(encoding="utf-8")
    assert lut.to_toml(lut.find(name)) == text


def test_relu_is_table_iii() -> None:
    """Rakka et al., Table III, row by row: A F, pass, resulting A."""
    table = lut.find("relu")
    rows = {"10": "1", "01": "0", "11": "0", "00": "0"}
    for state, result in table.truth.items():
        assert result is not None
        assert str(result[0]) == rows["".join(map(str, state))]
    assert [str(step) for step in table.passes] == ["A F = 1 1 -> A = 0"]


TABLE_IV = """
1010 NP 010 / 0110 NP 110 / 1110 NP 110 / 0010 NP 010
1000 1 101 / 0100 2 111 / 1100 NC 100 / 0000 NC 000
1011 NC 011 / 0111 NC 111 / 1111 NC 111 / 0011 NC 011
1001 3 101 / 0101 4 001 / 1101 NC 101 / 0001 NC 001
"""


def test_max_is_table_iv() -> None:
    """Rakka et al., Table IV, row by row: A B F1 F2, pass, resulting B F1 F2."""
    table = lut.find("max")
    for row in TABLE_IV.replace("\n", " / ").strip(" /").split(" / "):
        bits, mark, result = row.split()
        state = tuple(map(int, bits))
        wanted = None if mark == "NP" else (state[0], *map(int, result))
        assert table.truth[state] == wanted
        if mark.isdigit():
            step = table.passes[int(mark) - 1]
            assert tuple(bit for _, bit in step.key) == state
            assert "".join(str(bit) for _, bit in step.write) == result


def _minuend(p: int, a: int, c: int) -> tuple[int, int]:
    return (p - a - c) & 1, int(p - a - c < 0)


def _signs(a: int, d: int, p: int, c: int) -> int:
    return (a & d) - p - c


def _undecided(keep_a: bool, a: int, b: int, f1: int, f2: int) -> tuple[int, int, int]:
    if (f1, f2) == (0, 0) and a != b:
        return (a, 0, 1) if keep_a else (b, 1, 1)
    return (a if (f1, f2) == (0, 1) else b), f1, f2


MEANING: dict[str, tuple[str, Callable[..., object]]] = {
    "add": ("B C", lambda a, b, c: ((a + b + c) & 1, (a + b + c) >> 1)),
    "sub": ("B C", lambda a, b, c: _minuend(b, a, c)),
    "cadd": ("P C", lambda d, a, p, c: ((d * a + p + c) & 1, (d * a + p + c) >> 1)),
    "csub": ("P C", lambda d, a, p, c: _minuend(p, d * a, c)),
    "csubn": (
        "P C",
        lambda d, a, p, c: (_minuend(p, d * a, 1 - c)[0], 1 - _minuend(p, d * a, 1 - c)[1]),
    ),
    "corner": ("P C", lambda *s: (_signs(*s) & 1, _signs(*s) >> 1 & 1)),
    "cornerb": ("P C", lambda *s: (_signs(*s) & 1, 1 - (_signs(*s) >> 1 & 1))),
    "relu": ("A", lambda a, f: (a * (1 - f),)),
    "max": ("B F1 F2", lambda a, b, f1, f2: _undecided(a > b, a, b, f1, f2)),
    "max3": ("B F1 F2", lambda a, b, f1, f2: _undecided(a > b, a, b, f1, f2)),
    "min": ("B F1 F2", lambda a, b, f1, f2: _undecided(a < b, a, b, f1, f2)),
    "min3": ("B F1 F2", lambda a, b, f1, f2: _undecided(a < b, a, b, f1, f2)),
    "fa3": ("B C", lambda a, b, c: ((a + b + c) & 1, (a + b + c) >> 1)),
    "ha2": ("A B", lambda a, b: (a & b, a ^ b)),
    "ha2d": ("B C", lambda a, b, c: (a ^ b, a & b)),
    "pp4": ("B C N", lambda a, b, c, n: ((a + b + c) & 1, 0, (a + b + c) >> 1)),
    "cneg": ("B C", lambda s, b, c: (b ^ c, b | c) if s else (b, c)),
    "negate": ("B C", lambda b, c: (b ^ c, b | c)),
    "copy": ("B", lambda a, b: (a,)),
    "copy_clean": ("B", lambda a, b: (a,)),
    "select": ("B", lambda f, a, b: (a if f else b,)),
    "compare": ("G", lambda a, b, g: (int(2 * a + g > 2 * b),)),
    "increment": ("B C", lambda b, c: ((b + c) & 1, (b + c) >> 1)),
    "increment_one": ("B C", lambda b, c: ((b + c + 1) & 1, (b + c + 1) >> 1)),
    "decrement": ("B C", lambda b, c: _minuend(b, 0, c)),
    "decrement_one": ("B C", lambda b, c: _minuend(b, 1, c)),
    "add_first": ("B C", lambda a, b, c: (a ^ b, a & b)),
    "sub_first": ("B C", lambda a, b, c: _minuend(b, a, 0)),
    "cadd_first": ("P C", lambda d, a, p, c: (p ^ (d & a), d & a & p)),
    "and_clean": ("P", lambda d, a, p: (d & a,)),
    "and": ("B", lambda a, b: (a & b,)),
    "or": ("B", lambda a, b: (a | b,)),
    "csub_one": ("P C", lambda d, p, c: _minuend(p, d, c)),
    "cdecrement": ("P C", lambda d, p, c: _minuend(p, 0, d * c)),
    "borrow_end": ("P C", lambda d, p, c: _minuend(p, 0, d * c)),
    "square_step": ("P C", lambda d, p, c: ((d + p + c) & 1, (d + p + c) >> 1)),
}
"""What each LUT is for, as arithmetic: its outputs, as a function of its columns."""


def test_every_file_has_its_meaning_stated() -> None:
    assert set(MEANING) == set(FILES)


@pytest.mark.parametrize("name", MEANING)
def test_every_file_computes_what_it_is_for(name: str) -> None:
    """run_passes(state) == meaning(state) in the outputs; kept columns keep their bits."""
    found = lut.find(name)
    outputs, meaning = MEANING[name]
    for state in found.reachable:
        after = dict(zip(found.columns, lut.run_passes(found, state), strict=True))
        assert tuple(after[column] for column in outputs.split()) == meaning(*state)
        for column, bit in zip(found.columns, state, strict=True):
            if column not in found.outputs:
                assert after[column] == bit


def test_the_readme_of_the_folder_is_up_to_date() -> None:
    script = ROOT / "scripts" / "generate_luts_readme.py"
    spec = importlib.util.spec_from_file_location("generate_luts_readme", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--check"]) == 0
