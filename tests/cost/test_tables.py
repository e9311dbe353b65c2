"""Technology and chip tables: loaded in SI units, extended, and refused with a reason."""

import math
from importlib.resources import files
from pathlib import Path

import pytest

from apsim import cost
from apsim.cost import quantity
from apsim.counts import Counts
from apsim.errors import InputError

TECHNOLOGIES = quantity.table_names("technologies")
CHIPS = quantity.table_names("chips")


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_every_constant_of_a_technology_has_a_source(name: str) -> None:
    for constant in cost.technology(name).constants.values():
        assert constant.source not in ("", "user")


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_a_technology_says_which_cells_a_write_charges_and_why(name: str) -> None:
    found = cost.technology(name)
    assert found.writes_charge == "driven"
    assert found.charge_source


@pytest.mark.parametrize("entry", ["'all'", "{ value = 'some' }", "{ valu = 'driven' }"])
def test_other_charges_are_refused(entry: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"extends = 'sram'\nwrites_charge = {entry}\n")
    with pytest.raises(InputError, match="writes_charge"):
        cost.technology(str(path))


@pytest.mark.parametrize("name", CHIPS)
def test_every_constant_of_a_chip_has_a_source(name: str) -> None:
    for constant in cost.chip(name).constants.values():
        assert constant.source not in ("", "user")


def test_table_6_is_held_in_si_units() -> None:
    sram, reram = cost.technology("sram"), cost.technology("reram")
    assert math.isclose(sram.cell_write_energy, 0.24e-15)
    assert math.isclose(reram.cell_write_energy, 21.7e-12)
    assert math.isclose(sram.sensing_capacitance, 50e-15)
    assert (sram.write_cycles, reram.write_cycles) == (2, 4)


def test_table_5_is_held_in_si_units() -> None:
    lr = cost.chip("lr")
    assert (lr.clusters, lr.caps, lr.rows, lr.columns) == (64, 4096, 4800, 16)
    assert (lr.frequency, lr.mesh_frequency, lr.link_bits) == (1e9, 5e8, 1024)


def test_the_hop_length_follows_from_the_area() -> None:
    """hop_length == sqrt(137.45 mm^2 / 64) / 8"""
    assert math.isclose(cost.chip("lr").hop_length, math.sqrt(137.45e-6 / 64) / 8, rel_tol=2e-3)


def test_the_calibrated_areas_give_the_published_ones() -> None:
    """total == 137.45 mm^2 and arrays == 641 GOPS/W / 8 GOPS/W/mm^2"""
    area = cost.chip_area(cost.chip("lr"), cost.technology("sram"))
    assert math.isclose(area.total, 137.45e-6, rel_tol=1e-3)
    assert math.isclose(area.arrays, 641 / 8 * 1e-6, rel_tol=1e-3)
    reram = cost.chip_area(cost.chip("lr"), cost.technology("reram"))
    assert math.isclose(area.total / reram.total, 4.4)


def test_a_compare_of_many_cells_discharges_every_line() -> None:
    """compare_energy(n) -> discharge_energy, and read_energy == compare_energy(1)"""
    sram = cost.technology("sram")
    assert math.isclose(sram.compare_energy(60), sram.discharge_energy)
    assert math.isclose(sram.discharge_energy, 1.55 * 50e-15)
    assert sram.read_energy == sram.compare_energy(1) == sram.discharge_energy / 2


def test_cycles_weigh_each_kind_of_operation() -> None:
    """cycles == compares + w writes + reads"""
    counts = Counts(compare=10, write=100, read=1000)
    assert cost.technology("sram").cycles(counts) == 1210
    assert cost.technology("reram").cycles(counts) == 1410


def test_writes_at_half_a_volt_take_the_published_energy() -> None:
    """0.24 fJ (0.5 V / 1 V)^2 == 0.06 fJ, with write errors at 0.021"""
    scaled = cost.technology("sram").at_write_voltage(0.5)
    assert math.isclose(scaled.cell_write_energy, 0.06e-15)
    assert scaled.write_error == 0.021
    assert math.isnan(cost.technology("sram").at_write_voltage(0.7).write_error)


