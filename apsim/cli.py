"""The command line: one verb for each module of `apsim.commands`.

The rule: nothing heavy is imported here or at the top of a command module, so that
`apsim --help` answers at once.  A user's mistake is one line on stderr and exit code 2;
a check that does not hold is exit code 1; Ctrl-C is 130.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from apsim.errors import ApsimError

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
    "guide",
)
"""The verbs in the order of the help; each is a module of `apsim.commands`."""

MODULES = {"import": "import_model"}
"""Modules whose name differs from their verb, which is a word of the language."""

ONE_THREAD = ("OPENBLAS_NUM_THREADS", "1")
"""Threads of numpy's BLAS go on spinning after a product, on cores that the emulator wants."""

INTERRUPTED = 130
BROKEN_PIPE = 141


class _Parser(argparse.ArgumentParser):
    """A parser whose errors read like apsim's own: one message, exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"apsim: error: {message} (see: {self.prog} --help)\n")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"apsim {_version()}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with `argv` (default: the process's own); return its exit code."""
    os.environ.setdefault(*ONE_THREAD)
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except ApsimError as error:
        print(f"apsim: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("; ".join(["apsim: interrupted", *map(str, stop.args)]), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE


def _run(argv: list[str]) -> int:
    parser = _parser()
    if argv and not argv[0].startswith("-") and argv[0] not in VERBS:
        parser.error(_unknown_verb(argv[0]))
    try:
        args = parser.parse_args(argv)
        code: int = args.run(args)
        return code
    finally:
        sys.stdout.flush()  # here a reader that is gone is noticed, and not after `main`


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


def _silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
