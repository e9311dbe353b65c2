"""Machine code for a LUT step: several passes on the same few lines, in one loop over rows.

The rule: a fused step is made from its passes alone, in their order, tag then write,
with every tag counted; it only spares the way of the cells to memory and back between
two passes.  Code is kept on disk under a digest of its own source and of the processor,
so that what is found there is what would be made.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from apsim.cam._compile import cache_folder
from apsim.cam._grouping import GIVEN, Pattern
from apsim.cam._plan import COUNTED, KNOWN
from apsim.program import Gate

__all__ = ["address"]

I64 = ir.IntType(64)
VECTOR = ir.VectorType(I64, 8)
NONE = ir.Constant(VECTOR, [0] * 8)

Gates = tuple[int, ...]
Limits = tuple[tuple[Any, bool], ...]

NAMES = (
    "planes", "words", "lines", "repeat", "first", "last", "full", "live", "tag", "totals", "steps",
)  # fmt: skip


@dataclass
class Loop:
    """The body of a fused step for one vector of rows."""

    build: Any
    pattern: Pattern
    counters: dict[tuple[int, str], Any]
    given: list[Any]  # bits that come at run time, as vectors, in the order of the pattern
    gates: Gates
    carries: dict[int, Any]  # carry into the column, for each pass with a gate that takes it

    def run(self, places: list[Any], start: Any, keep: Any) -> None:
        """Load every line once, carry out the passes on registers, store what was written."""
        build = self.build
        cells = [build.load(place, align=8) for place in places]
        given = iter(self.given)
        for number, (key, writes) in enumerate(self.pattern):
            tag = start
            for slot, bit in key:
                match = self.match(cells[slot], bit, given)
                tag = match if tag is None else build.and_(tag, match)
            tag = ir.Constant(VECTOR, [-1] * 8) if tag is None else tag
            tag = self.gated(number, tag) if self.gates else tag
            self.tally(number, "matched", tag)
            for slot, bit, mode in writes:
                old, cells[slot] = cells[slot], self.written(cells[slot], tag, bit, given)
                if mode == COUNTED:
                    self.tally(number, "flipped", build.xor(old, cells[slot]))
        for slot in sorted({slot for _, writes in self.pattern for slot, _, _ in writes}):
            build.store(cells[slot], places[slot], align=8)
        with build.if_then(build.icmp_signed("!=", keep, I64(0))):
            kept = build.inttoptr(keep, VECTOR.as_pointer())
            build.store(tag, kept, align=8)

    def gated(self, number: int, match: Any) -> Any:
        """Through the tag chain, from one column to the next: cin' = G | !K & cin."""
        build, gate = self.build, self.gates[number]
        if gate == Gate.LOAD_G:
            self.generate = match
        if gate == Gate.LOAD_K:
            self.kill = match
        if gate not in (Gate.LOAD_K, Gate.CARRY):
            return match
        into = build.load(self.carries[number])
        out = build.or_(self.generate, build.and_(build.not_(self.kill), into))
        build.store(out, self.carries[number])
        return build.and_(match, into)

    def match(self, cells: Any, bit: int, given: Iterator[Any]) -> Any:
        """Where the cells hold a bit; one given at run time comes as 0 for 1 and ones for 0."""
        if bit == GIVEN:
            return self.build.xor(cells, next(given))
        return cells if bit else self.build.not_(cells)

    def written(self, old: Any, tag: Any, bit: int, given: Iterator[Any]) -> Any:
        """The cells after a bit was written where the tag is; one given comes as ones for 1."""
        build = self.build
        if bit == GIVEN:
            return build.xor(old, build.and_(tag, build.xor(old, next(given))))
        return build.or_(old, tag) if bit else build.and_(old, build.not_(tag))

    def tally(self, number: int, what: str, bits: Any) -> None:
        if (number, what) not in self.counters:
            return
        build, total = self.build, self.counters[number, what]
        kind = ir.FunctionType(VECTOR, [VECTOR])
        ctpop = _function(build.module, kind, "llvm.ctpop.v8i64")
        build.store(build.add(build.load(total), build.call(ctpop, [bits])), total)


