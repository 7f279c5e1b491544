"""ServeRun → one HTML page of plots that needs no network: latencies, batches, KV, throughput."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from npusim.errors import SpecError
from npusim.report.replace import replacing
from npusim.report.serve.instances import iterations_of, last_ps
from npusim.report.serve.metrics import distribution, request_times, token_gaps_ps
from npusim.report.serve.series import BUCKETS, Band, band, cdf, dots, rate_over_time, unit_of
from npusim.report.serve.timeline import batch_steps
from npusim.serve_trace import DONE, InstanceRow, ServeRun
from npusim.spec.serving import Slo
from npusim.units import PS_PER_MS, format_ps

MAX_INSTANCES = 8
COLORS = (  # told apart by the colour-blind; Okabe and Ito, https://jfly.uni-koeln.de/color/
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    *("#E69F00", "#56B4E9", "#000000", "#999999"),
)
GOAL = {"color": "#B00020", "dash": "dash", "width": 1.5}
COLUMNS = 3  # panels of the first row; those over time are as wide as all
HEIGHTS = (1.4, 1, 1, 1, 1, 1.2)
HEIGHT_PX = 1_650
OF_INSTANCES = ("batch size", "KV memory held", "requests that wait")
FIRST_ROW = 2  # of those over time
LITTLE_KV = 0.2  # below this peak, the axis of KV ends there and not at 100 %
TO_THE_LEFT = 0.65  # of the longest time: marks beyond it are named on their left
OVER_TIME = (*OF_INSTANCES, "output tokens a second", "time to first token by arrival")


@dataclass(frozen=True)
class _Page:
    """A figure as it grows, plotly's graph objects, and what it shows."""

    figure: Any
    objects: Any
    run: ServeRun
    slo: Slo
    end_ps: int

    @property
    def unit(self) -> tuple[str, int]:
        """Of the axes over time."""
        return unit_of(self.end_ps)


def check_plots() -> None:
    """SpecError when plotly is not installed: to be told before a run, not after it."""
    _plotly()


def write_plots(run: ServeRun, path: str | Path, slo: Slo | None = None, title: str = "") -> Path:
    """Writes the page beside its place and renames it into it; returns the path. The same run
    gives the same bytes. Raises SpecError when plotly is not installed."""
    title = title or "npusim serve"
    page = make_figure(run, slo or Slo(), title).to_html(include_plotlyjs=True, div_id="plots")
    head = f"<head><title>{escape(title)}</title>"
    with replacing(Path(path)) as file:
        file.write(page.replace("<head>", head, 1).encode())
    return Path(path)


def make_figure(run: ServeRun, slo: Slo, title: str) -> Any:
    """The plotly figure: a row of distributions, and below it what happens over time."""
    objects, subplots = _plotly()
    wide = [{"colspan": COLUMNS}, *[None] * (COLUMNS - 1)]
    figure = subplots.make_subplots(
        rows=len(HEIGHTS),
        cols=COLUMNS,
        row_heights=list(HEIGHTS),
        specs=[[{}] * COLUMNS, *[wide] * (len(HEIGHTS) - 1)],
        subplot_titles=_titles(run),
        vertical_spacing=0.045,
    )
    page = _Page(figure, objects, run, slo, last_ps(run))
    _distributions(page)
    _by_instance(page)
    _throughput(page)
    _ttft(page)
    _finish(page, title)
    return figure


def _plotly() -> tuple[Any, Any]:
    try:
        import plotly.graph_objects as objects
        from plotly import subplots
    except ImportError:
        raise SpecError(
            "needs plotly; install it with: pip install 'npusim[plots]'", "plots"
        ) from None
    return objects, subplots


def _titles(run: ServeRun) -> list[str]:
    names = [f"{name}, {unit}" if unit else name for name, unit, *_ in _distributed(run, Slo())]
    count = len(run.instances)
    shown = f" (the first {MAX_INSTANCES} of {count} instances)" if count > MAX_INSTANCES else ""
    return names + [name + (shown if name in OF_INSTANCES else "") for name in OVER_TIME]


