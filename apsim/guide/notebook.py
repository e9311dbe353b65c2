"""A page of the guide as a Jupyter notebook.

The rule: a cell does what its block does; prompts and shown output are left out, since
running the notebook makes them.
"""

from __future__ import annotations

import json
import re
from typing import Any

from apsim.errors import MissingExtra
from apsim.guide import Block, Page

__all__ = ["notebook"]

HERE = "{sys.executable} -m apsim "
"""The command of the kernel's own environment, whatever else is on the path."""


def notebook(page: Page) -> str:
    """The notebook as JSON text; raises `MissingExtra` without nbformat (extra notebook)."""
    try:
        import nbformat
    except ModuleNotFoundError as error:
        raise MissingExtra("nbformat", "notebook") from error
    v4: Any = nbformat.v4
    made = v4.new_notebook()
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    made.cells = [_cell(v4, block, k) for k, block in enumerate(page.blocks)]
    nbformat.validate(made)
    return json.dumps(made, indent=1) + "\n"


def _cell(v4: Any, block: Block, number: int) -> Any:
    source = _source(block)
    cell = v4.new_code_cell(source) if source else v4.new_markdown_cell(_prose(block))
    cell["id"] = f"cell-{number}"  # the same file each time
    return cell


def _prose(block: Block) -> str:
    if block.language:
        return f"```{block.language}\n{block.text}```"
    return block.text.strip()


def _source(block: Block) -> str:
    """Code of a block that can be run, else nothing."""
    if block.language == "python":
        return _without_prompts(block.text)
    if block.language == "console":
        lines = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
        return "\n".join(["import sys", *map(_shell, lines)])
    first, _, rest = block.text.partition("\n")
    if block.language in ("toml", "csv") and first.startswith("# "):
        return f"%%writefile {first[2:]}\n{rest}".rstrip()
    return ""


def _shell(line: str) -> str:
    """A command line, whose own variables and braces the kernel leaves to the shell."""
    left = re.sub(r"\$(?=[\w.])", "$$", line.replace("{", "{{").replace("}", "}}"))
    return f"!{left.replace('apsim ', HERE)}"


def _without_prompts(text: str) -> str:
    lines = text.splitlines()
    if not any(line.startswith(">>> ") for line in lines):
        return text.rstrip()
    return "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ", "...")))
