"""Energy of a layer from the paper's averages: what each operation costs on random data.

The rule: only rows that hold data are charged, as the paper does; an executed array
charges all its lines, 1.3 to 2.2 times as much at 8 bits, depending on the kind (measured
in `tests/cost/test_averages.py`).  Parts are what takes the energy (compares, writes,
reads, mesh, reshaping); functions are what it is spent on.  Every number here assumes
random bits; `estimate` takes the activity of an executed run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from math import sqrt

from apsim.cost.chip import Chip
from apsim.cost.network import Layer
from apsim.cost.technology import Technology

__all__ = ["CellWrites", "Energy", "layer_energy"]

CellWrites = Callable[[int, int], float]  # of activation and weight bits, for each bit pair

MULTIPLY_CELLS, ADD_CELLS, RELU_CELLS = 4, 3, 2  # cells that a compare of each LUT drives
TABLE_V_CAPS = 4096  # the mean distance is stated for a chip of so many


@dataclass(frozen=True)
class Energy:
    """Joules by part; addable."""

    compare: float = 0.0
    write: float = 0.0
    read: float = 0.0
    mesh: float = 0.0
    reshape: float = 0.0

    def __add__(self, other: Energy) -> Energy:
        return Energy(
            self.compare + other.compare,
            self.write + other.write,
            self.read + other.read,
            self.mesh + other.mesh,
            self.reshape + other.reshape,
        )

    @property
    def total(self) -> float:
        """The sum over the parts, in J."""
        return self.compare + self.write + self.read + self.mesh + self.reshape

    def as_dict(self) -> dict[str, float]:
        """Joules by the name of the part."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def layer_energy(
    layer: Layer,
    widths: tuple[int, int],
    caps: int,
    chip: Chip,
    technology: Technology,
    batch: int = 1,
    cell_writes: CellWrites | None = None,
) -> Mapping[str, Energy]:
    """Joules of a batch in one layer by function, the ReLU of its outputs included.

    `caps` is the number of CAPs on the chip, over which the mesh stretches.  `cell_writes`
    gives the cells that a multiply writes for each bit pair (default: the technology's).
    """
    if layer.gemm:
        found = _gemm_energy(layer, widths, caps, chip, technology, batch)
        if cell_writes is not None:
            found["multiply"] = _multiply_energy(
                layer.macs * batch, widths, technology, cell_writes
            )
    elif layer.kind == "add":
        found = {"add": _residual_energy(layer.windows * batch, widths[0], technology)}
    else:
        found = {"pool": _pool_energy(layer, layer.windows * batch, widths[0], technology)}
    if layer.relu:
        found["relu"] = _relu_energy(layer.outputs * batch, widths[0], technology)
    return found


def _gemm_energy(
    layer: Layer, widths: tuple[int, int], caps: int, chip: Chip, t: Technology, batch: int
) -> dict[str, Energy]:
    a, w = widths
    macs, outputs, product = layer.macs * batch, layer.outputs * batch, a + w
    width = product + (layer.j - 1).bit_length()
    return {
        "populate": Energy(write=macs * product * t.cell_write_energy),
        "multiply": _bit_pairs(macs * a * w, MULTIPLY_CELLS, t),
        "reduce": _reduction_energy(layer, outputs, product, chip, t),
        "read_out": Energy(read=outputs * width * t.read_energy),
        "mesh": Energy(mesh=_mesh_energy(layer, widths, caps, chip, batch)),
        "reshape": Energy(reshape=outputs * a * (2 * t.read_energy + t.cell_write_energy)),
    }


def _multiply_energy(
    macs: int, widths: tuple[int, int], t: Technology, cell_writes: CellWrites
) -> Energy:
    """Four passes on each bit pair, and the cells that such passes write."""
    pairs = macs * widths[0] * widths[1]
    compares = _bit_pairs(pairs, MULTIPLY_CELLS, t).compare
    return Energy(compare=compares, write=pairs * cell_writes(*widths) * t.cell_write_energy)


