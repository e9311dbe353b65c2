"""What LiteRT's reference kernels make of every word: a table for each function.

The rule: every step is the kernels' own, in their order and width (float32 where they use
it, functions of the C library where they call them).  After transformer.md section 3, where
most were settled by execution; LOG, NEG, SQRT and functions of 16 bits in the same way.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from apsim.errors import ModelError
from apsim.nn.model import Integers, Tensor
from apsim.nn.rules import c_library
from apsim.nn.rules.litert import (
    TOP,
    away,
    high_multiply,
    looked_up,
    multiplied,
    multiplier_of,
    shifted,
    words_of,
)
from apsim.nn.rules.requantize import one_scale

__all__ = ["FUNCTIONS", "REAL", "SIGMOID", "sums_of", "table_of"]

Reals = npt.NDArray[np.float32]
ONE, HALF = np.float32(1), np.float32(0.5)
# round(65536 sigmoid(i / 24)), and one more at these i: LiteRT's table of 256 is not rounded
_ONE_MORE = (
    4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41,
    43, 44, 45, 46, 49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135,
)  # fmt: skip


def _sigmoid_table() -> Integers:
    values = np.rint(65536 / (1 + np.exp(-np.arange(256) / 24))).astype(np.int64)
    values[list(_ONE_MORE)] += 1
    values[255] = 65535
    return values


SIGMOID = _sigmoid_table()


def _clamped(values: Integers, y: Tensor) -> Integers:
    return np.clip(values + y.zero_point, y.lo, y.hi).astype(np.int64)


def _elu(x: Reals) -> Reals:
    return np.where(x < 0, c_library.function("expm1f")(x), x)


def _logistic(x: Reals) -> Reals:
    return np.asarray(ONE / (ONE + c_library.function("expf")(-x)))


def _gelu(x: Reals) -> Reals:
    return HALF * x * c_library.function("erfcf")(x * np.float32(-np.sqrt(0.5)))


def _gelu_tanh(x: Reals) -> Reals:
    inner = np.float32(0.7978845608028654) * (x + np.float32(0.044715) * x * x * x)
    return HALF * x * (ONE + c_library.function("tanhf")(inner))


def _log_above(least: np.float32) -> Callable[[Reals], Reals]:
    """The logarithm, and the least number of the output where there is none."""
    log = c_library.function("logf")
    return lambda x: np.where(x > 0, log(np.where(x > 0, x, ONE)), least)


REAL: dict[str, Callable[[Reals], Reals]] = {
    "LOGISTIC": _logistic,
    "TANH": c_library.function("tanhf"),
    "EXP": c_library.function("expf"),
    "ELU": _elu,
    "GELU": _gelu,
    "GELU_TANH": _gelu_tanh,
}


def _of_real(op: str, x: Tensor, y: Tensor, alpha: float) -> Integers:
    """away(f(f(g(f(sx (q - zx)))) * f(1 / sy))) + zy, each step in float32."""
    least = np.float32(one_scale(y)) * np.float32(y.lo - y.zero_point)
    function = _log_above(least) if op == "LOG" else REAL[op]
    if x.bits == 16:
        return _interpolated(function, x, y)
    reals = np.float32(one_scale(x)) * words_of(x).astype(np.float32)
    return _clamped(away(function(reals) * (ONE / np.float32(one_scale(y)))), y)


@np.errstate(over="ignore", invalid="ignore")  # which is asked for below
def _interpolated(function: Callable[[Reals], Reals], x: Tensor, y: Tensor) -> Integers:
    """A function of 16 bits by 513 entries in float32, each moved by half its midpoint's error."""
    ends = [np.float32(one_scale(x)) * np.float32(word) for word in (x.lo, x.hi)]
    reach = np.float32(one_scale(y)) * np.float32(y.hi) - np.float32(one_scale(y)) * np.float32(
        y.lo
    )
    step, unit = np.float32((ends[1] - ends[0]) / 512), np.float32(np.float32(65536) / reach)
    at = np.arange(513, dtype=np.float32)
    points = (ends[0] + at * step).astype(np.float32)
    values = (function(points) * unit).astype(np.float32)
    if not np.isfinite(values).all():
        worst = points[~np.isfinite(values)][0]
        raise ModelError(f"a function that is no finite number at {worst:.4g}, an entry of "
                         "LiteRT's table")  # fmt: skip
    own = away(values[:512]).astype(np.float32)
    middles = away(function((points[:512] + step / 2).astype(np.float32)) * unit)
    between = away((values[1:] + own) / np.float32(2)) - middles
    table = np.append(
        own - away(between / 2), away(function(np.array([ends[1]], np.float32)) * unit)
    )
    return looked_up(np.clip(table, y.lo, y.hi).astype(np.int64), words_of(x))


