"""Values in kernels: what an expression of Python comes to in LLVM assembly.

The rule: `and`, `or` and `a if b else c` look at their right side only where Python would.
Indices are neither checked nor wrapped.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir

from apsim.cam._translate_types import (
    ARRAY_TYPES,
    COMPARISONS,
    FLAG,
    I64,
    Array,
    Name,
    Nothing,
    Scalar,
    Tuple,
    Value,
    binary,
    parts,
    refused,
    scalar_type,
)

__all__ = ["Values"]


class Values:
    """Expressions inside a function that is being translated."""

    program: Any
    build: Any
    made: Any
    entry: Any
    globals: dict[str, Any]
    names: dict[str, Any]

    def variable(self, kind: Any) -> Any:
        """A place on the stack, made once however often the code around it runs."""
        with self.build.goto_block(self.entry):
            return self.build.alloca(kind)

    def assign_name(self, name: str, value: Scalar) -> None:
        """A local name takes the type of what is first assigned to it, and keeps it."""
        if name not in self.names:
            self.names[name] = Name(value.kind, self.variable(scalar_type(value.kind)))
        if self.names[name].kind != value.kind:
            raise NotImplementedError(f"{name} is a {self.names[name].kind}, not a {value.kind}")
        self.build.store(value.value, self.names[name].place)

    def value(self, node: ast.expr) -> Value:
        """The value of an expression."""
        what: Callable[[Any], Value] | None = getattr(self, f"of_{type(node).__name__}", None)
        if what is None:
            raise refused(node, "no such expression in kernels")
        return what(node)

    def scalar(self, node: ast.expr) -> Scalar:
        """The same, where an array would be out of place."""
        value = self.value(node)
        if not isinstance(value, Scalar):
            raise refused(node, "wanted one value")
        return value

    def number(self, node: ast.expr) -> Any:
        """The same, of a bound or an index."""
        value = self.scalar(node)
        if value.kind != "Number":
            raise refused(node, "wanted a number")
        return value.value

    def truth(self, node: ast.expr) -> Any:
        """Whether a value is a flag that is set, or not 0."""
        value = self.scalar(node)
        if value.kind == "Flag":
            return value.value
        return self.build.icmp_unsigned("!=", value.value, I64(0))

    def of_Constant(self, node: ast.Constant) -> Value:
        """True, False and whole numbers."""
        return self._constant(node, node.value)

    def _constant(self, node: Any, value: Any) -> Scalar:
        if isinstance(value, bool):
            return Scalar("Flag", FLAG(int(value)))
        if isinstance(value, (int, np.uint64)):
            return Scalar("Word" if isinstance(value, np.uint64) else "Number", I64(int(value)))
        raise refused(node, "not a number, a word or a flag")

    def of_Name(self, node: ast.Name) -> Value:
        """A local name, or a constant of the module."""
        if node.id not in self.names:
            return self._constant(node, self.globals.get(node.id))
        found = self.names[node.id]
        return (
            found if isinstance(found, Array) else Scalar(found.kind, self.build.load(found.place))
        )

    def of_Tuple(self, node: ast.Tuple) -> Value:
        """Several at once."""
        return Tuple(tuple(self.scalar(part) for part in node.elts))

    def packed(self, node: Any, value: Value) -> Any:
        """A tuple as one LLVM value."""
        if not isinstance(value, Tuple):
            raise refused(node, "no value that can be given back")
        whole = ir.Constant(
            ir.LiteralStructType([scalar_type(part.kind) for part in value.parts]), ir.Undefined
        )
        for index, part in enumerate(value.parts):
            whole = self.build.insert_value(whole, part.value, index)
        return whole

    def of_Subscript(self, node: ast.Subscript) -> Value:
        """An element of an array, or one of the lengths in its shape."""
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            array, index = self.value(node.value.value), node.slice
            if isinstance(array, Array) and isinstance(index, ast.Constant):
                return Scalar("Number", array.shape[int(str(index.value))])
        kind, place = self.element(node)
        return Scalar(kind, self.build.load(place))

    def element(self, node: ast.expr) -> tuple[str, Any]:
        """Type and place of an element, all of whose indices are given."""
        array = self.value(node.value) if isinstance(node, ast.Subscript) else None
        if not isinstance(node, ast.Subscript) or not isinstance(array, Array):
            raise refused(node, "no element of an array")
        indices = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        offset, build = I64(0), self.build
        for index, length in zip(indices, array.shape, strict=True):
            offset = build.add(build.mul(offset, length), self.number(index))
        return array.kind, build.gep(array.place, [offset])

    def of_BinOp(self, node: ast.BinOp) -> Value:
        """Arithmetic that wraps around."""
        left, right = self.scalar(node.left), self.scalar(node.right)
        return binary(self.build, node, node.op, left, right)

    def of_UnaryOp(self, node: ast.UnaryOp) -> Value:
        """`not`, `~` and `-`."""
        if isinstance(node.op, ast.Not):
            return Scalar("Flag", self.build.not_(self.truth(node.operand)))
        value = self.scalar(node.operand)
        if value.kind == "Flag" or isinstance(node.op, ast.UAdd):
            raise refused(node, "no such operator in kernels")
        turned = self.build.neg if isinstance(node.op, ast.USub) else self.build.not_
        return Scalar(value.kind, turned(value.value))

    def of_Compare(self, node: ast.Compare) -> Value:
        """Also several in a row, all of which are looked at."""
        values = [self.scalar(part) for part in (node.left, *node.comparators)]
        met = FLAG(1)
        for op, left, right in zip(node.ops, values, values[1:], strict=False):
            if left.kind != right.kind or type(op) not in COMPARISONS:
                raise refused(node, f"{left.kind} and {right.kind} are not compared so")
            signed = left.kind == "Number"
            compare = self.build.icmp_signed if signed else self.build.icmp_unsigned
            met = self.build.and_(met, compare(COMPARISONS[type(op)], left.value, right.value))
        return Scalar("Flag", met)

    def of_BoolOp(self, node: ast.BoolOp) -> Value:
        """From the left until the answer is known; always a flag."""
        met = self.truth(node.values[0])
        for part in node.values[1:]:
            met = self._joined(isinstance(node.op, ast.And), met, part)
        return Scalar("Flag", met)

    def _joined(self, both: bool, met: Any, part: ast.expr) -> Any:
        if both:
            return self._either(met, lambda: self.truth(part), lambda: met)
        return self._either(met, lambda: met, lambda: self.truth(part))

    def of_IfExp(self, node: ast.IfExp) -> Value:
        """One of two values of one type; only that one is worked out."""
        kinds: list[str] = []

        def worked_out(part: ast.expr) -> Any:
            value = self.scalar(part)
            kinds.append(value.kind)
            return value.value

        test = self.truth(node.test)
        value = self._either(test, lambda: worked_out(node.body), lambda: worked_out(node.orelse))
        if kinds[0] != kinds[1]:
            raise refused(node, f"either {kinds[0]} or {kinds[1]}")
        return Scalar(kinds[0], value)

    def _either(self, test: Any, one: Callable[[], Any], other: Callable[[], Any]) -> Any:
        found = []
        with self.build.if_else(test) as branches:
            for branch, work in zip(branches, (one, other), strict=True):
                with branch:
                    value = work()
                    found.append((value, self.build.block))
        result = self.build.phi(found[0][0].type)
        for value, block in found:
            result.add_incoming(value, block)
        return result

    def of_Call(self, node: ast.Call) -> Value:
        """`len`, `min`, `max`, `np.uint64`, `np.int64`, or a leaf."""
        name, args = ast.unparse(node.func), [self.value(arg) for arg in node.args]
        if node.keywords or not args:
            raise refused(node, "kernels call with arguments in their order")
        if isinstance(self.globals.get(name), FunctionType):
            return self._call(node, self.program.leaf(self.globals[name]), args)
        first = args[0]
        if name == "len" and isinstance(first, Array):
            return Scalar("Number", first.shape[0])
        if name in ("np.uint64", "np.int64") and isinstance(first, Scalar):
            flag = first.kind == "Flag"
            value = self.build.zext(first.value, I64) if flag else first.value
            return Scalar("Word" if name == "np.uint64" else "Number", value)
        if name in ("min", "max") and [arg.kind for arg in args] == ["Number", "Number"]:
            a, b = (arg.value for arg in args if isinstance(arg, Scalar))
            sign = "<" if name == "min" else ">"
            return Scalar("Number", self.build.select(self.build.icmp_signed(sign, a, b), a, b))
        raise refused(node, "no function that kernels can call")

    def _call(self, node: ast.Call, leaf: Any, args: list[Value]) -> Value:
        pieces: list[Any] = []
        for arg, wanted in zip(args, leaf.takes, strict=True):
            if isinstance(arg, Array) and ARRAY_TYPES.get(wanted) == (arg.kind, len(arg.shape)):
                pieces += (arg.place, *arg.shape)
            elif isinstance(arg, Scalar) and arg.kind == wanted:
                pieces.append(arg.value)
            else:
                raise refused(node, f"{wanted} wanted, {arg.kind} given")
        given, kinds = self.build.call(leaf.made, pieces), parts(leaf.gives)
        if leaf.gives == "None":
            return Nothing()
        if not leaf.gives.startswith("tuple["):
            return Scalar(leaf.gives, given)
        taken = (self.build.extract_value(given, index) for index in range(len(kinds)))
        return Tuple(tuple(map(Scalar, kinds, taken)))
