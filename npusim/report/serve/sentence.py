"""Result of serving → the sentence that a reader sees first: what binds, and a lever."""

from collections.abc import Callable
from typing import Any

from npusim.report.text import percent
from npusim.units import PS_PER_MS, ceil_div, format_ps

PREEMPTED = 0.1  # from this share of requests on, KV memory binds
KV_FULL = 0.5  # the same, of the time in which requests wait before nearly full KV memory
BUSY = 0.8  # from this share of the makespan on, more hardware is the lever
WAITS = 2  # from this many times the time of a move on, KV waits rather than moves
SMALL = 0.25  # a batch below this share of max_requests could take in more at little cost
IDLE = 0.5  # below it, there is room for more requests


def sentence(result: dict[str, Any]) -> str:
    """What binds, from a result dict of serving: KV memory when requests are preempted or wait for
    it, else the part of the mean latency that is longest."""
    begin = f"Partial ({result['partial']}). " if result["partial"] else ""
    metrics = result["metrics"]
    if not metrics["requests"]["done"]:
        return begin + _nothing(metrics["requests"])
    part, lever = _longest_part(metrics), _kv_lever(result)
    title, what = BINDS[part]
    latency_ps = metrics["latency"]["mean_ps"]
    share = f"{_share(metrics, part)} of the mean latency of {format_ps(latency_ps)} is {what}"
    if lever:
        return f"{begin}KV-bound: {_kv_fact(result)}; {share}{_facts(metrics)}. Lever: {lever}."
    return f"{begin}{title}: {share}{_facts(metrics)}. Lever: {LEVERS[part](result)}."


def _nothing(requests: dict[str, int]) -> str:
    if not requests["count"]:
        return "Nothing was served: there are no requests."
    return (
        f"No request was done: {requests['rejected']:,} rejected, "
        f"{requests['unfinished']:,} unfinished of {requests['count']:,}."
    )


def _longest_part(metrics: dict[str, Any]) -> str:
    return max(BINDS, key=lambda part: metrics["where"][f"{part}_ps"])


def _share(metrics: dict[str, Any], part: str) -> str:
    return percent(metrics["where"][f"{part}_ps"] / max(1, metrics["latency"]["mean_ps"]))


def _facts(metrics: dict[str, Any]) -> str:
    roles = [
        f"{ROLES[row['role']]} {percent(row['busy_fraction'])}"
        for row in metrics["roles"]
        if row["busy_fraction"] is not None
    ]
    facts = [f"{', '.join(roles)} of the makespan"] if roles else []
    goodput = metrics["goodput"]
    if goodput and goodput["fraction"] is not None:
        facts.append(f"{percent(goodput['fraction'])} of requests meet {goals(goodput)}")
    return "".join(f"; {fact}" for fact in facts)


def goals(goodput: dict[str, Any]) -> str:
    """`TTFT <= 500 ms and mean TBT <= 50 ms`"""
    named = [("TTFT", goodput["ttft_ps"]), ("mean TBT", goodput["tbt_ps"])]
    return " and ".join(f"{n} <= {ps / PS_PER_MS:g} ms" for n, ps in named if ps is not None)


def _kv_fact(result: dict[str, Any]) -> str:
    metrics = result["metrics"]
    preempted = metrics["requests"]["preempted"] / metrics["requests"]["count"]
    if preempted >= PREEMPTED:
        return f"{percent(preempted)} of requests were preempted for want of KV blocks"
    worst = _fullest(metrics)
    share = percent(worst["kv_full_fraction"])
    return f"requests wait while KV memory of {worst['name']} is full, {share} of its busy time"


def _kv_lever(result: dict[str, Any]) -> str:
    """A lever where KV memory binds; else empty. Blocks of a prefix cache can be taken at any
    time, so that with one only preemptions count."""
    metrics = result["metrics"]
    requests, serving = metrics["requests"], result["scenario"]["serving"]
    own = [instance["kv"] for instance in serving["instances"] if instance["kv"]]
    cached = any(kv["prefix_cache"] for kv in own or [serving["kv"]])
    full = 0.0 if cached else _fullest(metrics).get("kv_full_fraction") or 0.0
    if requests["preempted"] < PREEMPTED * requests["count"] and full <= KV_FULL:
        return ""
    lever = "more memory for KV, a smaller dtype.kv, or more instances"
    return f"{lever}; or fewer limits.max_requests" if requests["preempted"] else lever


