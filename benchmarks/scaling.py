"""`python -m benchmarks.scaling`: how the time of a program grows with rows, width and threads.

The rule: whole calls of an array that holds random cells, medians of turns.  What is shown is
the rate, which would be the same throughout if nothing but passes took time; the goal is what
a second thread is to bring at the most rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from apsim import ops
from apsim.cam import FusedCam, PackedCam
from apsim.layout import Layout
from benchmarks.timing import Goal, alternating, report

KINDS = {"strict": PackedCam, "fused": FusedCam}


def program(name: str, bits: int) -> tuple[ops.Operation, Layout]:
    """In-place addition, or multiplication, of words of so many bits."""
    if name == "add":
        return ops.add("A", "B", carry="C"), Layout(A=bits, B=bits, C=1)
    return ops.multiply("A", "B", "P"), Layout(A=bits, B=bits, P=2 * bits)


def calls(
    name: str, bits: int, rows: int, threads: int
) -> tuple[int, dict[str, Callable[[], object]]]:
    """Row-passes of a call, and the call on each engine."""
    operation, layout = program(name, bits)
    code, runs = operation.on(layout).code, dict[str, Callable[[], object]]()
    cells = np.random.default_rng(7).random((rows, layout.columns)) < 0.5
    for engine, kind in KINDS.items():
        cam = kind(rows, layout.columns, threads=threads)
        cam.poke(cells)
        if isinstance(cam, FusedCam):
            cam.always = True
        runs[engine] = lambda cam=cam: cam.execute(code)  # type: ignore[misc]
    return rows * len(code), runs


def cases(most: int) -> Iterator[tuple[str, int, int, int]]:
    """(program, bits, rows, threads): more rows, then wider words, then two threads."""
    sizes = [size for size in (1_000, 10_000, 100_000, 1_000_000, 10_000_000) if size <= most]
    yield from ((name, 8, rows, 1) for name in ("add", "multiply") for rows in sizes)
    yield from ((name, bits, min(100_000, most), 1)
                for name in ("add", "multiply") for bits in (2, 4, 16))  # fmt: skip
    yield from ((name, 8, sizes[-1], 2) for name in ("add", "multiply"))


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each case and engine, and write them where `--json` says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--most", type=int, default=10_000_000, help="rows at most")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="also write the figures here")
    args = parser.parse_args(argv)
    figures: dict[str, float] = {}
    for name, bits, rows, threads in cases(max(args.most, 1_000)):
        work, runs = calls(name, bits, rows, threads)
        for engine, seconds in alternating(runs, args.rounds).items():
            title = f"{name} {bits} bits, {rows} rows, {threads} threads, {engine}"
            figures[title] = seconds
            print(f"  {title:<52} {seconds * 1e6:>12,.1f} us   {work / seconds:9.2e} row-passes/s")
    return report("scaling", list(second_threads(figures)), figures, args.json)


def second_threads(figures: Mapping[str, float]) -> Iterator[Goal]:
    """How much faster two threads are than one, for each program and engine."""
    for title, seconds in figures.items():
        if "2 threads" in title:
            alone = figures[title.replace("2 threads", "1 threads")]
            yield Goal(f"{title} against one", 1.7, alone / seconds)


if __name__ == "__main__":
    raise SystemExit(main())
