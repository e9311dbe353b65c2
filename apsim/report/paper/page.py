"""The page of `apsim paper`: published and modelled numbers, figures, readings, caveats.

The rule: one self-contained HTML file, and no number is typed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from apsim.report.html import html_figure, html_page, html_table
from apsim.report.paper.caveats import caveats, readings
from apsim.report.paper.executed import NAMES, Executed
from apsim.report.paper.published import TIERS, Reproduced, by_tier
from apsim.report.paper.tables import paper_tables

__all__ = ["paper_page", "shown", "shown_error", "shown_paper", "verdict"]

LABELS = {"not reproducible": "not reproducible, with the reason"}
CAPTIONS = {
    "figure5": "Fig. 5. Run time of the functions in cycles, from Eqs. (1)-(15).",
    "figure6": "Fig. 6. ReRAM over SRAM for VGG16. Preset B calibrates a second constant.",
    "figure7": "Fig. 7. Means over random per-layer widths of 2 to 8 bits with the same average.",
    "figure8": "Fig. 8. What energy and GEMM latency are spent on.",
    "figure9": "Fig. 9. Peak throughput and efficiency; BF-IMNA modelled, others as published.",
}


def paper_page(
    rows: Mapping[str, Reproduced],
    figures: Mapping[str, str],
    executed: Executed | None = None,
) -> str:
    """The whole page; `figures` holds SVG by name, `executed` what was run beside the model."""
    return html_page(
        "BF-IMNA, reproduced",
        [
            "<h1>BF-IMNA, reproduced</h1>",
            "<p class='lead'>Every number that arXiv 2411.01417 prints, beside the one that "
            f"apsim computes. {_verdict(rows)}</p>",
            _tiers(rows),
            *(_tier_table(tier, rows.values()) for tier in TIERS),
            "<h2>Figures</h2>",
            *(html_figure(figures[name], caption) for name, caption in CAPTIONS.items()),
            "<h2>Tables</h2>",
            *paper_tables(),
            *_executed(executed),
            *_readings(),
            *_caveats(),
        ],
    )


def shown(value: float | str) -> str:
    """A number with the digits that matter, or the word itself.

    >>> shown(140434.28), shown(0.0946), shown(0.00028423), shown("yes")
    ('140434', '0.0946', '0.0002842', 'yes')
    """
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if abs(value) >= 1e4 else f"{value:.{5 if abs(value) >= 100 else 4}g}"


def shown_paper(row: Reproduced) -> str:
    """The published value, with the word of its bound."""
    return f"{row.published.bound} {shown(row.published.paper)}".strip()


def shown_error(row: Reproduced) -> str:
    """The relative error in percent; nothing for a statement or a bound."""
    if row.error is None or row.published.bound:
        return ""
    percent = 100 * row.error
    if abs(percent) < 0.005:
        return "0"
    return f"{percent:+.2f} %" if abs(percent) < 10 else f"{percent:+.0f} %"


def verdict(row: Reproduced) -> str:
    """ "holds" or "FAILS"; "as stated" where the row only says how far apart the two are."""
    if not row.holds:
        return "FAILS"
    return "as stated" if row.published.tier == "not reproducible" else "holds"


def _verdict(rows: Mapping[str, Reproduced]) -> str:
    if all(row.holds for row in rows.values()):
        return "<span class='ok'>Every row holds in its tier.</span>"
    return "<span class='bad'>Some rows do not hold in their tier.</span>"


def _tiers(rows: Mapping[str, Reproduced]) -> str:
    boxes = [
        f"<div class='tier'><b>{held} / {total}</b>{escape(LABELS.get(tier, tier))}</div>"
        for tier, (held, total) in by_tier(rows).items()
    ]
    return f"<div class='tiers'>{''.join(boxes)}</div>"


def _tier_table(tier: str, rows: Iterable[Reproduced]) -> str:
    cells = [
        (
            row.published.where,
            row.published.quantity,
            shown_paper(row),
            shown(row.model),
            shown_error(row),
            verdict(row),
            row.published.reason or row.published.reading,
        )
        for row in rows
        if row.published.tier == tier
    ]
    names = ("where", "quantity", "paper", "model", "error", "", "why, or which reading")
    return f"<h2>{escape(tier.capitalize())}</h2>" + html_table(names, cells, numbers=(2, 3, 4))


def _executed(executed: Executed | None) -> list[str]:
    if executed is None:
        return []
    return [
        "<h2>Executed</h2>",
        "<p class='lead'>A step of each conv layer of AlexNet on one CAP, and the digits network, "
        "as programs on the paper's 2D AP with seeded words: counted, and charged for every "
        "mismatching line and every written cell. The averages charge fewer lines: a vertical "
        "compare discharges all columns of a CAP, and the carry resolution all of its rows.</p>",
        html_table(NAMES, executed.rows(), numbers=(2, 3, 4, 5, 6)),
    ]


def _readings() -> list[str]:
    names = ("where", "what the paper says", "what is taken")
    return [
        "<h2>Readings</h2>",
        "<p class='lead'>Where the paper contradicts itself or leaves a choice.</p>",
        html_table(names, [(r.where, r.problem, r.taken) for r in readings()]),
    ]


def _caveats() -> list[str]:
    items = (f"<dt>{escape(c.about)}</dt><dd>{escape(c.text)}</dd>" for c in caveats())
    return ["<h2>Physical caveats</h2>", f"<dl>{''.join(items)}</dl>"]
