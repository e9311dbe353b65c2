"""The readers that are tried with malformed files: a good file, its mutations, how it is read.

The rule: what is accepted is used as well, and where another implementation can say what is
right, it does.  Reading gives an exit code: 0 accepted, 1 accepted and wrong, 2 refused.
"""

from __future__ import annotations

import io
import os
import shlex
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from apsim import nn
from apsim.cli import main
from apsim.nn import exact, importers, runtime
from apsim.nn.model import store
from benchmarks import malformed_mutations as mutations
from benchmarks.malformed_mutations import Mutation, in_archive, in_bytes, in_json, in_text
from tests.helpers.networks import integers_in, small_network

__all__ = ["READERS", "Reader"]

MOST = 100_000  # values of an input, and multiplications of a layer, that are worth a run


@dataclass(frozen=True)
class Reader:
    """A reader: the name of its file, a good one, how that is spoilt, and what reads it."""

    file: str
    good: Callable[[Path], bytes]
    mutations: tuple[Mutation, ...]
    read: Callable[[Path], int]


def _command(words: str) -> Callable[[Path], int]:
    """A command line whose FILE is the malformed one; good.npz is a model, x.npy its inputs."""
    return lambda path: main([word.replace("FILE", str(path)) for word in shlex.split(words)])


def _made_by(words: str) -> Callable[[Path], bytes]:
    """What a command writes to FILE."""

    def good(folder: Path) -> bytes:
        _model(folder)
        with redirect_stdout(io.StringIO()):
            assert _command(words)(folder / "made") == 0
        return (folder / "made").read_bytes()

    return good


def _model(folder: Path) -> bytes:
    store.save(small_network(), folder / "good.npz")
    np.save(folder / "x.npy", integers_in(small_network().tensors["x"], 1, 0))
    return (folder / "good.npz").read_bytes()


def _inputs(folder: Path) -> bytes:
    _model(folder)
    return (folder / "x.npy").read_bytes()


def _labels(folder: Path) -> bytes:
    _model(folder)
    stream = io.BytesIO()
    np.save(stream, np.array([3]))
    return stream.getvalue()


def _run_model(path: Path) -> int:
    model = store.load(path)
    if _is_large(model):
        return 0
    x = {name: integers_in(model.tensors[name], 1, 0) for name in model.inputs}
    return 0 if runtime.run(model, x, nn.Chip.preset("bf-imna-lr")).passed else 1


def _is_large(model: Any) -> bool:
    sizes = [np.prod([int(n) for n in one.shape], dtype=object) for one in model.tensors.values()]
    return max(sizes) > MOST


def _onnx(folder: Path) -> bytes:
    """Q/DQ around Conv, MaxPool, Flatten and Gemm, as quantizers write them."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {
        "s": np.float32(0.5), "z": np.uint8(3), "sw": np.float32(0.25), "zw": np.int8(0),
        "w": rng.integers(-8, 8, (3, 2, 3, 3)).astype(np.int8),
        "b": rng.integers(-9, 9, 3).astype(np.int32), "sb": np.float32(0.125), "zb": np.int32(0),
        "v": rng.integers(-8, 8, (4, 12)).astype(np.int8),
    }  # fmt: skip
    wired = [
        ("QuantizeLinear", "x s z", "xq"), ("DequantizeLinear", "xq s z", "xr"),
        ("DequantizeLinear", "w sw zw", "wr"), ("DequantizeLinear", "b sb zb", "br"),
        ("Conv", "xr wr br", "c"), ("QuantizeLinear", "c s z", "cq"),
        ("DequantizeLinear", "cq s z", "cr"), ("MaxPool", "cr", "p"), ("Flatten", "p", "f"),
        ("DequantizeLinear", "v sw zw", "vr"), ("Gemm", "f vr", "g"),
        ("QuantizeLinear", "g s z", "gq"), ("DequantizeLinear", "gq s z", "y"),
    ]  # fmt: skip
    attributes: dict[str, dict[str, Any]] = {
        "Conv": {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3], "strides": [1, 1]},
        "MaxPool": {"kernel_shape": [2, 2], "strides": [2, 2]}, "Gemm": {"transB": 1},
    }  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node(op, i.split(), [o], name=o, **attributes.get(op, {}))
            for op, i, o in wired
        ],
        "model", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 21)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


def _judge_onnx(path: Path) -> int:
    """An accepted model against the definition of every operator."""
    model = importers.read(path).model
    if _is_large(model):
        return 0
    x = np.random.default_rng(1).integers(-200, 200, (1, 2, 4, 4)).astype(np.float32) / 2
    ours = exact.run(model, nn.real.quantize(model, x))
    with _alone():
        from onnx.reference import ReferenceEvaluator

        wanted = ReferenceEvaluator(str(path)).run(None, {"x": x})[0]
    out = model.tensors[model.output]
    real = (ours[model.output] - out.zero_point).astype(np.float32) * np.float32(out.scale or 1)
    return 0 if np.array_equal(real.ravel(), np.ravel(wanted)) else 1


class _alone(suppress):
    """What another implementation cannot do says nothing about ours: the case ends as accepted."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        if kind is not None:
            os._exit(0)
        return False


