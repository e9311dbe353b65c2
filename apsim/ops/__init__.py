"""Operations by field names; each builds a program, none keeps state."""

from apsim.ops.activation import maximum, minimum, relu
from apsim.ops.apply import apply
from apsim.ops.arithmetic import (
    add,
    clear,
    copy,
    multiply,
    multiply_by,
    populate,
    prepare,
    read,
    subtract,
)
from apsim.ops.constants import add_constant_multiple, add_short, preset
from apsim.ops.reduction import accumulate
from apsim.ops.rows import Groups
from apsim.ops.selection import largest
from apsim.ops.table import table

__all__ = [
    "Groups",
    "accumulate",
    "add",
    "add_constant_multiple",
    "add_short",
    "apply",
    "clear",
    "copy",
    "largest",
    "maximum",
    "minimum",
    "multiply",
    "multiply_by",
    "populate",
    "prepare",
    "preset",
    "read",
    "relu",
    "subtract",
    "table",
]
