"""A network run as a table for people and as JSON for programs.

The rule: both show what the run holds; no figure is made here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from apsim.closed_form.differences import LABELS, OF_WEIGHTS
from apsim.counts import Counts
from apsim.ops.rows import BROADCASTS
from apsim.report.cost.assumed import ACTIVITY, OPERATIONS
from apsim.report.cost.model_rows import row_of
from apsim.report.run.blocks import block_lines, blocks_of
from apsim.report.run.mappings import mapping_json, mapping_lines
from apsim.report.run.places import place_lines, share_line

if TYPE_CHECKING:
    from apsim.nn.on_ap.layer_run import LayerRun
    from apsim.nn.on_ap.seconds import Seconds
    from apsim.nn.runtime import Run

__all__ = ["DROPPED", "run_json", "run_lines", "run_table"]

SCHEMA = "apsim.run/1"
ROW = ("kind", "groups", "i", "j", "u", "window", "windows", "relu")
WIDE_ONLY = ("operation", "shape", "paper")
LARGE = 10**9  # multiplications from which on a run says what its time went into
DROPPED = ("reads", "loads", "a/w")  # of the short table, in this order, where there is no room
LAYER_WIDTH = {False: 36, True: 20}  # of long names, by whether the table is short
MARKED = (*LABELS, *OF_WEIGHTS, "flag_propagation", "normalization", "word_moves", "broadcast")
"""Labels in networks: they take maxima by moves, or by a chain without that term."""
COLUMNS = (
    "layer", "operation", "shape", "a/w", "loads", "compares", "writes", "reads", "cycles",
    "predicted", "paper", "verdict",
)  # fmt: skip


def run_table(run: Run, *, short: bool = False) -> Table:
    """A line for each layer, and the totals; `short` fits 80 columns: rounded, some left out."""
    write = _rounded if short else _whole
    totals = (sum(layer.loads for layer in run.layers), *run.counts.as_dict().values(),
              run.counts.total, _predicted(run).total, _paper(run).total)  # fmt: skip
    numbers = (write(total) for total in totals)
    footer = dict(zip(COLUMNS, ("total", "", "", "", *numbers, ""), strict=True))
    footer["verdict"] = verdict(run.bit_exact, run.counts_match)
    names = [name for name in COLUMNS if not short or name not in WIDE_ONLY]
    table = Table(
        title=escape(_title(run)), title_justify="left", show_footer=True,
        box=SIMPLE_HEAD if short else HEAVY_HEAD, padding=(0, 0 if short else 1),
    )  # fmt: skip
    for name in names:
        numeric = name not in ("layer", "operation", "shape", "a/w", "verdict")
        table.add_column(
            name, footer[name], justify="right" if numeric else "left", no_wrap=name != "verdict",
            max_width=LAYER_WIDTH[short] if name == "layer" else None,
        )  # fmt: skip
    for layer in run.layers:
        cells = _cells(layer, write)
        table.add_row(*(cells[name] for name in names))
    return table


def _whole(number: int) -> str:
    return f"{number:,}"


def _rounded(number: int) -> str:
    """Three digits and a unit: 5.35M."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return (
                f"{number / size:.3g}{unit}" if number < 999.5 * size else f"{number // size}{unit}"
            )
    return str(number)


def _title(run: Run) -> str:
    chip = run.chip
    return (
        f"{run.model.name}, {run.images} image{'s' * (run.images != 1)}, {chip.kind.value} AP, "
        f"CAPs of {chip.design.rows} rows, rule {run.model.rule}"
    )


def _cells(layer: LayerRun, write: Callable[[int], str]) -> dict[str, str]:
    counts, shape = layer.counts, "x".join(map(str, layer.shape))
    widths = f"{layer.bits_a}/{layer.bits_w}" if layer.bits_w else f"{layer.bits_a}"
    numbers = (layer.loads, counts.compare, counts.write, counts.read, counts.total,
               layer.predicted.total, layer.paper.total)  # fmt: skip
    cells = [write(number) for number in numbers] if layer.parts else ["-"] * len(numbers)
    if layer.choice and layer.choice.mapping == "weights":
        cells[-1] = "-"  # the paper has no equation for it
    word = verdict(layer.bit_exact, layer.counts_match)
    if not layer.parts and word == "exact":
        word = "on the host"
    texts = (escape(layer.name), layer.op, shape, widths, *cells, word)
    return dict(zip(COLUMNS, texts, strict=True))


def verdict(bit_exact: bool, counts_match: bool) -> str:
    """One word for a layer: what parts it from its twin and its prediction, if anything."""
    if bit_exact and counts_match:
        return "exact"
    if not bit_exact and not counts_match:
        return "value and count differ"
    return "count differs" if bit_exact else "value differs"


