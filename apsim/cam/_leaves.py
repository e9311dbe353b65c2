"""The innermost loops of the kernels: explicit vectors, or plain source where those cannot be."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from apsim.cam._compile import PLAIN

__all__ = [
    "assign_line",
    "call_fused",
    "clear_lines",
    "get_bits",
    "popcount",
    "put_bits",
    "step_lines",
    "take_field",
]

_leaves: Any = import_module("apsim.cam._plain" if PLAIN else "apsim.cam._vectors")

step_lines = _leaves.step_lines
assign_line = _leaves.assign_line
get_bits = _leaves.get_bits
put_bits = _leaves.put_bits
popcount = _leaves.popcount
call_fused = _leaves.call_fused
take_field = _leaves.take_field
clear_lines = _leaves.clear_lines
