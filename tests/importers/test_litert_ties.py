"""Functions of words where the last bit of float32 decides: as LiteRT's, on this machine.

LiteRT's kernels call tanhf and erfcf of the C library, which are not correctly rounded.  At
these scales one word lies so near a tie that the rounded function gives its neighbour (found
among 0.7 to 1.9 million scales a function; 6,000 of them with a word near a tie: 1,536,000
words, 0 differ with the C library's functions, 46 to 113 with rounded ones).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite")
pytest.importorskip("ai_edge_litert.interpreter")

from apsim.nn.rules import c_library
from tests.helpers.tflite_models import TensorSpec
from tests.helpers.tflite_operators import case
from tests.importers.test_tflite_operators import ours, theirs

Scales = tuple[str, int, str, int]
ONE = "0x1p-7"
TANH: tuple[Scales, ...] = (
    ("0x1.2c6338p-8", -89, ONE, 0), ("0x1.10ae4ep-6", 98, ONE, 0), ("0x1.14e576p-5", 70, ONE, 0),
    ("0x1.b2dd48p-7", -126, ONE, 0), ("0x1.7085dep-9", -90, ONE, 0), ("0x1.577434p-8", 37, ONE, 0),
)  # fmt: skip
GELU: tuple[Scales, ...] = (
    ("0x1.5e3884p-7", 123, "0x1.bdacd4p-5", 122), ("0x1.dc4dc4p-6", -30, "0x1.15b7a2p-8", -11),
    ("0x1.23fe9ep-6", 51, "0x1.318bfcp-5", -125), ("0x1.9bdabcp-5", -26, "0x1.89b212p-6", -107),
    ("0x1.72c14ep-5", -28, "0x1.8be8fap-5", -86), ("0x1.24a454p-7", -4, "0x1.20c95cp-5", 120),
)  # fmt: skip
GELU_TANH: tuple[Scales, ...] = (
    ("0x1.5bb9c4p-7", -56, "0x1.66b74cp-7", 45), ("0x1.3d8f56p-5", -24, "0x1.850edep-5", -15),
    ("0x1.54641ep-5", 44, "0x1.0fcaeep-7", 32), ("0x1.b7ce50p-5", -36, "0x1.6f335ep-6", 45),
    ("0x1.e4a854p-6", 45, "0x1.2bfd62p-5", 105), ("0x1.89c9f2p-5", -36, "0x1.4aa640p-9", -8),
)  # fmt: skip
CASES = [
    *(("TANH", "", {}, 1, one) for one in TANH),
    *(("GELU", "GeluOptions", {"Approximate": False}, 2, one) for one in GELU),
    *(("GELU", "GeluOptions", {"Approximate": True}, 2, one) for one in GELU_TANH),
]


@pytest.mark.parametrize(("op", "kind", "options", "version", "scales"), CASES)
def test_a_word_beside_a_tie_is_litert_s(
    op: str, kind: str, options: dict[str, bool], version: int, scales: Scales, tmp_path: Path
) -> None:
    """table(q) == BUILTIN_REF(q) for all 256 words"""
    sx, zx, sy, zy = scales
    words = np.arange(-128, 128, dtype=np.int8)[None]
    specs = [TensorSpec("x", (1, 256), "int8", [float.fromhex(sx)], [zx]),
             TensorSpec("y", (1, 256), "int8", [float.fromhex(sy)], [zy])]  # fmt: skip
    one = case(op, specs, 1, kind, options, version, [words])
    assert np.array_equal(ours(one, tmp_path)[0], theirs(one)[0])


@pytest.mark.parametrize("name", c_library.NAMES)
def test_the_c_library_is_near_what_takes_its_place(name: str) -> None:
    """Within two units in the last place of the function in float64, rounded once"""
    x = np.linspace(0.01, 4, 200).astype(np.float32)
    rounded = np.array([c_library.ROUNDED[name](float(value)) for value in x], np.float32)
    assert (np.abs(c_library.function(name)(x) - rounded) <= 2 * np.spacing(np.abs(rounded))).all()
