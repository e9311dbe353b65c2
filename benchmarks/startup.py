"""`python -m benchmarks.startup`: the first `apsim` command ever, the next ones, and their memory.

The rule: every command is a process of its own; the first finds no compiled code, because its
cache folder is new.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.timing import Goal, report

ROOT = Path(__file__).resolve().parent.parent
GOALS = {"cold": 2.0, "warm": 1.0, "--help": 0.3}


@dataclass(frozen=True)
class Process:
    """What a command took: seconds by the clock, and the most memory in MiB."""

    seconds: float
    mib: float


def command(folder: str, *arguments: str) -> Process:
    """Run `apsim` with a cache folder; raises `SystemExit` where it fails."""
    env = os.environ | {"XDG_CACHE_HOME": folder, "PYTHONPATH": str(ROOT)}
    env.pop("NUMBA_CACHE_DIR", None)
    start = time.perf_counter()
    done = subprocess.Popen(
        [sys.executable, "-m", "apsim", *arguments], env=env, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(done.pid, 0)
    done.returncode = os.waitstatus_to_exitcode(status)
    if done.returncode:
        raise SystemExit(f"apsim {' '.join(arguments)} failed with {done.returncode}")
    return Process(time.perf_counter() - start, used.ru_maxrss / 1024)


def started(images: int) -> dict[str, Process]:
    """A cold run, a warm one and the help, in a cache folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        run = ("run", "--images", str(images))
        return {
            "cold": command(folder, *run),
            "warm": command(folder, *run),
            "--help": command(folder, "--help"),
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print goals, and write them where `--json` says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--json", metavar="FILE", help="also write the figures here")
    args = parser.parse_args(argv)
    rounds = [started(args.images) for _ in range(args.rounds)]
    figures = {
        name: {
            "seconds": median(one[name].seconds for one in rounds),
            "MiB": median(one[name].mib for one in rounds),
        }
        for name in GOALS
    }
    for name, figure in figures.items():
        print(f"  {name:<8} {figure['seconds']:7.2f} s   {figure['MiB']:7.0f} MiB")
    goals = [
        Goal(f"apsim, {name}, seconds", wanted, figures[name]["seconds"], False)
        for name, wanted in GOALS.items()
    ]
    return report("startup", goals, figures, args.json)


if __name__ == "__main__":
    raise SystemExit(main())
