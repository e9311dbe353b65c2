"""A chip of CAPs that runs functions load by load, and adds up what they took.

The rule: a load is one function on one array: one cut to the load whose cells hold 0 before it,
or a CAP in use, with all its rows and what the load before left there.  The chip's counters
hold what its loads executed, and nothing is taken from a formula.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from apsim import cam, controller
from apsim.ap_kind import ApKind
from apsim.cam import lanes
from apsim.cam.base import Cam
from apsim.cost.chip import Chip as TableOfChip
from apsim.cost.chip import chip as cost_chip
from apsim.counts import Activity, Counts
from apsim.errors import InputError, ProgramError
from apsim.functions import Function
from apsim.nn.on_ap.seconds import Clock
from apsim.nn.on_ap.tasks import UNLIMITED
from apsim.ops.rows import BROADCASTS
from apsim.records import Record, Tabular

__all__ = ["Chip", "Design", "design_of"]


@dataclass(frozen=True)
class Design:
    """Sizes of a chip: clusters of CAPs, and a CAP's rows and physical columns.

    `columns` is what the emulator lets a program use; the paper's 16 columns hold two
    8-bit operands and no product, carry or flag.  `infinite` says that there are as many CAPs as
    a layer needs.
    """

    name: str
    clusters: int
    caps: int
    rows: int
    columns: int
    source: str
    infinite: bool = False

    @property
    def shared(self) -> int:
        """CAPs that the loads of a layer are spread over."""
        return UNLIMITED if self.infinite else self.clusters * self.caps


COLUMNS_EACH = 10
"""Columns of an emulated CAP for each that the chip's table has for operands."""


def design_of(table: TableOfChip) -> Design:
    """The sizes in a chip's table, as the emulator has them."""
    columns = table.columns * COLUMNS_EACH
    return Design(
        table.name, table.clusters, table.caps_per_cluster, table.rows, columns, table.about,
        table.infinite,
    )  # fmt: skip


REQUANT = ("host", "ap")
MAPPINGS = ("im2col", "weights", "auto")
ARRAYS = ("load", "cap")
COSTS = ("energy", "cycles", "latency")


class UsedCap:
    """The cells of one CAP, on which all loads run one after another, and nobody clears them.

    Its arrays have all `rows` of the CAP and the columns of a load: a step of a column acts on
    every row, one of a row on the load's columns.  Cells beyond these keep what they hold.
    """

    def __init__(self, engine: str, rows: int) -> None:
        self.engine, self.rows = engine, rows
        self.cells = np.zeros((rows, 0), bool)
        self.now: Cam | None = None

    def array(self, columns: int) -> Cam:
        """The CAP's first `columns` columns, as the last load left them."""
        if self.now is None or self.now.columns != columns:
            self._take_back()
            more = max(columns - self.cells.shape[1], 0)
            self.cells = np.pad(self.cells, ((0, 0), (0, more)))
            self.now = cam.make(self.engine, self.rows, columns)
            self.now.poke(self.cells[:, :columns])
        return self.now

    def _take_back(self) -> None:
        if self.now is not None:
            self.cells[:, : self.now.columns] = self.now.peek()


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int | np.integer) and bool(value >= least)


