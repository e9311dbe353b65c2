"""TFLite networks that end before their file does, constants that it computes, and its ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tflite")
pytest.importorskip("flatbuffers")

from apsim.cli import main
from apsim.errors import InputError, ModelError
from apsim.nn import exact, importers
from apsim.nn.importers import Imported, Options
from apsim.nn.importers.tflite import HANDLERS
from apsim.nn.importers.tflite_folding import FOLDS
from apsim.nn.importers.tflite_versions import NEWEST
from apsim.nn.model import store
from tests.helpers.tflite_models import NONE, OperatorSpec, TensorSpec, network
from tests.helpers.tflite_operators import ints

SUMS = {"FusedActivationFunction": NONE, "PotScaleInt16": False}


def words(name: str, *shape: int, scale: float = 0.05, zero: int = 0, **more: Any) -> TensorSpec:
    return TensorSpec(name, shape, more.pop("dtype", "int8"), [scale], [zero], **more)


def saved(
    folder: Path, specs: list[TensorSpec], operators: list[OperatorSpec], **more: Any
) -> Path:
    path = folder / "net.tflite"
    path.write_bytes(network(specs, operators, **more))
    return path


def summed(folder: Path, *behind: OperatorSpec, specs: tuple[TensorSpec, ...] = (),
           **more: Any) -> Path:  # fmt: skip
    """x + x = s, and whatever comes behind (tensors from 2 on)."""
    first = OperatorSpec("ADD", [0, 0], 1, "AddOptions", SUMS, 2)
    given = [words("x", 1, 4), words("s", 1, 4, scale=0.1), *specs]
    return saved(folder, given, [first, *behind], **more)


SINE = OperatorSpec("SIN", [1], 2, "", {}, 1)


def fates(imported: Imported) -> str:
    return "\n".join(str(fate) for fate in imported.fates)


def test_a_network_ends_where_the_user_says_and_the_rest_is_named(tmp_path: Path) -> None:
    path = summed(tmp_path, SINE, specs=(words("y", 1, 4),))
    with pytest.raises(ModelError, match="SIN x1"):
        importers.read(path)
    imported = importers.read(path, options=Options(until=("s",)))
    assert imported.model.outputs == ("s",)
    assert "operator 1 SIN: left to the host: behind --until" in fates(imported)


def test_operators_that_an_end_does_not_need_are_not_imported(tmp_path: Path) -> None:
    """Even those that cannot be"""
    other = OperatorSpec("SIN", [0], 2, "", {}, 1)
    path = summed(tmp_path, other, specs=(words("y", 1, 4),), outputs=[1, 2])
    assert len(importers.read(path, options=Options(until=("s",))).model.layers) == 1


@pytest.mark.parametrize(("name", "hint"), [("sS", "did you mean 's'"), ("x", "'x'")])
def test_an_end_must_be_a_tensor_that_an_operator_makes(
    name: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"--until: no operator of 'net' makes a tensor.*{hint}"):
        importers.read(summed(tmp_path), options=Options(until=(name,)))


def test_the_command_line_cuts_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = summed(tmp_path, SINE, specs=(words("y", 1, 4),))
    out = str(tmp_path / "net.npz")
    assert main(["import", str(path), "-o", out, "--until", "s", "--no-import-check"]) == 0
    assert "behind --until" in capsys.readouterr().out
    assert main(["run", "digits", "--until", "s"]) == 2
    assert "only TFLite files are cut" in capsys.readouterr().err


@pytest.mark.parametrize("op", ["L2_NORMALIZATION", "LOG_SOFTMAX"])
def test_real_functions_at_the_end_are_left_to_the_host_by_name(op: str, tmp_path: Path) -> None:
    last = OperatorSpec(op, [1], 2, "", {}, 2)
    imported = importers.read(summed(tmp_path, last, specs=(words("y", 1, 4),)))
    assert imported.model.outputs == ("s",)
    assert f"operator 1 {op}: left to the host: the model ends with" in fates(imported)
    again = OperatorSpec("ADD", [2, 2], 3, "AddOptions", SUMS, 2)
    inside = summed(tmp_path, last, again, specs=(words("y", 1, 4), words("z", 1, 4)))
    with pytest.raises(ModelError, match=f"{op} x1"):
        importers.read(inside)


def test_a_subgraph_that_is_no_part_of_the_network_is_named(tmp_path: Path) -> None:
    specs = [words("x", 1, 4), words("s", 1, 4, scale=0.1)]
    first = OperatorSpec("ADD", [0, 0], 1, "AddOptions", SUMS, 2)
    path = saved(tmp_path, specs, [first], others=[(specs, [first])])
    assert "subgraph 1 of 1 operators: not imported" in fates(importers.read(path))


def test_a_shape_that_the_file_computes_is_a_constant(tmp_path: Path) -> None:
    """RESHAPE to [1, 2 * 3, 2] by SHAPE, STRIDED_SLICE, MUL and PACK"""
    one = [ints(f"c{i}", [i]) for i in range(4)]
    scalars = [TensorSpec(n, (), "int32") for n in ("a", "b", "ab")]
    specs = [words("x", 1, 2, 3, 2), TensorSpec("shape", (4,), "int32"), *one, *scalars,
             TensorSpec("to", (3,), "int32"), words("y", 1, 6, 2),
             ints("n1", np.int32(1)), ints("n2", np.int32(2))]  # fmt: skip
    cut, plain = {"ShrinkAxisMask": 1}, {"FusedActivationFunction": NONE}
    operators = [
        OperatorSpec("SHAPE", [0], 1, "", {}, 1),
        OperatorSpec("STRIDED_SLICE", [1, 3, 4, 3], 6, "StridedSliceOptions", cut, 1),
        OperatorSpec("STRIDED_SLICE", [1, 4, 5, 3], 7, "StridedSliceOptions", cut, 1),
        OperatorSpec("MUL", [6, 7], 8, "MulOptions", plain, 1),
        OperatorSpec("PACK", [11, 8, 12], 9, "PackOptions", {"ValuesCount": 3, "Axis": 0}, 1),
        OperatorSpec("RESHAPE", [0, 9], 10, "ReshapeOptions", {}, 1),
    ]
    imported = importers.read(saved(tmp_path, specs, operators))
    assert fates(imported).count("constant") == 5
    x = np.arange(12, dtype=np.int8).reshape(1, 2, 3, 2)
    assert np.array_equal(exact.run(imported.model, x)["y"], x.reshape(1, 6, 2))


def test_a_fold_with_a_fused_activation_is_refused(tmp_path: Path) -> None:
    """min(2 * 4, 6) is no 8, and no fold knows it."""
    specs = [words("x", 8), ints("a", [2]), ints("b", [4]), TensorSpec("to", (1,), "int32"),
             words("y", 8)]  # fmt: skip
    operators = [
        OperatorSpec("MUL", [1, 2], 3, "MulOptions", {"FusedActivationFunction": 3}, 1),
        OperatorSpec("RESHAPE", [0, 3], 4, "ReshapeOptions", {}, 1),
    ]
    with pytest.raises(ModelError, match="MUL"):
        importers.read(saved(tmp_path, specs, operators))


@pytest.mark.parametrize("op", ["DIV", "FLOOR_DIV", "FLOOR_MOD"])
def test_a_division_of_constants_by_zero_is_refused(tmp_path: Path, op: str) -> None:
    specs = [words("x", 8), ints("a", [8]), ints("b", [0]), TensorSpec("to", (1,), "int32"),
             words("y", 8)]  # fmt: skip
    table = {"DIV": "DivOptions", "FLOOR_DIV": "FloorDivOptions", "FLOOR_MOD": "FloorModOptions"}
    operators = [
        OperatorSpec(op, [1, 2], 3, table[op], {}, 1),
        OperatorSpec("RESHAPE", [0, 3], 4, "ReshapeOptions", {}, 1),
    ]
    with pytest.raises(ModelError, match=op):
        importers.read(saved(tmp_path, specs, operators))


def test_division_of_constants_truncates() -> None:
    """DIV: trunc(a / b), of words that no float64 holds as well"""
    a, b = np.array([7, -7, 7, -7, 2**62 + 1]), np.array([2, 2, -2, -2, 1])
    divided = FOLDS["DIV"](None, None)(a, b)
    assert divided.tolist() == [3, -3, -3, 3, 2**62 + 1]


def test_a_real_constant_that_the_file_quantizes_is_one_of_integers(tmp_path: Path) -> None:
    """away(0.07 / 0.1 + 3) == 4"""
    real = TensorSpec("r", (1,), "float32", data=np.array([0.07], np.float32))
    quantize = OperatorSpec("QUANTIZE", [2], 3, "QuantizeOptions", {}, 1)
    most = OperatorSpec("MAXIMUM", [1, 3], 4, "MaximumMinimumOptions", {}, 2)
    specs = (real, words("q", 1, scale=0.1, zero=3), words("y", 1, 4, scale=0.1, zero=3))
    first = OperatorSpec("ADD", [0, 0], 1, "AddOptions", SUMS, 2)
    given = [words("x", 1, 4), words("s", 1, 4, scale=0.1, zero=3), *specs]
    model = importers.read(saved(tmp_path, given, [first, quantize, most])).model
    assert exact.run(model, np.full((1, 4), -9))["y"].tolist() == [[4] * 4]


def test_words_that_the_file_fills_in_are_constants(tmp_path: Path) -> None:
    """FILL of a quantized zero, as a streaming network begins with"""
    zero = words("zero", scale=0.1, zero=3, data=np.array(3, np.int8))
    fill = OperatorSpec("FILL", [2, 3], 4, "FillOptions", {}, 3)
    most = OperatorSpec("MAXIMUM", [1, 4], 5, "MaximumMinimumOptions", {}, 2)
    specs = (ints("dims", [1, 4]), zero, words("z", 1, 4, scale=0.1, zero=3),
             words("y", 1, 4, scale=0.1, zero=3))  # fmt: skip
    first = OperatorSpec("ADD", [0, 0], 1, "AddOptions", SUMS, 2)
    given = [words("x", 1, 4), words("s", 1, 4, scale=0.1, zero=3), *specs]
    model = importers.read(saved(tmp_path, given, [first, fill, most])).model
    assert exact.run(model, np.full((1, 4), -9))["y"].tolist() == [[3] * 4]


def test_constants_with_scales_are_no_shapes(tmp_path: Path) -> None:
    """The sum of two quantized constants is one of real numbers, not of their integers."""
    a, b = (words(n, 1, 4, scale=s, data=np.full((1, 4), 10, np.int8)) for n, s in
            (("a", 0.1), ("b", 0.2)))  # fmt: skip
    both = OperatorSpec("ADD", [2, 3], 4, "AddOptions", SUMS, 2)
    last = OperatorSpec("ADD", [1, 4], 5, "AddOptions", SUMS, 2)
    specs = (a, b, words("ab", 1, 4, scale=0.1), words("y", 1, 4, scale=0.1))
    model = importers.read(summed(tmp_path, both, last, specs=specs)).model
    assert exact.run(model, np.zeros((1, 4), np.int8))["y"].tolist() == [[30] * 4]


def real_chain(folder: Path, *ops: tuple[str, list[int]], ends: bool = False) -> Path:
    """x, DEQUANTIZE, real operators from tensor 1 on; QUANTIZE and ADD unless it `ends`."""
    specs = [words("x", 1, 4), TensorSpec("r", (1, 4), "float32")]
    operators = [OperatorSpec("ADD", [0, 0], 2, "AddOptions", SUMS, 2),
                 OperatorSpec("DEQUANTIZE", [2], 1, "DequantizeOptions", {}, 2)]  # fmt: skip
    specs.append(words("s", 1, 4, scale=0.1))
    for op, inputs in ops:
        specs.append(TensorSpec(f"{op}{len(specs)}", (1, 4), "float32"))
        operators.append(OperatorSpec(op, inputs, len(specs) - 1, "", {}, 1))
    if not ends:
        specs.append(words("y", 1, 4))
        operators.append(
            OperatorSpec("QUANTIZE", [len(specs) - 2], len(specs) - 1, "QuantizeOptions", {}, 1)
        )
        specs.append(words("z", 1, 4, scale=0.1))
        both = [len(specs) - 2] * 2
        operators.append(OperatorSpec("ADD", both, len(specs) - 1, "AddOptions", SUMS, 2))
    return saved(folder, specs, operators)


def test_real_functions_between_words_are_one_table(tmp_path: Path) -> None:
    """y = away(sqrt(abs(0.1 s)) / 0.05)"""
    model = importers.read(real_chain(tmp_path, ("ABS", [1]), ("SQRT", [3]))).model
    assert [layer.op for layer in model.layers] == ["add", "table", "add"]
    found = exact.run(model, np.array([[0, 10, 40, 60]]))
    steps = np.sqrt(np.abs(found["s"] * 0.1)) / 0.05
    assert np.array_equal(found["y"], np.floor(steps + 0.5))


def test_real_functions_at_the_end_stay_the_host_s(tmp_path: Path) -> None:
    assert importers.read(real_chain(tmp_path, ("ABS", [1]), ends=True)).model.outputs == ("s",)


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ([("LOG", [1])], "gives nan at the word -128, of which TFLite's kernel makes no integer"),
        ([("SOFTMAX", [1])], "real functions before this QUANTIZE that are none of single words"),
    ],
)
def test_a_real_function_that_is_no_table_is_refused(
    ops: list[tuple[str, list[int]]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        importers.read(real_chain(tmp_path, *ops))


def test_a_custom_operator_names_where_to_end_before_it(tmp_path: Path) -> None:
    custom = OperatorSpec("CUSTOM", [1], 2, "", {}, 1)
    with pytest.raises(ModelError, match="or --until 's'"):
        importers.read(summed(tmp_path, custom, specs=(words("y", 1, 4),)))


def test_what_is_computed_of_indices_is_the_host_s(tmp_path: Path) -> None:
    """The row of the greatest word: FLOOR_DIV of what ARG_MAX gives, which is the network's end"""
    greatest = OperatorSpec("ARG_MAX", [1, 2], 3, "ArgMaxOptions", {"OutputType": 2}, 2)
    divided = OperatorSpec("FLOOR_DIV", [3, 4], 5, "", {}, 1)
    specs = (ints("axis", 1), TensorSpec("at", (1,), "int32"), ints("many", [2]),
             TensorSpec("row", (1,), "int32"))  # fmt: skip
    imported = importers.read(summed(tmp_path, greatest, divided, specs=specs))
    assert imported.model.outputs == ("at",)
    assert "FLOOR_DIV: left to the host: indices of words" in fates(imported)