def _fullest(metrics: dict[str, Any]) -> dict[str, Any]:
    rows = metrics["instances"]
    return max(rows, key=lambda row: row["kv_full_fraction"] or 0.0, default={})


def _entry(metrics: dict[str, Any]) -> dict[str, Any]:
    """The role that requests come to."""
    return next((r for r in metrics["roles"] if r["role"] != "decode"), {"busy_fraction": None})


def _busy(row: dict[str, Any]) -> float:
    return row["busy_fraction"] or 0.0


def _limit(result: dict[str, Any], role: str) -> int:
    """Most requests that a batch of an instance of a role may have: of an instance with pipeline
    stages, a stage's share of its `max_requests`."""
    scenario = result["scenario"]
    serving = scenario["serving"]
    shares = [
        ceil_div(
            (one["limits"] or serving["limits"])["max_requests"],
            (one["parallel"] or scenario["parallel"])["pp"],
        )
        for one in serving["instances"]
        if one["role"] == role
    ]
    return max(shares, default=0)


def _queueing_lever(result: dict[str, Any]) -> str:
    metrics = result["metrics"]
    rows = [row for row in metrics["instances"] if row["role"] != "decode"]
    most = max((row["max_requests"] for row in rows), default=0)
    if rows and most >= _limit(result, rows[0]["role"]):
        return f"batches are full at {most} requests; a higher limits.max_requests"
    schedulers = {row["scheduler"] for row in result["instances"] if row["role"] != "decode"}
    if "static" in schedulers:
        return "static batches make requests wait for one another; scheduler chunked_prefill"
    if _busy(_entry(metrics)) < BUSY:
        return "instances wait at times too; requests come in bursts, spread them or add instances"
    if _entry(metrics).get("role") == "prefill":
        return "more cores for prefill, a higher tp there, or fewer requests a second"
    return "more instances or a higher tp, or fewer requests a second"


def _prefill_lever(result: dict[str, Any]) -> str:
    if result["metrics"]["transfers"]:
        return "a higher tp or faster cores for prefill; a prefix cache where prompts begin alike"
    return "a higher tp, more limits.max_tokens an iteration, or prefill instances of their own"


def _handover_lever(result: dict[str, Any]) -> str:
    """Where KV waits much longer than it moves: what it waits for."""
    metrics = result["metrics"]
    decode = [row for row in metrics["instances"] if row["role"] == "decode"]
    moves = next((row for row in metrics["transfers"] if row["kind"] == "transfer"), None)
    if moves and metrics["where"]["handover_ps"] > WAITS * moves["mean_ps"]:
        if max((row["kv_mean_fraction"] or 0.0 for row in decode), default=0.0) > BUSY:
            return "decode has no room for more KV; more memory, or more instances for decode"
        most = max((row["max_requests"] for row in decode), default=0)
        if most >= _limit(result, "decode"):
            return f"decode batches are full at {most} requests; a higher limits.max_requests"
        return "moves wait for one another; wider links, or more prefill instances that send"
    if result["scenario"]["serving"]["transfer"] == "whole":
        return "transfer layer, so that KV moves beside the prefill"
    return "wider links between the instances, or decode nearer to prefill (placement dp_first)"


def _decode_lever(result: dict[str, Any]) -> str:
    metrics = result["metrics"]
    decode = metrics["roles"][-1]
    if _busy(decode) < IDLE:
        return "instances are idle much of the time; there is room for more requests a second"
    batch, most = decode["mean_requests"] or 0.0, _limit(result, decode["role"])
    if batch < SMALL * most:
        return (
            f"batches have {batch:.1f} requests of at most {most}, there is room for more; for "
            "shorter latencies memory bandwidth, or another tp"
        )
    if decode["role"] == "decode":
        return "more cores or memory bandwidth for decode, or a higher tp there"
    return "more instances, memory bandwidth, or a higher tp; decode instances of their own"


ROLES = {"both": "instances were busy", "prefill": "prefill was busy", "decode": "decode"}
BINDS = {
    "queueing": ("Queue-bound", "queueing before the first batch"),
    "prefill": ("Prefill-bound", "prefill"),
    "handover": ("Transfer-bound", "handover of KV to decode"),
    "decode": ("Decode-bound", "decode"),
}
PARTS_TEXT = {part: text for part, (_, text) in BINDS.items()}
LEVERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "queueing": _queueing_lever,
    "prefill": _prefill_lever,
    "handover": _handover_lever,
    "decode": _decode_lever,
}
