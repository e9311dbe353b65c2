"""What LiteRT's reference kernels compute, as integers: tables of functions, and softmax.

The rule: every step is the kernels' own, in their order and width (float32 where they use
it); which of their roundings truncate and which do not is stated here and nowhere else.
After transformer.md section 3, where each was settled by execution.
"""

from __future__ import annotations

from collections.abc import Callable
from math import frexp

import numpy as np
import numpy.typing as npt

from apsim.errors import ModelError
from apsim.nn.model import Integers, Tensor
from apsim.nn.rules.requantize import one_scale
from apsim.nn.rules.rounding import round_divide

__all__ = [
    "FUNCTIONS", "SIGMOID", "multiplied", "multiplier_of", "softmax", "table_of", "words_of",
]  # fmt: skip

Reals = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]
TOP = (1 << 31) - 1
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


def away(values: npt.ArrayLike) -> Integers:
    """Round to the nearest integer, ties away from zero."""
    wide = np.asarray(values, np.float64)
    return np.asarray(np.copysign(np.floor(np.abs(wide) + 0.5), wide), np.int64)


def multiplier_of(factor: float) -> tuple[int, int]:
    """QuantizeMultiplier: (M, e) with factor = M * 2**(e - 31), M of 31 bits; 0 if tiny."""
    fraction, power = frexp(factor)
    mantissa = int(np.floor(fraction * (1 << 31) + 0.5))
    if mantissa == 1 << 31:
        mantissa, power = mantissa >> 1, power + 1
    return (0, 0) if power < -31 else (mantissa, power)


def high_multiply(a: npt.ArrayLike, b: npt.ArrayLike, bits: int = 31) -> Integers:
    """Saturating rounding doubling high multiply of `bits`-bit fractions: 31 (or 15)."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    half, top = 1 << (bits - 1), (1 << bits) - 1
    nudged = product + np.where(product >= 0, half, 1 - half)
    return np.asarray(np.minimum(np.copysign(np.abs(nudged) >> bits, nudged), top), np.int64)


def shifted(values: Integers, right: int) -> Integers:
    """Shift right, ties away from zero."""
    return round_divide(np.asarray(values, np.int64), np.array([1 << right]), "half-away")


def multiplied(values: Integers, mantissa: int, power: int) -> Integers:
    """MultiplyByQuantizedMultiplier: values * M * 2**(e - 31), two roundings."""
    high = high_multiply(np.asarray(values, np.int64) << max(power, 0), mantissa)
    return shifted(high, max(-power, 0))


def words_of(tensor: Tensor) -> Integers:
    """Every word of a tensor in ascending order, less its zero point."""
    return np.arange(tensor.lo, tensor.hi + 1, dtype=np.int64) - tensor.zero_point


def _clamped(values: Integers, y: Tensor) -> Integers:
    return np.clip(values + y.zero_point, y.lo, y.hi).astype(np.int64)


def _exactly(
    function: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
) -> Callable[[Reals], Reals]:
    return lambda x: np.asarray(function(x.astype(np.float64)), np.float32)


def _erfc(x: Wide) -> Wide:
    from math import erfc

    return np.array([erfc(value) for value in x])


def _elu(x: Wide) -> Wide:
    return np.asarray(np.where(x < 0, np.expm1(x), x), np.float64)


def _logistic(x: Reals) -> Reals:
    one, power = np.float32(1), np.asarray(np.exp(-x.astype(np.float64)), np.float32)
    return one / (one + power)


def _gelu(x: Reals) -> Reals:
    half = np.float32(0.5) * x
    return half * np.asarray(_erfc((x * np.float32(-np.sqrt(0.5))).astype(np.float64)), np.float32)


def _gelu_tanh(x: Reals) -> Reals:
    inner = np.float32(0.7978845608028654) * (x + np.float32(0.044715) * x * x * x)
    tanh = np.asarray(np.tanh(inner.astype(np.float64)), np.float32)
    return np.float32(0.5) * x * (np.float32(1) + tanh)


REAL: dict[str, Callable[[Reals], Reals]] = {
    "LOGISTIC": _logistic,
    "TANH": _exactly(np.tanh),
    "EXP": _exactly(np.exp),
    "ELU": _exactly(_elu),
    "GELU": _gelu,
    "GELU_TANH": _gelu_tanh,
}


def _of_real(op: str, x: Tensor, y: Tensor, alpha: float) -> Integers:
    """away(f(f(g(f(sx (q - zx)))) * f(1 / sy))) + zy, each step in float32."""
    reals = np.float32(one_scale(x)) * words_of(x).astype(np.float32)
    steps = REAL[op](reals) * np.float32(1 / np.float32(one_scale(y)))
    return _clamped(away(steps), y)


def _logistic16(x: Tensor) -> tuple[Integers, Integers]:
    """Sums for the tables of 16 bits: |v| in 1/512 or 1/256 of a table's step, and v."""
    scale = one_scale(x)
    mantissa, right = 3.0, 0
    if scale != 2.0**-12:
        mantissa = scale * 4096 * 3
        while mantissa <= 16383.5:
            mantissa, right = mantissa * 2, right + 1
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


