"""Bad ONNX files and bad inputs, as a person meets them: one line, exit 2, nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto

from apsim.cli import main
from apsim.errors import ApsimError
from apsim.nn import importers
from tests.helpers.onnx_files import (
    FLOAT_KERNEL,
    KERNEL,
    SCALE,
    ZERO,
    external,
    node,
    quantized,
    save,
)

POOL = node("MaxPool", "r", "y", kernel_shape=[2, 2])
CONV = [node("DequantizeLinear", "w s", "v"), node("Conv", "r v", "c"), *quantized("c", "q2", "y")]
GOOD = np.zeros((1, 2, 4, 4), np.float32)


def models(folder: Path) -> None:
    """A network that is whole, and all kinds that are not."""
    whole = save(folder / "conv.onnx", [*quantized(), *CONV], w=KERNEL).read_bytes()
    (folder / "cut.onnx").write_bytes(whole[:200])
    (folder / "text.onnx").write_bytes(b"no protobuf")
    (folder / "empty.onnx").write_bytes(b"")
    save(folder / "open.onnx", [*quantized(), POOL], shape=("n", 2, "h", "w"))
    save(folder / "float.onnx", [node("Conv", "x w", "y")], w=FLOAT_KERNEL)
    island = [node("Hardmax", "r", "e"), node("Mul", "e r", "m"), *quantized("m", "q2", "y")]
    save(folder / "island.onnx", [*quantized(), *island])
    mixed = [node("Conv", "r w", "c"), *quantized("c", "q2", "y")]
    save(folder / "mixed.onnx", [*quantized(), *mixed], w=FLOAT_KERNEL)
    weights = [node("QuantizeLinear", "w s k", "v8"), node("DequantizeLinear", "v8 s", "v"),
               *CONV[1:]]  # fmt: skip
    save(folder / "nan.onnx", [*quantized(), *weights], w=FLOAT_KERNEL * np.nan, k=np.int8(0))
    save(folder / "hollow.onnx", [*quantized(), POOL], shape=(1, 0, 4, 4))
    flat = [node("QuantizeLinear", "x t z", "q"), node("DequantizeLinear", "q t z", "r"), POOL]
    save(folder / "zero.onnx", flat, t=np.float32(0))
    pair = [*quantized(), *quantized("b", "qb", "rb"), node("Add", "r rb", "c"),
            *quantized("c", "q2", "y")]  # fmt: skip
    save(folder / "pair.onnx", pair, inputs=("x", "b"))
    save(folder / "raw.onnx", [node("ConvInteger", "x w z", "y")], w=KERNEL, kind=TensorProto.UINT8)
    for name, location in {"gone": "gone.bin", "outside": "../outside.bin"}.items():
        external(folder / f"{name}.onnx", location)
    (folder / "inside.bin").unlink()
    (folder.parent / "outside.bin").write_bytes(b"0" * 36)


def inputs(folder: Path) -> None:
    """Inputs for the whole network, most of them wrong."""
    arrays: dict[str, Any] = {
        "good": GOOD, "nan": GOOD * np.nan, "infinite": GOOD + np.inf, "planes": GOOD[:, :1],
        "flat": GOOD[0], "text": GOOD.astype(str), "complex": GOOD.astype(complex),
        "high": np.full(GOOD.shape, 256), "low": np.full(GOOD.shape, -1, np.int8),
        "none": GOOD[:0],
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.savez(folder / "named.npz", x=GOOD)
    np.savez(folder / "other.npz", image=GOOD)
    np.savez(folder / "more.npz", x=GOOD, mask=GOOD)
    np.savez(folder / "pair.npz", x=GOOD, b=GOOD + 1)
    np.savez(folder / "uneven.npz", x=GOOD, b=np.concatenate([GOOD, GOOD]))
    (folder / "words.npy").write_text("no array")


def fed(name: str, *more: str) -> tuple[str, ...]:
    return ("run", "conv.onnx", "--input", name, *more)


OPEN = ("run", "open.onnx", "--input", "good.npy")
MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "a missing file": (("run", "no.onnx"), "no.onnx: no such file"),
    "a truncated file": (("run", "cut.onnx"), "cut.onnx: truncated or not an ONNX file"),
    "a file of words": (("run", "text.onnx"), "text.onnx: truncated or not an ONNX file"),
    "an empty file": (("import", "empty.onnx", "-o", "m.npz"), "empty.onnx: truncated or not"),
    "weights that are missing": (("run", "gone.onnx"), "external data file 'gone.bin' is missing"),
    "weights from elsewhere": (
        ("run", "outside.onnx"), "external data '../outside.bin' lies outside the model's folder"),
    "open axes": (OPEN, "input 'x' has dynamic axes [2, 3]; give its shape: --shape N,C,H,W"),
    "open axes on import": (("import", "open.onnx", "-o", "m.npz"), "give its shape: --shape"),
    "a shape that is not the input's": (
        (*OPEN, "--shape", "1,2,6,6"), "input 'x' must have shape [N, 2, 6, 6], got [1, 2, 4, 4]"),
    "a shape that is not the file's": (
        (*OPEN, "--shape", "1,3,4,4"), "has shape [N, 2, any, any], the given shape is [1, 3, 4"),
    "too few axes": ((*OPEN, "--shape", "4,4"), "the given shape is [4, 4]"),
    "a shape of words": ((*OPEN, "--shape", "small"), "--shape: wanted sizes such as 1,3,224,224"),
    "an empty axis": ((*OPEN, "--shape", "1,2,0,4"), "--shape: wanted sizes such as"),
    "a shape for a network of ours": (("run", "--shape", "1,1,8,8"), "only ONNX files leave axes"),
    "a float model": (("run", "float.onnx"), "quantize it first, for instance with onnxruntime"),
    "a float island": (
        ("run", "island.onnx"),
        "node 2 Hardmax 'the Hardmax' (output 'e'): no exact integer form yet, an "
        "island of floating point up to the next quantization: 2 Hardmax 'the Hardmax', "
        "3 Mul 'the Mul'"),
    "float weights": (
        ("run", "mixed.onnx"), "node 2 Conv 'the Conv' (output 'c'): the weights are real"),
    "weights that are NaN": (
        ("run", "nan.onnx"), "(output 'v8'): weights or scales that are NaN"),
    "a scale of zero": (("run", "zero.onnx"), "(output 'q'): a scale of 0"),
    "one input of two": (
        ("run", "pair.onnx", "--input", "good.npy"), "wanted an array for each of x, b"),
    "batches that differ": (
        ("run", "pair.onnx", "--input", "uneven.npz"),
        "inputs must hold equally many, got {'x': 1, 'b': 2}"),
    "NaN": (fed("nan.npy"), "input 'x' holds NaN or infinity"),
    "infinity": (fed("infinite.npy"), "input 'x' holds NaN or infinity"),
    "too few channels": (fed("planes.npy"), "'x' must have shape [N, 2, 4, 4], got [1, 1, 4, 4]"),
    "no batch": (fed("flat.npy"), "'x' must have shape [N, 2, 4, 4], got [2, 4, 4]"),
    "text": (fed("text.npy"), "numbers: it must hold numbers, got <U32"),
    "complex numbers": (fed("complex.npy"), "it must hold numbers, got complex128"),
    "integers above the range": (fed("high.npy"), "input 'x' must lie in 0..255, got 256..256"),
    "integers below the range": (fed("low.npy"), "input 'x' must lie in 0..255, got -1..-1"),
    "no image": (fed("none.npy"), "input 'x' must hold at least one"),
    "another name": (
        fed("other.npz"), "wanted an array for each of x and no other, found image"),
    "a name too many": (fed("more.npz"), "and no other, found x, mask"),
    "no array": (fed("words.npy"), "words.npy: not a whole .npy or .npz of numbers"),
    "tensors to nowhere": (fed("good.npy", "--tensors"), "--tensors goes with --output FILE"),
    "a judge of other widths": (
        fed("good.npy", "--bits", "8", "--against", "reference"), "leave --bits out"),
    "a judge of a network of ours": (
        ("run", "--against", "reference"), "judges ONNX files, digits is none"),
    "real numbers for plain integers": (
        ("run", "raw.onnx", "--input", "good.npy"),
        "input 'x' takes integers as they are, got float32"),
    "an unwritable network": (
        ("import", "conv.onnx", "-o", "no/m.npz"), "cannot write no/m.npz"),
    "nothing to import": (("import",), "wanted MODEL (an .onnx or .tflite file), or --survey"),
    "an axis of nothing": (("run", "hollow.onnx"), "input 'x' has an axis of size 0"),
    "an unknown rule": (fed("good.npy", "--rule", "nearest"), "unknown requantization rule"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "models"
    place.mkdir()
    models(place)
    inputs(place)
    monkeypatch.chdir(place)
    return place


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    folder: Path, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, one message that says what and where, nothing printed, no new file"""
    arguments, message = MISTAKES[mistake]
    before = sorted(folder.iterdir())
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("apsim: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(folder.iterdir()) == before


def test_an_import_without_a_file_to_write_says_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What became of every node, held; nothing is left behind"""
    before = sorted(folder.iterdir())
    assert main(["import", "conv.onnx"]) == 0
    told = capsys.readouterr().out
    assert sorted(folder.iterdir()) == before
    assert main(["import", "conv.onnx", "-o", "m.npz"]) == 0
    *before_it, held = told.splitlines()
    assert capsys.readouterr().out.splitlines() == [*before_it, "wrote m.npz", held]


def test_the_suffix_of_a_file_may_be_in_capitals(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "conv.onnx").rename("CONV.ONNX")
    assert main(["run", "CONV.ONNX", "--input", "good.npy", "--against", "reference"]) == 0
    assert "import: held against" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["good.npy", "named.npz"])
def test_the_same_network_runs_on_inputs_that_fit(folder: Path, name: str) -> None:
    assert main([*fed(name), "--output", "y.npz", "--against", "reference"]) == 0
    with np.load("y.npz") as outputs:
        assert outputs.files == ["q2"]


def test_a_network_of_two_inputs_takes_them_by_name(folder: Path) -> None:
    arguments = ["run", "pair.onnx", "--input", "pair.npz", "--against", "reference"]
    assert main([*arguments, "--output", "y.npz"]) == 0
    with np.load("y.npz") as outputs:
        assert (outputs["q2"] == round(1 / SCALE) + ZERO).all()


def test_integers_of_the_file_itself_are_held_against_a_judge_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A ConvInteger on the graph's own input is compared, not passed over"""
    np.save("raw.npy", np.arange(32, dtype=np.uint8).reshape(GOOD.shape))
    assert main(["run", "raw.onnx", "--input", "raw.npy", "--against", "reference"]) == 0
    assert "1 of 1 layers compared, 8 integers: 0 differ" in capsys.readouterr().out


def test_open_axes_run_at_the_given_shape(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*OPEN, "--shape", "1,2,4,4", "--wide"]) == 0
    assert "2x3x3" in capsys.readouterr().out


def test_a_judge_that_cannot_run_the_file_says_why_before_any_work(
    models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """onnxruntime has no QONNX operators"""
    pytest.importorskip("onnxruntime")
    path, digits = (
        models_dir / "qonnx_TFC_2W2A_mnist.onnx",
        models_dir / "finn_mnist_input_4x1x28x28.npy",
    )
    assert main(["run", str(path), "--input", str(digits), "--against", "onnxruntime"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "onnxruntime cannot run" in err


@pytest.mark.parametrize("name", ["digits_qdq_u8s4.onnx", "mlperf_tiny_kws_dscnn_int8.tflite"])
def test_damaged_files_are_refused_or_read_and_nothing_else(
    models_dir: Path, tmp_path: Path, name: str
) -> None:
    """Flipped and missing bytes: `ApsimError`, or a network that passed every check"""
    if name.endswith(".tflite"):
        pytest.importorskip("tflite")
    whole = (models_dir / name).read_bytes()
    rng, refused, path = np.random.default_rng(5), 0, tmp_path / name
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, 3000, 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged[: rng.integers(2000, len(damaged))])
        try:
            importers.read(path)
        except ApsimError as error:
            assert str(error).startswith(str(path)), error
            refused += 1
    assert refused > 30
