"""TFLite files that are refused in one true line; states, borders, shapes that are not usual."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tflite")
pytest.importorskip("flatbuffers")

from apsim.cli import main
from apsim.errors import InputError, ModelError
from apsim.nn import exact, importers, streaming
from apsim.nn.importers.blockers import Blocked
from apsim.nn.importers.survey import ranking, survey
from apsim.nn.model import store
from apsim.nn.on_ap.chip import Chip
from apsim.nn.rules import real
from tests.helpers.tflite_models import OperatorSpec, TensorSpec, network
from tests.helpers.tflite_operators import case, ints

CONV = {"Padding": 1, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1,
        "FusedActivationFunction": 0}  # fmt: skip


def words(name: str, *shape: int, scale: float = 0.05, zero: int = 0, **more: Any) -> TensorSpec:
    return TensorSpec(name, shape, more.pop("dtype", "int8"), [scale], [zero], **more)


def weights(outs: int, ins: int) -> TensorSpec:
    values = np.arange(outs * ins, dtype=np.int8).reshape(outs, 1, 1, ins) % 7 - 3
    return TensorSpec("w", (outs, 1, 1, ins), "int8", [0.02], [0], values.astype(np.int8))


def saved(content: bytes, folder: Path) -> Path:
    path = folder / "net.tflite"
    path.write_bytes(content)
    return path


def convolution(folder: Path, *, x: TensorSpec | None = None, y: TensorSpec | None = None,
                w: TensorSpec | None = None, bias: TensorSpec | None = None,
                **options: int) -> Path:  # fmt: skip
    x, y = x or words("x", 1, 2, 2, 3), y or words("y", 1, 2, 2, 4)
    bias = bias or TensorSpec("b", (4,), "int32", [0.001], [0], np.zeros(4, np.int32))
    specs = [x, w or weights(4, 3), bias, y]
    content = case("CONV_2D", specs, 1, "Conv2DOptions", CONV | options, 3, []).content
    return saved(content, folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": words("y", 1, 2, 2, 4, zero=200)}, "zero point 200, outside its -128..127"),
        ({"x": words("x", 1, 2, 2, 3, zero=-129)}, "zero point -129, outside its -128..127"),
        ({"y": words("y", 1, 2, 2, 4, scale=0.0)}, "a scale of 0.0; a positive number is needed"),
        ({"y": words("y", 1, 2, 2, 4, scale=np.nan)}, "a scale of nan"),
        ({"bias": TensorSpec("b", (4,), "int32", [0.001], [0], np.full(4, 2**31 - 1, np.int32))},
         "sums of up to 33 bits, of which TFLite's kernels keep 32"),
        ({"bias": TensorSpec("b", (4,), "float32", [0.001], [0], np.full(4, np.nan, np.float32))},
         "a bias of type float32; nearest supported form: int32"),
        ({"bias": TensorSpec("b", (3,), "int32", [0.001], [0], np.zeros(3, np.int32))},
         r"biases \[3\]; nearest supported form: \[4\]"),
        ({"w": words("w", 4, 1, 1, 3, zero=3, data=np.zeros((4, 1, 1, 3), np.int8))},
         "signed weights with a zero point"),
        ({"x": words("x", 1, 2, 2, 3, dtype="int16"), "y": words("y", 1, 2, 2, 4, dtype="int16")},
         "a bias of type int32 where QuantizedBiasType is 0; nearest supported form: int64"),
        ({"bias": TensorSpec("b", (4,), "int32", [0.5], [0], np.zeros(4, np.int32)),
          "x": words("x", 1, 2, 2, 3, dtype="uint8"), "y": words("y", 1, 2, 2, 4, dtype="uint8"),
          "w": words("w", 4, 1, 1, 3, scale=0.02, dtype="uint8",
                     data=np.ones((4, 1, 1, 3), np.uint8))},
         "a bias in steps of 0.5 for sums in steps of 0.001; nearest supported form: equal steps"),
        ({"StrideH": 0}, r"strides \(0, 1\)"),
        ({"FusedActivationFunction": 4}, "fused activation 4"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused_by_name(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        importers.read(convolution(tmp_path, **changes))


def test_all_blockers_are_named_with_their_count_and_first_place(tmp_path: Path) -> None:
    specs = [words(name, 1, 2, 2, 4) for name in ("x", "a", "b", "c", "d")]
    operators = [
        OperatorSpec("SIN", [0], 1, "", {}, 1),
        OperatorSpec("COS", [1], 2, "", {}, 1),
        OperatorSpec("SIN", [2], 3, "", {}, 1),
        OperatorSpec("RELU", [3], 4, "", {}, 1),
    ]
    with pytest.raises(Blocked) as caught:
        importers.read(saved(network(specs, operators), tmp_path))
    text = str(caught.value)
    assert "3 operators cannot be imported: SIN x2 (first: operator 0 'a'): " in text
    assert "COS x1 (first: operator 1 'b'): no exact integer form yet" in text
    assert "\n" not in text and "damaged" not in text
    assert [one.op for one in caught.value.blockers] == ["SIN", "COS", "SIN"]


def test_a_network_of_reals_is_told_to_be_quantized(tmp_path: Path) -> None:
    specs = [TensorSpec(name, (1, 4), "float32") for name in ("x", "y")]
    path = saved(case("LOGISTIC", specs, 1, "", {}, 1, []).content, tmp_path)
    with pytest.raises(ModelError, match=r"LOGISTIC x1 .*in floating point; convert the model"):
        importers.read(path)


@pytest.mark.parametrize("cut", [9, 40, 200, -20])
def test_a_cut_file_is_refused_in_one_line(
    cut: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = convolution(tmp_path).read_bytes()
    path = saved(whole[:cut], tmp_path)
    assert main(["import", str(path), "-o", str(tmp_path / "m.npz")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_every_flipped_byte_is_refused_or_runs(tmp_path: Path) -> None:
    """No traceback, whatever one byte becomes: ModelError, or a network that is consistent"""
    whole = bytearray(convolution(tmp_path).read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.choice(np.arange(8, len(whole)), 150, replace=False):
        bad = bytearray(whole)
        bad[place] ^= 1 << int(rng.integers(8))
        try:
            importers.read(saved(bytes(bad), tmp_path))
        except ModelError as error:
            refused += "\n" not in str(error)
    assert 20 < refused < 150


def test_reals_enter_and_leave_by_the_file_s_own_quantization(tmp_path: Path) -> None:
    """away(x / s) + z, in float32; the integers before the last DEQUANTIZE are the output"""
    specs = [
        TensorSpec("x", (1, 2, 2, 2), "float32"), ints("shape", [1, 8]),
        TensorSpec("flat", (1, 8), "float32"), words("q", 1, 8, scale=0.25, zero=3),
        words("r", 1, 8, scale=0.25, zero=3), TensorSpec("y", (1, 8), "float32"),
        TensorSpec("p", (1, 8), "float32"),
    ]  # fmt: skip
    operators = [
        OperatorSpec("RESHAPE", [0, 1], 2, "ReshapeOptions", {}, 1),
        OperatorSpec("QUANTIZE", [2], 3, "QuantizeOptions", {}, 1),
        OperatorSpec("RELU", [3], 4, "", {}, 2),
        OperatorSpec("DEQUANTIZE", [4], 5, "DequantizeOptions", {}, 2),
        OperatorSpec("SOFTMAX", [5], 6, "SoftmaxOptions", {"Beta": 1.0}, 1),
    ]
    imported = importers.read(saved(network(specs, operators), tmp_path))
    model = imported.model
    x = np.array([0.125, -0.125, 0.375, 7.0, -9.0, 100.0, 0.0, -0.376], np.float32)
    entered = real.quantize(model, x.reshape(1, 2, 2, 2))
    assert entered.ravel().tolist() == [4, 2, 5, 31, -33, 127, 3, 1]
    found = exact.run(model, entered)["r"].ravel()
    assert found.tolist() == [4, 3, 5, 31, 3, 127, 3, 3]
    assert model.outputs == ("r",)
    assert any("left to the host" in fate.became for fate in imported.fates)


def test_a_batch_axis_may_come_and_go(tmp_path: Path) -> None:
    """[1, 6, 4] as [6, 4], a product of six rows, and back"""
    w = TensorSpec("w", (3, 4), "int8", [0.02], [0], np.arange(12, dtype=np.int8).reshape(3, 4))
    b = TensorSpec("b", (3,), "int32", [0.001], [0], np.arange(3, dtype=np.int32))
    specs = [words("x", 1, 6, 4), ints("rows", [6, 4]), words("r", 6, 4), w, b,
             words("f", 6, 3), ints("back", [1, 18]), words("y", 1, 18)]  # fmt: skip
    operators = [
        OperatorSpec("RESHAPE", [0, 1], 2, "ReshapeOptions", {}, 1),
        OperatorSpec("FULLY_CONNECTED", [2, 3, 4], 5, "FullyConnectedOptions", {}, 4),
        OperatorSpec("RESHAPE", [5, 6], 7, "ReshapeOptions", {}, 1),
    ]
    model = importers.read(saved(network(specs, operators), tmp_path)).model
    x = np.random.default_rng(1).integers(-128, 128, (2, 6, 4))
    products = x @ w.data.T.astype(np.int64) + b.data
    wanted = np.clip(np.rint(products * 0.02), -128, 127)
    found = exact.run(model, x)[model.output].reshape(2, 6, 3)
    assert np.abs(found - wanted).max() <= 1 and found.shape == wanted.shape


def stream(folder: Path) -> Path:
    """y = x + what x was before: a variable that CALL_ONCE never assigns is refused elsewhere."""
    handle = TensorSpec("h", (), "resource")
    specs = [words("x", 1, 4), handle, words("before", 1, 4), words("y", 1, 4)]
    name = {"Container": "", "SharedName": "past"}
    operators = [
        OperatorSpec("CALL_ONCE", [], [], "CallOnceOptions", {"InitSubgraphIndex": 1}, 1),
        OperatorSpec("VAR_HANDLE", [], 1, "VarHandleOptions", name, 1),
        OperatorSpec("READ_VARIABLE", [1], 2, "ReadVariableOptions", {}, 1),
        OperatorSpec("ASSIGN_VARIABLE", [1, 0], [], "AssignVariableOptions", {}, 1),
        OperatorSpec("ADD", [0, 2], 3, "AddOptions", {"FusedActivationFunction": 0}, 2),
    ]
    first = [TensorSpec("h", (), "resource"),
             words("start", 1, 4, data=np.array([[1, 2, 3, 4]], np.int8))]  # fmt: skip
    begin = [
        OperatorSpec("VAR_HANDLE", [], 0, "VarHandleOptions", name, 1),
        OperatorSpec("ASSIGN_VARIABLE", [0, 1], [], "AssignVariableOptions", {}, 1),
    ]
    return saved(network(specs, operators, others=[(first, begin)]), folder)


def test_a_stream_finds_what_the_step_before_left(tmp_path: Path) -> None:
    """y[t] = x[t] + x[t - 1], and x[-1] is what the file begins with"""
    model = importers.read(stream(tmp_path)).model
    xs = np.random.default_rng(2).integers(-60, 60, (5, 1, 4))
    done = streaming.run(model, [{"x": x} for x in xs], Chip.preset("bf-imna-lr"))
    before = np.concatenate([[[[1, 2, 3, 4]]], xs[:-1]])
    assert done.run.passed
    assert np.array_equal(done.run.outputs, xs + before)
    assert np.array_equal(done.state["before"], xs[-1])


def test_a_state_is_written_and_read_and_belongs_to_its_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, state = stream(tmp_path), tmp_path / "state.npz"
    xs = np.random.default_rng(3).integers(-60, 60, (6, 1, 4))
    command = ["run", str(path), "--no-import-check", "--output", str(tmp_path / "y.npz")]
    np.save(tmp_path / "all.npy", xs)
    np.save(tmp_path / "rest.npy", xs[2:])
    assert main([*command, "--input", str(tmp_path / "all.npy")]) == 0
    whole = np.load(tmp_path / "y.npz")["y"]
    again = [*command, "--state", str(state)]
    assert main([*again, "--input", str(tmp_path / "all.npy"), "--steps", "2"]) == 0
    assert main([*again, "--input", str(tmp_path / "rest.npy")]) == 0
    assert np.array_equal(np.load(tmp_path / "y.npz")["y"], whole[2:])
    model = importers.read(path).model
    other = model.replace(name="another")
    with pytest.raises(InputError, match="not a state of model 'another'"):
        streaming.read_state(state, other)
    store.save(model, tmp_path / "kept.npz")
    assert streaming.read_state(state, store.load(tmp_path / "kept.npz")) is not None
    capsys.readouterr()


def test_steps_are_for_networks_with_a_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "digits", "--steps", "2"]) == 2
    assert "--steps: model 'digits' keeps no state" in capsys.readouterr().err


def test_a_survey_says_of_each_file_what_blocks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convolution(tmp_path).rename(tmp_path / "a.tflite")
    sine = case("SIN", [words("x", 1, 4), words("y", 1, 4)], 1, "", {}, 1, []).content
    (tmp_path / "b.tflite").write_bytes(sine)
    (tmp_path / "c.tflite").write_bytes(b"nothing")
    reals = [TensorSpec(name, (1, 4), "float32") for name in ("x", "y")]
    (tmp_path / "d.tflite").write_bytes(case("TANH", reals, 1, "", {}, 1, []).content)
    files = list(survey(tmp_path))
    assert [one.verdict for one in files] == ["imports", "blocked", "not read", "not quantized"]
    assert [(one.op, one.files, one.alone) for one in ranking(files)] == [("SIN", 1, 1)]
    told = ["--json", str(tmp_path / "s.json"), "--csv", str(tmp_path / "s.csv")]
    assert main(["import", "--survey", str(tmp_path), *told]) == 0
    text = capsys.readouterr().out
    assert "b.tflite: blocked by SIN x1" in text and "4 files: 1 imports" in text
    assert (tmp_path / "s.csv").read_text().splitlines()[0] == "file,verdict,layers,blockers,reason"


def test_a_file_of_the_host_alone_and_a_batch_of_several_say_what_blocks_them(
    tmp_path: Path,
) -> None:
    """The reason is the operator's own, not that of a second try with another batch."""
    x, y = words("x", 2, 5), words("y", 2, 5, scale=1 / 256, zero=-128)
    alone = case("SOFTMAX", [x, y], 1, "SoftmaxOptions", {"Beta": 1.0}, 2, []).content
    with pytest.raises(ModelError, match=r"all are left to the host \(SOFTMAX x1\)"):
        importers.read(saved(alone, tmp_path))
    x, y = (words(name, 2, 2, 2, n, dtype="int16") for name, n in (("x", 3), ("y", 4)))
    bias = TensorSpec("b", (4,), "int32", [0.001], [0], np.zeros(4, np.int32))
    with pytest.raises(ModelError, match="a bias of type int32 where QuantizedBiasType is 0"):
        importers.read(convolution(tmp_path, x=x, y=y, bias=bias))


