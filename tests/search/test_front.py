"""The exact front: HAWQ's published widths, brute force, ties, and goldens of AP costs."""

from __future__ import annotations

import csv
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim.errors import InputError
from apsim.nn.search import best, front, limit, total
from apsim.nn.zoo import sensitivities
from apsim.nn.zoo.bundled import data_file
from tests.conftest import ROOT

DATA = ROOT.parent / "shared" / "design" / "data"
GOLDEN = {  # {4, 8}: HAWQ-V3's bit_config.py, in the order of its slots
    ("modelsize", 0.75): "8888888888888488884",
    ("modelsize", 0.5): "8888888888888884844",
    ("modelsize", 0.25): "8888888888888844444",
    ("bops", 0.75): "8888888848888484884",
    ("bops", 0.5): "8884888848884444444",
    ("bops", 0.25): "8884848444444444444",
    ("latency", 0.75): "8888888848888484884",
    ("latency", 0.5): "8888848848884484844",
    ("latency", 0.25): "8884848444444444444",
}
OURS = {0.75: "8887878768787687876", 0.5: "8776767657676576765", 0.25: "7665656546565455554"}


def hawq(network: str) -> list[dict[str, str]]:
    lines = data_file(f"hawq_{network}.csv").read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def hawq_costs(network: str) -> dict[str, dict[str, dict[int, float]]]:
    """HAWQ's three costs at 4 and 8 bits: bits of weights, bit operations, T4 milliseconds."""
    rows = hawq(network)
    named = [(row["layer"] or f"slot {k}", row) for k, row in enumerate(rows)]
    return {
        "modelsize": {n: {b: float(r["params"]) * b for b in (4, 8)} for n, r in named},
        "bops": {n: {b: float(r["macs"]) * b * b for b in (4, 8)} for n, r in named},
        "latency": {n: {b: float(r[f"t4_int{b}_ms"]) for b in (4, 8)} for n, r in named},
    }


@pytest.mark.parametrize("cost,part", GOLDEN)
def test_the_front_gives_hawqs_published_widths_of_resnet18(cost: str, part: float) -> None:
    """best(front(omega, cost), C4 + f (C8 - C4)) == HAWQ-V3's list"""
    given = sensitivities.read("hawq:resnet18", (4, 8))
    costs = hawq_costs("resnet18")[cost]
    chosen = best(front(given.losses, costs, given.ties), limit(costs, part))
    assert "".join(map(str, chosen.widths)) == GOLDEN[cost, part]


def test_six_of_hawqs_lists_of_resnet50_are_optimal_and_three_break_their_own_limit() -> None:
    path = DATA / "hawq_configs.csv"
    if not path.is_file():
        pytest.skip("no published lists of ResNet50 beside the project")
    text = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    given, costs = sensitivities.read("hawq:resnet50", (4, 8)), hawq_costs("resnet50")
    for row in csv.DictReader(text):
        if row["network"] != "resnet50":
            continue
        published = tuple(map(int, row["published"].split()))
        table = costs[row["criterion"]]
        most = limit(table, float(row["fraction"]))
        chosen = best(front(given.losses, table, given.ties), most)
        if row["criterion"] == "modelsize":
            assert total(table, published) > 1.1 * most
            assert chosen.widths != published
        else:
            assert chosen.widths == published


def test_the_optima_of_executed_joules_are_those_worked_out_before() -> None:
    path = DATA / "resnet18_executed_2d.csv"
    if not path.is_file():
        pytest.skip("no executed costs of ResNet18 beside the project")
    text = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    given = sensitivities.read("hawq:resnet18", range(2, 9))
    costs: dict[str, dict[int, float]] = {name: {} for name in given.losses}
    for row in csv.DictReader(text):
        if row["layer"] in costs and row["ap"] == "2d":
            costs[row["layer"]][int(row["bits"])] = float(row["joules_sram"])
    ours = front(given.losses, costs, given.ties)
    low, high = (sum(row[bits] for row in costs.values()) for bits in (4, 8))
    for part, widths in OURS.items():
        assert "".join(map(str, best(ours, low + part * (high - low)).widths)) == widths


