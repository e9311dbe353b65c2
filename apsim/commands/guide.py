"""`apsim guide`: how to do it, topic by topic; each page is run by the tests.

The rule: a page is shown as it stands in the package; a notebook is made from it.

Example: `apsim guide costs`
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from apsim.commands.options import wrote
from apsim.errors import InputError

__all__ = ["add_parser"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `guide`."""
    parser = subparsers.add_parser(
        "guide",
        help="how to do it: pages on every topic, also as notebooks",
        description=__doc__.split("\n")[0],
        epilog="example: apsim guide first-lut",
    )
    add = parser.add_argument
    add("topic", metavar="TOPIC", nargs="?", help="a page (default: list them)")
    add("--notebook", metavar="FILE", help="write the page as a notebook (extra notebook)")
    add("--force", action="store_true", help="overwrite the notebook if it exists")
    add("--plain", action="store_true", help="the page's own Markdown")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from apsim.guide import page, topics

    if args.topic is None:
        if args.notebook:
            raise InputError("--notebook: wanted a topic, as in apsim guide first-lut --notebook F")
        for topic in topics():
            print(f"{topic:16} {page(topic).title}")
        print("\napsim guide TOPIC shows a page; --notebook FILE.ipynb writes it to be run")
        return 0
    found = page(args.topic)
    if args.notebook:
        return _write(found, Path(args.notebook), args.force)
    _show(found.text, args.plain)
    return 0


def _show(text: str, plain: bool) -> None:
    """Rendered on a terminal; the page's own Markdown elsewhere, and where it is asked for."""
    from apsim.report.screen import screen

    console = screen()
    if plain or not console.is_terminal:
        print(text, end="")
        return
    from rich.markdown import Markdown

    other = re.sub(r"\[[^\]]*\]\(([\w-]+)\.md\)", r"`apsim guide \1`", text)
    console.print(Markdown(other, code_theme="ansi_dark", hyperlinks=False))


def _write(found: object, path: Path, force: bool) -> int:
    from apsim.files import write_text
    from apsim.guide import Page
    from apsim.guide.notebook import notebook

    assert isinstance(found, Page)
    if path.exists() and not force:
        raise InputError(f"{path} exists; --force overwrites it")
    write_text(path, notebook(found))
    wrote(path)
    return 0
