"""ServeRun → requests.csv, iterations.csv, transfers.csv: a row each, times as exact decimals."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from npusim.report.replace import replacing
from npusim.report.serve.metrics import mean_gaps_ps, request_times
from npusim.serve_trace import DONE, MOVE_NAMES, STATUS_NAMES, ServeRun
from npusim.units import PS_PER_MS, PS_PER_S

CHUNK = 20_000  # rows that are text at a time
Column = tuple[str, Iterable[object]]


def write_csvs(run: ServeRun, directory: str | Path) -> list[Path]:
    """Writes the three files, each beside its place and renamed into it; returns their paths.

    Raises OSError for what cannot be written.
    """
    return [_write(Path(directory) / f"{name}.csv", make(run)) for name, make in CSVS.items()]


def _write(path: Path, columns: list[Column]) -> Path:
    with replacing(path) as file:
        file.write(f"{','.join(name for name, _ in columns)}\n".encode())
        rows = zip(*(values for _, values in columns), strict=True)
        for lines in _chunks(",".join(map(str, row)) for row in rows):
            file.write("".join(f"{line}\n" for line in lines).encode())
    return path


def _chunks(lines: Iterator[str]) -> Iterator[list[str]]:
    chunk = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    yield chunk


def _requests(run: ServeRun) -> list[Column]:
    """What a user asks of a request; what never was is empty. The first columns are those of
    traffic of kind csv, so the file can be served again."""
    columns, times = run.requests, request_times(run)
    done = columns["status"] == DONE
    begun, first = columns["scheduled_ps"] >= 0, columns["first_token_ps"] >= 0
    mean_gap = np.where(done, mean_gaps_ps(run, times["output_ps"]), np.nan)
    has_gap = ~np.isnan(mean_gap)
    gap_ps = np.where(has_gap, np.rint(mean_gap), 0).astype(np.int64)
    return [
        ("arrival_s", seconds(columns["arrival_ps"])),
        *((name, columns[name].tolist()) for name in ("prompt_tokens", "output_tokens")),
        ("priority", columns["priority"].tolist()),
        ("request", columns["request"].tolist()),
        ("status", _names(columns["status"], STATUS_NAMES)),
        ("queueing_ms", milliseconds(times["queueing_ps"], begun)),
        ("ttft_ms", milliseconds(times["ttft_ps"], first)),
        ("mean_tbt_ms", milliseconds(gap_ps, has_gap)),
        ("max_tbt_ms", milliseconds(_longest_gaps_ps(run), has_gap)),
        ("handover_ms", milliseconds(times["handover_ps"], done)),
        ("latency_ms", milliseconds(times["latency_ps"], done)),
        *((name, columns[name].tolist()) for name in COUNTED),
        ("instance", _names(columns["instance"], [row.name for row in run.instances])),
        ("decode_instance", _names(columns["decode_instance"], [i.name for i in run.instances])),
        ("scheduled_s", seconds(columns["scheduled_ps"], begun)),
        ("first_token_s", seconds(columns["first_token_ps"], first)),
        ("finish_s", seconds(columns["finish_ps"], done)),
    ]


def _longest_gaps_ps(run: ServeRun) -> np.ndarray:
    """Longest gap between tokens of each request, 0 where there are fewer than two."""
    longest = np.zeros(len(run.requests["status"]), np.int64)
    counts = np.diff(run.token_start)
    owner = np.repeat(np.arange(len(counts)), counts)
    same = owner[1:] == owner[:-1]
    np.maximum.at(longest, owner[1:][same], np.diff(run.token_ps)[same])
    return longest


def _iterations(run: ServeRun) -> list[Column]:
    columns = run.iterations
    ended = columns["end_ps"] >= 0
    names = [name for name in columns if name not in ("instance", "start_ps", "end_ps", "free_ps")]
    return [
        ("instance", _names(columns["instance"], [row.name for row in run.instances])),
        ("start_s", seconds(columns["start_ps"])),
        *((f"{n}_s", seconds(columns[f"{n}_ps"], columns[f"{n}_ps"] >= 0)) for n in ENDS),
        ("duration_ms", milliseconds(columns["end_ps"] - columns["start_ps"], ended)),
        *((name, columns[name].tolist()) for name in names),
    ]


def _transfers(run: ServeRun) -> list[Column]:
    columns, names = run.transfers, [row.name for row in run.instances]
    return [
        ("request", columns["request"].tolist()),
        ("kind", _names(columns["kind"], MOVE_NAMES)),
        *((name, _names(columns[name], names)) for name in ("source", "destination")),
        *((f"{name}_s", seconds(columns[f"{name}_ps"])) for name in ("start", "end")),
        ("duration_ms", milliseconds(columns["end_ps"] - columns["start_ps"])),
        ("bytes", columns["bytes"].tolist()),
    ]


def seconds(times_ps: np.ndarray, known: np.ndarray | None = None) -> list[str]:
    """Times >= 0 as seconds with all twelve decimals; empty where not `known`."""
    return _decimals(times_ps, PS_PER_S, 12, known)


def milliseconds(times_ps: np.ndarray, known: np.ndarray | None = None) -> list[str]:
    """Times >= 0 as milliseconds with all nine decimals; empty where not `known`."""
    return _decimals(times_ps, PS_PER_MS, 9, known)


def _decimals(times_ps: np.ndarray, unit: int, digits: int, known: np.ndarray | None) -> list[str]:
    shown = np.ones(len(times_ps), bool) if known is None else known
    whole, part = np.divmod(np.where(shown, times_ps, 0), unit)
    rows = zip(whole.tolist(), part.tolist(), shown.tolist(), strict=True)
    return [f"{w}.{p:0{digits}d}" if ok else "" for w, p, ok in rows]


def _names(indices: np.ndarray, names: list[str] | tuple[str, ...]) -> list[str]:
    """Names by index; empty for -1."""
    table = [*names, ""]
    return [table[index] for index in indices.tolist()]


ENDS = ("end", "free")
COUNTED = ("generated_tokens", "cached_tokens", "preemptions")
CSVS = {"requests": _requests, "iterations": _iterations, "transfers": _transfers}
