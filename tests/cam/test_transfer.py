"""Integers as bit-planes and back: bit by bit what they are, whatever their type and order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apsim.cam.lanes import planes_of, words_of

Integers = NDArray[np.integer[Any]]
TYPES = ["u1", "i1", "u2", "i2", "i4", "i8", "u8", ">i2", ">u8"]


def drawn(kind: str, shape: tuple[int, int], seed: int = 0) -> Integers:
    """Integers over the whole range of a type, the least and the greatest among them."""
    bounds = np.iinfo(np.dtype(kind))
    values = np.random.default_rng(seed).integers(
        bounds.min, bounds.max, shape, np.dtype(kind).newbyteorder("="), endpoint=True
    )
    values.flat[0], values.flat[-1] = bounds.min, bounds.max
    return values.astype(kind)


def bit_by_bit(values: Integers, bits: int) -> Integers:
    """Bit-planes from Python's own integers: [rows, bits, words]."""
    rows, lanes = values.shape
    planes = np.zeros((rows, bits, -(-lanes // 64)), np.uint64)
    for row in range(rows):
        for place in range(bits):
            for lane in range(lanes):
                bit = int(values[row, lane]) >> place & 1
                planes[row, place, lane // 64] |= np.uint64(bit << lane % 64)
    return planes


@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=8)
@given(shape=st.tuples(st.integers(1, 3), st.sampled_from((1, 63, 64, 65, 130))), data=st.data())
def test_planes_hold_each_integer_bit_by_bit(
    kind: str, shape: tuple[int, int], data: st.DataObject
) -> None:
    """plane[place], lane k == bit `place` of integer k; lanes that are none hold 0"""
    bits = data.draw(st.integers(1, 8 * np.dtype(kind).itemsize))
    values = drawn(kind, shape, data.draw(st.integers(0, 99)))
    np.testing.assert_array_equal(planes_of(values, bits), bit_by_bit(values, bits))


@pytest.mark.parametrize(("kind", "bits"), [("i1", 1), ("u2", 9)])
@pytest.mark.parametrize("shape", [(300, 70), (2, 4200), (9, 4096), (3, 600)])
def test_memory_order_changes_no_plane(kind: str, bits: int, shape: tuple[int, int]) -> None:
    """planes(turned) == planes(some of more) == planes(backwards twice) == planes(as it is)"""
    values = drawn(kind, shape)
    wanted = planes_of(values, bits)
    turned = np.ascontiguousarray(values.T).T
    some = np.repeat(np.repeat(values, 2, axis=0), 3, axis=1)[::2, ::3]
    backwards = np.ascontiguousarray(values[::-1, ::-1])[::-1, ::-1]
    for other in (turned, some, backwards):
        np.testing.assert_array_equal(planes_of(other, bits), wanted)


def test_bytes_have_the_planes_of_the_words_that_they_are() -> None:
    """planes(bytes) == planes(the same as 64-bit words), the form that lanes have always taken"""
    octets = drawn("u1", (5, 200))
    np.testing.assert_array_equal(planes_of(octets, 8), planes_of(octets.astype(np.uint64), 8))


def test_planes_above_the_integers_hold_zeros() -> None:
    """Bytes have eight planes, and no more is said of them"""
    planes = planes_of(drawn("u1", (3, 70)), 20)
    assert planes[:, :8].any()
    assert not planes[:, 8:].any()


def test_more_planes_than_a_word_has_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="wanted at most 64 planes, got 65"):
        words_of(np.zeros((65, 1), np.uint64))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_no_integers_have_no_planes(shape: tuple[int, int]) -> None:
    assert not planes_of(np.zeros(shape, np.uint8), 3).size


@settings(max_examples=20)
@given(bits=st.integers(1, 64), words=st.integers(1, 2), seed=st.integers(0, 99))
def test_words_come_back_as_they_went(bits: int, words: int, seed: int) -> None:
    """words(planes(x)) == x"""
    values = drawn("u8", (1, 64 * words), seed) >> np.uint64(64 - bits)
    np.testing.assert_array_equal(words_of(planes_of(values, bits)[0]), values[0])
