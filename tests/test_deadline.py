"""A property test of one's own, at Hypothesis' default deadline, where no kernel is on disk yet.

What takes 200 ms is compiling, so that is asked for: no kernel is made within an example.  Where
the names were taken by `from apsim import ...` an example takes a thirtieth of the deadline, and
Hypothesis' own verdict is asked for as well; a busy machine might stretch the others.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

WATCHED = """
import functools, sys, threading

inside, seen = [False], set()

def noted(event, args):
    loads = event == "import" and args[0].split(".")[0] in ("numba", "llvmlite")
    if loads or event == "os.rename":  # a kernel is compiled, and goes to its place on disk
        seen.add((threading.current_thread().name, inside[0], event))

sys.addaudithook(noted)

def watched(example):
    @functools.wraps(example)
    def run(**values):
        inside[0] = True
        example(**values)
        inside[0] = False
    return run
"""

MACHINES = """
from hypothesis import given, strategies as st

words = st.integers(0, 255)
pairs = st.lists(st.tuples(words, words), min_size=1, max_size=100)

@given(pairs)
@watched
def test_sums(pairs):
    a, b = zip(*pairs)
    m = Machine(rows=len(a), layout=Layout(A=8, B=8, C=1))
    m.write("A", a)
    m.write("B", b)
    assert m.run(ops.add("A", "B", carry="C")).counts.compare == 32
    assert m.read("B").tolist() == [(x + y) % 256 for x, y in pairs]

@given(pairs)
@watched
def test_products(pairs):
    a, b = zip(*pairs)
    m = Machine(rows=len(a), layout=Layout(A=8, B=8, P=16))
    m.write("A", a)
    m.write("B", b)
    m.run(ops.multiply("A", "B", "P"))
    assert m.read("P").tolist() == [x * y for x, y in pairs]

@given(pairs)
@watched
def test_a_lut_of_ones_own(pairs):
    a, b = zip(*pairs)
    m = Machine(rows=len(a), layout=Layout(A=8, B=8, D=8))
    m.write("A", a)
    m.write("B", b)
    m.run(ops.apply("xor.toml"))
    assert m.read("D").tolist() == [x ^ y for x, y in pairs]

@given(st.lists(words, min_size=2, max_size=8), st.sampled_from(["1d", "2d", "2d-seg"]))
@watched
def test_sums_of_many(values, kind):
    done = functions.run(functions.reduce(8, len(values), kind=kind), values)
    assert done.values == sum(values)

tests = test_sums, test_products, test_a_lut_of_ones_own, test_sums_of_many
"""

LAYERS = """
import numpy as np
from apsim.nn import Chip, Linear
from hypothesis import given, strategies as st

chip = Chip.preset("bf-imna-lr", ap="2d")
weights = np.arange(-6, 6).reshape(3, 4)

@given(st.lists(st.integers(0, 15), min_size=4, max_size=4))
@watched
def test_sums_of_products(values):
    assert (Linear(weights, bits=4)([values], on=chip) == weights @ values).all()

tests = [test_sums_of_products]
"""

LATE = """
from apsim import Layout, functions, ops
from apsim.machine import Machine
"""

LENIENT = """
from hypothesis import settings

settings.register_profile("lenient", deadline=None)
settings.load_profile("lenient")
"""

END = """
for test in tests:
    test()
print(*sorted(seen), sep="\\n")
"""

XOR = """
name     = "xor"
about    = "D <- A xor B, where D holds 0."
source   = "an example"
per_bit  = ["A", "B", "D"]
per_word = []
walk     = "lsb-first"
table = '''
 A B D | pass | D
 0 0 0 |  -   | 0
 0 1 0 |  1   | 1
 1 0 0 |  2   | 1
 1 1 0 |  -   | 0
 0 0 1 |  NP  |
 0 1 1 |  NP  |
 1 0 1 |  NP  |
 1 1 1 |  NP  |
'''
"""


PROPERTIES = {
    "from apsim": "from apsim import Layout, Machine, functions, ops" + MACHINES,
    "from apsim.machine": LENIENT + LATE + MACHINES,
    "a chip": LENIENT + LAYERS,
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_properties_pass_and_no_example_compiles(name: str, tmp_path: Path) -> None:
    (tmp_path / "xor.toml").write_text(XOR)
    empty = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "empty"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED + PROPERTIES[name] + END],
        cwd=tmp_path, env=empty, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "os.rename" in done.stdout and "import" in done.stdout
    assert "('MainThread', True" not in done.stdout