def _logistic16(x: Tensor) -> tuple[Integers, Integers]:
    """Sums for the tables of 16 bits: |v| in 1/512 or 1/256 of a table's step, and v."""
    scale = one_scale(x)
    mantissa, right = 3.0, 0
    if scale != 2.0**-12:
        mantissa = scale * 4096 * 3
        while mantissa <= 16383.5 and right < 32:
            mantissa, right = mantissa * 2, right + 1
    if mantissa >= 1 << 16 or right > 30:
        raise ModelError(f"an input scale of {scale:.4g}, for which LiteRT's kernel leaves 32 bits")
    nudge = 1 << (right - 1) if right else 0
    v = (words_of(x) * int(mantissa) + nudge) >> right
    return np.abs(v), v


def _sigmoid16(op: str, x: Tensor, y: Tensor, alpha: float) -> Integers:
    size, v = _logistic16(x)
    tanh = op == "TANH"
    bits = 8 if tanh else 9
    at, rest = size >> bits, size & ((1 << bits) - 1)
    low, high = SIGMOID[np.minimum(at, 255)], SIGMOID[np.minimum(at + 1, 255)]
    r = np.where(at >= 255, (65535 << 8) if tanh else (32767 << 10),
                 (low << bits) + rest * (high - low))  # fmt: skip
    if tanh:
        return np.where(v >= 0, r - (1 << 23) + 128, -r + (1 << 23) + 127) >> 8
    return np.where(v >= 0, r + 512, (1 << 25) - r + 511) >> 10


def _sigmoid(op: str, x: Tensor, y: Tensor, alpha: float) -> Integers:
    """LOGISTIC and TANH have an output scale of their own."""
    wide = x.bits == 16
    step = {("LOGISTIC", 8): 2.0**-8, ("TANH", 8): 2.0**-7}.get((op, x.bits), 2.0**-15)
    zero = 0 if wide else (y.lo if op == "LOGISTIC" else y.lo + 128)
    if (one_scale(y), y.zero_point) != (step, zero) or (wide and x.zero_point):
        raise ModelError(f"an output scale of {y.scale} and zero point {y.zero_point}; nearest "
                         f"supported form: {step} and {zero}")  # fmt: skip
    return _sigmoid16(op, x, y, alpha) if wide else _of_real(op, x, y, alpha)


def _hard_swish(op: str, x: Tensor, y: Tensor, alpha: float) -> Integers:
    sx, sy = np.float32(one_scale(x)), np.float32(one_scale(y))
    high = np.float32(sx * np.float32(1 / 128))
    outer, relu = (
        multiplier_of(float(np.float32(high / unit))) for unit in (sy, np.float32(3 / 32768))
    )
    (m, e), (n, f) = ((min((a + (1 << 15)) >> 16, 32767), b) for a, b in (outer, relu))
    if e > 0:
        raise ModelError("an output scale so fine that LiteRT does not take it")
    if min(e, f) < -15:
        raise ModelError("scales so fine that LiteRT's kernel shifts its 16-bit words by more "
                         "than 15")  # fmt: skip
    h = words_of(x) * 128
    product = high_multiply(h, m, 15)
    r = np.clip(h << (f - 1), -32768, 32767) if f > 0 else h
    r = high_multiply(r, n, 15)
    r = np.clip(r * 2, -32768, 32767) if f > 0 else shifted(r, -f)
    r = (r + 32768) >> 1
    both = r * product
    return _clamped(shifted(np.copysign(np.abs(both) >> 15, both).astype(np.int64), -e), y)


