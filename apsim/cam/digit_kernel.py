"""The kernel of sums whose weights are digits: the rows of a group of outputs, and their walk.

The rule: what runs is Python, generated from the passes of the LUTs that are given, each with
its own tag; numbers that a frame and a row hold are named here.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator
from functools import cache
from textwrap import indent

from apsim.cam.jit import Operation, kernel
from apsim.cam.vector import invoke, pointer
from apsim.errors import ProgramError

__all__ = [
    "COUNT",
    "FRAME",
    "LUTS",
    "OUT",
    "START",
    "TOTAL",
    "J",
    "Luts",
    "groups",
    "walk_of",
]

Bits = tuple[tuple[str, int], ...]
Luts = tuple[tuple[str, tuple[tuple[Bits, Bits], ...]], ...]
"""By name, the passes of LUTs on columns A, B and C: keys and writes, in order."""

LUTS = "add_first", "sub_first", "add", "sub", "increment", "decrement", "ha2d", "fa3"

# Numbers of a frame; those of vectors stand at addresses, by vector.
CELLS, STRIDE, LIVE, ALIVE, WEIGHT, FIRST, LAST = range(7)
DATA, DATA_WORD, DATA_PLANE, OUT, OUT_WORD, OUT_PLANE = range(7, 13)
BITS, WIDTH, SHORT, TOGETHER, CHUNK, OUTPUTS, J = range(13, 20)  # M, W, WQ, T, q, i, J
WEIGHTS, PRESETS, STOP, COMMON, COMMONS, RECEIVED, BOUNDS = range(20, 27)
TOTALS, COUNT, FRAME = range(27, 30)  # at FRAME and after it: where received sums stand

# What a row does, in its lowest four bits; two columns of 16 bits, and a ripple or a number.  Its
# value is how many bits are added, the address of what is populated, a preset, or an output.
ADD, SUBTRACT, MERGE, POPULATE, SHORT_PRESET, START, READ = range(7)

# Totals, of all vectors: lines that passes, writes without a compare and reads were carried
# out on, how often the hardware carries them out, and the rest of an `Activity`.
TOTAL = 10

TEXT = """\
from apsim.cam.digit_kernel import (
    ADD, ALIVE, CELLS, COMMON, COUNT, DATA_PLANE, FIRST, LAST, LIVE, MERGE, OUT, OUT_PLANE,
    OUT_WORD, POPULATE, PRESETS, READ, SHORT, SHORT_PRESET, START, STRIDE, SUBTRACT, TOTALS,
    WEIGHT, WIDTH,
)
from apsim.cam.vector import load, nothing, ones, pointer, splat, store, total


