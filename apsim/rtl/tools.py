"""The programs of others that simulate and prove: where they are, and whether they are too old.

The rule: they are looked for when they are needed, never at import; who lacks one is told
what to install.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from apsim.errors import InputError

__all__ = ["SIMULATORS", "TOOLS", "Tool", "find"]


@dataclass(frozen=True)
class Tool:
    """A program: its command, how it tells its version, and the oldest it was tried with."""

    name: str
    command: str
    ask: str
    oldest: tuple[int, int]

    @property
    def wanted(self) -> str:
        """What to install."""
        return f"{self.name} {self.oldest[0]}.{self.oldest[1]:0{3 if self.oldest[0] == 5 else 1}d}"


TOOLS = {
    "icarus": Tool("Icarus Verilog", "iverilog", "-V", (11, 0)),
    "verilator": Tool("Verilator", "verilator", "--version", (5, 6)),  # has --binary
    "yosys": Tool("Yosys", "yosys", "-V", (0, 23)),
}
SIMULATORS = ("icarus", "verilator")


def find(name: str) -> str:
    """The version of a tool; raises `InputError` where it is missing or too old."""
    tool = TOOLS[name]
    if shutil.which(tool.command) is None:
        raise InputError(
            f"{tool.command} is not installed: wanted {tool.wanted} or newer "
            f"(Debian, Ubuntu: apt-get install {tool.command})"
        )
    done = subprocess.run([tool.command, tool.ask], capture_output=True, text=True, check=False)
    found = re.search(r"\b(\d+)\.(\d+)", done.stdout)
    if found is None or tuple(map(int, found.groups())) < tool.oldest:
        came = found.group() if found else f"none told by {tool.command} {tool.ask}"
        raise InputError(f"{tool.command} is too old: wanted version {tool.wanted}, got {came}")
    return found.group()
