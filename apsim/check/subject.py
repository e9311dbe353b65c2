"""What is checked: a function of the paper, its operands, and what is expected of it.

The rule: expected integers come from numpy, expected counts from `apsim.closed_form`;
nothing here has seen a program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.counts import Counts
from apsim.functions import Function

__all__ = ["CLEAR", "Integers", "Params", "Subject", "draw", "split_signs"]

Integers = NDArray[np.int64]
Params = Mapping[str, Any]
"""Sizes by the paper's symbols: M, Ma, Mw, L, S, K, i, j, u, and signs, scheme, divide."""

CLEAR = Counts(write=1)


@dataclass(frozen=True)
class Subject:
    """One function: every member takes the parameters, those about counts the AP kind first.

    `paper` is None where the paper prints no equation for the function.
    """

    build: Callable[[str, Params], Function]
    operands: Callable[[np.random.Generator, Params], tuple[Integers, ...]]
    expected: Callable[..., Integers]
    realisable: Callable[[str, Params], Counts]
    paper: Callable[[str, Params], Counts | None]
    terms: Callable[[str, Params], dict[str, Counts]]


def draw(
    generator: np.random.Generator, bits: int, sign: str, shape: int | tuple[int, ...]
) -> Integers:
    """Random words of `bits` bits, the extremes among them: unsigned ("u") or signed."""
    low = 0 if sign == "u" else -(1 << (bits - 1))
    words = generator.integers(low, low + (1 << bits), shape, dtype=np.int64)
    flat = words.reshape(-1)
    flat[:: max(7, flat.size // 4)] = low + (1 << bits) - 1
    flat[3 :: max(7, flat.size // 4)] = low
    return words


def split_signs(params: Params) -> dict[str, Any]:
    """The signs of two operands as the builders of products want them."""
    first, second = params["signs"]
    return {"words": first, "words_b": second}
