"""Tables I, II, V, VI, VII and VIII of the paper, as HTML."""

from __future__ import annotations

from apsim import cost
from apsim.closed_form import tables
from apsim.report.html import html_table
from apsim.report.paper.figures import table7, table8

__all__ = ["paper_tables"]


def paper_tables() -> list[str]:
    """One heading and one table for each of the paper's."""
    return [
        "<h3>Table I, totals of compares, writes and reads</h3>",
        _table1(),
        "<h3>Table II, growth</h3>",
        _table2(),
        "<h3>Table V, the LR chip</h3>",
        _table5(),
        "<h3>Table VI, cells, with what the model adds</h3>",
        _table6(),
        "<h3>Table VII, bit fluidity on ResNet18</h3>",
        _table7(),
        "<h3>Table VIII, peers as published, BF-IMNA as modelled</h3>",
        _table8(),
    ]


def _table1() -> str:
    rows = [
        (name, kind, str(tables.derive(name, kind)), function.table1[k].replace("**", "^"))
        for name, function in tables.FUNCTIONS.items()
        for k, kind in enumerate(tables.KINDS)
    ]
    return html_table(("function", "AP", "derived from the equations", "as printed"), rows)


def _table2() -> str:
    rows = [
        (name, kind, ", ".join(sorted(tables.growth(name, kind))), function.table2[k])
        for name, function in tables.FUNCTIONS.items()
        for k, kind in enumerate(tables.KINDS)
    ]
    return html_table(("function", "AP", "largest terms derived", "as printed"), rows)


def _table5() -> str:
    rows = [(n, f"{q.value:g}", q.unit, q.source) for n, q in cost.chip("lr").constants.items()]
    return html_table(("parameter", "value", "unit", "source"), rows, numbers=(1,))


def _table6() -> str:
    sram, reram = cost.technology("sram").constants, cost.technology("reram").constants
    rows = []
    for name in dict.fromkeys([*sram, *reram]):
        both = [found.get(name) for found in (sram, reram)]
        known = next(q for q in both if q)
        values = [f"{q.value:g} {q.unit.removesuffix('1')}" if q else "-" for q in both]
        calibrated = f"; calibrated {known.calibrated}" if known.calibrated else ""
        sources = dict.fromkeys(q.source for q in both if q)
        rows.append((name, *values, " / ".join(sources) + calibrated))
    return html_table(("constant", "SRAM", "ReRAM", "source"), rows, numbers=(1, 2))


def _table7() -> str:
    rows = [
        (
            row.configuration,
            f"{row.average_bits:.2f}",
            f"{row.normalized_energy:.3f}",
            f"{row.normalized_latency:.4f}",
            f"{row.edp_j_s:.3g}",
            f"{row.edp_over_int8:.3f}",
        )
        for row in table7()
    ]
    names = (
        "configuration",
        "average bits",
        "INT8 energy over it",
        "INT8 latency over it",
        "EDP, J s",
        "EDP over INT8",
    )
    return html_table(names, rows, numbers=range(1, 6))


def _table8() -> str:
    rows = [
        (
            row.framework,
            row.technology,
            str(row.bits),
            f"{row.gops:,.0f}",
            f"{row.gops_per_watt:,.0f}",
            row.note,
        )
        for row in table8()
    ]
    names = ("framework", "technology", "bits", "GOPS", "GOPS/W", "note")
    return html_table(names, rows, numbers=(2, 3, 4))