def test_integers_that_become_real_numbers_by_themselves_are_words(tmp_path: Path) -> None:
    """CAST of a byte, DIV by 255, QUANTIZE: a table of 256 words"""
    specs = [TensorSpec("x", (1, 4), "uint8"), TensorSpec("f", (1, 4), "float32"),
             TensorSpec("c", (), "float32", data=np.array(255, np.float32)),
             TensorSpec("r", (1, 4), "float32"), words("q", 1, 4, scale=1 / 255, zero=-128),
             words("y", 1, 4, scale=2 / 255, zero=-128)]  # fmt: skip
    operators = [
        OperatorSpec("CAST", [0], 1, "CastOptions", {}, 1),
        OperatorSpec("DIV", [1, 2], 3, "DivOptions", {"FusedActivationFunction": NONE}, 1),
        OperatorSpec("QUANTIZE", [3], 4, "QuantizeOptions", {}, 1),
        OperatorSpec("ADD", [4, 4], 5, "AddOptions", SUMS, 2),
    ]
    model = importers.read(saved(tmp_path, specs, operators)).model
    x = np.array([[0, 7, 128, 255]], np.uint8)
    assert np.array_equal(exact.run(model, x)["q"], x.astype(np.int64) - 128)


def test_a_version_that_nobody_knows_yet_is_refused_by_name(tmp_path: Path) -> None:
    specs = [words("x", 1, 4), words("s", 1, 4, scale=0.1)]
    path = saved(tmp_path, specs, [OperatorSpec("ADD", [0, 0], 1, "AddOptions", SUMS, 9)])
    with pytest.raises(ModelError, match=r"ADD x1 .*version 9; nearest supported form: version 6"):
        importers.read(path)


