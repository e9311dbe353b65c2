"""Golden totals: compares, writes and reads of executions, cell by cell, on every AP kind.

The numbers were found with an independent prototype; here they are executed again.
"""

from __future__ import annotations

import pytest

from apsim.check.row import Case, examine
from apsim.counts import Counts

KINDS = ("1d", "2d", "2d-tc", "2d-seg", "2d-seg-tc")
GOLDEN = [
    ("matmul", {"i": 2, "j": 4, "u": 2, "Ma": 4, "Mw": 4, "signs": "ss"},
     [(132, 152, 22), (132, 156, 22), (112, 120, 10), (108, 119, 13), (72, 80, 10)]),
    ("matmul", {"i": 1, "j": 16, "u": 1, "Ma": 8, "Mw": 8, "signs": "ss"},
     [(536, 567, 35), (376, 408, 35), (316, 332, 20), (352, 375, 27), (272, 288, 20)]),
    ("dot", {"j": 16, "Ma": 8, "Mw": 8, "signs": "ss"},
     [(536, 567, 35), (376, 408, 35), (316, 332, 20), (352, 375, 27), (272, 288, 20)]),
    ("matmul", {"i": 4, "j": 8, "u": 4, "Ma": 8, "Mw": 4, "signs": "ss"},
     [(284, 408, 127), (504, 644, 127), (576, 588, 15), (198, 215, 20), (140, 152, 15)]),
    ("reduce", {"M": 8, "L": 16, "signs": "o"},
     [(152, 175, 8), (96, 120, 8), (60, 76, 1), (90, 111, 6), (44, 60, 1)]),
    ("average_pool", {"M": 8, "S": 4, "K": 4, "signs": "u", "divide": "shift"},
     [(68, 88, 12), (76, 100, 12), (48, 64, 8), (70, 87, 9), (36, 52, 8)]),
    ("average_pool", {"M": 8, "S": 16, "K": 9, "signs": "u", "divide": "shift"},
     [(152, 231, 71), (256, 344, 71), (284, 300, 8), (90, 111, 13), (44, 60, 8)]),
    ("max_pool", {"M": 8, "S": 4, "K": 4, "signs": "u"},
     [(64, 88, 12), (72, 122, 32), (48, 74, 8), (42, 68, 14), (36, 56, 8)]),
    ("max_pool", {"M": 8, "S": 16, "K": 9, "signs": "u"},
     [(128, 215, 71), (662, 1184, 386), (284, 428, 8), (62, 104, 26), (44, 68, 8)]),
]  # fmt: skip
SCHEMES = {
    "1d": "moves",
    "2d": "prefix",
    "2d-seg": "prefix",
    "2d-tc": "chain",
    "2d-seg-tc": "chain",
}
CELLS = [
    (Case(name, kind, params | ({"scheme": SCHEMES[kind]} if name == "max_pool" else {})), cell)
    for name, params, cells in GOLDEN
    for kind, cell in zip(KINDS, cells, strict=True)
]


@pytest.mark.parametrize(("case", "cell"), CELLS, ids=str)
def test_an_execution_takes_the_golden_counts(case: Case, cell: tuple[int, int, int]) -> None:
    """counted == golden, per category, bit-exact, and explained to the last cycle"""
    row = examine(case)
    assert row.counted == Counts(*cell)
    assert row.wrong == ()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "params", "total"),
    [
        ("add", {"M": 8, "signs": "o"}, 89),
        ("multiply", {"Ma": 8, "Mw": 8, "signs": "ss"}, 544),
        ("relu", {"M": 8, "signs": "s"}, 33),
    ],
)
def test_the_totals_of_one_row_are_the_paper_s(
    kind: str, name: str, params: dict[str, object], total: int
) -> None:
    """M = 8: add 89, multiply 544, ReLU 33, exactly the printed equations, on every kind"""
    row = examine(Case(name, kind, params | {"rows": 100}))
    assert row.counted.total == total
    assert row.status == "exact"


@pytest.mark.parametrize(
    ("kind", "total"),
    [("1d", 517_534), ("2d", 2_064_934 - 4096 + 168), ("2d-seg", 598 + 38 + 168),
     ("2d-tc", 2_064_934), ("2d-seg-tc", 598)],
)  # fmt: skip
def test_the_product_of_64_by_64_by_64_is_executed(kind: str, total: int) -> None:
    """M = 8: P(6) and P(7) are met, but for first additions and carry resolution"""
    params = {"i": 64, "j": 64, "u": 64, "Ma": 8, "Mw": 8, "signs": "uu"}
    row = examine(Case("matmul", kind, params))
    assert row.counted.total == total
    assert row.wrong == ()
