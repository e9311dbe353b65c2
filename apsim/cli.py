"""The command line: one verb for each module of `apsim.commands`.

The rule: nothing heavy is imported here or at the top of a command module, so that
`apsim --help` answers at once; where a verb is named, no other verb is imported.  A user's
mistake is one line on stderr and exit code 2; a check that does not hold is exit code 1; Ctrl-C
is 130, a request to end 143.  What nobody foresaw is a defect of apsim: one line, exit code 70,
and the traceback for those who set APSIM_TRACEBACK=1.
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
from typing import Any, NoReturn

from apsim import process
from apsim.errors import ApsimError, InputError, MissingExtra, shown, shown_lines

__all__ = ["VERBS", "main", "parser"]

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
WIDE = "240"  # columns of a terminal that are enough for every table
BROKEN_PIPE = 141
DEFECT = 70

FEW_LOOKS = 500_000, 20, 20
"""Thresholds of the garbage collector: at the usual ones it takes a tenth of a short run."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors read like apsim's own: one message, exit code 2.

    Options are spelled in full, for a part of one may soon be a part of two.
    """

    def __init__(self, **how: Any) -> None:
        super().__init__(**{"allow_abbrev": False} | how)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """A choice that there is not is answered as any other name: what there is, what is near."""
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        wanted = f"wanted one of {', '.join(known)}, got {value!r}{hint}"
        raise argparse.ArgumentError(action, wanted)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"apsim: error: {shown(message)} (see: {self.prog} --help)\n")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"apsim {_version()}")
        parser.exit()


class _Completion(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, space: object, shell: object, *_: object
    ) -> NoReturn:
        print(_completion(parser, str(shell)))
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
        if isinstance(error, ModuleNotFoundError) and not _is_own(error):
            return _say(f"apsim: error: {_missing(error.name)}", 2)
        if os.environ.get("APSIM_TRACEBACK") == "1":
            raise
        return _say(_defect(error), DEFECT)


def _is_own(error: ModuleNotFoundError) -> bool:
    return (error.name or "apsim").partition(".")[0] == "apsim"


def _missing(package: str | None) -> str:
    return (
        f"this Python ({sys.executable}) lacks the package {package!r}; install apsim with what it "
        "needs: pip install . in its checkout"
    )


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
    whole, verbs = _parser(argv[:1] if argv and argv[0] in VERBS else VERBS)
    if argv and not argv[0].startswith("-") and argv[0] not in VERBS:
        whole.error(_unknown_verb(argv[0]))
    _refuse_long_numbers(argv)
    with _flushing():
        if not argv:
            whole.print_help()
            return 0
        args, extra = whole.parse_known_args(argv)
        if extra:
            verbs[args.verb].error(_unknown_option(extra, verbs[args.verb]))
        with _columns(WIDE if getattr(args, "wide", False) else None):
            code: int = args.run(args)
        return code


@contextmanager
def _columns(wanted: str | None) -> Iterator[None]:
    """Within this, output is so wide; where `wanted` is None, as wide as it was."""
    before = os.environ.get("COLUMNS")
    if wanted is not None:
        os.environ["COLUMNS"] = wanted
    try:
        yield
    finally:
        if before is not None:
            os.environ["COLUMNS"] = before
        elif wanted is not None:
            os.environ.pop("COLUMNS", None)


def parser(verb: str) -> argparse.ArgumentParser:
    """The parser of one verb, for those who list its options."""
    return _parser([verb])[1][verb]


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


def _parser(
    verbs: Sequence[str] = VERBS,
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The command line with these verbs, and the parser of each."""
    whole = _Parser(
        prog="apsim",
        description="Emulate associative processors bit by bit, count every operation, "
        "and hold the counts against the BF-IMNA paper.",
        allow_abbrev=False,
    )
    whole.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    whole.add_argument(
        "--completion", action=_Completion, metavar="SHELL",
        help="print completions for bash, zsh or tcsh (extra completion)",
    )  # fmt: skip
    subparsers = whole.add_subparsers(metavar="VERB", dest="verb", required=True)
    for verb in verbs:
        module = importlib.import_module(f"apsim.commands.{MODULES.get(verb, verb)}")
        module.add_parser(subparsers)
        if example := _example(module.__doc__ or ""):
            subparsers.choices[verb].epilog = example
    return whole, dict(subparsers.choices)


def _completion(whole: argparse.ArgumentParser, shell: str) -> str:
    """What a shell reads to complete verbs and options."""
    try:
        import shtab
    except ImportError as error:
        raise MissingExtra("shtab", "completion") from error
    if shell not in shtab.SUPPORTED_SHELLS:
        wanted = ", ".join(shtab.SUPPORTED_SHELLS)
        raise InputError(f"--completion: wanted one of {wanted}, got {shell!r}")
    return str(shtab.complete(whole, shell=shell))


def _example(text: str) -> str:
    """The example in a module's docstring, as its help shows it."""
    _, sign, example = text.partition("Example: `")
    return f"example: {example.partition('`')[0]}" if sign else ""


def _unknown_verb(verb: str) -> str:
    near = difflib.get_close_matches(verb, VERBS, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else f"; the verbs are {', '.join(VERBS)}"
    return f"there is no verb {verb!r}{hint}"


def _unknown_option(extra: Sequence[str], verb: argparse.ArgumentParser) -> str:
    """What nobody takes, with the option that comes nearest to it."""
    options = [action for action in verb._actions if action.help != argparse.SUPPRESS]
    known = [text for action in options for text in action.option_strings]
    first = extra[0].partition("=")[0]
    near = difflib.get_close_matches(first, known, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near and first.startswith("-") else ""
    return f"unrecognized arguments: {' '.join(extra)}{hint}"


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("apsim")
    except metadata.PackageNotFoundError:
        return "of a checkout that is not installed"