@st.composite
def instances(draw: st.DrawFn) -> tuple[dict[str, dict[int, float]], dict[str, dict[int, float]]]:
    """Five layers of two to four widths: equal and zero costs, negative losses."""
    losses, costs = {}, {}
    for name in "abcde":
        widths = range(2, 2 + draw(st.integers(2, 4)))
        losses[name] = {w: float(draw(st.integers(-5, 20))) for w in widths}
        costs[name] = {w: float(draw(st.integers(0, 6))) for w in widths}
    return losses, costs


@given(instances())
def test_the_front_is_that_of_every_setting(instance: tuple[dict, dict]) -> None:  # type: ignore[type-arg]
    """{(cost, loss) of front} == the Pareto front of all settings, strictly monotone."""
    losses, costs = instance
    every = sorted((total(costs, w), total(losses, w)) for w in product(*losses.values()))
    kept: list[tuple[float, float]] = []
    for point in every:
        if not kept or point[1] < kept[-1][1]:
            kept.append(point)
    found = front(losses, costs)
    assert [(one.cost, one.loss) for one in found] == kept
    for one in found:
        assert (total(costs, one.widths), total(losses, one.widths)) == (one.cost, one.loss)
    assert all(a.cost < b.cost and a.loss > b.loss for a, b in pairwise(found))


@given(instances())
def test_tied_layers_take_one_width(instance: tuple[dict, dict]) -> None:  # type: ignore[type-arg]
    """front(tied) == front of the settings in which tied layers agree."""
    losses, costs = instance
    losses["b"], costs["b"] = dict(losses["a"]), dict(costs["a"])
    found = front(losses, costs, [("a", "b")])
    assert all(one.widths[0] == one.widths[1] for one in found)
    agreeing = [w for w in product(*losses.values()) if w[0] == w[1]]
    assert found[-1].loss == min(total(losses, w) for w in agreeing)


def test_what_cannot_be_searched_is_refused_by_name() -> None:
    losses = {"a": {2: 1.0, 3: 0.0}, "b": {2: 1.0, 4: 0.0}}
    costs = {name: {w: float(w) for w in row} for name, row in losses.items()}
    with pytest.raises(InputError, match="no layer 'c'"):
        front(losses, costs, [("a", "c")])
    with pytest.raises(InputError, match="different widths"):
        front(losses, costs, [("a", "b")])
    with pytest.raises(InputError, match="no cost at 3 bits"):
        front(losses, {**costs, "a": {2: 1.0}})
    with pytest.raises(InputError, match="loss must be finite"):
        front({**losses, "a": {2: float("nan"), 3: 0.0}}, costs)
    with pytest.raises(InputError, match="below the narrowest widths"):
        best(front(losses, costs), 1.0)
    with pytest.raises(InputError, match=r"0\.\.100 %"):
        limit(costs, 1.5)


@pytest.mark.parametrize(
    "text,message",
    [
        ("", "wanted a header"),
        ("layer,width\na,4\n", "wanted the columns layer, width, loss"),
        ("layer,width,loss\na,9,0\n", "line 2: width 9 lies outside 4..8"),
        ("layer,width,loss\na,4,nan\n", "line 2: loss must be a finite number, got 'nan'"),
        ("# note\nlayer,width,loss\na,4,0\na,4,0\n", "line 4: layer and width met twice"),
        ("layer,width,loss\na,4,0\n", "layer 'a' has no loss at 8 bits"),
        ("layer,width,loss\na,4\n", "line 2: not as many cells"),
        ("layer,same_as,hessian_trace,dw2_8,dw2_4\na,7,1,1,1\n", "same_as wants a slot below 1"),
    ],
)
def test_a_file_of_losses_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sensitivities.parse(text, "losses.csv", (4, 8))


def test_negative_losses_and_comments_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text("# a comment\nlayer,width,loss\na,4,-0.5\n\na,8,0\n")
    assert sensitivities.read(str(path), (4, 8)).losses == {"a": {4: -0.5, 8: 0.0}}
