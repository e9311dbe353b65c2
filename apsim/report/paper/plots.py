"""Figures 5-9 drawn from the recomputed data, as SVG text.

The rule: matplotlib stays in here; every function takes the data of `figures` and
gives SVG that stands in a page by itself.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apsim.errors import MissingExtra
from apsim.report.paper.figures import Point, Series

__all__ = ["draw_figures", "draw_fronts", "svg_pyplot"]

DECADE = 10
MANY = 1000  # points that are drawn as a picture
COLORS = ("#2563a8", "#d9822b", "#3a8f5c", "#a3456f", "#6b6b6b", "#8a6fc2", "#b0a12d", "#44a3a3")
CROWDED = ("ISAAC", "PUMA", "BF-IMNA_16b")  # labels that others would cover stand on the left
LEAST_SHARE = 0.005  # parts below half a percent are drawn as one


def draw_figures(
    data: Mapping[str, Any], watch: Callable[[str], None] = lambda name: None
) -> dict[str, str]:
    """SVG by the name of the figure; `data` holds what `figures.figure5`... give.

    `watch` is told the name of each figure that is drawn.
    """
    draws: tuple[Callable[[Any], str], ...] = (_figure5, _figure6, _figure7, _figure8, _figure9)
    drawn = {}
    for number, draw in enumerate(draws, 5):
        name = f"figure{number}"
        drawn[name] = draw(data[name])
        watch(name)
    return drawn


def svg_pyplot() -> Any:
    """matplotlib's pyplot, set up for SVG; raises `MissingExtra`."""
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise MissingExtra("matplotlib", "report") from error
    matplotlib.use("svg")
    from cycler import cycler
    from matplotlib import pyplot

    pyplot.rcParams.update(
        {
            "font.size": 9,
            "font.family": "sans-serif",
            "svg.fonttype": "none",
            "svg.hashsalt": "apsim",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "axes.prop_cycle": cycler(color=COLORS),
            "legend.frameon": False,
            "legend.fontsize": 8,
        }
    )
    return pyplot


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    svg_pyplot().close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _panels(rows: int, columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    figure, axes = svg_pyplot().subplots(rows, columns, figsize=(width, height), squeeze=False)
    return figure, [axis for row in axes for axis in row]


def _lines(axis: Any, series: Sequence[Series], markers: str = "o") -> None:
    styles = ("-", "--", ":")
    for number, line in enumerate(series):
        axis.plot(line.x, line.y, styles[number % 3], marker=markers, ms=3, label=line.label)


def _figure5(panels: Mapping[str, Sequence[Series]]) -> str:
    figure, axes = _panels(2, 4, 11, 5)
    for axis, (title, series) in zip(axes, panels.items(), strict=False):
        _lines(axis, series)
        axis.set_title(title, fontsize=9)
        if len(series) > 1:
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.legend()
    axes[0].set_ylabel("cycles")
    axes[4].set_ylabel("cycles")
    axes[-1].set_visible(False)
    figure.tight_layout()
    return _svg(figure)


def _figure6(panels: Mapping[str, Sequence[Series]]) -> str:
    figure, axes = _panels(1, 2, 8, 3)
    for axis, (title, series) in zip(axes, panels.items(), strict=True):
        _lines(axis, series)
        axis.set(title=f"ReRAM / SRAM, {title}", xlabel="bits", ylabel="ratio")
        axis.legend()
    axes[1].set_ylim(1, 2.2)
    figure.tight_layout()
    return _svg(figure)


def _figure7(curves: Mapping[tuple[str, str], Sequence[Point]]) -> str:
    figure, axes = _panels(1, 3, 11, 3.4)
    titles = ("J per inference", "s per inference", "GOPS/W/mm²")
    for axis, field, title in zip(
        axes, ("joules", "seconds", "gops_per_watt_mm2"), titles, strict=True
    ):
        for number, ((network, chip), points) in enumerate(curves.items()):
            x, y = [p.bits for p in points], [getattr(p, field) for p in points]
            style = "-" if chip == "lr" else "--"
            label, color = f"{network}, {chip.upper()}", COLORS[number // 2]
            axis.plot(x, y, style, color=color, marker="o", ms=2.5, label=label)
        axis.set(title=title, xlabel="average bits", yscale="log")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, ncols=6, loc="lower center", bbox_to_anchor=(0.5, -0.07), handlelength=3
    )
    figure.tight_layout()
    return _svg(figure)


def _figure8(shares: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    figure, axes = _panels(1, 2, 10, 2.8)
    titles = {"energy": "energy", "latency": "GEMM latency"}
    for axis, (what, networks) in zip(axes, shares.items(), strict=True):
        _bars(axis, networks)
        axis.set(title=f"{titles[what]}, 8 bits, LR", xlabel="%", xlim=(0, 100))
        axis.grid(visible=False, axis="y")
        axis.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    figure.tight_layout()
    return _svg(figure)


def _bars(axis: Any, networks: Mapping[str, Mapping[str, float]]) -> None:
    """Stacked bars; parts that no network shows are drawn together as "other"."""
    names = list(dict.fromkeys(name for parts in networks.values() for name in parts))
    large = [n for n in names if max(p.get(n, 0.0) for p in networks.values()) >= LEAST_SHARE]
    left = [0.0] * len(networks)
    for name in [*large, "other"]:
        widths = [
            100 * (parts.get(name, 0.0) if name != "other" else _rest(parts, large))
            for parts in networks.values()
        ]
        axis.barh(list(networks), widths, left=left, label=name.replace("_", " "), height=0.6)
        left = [a + b for a, b in zip(left, widths, strict=True)]


def _rest(parts: Mapping[str, float], large: Sequence[str]) -> float:
    return sum(part for name, part in parts.items() if name not in large)


def _figure9(points: Mapping[str, tuple[float, float]]) -> str:
    figure, axes = _panels(1, 1, 7, 4)
    axis = axes[0]
    for name, (gops, efficiency) in points.items():
        ours = name.startswith("BF-IMNA")
        axis.scatter(gops, efficiency, s=40 if ours else 22, color=COLORS[1 if ours else 0])
        left = name in CROWDED
        axis.annotate(
            name,
            (gops, efficiency),
            xytext=(-6 if left else 6, -3),
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize=8,
        )
    axis.set(xscale="log", yscale="log", xlabel="GOPS", ylabel="GOPS/W", xlim=(1, 3e7))
    figure.tight_layout()
    return _svg(figure)


def draw_fronts(
    points: Sequence[tuple[str, float, float]],
    fronts: Mapping[str, Sequence[tuple[float, float]]],
    labels: tuple[str, str],
    *,
    joined: bool = True,
) -> str:
    """SVG of points (group, x, y) and their Pareto fronts, as lines where they are `joined`.

    An axis is logarithmic where the points span more than a decade.
    """
    figure, axes = _panels(1, 1, 7, 4.5)
    axis = axes[0]
    for number, (name, front) in enumerate(fronts.items()):
        color = COLORS[number % len(COLORS)]
        x = [p[1] for p in points if p[0] == name]
        y = [p[2] for p in points if p[0] == name]
        axis.scatter(x, y, s=14, alpha=0.7, facecolors="none", edgecolors=color, linewidths=0.8,
                     label=f"{name}, all points", rasterized=len(x) > MANY)  # fmt: skip
        edge = sorted(front)
        line = "o-" if joined else "o"
        axis.plot(
            [p[0] for p in edge],
            [p[1] for p in edge],
            line,
            ms=4,
            color=color,
            label=f"{name}, front",
        )
    spans = [p[1] for p in points] or [1.0], [p[2] for p in points] or [1.0]
    scales = ["log" if max(span) > DECADE * min(span) > 0 else "linear" for span in spans]
    axis.set(xscale=scales[0], yscale=scales[1], xlabel=labels[0], ylabel=labels[1])
    axis.legend()
    figure.tight_layout()
    return _svg(figure)