def source(pattern: Pattern, counted: bool = True, gates: Gates = ()) -> str:
    """The fused step as LLVM assembly.

    void step(planes, words, lines*, repeat, first, last, full, live, tag, totals*, steps):
    `lines` holds the lines, then what bits are given at run time, then, where some are,
    how many written lines flip with each match.  For each of `repeat` neighbouring columns,
    vectors `first` to `last` of the lines, of which those from `full` on are masked with
    line `live`; the last tag goes to line `tag` where that is >= 0.  Matched, written,
    flipped of pass p are added to totals[p], totals[steps + p], totals[2 * steps + p].
    Without `counted` nothing is added: a measure of what counting costs, for benchmarks.
    `gates` are those of the tag chain, one for each pass, where it runs across the columns.
    """
    module = ir.Module("fused")
    pointers = {"lines", "totals"}
    kinds = [I64.as_pointer() if name in pointers else I64 for name in NAMES]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), "step")
    function.attributes.add("nounwind")
    build = ir.IRBuilder(function.append_basic_block("entry"))
    args = dict(zip(NAMES, function.args, strict=True))
    _Body(build, pattern, counted, gates, args).emit()
    return str(module)


class _Body:
    def __init__(
        self, build: Any, pattern: Pattern, counted: bool, gates: Gates, args: dict[str, Any]
    ) -> None:
        self.build, self.pattern, self.counted, self.args = build, pattern, counted, args
        self.gates = gates
        self.carries = {k: self._variable(VECTOR, NONE) for k, gate in enumerate(gates) if gate}
        slots = [slot for key, writes in pattern for slot, *_ in (*key, *writes)]
        self.lines = 1 + max(slots, default=-1)
        self.bits = sum(bit == GIVEN for key, writes in pattern for _, bit, *_ in (*key, *writes))
        self.counters = {
            (number, what): self._variable(VECTOR, NONE)
            for number in range(len(pattern))
            for what in ("matched", "flipped")
            if counted
        }

    def emit(self) -> None:
        build, a = self.build, self.args
        self.numbers = [self._element(a["lines"], k) for k in range(self.lines)]
        given = [self._splat(self._element(a["lines"], self.lines + k)) for k in range(self.bits)]
        self.body = Loop(build, self.pattern, self.counters, given, self.gates, self.carries)
        index, column = self._variable(I64, I64(0)), self._variable(I64, I64(0))
        limits = (self._lower(a["last"], a["full"]), False), (a["last"], True)
        if self.gates:
            self._along_columns(index, column, limits)
        else:
            self._along_rows(index, column, limits)
        if self.counted:
            self._report()
        build.ret_void()

    def _along_rows(self, index: Any, column: Any, limits: Limits) -> None:
        """Column by column, all vectors of it."""
        build, a = self.build, self.args
        with _Until(build, column, a["repeat"]) as now:
            bases = [self._line(build.add(number, now)) for number in self.numbers]
            build.store(a["first"], index)
            for limit, masked in limits:
                with _Until(build, index, limit) as vector:
                    offset = build.shl(vector, I64(6))
                    places = [self._at(build.add(base, offset)) for base in bases]
                    start = self._load_line("live", offset) if masked else None
                    self.body.run(places, start, self._kept(offset))

    def _along_columns(self, index: Any, column: Any, limits: Limits) -> None:
        """Vector by vector, from the lowest column up, as the tag chain runs."""
        build, a = self.build, self.args
        build.store(a["first"], index)
        for limit, masked in limits:
            with _Until(build, index, limit) as vector:
                offset = build.shl(vector, I64(6))
                start = self._load_line("live", offset) if masked else None
                for carry in self.carries.values():
                    build.store(NONE, carry)
                build.store(I64(0), column)
                with _Until(build, column, a["repeat"]) as now:
                    bases = [self._line(build.add(number, now)) for number in self.numbers]
                    places = [self._at(build.add(base, offset)) for base in bases]
                    self.body.run(places, start, I64(0))

    def _report(self) -> None:
        build = self.build
        for number, (_, writes) in enumerate(self.pattern):
            matched = self._sum(self.counters[number, "matched"])
            flipped = self._sum(self.counters[number, "flipped"])
            known = I64(sum(mode == KNOWN and bit != GIVEN for _, bit, mode in writes))
            if self.bits:
                known = self._element(self.args["lines"], self.lines + self.bits)
            flipped = build.add(flipped, build.mul(matched, known))
            written = build.mul(matched, I64(len(writes)))
            for row, value in enumerate((matched, written, flipped)):
                place = build.add(build.mul(self.args["steps"], I64(row)), I64(number))
                place = build.gep(self.args["totals"], [place])
                build.store(build.add(build.load(place), value), place)

    def _variable(self, kind: Any, value: Any) -> Any:
        place = self.build.alloca(kind)
        self.build.store(value, place)
        return place

    def _element(self, array: Any, index: int) -> Any:
        return self.build.load(self.build.gep(array, [I64(index)]))

    def _splat(self, word: Any) -> Any:
        build, empty, number = self.build, ir.Constant(VECTOR, ir.Undefined), ir.IntType(32)
        one = build.insert_element(empty, word, number(0))
        return build.shuffle_vector(one, empty, ir.Constant(ir.VectorType(number, 8), [0] * 8))

    def _lower(self, a: Any, b: Any) -> Any:
        return self.build.select(self.build.icmp_signed("<", a, b), a, b)

    def _line(self, number: Any) -> Any:
        """Address of a line, in bytes."""
        build = self.build
        words = build.mul(number, self.args["words"])
        return build.add(self.args["planes"], build.shl(words, I64(3)))

    def _at(self, address: Any) -> Any:
        return self.build.inttoptr(address, VECTOR.as_pointer())

    def _load_line(self, name: str, offset: Any) -> Any:
        place = self.build.add(self._line(self.args[name]), offset)
        return self.build.load(self._at(place), align=8)

    def _kept(self, offset: Any) -> Any:
        """Where the last tag goes, 0 for nowhere."""
        build, tag = self.build, self.args["tag"]
        place = build.add(self._line(tag), offset)
        return build.select(build.icmp_signed(">=", tag, I64(0)), place, I64(0))

    def _sum(self, total: Any) -> Any:
        kind = ir.FunctionType(I64, [VECTOR])
        add = _function(self.build.module, kind, "llvm.vector.reduce.add.v8i64")
        return self.build.call(add, [self.build.load(total)])


