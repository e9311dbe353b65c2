"""What stepping costs: a step and a step back, going anywhere in a long run, memory.

The rule: times are medians of many steps in one process; memory is the growth of the
process's peak while a run of a million steps is debugged.  A run without a debugger
executes the program in one call, as if there were none: the last goal compares the two.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from apsim import controller
from apsim.debug.session import Session
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.ops.arithmetic import multiply
from apsim.program import Microprogram
from benchmarks.timing import Goal, alternating, report

ROWS, LONG = 4_800, 1_000_000
LAYOUT = Layout(A=16, B=16, P=32)


def main(argv: list[str] | None = None) -> int:
    """Measure, print goals, and write them where `--json` says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stepping", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON")
    args = parser.parse_args(argv)
    memory = long_run()
    goals = [*single_steps(), *memory, plain_run()]
    figures = {goal.name: goal.measured for goal in goals}
    return report("stepping", goals, figures, args.json)


def loaded() -> Machine:
    """The array of the goals: 4,800 rows, 64 columns, operands in place."""
    machine = Machine(ROWS, LAYOUT)
    words = np.random.default_rng(0).integers(0, 1 << 16, (2, ROWS))
    machine.write("A", words[0])
    machine.write("B", words[1])
    return machine


def single_steps() -> list[Goal]:
    """One pass forward and one back, session included, and the array's own share."""
    session = Session(loaded(), multiply("A", "B", "P"))
    piece = next(session.timeline.pieces(0, 1))
    engine = alternating({"pass": lambda: session.tape.cam.execute(piece.code)}, 50)["pass"]
    session.go_to(0)
    forward = middle(session.step, 800)
    back = middle(session.back, 200)
    size = f"{ROWS} rows x {LAYOUT.columns} columns"
    return [
        Goal(f"us for one pass alone on {size}, the array's own time", 50, engine * 1e6, False),
        Goal(f"us for a step forward on {size}, session and all", 50, forward * 1e6, False),
        Goal(f"us for a step back on {size}, session and all", 50, back * 1e6, False),
    ]


def middle(move: Callable[[], object], times: int) -> float:
    """Median seconds of a move."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        move()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def long_run() -> list[Goal]:
    """A million steps run once, then a hundred places in it, in any order."""
    items = multiply("A", "B", "P").on(LAYOUT).items
    program = Microprogram((items * (LONG // len(items) + 1))[:LONG], "multiplications")
    Session(loaded(), program).step()  # the compiler and its kernels are there from here on
    before = peak()
    session = Session(loaded(), program)
    session.go_to(session.end)
    seconds = []
    for place in np.random.default_rng(1).integers(0, LONG, 100):
        start = time.perf_counter()
        session.go_to(2 * int(place))
        seconds.append(time.perf_counter() - start)
    return [
        Goal(
            "s to the furthest of 100 places in a million steps, both ways", 1, max(seconds), False
        ),
        Goal("MB more at the peak, a million steps debugged", 200, (peak() - before) / 1e6, False),
    ]


def peak() -> float:
    """The most memory that the process has held, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def plain_run() -> Goal:
    """A run through the controller, where a debugger would hook in, over the array's bare call."""
    machine = loaded()
    program = multiply("A", "B", "P").on(LAYOUT)
    cam, code = machine.cam, program.code
    runs = {"bare": lambda: cam.execute(code), "run": lambda: controller.run(program, cam)}
    times = alternating(runs, 100)
    ratio = times["run"] / times["bare"]
    return Goal("a run without debugger over the array's bare call", 1.05, ratio, False)


if __name__ == "__main__":
    sys.exit(main())