REDUCED = (words("x", 1, 4, 2, 3), ints("axes", [1]), words("y", 1, 2, 3))


@pytest.mark.parametrize(
    ("op", "specs", "kind", "options", "message"),
    [
        ("ADD", (words("x", 1, 2), words("b", 1, 2), words("y", 1, 3, 2)), "AddOptions", {},
         r"shape \[1, 3, 2\] where \[1, 2\] comes out"),
        ("REDUCE_MAX", REDUCED, "ReducerOptions", {"KeepDims": True},
         r"shape \[1, 2, 3\] where \[1, 1, 2, 3\] comes out"),
        ("MEAN", REDUCED, "ReducerOptions", {"KeepDims": True},
         r"shape \[1, 2, 3\] where \[1, 1, 2, 3\] comes out"),
        ("EXPAND_DIMS", (words("x", 1, 2, 3), ints("axis", 3), words("y", 1, 2, 1, 3)),
         "ExpandDimsOptions", {}, r"shape \[1, 2, 1, 3\] where \[1, 2, 3, 1\] comes out"),
        ("RESHAPE", (words("x", 1, 6), ints("shape", [-1, 3, 2]), words("y", 1, 2, 3)),
         "ReshapeOptions", {}, r"shape \[1, 2, 3\] where \[1, 3, 2\] comes out"),
        ("PRELU", (words("x", 1, 2, 2, 4, dtype="uint8"),
                   words("a", 4, data=np.ones(4, np.int8)), words("y", 1, 2, 2, 4)), "", {},
         "different types"),
        ("PAD", (words("x", 1, 2, data=np.ones((1, 2), np.int8)), ints("ends", [[0, 0], [1, 1]]),
                 words("y", 1, 4)), "PadOptions", {}, "constants alone"),
        ("MAXIMUM", (*(words(n, 1, 2, data=np.ones((1, 2), np.int8)) for n in "ab"),
                     words("y", 1, 2)), "MaximumMinimumOptions", {}, "constants alone"),
        ("HARD_SWISH", (words("x", 1, 2, scale=1e-8), words("y", 1, 2)), "HardSwishOptions", {},
         "shifts its 16-bit words by more than 15"),
        ("GELU", (words("x", 1, 2, zero=1, dtype="int16"), words("y", 1, 2, dtype="int16")),
         "GeluOptions", {}, "a zero point of 16-bit words"),
        ("EXP", (words("x", 1, 2, scale=0.01, dtype="int16"), words("y", 1, 2, dtype="int16")),
         "ExpOptions", {}, "no finite number at"),
        ("TANH", (words("x", 1, 2, scale=1e-13, dtype="int16"),
                  words("y", 1, 2, scale=2.0**-15, dtype="int16")), "", {}, "leaves 32 bits"),
        ("LEAKY_RELU", (words("x", 1, 2, scale=1e7), words("y", 1, 2, scale=1e-3)),
         "LeakyReluOptions", {"Alpha": 0.5}, "words scaled up by 1e.10, .* leave 32 bits"),
        ("MEAN", (words("x", 1, 4, 3), ints("axes", [1]), words("y", 1, 3, scale=1e-9)),
         "ReducerOptions", {}, "sums of up to 512 scaled up by .* leave 32 bits"),
    ],
)  # fmt: skip
def test_operators_that_contradict_their_outputs_or_leave_the_kernels_range_are_refused(
    op: str, specs: tuple[TensorSpec, ...], kind: str, options: dict[str, Any], message: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    path = saved(case(op, list(specs), 1, kind, options, 1, []).content, tmp_path)
    with pytest.raises(Blocked, match=message):
        importers.read(path)


def test_sums_of_a_convolution_scaled_beyond_32_bits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Blocked, match=r"sums of up to .* leave 32 bits"):
        importers.read(convolution(tmp_path, y=words("y", 1, 2, 2, 4, scale=1e-11)))