def test_every_operator_that_is_imported_has_a_newest_version() -> None:
    assert set(HANDLERS) <= set(NEWEST)


def test_an_output_without_a_batch_axis_has_its_own_shape(tmp_path: Path) -> None:
    """TRANSPOSE and PAD of the first axis, as LiteRT gives them"""
    specs = [words("x", 1, 4, 3), ints("axes", [1, 0, 2]), words("y", 4, 1, 3),
             ints("ends", [[1, 0], [0, 0], [0, 0]]), words("z", 2, 4, 3)]  # fmt: skip
    operators = [OperatorSpec("TRANSPOSE", [0, 1], 2, "TransposeOptions", {}, 2),
                 OperatorSpec("PAD", [0, 3], 4, "PadOptions", {}, 2)]  # fmt: skip
    path = saved(tmp_path, specs, operators, outputs=[2, 4])
    x = np.arange(12, dtype=np.int8).reshape(1, 4, 3)
    np.save(tmp_path / "x.npy", x)
    out = tmp_path / "out.npz"
    command = ["run", str(path), "--input", str(tmp_path / "x.npy"), "-o", str(out)]
    assert main([*command, "--no-import-check"]) == 0
    with np.load(out) as file:
        assert np.array_equal(file["y"], x.transpose(1, 0, 2))
        assert np.array_equal(file["z"], np.pad(x, ((1, 0), (0, 0), (0, 0))))
    model = importers.read(path).model
    store.save(model, tmp_path / "net.npz")
    assert store.load(tmp_path / "net.npz").unbatched == ("y", "z")