def _distributed(
    run: ServeRun, slo: Slo
) -> Iterator[tuple[str, str, int, np.ndarray, float | None]]:
    """Title, name and length of the unit, times, and the goal in ms of the panels above."""
    done, times = run.requests["status"] == DONE, request_times(run)
    for title, values, goal_ms in (
        ("time to first token", times["ttft_ps"][done], slo.ttft_ms),
        ("time between tokens", token_gaps_ps(run, done), slo.tbt_ms),
        ("latency, to the last token", times["latency_ps"][done], None),
    ):
        unit = unit_of(float(np.median(values))) if len(values) else ("", 1)
        yield title, *unit, values, goal_ms


def _distributions(page: _Page) -> None:
    """Shares of requests, or of gaps, by time; median, p90 and p99 are marked, goals are lines.
    A goal of the mean gap is drawn where gaps are."""
    for col, (_, unit, unit_ps, values, goal_ms) in enumerate(_distributed(page.run, page.slo), 1):
        page.figure.update_xaxes(rangemode="tozero", row=1, col=col)
        if len(values):
            _cut_tail(page, col, values, unit_ps)
            x, share = cdf(values)
            line = page.objects.Scatter(x=(x / unit_ps).tolist(), y=share.tolist(), mode="lines")
            line.update(line={"color": COLORS[0], "shape": "hv"}, showlegend=False)
            page.figure.add_trace(line, 1, col)
            page.figure.add_trace(_marks(page, values, unit, unit_ps), 1, col)
        else:
            text = {"text": "no request was done", "showarrow": False}
            page.figure.update_xaxes(range=[0, 1], row=1, col=col)
            page.figure.add_annotation(x=0.5, y=0.5, **text, row=1, col=col)
        page.figure.update_yaxes(range=[0, 1.04], tickformat=".0%", row=1, col=col)
        if goal_ms is not None and _shows_goal(goal_ms, values):
            goal = goal_ms * PS_PER_MS / unit_ps
            page.figure.add_vline(x=goal, line=GOAL, annotation_text="goal", row=1, col=col)


def _shows_goal(goal_ms: float, values: np.ndarray) -> bool:
    """A goal far beyond all values would leave no room for them."""
    return bool(len(values)) and goal_ms * PS_PER_MS <= 2 * float(values.max())


def _cut_tail(page: _Page, col: int, values: np.ndarray, unit_ps: int) -> None:
    """Where the longest is far beyond the 99th percentile, the axis ends before it and the title
    tells it."""
    found = distribution(values)
    p99_ps, max_ps = found["p99_ps"] or 0, found["max_ps"] or 0
    if max_ps > 2 * p99_ps:
        page.figure.update_xaxes(range=[0, 1.5 * p99_ps / unit_ps], row=1, col=col)
        title = page.figure.layout.annotations[col - 1]
        title.text = f"{title.text} (longest {format_ps(max_ps)})"


def _marks(page: _Page, values: np.ndarray, unit: str, unit_ps: int) -> Any:
    found, names = distribution(values), ("p50", "p90", "p99")
    times = [(found[f"{name}_ps"] or 0) / unit_ps for name in names]
    shown_ps = min(found["max_ps"] or 0, 1.5 * (found["p99_ps"] or 0))
    far = shown_ps / unit_ps * TO_THE_LEFT
    return page.objects.Scatter(
        x=times,
        y=[int(name[1:]) / 100 for name in names],
        text=[f"{name} {time:.4g} {unit}" for name, time in zip(names, times, strict=True)],
        mode="markers+text",
        textposition=["bottom left" if time > far else "bottom right" for time in times],
        marker={"color": COLORS[1], "size": 7},
        showlegend=False,
        hoverinfo="text",
    )


def _by_instance(page: _Page) -> None:
    """Batch size, KV and waiting requests, a line an instance; with the least and the greatest as
    a band where the series is too long to be drawn. Its name is in the legend once."""
    for index, instance in enumerate(page.run.instances[:MAX_INSTANCES]):
        mine = iterations_of(page.run, index)
        if len(mine["start_ps"]):
            for row, found in enumerate(_bands(instance, mine, page.end_ps), FIRST_ROW):
                _draw(page, row, found, instance.name, COLORS[index % len(COLORS)])
    for row, title in enumerate(("requests", "share of KV blocks", "requests"), FIRST_ROW):
        page.figure.update_yaxes(title=title, row=row, col=1)
    page.figure.update_yaxes(tickformat=".2~%", row=FIRST_ROW + 1, col=1)
    if _fullest(page.run) > LITTLE_KV:
        page.figure.update_yaxes(range=[0, 1.05], row=FIRST_ROW + 1, col=1)