def transposed_convolution(option: int) -> bytes:
    """Of 16-bit words without a bias."""
    rng = np.random.default_rng(2)
    w = rng.integers(-127, 128, (4, 2, 2, 3)).astype(np.int8)
    scales = [0.01, 0.02, 0.03, 0.04]
    specs = [
        ints("shape", [1, 4, 5, 4]), TensorSpec("w", w.shape, "int8", scales, [0] * 4, w),
        words("x", 1, 4, 5, 3, scale=1e-4, dtype="int16"),
        words("y", 1, 4, 5, 4, scale=3e-4, dtype="int16"),
    ]  # fmt: skip
    options = {"Padding": 0, "StrideH": 1, "StrideW": 1, "QuantizedBiasType": option}
    return case("TRANSPOSE_CONV", specs, 1, "TransposeConvOptions", options, 5, []).content


def test_sums_without_a_bias_are_kept_in_as_many_bits_as_the_option_says(tmp_path: Path) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    x = np.random.default_rng(1).integers(-32768, 32768, (1, 4, 5, 3)).astype(np.int16)
    found = []
    for option in (0, 2, 4):
        content = transposed_convolution(option)
        model = importers.read(saved(content, tmp_path)).model
        judge = litert.Interpreter(
            model_content=content, num_threads=1,
            experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
        )  # fmt: skip
        judge.allocate_tensors()
        judge.set_tensor(judge.get_input_details()[0]["index"], x)
        judge.invoke()
        found.append(exact.run(model, {"x": x})["y"])
        theirs = judge.get_tensor(judge.get_output_details()[0]["index"])
        assert np.array_equal(found[-1], theirs)
    assert not np.array_equal(found[0], found[1])
    with pytest.raises(Blocked, match="QuantizedBiasType 7 for 16-bit words"):
        importers.read(saved(transposed_convolution(7), tmp_path))


