"""Python to LLVM assembly, for the little of it that kernels are written in.

The rule: names are 64-bit numbers, words, flags or arrays of them, as annotated or as first
assigned; the two sides of an operator have the same type.  What is not in this module is
refused with its line, never guessed.  Statements are here, values in `_translate_values`,
types in `_translate_types`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from llvmlite import ir

from apsim.cam._compile import SOURCES
from apsim.cam._translate_types import (
    ARRAY_TYPES,
    I64,
    Array,
    Scalar,
    Tuple,
    Value,
    binary,
    parts,
    refused,
    scalar_type,
)
from apsim.cam._translate_values import Values

__all__ = ["translated"]


def translated(function: Callable[..., Any]) -> str:
    """A kernel and its leaves as assembly: void entry(int64* arguments).

    The arguments stand in their order: a number as it is, an array as address and shape.
    """
    program = Program()
    body = program.leaf(function).made
    kind = ir.FunctionType(ir.VoidType(), [I64.as_pointer()])
    entry = ir.Function(program.module, kind, "entry")
    build = ir.IRBuilder(entry.append_basic_block("entry"))
    given = [build.load(build.gep(entry.args[0], [I64(place)])) for place in range(len(body.args))]
    pairs = zip(given, body.args, strict=True)
    build.call(body, [_as(build, number, to.type) for number, to in pairs])
    build.ret_void()
    return str(program.module)


def _as(build: Any, number: Any, kind: Any) -> Any:
    return build.inttoptr(number, kind) if isinstance(kind, ir.PointerType) else number


class Program:
    """A module of functions, each translated once."""

    def __init__(self) -> None:
        self.module = ir.Module("kernel")
        self._done: dict[Callable[..., Any], Body] = {}

    def leaf(self, function: Callable[..., Any]) -> Body:
        """The LLVM function of a Python function."""
        if function not in self._done:
            self._done[function] = Body(self, function)
        return self._done[function]


@cache
def _functions(path: str) -> dict[str, ast.FunctionDef]:
    """The functions of a file, as it stood when its digest was taken."""
    tree = ast.parse(SOURCES.get(path) or Path(path).read_bytes())
    return {part.name: part for part in tree.body if isinstance(part, ast.FunctionDef)}


class Body(Values):
    """One function: its arguments, then its statements, one after another."""

    def __init__(self, program: Program, function: Any) -> None:
        self.program, self.globals, self.names = program, function.__globals__, {}
        node = _functions(function.__code__.co_filename)[function.__name__]
        self.takes = [ast.unparse(arg.annotation) for arg in node.args.args if arg.annotation]
        self.gives = ast.unparse(node.returns) if node.returns else "None"
        kinds = [part for kind in self.takes for part in _pieces(kind)]
        result = ir.VoidType() if self.gives == "None" else _result(self.gives)
        self.made = ir.Function(
            program.module,
            ir.FunctionType(result, kinds),
            program.module.get_unique_name(function.__name__),
        )
        self.made.linkage = "internal"
        for attribute in ("nounwind", "alwaysinline"):
            self.made.attributes.add(attribute)
        self.build = ir.IRBuilder(self.made.append_basic_block("names"))
        self.entry, first = self.build.block, self.made.append_basic_block("first")
        self.build.branch(first)
        self.build.position_at_end(first)
        self._take([arg.arg for arg in node.args.args])
        self.run(node.body)
        if not self.build.block.is_terminated:
            self.build.ret_void() if self.gives == "None" else self.build.unreachable()

    def _take(self, names: list[str]) -> None:
        """The arguments: arrays stay what they are, others may be assigned to."""
        pieces = iter(self.made.args)
        for name, kind in zip(names, self.takes, strict=True):
            if kind in ARRAY_TYPES:
                element, count = ARRAY_TYPES[kind]
                place, *shape = (next(pieces) for _ in range(count + 1))
                self.names[name] = Array(element, place, tuple(shape))
            else:
                self.assign_name(name, Scalar(kind, next(pieces)))

    def run(self, statements: list[ast.stmt]) -> None:
        """Translate statements; what follows a `return` is left out."""
        for statement in statements:
            if self.build.block.is_terminated:
                return
            what = getattr(self, f"do_{type(statement).__name__}", None)
            if what is None:
                raise refused(statement, "no such statement in kernels")
            what(statement)

    def do_Pass(self, node: ast.Pass) -> None:
        """Nothing."""

    def do_Expr(self, node: ast.Expr) -> None:
        """A call for its effect, or a docstring."""
        if not isinstance(node.value, ast.Constant):
            self.value(node.value)

    def do_Return(self, node: ast.Return) -> None:
        """Leave with a value, of the type that is written down, or without."""
        if node.value is None:
            self.build.ret_void()
            return
        value = self.value(node.value)
        if value.kind != self.gives:
            raise refused(node, f"{value.kind} returned, {self.gives} written down")
        self.build.ret(value.value if isinstance(value, Scalar) else self.packed(node, value))

    def do_Assign(self, node: ast.Assign) -> None:
        """One target, or a tuple of them."""
        if len(node.targets) > 1:
            raise refused(node, "one target, or one tuple of them")
        target, value = node.targets[0], self.value(node.value)
        if not isinstance(target, ast.Tuple):
            self._assign(target, value)
            return
        if not isinstance(value, Tuple):
            raise refused(node, "a tuple is assigned from a tuple")
        for one, part in zip(target.elts, value.parts, strict=True):
            self._assign(one, part)

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        """`a += b`, its target looked up once."""
        if isinstance(node.target, ast.Name):
            kind, place = self.names[node.target.id].kind, self.names[node.target.id].place
        else:
            kind, place = self.element(node.target)
        old = Scalar(kind, self.build.load(place))
        new = binary(self.build, node, node.op, old, self.scalar(node.value))
        self.build.store(new.value, place)

    def _assign(self, target: ast.expr, value: Value) -> None:
        if not isinstance(value, Scalar):
            raise refused(target, "numbers, words and flags can be assigned")
        if isinstance(target, ast.Name):
            self.assign_name(target.id, value)
            return
        kind, place = self.element(target)
        if kind != value.kind:
            raise refused(target, f"{value.kind} assigned to a {kind}")
        self.build.store(value.value, place)

    def do_If(self, node: ast.If) -> None:
        """Both sides, either of which may return."""
        with self.build.if_else(self.truth(node.test)) as (then, otherwise):
            with then:
                self.run(node.body)
            with otherwise:
                self.run(node.orelse)

    def do_While(self, node: ast.While) -> None:
        """Look, carry out, look again."""
        if node.orelse:
            raise refused(node, "no `else` of a loop in kernels")
        head, body, end = (self.made.append_basic_block(name) for name in ("head", "body", "end"))
        self.build.branch(head)
        self.build.position_at_end(head)
        self.build.cbranch(self.truth(node.test), body, end)
        self.build.position_at_end(body)
        self.run(node.body)
        if not self.build.block.is_terminated:
            self.build.branch(head)
        self.build.position_at_end(end)

    def do_For(self, node: ast.For) -> None:
        """`for name in range(first, last)`, with bounds that are looked at once."""
        call, target = node.iter, node.target
        if not (isinstance(call, ast.Call) and isinstance(target, ast.Name)) or node.orelse:
            raise refused(node, "loops run over a range")
        if ast.unparse(call.func) != "range" or len(call.args) > 2:
            raise refused(node, "loops run over a range")
        bounds = [self.number(bound) for bound in call.args]
        first, last = bounds if len(bounds) == 2 else (I64(0), *bounds)
        counter = self.variable(I64)
        self.build.store(first, counter)
        head, body, end = (self.made.append_basic_block(name) for name in ("head", "body", "end"))
        self.build.branch(head)
        self.build.position_at_end(head)
        now = self.build.load(counter)
        self.build.cbranch(self.build.icmp_signed("<", now, last), body, end)
        self.build.position_at_end(body)
        self.assign_name(target.id, Scalar("Number", now))
        self.run(node.body)
        if not self.build.block.is_terminated:
            self.build.store(self.build.add(now, I64(1)), counter)
            self.build.branch(head)
        self.build.position_at_end(end)


def _pieces(kind: str) -> list[Any]:
    """LLVM types of an argument: address and shape, or the value itself."""
    if kind not in ARRAY_TYPES:
        return [scalar_type(kind)]
    return [I64.as_pointer()] + [I64] * ARRAY_TYPES[kind][1]


def _result(kind: str) -> Any:
    if not kind.startswith("tuple["):
        return scalar_type(kind)
    return ir.LiteralStructType([scalar_type(part) for part in parts(kind)])