def _leaky_relu(op: str, x: Tensor, y: Tensor, alpha: float) -> Integers:
    sx, sy, v = np.float32(one_scale(x)), np.float32(one_scale(y)), words_of(x)
    above = multiplied(v, *multiplier_of(float(np.float32(sx / sy))))
    slope = float(np.float32(np.float32(sx * np.float32(alpha)) / sy))
    sign, power = (-1 if slope < 0 else 1), multiplier_of(abs(slope)) if slope else (0, 0)
    below = multiplied(v, sign * power[0], power[1])
    return _clamped(np.where(v >= 0, above, below), y)


def _inverse_square_root(v: int) -> tuple[int, int]:
    """(a, b) with 1 / sqrt(v) = a * 2**b / 2**31, by five steps of Newton's method."""
    if v <= 1:
        return TOP, 0
    s = 11
    while v >= 1 << 29:
        v, s = v // 4, s + 1
    bits = (32 - v.bit_length() - 1) // 2 - 1
    s, v = s - bits, v << (2 * bits)
    half, x = int(shifted(np.array([v >> 1]), 1)[0]), 1 << 28

    def times(a: int, b: int) -> int:
        return int(high_multiply(a, b))

    def sat(a: int) -> int:
        return min(max(a, -TOP - 1), TOP)

    for _ in range(5):
        cube = sat(times(times(x, x), x) << 6)
        x = sat((times((1 << 28) + (1 << 27), x) - times(half, cube)) << 3)
    x = times(x, 1518500250)
    return (x << -s, 0) if s < 0 else (x, -s)


def _rsqrt(op: str, x: Tensor, y: Tensor, alpha: float) -> Integers:
    if x.zero_point != x.lo:
        raise ModelError("a zero point above the least integer: roots of negative numbers")
    unit = np.float32(np.sqrt(np.float32(one_scale(x)))) * np.float32(one_scale(y))
    m, e = multiplier_of(float(np.float32(np.float32(1) / unit)))
    lines = []
    for v in range(1, y.hi - y.lo + 1):
        a, b = _inverse_square_root(v)
        root = multiplied(np.array([1]), a, b + 20)
        lines.append(int(multiplied(root, m, e - 20)[0]))
    return np.concatenate([[y.hi], _clamped(np.array(lines), y)])


def _bounded(lo: float, hi: float) -> Callable[[str, Tensor, Tensor, float], Integers]:
    """RELU and its kin where they stand alone: rescaled if need be, then clamped."""

    def make(op: str, x: Tensor, y: Tensor, alpha: float) -> Integers:
        ratio = float(np.float32(np.float32(one_scale(x)) / np.float32(one_scale(y))))
        sy = np.float32(one_scale(y))
        ends = [
            y.zero_point + int(away(np.float32(end) / sy)) if np.isfinite(end) else None
            for end in (lo, hi)
        ]
        low = y.lo if ends[0] is None else max(y.lo, ends[0])
        high = y.hi if ends[1] is None else min(y.hi, ends[1])
        moved = y.zero_point + multiplied(words_of(x), *multiplier_of(ratio))
        return np.clip(moved, low, high)

    return make


def _from_real(op: str, x: Tensor, y: Tensor, alpha: float) -> Integers:
    """QUANTIZE of what DEQUANTIZE gave: away(f(f(sx (q - zx)) / sy)) + zy."""
    reals = np.float32(one_scale(x)) * words_of(x).astype(np.float32)
    return _clamped(away(reals / np.float32(one_scale(y))), y)


