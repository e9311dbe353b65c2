"""The few pieces of HTML that report pages are made of.

The rule: every text is escaped here; a page is one file and fetches nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["html_figure", "html_page", "html_table"]

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2530; margin: 0; background: #fff; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 24px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 38px 0 10px; }
h3 { font-size: 15px; margin: 24px 0 6px; }
p.lead { color: #4b5766; margin: 0 0 18px; max-width: 72ch; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th { text-align: left; border-bottom: 2px solid #c8d0da; padding: 5px 12px 5px 0; color: #4b5766; }
td { border-bottom: 1px solid #e6eaef; padding: 4px 12px 4px 0; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.note { color: #4b5766; font-size: 12.5px; }
.ok { color: #23744a; font-weight: 600; } .bad { color: #b3261e; font-weight: 700; }
.known { color: #4b5766; font-weight: 600; white-space: nowrap; }
td.short, td:first-child { white-space: nowrap; }
.tiers { display: flex; gap: 12px; flex-wrap: wrap; }
.tier { border: 1px solid #d5dbe3; border-radius: 8px; padding: 10px 16px; min-width: 150px; }
.tier b { font-size: 22px; display: block; }
figure { margin: 18px 0 26px; } figure svg { max-width: 100%; height: auto; }
figcaption { color: #4b5766; font-size: 13px; margin-top: 4px; }
dt { font-weight: 600; margin-top: 10px; } dd { margin: 0; max-width: 86ch; }
"""
_SHORT = 10  # cells shorter than this are never broken into lines
_VERDICTS = {"holds": "ok", "as stated": "known", "FAILS": "bad"}


def html_page(title: str, body: Iterable[str]) -> str:
    """A whole page around pieces of HTML."""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def html_table(
    names: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()
) -> str:
    """A table; columns whose index is in `numbers` stand to the right."""
    right = set(numbers)
    head = "".join(
        f"<th{' class=n' if k in right else ''}>{escape(name)}</th>" for k, name in enumerate(names)
    )
    body = "".join(f"<tr>{_cells(row, right)}</tr>" for row in rows)
    return f"<div class='wide'><table><tr>{head}</tr>{body}</table></div>"


def html_figure(svg: str, caption: str) -> str:
    """A drawing with its caption; `svg` is taken as it is."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _cells(row: Sequence[str], right: set[int]) -> str:
    last = len(row) - 1
    return "".join(
        f"<td{_kind(text, k in right, k == last)}>{escape(text)}</td>" for k, text in enumerate(row)
    )


def _kind(text: str, number: bool, last: bool) -> str:
    short = "short" if len(text) < _SHORT else ""
    kind = _VERDICTS.get(text, "n" if number else "note" if last else short)
    return f" class='{kind}'" if kind else ""
