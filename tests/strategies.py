"""Hypothesis strategies that more than one test file uses."""

from __future__ import annotations

from hypothesis import strategies as st

ROWS = (1, 2, 3, 63, 64, 65, 127, 511, 512, 513)
"""Row counts around the borders of the packed array's words and tiles."""


def row_counts() -> st.SearchStrategy[int]:
    """Numbers of rows, the borders of words and tiles often among them."""
    return st.sampled_from(ROWS) | st.integers(1, 200)