def _copied(op: str, x: Tensor, y: Tensor, alpha: float) -> Integers:
    """What CONCATENATION of 8-bit unsigned words makes of one of another scale or zero point."""
    if (x.scale, x.zero_point) == (y.scale, y.zero_point):
        return words_of(x) + x.zero_point
    c = np.float32(np.float32(one_scale(x)) * np.float32(1 / np.float32(one_scale(y))))
    shift = np.float32(np.float32(-x.zero_point) * c)
    q = (words_of(x) + x.zero_point).astype(np.float32)
    return _clamped(away(q * c + shift), y)


def _absolute(op: str, x: Tensor, y: Tensor, alpha: float) -> Integers:
    ratio = float(np.float32(np.float32(one_scale(x)) / np.float32(one_scale(y))))
    values = np.abs(words_of(x))
    same = one_scale(x) == one_scale(y)
    return _clamped(values if same else multiplied(values, *multiplier_of(ratio)), y)


def _negative(op: str, x: Tensor, y: Tensor, alpha: float) -> Integers:
    """The word negated, the least one wrapping to itself."""
    if one_scale(x) != one_scale(y) or x.zero_point or y.zero_point:
        raise ModelError(
            "a negation of words with unequal scales or a zero point, which LiteRT overlooks; "
            "nearest supported form: equal scales, zero point 0"
        )
    values = -words_of(x)
    return np.where(values > x.hi, x.lo, values)


def _root(op: str, x: Tensor, y: Tensor, alpha: float) -> Integers:
    """floor(sqrt(f(sx (q - zx))) / sy) + zy in float32."""
    if x.zero_point != x.lo:
        raise ModelError("a zero point above the least integer: roots of negative numbers")
    root = np.sqrt(np.float32(one_scale(x)) * words_of(x).astype(np.float32))
    return _clamped(np.floor(root / np.float32(one_scale(y))).astype(np.int64), y)


FUNCTIONS: dict[str, Callable[[str, Tensor, Tensor, float], Integers]] = {
    "LOGISTIC": _sigmoid, "TANH": _sigmoid, "EXP": _of_real, "ELU": _of_real, "GELU": _of_real,
    "GELU_TANH": _of_real, "HARD_SWISH": _hard_swish, "LEAKY_RELU": _leaky_relu,
    "RSQRT": _rsqrt, "RELU": _bounded(0, np.inf), "RELU6": _bounded(0, 6),
    "RELU_N1_TO_1": _bounded(-1, 1), "RELU_0_TO_1": _bounded(0, 1), "ABS": _absolute,
    "QUANTIZE": _from_real, "CONCATENATION": _copied, "LOG": _of_real, "NEG": _negative,
    "SQRT": _root,
}  # fmt: skip


def sums_of(sums: Tensor, words: int, x: Tensor, y: Tensor) -> Integers:
    """What LiteRT's default SUM makes of every sum of `words` words of `x`, in float32.

    away(f(f(sum r) + f(f(-zx r) words))) + zy, with r = f(sx / sy).
    """
    ratio = np.float32(one_scale(x)) / np.float32(one_scale(y))
    bias = np.float32(np.float32(-x.zero_point) * ratio) * np.float32(words)
    every = np.arange(sums.lo, sums.hi + 1, dtype=np.int64).astype(np.float32)
    return _clamped(away(every * ratio + bias), y)


def table_of(op: str, x: Tensor, y: Tensor, alpha: float = 0.0) -> Integers:
    """What LiteRT makes of every word of `x`, in ascending order: int64 [2 ** bits].

    Raises `ModelError` where LiteRT takes no such scale or zero point.
    """
    if x.bits > 16:
        raise ModelError(f"a table of {x.bits}-bit words; nearest supported form: 16 bits")
    return FUNCTIONS[op](op, x, y, alpha)
