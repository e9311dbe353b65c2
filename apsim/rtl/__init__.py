"""A program as a circuit: SystemVerilog of the array that runs it, run and proved by others."""

from apsim.rtl.expected import Load
from apsim.rtl.folder import Export, export, write

__all__ = ["Export", "Load", "export", "write"]
