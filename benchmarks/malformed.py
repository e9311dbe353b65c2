"""Malformed files for every reader: what is refused, what is accepted, and what goes wrong.

The rule: each case runs in a child of its own with limits of time and memory, and has a
number that names it for ever: `--reader R --case N` does that one here, with its traceback.
What is accepted is used, and held against another implementation where there is one.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

from benchmarks.malformed_readers import READERS, Reader

__all__ = ["Outcomes", "main", "try_reader"]

SECONDS = 10  # of a processor that a case may take
WAIT = 60  # seconds in all, on a machine with other things to do
RESIDENT = 2 << 30  # bytes that it may hold
ADDRESSES = 8 << 30  # bytes that it may ask for
COLUMNS = ("clean", "accepted", "traceback", "hang", "memory", "signal", "wrong")
TOO_LONG = (signal.SIGALRM, signal.SIGXCPU, signal.SIGKILL)  # the hard limit kills
GOOD = ("clean", "accepted")
CODES = {0: "accepted", 1: "wrong", 2: "clean", 75: "memory"}
Outcomes = Counter[str]


def main(argv: list[str] | None = None) -> int:
    """Try the readers, print a table; 1 where a case is neither refused nor accepted rightly."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.malformed", description=__doc__)
    parser.add_argument("--reader", choices=READERS, action="append", help="only this one")
    parser.add_argument("--cases", type=int, default=600, help="of all readers together")
    parser.add_argument("--case", type=int, metavar="N", help="only this one of --reader, here")
    args = parser.parse_args(argv)
    names = args.reader or list(READERS)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if args.case is not None:
        os.environ["APSIM_TRACEBACK"] = "1"
        with _folder() as folder:
            return _prepared(READERS[names[0]], folder, names[0], args.case)
    print(f"{'reader':12} {'cases':>6} " + " ".join(f"{name:>9}" for name in COLUMNS))
    total: Outcomes = Counter()
    for name in names:
        found = try_reader(name, -(-args.cases // len(names)))
        total += found
        print(_line(name, found), flush=True)
    print(_line("all", total))
    return 0 if set(total) <= set(GOOD) else 1


def _line(name: str, found: Outcomes) -> str:
    numbers = " ".join(f"{found[column]:9,}" for column in COLUMNS)
    return f"{name:12} {found.total():6,} {numbers}"


def try_reader(name: str, cases: int) -> Outcomes:
    """So many cases of a reader, each in a child; those that go wrong are named on stderr."""
    found: Outcomes = Counter()
    reader = READERS[name]
    with _folder() as folder:
        good = reader.good(folder)
        (folder / "good").write_bytes(good)
        for number in range(cases):
            outcome = _outcome(reader, folder, name, number)
            found[outcome] += 1
            if outcome not in GOOD:
                print(f"{outcome}: --reader {name} --case {number}", file=sys.stderr, flush=True)
    return found


class _folder(tempfile.TemporaryDirectory[str]):
    """A folder of its own, in which the process is."""

    def __enter__(self) -> Path:  # type: ignore[override]
        self.before = os.getcwd()
        folder = Path(super().__enter__()).resolve()
        os.chdir(folder)
        return folder

    def __exit__(self, *error: object) -> None:
        os.chdir(self.before)
        self.cleanup()


def _prepared(reader: Reader, folder: Path, name: str, number: int) -> int:
    (folder / "good").write_bytes(reader.good(folder))
    return reader.read(_spoilt(reader, folder, name, number))


def _spoilt(reader: Reader, folder: Path, name: str, number: int) -> Path:
    """Write the file of a case, in a folder of its own beside the good ones."""
    random = Random(f"{name} {number}")
    content = random.choice(reader.mutations)((folder / "good").read_bytes(), random)
    path = folder / reader.file
    path.write_bytes(content)
    return path


def _outcome(reader: Reader, folder: Path, name: str, number: int) -> str:
    path = _spoilt(reader, folder, name, number)
    before = set(folder.iterdir())
    child = os.fork()
    if child == 0:
        _read_here(reader, path)
    _, status, used = os.wait4(child, 0)
    for left in set(folder.iterdir()) - before:
        left.unlink()
    if used.ru_maxrss * 1024 > RESIDENT:
        return "memory"
    if os.WIFSIGNALED(status):
        return "hang" if os.WTERMSIG(status) in TOO_LONG else "signal"
    return CODES.get(os.WEXITSTATUS(status), "traceback")


def _read_here(reader: Reader, path: Path) -> None:
    """In a child: read, say nothing, and end with a code."""
    from apsim.errors import ApsimError

    code = 70
    try:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, WAIT)
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silent, stream)
        code = reader.read(path)
    except ApsimError:
        code = 2
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except MemoryError:
        code = 75
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