def walk(frame, rows):
    width, short, common = frame[WIDTH], frame[SHORT], frame[COMMON]
    totals, presets = pointer(frame[TOTALS]), pointer(frame[PRESETS])
    for v in range(frame[FIRST], frame[LAST]):
        carry = frame[CELLS] + (v - frame[FIRST]) * frame[STRIDE]
        alive, times = pointer(frame[ALIVE])[v], pointer(frame[WEIGHT])[v]
        living = load(frame[LIVE], v)
        passes = writes = reads = cells = 0
        flips = found = nothing()
{counters}
        for n in range(frame[COUNT]):
            row, value = rows[2 * n], rows[2 * n + 1]
            op, at_a = row & 15, carry + 64 * (row >> 4 & 65535)
            at_b, more = carry + 64 * (row >> 20 & 65535), row >> 36
            if op == ADD:
                a, b, c = load(at_a, 0), load(at_b, 0), load(carry, 0)
{add_first}
                store(at_b, 0, b)
                for k in range(1, value):
                    a, b = load(at_a, k), load(at_b, k)
{add}
                    store(at_b, k, b)
                for k in range(value, value + more):
                    b = load(at_b, k)
{increment}
                    store(at_b, k, b)
                store(carry, 0, c)
            elif op == SUBTRACT:
                a, b, c = load(at_a, 0), load(at_b, 0), load(carry, 0)
{sub_first}
                store(at_b, 0, b)
                for k in range(1, value):
                    a, b = load(at_a, k), load(at_b, k)
{sub}
                    store(at_b, k, b)
                for k in range(value, value + more):
                    b = load(at_b, k)
{decrement}
                    store(at_b, k, b)
                store(carry, 0, c)
            elif op == MERGE:
                a, b, c = load(at_a, 0), load(at_b, 0), load(carry, 0)
{ha2d}
                store(at_a, 0, a)
                store(at_b, 0, b)
                for k in range(1, value):
                    a, b = load(at_a, k), load(at_b, k)
{fa3}
                    store(at_a, k, a)
                    store(at_b, k, b)
                for k in range(value, value + more):
                    b = load(at_b, k)
{increment}
                    store(at_b, k, b)
                store(carry, 0, c)
            elif op == POPULATE:
                for k in range(more):
                    b = load(value + k * frame[DATA_PLANE], v)
                    flips += ones(b ^ load(at_a, k))
                    store(at_a, k, b)
                    writes += 1
                    cells += alive
            elif op == SHORT_PRESET:
                for k in range(short):
                    b = splat(-(value >> k & 1)) & living
                    flips += ones(b ^ load(at_a, k))
                    store(at_a, k, b)
                writes += 1
                cells += alive * short
            elif op == START:
                flips += ones(load(carry, 0))
                store(carry, 0, nothing())
                for o in range(more):
                    for k in range(width):
                        b = splat(-(presets[value + o] >> k & 1)) & living
                        flips += ones(b ^ load(at_a, o * width + k))
                        store(at_a, o * width + k, b)
                if value == 0:
                    for k in range(common):
                        flips += ones(load(at_b, k))
                        store(at_b, k, nothing())
                    cells += alive * common
                writes += 1
                cells += alive * (1 + more * width)
            elif op == READ:
                for k in range(width):
                    b = load(at_a, k)
                    found += ones(b)
                    store(frame[OUT] + value * frame[OUT_WORD] + k * frame[OUT_PLANE], v, b)
                    reads += 1
        matched = {matched}
        totals[0] += passes * alive
        totals[1] += writes * alive
        totals[2] += reads * alive
        totals[3] += passes * times
        totals[4] += writes * times
        totals[5] += reads * times
        totals[6] += matched
        totals[7] += total(found)
        totals[8] += cells + {written}
        totals[9] += total(flips) + {flipped}
