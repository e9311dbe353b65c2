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
    "octet_bits",
    "popcount",
    "put_bits",
    "put_octets",
    "step_lines",
    "take_field",
]

_lines: Any = import_module("apsim.cam._plain" if PLAIN else "apsim.cam._vectors")
_moves: Any = import_module("apsim.cam._plain" if PLAIN else "apsim.cam._vector_moves")

step_lines, assign_line, call_fused = _lines.step_lines, _lines.assign_line, _lines.call_fused
get_bits, put_bits, popcount = _moves.get_bits, _moves.put_bits, _moves.popcount
take_field, clear_lines = _moves.take_field, _moves.clear_lines
octet_bits, put_octets = _moves.octet_bits, _moves.put_octets
