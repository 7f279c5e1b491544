"""ServeRuns by hand for the tests of serving's reports; times in ms unless named otherwise."""

from types import SimpleNamespace

import numpy as np
from report_cases import HARDWARE

from npusim.serve_trace import (
    DONE,
    ITERATION_COLUMNS,
    PREEMPTION_COLUMNS,
    REJECTED,
    REQUEST_COLUMNS,
    TRANSFER_COLUMNS,
    WAITING,
    InstanceRow,
    ServeRun,
)
from npusim.spec.scenario import Scenario

MS = 1_000_000_000
NEVER = {"scheduled_ps": -1, "first_token_ps": -1, "finish_ps": -1}


def setup(**serving):
    """What a resolved scenario gives; no model, as the iterations are of a table."""
    scenario = Scenario.model_validate(
        {
            "hw": "two_cores",
            "traffic": {
                "kind": "burst",
                "requests": 1,
                "prompt": {"kind": "fixed", "tokens": 1},
                "output": {"kind": "fixed", "tokens": 1},
            },
            "serving": {"iteration": "table", "table": "somewhere"} | serving,
        }
    )
    return SimpleNamespace(scenario=scenario, hardware=HARDWARE, model=None)


def columns(names, rows):
    """int64 columns of dicts; what a row does not say is 0, a token's row `tokens` is left out."""
    return {name: np.array([row.get(name, 0) for row in rows], np.int64) for name in names}


def done(arrival, scheduled, tokens, prompt=10, **more):
    """A request that put out its last token; `tokens` are times."""
    return {
        "arrival_ps": arrival * MS,
        "scheduled_ps": scheduled * MS,
        "first_token_ps": tokens[0] * MS,
        "finish_ps": tokens[-1] * MS,
        "prompt_tokens": prompt,
        "output_tokens": len(tokens),
        "generated_tokens": len(tokens),
        "status": DONE,
        "tokens": tokens,
    } | more


def rejected(arrival, **more):
    refused = {"arrival_ps": arrival * MS, "status": REJECTED, "instance": -1, "tokens": ()}
    return (
        refused | {"prompt_tokens": 999, "output_tokens": 1, "decode_instance": -1} | NEVER | more
    )


def unfinished(arrival, tokens=(), **more):
    given = {"arrival_ps": arrival * MS, "status": WAITING, "tokens": tokens} | NEVER
    given |= {"prompt_tokens": 7, "output_tokens": 9, "generated_tokens": len(tokens)}
    if tokens:
        given |= {"scheduled_ps": arrival * MS, "first_token_ps": tokens[0] * MS}
    return given | more


def iteration(start, end, **more):
    return {"start_ps": start * MS, "end_ps": end * MS, "free_ps": end * MS} | more


def move(request, source, destination, start, end, num_bytes, kind=0):
    times = {"start_ps": start * MS, "end_ps": end * MS}
    ends = {"source": source, "destination": destination}
    return {"request": request, "bytes": num_bytes, "kind": kind} | times | ends


def instance(name="i0", role="both", cores=(0, 1), num_blocks=100):
    return InstanceRow(name, role, 0, cores, 1, 1, "chunked_prefill", num_blocks, 16)


def make_run(requests=(), iterations=(), transfers=(), instances=None, preemptions=(), **more):
    requests = [{"request": i} | row for i, row in enumerate(requests)]
    times = [int(t * MS) for row in requests for t in row["tokens"]]
    counts = [len(row["tokens"]) for row in requests]
    return ServeRun(
        requests=columns(REQUEST_COLUMNS, requests),
        token_ps=np.array(times, np.int64),
        token_start=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        iterations=columns(ITERATION_COLUMNS, iterations),
        transfers=columns(TRANSFER_COLUMNS, transfers),
        instances=[instance()] if instances is None else instances,
        iteration_kind="table",
        preemptions=columns(PREEMPTION_COLUMNS, preemptions) if preemptions else {},
        **more,
    )


def small_run(**more):
    """Two prefill-decode requests over a P and a D instance, one alike that is rejected.

    Request 0 waits 10 ms, prefills 20, hands over 5 and decodes; request 1 waits for it.
    """
    requests = [
        done(0, 10, (30, 40, 50), prompt=100, cached_tokens=25, decode_instance=1),
        done(5, 30, (60, 80), prompt=50, decode_instance=1, preemptions=1),
        rejected(6),
    ]
    iterations = [
        iteration(10, 30, prefill_tokens=75, requests=1, waiting=1, kv_blocks=50),
        iteration(30, 60, prefill_tokens=50, requests=1, kv_blocks=30),
        iteration(35, 40, instance=1, decodes=1, requests=1, context_tokens=101, kv_blocks=8),
        iteration(40, 50, instance=1, decodes=1, requests=1, context_tokens=102, kv_blocks=8),
        iteration(
            70, 80, instance=1, decodes=1, requests=1, context_tokens=51, kv_blocks=4, preemptions=1
        ),
    ]
    transfers = [move(0, 0, 1, 30, 35, 1600), move(1, 0, 1, 60, 64, 800)]
    instances = [
        instance("prefill0", "prefill", (0,), 100),
        instance("decode0", "decode", (1,), 10),
    ]
    preemptions = [
        {"request": 1, "instance": 1, "start_ps": 66 * MS, "end_ps": 70 * MS},
    ]
    return make_run(requests, iterations, transfers, instances, preemptions, **more)


def interrupted_run():
    """One request done, one that decodes, one that is yet to arrive; the last iteration began at
    10 ms and was under way when the run ended."""
    requests = [done(0, 0, (4, 10)), unfinished(1, (4,)), unfinished(500)]
    iterations = [
        iteration(0, 4, prefill_tokens=17, requests=2, kv_blocks=2),
        iteration(4, 10, decodes=2, requests=2, kv_blocks=3),
        iteration(10, 0, decodes=1, requests=1, kv_blocks=1) | {"end_ps": -1, "free_ps": -1},
    ]
    return make_run(requests, iterations, partial="interrupted")
