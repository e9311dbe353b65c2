"""Good files made bad: bytes cut, flipped, swapped; JSON, TOML, archives, ONNX from inside.

The rule: a mutation is a pure function of bytes and of a seeded generator, so that a number
names a case for ever.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np

__all__ = ["in_archive", "in_bytes", "in_json", "in_onnx", "in_text"]

Mutation = Callable[[bytes, Random], bytes]
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 64, 65, 2**31, 2**62, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.0,
    1e308, float("inf"), float("nan"), "", "x", "\x1b]0;PWN\x07", "\u202e", "\ud800", "é" * 300, [],
    {}, [[]], [0], [1] * 300, {"a": {"a": {}}}, {"array": []}, {"array": "model.json"}, "²", "1e9",
)  # fmt: skip
ODD_TEXT = (
    "", "0", "-1", "1e999", "nan", "inf", "9" * 30, "9" * 5000, "²", "\x00", "\x1b[31m", "[" * 2000,
    "a." * 2000 + "a = 1\n", "[[x]]\n", "''", '"""', "= =", "\ufeff", "x" * 200_000, ",", "\n\n",
    "true", "[]", "{}", "{ value = 1 }", "1970-01-01", "-", "10x8", "0x10",
    "extends = 'self.toml'\n",
)  # fmt: skip


def in_bytes(good: bytes, random: Random) -> bytes:
    """Bytes cut, flipped, swapped, doubled, left out or grown."""
    at, size = random.randrange(len(good) + 1), random.choice((1, 2, 4, 16, 256))
    end = min(at + size, len(good))
    other = random.randrange(len(good) + 1)
    flipped = bytearray(good)
    for _ in range(random.choice((1, 1, 2, 8))):
        flipped[random.randrange(len(good))] ^= 1 << random.randrange(8)
    odd = random.choice((b"\xff" * 8, b"\x00" * 8, b"\xff\xff\xff\x7f", bytes(range(16))))
    return random.choice((
        good[:at], bytes(flipped), bytes(flipped), good[:at] + good[end:],
        good[:at] + odd + good[at:],
        good[:at] + odd + good[at + len(odd) :], good[:at] + good[at:end] * 200 + good[end:],
        good[other:] + good[:other], good + good, b"", b"\x00" * 100,
    ))  # fmt: skip


def in_text(good: bytes, random: Random) -> bytes:
    """A word, a number or a line of a text replaced, doubled or left out."""
    text = good.decode()
    pattern = random.choice((r"-?[\d.]+", r"\w+", r"[^\n]*\n", r'"[^"\n]*"', r"[=,\[\]{}|]"))
    found = list(re.finditer(pattern, text))
    if not found:
        return in_bytes(good, random)
    spot = random.choice(found)
    new = random.choice((*ODD_TEXT, spot[0] * 2, random.choice(found)[0]))
    return (text[: spot.start()] + new + text[spot.end() :]).encode("utf-8", "surrogatepass")


def in_json(good: bytes, random: Random) -> bytes:
    """An entry of a JSON text replaced by an odd one, left out, renamed, doubled or nested."""
    document = json.loads(good)
    _spoil(document, random)
    text = json.dumps(document)
    if random.random() < 0.1:
        text = text.replace(": ", ": " + "[" * random.choice((70, 50_000)), 1)
    return text.encode()


def _spoil(document: Any, random: Random) -> None:
    holder, key = random.choice(list(_places(document)))
    how = random.randrange(5)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[random.choice(("x", "type", "schema", f"{key} "))] = holder.pop(key)
    elif how == 2 and isinstance(holder, list):
        holder *= random.choice((2, 3))
    elif isinstance(holder[key], int) and how == 3:
        holder[key] += random.choice((1, -1, 1000, 2**40))
    else:
        holder[key] = random.choice((*ODD, random.choice(list(_places(document)))[0]))
        try:
            json.dumps(holder)
        except ValueError:  # within itself
            holder[key] = None