FUNCTIONS: dict[str, Callable[[str, Tensor, Tensor, float], Integers]] = {
    "LOGISTIC": _sigmoid, "TANH": _sigmoid, "EXP": _of_real, "ELU": _of_real, "GELU": _of_real,
    "GELU_TANH": _of_real, "HARD_SWISH": _hard_swish, "LEAKY_RELU": _leaky_relu,
    "RSQRT": _rsqrt, "RELU": _bounded(0, np.inf), "RELU6": _bounded(0, 6),
    "RELU_N1_TO_1": _bounded(-1, 1), "RELU_0_TO_1": _bounded(0, 1), "ABS": _absolute,
    "QUANTIZE": _from_real, "CONCATENATION": _copied,
}  # fmt: skip


def table_of(op: str, x: Tensor, y: Tensor, alpha: float = 0.0) -> Integers:
    """What LiteRT makes of every word of `x`, in ascending order: int64 [2 ** bits].

    Raises `ModelError` where LiteRT takes no such scale or zero point.
    """
    if x.bits > 16:
        raise ModelError(f"a table of {x.bits}-bit words; nearest supported form: 16 bits")
    return FUNCTIONS[op](op, x, y, alpha)


def softmax(values: Integers, factor: float, y: Tensor, bits: int) -> Integers:
    """LiteRT's integer softmax over the last axis of words of `bits` bits.

    `factor` is beta times the input's scale.  Needs no zero point: differences count.
    """
    difference = np.asarray(values, np.int64) - values.max(axis=-1, keepdims=True)
    return _softmax16(difference, factor) if bits == 16 else _softmax8(difference, factor, y)


def _saturated(values: Integers) -> Integers:
    return np.clip(values, -TOP - 1, TOP)


def _softmax8(d: Integers, factor: float, y: Tensor) -> Integers:
    m, e = multiplier_of(min(factor * (1 << 26), float(TOP)))
    least = -int(np.floor(31 * (1 << 26) / 2.0**e))
    inside = d >= least
    scaled = high_multiply(np.where(inside, d, 0) << max(e, 0), m)
    exponential = np.where(inside, _exp_negative(scaled), 0)
    total = shifted(exponential, 12).sum(axis=-1, keepdims=True)
    head = 32 - np.array([int(t).bit_length() for t in total.ravel()]).reshape(total.shape)
    over = 12 - head
    half = (((total << head) - (1 << 31)) + (1 << 31)) >> 1
    x = 1515870810 + high_multiply(half, -1010580540)
    for _ in range(3):
        x = x + _saturated(high_multiply(x, (1 << 29) - high_multiply(half, x)) << 2)
    scale = _saturated(2 * x)
    right = np.array([1], np.int64) << (over + 31 - y.bits)
    q = round_divide(high_multiply(scale, exponential), right, "half-away") + y.lo
    return np.asarray(np.where(inside, np.clip(q, y.lo, y.hi), y.lo))


_BARREL = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def _exp_negative(a: Integers) -> Integers:
    """exp of a <= 0 in Q5.26, as Q0.31."""
    t = (a & ((1 << 24) - 1)) - (1 << 24)
    x = (t << 5) + (1 << 28)
    x2 = high_multiply(x, x)
    x3, x4 = high_multiply(x2, x), high_multiply(x2, x2)
    inner = shifted(high_multiply(shifted(x4, 2) + x3, 715827883) + x2, 1)
    r = 1895147668 + high_multiply(x + inner, 1895147668)
    whole = t - a
    for bit, constant in enumerate(_BARREL):
        r = np.where((whole >> (24 + bit)) & 1, high_multiply(r, constant), r)
    return np.asarray(np.where(a == 0, TOP, r))


def _table513(function: Callable[[float], float], lo: float, hi: float) -> Integers:
    """513 entries that LiteRT interpolates between, each moved by half its midpoint's error."""
    step = (hi - lo) / 512
    entries = []
    for i in range(512):
        here, there = function(lo + i * step) * 32768, function(lo + (i + 1) * step) * 32768
        middle = function(lo + i * step + step / 2) * 32768
        own = float(away(here))
        between = float(away((there + own) / 2)) - float(away(middle))
        entries.append(own - float(away(between / 2)))
    entries.append(float(away(function(hi) * 32768)))
    return np.asarray(np.clip(np.array(entries), -32768, 32767), np.int64)


_EXP16 = _table513(lambda x: float(np.exp(x)), -10.0, 0.0)
_ONE_OVER16 = _table513(lambda x: 1 / (1 + x), 0.0, 1.0)


def _looked_up(table: Integers, v: Integers) -> Integers:
    at, offset = 256 + (v >> 7), v & 127
    return np.asarray(table[at] + (((table[at + 1] - table[at]) * offset + 64) >> 7))


def _softmax16(d: Integers, factor: float) -> Integers:
    m, e = multiplier_of(factor / (10 / 65535))
    z = np.clip(multiplied(d, m, e) + 32767, -32768, 32767)
    exponential = _looked_up(_EXP16, z)
    total = exponential.sum(axis=-1, keepdims=True)
    head = 32 - np.array([int(t).bit_length() for t in total.ravel()]).reshape(total.shape)
    w = ((total << (head - 1)) + (1 << 13)) >> 14
    c = _looked_up(_ONE_OVER16, np.clip(w - 98304, -32768, 32767))
    q = (exponential * c + (np.int64(1) << (30 - head))) >> (31 - head)
    return np.asarray(np.clip(q, 0, 32767))