def _bit_pairs(pairs: float, cells: int, t: Technology) -> Energy:
    """Four passes on each bit pair of each row; 0.75 cells written on average."""
    return Energy(
        compare=pairs * 4 * t.compare_energy(cells),
        write=pairs * t.cell_writes_per_bit_pair * t.cell_write_energy,
    )


def _vertical_add(adds: float, columns: int, t: Technology) -> Energy:
    """Four compares on each column of a row pair; a fixed number of cells written an add."""
    return Energy(
        compare=adds * 4 * columns * t.compare_energy(ADD_CELLS),
        write=adds * t.cell_writes_per_vertical_add * t.cell_write_energy,
    )


def _reduction_energy(
    layer: Layer, outputs: int, product: int, chip: Chip, t: Technology
) -> Energy:
    """Additions of j products for each output, as the chip's kind really adds or as printed."""
    adds = outputs * (layer.j - 1)
    if chip.vertical_add == "paper" or chip.ap.endswith("-tc"):
        return _vertical_add(adds, product, t)
    levels = (layer.j - 1).bit_length()
    moved = Energy(read=adds * product * t.read_energy, write=adds * product * t.cell_write_energy)
    if chip.ap == "1d":
        return moved + _bit_pairs(outputs * _added_bits(layer.j, product), ADD_CELLS, t)
    compressors = 1 if chip.ap == "2d" else 2
    compressed = Energy(
        compare=adds * compressors * 3 * product * t.compare_energy(ADD_CELLS),
        write=adds * compressors * t.cell_writes_per_bit_pair * product * t.cell_write_energy,
    )
    resolved = _bit_pairs(outputs * (product + levels - 1) * (layer.j > 1), ADD_CELLS, t)
    return compressed + moved + resolved


def _added_bits(words: int, bits: int) -> int:
    """Bit pairs of a binary tree over `words` words that widen by a bit at each level."""
    pairs = 0
    while words > 1:
        pairs += words // 2 * bits
        words, bits = (words + 1) // 2, bits + 1
    return pairs


def _mesh_energy(layer: Layer, widths: tuple[int, int], caps: int, chip: Chip, batch: int) -> float:
    """Inputs, copies of the weights, and outputs out and back, over the mean distance.

    In IR the weights, but for a matmul's, are in place before inference, and distances grow
    with the side of the one cluster that holds all CAPs.
    """
    a, w = widths
    u = layer.u * batch
    inputs, outputs = layer.groups * layer.j * u * a, layer.outputs * batch * a
    copies = min(chip.clusters, layer.u if layer.kind == "matmul" else u)
    if chip.infinite:
        copies = int(not layer.weights)
    bits = inputs + layer.factors(batch) * w * copies + 2 * outputs
    return bits * _distance(caps, chip) * chip.wire_energy


def _distance(caps: int, chip: Chip) -> float:
    """Mean length of a transfer in m."""
    base = chip.hops * chip.hop_length
    if not chip.infinite:
        return base
    return base * sqrt(caps / TABLE_V_CAPS)  # one cluster of any size: by its side


def _pool_energy(layer: Layer, windows: int, bits: int, t: Technology) -> Energy:
    rows = -(-layer.window // 2)
    populated = Energy(write=windows * 2 * bits * rows * t.cell_write_energy)
    horizontal = _bit_pairs(windows * (layer.window // 2) * bits, ADD_CELLS, t)
    vertical = _vertical_add(windows * (rows - 1), bits, t)
    return populated + horizontal + vertical + Energy(read=windows * bits * t.read_energy)


def _residual_energy(values: int, bits: int, t: Technology) -> Energy:
    ends = Energy(
        write=values * 2 * bits * t.cell_write_energy, read=values * (bits + 1) * t.read_energy
    )
    return ends + _bit_pairs(values * bits, ADD_CELLS, t)


def _relu_energy(values: int, bits: int, t: Technology) -> Energy:
    """Eq. (15): a pass on each bit but the sign; a quarter of the rows match."""
    return Energy(
        compare=values * (bits - 1) * t.compare_energy(RELU_CELLS),
        write=values * (bits + 2 + (bits - 1) / 4) * t.cell_write_energy,
        read=values * (bits + 1) * t.read_energy,
    )
