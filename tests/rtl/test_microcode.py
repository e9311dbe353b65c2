"""Words of microcode say what the steps say: read back by a decoder of the test's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from apsim import functions
from apsim.errors import InputError, ProgramError
from apsim.program import Gate, Loop, Microprogram, Mode, Op, Step
from apsim.rtl import Load, expected, export
from apsim.rtl.microcode import assemble, halves, segments_are_contiguous
from tests.helpers.circuits import KINDS, all_functions, random_load

OPS = [Op.COMPARE, Op.WRITE, Op.WRITE_ALL, Op.READ, Op.WRITE_TAG, Op.WRITE_DATA]


def test_the_first_pass_of_the_adder_by_hand() -> None:
    """A B C = 1 1 0 -> B C = 0 1 at bit 0, on columns 0, 8 and 16 of 17"""
    code = assemble(functions.add(8, 64, kind="1d").program, 17)
    assert [f"{word:016x}" for word in code.words[16:18]] == [
        "000000080c040400",
        "0000080004040004",
    ]
    assert len(code.words) == 89


class Reader:
    """Takes fields off a word, from the lowest bit up."""

    def __init__(self, word: int) -> None:
        self.word = word

    def take(self, width: int, signed: bool = False) -> int:
        value = self.word & (1 << width) - 1
        self.word >>= width
        return value - (1 << width) if signed and value >> (width - 1) else value


def decoded(word: int, columns: int, lines: int, slot: int) -> dict[str, object]:
    """The fields of a word by name; keys as sets of (line, bit)."""
    reader, wide = Reader(word), int(columns).bit_length()
    found: dict[str, object] = {"last": reader.take(1), "end": reader.take(1)}
    found |= {"op": OPS[reader.take(3)], "mode": Mode(reader.take(1)), "gate": Gate(reader.take(3))}
    found["out"] = reader.take(1)
    mask, key = reader.take(columns), reader.take(columns)
    assert key & ~mask == 0
    bits = {(c, key >> c & 1) for c in range(columns) if mask >> c & 1}
    shift = reader.take(int(columns - 1).bit_length() + 2, signed=True)
    found |= {"shift": shift, "first": reader.take(wide), "width": reader.take(wide)}
    for _ in range(lines):
        used, bit, line = reader.take(1), reader.take(1), reader.take(slot)
        bits |= {(line, bit)} if used else set()
    assert reader.word == 0
    return found | {"bits": bits}


def named(step: Step) -> set[tuple[int, int]]:
    """The lines that a step keys or writes."""
    if step.op in (Op.WRITE, Op.WRITE_ALL):
        return set(step.write)
    whole = step.op in (Op.COMPARE, Op.READ) or step.mode is Mode.VERTICAL
    return set(step.key if whole else step.key[:1])


@pytest.mark.parametrize("seed", range(30))
def test_words_hold_what_the_steps_say(seed: int) -> None:
    """decode(encode(steps)) == steps, a pass being a compare and a write"""
    load = random_load(seed)
    code = assemble(load.program, load.columns)
    halved = [
        half
        for item in load.program.items
        for step in (item.body if isinstance(item, Loop) else (item,))
        for half in halves(step)
    ]
    assert len(halved) == len(code.words)
    for number, (step, word) in enumerate(zip(halved, code.words, strict=True)):
        found = decoded(word, load.columns, code.lines, code.slot)
        assert (found["op"], found["mode"], found["gate"]) == (step.op, step.mode, step.gate)
        assert found["bits"] == named(step)
        assert found["last"] == (number == len(halved) - 1)
        assert found["out"] == (step.op is Op.READ and step.port >= 0)
        moved = step.mode is Mode.VERTICAL and step.op in (Op.WRITE_TAG, Op.WRITE_DATA)
        assert (found["first"], found["width"]) == (step.target, step.width) or not moved
        if step.op is Op.WRITE_TAG and moved:
            wanted = step.target - step.source
            assert found["shift"] == max(-load.columns, min(load.columns, wanted))


@pytest.mark.parametrize("kind", KINDS)
def test_words_that_run_are_the_counts(kind: str) -> None:
    """len(trace) == compares + writes + reads of the program, counted apart from its run"""
    for _, function in all_functions(kind):
        cells = np.zeros((function.rows, function.columns), bool)
        data = np.zeros((2, function.rows), np.uint64)
        made = export(Load(function.program, cells, data, data.copy()))
        assert made.expected.counts == function.program.counts()
        assert len(made.expected.trace) == made.clocks == function.program.counts().total


def compare(**changes: object) -> Step:
    return replace(Step(Op.COMPARE, Mode.HORIZONTAL, ((0, 1),)), **changes)


VERTICAL = Step(Op.COMPARE, Mode.VERTICAL, ((0, 1), (1, 0)))
ROWS = np.array([[0, 1], [2, 3]])


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ((), "no steps"),
        ((compare(gate=Gate.CARRY),), "gates vertical compares only, got CARRY"),
        ((compare(key=((1, 0), (1, 1))),), "a line is keyed or written with both bits"),
        (
            (Loop((VERTICAL,), np.array([[4, 4]])),),
            "two slots with different bits are the same row",
        ),
        (
            (Loop((Step(Op.READ, Mode.VERTICAL, ((0, 1),), port=0, width=2),), ROWS, True),),
            "segments that act at once have no port",
        ),
    ],
)
def test_what_the_hardware_does_not_offer_is_refused(
    items: tuple[Step | Loop, ...], message: str
) -> None:
    with pytest.raises(ProgramError, match=message):
        assemble(Microprogram(items), 4)


def test_more_than_a_simulator_can_hold_is_refused() -> None:
    program = functions.add(2, 5000).program
    cells = np.zeros((5000, 5), bool)
    with pytest.raises(
        InputError, match=r"5000 rows and 23 operations are too much .* at most 4096"
    ):
        export(Load(program, cells))


def test_a_trace_too_long_to_keep_is_cut_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 x 9 cells, 8 row tags and 9 column tags after each of 45 clocks"""
    function = functions.add(4, 8, kind="1d")
    cells = np.zeros((function.rows, function.columns), bool)
    data = np.zeros((2, function.rows), np.uint64)
    load = Load(function.program, cells, data, data.copy())
    for most, lines in ((45 * 89 // 4, 45), (45 * 89 // 4 - 1, 1)):
        monkeypatch.setattr(expected, "MOST_TRACE", most)
        made = export(load)
        assert (made.expected.whole, len(made.expected.trace)) == (lines == 45, lines)


@pytest.mark.parametrize(
    ("rows", "contiguous"),
    [([[0, 1], [2, 3]], True), ([[0, 2], [4, 3]], True), ([[0, 2], [1, 3]], False)],
)
def test_segments_that_switches_cannot_form_are_told(
    rows: list[list[int]], contiguous: bool
) -> None:
    program = Microprogram((Loop((VERTICAL,), np.array(rows), parallel=True),))
    assert segments_are_contiguous(program) is contiguous
