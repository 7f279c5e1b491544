"""ServeRun and goals → what a server is judged by: latencies, throughput, goodput, use.

Latencies are of requests that were done; the others are counted. Percentiles interpolate linearly
between the two nearest ranks (numpy's `linear`): the p-th of n values stands at rank p (n - 1).
"""

from typing import Any

import numpy as np

from npusim.report.serve.instances import (
    Span,
    instance_rows,
    last_ps,
    role_rows,
    transfer_rows,
)
from npusim.serve_trace import DONE, REJECTED, TRANSFER, WAITING, ServeRun
from npusim.spec.serving import Slo
from npusim.units import PS_PER_MS, PS_PER_S

PERCENTILES = (50, 90, 99)


def serve_metrics(run: ServeRun, slo: Slo | None = None) -> dict[str, Any]:
    """Keys: schema.METRIC_KEYS; what cannot be said (no request was done, no goal) is None."""
    done = run.requests["status"] == DONE
    span = _span(run, done)
    times = request_times(run)
    of_done = {name: values[done] for name, values in times.items()}
    latency, instances = _latency(run, of_done, done), instance_rows(run, span)
    return {
        "requests": _counts(run),
        "makespan_ps": span and span.length_ps,
        **_throughput(run, done, span, latency["latency"]),
        **latency,
        "where": {f"{name}_ps": _mean(of_done[f"{name}_ps"]) for name in PARTS},
        "goodput": _goodput(run, of_done, slo or Slo(), span),
        "instances": instances,
        "roles": role_rows(instances),
        "transfers": transfer_rows(run),
    }


def request_times(run: ServeRun) -> dict[str, np.ndarray]:
    """int64 columns, ps, one row a request; right for those that are done.

    `ttft_ps`, `latency_ps` from arrival; `output_ps` first to last token; and the parts that add
    up to the latency: `queueing_ps` (to the first batch), `prefill_ps` (to the first token),
    `handover_ps` (until its KV is all at the instance that decodes), `decode_ps` (the rest).
    """
    columns = run.requests
    arrival, first = columns["arrival_ps"], columns["first_token_ps"]
    handover = _handover_ps(run)
    return {
        "ttft_ps": first - arrival,
        "latency_ps": columns["finish_ps"] - arrival,
        "output_ps": columns["finish_ps"] - first,
        "queueing_ps": columns["scheduled_ps"] - arrival,
        "prefill_ps": first - columns["scheduled_ps"],
        "handover_ps": handover,
        "decode_ps": columns["finish_ps"] - first - handover,
    }


def token_gaps_ps(run: ServeRun, chosen: np.ndarray) -> np.ndarray:
    """Every gap between consecutive tokens of one request, of the `chosen` ones (bool), pooled."""
    if len(run.token_ps) < 2:
        return np.empty(0, np.int64)
    keep = np.repeat(chosen, np.diff(run.token_start))[:-1]
    bounds = run.token_start[1:-1]
    keep[bounds[(bounds > 0) & (bounds < len(run.token_ps))] - 1] = False
    return np.diff(run.token_ps)[keep]


def mean_gaps_ps(run: ServeRun, output_ps: np.ndarray) -> np.ndarray:
    """Mean gap between the tokens of each request, from the time between its first and last; nan
    where it has one token."""
    num_gaps = run.requests["generated_tokens"] - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(num_gaps > 0, output_ps / num_gaps, np.nan)


def _handover_ps(run: ServeRun) -> np.ndarray:
    """First token → its KV has moved for the first time (again after a preemption: that counts as
    decode), at most the time to the last token; what moves beside the prefill costs nothing."""
    moves, first = run.transfers, run.requests["first_token_ps"]
    there = run.requests["finish_ps"].copy()
    moved = moves["kind"] == TRANSFER
    np.minimum.at(there, moves["request"][moved], moves["end_ps"][moved])
    has_moved = np.zeros(len(there), bool)
    has_moved[moves["request"][moved]] = True
    return np.where(has_moved, np.maximum(there - first, 0), 0)


def _span(run: ServeRun, done: np.ndarray) -> Span | None:
    if not done.any():
        return None
    first, last = run.requests["arrival_ps"].min(), run.requests["finish_ps"][done].max()
    return Span(int(first), last_ps(run) if run.partial else int(last))


