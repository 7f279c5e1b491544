"""TraceTraffic and a seed → rows of its file: sorted, sliced, scaled, shuffled."""

from collections.abc import Callable
from pathlib import Path

from npusim.errors import SpecError
from npusim.serving.traffic.azure import azure_rows
from npusim.serving.traffic.mooncake import mooncake_rows
from npusim.serving.traffic.plain import plain_rows
from npusim.serving.traffic.row import Row, check_end, exact, multiples, streams
from npusim.spec.files import find
from npusim.spec.traffic import TraceTraffic
from npusim.units import PS_PER_S

LEVER = "take a shorter slice, or a smaller time_scale"


def replayed(traffic: TraceTraffic, seed: int) -> list[Row]:
    """Rows of a trace, the first at 0 ps. A file that is not in the order of its times is sorted;
    requests of the same time stay in the order of their lines.

    Raises SpecError for a file that is missing or malformed, for a slice with fewer requests than
    `traffic.requests` or none, and for a rate of requests that all arrive at once.
    """
    file = find("traffic", traffic.path, "traffic.path")
    rows = sorted(READERS[traffic.kind](file), key=lambda row: row.arrival_ps)
    rows = _sliced(rows, traffic, file)
    arrivals = _scaled([row.arrival_ps - rows[0].arrival_ps for row in rows], traffic, file)
    if traffic.shuffle:
        order = streams(seed)["shuffle"].permutation(len(rows)).tolist()
        rows = [rows[index] for index in order]
    return [Row(arrival, *row[1:]) for arrival, row in zip(arrivals, rows, strict=True)]


def _sliced(rows: list[Row], traffic: TraceTraffic, file: Path) -> list[Row]:
    """Rows of start_s (included) to end_s (excluded), then of skip to skip + requests."""
    if not rows:
        raise SpecError("has no requests", str(file))
    offsets = [row.arrival_ps - rows[0].arrival_ps for row in rows]
    start_ps = exact(traffic.start_s) * PS_PER_S
    end_ps = offsets[-1] + 1 if traffic.end_s is None else exact(traffic.end_s) * PS_PER_S
    window = [row for row, at in zip(rows, offsets, strict=True) if start_ps <= at < end_ps]
    needed = traffic.requests or 1
    found = window[traffic.skip :][: traffic.requests]
    if len(found) < needed:
        where = " from start_s to end_s" if len(window) < len(rows) else ""
        text = f"must have {traffic.skip + needed} requests{where} (skip + requests)"
        raise SpecError(f"{text}, not {len(window)}", str(file))
    return found


def _scaled(arrivals: list[int], traffic: TraceTraffic, file: Path) -> list[int]:
    """Arrivals (the first is 0) times time_scale, or such that the mean gap is 1 / rate_per_s; each
    is rounded by itself: no drift."""
    factor = exact(traffic.time_scale)
    if traffic.rate_per_s is not None and len(arrivals) > 1:
        if not arrivals[-1]:
            text = f"cannot have rate_per_s {traffic.rate_per_s:g}: its requests arrive all at once"
            raise SpecError(text, str(file))
        gap_ps = PS_PER_S / exact(traffic.rate_per_s)
        factor = gap_ps * (len(arrivals) - 1) / arrivals[-1]
    check_end(arrivals[-1] * factor, LEVER)
    return multiples(arrivals, factor)


READERS: dict[str, Callable[[Path], list[Row]]] = {
    "azure": azure_rows,
    "mooncake": mooncake_rows,
    "csv": plain_rows,
}
