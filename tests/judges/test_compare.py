"""What differs is counted, explained by arithmetic or not at all, and never hidden."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from apsim.nn import exact, importers
from apsim.nn.importers import Imported
from apsim.nn.judges import cases, kinds
from apsim.nn.judges.against import Verdict
from apsim.nn.judges.compare import Agreement, agreed, compare, merged
from apsim.nn.judges.reading import Reading
from apsim.report.run.agreement import agreement_lines
from tests.helpers.judge_models import conv_net, node, saved
from tests.helpers.judged import judged


def mean_net(path: Path) -> Path:
    """Signed bytes, the mean of 2 x 2 in the same scale: a quarter of all sums are ties."""
    nodes = [
        node("QuantizeLinear", "x s z", "xq"), node("DequantizeLinear", "xq s z", "xd"),
        node("AveragePool", "xd", "m", kernel_shape=[2, 2], strides=[2, 2]),
        node("QuantizeLinear", "m s z", "yq"), node("DequantizeLinear", "yq s z", "y"),
    ]  # fmt: skip
    return saved(path, nodes, {"s": np.float32(0.1), "z": np.int8(0)}, ("n", 2, 8, 8))


def reading(path: Path, imported: Imported, n: int = 3) -> tuple[cases.Case, Reading]:
    case = list(cases.drawn(imported.model, n))[1]
    return case, kinds.judge("reference", path).read(case.feeds)


def spoilt(given: Reading, name: str, by: int, at: tuple[int, ...]) -> Reading:
    """The reading with one integer changed, and every value of that name after it."""
    value = given.values[name].copy()
    value[at] += by
    return replace(given, values={**given.values, name: value})


def one(judged: list[Agreement], name: str) -> Agreement:
    return next(found for found in judged if found.name == name)


def test_ties_that_float32_decides_are_proved_half_way(tmp_path: Path) -> None:
    """(a + b + c + d) / 4 has a remainder of one half wherever the two differ"""
    path = mean_net(tmp_path / "mean.onnx")
    imported = importers.read(path)
    case, theirs = reading(path, imported, 40)
    found = compare(imported.model, imported.origins, case.x, theirs)
    mean = one(found, "yq")
    assert mean.forced > 0 and mean.ties == mean.forced and mean.float32 == 0
    x = case.x[imported.model.input]
    ours = exact.run(imported.model, case.x)[imported.model.output]
    sums = x.reshape(40, 2, 4, 2, 4, 2).sum(axis=(3, 5))
    differ = np.argwhere(ours != theirs.values["yq"])
    assert len(differ) == mean.forced
    assert all(Fraction(int(sums[tuple(at)]), 4) % 1 == Fraction(1, 2) for at in differ)
    assert agreed(found)


def test_a_difference_away_from_half_way_is_not_explained(tmp_path: Path) -> None:
    path = mean_net(tmp_path / "mean.onnx")
    imported = importers.read(path)
    case, theirs = reading(path, imported)
    sums = case.x[imported.model.input].reshape(3, 2, 4, 2, 4, 2).sum(axis=(3, 5))
    at = tuple(int(i) for i in np.argwhere(sums % 4 == 0)[0])
    before = one(compare(imported.model, imported.origins, case.x, theirs), "yq").unexplained
    found = one(
        compare(imported.model, imported.origins, case.x, spoilt(theirs, "yq", 1, at)), "yq"
    )
    assert before == 0 and found.unexplained == 1 and not found.equal
    ours = int(sums[at]) // 4
    assert found.first == f"{list(at)}: {ours}, the judge has {ours + 1}"


def test_a_real_value_off_the_grid_differs_and_is_not_truncated(tmp_path: Path) -> None:
    path = mean_net(tmp_path / "mean.onnx")
    imported = importers.read(path)
    case, theirs = reading(path, imported)
    value = theirs.values["y"].copy()
    value[0, 0, 0, 0] += np.float32(0.04)  # four tenths of a step
    off = Reading({**theirs.values, "y": value})
    found = one(compare(imported.model, imported.origins, case.x, off), "y")
    assert found.unexplained >= 1 and "the judge has" in found.first


def test_integers_that_a_clip_narrowed_carry_the_name_of_the_clip(tmp_path: Path) -> None:
    path = conv_net(tmp_path / "net.onnx")
    imported = importers.read(path)
    case, theirs = reading(path, imported)
    found = compare(imported.model, imported.origins, case.x, theirs)
    names = {agreement.name for agreement in found}
    assert {"xq", "xd", "yc", "y"} <= names and "yq" not in names
    assert all(agreement.equal for agreement in found)


def test_a_tensor_is_counted_once_however_many_names_it_has(tmp_path: Path) -> None:
    path = conv_net(tmp_path / "net.onnx")
    imported = importers.read(path)
    case, theirs = reading(path, imported)
    found = compare(imported.model, imported.origins, case.x, theirs)
    assert sum(agreement.total for agreement in found) == 3 * (75 + 75)


def test_shapes_that_differ_are_a_line(tmp_path: Path) -> None:
    path = conv_net(tmp_path / "net.onnx")
    imported = importers.read(path)
    case, theirs = reading(path, imported)
    flat = Reading({**theirs.values, "yc": theirs.values["yc"].reshape(3, -1)})
    found = one(compare(imported.model, imported.origins, case.x, flat), "yc")
    assert found.problem == "shape [3, 3, 5, 5], the judge has shape [3, 75]"
    assert not found.equal and found.unexplained == found.total


def test_what_a_layer_gets_wrong_does_not_hide_the_next(tmp_path: Path) -> None:
    """Layer by layer each gets the judge's own integers"""
    path = conv_net(tmp_path / "net.onnx", clip=False)
    imported = importers.read(path)
    case, theirs = reading(path, imported)
    wrong = spoilt(theirs, "xq", -90 if theirs.values["xq"][0, 0, 0, 0] > 0 else 90, (0, 0, 0, 0))
    found = compare(imported.model, imported.origins, case.x, wrong)
    assert one(found, "xq").forced == 1
    assert one(found, "yq").forced >= 1  # it was fed what the judge says it had


