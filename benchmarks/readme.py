"""`python -m benchmarks.readme`: how long each command of the README takes, and a fresh clone.

The rule: the commands are read from the README, so that none is forgotten; each is a process of
its own, its compiled code in place, and the least of some rounds counts.  A test holds the README
and `readme.json` against each other; nothing asserts a time.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.timing import Goal, report

ROOT = Path(__file__).resolve().parent.parent
FIRST = "./scripts/apsim run"
MOST = 60.0  # seconds from a clone to the first result, on 2 cores
FENCE = re.compile(r"^```(?:sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(text: str) -> dict[str, int | None]:
    """Each `apsim` command of a page, with the seconds stated behind it as `# ... (3 s)`."""
    lines = [line.removeprefix("$ ") for block in FENCE.findall(text) for line in block.split("\n")]
    found: dict[str, int | None] = {}
    for line in lines:
        command, _, comment = line.partition("#")
        if command.startswith(("apsim ", FIRST)):
            stated = re.search(r"\((\d+) s\)", comment)
            found[command.strip()] = int(stated[1]) if stated else found.get(command.strip())
    return found


def stated(seconds: float) -> int:
    """Whole seconds, rounded up, as the README says them."""
    return math.ceil(seconds)


def took(command: str, folder: str, rounds: int) -> float:
    """The least seconds of some rounds; raises `SystemExit` where it fails."""
    words = [sys.executable, "-m", *shlex.split(command)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        done = subprocess.run(
            words, cwd=folder, env=env, capture_output=True, stdin=subprocess.DEVNULL
        )
        found.append(time.perf_counter() - start)
        if done.returncode:
            raise SystemExit(f"{command}: {done.stderr.decode()}")
    return min(found)


def cloned(folder: str) -> float:
    """Seconds from a clone of this checkout to the end of its first run, compiler cold."""
    start = time.perf_counter()
    clone = Path(folder) / "clone"
    env = os.environ | {"XDG_CACHE_HOME": str(Path(folder) / "cache")}
    env.pop("PYTHONPATH", None)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    subprocess.run(shlex.split(FIRST), cwd=clone, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def own_model(model: str, folder: str) -> None:
    """The user's `model.onnx` and `x.npy` of the README: `model`, and random inputs."""
    from apsim import nn
    from apsim.nn.rules import real

    shutil.copy(model, Path(folder) / "model.onnx")
    entry = (network := nn.load(model)).tensors[network.input]
    drawn = np.random.default_rng(0).integers(entry.lo, entry.hi + 1, (1, *entry.shape))
    np.save(Path(folder) / "x.npy", real.dequantize(entry, drawn))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write the JSON that the README is held against."""
    parser = argparse.ArgumentParser(prog="benchmarks.readme", description=__doc__.split("\n")[0])
    parser.add_argument("--model", metavar="FILE", help="the README's model.onnx")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--clone", action="store_true", help="also clone, install and run")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args(argv)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        if args.model:
            own_model(args.model, folder)
        for command in commands((ROOT / "README.md").read_text()):
            if command == FIRST and args.clone:
                found[command] = cloned(folder)
            elif command != FIRST and (args.model or "model.onnx" not in command):
                found[command] = took(command, folder, args.rounds)
            if command in found:
                print(f"{found[command]:7.2f} s  {command}", flush=True)
    goals = [Goal(f"{FIRST} in a fresh clone, seconds", MOST, found[FIRST], at_least=False)
             for _ in range(FIRST in found)]  # fmt: skip
    model = args.model and Path(args.model).name
    return report("readme", goals, {"seconds": found, "model": model}, args.json)


if __name__ == "__main__":
    sys.exit(main())