def run_lines(run: Run) -> list[str]:
    """What stands under the table: hardware, places, terms, accuracy, and the verdict."""
    lines = [f"hardware: {run.chip.kind.hardware}", f"requantization: {_requantized(run)}"]
    if any("broadcast" in layer.terms for layer in run.layers):
        lines.append(f"broadcast: {BROADCASTS[run.chip.broadcast]}")
    lines += ["where each layer ran:", *place_lines(run.layers)]
    lines += mapping_lines(run.layers)
    lines.append(share_line(run.layers, run.images))
    lines += block_lines(run.layers, run.images)
    terms = {name: counts for name, counts in _terms(run).items() if counts.total}
    if terms:
        named = ", ".join(
            f"{name}{'*' * (name in MARKED)} {counts.total:+,}" for name, counts in terms.items()
        )
        labels = " (* a label, which only the count tests)" * any(name in MARKED for name in terms)
        lines.append(f"cycles = paper {_paper(run).total:,} and named terms{labels}: {named}")
    lines.append(f"cycles: {OPERATIONS}")
    if run.chip.array != "load":
        lines.append(f"activity: {ACTIVITY[run.chip.array]}; counts do not depend on it")
    if run.correct is not None and run.images > 1:
        lines.append(f"accuracy: {run.correct} of {run.images} = {run.correct / run.images:.2%}")
    if any(layer.compared != "all" for layer in run.layers):
        lines.append("checked: a sample of channels of each weighted layer, all of the others")
    if sum(layer.macs for layer in run.layers) >= LARGE:
        lines.append(_engine(run.engine_seconds_by))
    exact = "bit-exact" if run.bit_exact else "NOT bit-exact"
    match = "counted == predicted" if run.counts_match else "counted != predicted"
    lines.append(f"{'PASS' if run.passed else 'FAIL'}: {exact}, {match}, {run.seconds:.2f} s")
    return lines


def _engine(seconds: Seconds) -> str:
    """What the engine's time went into, and the share of moving data in and out."""
    parts = ", ".join(f"{name} {took:.2f} s" for name, took in seconds.as_dict().items())
    return (
        f"engine {seconds.total:.2f} s: {parts}; "
        f"load (im2col included) and unload {seconds.moving:.1%} of it"
    )


def _requantized(run: Run) -> str:
    """Where sums became activations, and which layers the host kept."""
    if run.chip.requant == "host":
        return "on the host (bias, rule and zero point; ReLU on the AP)"
    done = ("requantize", "divide", "rounding")
    kept = [r.name for r in run.layers if any(work.startswith(done) for work in r.host)]
    return "on the AP, as counted passes" + (f"; on the host: {', '.join(kept)}" if kept else "")


def run_json(run: Run) -> dict[str, Any]:
    """The run under schema apsim.run/1."""
    chip = run.chip
    return {
        "schema": SCHEMA,
        "model": run.model.name,
        "rule": run.model.rule,
        "chip": chip.design.name,
        "engine": chip.engine,
        "ap": {
            "kind": chip.kind.value.removesuffix("-tc"),
            "tag_chain": chip.kind.chain,
            "rows": chip.design.rows,
            "columns": chip.design.columns,
            "hardware": chip.kind.hardware,
        },
        "requant": chip.requant,
        "mapping": chip.mapping,
        "broadcast": chip.broadcast,
        "array": chip.array,
        "images": run.images,
        "correct": run.correct,
        "bit_exact": run.bit_exact,
        "counts_match": run.counts_match,
        "layers": [_layer_json(layer, _table_row(run, layer)) for layer in run.layers],
        "totals": _totals(run),
        "engine_seconds": run.engine_seconds_by.total,
        "engine_seconds_by": run.engine_seconds_by.as_dict(),
        "seconds": run.seconds,
    }


def _table_row(run: Run, layer: LayerRun) -> dict[str, Any] | None:
    """The layer's shape as `apsim cost` takes it, None for what no layer table has."""
    row = row_of(run.model, layer.name)
    return None if row is None else {name: getattr(row, name) for name in ROW}


def _layer_json(layer: LayerRun, row: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "name": layer.name,
        "op": layer.op,
        "shape": list(layer.shape),
        "table_row": row,
        "bits_a": layer.bits_a,
        "bits_w": layer.bits_w,
        "macs": layer.macs,
        "loads": layer.loads,
        "counts": layer.counts.as_dict(),
        "predicted": layer.predicted.as_dict(),
        "paper": layer.paper.as_dict(),
        "terms": {name: counts.as_dict() for name, counts in layer.terms.items()},
        "bit_exact": layer.bit_exact,
        "compared": layer.compared,
        "mapping": None if layer.choice is None else mapping_json(layer.choice),
        "counts_match": layer.counts_match,
        "activity": layer.activity.as_dict(),
        "ap": [part.name for part in layer.parts],
        "host": list(layer.host),
        "engine_seconds": layer.engine_seconds,
        "engine_seconds_by": layer.engine_seconds_by.as_dict(),
        "seconds": layer.seconds,
    }


def _totals(run: Run) -> dict[str, Any]:
    return {
        "macs": sum(layer.macs for layer in run.layers),
        "loads": sum(layer.loads for layer in run.layers),
        "counts": run.counts.as_dict(),
        "predicted": _predicted(run).as_dict(),
        "paper": _paper(run).as_dict(),
        "terms": {name: counts.as_dict() for name, counts in _terms(run).items()},
        "cycles": run.counts.total,
        "blocks": {
            block.name: {
                "operations": block.operations,
                **block.counts.as_dict(),
                "moved": block.moved.total,
                **block.activity.as_dict(),
            }
            for block in blocks_of(run.layers, run.images)
        },
        "assumes": {"cycles": OPERATIONS, "activity": ACTIVITY[run.chip.array]},
    }


def _predicted(run: Run) -> Counts:
    return sum((layer.predicted for layer in run.layers), Counts())


def _paper(run: Run) -> Counts:
    return sum((layer.paper for layer in run.layers), Counts())


def _terms(run: Run) -> dict[str, Counts]:
    from apsim.nn.on_ap.layer_run import total_terms

    return total_terms(tuple(layer.terms for layer in run.layers))