def test_a_survey_lists_what_cannot_be_read_and_names_of_any_bytes(tmp_path: Path) -> None:
    """A link to nothing, bytes that are no text, a line end: a line for each, JSON and CSV"""
    content = convolution(tmp_path).read_bytes()
    for name in (b"a\xff.tflite", b"b\n.tflite"):
        (tmp_path / os.fsdecode(name)).write_bytes(content)
    (tmp_path / "gone.onnx").symlink_to(tmp_path / "nowhere.onnx")
    told = ["--json", str(tmp_path / "s.json"), "--csv", str(tmp_path / "s.csv")]
    assert main(["import", "--survey", str(tmp_path), *told]) == 0
    found = {one["path"]: one["verdict"] for one in json.loads(
        (tmp_path / "s.json").read_text())["files"]}  # fmt: skip
    assert found == {"a\\udcff.tflite": "imports", "b\\n.tflite": "imports",
                     "gone.onnx": "not read", "net.tflite": "imports"}  # fmt: skip
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize(("scale", "zero"), [(0.3, 0), (0.05, -9)])
def test_a_variable_read_as_another_kind_than_was_assigned_is_refused(
    scale: float, zero: int, tmp_path: Path
) -> None:
    """LiteRT keeps its integers alone: what they mean is what the reader says"""
    name, first = {"SharedName": "s"}, words("v", 1, 4, data=np.full((1, 4), 5, np.int8))
    handle = OperatorSpec("VAR_HANDLE", [], 0, "VarHandleOptions", name, 1)
    assign = OperatorSpec("ASSIGN_VARIABLE", [0, 1], [], "AssignVariableOptions", {}, 1)
    specs = [TensorSpec("h", (), "resource"), words("x", 1, 4), words("r", 1, 4),
             words("a", 1, 4, scale=scale, zero=zero), words("y", 1, 4)]  # fmt: skip
    operators = [
        OperatorSpec("CALL_ONCE", [], [], "CallOnceOptions", {"InitSubgraphIndex": 1}, 1), handle,
        OperatorSpec("READ_VARIABLE", [0], 2, "ReadVariableOptions", {}, 1), assign,
        OperatorSpec("READ_VARIABLE", [0], 3, "ReadVariableOptions", {}, 1),
        OperatorSpec("RELU", [3], 4, "", {}, 2),
    ]  # fmt: skip
    content = network(specs, operators, [([TensorSpec("h", (), "resource"), first],
                                          [handle, assign])])  # fmt: skip
    with pytest.raises(Blocked, match=r"READ_VARIABLE x1 .*a state .* assigned to, or read as"):
        importers.read(saved(content, tmp_path))