BOXES = "CUSTOM TFLite_Detection_PostProcess"


@pytest.mark.parametrize("reals", [False, True])
def test_a_detector_ends_before_its_choice_of_boxes(reals: bool, tmp_path: Path) -> None:
    """Boxes and scores as words, or as real numbers behind DEQUANTIZE; anchors are constants"""
    scores = words("p", 1, 4, scale=2.0**-8, zero=-128)
    anchors = TensorSpec("a", (4,), "float32", data=np.ones(4, np.float32))
    more = [TensorSpec("rs", (1, 4), "float32"), TensorSpec("rp", (1, 4), "float32")]
    found = [TensorSpec(n, (1, 2), "float32") for n in ("boxes", "classes")]
    given = [words("x", 1, 4), words("s", 1, 4, scale=0.1), scores, anchors, *more, *found]
    operators = [OperatorSpec("ADD", [0, 0], 1, "AddOptions", SUMS, 2),
                 OperatorSpec("LOGISTIC", [1], 2, "", {}, 1)]  # fmt: skip
    for i in (0, 1) if reals else ():
        operators.append(OperatorSpec("DEQUANTIZE", [1 + i], 4 + i, "DequantizeOptions", {}, 2))
    operators.append(OperatorSpec(BOXES, [4, 5, 3] if reals else [1, 2, 3], [6, 7], "", {}, 1))
    specs = given if reals else [*given[:4], *more, *found]
    imported = importers.read(saved(tmp_path, specs, operators, outputs=[6, 7]))
    assert imported.model.outputs == ("s", "p")
    assert f"{BOXES}: left to the host" in fates(imported)


def test_another_custom_operator_is_refused_by_its_name(tmp_path: Path) -> None:
    own = OperatorSpec("CUSTOM MyOwn", [1], 2, "", {}, 1)
    with pytest.raises(ModelError, match=r"CUSTOM MyOwn x1 .* or --until 's'"):
        importers.read(summed(tmp_path, own, specs=(words("y", 1, 4),)))