def _counts(run: ServeRun) -> dict[str, int]:
    status, preemptions = run.requests["status"], run.requests["preemptions"]
    return {
        "count": len(status),
        "done": int((status == DONE).sum()),
        "rejected": int((status == REJECTED).sum()),
        "unfinished": int((status == WAITING).sum()),
        "preempted": int((preemptions > 0).sum()),
        "preemptions": int(preemptions.sum()),
    }


def _throughput(
    run: ServeRun, done: np.ndarray, span: Span | None, latency: dict[str, Any]
) -> dict[str, Any]:
    tokens = {
        name: int(run.requests[name][done].sum())
        for name in ("prompt_tokens", "generated_tokens", "cached_tokens")
    }
    prompt, output = tokens["prompt_tokens"], tokens["generated_tokens"]
    seconds = span.length_ps / PS_PER_S if span else 0.0
    return {
        "prompt_tokens": prompt,
        "output_tokens": output,
        "output_tokens_s": rate(output, seconds),
        "total_tokens_s": rate(prompt + output, seconds),
        "requests_s": rate(int(done.sum()), seconds),
        "output_tokens_per_mean_latency_s": rate(output, (latency["mean_ps"] or 0) / PS_PER_S),
        "prefix_hit_fraction": rate(tokens["cached_tokens"], prompt),
    }


def rate(amount: float, whole: float) -> float | None:
    """`amount` for each unit of `whole`; None where that is 0."""
    return amount / whole if whole else None


def _latency(run: ServeRun, of_done: dict[str, np.ndarray], done: np.ndarray) -> dict[str, Any]:
    several = done & (run.requests["generated_tokens"] > 1)
    output_ps = run.requests["finish_ps"] - run.requests["first_token_ps"]
    return {
        "ttft": distribution(of_done["ttft_ps"]),
        "tbt": distribution(token_gaps_ps(run, done)),
        "tpot": distribution(mean_gaps_ps(run, output_ps)[several]),
        "latency": distribution(of_done["latency_ps"]),
        "queueing": distribution(of_done["queueing_ps"]),
    }


def distribution(values_ps: np.ndarray) -> dict[str, int | None]:
    """count, mean, percentiles and max of times, rounded to whole ps; None where there are none."""
    names = [f"p{p}_ps" for p in PERCENTILES]
    if not len(values_ps):
        return {"count": 0, **dict.fromkeys(["mean_ps", *names, "max_ps"])}
    ranks = np.percentile(values_ps, PERCENTILES, method="linear")
    found: dict[str, int | None] = {"count": len(values_ps), "mean_ps": _mean(values_ps)}
    found |= {name: round(float(value)) for name, value in zip(names, ranks, strict=True)}
    return found | {"max_ps": round(float(values_ps.max()))}


def _mean(values_ps: np.ndarray) -> int | None:
    return round(float(values_ps.mean())) if len(values_ps) else None


def _goodput(
    run: ServeRun, of_done: dict[str, np.ndarray], slo: Slo, span: Span | None
) -> dict[str, Any] | None:
    """Requests that meet all goals. Those that a partial run left unfinished are not judged; any
    other that was not done has missed them."""
    if slo.ttft_ms is None and slo.tbt_ms is None:
        return None
    ttft_ps, tbt_ps = (ms and round(ms * PS_PER_MS) for ms in (slo.ttft_ms, slo.tbt_ms))
    good = np.ones(len(of_done["ttft_ps"]), bool)
    if ttft_ps is not None:
        good &= of_done["ttft_ps"] <= ttft_ps
    if tbt_ps is not None:
        num_gaps = run.requests["generated_tokens"][run.requests["status"] == DONE] - 1
        good &= of_done["output_ps"] <= tbt_ps * num_gaps
    counts = _counts(run)
    judged = counts["count"] - (counts["unfinished"] if run.partial else 0)
    return {
        "ttft_ps": ttft_ps,
        "tbt_ps": tbt_ps,
        "requests": int(good.sum()),
        "requests_s": rate(int(good.sum()), span.length_ps / PS_PER_S if span else 0.0),
        "fraction": rate(int(good.sum()), judged),
    }


PARTS = ("queueing", "prefill", "handover", "decode")
