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
from apsim.ops.constants import add_constant_multiple, add_short, constant_multiple, preset
from apsim.ops.division import (
    at_least_one,
    clear_where,
    divide,
    negate_where,
    saturate,
    shift_by_flags,
    square,
    square_root,
)
from apsim.ops.reduction import accumulate
from apsim.ops.requantize import round_off
from apsim.ops.rows import Groups, broadcast
from apsim.ops.selection import largest
from apsim.ops.table import table

__all__ = [
    "Groups",
    "accumulate",
    "add",
    "add_constant_multiple",
    "add_short",
    "apply",
    "at_least_one",
    "broadcast",
    "clear",
    "clear_where",
    "constant_multiple",
    "copy",
    "divide",
    "largest",
    "maximum",
    "minimum",
    "multiply",
    "multiply_by",
    "negate_where",
    "populate",
    "prepare",
    "preset",
    "read",
    "relu",
    "round_off",
    "saturate",
    "shift_by_flags",
    "square",
    "square_root",
    "subtract",
    "table",
]
