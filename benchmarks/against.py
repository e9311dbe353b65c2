"""`python -m benchmarks.against PATH`: this checkout against another one, in pinned processes.

The rule: a process for each checkout, both on the same core, take turns; what is compared is
the least time of each, and the ratio says how much faster this checkout is (above 1) or
slower.  Both must count the same rows that matched before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SIDE = HERE / "against_side.py"


@dataclass(frozen=True)
class Result:
    """Least seconds here and there, and the ratio that is wanted at least."""

    name: str
    here: float
    there: float
    goal: float

    @property
    def ratio(self) -> float:
        """How much faster this checkout is."""
        return self.there / self.here

    def __str__(self) -> str:
        met = "" if self.ratio >= self.goal else "   MISSED"
        times = f"{_shown(self.here)} {_shown(self.there)}"
        return f"{self.name:44} {times} {self.ratio:6.2f}x  wanted {self.goal:.2f}x{met}"


def _shown(seconds: float) -> str:
    return f"{seconds * 1e6:12,.1f} us" if seconds < 0.1 else f"{seconds:12.3f} s "


class Side:
    """A process that runs what it is told in one checkout, on one core."""

    def __init__(self, checkout: Path, core: int, cache: str, cpu: bool) -> None:
        environment = os.environ | {"PYTHONPATH": str(checkout), "XDG_CACHE_HOME": cache}
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(SIDE), *["--cpu"] * cpu], cwd=checkout, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )  # fmt: skip

    def ask(self, **what: Any) -> Any:
        """Send a request; gives the answer."""
        assert self.process.stdin and self.process.stdout
        print(json.dumps(what), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"a side stopped at {what}")
        return json.loads(answer)

    def close(self) -> None:
        """Let the process end."""
        self.process.communicate()


def turns(sides: tuple[Side, Side], rounds: int, job: str) -> list[list[Any]]:
    """What both sides say of every run; they take turns."""
    checks = [side.ask(prepare=job) for side in sides]
    if checks[0] != checks[1]:
        raise SystemExit(f"{job}: {checks[0]} here, {checks[1]} there")
    said = [[side.ask(run=job) for side in sides] for _ in range(rounds)]
    return [list(one) for one in zip(*said, strict=True)]


def alternating(sides: tuple[Side, Side], rounds: int, job: str, goal: float) -> Result:
    """The least times of both sides."""
    here, there = turns(sides, rounds, job)
    return Result(job, min(here), min(there), goal)


KERNELS = [
    f"kernel {name} {rows}" for rows in (4_800, 98_304, 999_936) for name in ("add8", "mul8")
]
FRESH = ["fresh add8 4800", "fresh write 4800", "fresh read 4800"]


def kernels(sides: tuple[Side, Side], rounds: int) -> Iterator[Result]:
    """LUT steps on one thread, and operations made anew."""
    for job in KERNELS:
        yield alternating(sides, rounds, job, 0.95)
    for job in FRESH:
        yield alternating(sides, rounds, job, 1.0)


def networks(sides: tuple[Side, Side], names: list[str], rounds: int) -> Iterator[Result]:
    """Whole networks, 8 and 4 bits, programs made before: their passes, and all engine seconds."""
    for job in (f"network {name} {bits}" for name in names for bits in (8, 4)):
        said = turns(sides, rounds, job)
        for what, parts, goal in (("passes", ["passes"], 1.0), ("engine", list(said[0][0]), 1.15)):
            least = (min(sum(run[part] for part in parts) for run in side) for side in said)
            yield Result(f"{job}, {what}", *least, goal)


def startup(checkouts: tuple[Path, Path], core: int, rounds: int) -> Iterator[Result]:
    """CPU seconds of whole commands: the first one ever, later ones, and `--help`.

    Python's own bytecode is there before, as an installation leaves it.
    """
    run = ["run", "digits", "--images", "1"]
    first, later, helped = (list[list[float]]([[], []]) for _ in range(3))
    with tempfile.TemporaryDirectory() as bytecode:
        for number in range(rounds + 1):
            for k, checkout in enumerate(checkouts):
                with tempfile.TemporaryDirectory() as cache:
                    for found, command in ((first, run), (later, run), (helped, ["--help"])):
                        seconds = _seconds(checkout, core, cache, bytecode, command)
                        found[k].extend([seconds] * (number > 0))
    for name, found, goal in (
        ("first `apsim run digits` ever, CPU", first, 1 / 1.8),
        ("later `apsim run digits`, CPU", later, 1.0),
        ("`apsim --help`, CPU", helped, 1.0),
    ):
        yield Result(name, min(found[0]), min(found[1]), goal)


def _seconds(checkout: Path, core: int, cache: str, bytecode: str, command: list[str]) -> float:
    environment = os.environ | {
        "PYTHONPATH": str(checkout), "XDG_CACHE_HOME": cache, "PYTHONPYCACHEPREFIX": bytecode,
        "PYTHONDONTWRITEBYTECODE": "",
    }  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-P", "-m", "apsim", *command], cwd=checkout, env=environment, check=True,
        stdout=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Compare, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.against")
    parser.add_argument("path", type=Path, help="another checkout of this project")
    parser.add_argument("--rounds", type=int, default=30, help="turns of each side")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--networks", nargs="*", default=["resnet18"], metavar="NAME")
    parser.add_argument(
        "--only", nargs="*", choices=("kernels", "networks", "startup"),
        default=["kernels", "networks", "startup"],
    )  # fmt: skip
    parser.add_argument("--cpu", action="store_true", help="CPU seconds, for a busy machine")
    args = parser.parse_args()
    checkouts = HERE.parent, args.path.resolve()
    print(f"{'':44} {'here':>15} {'there':>15}")
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        caches = zip(checkouts, (one, other), strict=True)
        sides = tuple(Side(checkout, args.core, cache, args.cpu) for checkout, cache in caches)
        if "kernels" in args.only:
            for result in kernels(sides, args.rounds):  # type: ignore[arg-type]
                print(result, flush=True)
        if "networks" in args.only:
            for result in networks(sides, args.networks, max(args.rounds // 10, 2)):  # type: ignore[arg-type]
                print(result, flush=True)
        for side in sides:
            side.close()
    if "startup" in args.only:
        for result in startup(checkouts, args.core, max(args.rounds // 6, 2)):
            print(result, flush=True)


if __name__ == "__main__":
    main()
