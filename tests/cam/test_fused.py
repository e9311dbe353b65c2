"""Fused LUT steps: found in a program, made once, and never served for another LUT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apsim.cam import DenseCam, FusedCam
from apsim.cam._compile import PLAIN
from apsim.encoding import Code, encode
from apsim.layout import Layout
from apsim.lut.model import Pass
from apsim.ops import add, multiply
from apsim.ops.steps import passes

pytestmark = pytest.mark.skipif(PLAIN, reason="fused steps are made of explicit vectors")

ADD = (
    Pass((("A", 0), ("B", 0), ("C", 1)), (("B", 1), ("C", 0))),
    Pass((("A", 0), ("B", 1), ("C", 1)), (("B", 0),)),
    Pass((("A", 1), ("B", 1), ("C", 0)), (("B", 0), ("C", 1))),
    Pass((("A", 1), ("B", 0), ("C", 0)), (("B", 1),)),
)


def sweep(table: tuple[Pass, ...]) -> Code:
    """Four bits of a LUT on A (columns 0-3), B (4-7), C (8)."""
    return encode([s for k in range(4) for s in passes(table, {"A": k, "B": 4 + k, "C": 8})])


def spans(code: Code) -> list[int]:
    """How many passes each fused step carries out."""
    pieces = FusedCam(4096, 64).coded(code).pieces
    return [piece.stop - piece.start for piece in pieces if piece.stop > piece.start + 1]


def result(kind: type[DenseCam] | type[FusedCam], code: Code) -> tuple[np.ndarray, ...]:
    cam = kind(2600, 9)
    cam.poke(np.random.default_rng(1).random((2600, 9)) < 0.5)
    done = cam.execute(code)
    return cam.peek(), done.matched, done.written, done.flipped


def assert_same(first: tuple[np.ndarray, ...], second: tuple[np.ndarray, ...]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_bit_of_a_sweep_is_one_fused_step() -> None:
    assert spans(sweep(ADD)) == [4, 4, 4, 4]


def test_a_product_runs_as_a_fused_step_for_each_pair_of_bits() -> None:
    layout = Layout(A=8, B=8, P=16)
    assert spans(multiply("A", "B", "P").on(layout).code) == [4] * 64


def test_a_step_that_occurs_too_seldom_is_not_worth_code_of_its_own() -> None:
    assert spans(add("A", "B", carry="C").on(Layout(A=2, B=2, C=1)).code) == []


@pytest.mark.parametrize("row", range(4))
def test_a_changed_lut_is_never_served_the_code_of_another(
    row: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fused(changed LUT) == dense(changed LUT), with the code of both LUTs in one cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    key, ((name, bit), *rest) = ADD[row].key, ADD[row].write
    changed = (*ADD[:row], Pass(key, ((name, 1 - bit), *rest)), *ADD[row + 1 :])
    assert_same(result(FusedCam, sweep(ADD)), result(DenseCam, sweep(ADD)))
    assert_same(result(FusedCam, sweep(changed)), result(DenseCam, sweep(changed)))


def test_code_found_on_disk_is_code_that_would_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process-wide look at a pattern loads the file that the first one wrote."""
    from apsim.cam import _fusion, _objects

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    _fusion.address.cache_clear()
    first = result(FusedCam, sweep(ADD))
    assert any(tmp_path.rglob("*.o"))
    monkeypatch.setattr(_objects, "_compiled", lambda *_: pytest.fail("made again"))
    _fusion.address.cache_clear()
    assert_same(result(FusedCam, sweep(ADD)), first)