@pytest.mark.parametrize("volts", [0.0, -1.0, 1.1])
def test_a_write_voltage_out_of_range_is_refused(volts: float) -> None:
    with pytest.raises(InputError, match="write voltage must be above 0 and at most"):
        cost.technology("sram").at_write_voltage(volts)


def test_reram_writes_have_no_voltage_law() -> None:
    with pytest.raises(InputError, match="reram-16nm: scaling of the write voltage"):
        cost.technology("reram").at_write_voltage(0.5)


def test_a_users_table_extends_a_bundled_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "lr"\nname = "mine"\nclusters = 16\n')
    mine = cost.chip(str(path))
    assert mine.caps == 1024
    assert mine.rows == cost.chip("lr").rows
    assert mine.as_dict()["clusters"] == 16


WRONG = {
    'extends = "lr"\nclustres = 16': "unknown key 'clustres'; did you mean 'clusters'",
    'extends = "lr"\nfrequency = 1.0': "frequency: the unit is missing",
    'extends = "lr"\nrows = { value = -1, unit = "1" }': "rows: wanted a positive number, got -1",
    'extends = "lr"\nrows = { value = 0, unit = "1" }': "rows: wanted a positive number, got 0",
    'extends = "lr"\nrows = { value = "x", unit = "1" }': "wanted a positive number, got 'x'",
    'extends = "lr"\nrows = 1.5': "rows: wanted a whole number, got 1.5",
    'extends = "lr"\nfrequency = { value = 1, unit = "fJ" }': "'fJ' is not one of Hz, MHz, GHz",
    'extends = "lr"\nrows = { value = 1, unit = "1", note = "" }': "unknown key 'note'",
    'extends = "lr"\nap = "3d"': "ap: '3d' is not one of 1d, 2d",
    'extends = "bf-imna-rl"': "did you mean 'bf-imna-lr'",
    'name = "bare"': "'clusters' is missing; give it, or extends",
    "name = ": "mine.toml: ",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_chip_is_refused_with_its_reason(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError) as refusal:
        cost.chip(str(path))
    assert WRONG[text] in str(refusal.value)


def test_a_missing_table_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'reram-16nm'"):
        cost.technology("reram-16")
    with pytest.raises(InputError, match=r"cannot read nowhere\.toml"):
        cost.technology("nowhere.toml")


@pytest.mark.parametrize("name", ["pcm", "fefet"])
def test_a_template_is_refused_until_it_is_filled(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fill in the lines"):
        cost.technology(name)
    text = files("apsim.cost").joinpath("templates", f"{name}-template.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match="wanted a positive number, got 'FILL'"):
        cost.technology(str(path))
    path.write_text(text.replace('"FILL"', "2"))
    assert cost.technology(str(path)).write_cycles == 2


def test_a_table_that_extends_itself_is_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text(f'extends = "{second}"')
    for base in (first, second):
        second.write_text(f'extends = "{base}"')
        with pytest.raises(InputError, match="cannot extend itself"):
            cost.chip(str(first))


def test_a_table_without_a_name_has_that_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "lr"')
    assert cost.chip(str(path)).name == "mine"


@pytest.mark.parametrize(("value", "error"), [("1", ""), ("1.5", "wanted a probability, got 1.5")])
def test_a_write_error_is_a_probability(value: str, error: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = f'extends = "sram"\nwrite_error = {value}\n'
    path.write_text(text)
    if not error:
        assert cost.technology(str(path)).write_error == 1
        return
    with pytest.raises(InputError, match=error):
        cost.technology(str(path))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    for clusters in (2, 3):
        path.write_text(f'extends = "lr"\nclusters = {clusters}\n')
        assert cost.chip(str(path)).clusters == clusters