def test_end_to_end_a_difference_needs_an_explained_one_before_it() -> None:
    exactly = Agreement("a", "a", "a", 10)
    follows = Agreement("b", "b", "b", 10, whole=2)
    tie = Agreement("a", "a", "a", 10, forced=1, ties=1)
    assert not agreed([exactly, follows]) and agreed([tie, follows])
    assert not agreed([replace(tie, forced=2), follows])


def test_runs_add_up() -> None:
    runs = [[Agreement("a", "a", "a", 10, forced=1, first="x")], [Agreement("a", "a", "a", 5)]]
    assert merged(runs) == [Agreement("a", "a", "a", 15, forced=1, first="x")]


@pytest.mark.parametrize("judge", ["reference", "onnxruntime", "onnxruntime-plain"])
@pytest.mark.parametrize("batch", ["n", 2])
def test_judges_agree_with_a_right_import(tmp_path: Path, judge: str, batch: object) -> None:
    if judge != "reference":
        pytest.importorskip("onnxruntime")
    path = conv_net(tmp_path / "net.onnx", batch=batch)
    imported = importers.read(path)
    x = np.random.default_rng(1).integers(-128, 128, (6, 3, 5, 5))
    verdict = judged(path, imported, x, judge)
    assert verdict.agreed and verdict.sum("forced") == verdict.sum("float32")
    assert verdict.compared == (1, 6 * 75)


def test_a_tensor_with_two_names_is_not_said_to_have_no_integers() -> None:
    """Its integers stand under the first name; what differs under the other is said beside it"""
    alike = Agreement("c", "y", "y", 0, forced=1, ties=1)
    verdict = Verdict("onnxruntime", "onnx-exact", 1, (alike,), frozenset("c"))
    assert "c (tensor 'y' of the file): 1, counted above, with" in list(agreement_lines(verdict))[1]
