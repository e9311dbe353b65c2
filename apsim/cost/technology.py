"""Cell technologies: what one compare, write and read of a cell costs.

The rule: everything that differs between SRAM and ReRAM, or between two calibrations
of the model, is a constant here; nothing about chips or networks is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from apsim.cost.quantity import Quantity, WithConstants, parse_quantity, read_table, refuse_unknown
from apsim.counts import Activity, Counts
from apsim.errors import InputError

__all__ = ["Technology", "technology"]

FOLDER = "technologies"
TEMPLATES = ("pcm", "fefet")
CHARGES = ("driven", "flipped")
ALIASES = {
    "sram": "sram-16nm",
    "reram": "reram-16nm",
    "sram-b": "sram-16nm-b",
    "reram-b": "reram-16nm-b",
}


def _si(unit: str) -> Any:
    return field(metadata={"unit": unit})


@dataclass(frozen=True)
class Technology(WithConstants):
    """One cell technology in SI units; `constants` keeps units, sources and calibrations.

    `writes_charge` says which cells of an executed write take `cell_write_energy`: all that
    it drove ("driven"), or those whose value changed ("flipped"); `charge_source` says why.
    """

    name: str
    about: str
    supply_voltage: float = _si("V")
    sensing_capacitance: float = _si("F")
    compare_factor: float = _si("1")
    peak_compare_factor: float = _si("1")
    on_resistance: float = _si("ohm")
    off_resistance: float = _si("ohm")
    low_resistance: float = _si("ohm")
    high_resistance: float = _si("ohm")
    cell_write_energy: float = _si("J")
    compare_cycles: float = _si("cycle")
    write_cycles: float = _si("cycle")
    read_cycles: float = _si("cycle")
    cell_writes_per_bit_pair: float = _si("1")
    cell_writes_per_vertical_add: float = _si("1")
    cell_area: float = _si("m^2")
    weight_bit_area: float = _si("m^2")
    area_divisor: float = _si("1")
    scaled_write_voltage: float | None = None
    write_error: float = 0.0
    writes_charge: str = "driven"
    charge_source: str = ""
    constants: Mapping[str, Quantity] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, compare=False
    )

    def compare_energy(self, cells: int) -> float:
        """Mean energy of a compare of `cells` cells of one line, random data, in J.

        kappa C_in V^2 (1 - 2^-n): a line discharges fully unless all n cells match.
        """
        return self.discharge_energy * (1 - 2.0**-cells)

    @property
    def discharge_energy(self) -> float:
        """Energy of one mismatching line, kappa C_in V^2, in J."""
        return self.compare_factor * self.sensing_capacitance * self.supply_voltage**2

    @property
    def read_energy(self) -> float:
        """Mean energy to read a cell: half of the lines hold a 0 and discharge, in J."""
        return self.compare_energy(1)

    def write_energy(self, activity: Activity, charge: str | None = None) -> float:
        """Energy of executed writes in J, of the cells in `charge` (default: `writes_charge`)."""
        driven = (charge or self.writes_charge) == "driven"
        return (activity.written if driven else activity.flipped) * self.cell_write_energy

    def cycles(self, counts: Counts) -> int:
        """Clock cycles of `counts` operations, one after another."""
        total = (
            counts.compare * self.compare_cycles
            + counts.write * self.write_cycles
            + counts.read * self.read_cycles
        )
        return round(total)

    def at_write_voltage(self, volts: float) -> Technology:
        """This technology with cells written at `volts`: the write energy scales with V^2.

        At 0.5 V this is Table VI's 0.24 fJ scaled to the 0.06 fJ of section V.A.  The
        error probability is known at the two published voltages only, and 0 elsewhere
        would be a guess: `write_error` is NaN there.  Raises `InputError` for a voltage
        outside (0, V_DD] and for a technology whose writes are not CMOS writes.
        """
        if not 0 < volts <= self.supply_voltage:
            raise InputError(
                f"write voltage must be above 0 and at most {self.supply_voltage} V, got {volts}"
            )
        if volts == self.supply_voltage:
            return self
        if self.scaled_write_voltage is None:
            raise InputError(f"{self.name}: scaling of the write voltage is not defined for it")
        ratio = volts / self.supply_voltage
        error = self.write_error if volts == self.scaled_write_voltage else float("nan")
        return replace(
            self,
            name=f"{self.name} at {volts:g} V",
            cell_write_energy=self.cell_write_energy * ratio**2,
            write_error=error,
        )


def technology(name: str) -> Technology:
    """The bundled technology `name`, or the one in the TOML file at path `name`.

    Raises `InputError` for unknown names and keys, missing units, and constants that
    are not positive.

    >>> technology("sram-16nm").cell_write_energy
    2.4e-16
    """
    if name in TEMPLATES:
        template = files("apsim.cost").joinpath("templates", f"{name}-template.toml")
        raise InputError(
            f"{name}: the paper gives no constants for it; copy {template}, fill in the lines "
            "that say FILL, and give the file"
        )
    return _load(name) if name.endswith(".toml") else _bundled(name)


def _load(name: str) -> Technology:
    return from_table(read_table(FOLDER, name, ALIASES), name)


_bundled = cache(_load)  # a user's file may change between two calls, these do not


def from_table(table: Mapping[str, Any], where: str) -> Technology:
    """A technology from the entries of a TOML table; `where` names it in errors."""
    units = {f.name: f.metadata["unit"] for f in fields(Technology) if "unit" in f.metadata}
    optional = ("scaled_write_voltage", "write_error", "writes_charge")
    refuse_unknown(where, table, ("name", "about", *units, *optional))
    missing = [key for key in units if key not in table]
    if missing:
        raise InputError(f"{where}: {missing[0]!r} is missing; give it, or extends = 'sram-16nm'")
    found = {key: parse_quantity(f"{where}, {key}", table[key], units[key]) for key in units}
    scaled, error = None, 0.0
    if "scaled_write_voltage" in table:
        entry = table["scaled_write_voltage"]
        found["scaled_write_voltage"] = parse_quantity(f"{where}, scaled_write_voltage", entry, "V")
        scaled = found["scaled_write_voltage"].si
    if "write_error" in table:
        found["write_error"] = parse_quantity(f"{where}, write_error", table["write_error"], "1")
        error = found["write_error"].si
        if error > 1:
            raise InputError(f"{where}, write_error: wanted a probability, got {error:g}")
    charge, source = _charge(f"{where}, writes_charge", table.get("writes_charge", {}))
    return Technology(
        name=str(table.get("name", where)),
        about=str(table.get("about", "")),
        scaled_write_voltage=scaled,
        write_error=error,
        writes_charge=charge,
        charge_source=source,
        constants=MappingProxyType(found),
        **{key: found[key].si for key in units},
    )


def _charge(where: str, entry: object) -> tuple[str, str]:
    """Which cells of a write take its energy, and the source of that."""
    if not isinstance(entry, dict):
        raise InputError(f"{where}: wanted a table with a value and a source, got {entry!r}")
    refuse_unknown(where, entry, ("value", "source"))
    value = entry.get("value", CHARGES[0])
    if value not in CHARGES:
        raise InputError(f"{where}: wanted one of {', '.join(CHARGES)}, got {value!r}")
    return value, str(entry.get("source", ""))
