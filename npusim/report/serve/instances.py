"""ServeRun → how busy instances and roles were, their batches and KV memory, and moves of KV."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from npusim.serve_trace import MOVE_NAMES, WAITING, ServeRun
from npusim.units import PS_PER_NS

NEARLY_FULL = 0.9  # of the KV blocks: a waiting request that needs more does not get in


@dataclass(frozen=True)
class Span:
    """First arrival to last completion."""

    start_ps: int
    end_ps: int

    @property
    def length_ps(self) -> int:
        return self.end_ps - self.start_ps


def last_ps(run: ServeRun) -> int:
    """The last thing that happened; arrivals that a partial run did not come to are not."""
    columns = [run.requests["arrival_ps"][run.requests["status"] != WAITING], run.token_ps]
    columns += [run.iterations["start_ps"], run.iterations["end_ps"], run.transfers["end_ps"]]
    return max(int(column.max(initial=0)) for column in columns)


def iterations_of(run: ServeRun, index: int | None = None) -> dict[str, np.ndarray]:
    """Columns of the iterations, of one instance or of all; those that were under way when a
    partial run ended last until then."""
    columns = run.iterations
    if index is not None:
        chosen = columns["instance"] == index
        columns = {name: column[chosen] for name, column in columns.items()}
    end = columns["end_ps"]
    return columns | {"end_ps": np.where(end < 0, last_ps(run), end)}


def instance_rows(run: ServeRun, span: Span | None) -> list[dict[str, Any]]:
    """A row an instance, in order; keys: schema.INSTANCE_KEYS."""
    rows = []
    for index, instance in enumerate(run.instances):
        mine = iterations_of(run, index)
        requests = (run.requests["instance"] == index) & (run.requests["scheduled_ps"] >= 0)
        row = {"name": instance.name, "role": instance.role, "num_cores": len(instance.cores)}
        row |= _use(mine, span) | _kv(mine, instance.num_blocks)
        rows.append(row | {"prefix_hit_fraction": _hit_fraction(run, requests)})
    return rows


def role_rows(instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of instances → a row a role: counts summed, fractions weighted by cores, iterations or
    busy time; keys: schema.ROLE_KEYS."""
    rows = []
    for role in dict.fromkeys(row["role"] for row in instances):
        mine = [row for row in instances if row["role"] == role]
        summed = {name: sum(row[name] for row in mine) for name in SUMMED}
        rows.append(
            {
                "role": role,
                "num_instances": len(mine),
                **summed,
                "busy_fraction": _weighted(mine, "busy_fraction", "num_cores"),
                "mean_requests": _weighted(mine, "mean_requests", "num_iterations"),
                "kv_mean_fraction": _weighted(mine, "kv_mean_fraction", "busy_ps"),
                "kv_peak_fraction": max((r["kv_peak_fraction"] or 0.0 for r in mine), default=0.0),
            }
        )
    return rows


def transfer_rows(run: ServeRun) -> list[dict[str, Any]]:
    """A row a kind of move that there was; keys: schema.TRANSFER_KEYS."""
    rows = []
    for kind, name in enumerate(MOVE_NAMES):
        chosen = run.transfers["kind"] == kind
        if chosen.any():
            took = (run.transfers["end_ps"] - run.transfers["start_ps"])[chosen]
            moved = int(run.transfers["bytes"][chosen].sum())
            row = {"kind": name, "count": len(took), "bytes": moved}
            row |= {"mean_ps": round(float(took.mean())), "max_ps": int(took.max())}
            total_ns = int(took.sum()) / PS_PER_NS
            rows.append(row | {"mean_gb_s": moved / total_ns if total_ns else None})
    return rows


def busy_ps(start_ps: np.ndarray, end_ps: np.ndarray) -> int:
    """Length of the union of intervals, by start."""
    if not len(start_ps):
        return 0
    reach = np.maximum.accumulate(end_ps)
    begin = np.maximum(start_ps[1:], reach[:-1])
    later = np.maximum(end_ps[1:] - begin, 0).sum()
    return int(end_ps[0] - start_ps[0] + later)


def held_ps(iterations: dict[str, np.ndarray]) -> np.ndarray:
    """How long what was sampled at each iteration of one instance holds: until it ends, or the
    next one starts."""
    until = iterations["end_ps"].copy()
    until[:-1] = np.minimum(until[:-1], iterations["start_ps"][1:])
    return until - iterations["start_ps"]


def _use(mine: dict[str, np.ndarray], span: Span | None) -> dict[str, Any]:
    busy, num = 0, len(mine["start_ps"])
    if span:
        inside = [np.clip(mine[k], span.start_ps, span.end_ps) for k in ("start_ps", "end_ps")]
        busy = busy_ps(*inside)
    return {
        "num_iterations": num,
        "busy_ps": busy,
        "busy_fraction": busy / span.length_ps if span and span.length_ps else None,
        "mean_requests": float(mine["requests"].mean()) if num else None,
        "max_requests": int(mine["requests"].max(initial=0)),
        "prefill_tokens": int(mine["prefill_tokens"].sum()),
        "decodes": int(mine["decodes"].sum()),
        "max_waiting": int(mine["waiting"].max(initial=0)),
        "preemptions": int(mine["preemptions"].sum()),
    }


def _kv(mine: dict[str, np.ndarray], num_blocks: int) -> dict[str, Any]:
    """Mean while iterations run, peak, and the share of that time in which requests waited and
    nearly all blocks were held."""
    held, weight = mine["kv_blocks"], held_ps(mine)
    total, peak = int(weight.sum()), int(held.max(initial=0))
    full = (mine["waiting"] > 0) & (held >= NEARLY_FULL * num_blocks)
    mean = float((held * weight.astype(float)).sum()) / total if total else None
    known = num_blocks > 0
    return {
        "kv_blocks": num_blocks,
        "kv_peak_blocks": peak,
        "kv_peak_fraction": peak / num_blocks if known else None,
        "kv_mean_fraction": mean / num_blocks if known and mean is not None else None,
        "kv_full_fraction": int(weight[full].sum()) / total if total else None,
    }


def _hit_fraction(run: ServeRun, chosen: np.ndarray) -> float | None:
    prompt = int(run.requests["prompt_tokens"][chosen].sum())
    return int(run.requests["cached_tokens"][chosen].sum()) / prompt if prompt else None


def _weighted(rows: list[dict[str, Any]], name: str, weight: str) -> float | None:
    known = [row for row in rows if row[name] is not None and row[weight]]
    total = sum(row[weight] for row in known)
    return sum(row[name] * row[weight] for row in known) / total if total else None


SUMMED = ("num_cores", "num_iterations", "prefill_tokens", "decodes", "preemptions")