def _fullest(run: ServeRun) -> float:
    """Peak share of KV blocks held, of any instance."""
    blocks = np.array([max(1, row.num_blocks) for row in run.instances])
    held = run.iterations["kv_blocks"] / blocks[run.iterations["instance"]]
    return float(held.max(initial=0.0))


def _bands(instance: InstanceRow, mine: dict[str, np.ndarray], end: int) -> list[Band]:
    """Gaps between iterations that are too short to be seen are not drawn as idle."""
    start, last = mine["start_ps"], int(mine["end_ps"].max())
    kv_fraction = mine["kv_blocks"] / max(1, instance.num_blocks)
    batch = batch_steps(mine, shortest_gap_ps=end // BUCKETS)
    series = (batch, (start, kv_fraction), (start, mine["waiting"]))
    return [band(times, values, last) for times, values in series]


def _draw(page: _Page, row: int, found: Band, name: str, color: str) -> None:
    _, unit_ps = page.unit
    x = (found.times / unit_ps).tolist()
    common: dict[str, Any] = {"x": x, "mode": "lines", "legendgroup": name, "name": name}
    if found.low is not found.high:
        invisible = {"width": 0, "shape": "hv"}
        for y, fill in ((found.low, None), (found.high, "tonexty")):
            edge = page.objects.Scatter(y=y.tolist(), fill=fill, fillcolor=_pale(color), **common)
            edge.update(line=invisible, showlegend=False, hoverinfo="skip")
            page.figure.add_trace(edge, row, 1)
    line = page.objects.Scatter(y=found.mean.tolist(), **common, showlegend=row == FIRST_ROW)
    line.update(line={"color": color, "width": 1.5, "shape": "hv"})
    page.figure.add_trace(line, row, 1)


def _pale(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.2)"


def _throughput(page: _Page) -> None:
    """Output tokens a second, of all requests, in equal intervals of the run."""
    row = FIRST_ROW + len(OF_INSTANCES)
    times, rates = rate_over_time(page.run.token_ps, page.end_ps)
    x = np.append(times, page.end_ps) / page.unit[1]
    line = page.objects.Scatter(x=x.tolist(), y=np.append(rates, rates[-1]).tolist(), mode="lines")
    line.update(line={"color": COLORS[0], "width": 1.5, "shape": "hv"}, showlegend=False)
    page.figure.add_trace(line, row, 1)
    page.figure.update_yaxes(title="tokens/s", row=row, col=1)


def _ttft(page: _Page) -> None:
    """Time to first token of requests done, at their arrival."""
    row, run = len(HEIGHTS), page.run
    done = run.requests["status"] == DONE
    ttft, arrival = request_times(run)["ttft_ps"][done], run.requests["arrival_ps"][done]
    shown = dots(len(ttft), ttft)
    unit, unit_ps = unit_of(float(ttft.max(initial=0)))
    points = page.objects.Scatter(x=(arrival[shown] / page.unit[1]).tolist(), mode="markers")
    points.update(y=(ttft[shown] / unit_ps).tolist(), showlegend=False)
    points.update(marker={"size": 4, "color": COLORS[0], "opacity": 0.5})
    page.figure.add_trace(points, row, 1)
    page.figure.update_yaxes(title=unit, row=row, col=1)
    if page.slo.ttft_ms is not None and _shows_goal(page.slo.ttft_ms, ttft):
        goal = page.slo.ttft_ms * PS_PER_MS / unit_ps
        page.figure.add_hline(y=goal, line=GOAL, annotation_text="goal", row=row, col=1)


def _finish(page: _Page, title: str) -> None:
    unit, unit_ps = page.unit
    end = page.end_ps / unit_ps or 1.0
    for row in range(FIRST_ROW, len(HEIGHTS) + 1):
        first = f"x{COLUMNS + 1}"
        page.figure.update_xaxes(matches=first, range=[-0.01 * end, 1.01 * end], row=row, col=1)
        page.figure.update_yaxes(rangemode="tozero", row=row, col=1)
    page.figure.update_xaxes(title=f"simulated time, {unit}", row=len(HEIGHTS), col=1)
    page.figure.update_layout(
        title={"text": escape(title), "x": 0.01},
        template="plotly_white",
        height=HEIGHT_PX,
        margin={"l": 80, "r": 30, "t": 90, "b": 60},
        legend={"title": "instances<br>(band: extremes)", "y": 0.76, "yanchor": "top"},
    )
