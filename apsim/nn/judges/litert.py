"""A TFLite file in LiteRT's reference kernels.

The rule: no delegate, one thread, kernels of BUILTIN_REF; a file with an operator that they
lack, or whose sums they read from memory that nobody wrote, is judged by the default ones, and
the title says so.  The outputs are those of the untouched run; tensors between come from a
second interpreter that keeps them all, and are believed where its outputs are the same.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from apsim.errors import InputError
from apsim.nn.judges.reading import Array, Feeds, Reading

__all__ = ["NAME", "Kernels"]

NAME = "LiteRT's reference kernels"
DEFAULT = "LiteRT's default kernels, for its reference kernels lack {}"
SIGNED = ("int8", "int16")
NUMBERS = ("int8", "uint8", "int16", "int32", "int64", "float32")


class Kernels:
    """LiteRT with one file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        with open(path, "rb") as stream:
            self.content = stream.read()
        self.title, self.kernels = NAME, OpResolverType.BUILTIN_REF
        first = self._opened()
        self.inputs = first.get_input_details()
        batches = [int(one["shape"][0]) for one in self.inputs if len(one["shape"]) > 1]
        self.batch: int | None = min(batches, default=1)
        self.made = [
            one for one in first.get_tensor_details()
            if np.dtype(one["dtype"]).name in NUMBERS
        ]  # fmt: skip

    def _opened(self) -> Any:
        """An interpreter of the kernels that can be believed."""
        try:
            found = self._interpreter(keep=True)
            lacking = "sums of signed words" * _any(found, "SUM", 0, SIGNED)
        except Exception as error:  # it has no kinds of its own
            name = re.search(r"builtin opcode '(\w+)'", str(error))
            if name is None:
                raise
            found, lacking = None, name[1]
        if _any(found, "SVDF", 4, ("int8",)):
            raise InputError(f"{NAME} write past the state of an SVDF that keeps it in int8")
        if lacking:
            self.title = DEFAULT.format(lacking)
            self.kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            found = self._interpreter(keep=True)
        return found

    def _interpreter(self, keep: bool) -> Any:
        made = Interpreter(
            model_content=self.content, num_threads=1,
            experimental_op_resolver_type=self.kernels, experimental_preserve_all_tensors=keep,
        )  # fmt: skip
        made.allocate_tensors()
        return made

    def read(self, feeds: Feeds, deadline: float = float("inf")) -> Reading:
        """The values of one call by the tensors' numbers, those of constants among them.

        Each call is a first one: interpreters are made anew, for some variables stay.
        """
        whole, inside = (self._interpreter(keep) for keep in (False, True))
        outputs, kept = self._run(whole, feeds), self._run(inside, feeds)
        values: dict[Any, Array] = {}
        if all(np.array_equal(kept[index], outputs[index]) for index in outputs):
            for one in self.made:
                value = _tensor(inside, one["index"])
                if value is not None:
                    values[one["index"]] = values[one["name"]] = value
        for detail in self.inputs:
            values[detail["index"]] = whole.get_tensor(detail["index"])
        values.update(outputs)
        return Reading(values)

    def _run(self, interpreter: Any, feeds: Feeds) -> dict[int, Array]:
        for detail, values in self._placed(feeds):
            shape = tuple(int(size) for size in detail["shape"])
            laid = values.reshape(shape) if values.size == math.prod(shape) else values
            interpreter.set_tensor(detail["index"], laid.astype(detail["dtype"]))
        interpreter.invoke()
        return {
            one["index"]: interpreter.get_tensor(one["index"])
            for one in interpreter.get_output_details()
        }

    def _placed(self, feeds: Feeds) -> list[tuple[Any, Array]]:
        """Each input with what is fed to it: by its name, or by its place."""
        names = [one["name"] for one in self.inputs]
        if len(set(names)) == len(names) and set(names) == set(feeds):
            return [(one, feeds[one["name"]]) for one in self.inputs]
        if len(names) != len(feeds):
            raise InputError(f"wanted an input for each of {names}, got {list(feeds)}")
        return list(zip(self.inputs, feeds.values(), strict=True))


def _any(interpreter: Any, op: str, place: int, types: Sequence[str]) -> bool:
    """Whether the file has an operator whose input at a place is of one of the types."""
    if interpreter is None:
        return False
    kinds = {one["index"]: np.dtype(one["dtype"]).name for one in interpreter.get_tensor_details()}
    return any(
        one["op_name"] == op and kinds.get(one["inputs"][place]) in types
        for one in interpreter._get_ops_details()
    )


def _tensor(interpreter: Any, index: int) -> Array | None:
    try:
        return np.asarray(interpreter.get_tensor(index))
    except ValueError:  # a tensor that nothing made
        return None