"""


@kernel("void(int64, int64, int64, int64, int64)")
def groups(frame_address, rows_address, walk, first, last):  # type: ignore[no-untyped-def]
    """Make the rows of one group of outputs after another, and walk each group's.

    Of a chunk negative digits come first, and where a plan stops ripples they go to the bit
    length of what the accumulator then holds at most (`bound`).
    """
    frame, rows = pointer(frame_address), pointer(rows_address)
    bits, width, short, chunk = frame[BITS], frame[WIDTH], frame[SHORT], frame[CHUNK]
    words, weights, presets = frame[J], pointer(frame[WEIGHTS]), pointer(frame[PRESETS])
    stops, commons, bounds = frame[STOP], pointer(frame[COMMONS]), pointer(frame[BOUNDS])
    step = chunk if chunk else 1
    short_at = 1 + bits * step
    sums_at, full = short_at + short, short if chunk else width
    common_at = sums_at + frame[TOGETHER] * width
    received_at, size = common_at + frame[COMMON], (1 << bits) - 1
    for group in range(first, last):
        o0 = group * frame[TOGETHER]
        outputs = frame[OUTPUTS] - o0
        if outputs > frame[TOGETHER]:
            outputs = frame[TOGETHER]
        making = frame[COMMON] if o0 == 0 else 0
        rows[0] = START | sums_at << 4 | common_at << 20 | outputs << 36
        rows[1], n = o0, 1
        for t in range(outputs):
            bounds[t] = presets[o0 + t]
        for start in range(0, words, step):
            stop = start + step if start + step < words else words
            for j in range(start, stop):
                some, word = making, 1 + bits * (j - start)
                for o in range(o0, o0 + outputs):
                    some |= weights[o * words + j]
                if some:
                    rows[2 * n] = POPULATE | word << 4 | bits << 36
                    rows[2 * n + 1] = frame[DATA] + j * frame[DATA_WORD]
                    n += 1
            for j in range(start, stop if making else start):
                word, ripple = 1 + bits * (j - start), making - bits
                rows[2 * n] = ADD | word << 4 | common_at << 20 | ripple << 36
                rows[2 * n + 1] = bits
                n += 1
            for t in range(outputs):
                line, every, negative = (o0 + t) * words, 0, 0
                for j in range(line + start, line + stop):
                    every += (weights[j] ^ 3 * weights[j]) >> 1
                    negative += (weights[j] & ~(3 * weights[j])) >> 1
                if every == 0:
                    continue
                target, bound = sums_at + t * width, bounds[t]
                if chunk:
                    target, bound = short_at, negative * size
                    rows[2 * n] = SHORT_PRESET | short_at << 4
                    rows[2 * n + 1] = bound
                    n += 1
                end = 0 if stops else full
                for sign in range(2):
                    for j in range(start, stop):
                        weight, k, word = weights[line + j], 0, 1 + bits * (j - start)
                        left = ((3 * weight & ~weight) if sign else (weight & ~(3 * weight))) >> 1
                        bound += sign * left * size
                        while left and bound >> end:
                            end += 1
                        op = ADD if sign else SUBTRACT
                        while left:
                            if left & 1:
                                ripple = end - bits - k
                                rows[2 * n] = op | word << 4 | (target + k) << 20 | ripple << 36
                                rows[2 * n + 1] = bits
                                n += 1
                            left >>= 1
                            k += 1
                bounds[t] = bounds[t] + bound if chunk else bound
                if chunk:
                    top = end if stops else width
                    while top < width and bounds[t] >> top:
                        top += 1
                    at = sums_at + t * width
                    rows[2 * n] = MERGE | short_at << 4 | at << 20 | (top - end) << 36
                    rows[2 * n + 1] = end
                    n += 1
        for t in range(outputs if frame[COMMON] else 0):
            if commons[o0 + t]:
                op, ripple = ADD if commons[o0 + t] > 0 else SUBTRACT, width - frame[COMMON]
                rows[2 * n] = op | common_at << 4 | (sums_at + t * width) << 20 | ripple << 36
                rows[2 * n + 1] = frame[COMMON]
                n += 1
        for r in range(frame[RECEIVED]):
            for t in range(outputs):
                rows[2 * n] = POPULATE | received_at << 4 | width << 36
                rows[2 * n + 1] = frame[FRAME + r] + (o0 + t) * frame[OUT_WORD]
                rows[2 * n + 2] = ADD | received_at << 4 | (sums_at + t * width) << 20
                rows[2 * n + 3] = width
                n += 2
        for t in range(outputs):
            rows[2 * n], rows[2 * n + 1] = READ | (sums_at + t * width) << 4, o0 + t
            n += 1
        frame[COUNT] = n
        invoke(walk, frame, rows)


@cache
def walk_of(luts: Luts) -> Operation:
    """The walk with the passes of these LUTs."""
    passes = dict(luts)
    missing = [name for name in LUTS if name not in passes]
    if missing:
        raise ProgramError(f"digits: wanted the LUT {missing[0]!r}")
    kinds: set[tuple[int, int]] = set()
    steps = {name: list(_lut_step(passes[name], kinds)) for name in LUTS}
    counted = sorted(kinds)
    found = {f"n{w}{f}": (w, f) for w, f in counted}
    slots = {
        "counters": "\n".join(f"        {name} = nothing()" for name in found),
        "matched": " + ".join(f"total({name})" for name in found),
        "written": " + ".join(f"{w} * total({name})" for name, (w, _) in found.items()),
        "flipped": " + ".join(f"{f} * total({name})" for name, (_, f) in found.items()),
    }
    first = {"add_first", "sub_first", "ha2d"}
    for name, lines in steps.items():
        slots[name] = indent("\n".join(lines), " " * (16 if name in first else 20))
    text = TEXT.format(**slots)
    name = f"<digits {abs(hash(text)):x}>"
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    scope: dict[str, Callable[..., None]] = {"__name__": __name__}  # type: ignore[dict-item]
    exec(compile(text, name, "exec"), scope)
    return Operation(scope["walk"], text)


def _lut_step(
    passes: tuple[tuple[Bits, Bits], ...], kinds: set[tuple[int, int]]
) -> Iterator[str]:  # fmt: skip
    """Passes on a, b and c, each counted among those that write and flip as many cells."""
    for key, writes in passes:
        if not any(bit for _, bit in key):
            raise ProgramError("digits: a pass must not match a row of zeros")
        held = dict(key)
        sure = [(name, bit) for name, bit in writes if held.get(name, bit) != bit]
        kinds.add((len(writes), len(sure)))
        yield f"t = {' & '.join(('' if bit else '~') + name.lower() for name, bit in key)}"
        yield f"n{len(writes)}{len(sure)} += ones(t)"
        yield "passes += 1"
        for name, bit in writes:
            cell = name.lower()
            if name not in held:
                yield f"flips += ones(t & {'~' if bit else ''}{cell})"
                yield f"{cell} = {cell} | t" if bit else f"{cell} = {cell} & ~t"
            elif held[name] != bit:
                yield f"{cell} = {cell} ^ t"
