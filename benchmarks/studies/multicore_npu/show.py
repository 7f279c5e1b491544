"""Tables, verdicts and a plot of a study → text on standard output and a self-contained HTML file.

A verdict is worked out from the results: whether a target of the study holds, what was found, and,
where it does not hold, the reason as far as the results show it.
"""

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

PUBLISHED = Path(__file__).with_name("published")
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True)
class Table:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Verdict:
    """A target's number in the fact sheet, its rule, whether it holds, what was found, and why."""

    target: str
    rule: str
    holds: bool
    found: str
    why: str = ""


@dataclass(frozen=True)
class Line:
    """A curve of a plot; `dash` marks what is published, lines of one `color` belong together.
    `joined` false: points only, for cases that have no order."""

    name: str
    x: Sequence[object]
    y: Sequence[float]
    color: int = 0
    dash: bool = False
    joined: bool = True


@dataclass
class Report:
    title: str
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    figure: go.Figure | None = None


def main(script: str, about: str | None, study: Callable[[bool], Report]) -> None:
    """Runs a study from the command line, prints its report and writes its plot."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="a reduced size, for a smoke test")
    parser.add_argument("--out", type=Path, default=Path("out/studies"), help="folder of the plot")
    given = parser.parse_args()
    report = study(given.quick)
    print(text_of(report))
    if report.figure is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        path = given.out / f"{Path(script).stem}.html"
        report.figure.write_html(path, include_plotlyjs=True)
        print(f"\nplot: {path}")


def text_of(report: Report) -> str:
    parts = [report.title, "=" * len(report.title)]
    for table in report.tables:
        parts += ["", table.title, *_aligned(table)]
    if report.notes:
        parts += ["", *report.notes]
    parts += ["", "Targets"]
    for verdict in report.verdicts:
        word = "agrees" if verdict.holds else "DISAGREES"
        parts.append(f"  {verdict.target:4} {word:9} {verdict.rule}: {verdict.found}")
        if verdict.why:
            parts.append(f"       why: {verdict.why}")
    return "\n".join(parts)


def _aligned(table: Table) -> list[str]:
    """First column to the left, the others to the right."""
    cells = [[str(c) for c in row] for row in [table.columns, *table.rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))
        )
        for r in cells
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def published(name: str) -> list[dict[str, str]]:
    """Rows of a CSV of published values; lines that begin with # say where they are from."""
    with open(PUBLISHED / f"{name}.csv", encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def crossing(x: Sequence[float], first: Sequence[float], second: Sequence[float]) -> float | None:
    """Where `first` rises above `second`, linear between points; 0 when it starts above, None when
    it never does."""
    gaps = [a - b for a, b in zip(first, second, strict=True)]
    if gaps[0] > 0:
        return 0
    for (x0, g0), (x1, g1) in pairwise(zip(x, gaps, strict=True)):
        if g0 <= 0 < g1:
            return x0 + (x1 - x0) * -g0 / (g1 - g0)
    return None


def tokens(value: float | None) -> str:
    if value == 0:
        return "from the start"
    return "never" if value is None else f"{value:,.0f}"


def lines_figure(
    title: str,
    panels: Mapping[str, Sequence[Line]],
    x_title: str,
    y_title: str,
    log: str = "xy",
    columns: int = 2,
) -> go.Figure:
    """Panels of curves side by side, `columns` a row; `log` names the logarithmic axes."""
    rows = -(-len(panels) // columns)
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=list(panels))
    shown: set[str] = set()
    for index, lines in enumerate(panels.values()):
        where = {"row": index // columns + 1, "col": index % columns + 1}
        for line in lines:
            color = COLORS[line.color % len(COLORS)]
            style = {"color": color, "dash": "dot" if line.dash else "solid"}
            trace = go.Scatter(
                x=list(line.x), y=list(line.y), name=line.name, line=style, mode="lines+markers",
                legendgroup=line.name, showlegend=line.name not in shown,
            )  # fmt: skip
            shown.add(line.name)
            figure.add_trace(trace, **where)
        kinds = {axis: "log" if axis in log else "-" for axis in "xy"}
        ticks = list(lines[0].x) if "x" in log else None
        figure.update_xaxes(title=x_title, type=kinds["x"], tickvals=ticks, **where)
        figure.update_yaxes(title=y_title, type=kinds["y"], **where)
    figure.update_layout(title=title, template="plotly_white", height=420 * rows)
    return figure