def _tflite(folder: Path) -> bytes:
    from tests.helpers import tflite_models as t

    rng, one = np.random.default_rng(0), [0.05]
    w = rng.integers(-90, 90, (3, 2, 2, 2)).astype(np.int8)
    b = rng.integers(-90, 90, 3).astype(np.int32)
    specs = [
        t.TensorSpec("x", (1, 4, 4, 2), "int8", one, [3]),
        t.TensorSpec("w", w.shape, "int8", [0.01, 0.02, 0.03], [0] * 3, w, 0),
        t.TensorSpec("b", (3,), "int32", [0.0005, 0.001, 0.0015], [0] * 3, b),
        t.TensorSpec("y", (1, 3, 3, 3), "int8", one, [-5]),
    ]
    options = {"Padding": 1, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    return t.model("CONV_2D", specs, "Conv2DOptions", options, 3)


def _judge_tflite(path: Path) -> int:
    """An accepted model against TFLite's own reference kernels, in a process of their own."""
    model = importers.read(path).model
    if _is_large(model):
        return 0
    x = np.random.default_rng(1).integers(-128, 128, (1, 4, 4, 2)).astype(np.int8)
    ours = exact.run(model, {model.input: x})[model.output]
    wanted = _by_litert(path, x)
    return 0 if wanted is None or np.array_equal(ours.ravel(), wanted.ravel()) else 1


def _by_litert(path: Path, x: Any) -> Any:
    """The judge's output; None where it refuses the file or dies of it."""
    answer = path.with_suffix(".npy")
    child = os.fork()
    if child == 0:
        try:
            from ai_edge_litert import interpreter as litert

            reference = litert.OpResolverType.BUILTIN_REF
            judge = litert.Interpreter(str(path), experimental_op_resolver_type=reference)
            judge.allocate_tensors()
            judge.set_tensor(judge.get_input_details()[0]["index"], x)
            judge.invoke()
            np.save(answer, judge.get_tensor(judge.get_output_details()[0]["index"]))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return np.load(answer) if answer.exists() else None


def _resume(path: Path) -> int:
    model = store.load(path.parent / "good.npz")
    x, chip = np.load(path.parent / "x.npy"), nn.Chip.preset("bf-imna-lr")
    found = runtime.run(model, x, chip, resume=path)
    whole = runtime.run(model, x, nn.Chip.preset("bf-imna-lr"))
    same = np.array_equal(found.outputs, whole.outputs) and found.counts == whole.counts
    return 0 if same and found.passed else 1


def _lut(path: Path) -> int:
    from apsim import lut

    str(lut.load(path))
    return 0


def _session(path: Path) -> int:
    return main(
        ["debug", str(path), "-x", "info fields", "-x", "goto 1", "-x", "continue", "-x", "quit"]
    )


def _search(path: Path) -> int:
    from apsim.nn.schedule import read_schedule

    plan = path.with_name("plan.toml")
    plan.write_text(f"settings = '{path.name}'\n[[batch]]\nimages = 1\n")
    read_schedule(str(plan))
    return 0


def _results(path: Path) -> int:
    from apsim.explore.sweep import finished

    finished(str(path))
    return 0


def _sweep(path: Path) -> int:
    from apsim.explore import read_spec

    return 0 if len(read_spec(str(path)).points) < 10**7 else 1


def _script(path: Path) -> int:
    return main(["debug", "add", "--script", str(path)])


def _one_line(good: bytes, random: Random) -> bytes:
    return in_text(random.choice(good.splitlines()), random)


def _flags(path: Path) -> int:
    return main(path.read_text(errors="surrogateescape").replace("\x00", "0").split()[:40])


def _bundled(folder: str, name: str) -> Callable[[Path], bytes]:
    return lambda _: files("apsim.cost").joinpath(folder, name).read_bytes()


SPEC = (
    b"name = 'x'\npareto = ['energy_j', 'latency_s']\n[axes]\nnetwork = ['alexnet', 'vgg16']\n"
    b"bits = [4, 8, '8/4', [8, 4]]\nchip = 'lr'\nbatch = [1, 2]\nap = ['1d', '2d']\n"
    b"[mixes]\naverages = [3, 4.5]\ncount = 2\nseed = 1\n"
)
SEARCH = (
    b'{"schema": "apsim.fluid/2", "settings": [{"bits": [4, 4, 8, 8], "predicted": 0.1, '
    b'"measured": null, "latency": 1e-6, "joules": 2e-6}]}'
)
SCRIPT = (
    b"break bit 3 and row 2\nwatch B\ncontinue\nprint/x B 0-3\nset A[0] = 7\nset A.3[1] = 1\n"
    b"step 3\nback 2\ngoto 9\nuntil B == 33\nshow array lut\ndisplay counters\nrows 0-7\n"
    b"delete 1\ninfo fields\n"
)
FLAGS = (
    b"run good.npz --input x.npy --images 1 --rows 480 --columns 128 --threads 1 --seed 3 "
    b"--ap 2d-seg --engine fused --requant host --check sample --rule onnx-exact\n"
    b"cost alexnet --chip lr --tech sram --bits 8,4 --batch 2 --write-voltage 0.5\n"
    b"debug add --bits 8 --rows 4 --seed 1 --set A=1,2,3,4 --ap 2d --engine dense -x quit\n"
    b"faults good.npz --input x.npy --write-error 1e-3 --repeats 1 --seed 2 --workers 1\n"
    b"explore precision --out out.jsonl --workers 1\nlut show add\ncheck --function relu --ap 2d\n"
)
READERS: dict[str, Reader] = {
    "model": Reader("m.npz", _model, (in_bytes, in_archive("model.json")), _run_model),
    "onnx": Reader("m.onnx", _onnx, (in_bytes, mutations.in_onnx), _judge_onnx),
    "tflite": Reader("m.tflite", _tflite, (in_bytes,), _judge_tflite),
    "lut": Reader("l.toml", lambda _: _lut_text(), (in_text, in_bytes), _lut),
    "technology": Reader("t.toml", _bundled("technologies", "sram-16nm.toml"), (in_text, in_bytes),
                         _command("cost alexnet --tech FILE")),
    "chip": Reader("c.toml", _bundled("chips", "bf-imna-lr.toml"), (in_text, in_bytes),
                   _command("cost alexnet --chip FILE")),
    "network": Reader("n.csv", _bundled("networks", "alexnet.csv"), (in_text, in_bytes),
                      _command("cost FILE")),
    "run": Reader("r.json", _made_by("run digits --images 1 --json FILE"), (in_json, in_bytes),
                  _command("cost FILE")),
    "session": Reader("s.json", _made_by("debug add -x 'watch B' -x 'save FILE' -x quit"),
                      (in_json, in_bytes), _session),
    "checkpoint": Reader("k.npz", _made_by("run good.npz --input x.npy --checkpoint FILE"),
                         (in_bytes, in_archive("head")), _resume),
    "inputs": Reader("i.npz", _inputs, (in_bytes, in_bytes), _command("run good.npz --input FILE")),
    "labels": Reader("y.npy", _labels, (in_bytes,), _command(
        "faults good.npz --input x.npy --labels FILE --repeats 1 --workers 1")),
    "sweep": Reader("w.toml", lambda _: SPEC, (in_text, in_bytes), _sweep),
    "search": Reader("u.json", lambda _: SEARCH, (in_json, in_bytes), _search),
    "results": Reader("w.jsonl", _made_by("explore precision --workers 1 --out FILE"),
                      (in_text, in_bytes), _results),
    "script": Reader("script.txt", lambda _: SCRIPT, (in_text, in_bytes), _script),
    "flags": Reader("flags.txt", lambda folder: _model(folder) and FLAGS, (_one_line,), _flags),
}  # fmt: skip
"""Every reader by name; "script" and "flags" are what people type."""


def _lut_text() -> bytes:
    from apsim import lut

    return lut.find("add").text.encode()
