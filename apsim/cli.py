"""The command line: one verb for each module of `apsim.commands`.

The rule: nothing heavy is imported here or at the top of a command module, so that
`apsim --help` answers at once.  A user's mistake is one line on stderr and exit code 2;
a check that does not hold is exit code 1; Ctrl-C is 130, a request to end 143.  What nobody
foresaw is a defect of apsim: one line, exit code 70, and the traceback for those who set
APSIM_TRACEBACK=1.
"""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from apsim import process
from apsim.errors import ApsimError, InputError, shown, shown_lines

__all__ = ["VERBS", "main"]

VERBS: tuple[str, ...] = (
    "run",
    "import",
    "fluid",
    "check",
    "cost",
    "explore",
    "faults",
    "paper",
    "lut",
    "debug",
    "trace",
    "rtl",
    "guide",
)
"""The verbs in the order of the help; each is a module of `apsim.commands`."""

MODULES = {"import": "import_model"}
"""Modules whose name differs from their verb, which is a word of the language."""

ONE_THREAD = ("OPENBLAS_NUM_THREADS", "1")
"""Threads of numpy's BLAS go on spinning after a product, on cores that the emulator wants."""

KEPT = "files that it said it wrote are kept, nothing else; start it again"
BROKEN_PIPE = 141
DEFECT = 70

FEW_LOOKS = 100_000, 20, 20
"""Thresholds of the garbage collector: at the usual ones it takes a tenth of a short run."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors read like apsim's own: one message, exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"apsim: error: {shown(message)} (see: {self.prog} --help)\n")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"apsim {_version()}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with `argv` (default: the process's own); return its exit code."""
    os.environ.setdefault(*ONE_THREAD)
    if argv is None:
        process.prepare()
    gc.set_threshold(*FEW_LOOKS)
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except ApsimError as error:
        return _say(f"apsim: error: {error}", 2)
    except KeyboardInterrupt as stop:
        return _say(process.ended_by(*(stop.args or (KEPT,))), process.code())
    except BrokenPipeError:
        process.quiet()
        return BROKEN_PIPE
    except MemoryError as error:
        return _say(f"apsim: error: not enough memory: {error}".rstrip(": "), 2)
    except Exception as error:
        if os.environ.get("APSIM_TRACEBACK") == "1":
            raise
        return _say(_defect(error), DEFECT)


def _say(line: str, code: int) -> int:
    """Print the last line, its names as data; give the exit code."""
    with suppress(OSError):
        print(shown_lines(line), file=sys.stderr)
    return code


def _defect(error: Exception) -> str:
    """One line on what should not be: what was raised, where, and what to do about it."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    where = "" if last is None else f" ({last.tb_frame.f_code.co_filename}:{last.tb_lineno})"
    what = f"{type(error).__name__}: {error}".replace("\n", " ")[:300]
    return (
        f"apsim: a defect of apsim, not of your input: {what}{where}; please report it to its "
        "authors with the command and its files (APSIM_TRACEBACK=1 shows the traceback)"
    )


def _run(argv: list[str]) -> int:
    parser = _parser()
    if argv and not argv[0].startswith("-") and argv[0] not in VERBS:
        parser.error(_unknown_verb(argv[0]))
    _refuse_long_numbers(argv)
    with _flushing():
        args = parser.parse_args(argv)
        code: int = args.run(args)
        return code


def _refuse_long_numbers(argv: list[str]) -> None:
    """Refuse what no option makes a number of; raises `InputError`."""
    if max(map(len, argv), default=0) >= 1000:
        from apsim.files import MOST_DIGITS, has_long_number

        if any(map(has_long_number, argv)):
            raise InputError(
                f"wanted numbers of less than {MOST_DIGITS} digits on the command line"
            )


@contextmanager
def _flushing() -> Iterator[None]:
    """Whatever is printed is out at the end; a full or broken standard output is noticed here."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.filename is not None:  # no stream's matter
            raise
        process.quiet()
        reason = error.strerror or error
        raise InputError(f"cannot write to the standard output: {reason}") from error


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="apsim",
        description="Emulate associative processors bit by bit, count every operation, "
        "and hold the counts against the BF-IMNA paper.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = parser.add_subparsers(metavar="VERB", dest="verb", required=True)
    for verb in VERBS:
        importlib.import_module(f"apsim.commands.{MODULES.get(verb, verb)}").add_parser(subparsers)
    return parser


def _unknown_verb(verb: str) -> str:
    near = difflib.get_close_matches(verb, VERBS, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else f"; the verbs are {', '.join(VERBS)}"
    return f"there is no verb {verb!r}{hint}"


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("apsim")
    except metadata.PackageNotFoundError:
        return "of a checkout that is not installed"
