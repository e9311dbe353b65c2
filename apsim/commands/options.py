"""The options that verbs share: one name, one meaning, one text.

The rule: a verb that takes a chip, a technology, images or files takes them by these names;
spellings of before go on working and are shown nowhere.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from apsim.errors import InputError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "KINDS", "add_also", "add_array", "add_broadcast", "add_chip", "add_cost", "add_csv",
    "add_json", "add_output", "add_requant", "add_technology", "add_wide", "flat",
    "require_cost", "write_csv", "write_json", "write_text", "wrote",
]  # fmt: skip

KINDS = ("1d", "2d", "2d-seg", "2d-tc", "2d-seg-tc")
"""The AP kinds, as `--ap` takes them."""


def add_chip(parser: argparse.ArgumentParser) -> None:
    """`--chip`: the chip that executes, or that is costed."""
    add = parser.add_argument
    add("--chip", default="lr", metavar="lr|ir|FILE", help="a chip by name or TOML file")


def add_array(parser: argparse.ArgumentParser, default: str | None = "load") -> None:
    """`--array`: what a load finds, which activity depends on and counts do not."""
    meaning = "what a load runs on: an array cut to it and zeroed before (load, the default), or a "
    meaning += "CAP in use, all its rows and what the load before left there (cap; slower)"
    parser.add_argument("--array", choices=("load", "cap"), default=default, help=meaning)


def add_requant(parser: argparse.ArgumentParser, default: str | None = "host") -> None:
    """`--requant`: who requantizes."""
    meaning = "who turns sums into activations: the host (default), or the AP in counted passes"
    parser.add_argument("--requant", choices=("host", "ap"), default=default, help=meaning)


def add_broadcast(parser: argparse.ArgumentParser, default: str | None = "group") -> None:
    """`--broadcast`: how the words of softmax and norms are shared."""
    meaning = "a word to all rows of its group (softmax, norms): in one write (default), or by rows"
    parser.add_argument("--broadcast", choices=("group", "rows"), default=default, help=meaning)


def add_cost(parser: argparse.ArgumentParser) -> None:
    """`--cost`: what a mapping that is chosen is to make least."""
    meaning = "with --mapping auto or weights: what is to be least, by forecast (default energy)"
    parser.add_argument("--cost", choices=("energy", "cycles", "latency"), help=meaning)


def require_cost(args: argparse.Namespace) -> None:
    """Refuse `--cost` where nothing is chosen: `InputError`."""
    if args.cost and args.mapping not in ("auto", "weights"):
        raise InputError("--cost goes with --mapping auto or weights: im2col knows one way")


def add_technology(parser: argparse.ArgumentParser, default: str | None = "sram") -> None:
    """`--tech`: the cells' technology."""
    said = f" (default {default})" if default else " (default: each write one clock)"
    meaning = f"a technology by name or TOML file{said}"
    parser.add_argument("--tech", default=default, metavar="sram|reram|FILE", help=meaning)
    add_also(parser, "--technology", "tech")


def add_output(parser: argparse.ArgumentParser, meaning: str, metavar: str = "FILE") -> None:
    """`-o`: the file that a verb is there to write."""
    parser.add_argument("-o", "--output", metavar=metavar, help=meaning)


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """`--json`: the whole result."""
    parser.add_argument("--json", metavar="FILE", help=f"write {what} as JSON")


def add_csv(parser: argparse.ArgumentParser, what: str) -> None:
    """`--csv`: the table, a line for each row."""
    parser.add_argument("--csv", metavar="FILE", help=f"write {what} as CSV")


def add_wide(parser: argparse.ArgumentParser) -> None:
    """`--wide`: every column, however narrow the terminal is."""
    parser.add_argument("--wide", action="store_true", help="show every column of tables")


def add_also(parser: argparse.ArgumentParser, spelling: str, name: str, **how: Any) -> None:
    """An older spelling of the option whose value is `name`."""
    parser.add_argument(
        spelling, dest=name, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **how
    )


def wrote(path: str | os.PathLike[str], note: str = "") -> None:
    """Say that a file is there, its name as data."""
    print(shown(f"wrote {os.fspath(path)}{note}"))


def write_json(path: str | None, value: Callable[[], Any]) -> None:
    """Write the whole result, if a file is wanted, and say so."""
    if path is not None:
        from apsim import files

        files.write_json(path, value())
        wrote(path)


def write_text(path: str | None, text: Callable[[], str]) -> None:
    """Write a text, if a file is wanted, and say so."""
    if path is not None:
        from apsim import files

        files.write_text(path, text())
        wrote(path)


def write_csv(path: str | None, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a line for each row, if a file is wanted, and say so."""
    from apsim.report.cost.files import as_csv

    write_text(path, lambda: as_csv([flat(row) for row in rows]))


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record of plain values: what lies in a table by `table_name`, lists as text.

    >>> flat({"counts": {"compare": 4, "write": 5}, "bits": [8, 4]})
    {'counts_compare': 4, 'counts_write': 5, 'bits': '8,4'}
    """
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= {f"{name}_{key}": inner for key, inner in flat(value).items()}
        else:
            found[name] = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
    return found