def _function(module: Any, kind: Any, name: str) -> Any:
    return module.globals.get(name) or ir.Function(module, kind, name)


class _Until:
    """Loop while a variable is below a limit, then add one to it."""

    def __init__(self, build: Any, variable: Any, limit: Any) -> None:
        self.build, self.variable, self.limit = build, variable, limit

    def __enter__(self) -> Any:
        build = self.build
        blocks = [build.append_basic_block(name) for name in ("head", "body", "end")]
        self.head, body, self.end = blocks
        build.branch(self.head)
        build.position_at_end(self.head)
        now = build.load(self.variable)
        build.cbranch(build.icmp_signed("<", now, self.limit), body, self.end)
        build.position_at_end(body)
        self.now = now
        return now

    def __exit__(self, *failure: object) -> None:
        self.build.store(self.build.add(self.now, I64(1)), self.variable)
        self.build.branch(self.head)
        self.build.position_at_end(self.end)


@cache
def address(pattern: Pattern, counted: bool = True, gates: Gates = ()) -> int:
    """Where the machine code of a fused step begins, made or found on disk the first time."""
    text = source(pattern, counted, gates)
    machine = _machine()
    stored = _stored(text)
    code = stored.read_bytes() if stored and stored.is_file() else None
    if code is None:
        code = _compile(text, machine)
        _keep(stored, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return int(engine.get_function_address("step"))


_engines: list[Any] = []  # machine code lives as long as its engine


def _compile(text: str, machine: Any) -> bytes:
    module = llvm.parse_assembly(text)
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


def _machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=_features(), opt=2, codemodel="jitdefault", jit=True
    )


@cache
def _features() -> str:
    return str(llvm.get_host_cpu_features().flatten())


def _stored(text: str) -> Path | None:
    folder = cache_folder()
    name = f"{text} {llvm.get_host_cpu_name()} {_features()} {llvm.llvm_version_info}"
    return folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.o" if folder else None


def _keep(path: Path | None, code: bytes) -> None:
    """Written aside and renamed: whoever reads it finds all of it or nothing."""
    if path is None:
        return
    try:
        aside = path.with_suffix(f".{os.getpid()}")
        aside.write_bytes(code)
        aside.replace(path)
    except OSError:
        path.with_suffix(f".{os.getpid()}").unlink(missing_ok=True)
