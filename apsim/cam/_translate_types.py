"""Types of kernels in translation: numbers, words, flags, and packed arrays of them.

The rule: numbers are signed and words unsigned, both of 64 bits that wrap around; the two
sides of an operator have the same type.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from apsim.cam._native import ARRAYS

__all__ = [
    "ARRAY_TYPES", "COMPARISONS", "FLAG", "I64", "Array", "Name", "Nothing", "Scalar", "Tuple",
    "Value", "binary", "parts", "refused", "scalar_type",
]  # fmt: skip

I64, FLAG = ir.IntType(64), ir.IntType(1)

ARRAY_TYPES = {
    name: ("Word" if dtype == np.uint64 else "Number", count)
    for name, (dtype, count) in ARRAYS.items()
}
"""Element and dimensions of the arrays."""


@dataclass(frozen=True)
class Scalar:
    """A number, a word or a flag."""

    kind: str
    value: Any


@dataclass(frozen=True)
class Array:
    """C-contiguous elements."""

    kind: str  # of the elements
    place: Any
    shape: tuple[Any, ...]


@dataclass(frozen=True)
class Tuple:
    """Several scalars, given back at once or assigned at once."""

    parts: tuple[Scalar, ...]

    @property
    def kind(self) -> str:
        """As it is written in an annotation."""
        return f"tuple[{', '.join(part.kind for part in self.parts)}]"


@dataclass(frozen=True)
class Nothing:
    """What a call without result gives."""

    kind = "None"


@dataclass(frozen=True)
class Name:
    """A place for the values of a local name."""

    kind: str
    place: Any


Value = Scalar | Array | Tuple | Nothing

OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.BitAnd: "and_",
    ast.BitOr: "or_",
    ast.BitXor: "xor",
    ast.LShift: "shl",
}
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}


def refused(node: Any, why: str) -> NotImplementedError:
    """Why this kernel cannot be translated."""
    return NotImplementedError(f"line {node.lineno}: {why}: {ast.unparse(node)}")


def scalar_type(kind: str) -> Any:
    """The LLVM type of a number, a word or a flag."""
    return {"Number": I64, "Word": I64, "Flag": FLAG}[kind]


def parts(kind: str) -> list[str]:
    """The types in a tuple's type."""
    return kind.removeprefix("tuple[").removesuffix("]").split(", ")


def binary(build: Any, node: Any, op: ast.operator, left: Scalar, right: Scalar) -> Scalar:
    """`left op right`, both of one type."""
    if left.kind != right.kind or left.kind == "Flag":
        raise refused(node, f"{left.kind} and {right.kind} have no such operator")
    if isinstance(op, ast.RShift):
        shift = build.lshr if left.kind == "Word" else build.ashr
        return Scalar(left.kind, shift(left.value, right.value))
    if type(op) not in OPERATORS:
        raise refused(node, "no such operator in kernels")
    return Scalar(left.kind, getattr(build, OPERATORS[type(op)])(left.value, right.value))
