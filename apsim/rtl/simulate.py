"""Building and running an exported folder with a simulator that is installed.

The rule: the folder's own script `run` is what is run; a result is what the testbench
printed, and PASS is its word, not ours.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from apsim.errors import InputError
from apsim.rtl import tools
from apsim.rtl.folder import Export

__all__ = ["LONG", "Outcome", "choose", "expected_seconds", "simulate"]

LONG = 15.0  # seconds, above which a user is told before
ENDED = re.compile(
    r"^(PASS|FAIL): (\d+) clocks, (\d+) compares, (\d+) writes, (\d+) reads, (\d+) toggles$", re.M
)
FAILURE = re.compile(r"^FAIL clock (\d+) step (\d+) pc (\d+): (.+)$", re.M)
TOTAL = re.compile(r"^TOTAL: (\d+) clocks$", re.M)


@dataclass(frozen=True)
class Outcome:
    """What a simulator said: counts of the circuit, and failures as (clock, step, pc, what).

    `ran_clocks` are all clocks of the run that took `run_seconds`, with its repeats.
    """

    simulator: str
    version: str
    passed: bool
    clocks: int
    compares: int
    writes: int
    reads: int
    toggles: int
    failures: tuple[tuple[int, int, int, str], ...]
    build_seconds: float
    run_seconds: float
    ran_clocks: int


def choose(wanted: str | None) -> tuple[str, ...]:
    """Simulators to run: the one wanted, "both", or where nobody says one that is installed.

    Raises `InputError` with what to install.
    """
    if wanted is not None:
        names = tools.SIMULATORS if wanted == "both" else (wanted,)
        for name in names:
            tools.find(name)
        return names
    missing = []
    for name in tools.SIMULATORS:
        try:
            tools.find(name)
        except InputError as error:
            missing.append(str(error))
        else:
            return (name,)
    raise InputError("; ".join(missing))


def expected_seconds(simulator: str, made: Export) -> float:
    """About how long building and running takes, by measurements on a core of 2026.

    Every row of every column is gated once for each segment, which Verilator turns into C++
    to compile and Icarus walks through on every clock.
    """
    gates = made.load.cells.size * made.code.segments
    return 8 + 2e-4 * gates if simulator == "verilator" else 5e-7 * gates * made.clocks


def simulate(folder: Path, simulator: str, *, repeat: int = 0, waves: bool = False) -> Outcome:
    """Build and run a folder; `repeat` runs on without checks, `waves` writes ap.vcd.

    Raises `InputError` with the first line of the log where it cannot be built.
    """
    version = tools.find(simulator)
    built, build = _run(folder, [simulator, "build"], waves)
    if built.returncode:
        (folder / "build.log").write_text(built.stdout + built.stderr)
        first = next(iter((built.stderr or built.stdout).splitlines()), "no message")
        raise InputError(f"{simulator} could not build {folder}: {first} (see build.log there)")
    done, ran = _run(folder, [simulator, "simulate", f"+repeat={repeat}"], waves)
    ended = ENDED.search(done.stdout)
    if ended is None:
        raise InputError(
            f"{simulator} ended early in {folder}: {(done.stdout + done.stderr)[-300:]}"
        )
    clocks, compares, writes, reads, toggles = map(int, ended.groups()[1:])
    failures = tuple((int(c), int(s), int(p), w) for c, s, p, w in FAILURE.findall(done.stdout))
    total = TOTAL.search(done.stdout)
    passed = ended[1] == "PASS" and done.returncode == 0
    return Outcome(
        simulator, version, passed, clocks, compares, writes, reads, toggles, failures, build, ran,
        int(total[1]) if total else clocks,
    )  # fmt: skip


def _run(
    folder: Path, arguments: Sequence[str], waves: bool
) -> tuple[subprocess.CompletedProcess[str], float]:
    environment = os.environ | {"WAVES": "1" if waves else ""}
    command = ["sh", "./run", *arguments]
    start = perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done, perf_counter() - start
