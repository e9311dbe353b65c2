"""The newest version of each operator whose meaning is known here.

The rule: as LiteRT 2.3.0 registers its kernels.  A later version may mean something else, and
is refused by name.
"""

from __future__ import annotations

from apsim.errors import ModelError
from apsim.nn.importers.tflite_file import Operator

__all__ = ["NEWEST", "require"]

# operators by their newest version
_BY_VERSION: dict[int, str] = {
    1: (
        "ASSIGN_VARIABLE BROADCAST_ARGS CALL_ONCE CEIL ELU EXPAND_DIMS FLOOR HARD_SWISH "
        "LOGICAL_AND LOGICAL_NOT LOGICAL_OR NEG NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 "
        "PRELU RANK READ_VARIABLE RELU_0_TO_1 RELU_N1_TO_1 RESHAPE ROUND SHAPE SQUARE "
        "VAR_HANDLE ZEROS_LIKE"
    ),
    2: (
        "DEPTH_TO_SPACE DIV EXP FLOOR_MOD GREATER L2_NORMALIZATION LEAKY_RELU LESS_EQUAL LOG "
        "LOG_SOFTMAX RANGE REDUCE_PROD SELECT_V2 SPACE_TO_DEPTH SQRT SQUARED_DIFFERENCE "
        "SQUEEZE SUM"
    ),
    3: (
        "ARG_MAX ARG_MIN AVERAGE_POOL_2D FLOOR_DIV GELU GREATER_EQUAL LESS LOGISTIC "
        "MAX_POOL_2D MEAN MIRROR_PAD REDUCE_MAX REDUCE_MIN RELU RELU6 RSQRT SPLIT_V TANH TILE "
        "TOPK_V2"
    ),
    4: (
        "BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_TO MAXIMUM MINIMUM NOT_EQUAL "
        "RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 SELECT SOFTMAX SPACE_TO_BATCH_ND "
        "SVDF UNIDIRECTIONAL_SEQUENCE_LSTM"
    ),
    5: (
        "ABS EQUAL FILL PACK SPLIT SUB TRANSPOSE_CONV"
    ),
    6: (
        "ADD GATHER_ND PAD PADV2 QUANTIZE UNPACK"
    ),
    7: (
        "CONCATENATION DEPTHWISE_CONV_2D"
    ),
    8: (
        "CONV_2D GATHER MUL SLICE STRIDED_SLICE"
    ),
    9: (
        "CAST DEQUANTIZE TRANSPOSE"
    ),
    14: (
        "FULLY_CONNECTED"
    ),
}  # fmt: skip
NEWEST = {op: version for version, names in _BY_VERSION.items() for op in names.split()}


def require(operator: Operator) -> None:
    """Raise `ModelError` for a version that is newer than what is known."""
    newest = NEWEST.get(operator.op, operator.version)
    if operator.version > newest:
        raise ModelError(
            f"version {operator.version}; nearest supported form: version {newest} or below"
        )