def _places(value: Any) -> Sequence[tuple[Any, Any]]:
    """Every container of a document with each of its keys."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found: list[tuple[Any, Any]] = []
    for key, item in inner:
        found.append((value, key))
        if isinstance(item, dict | list) and item:
            found += _places(item)
    return found


def in_archive(text: str) -> Mutation:
    """A mutation of an .npz: its JSON entry `text`, an array, a header, an entry."""

    def mutate(good: bytes, random: Random) -> bytes:
        with np.load(io.BytesIO(good)) as archive:
            arrays = {name: archive[name] for name in archive.files}
        name = random.choice(list(arrays))
        how = random.randrange(6)
        if how < 3 and text in arrays:
            spoilt = random.choice((in_json, in_json, in_json, in_text))(
                bytes(arrays[text]), random
            )
            arrays[text] = np.frombuffer(spoilt, np.uint8)
        elif how == 3:
            del arrays[name]
        else:
            arrays[name] = _other(arrays[name], random)
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        if how == 5:
            return _with_header(stream.getvalue(), random)
        return stream.getvalue()

    return mutate


def _other(array: np.ndarray, random: Random) -> np.ndarray:
    """The array in another kind, shape or with other numbers."""
    kinds = ("m8[s]", "M8[s]", "c16", "f8", "f4", "i8", "u8", "i1", "?", "U3", "S2", ">i4", "i2,i2")
    how = random.randrange(5)
    if how == 0:
        return np.zeros(array.shape, random.choice(kinds))
    if how == 1:
        return array.reshape(random.choice(((-1,), (1, *array.shape), (*array.shape, 1))))
    if how == 2:
        return array[..., : random.randrange(2)]
    if how == 3:
        return np.full(array.shape, random.choice((2**63 - 1, -(2**63), 300, -1)))
    return np.asfortranarray(np.concatenate([array.ravel()] * 2)).astype(array.dtype)


def _with_header(good: bytes, random: Random) -> bytes:
    """An archive one of whose headers says another shape or kind than there is; or a bomb."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(stream, "w", 8) as new:
        chosen = random.choice(old.namelist())
        for name in old.namelist():
            content = old.read(name)
            if name == chosen:
                shape = random.choice(
                    (b"(2305843009213693952,)", b"(-1, )", b"(1 << 9,)", b"((),)")
                )
                content = re.sub(rb"\([\d, ]*\)", shape, content, count=1)
                content += random.choice((b"", b"\x00" * 1000, b"\x00" * 30_000_000))
            new.writestr(random.choice((name, name, f"../{name}", name[:-4])), content)
    return stream.getvalue()


def in_onnx(good: bytes, random: Random) -> bytes:
    """A node, attribute, constant, type or name of an ONNX model changed."""
    import onnx

    proto = onnx.load_from_string(good)
    graph = proto.graph
    node, constant = random.choice(graph.node), random.choice(graph.initializer)
    whole = random.choice((0, 1, -1, 2, 3, 7, 1 << 31, 1 << 40, 1 << 62, -(1 << 63)))
    how = random.randrange(9)
    if how == 0:
        for attribute in node.attribute:
            if attribute.ints:
                attribute.ints[random.randrange(len(attribute.ints))] = whole
            attribute.i = whole if attribute.i else attribute.i
    elif how == 1:
        node.attribute.append(onnx.helper.make_attribute(random.choice(NAMES), whole))
    elif how == 2 and constant.dims:
        constant.dims[random.randrange(len(constant.dims))] = whole
    elif how == 3:
        constant.data_type = random.randrange(0, 25)
    elif how == 4:
        raw = bytearray(constant.raw_data)
        if raw:
            raw[random.randrange(len(raw))] ^= random.randrange(1, 256)
        constant.raw_data = bytes(raw)
    elif how == 5:
        node.input[random.randrange(len(node.input))] = random.choice(
            ["", "x", "none", *(one.name for one in graph.initializer)]
        )
    elif how == 6:
        node.op_type = random.choice(("Relu", "Conv", "MaxPool", "Loop", "Mul", "Cast", "\x1b[0m"))
    elif how == 7:
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[random.randrange(len(dims))].dim_value = whole
    else:
        graph.node.append(graph.node[random.randrange(len(graph.node))])
    return bytes(proto.SerializeToString())


NAMES = ("auto_pad", "axis", "block_size", "ceil_mode", "group", "kernel_shape", "to", "strides")
