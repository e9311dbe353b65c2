"""The guide: pages of Markdown that ship with the package, shown, run by tests, or as notebooks.

The rule: a page is a file of this folder; what it shows in `python`, `console` and `toml`
blocks is run by the tests, and its first line is its title.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files

from apsim.errors import InputError

__all__ = ["Block", "Page", "page", "topics"]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A piece of a page: prose (language "") or a fenced block of a language."""

    language: str
    text: str


@dataclass(frozen=True)
class Page:
    """A page by its topic, with its whole text."""

    topic: str
    text: str

    @property
    def title(self) -> str:
        """The first line, without its mark."""
        return self.text.splitlines()[0].removeprefix("# ")

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Prose and fenced blocks in turn."""
        found, at = [], 0
        for fence in _FENCE.finditer(self.text):
            found += [Block("", self.text[at : fence.start()]), Block(fence[1], fence[2])]
            at = fence.end()
        found.append(Block("", self.text[at:]))
        return tuple(block for block in found if block.text.strip())


def topics() -> tuple[str, ...]:
    """The pages' names, sorted."""
    found = (item.name for item in files("apsim.guide").iterdir())
    return tuple(sorted(name[:-3] for name in found if name.endswith(".md")))


def page(topic: str) -> Page:
    """The page on a topic; raises `InputError` with the nearest topic."""
    known = topics()
    if topic not in known:
        near = get_close_matches(topic, known, 1, 0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"no guide on {topic!r}: topics are {', '.join(known)}{hint}")
    return Page(topic, files("apsim.guide").joinpath(f"{topic}.md").read_text("utf-8"))
