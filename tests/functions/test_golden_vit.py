"""The tensors of a vision transformer that was worked out apart: its softmaxes and layer norms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apsim import functions

HEADS, TOKENS, WIDTH = 2, 16, 32


@pytest.fixture(scope="module")
def golden(models_dir: Path) -> dict[str, np.ndarray]:
    path = models_dir.parent / "design" / "golden" / "digits_vit.npz"
    if not path.is_file():
        pytest.skip(f"{path.name} is not beside this checkout")
    with np.load(path) as found:
        return dict(found)


@pytest.mark.parametrize("kind", ["1d", "2d-seg-tc"])
@pytest.mark.parametrize("block", [0, 1])
def test_probabilities_of_every_head(golden: dict[str, np.ndarray], block: int, kind: str) -> None:
    """p == softmax(s) for two images, two heads and sixteen tokens, each a group"""
    scores = golden[f"t_{block}_s"].astype(np.int64).reshape(-1, TOKENS)
    table = golden[f"exp_{block}"].tolist()
    softmax = functions.softmax(table, 8, TOKENS, len(scores), kind=kind)
    found = functions.run(softmax, scores).values
    np.testing.assert_array_equal(found, golden[f"t_{block}_p"].reshape(-1, TOKENS))


@pytest.mark.parametrize(("x", "y"), [("h0", "0_n1"), ("0_h2", "1_n1"), ("1_h2", "nf")])
def test_norms_of_every_token(golden: dict[str, np.ndarray], x: str, y: str) -> None:
    """LN(x) == y for two images"""
    tokens = golden[f"t_{x}"].astype(np.int64).reshape(-1, WIDTH)
    found = functions.run(functions.layer_norm(8, WIDTH, len(tokens)), tokens).values
    np.testing.assert_array_equal(found, golden[f"t_{y}"].reshape(-1, WIDTH))