class Chip(Tabular):
    """CAPs of one AP kind, emulated on arrays of the given engine.

    Loads of dot products run side by side, as lanes, on `threads` threads; one after
    another where `literal` says so, and on the dense engine.  `requant` says who turns
    accumulators into activations: the "host", or the "ap" itself.  `mapping` says how products
    of weights are laid over CAPs: "im2col" (the paper's), "weights" (in the program), or for
    each layer what costs less ("auto"), in `cost`.  `broadcast` is how a word comes to all rows
    of its group (a key of `ops.rows.BROADCASTS`).  `array` says what a load runs on: an array
    cut to the "load" and zeroed before it, or a "cap" in use, all its rows, on the cells that the
    load before left; counts are equal, activity differs, and loads then run one after another.
    `clock` says where the time went.
    """

    def __init__(
        self,
        design: Design,
        *,
        ap: ApKind | str = "2d",
        engine: str = "strict",
        threads: int = 2,
        literal: bool = False,
        requant: str = "host",
        mapping: str = "im2col",
        cost: str = "energy",
        broadcast: str = "group",
        array: str = "load",
    ) -> None:
        if engine not in cam.ENGINES:
            cam.make(engine, 1, 1)  # raises with the known names
        if not _whole(threads, 1):
            raise InputError(f"wanted at least one thread, got {threads}")
        for name, value, known in (
            ("requant", requant, REQUANT), ("mapping", mapping, MAPPINGS), ("cost", cost, COSTS),
            ("broadcast", broadcast, BROADCASTS),
            ("array", array, ARRAYS),
        ):  # fmt: skip
            if value not in known:
                raise InputError(f"{name}: wanted one of {', '.join(known)}, got {value!r}")
        self.requant, self.mapping, self.cost = requant, mapping, cost
        self.broadcast = broadcast
        self.design, self.kind, self.engine = design, ApKind.named(ap), engine
        self.threads, self.array = threads, array
        self.literal = literal or engine == "dense" or array == "cap"
        if engine != "dense":  # what a chip needs is there before its first load
            (cam.prepare if self.literal else lanes.prepare)()
        self.counts, self.activity, self.loads = Counts(), Activity(), 0
        self.clock = Clock()
        self._arrays: dict[tuple[int, int], tuple[Cam, object]] = {}
        self.used = UsedCap(engine, design.rows)

    @classmethod
    def preset(
        cls,
        name: str,
        *,
        ap: ApKind | str | None = None,
        engine: str = "strict",
        threads: int = 2,
        literal: bool = False,
        requant: str = "host",
        mapping: str = "im2col",
        cost: str = "energy",
        broadcast: str = "group",
        array: str = "load",
        rows: int | None = None,
        columns: int | None = None,
    ) -> Chip:
        """A chip of `apsim.cost` by name or TOML file, its CAPs' rows and columns as given.

        `ap` None takes the kind that the chip's table names.  Raises `InputError` for a chip
        that there is not.
        """
        table = cost_chip(name)
        ap, design = table.ap if ap is None else ap, design_of(table)
        if rows is not None:
            design = replace(design, rows=rows)
        if columns is not None:
            design = replace(design, columns=columns)
        if not (_whole(design.rows, 2) and _whole(design.columns, 1)):
            raise InputError(
                f"wanted CAPs of 2 rows and 1 column at least, got {design.rows} x {design.columns}"
            )
        return cls(design, ap=ap, engine=engine, threads=threads, literal=literal, requant=requant,
                   mapping=mapping, cost=cost, broadcast=broadcast, array=array)  # fmt: skip

    def execute(self, function: Function, data: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Run one load on a CAP; gives the words put out, [rows or groups].

        Raises `ProgramError` where the function does not fit a CAP.
        """
        self.clock.turn("program")
        self.require(function)
        out: NDArray[np.uint64] = self._execute(function, data, 1)[0]
        return out

    def execute_next(
        self, function: Function, data: NDArray[np.uint64], first: bool
    ) -> NDArray[np.uint64]:
        """Run a part of a load, its first on cells of zeros and others on those that are left.

        Gives the words put out, [ports, rows].
        """
        self.clock.turn("program")
        self.require(function)
        return self._execute(function, data, int(first))

    def execute_beside(
        self, tall: Function, load: Function, loads: int, data: NDArray[np.uint64]
    ) -> NDArray[np.uint64]:
        """Run `loads` loads of a function without vertical steps on one tall array.

        Its rows know nothing of each other, so `tall`, the same function with as many rows
        as all loads, does to each row what `load` does.  Counts are those of the loads.
        """
        self.clock.turn("program")
        self.require(load)
        program = load.program
        if not np.array_equal(tall.program.code.steps, program.code.steps):
            raise ProgramError(f"{load.name}: loads side by side must have one program")
        out: NDArray[np.uint64] = self._execute(tall, data, loads)[0]
        return out

    def _execute(
        self, function: Function, data: NDArray[np.uint64], loads: int
    ) -> NDArray[np.uint64]:
        """Run a function on an array of zeros, or a CAP in use, and note what its loads took.

        No `loads`: it goes on with one that has begun, on the cells as they are.
        """
        self.clock.turn("load")
        rows = data.shape[1]
        if self.array == "load":
            array, zero = self._array(function)
            if loads:
                array.restore(zero)
        else:
            array = self.used.array(function.columns)
            idle = np.zeros((len(data), array.rows - rows), np.uint64)
            data = np.hstack([data, idle])
        self.clock.turn("passes")
        out = np.zeros((function.ports, data.shape[1]), np.uint64)
        execution = controller.run(function.program, array, data, out)
        self.clock.turn("unload")
        counts = controller.counted(execution, function.program, max(loads, 1))
        self.note(sum(counts.values(), Counts()), execution.activity, loads)
        return out[:, :rows]

    def note(self, counts: Counts, activity: Activity, loads: int) -> None:
        """Add what loads took that ran side by side."""
        self.counts += counts
        self.activity += activity
        self.loads += loads

    def require(self, function: Function) -> None:
        """Refuse a function that does not fit a CAP, with what it needs and what there is."""
        design = self.design
        function.require(design.rows, design.columns, f"a CAP of {design.name}")

    def _array(self, function: Function) -> tuple[Cam, object]:
        size = function.rows, function.columns
        if size not in self._arrays:
            array = cam.make(self.engine, *size)
            self._arrays[size] = array, array.snapshot()
        return self._arrays[size]

    def table(self) -> list[Record]:
        """One record: the chip's sizes and kind, and what its loads took."""
        took = {**self.counts.as_dict(), **self.activity.as_dict()}
        kind = {"ap": self.kind.value, "engine": self.engine, "loads": self.loads}
        return [asdict(self.design) | kind | took]

    def __repr__(self) -> str:
        design = self.design
        return (
            f"<Chip {design.name}: {design.clusters} x {design.caps} CAPs of {design.rows} rows x "
            f"{design.columns} columns, {self.kind.value} AP, {self.counts}>"
        )
