"""Serving against a real server's run and against itself: errors by request and of means.

A vLLM run on an RTX 4090 is replayed from that machine's measured kernels; `against_live.py` has
the other half.

Nothing is fitted and no host time is added: the kernels, measured in eager mode, sum up to 2 to 4 %
more than five of six stretches of the server's iterations took (family "decode iterations"), for
which vLLM replays captured graphs.
What the run does that the replay does not: its first two iterations take some 0.2 s longer each
(warm-up); batches are chosen one iteration ahead; and of a preempted request's KV the generated
tokens may still be found in the prefix cache, not only the prompt's.

TPOT is ranked apart, without a goal: for three quarters of the requests it is 31 ms within 6 %, and
the rest depends on who is admitted last and preempted: whenever the KV memory becomes full, a few
requests are admitted in one of the two runs and wait for up to fifteen seconds in the other.

What the settings matter, in the mean TTFT and TPOT of the replay (+1.3 %, -0.2 %): without prefix
cache +4.7 %, +2.9 %; requests admitted when their first chunk fits +1.6 %, +0.1 %; with a hundredth
of the blocks kept free -0.2 %, -2.6 %; 0.25 ms of host time an iteration +2.3 %, +0.6 %.
"""

from collections.abc import Callable

import numpy as np

from npusim.serving.iteration.table import KernelTable
from npusim.spec.load import load_scenario, resolve
from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.serving.against_live import families
from npusim.validate.serving.gaps import shapes, stretches
from npusim.validate.serving.replay import SCENARIO, Served, our_run, rank_correlation, real_run
from npusim.validate.suites import Progress

VLLM = "vLLM 0.19 on RTX 4090, Llama-3.1-8B, 300 ShareGPT requests (casys-kaist/LLMServingSim)"
EACH = f"each request of {VLLM}"
ITERATIONS = f"iterations of {VLLM}"
PEER = "LLMServingSim's own replay, published: TTFT +0.6 %, TPOT +0.2 %, latency +0.5 %, in 396 s"
PREEMPTED = (
    "three quarters of the requests are within 6 % of 31 ms; the others depend on who is admitted "
    "last before the KV memory is full, and preempted"
)
EAGER = "means of iterations whose batches follow from the real run alone; kernels measured eagerly"
TIMES: dict[str, Callable[[Served], np.ndarray]] = {
    "TTFT": lambda run: run.ttft_s,
    "latency": lambda run: run.latency_s,
    "TPOT": lambda run: run.tpot_s,
}


def run(full: bool, progress: Progress) -> list[Family]:
    """The whole replay, quick or full, and memo against live."""
    return [*replayed(progress), *families(full, progress)]


def replayed(progress: Progress) -> list[Family]:
    """Our replay against the server's run."""
    progress("serving: 300 requests on one RTX 4090")
    ours, theirs = our_run(), real_run()
    ranks = _ranks(ours, theirs)
    return [
        _family("replay, means", VLLM, _means(ours, theirs), Goal("worst", 0.05), PEER),
        _family("replay, rank correlation", VLLM, ranks[:2], Goal("worst", 0.05)),
        _family("replay, rank correlation of TPOT", EACH, ranks[2:], None, PREEMPTED),
        *(_requests(name, ours, theirs) for name in TIMES),
        _family("decode iterations", ITERATIONS, _iterations(theirs), Goal("worst", 0.10), EAGER),
    ]


def _family(
    name: str, reference: str, rows: list[Comparison], goal: Goal | None, note: str = ""
) -> Family:
    return Family("serving", name, reference, tuple(rows), goal, note)


def _means(ours: Served, theirs: Served) -> list[Comparison]:
    rows = [("makespan", ours.makespan_s, theirs.makespan_s)]
    for name, of in TIMES.items():
        rows.append((f"mean {name}", float(of(ours).mean()), float(of(theirs).mean())))
        rows.append((f"median {name}", float(np.median(of(ours))), float(np.median(of(theirs)))))
    return [Comparison(*row, "s") for row in rows]


def _ranks(ours: Served, theirs: Served) -> list[Comparison]:
    """Against 1, the correlation of a run with itself: -5 % is a correlation of 0.95."""
    return [
        Comparison(f"Spearman of {name}", rank_correlation(of(ours), of(theirs)), 1.0, "")
        for name, of in TIMES.items()
    ]


def _requests(name: str, ours: Served, theirs: Served) -> Family:
    pairs = zip(TIMES[name](ours).tolist(), TIMES[name](theirs).tolist(), strict=True)
    rows = [Comparison(f"request {i}", *pair, "s") for i, pair in enumerate(pairs)]
    return _family(f"replay, {name} of each request", EACH, rows, None)


def _iterations(theirs: Served) -> list[Comparison]:
    """Kernels of the batches that the server ran, against the time it took."""
    setup = resolve(load_scenario(SCENARIO))
    table = KernelTable.load(setup.scenario.serving.table or "", setup.model)
    rows = []
    for stretch in stretches(theirs):
        us = sum(share * table.iteration_us(shape) for share, shape in shapes(theirs, stretch))
        name = f"{stretch.num} iterations from {stretch.start_s:.1f} s"
        rows.append(Comparison(name, us / 1e3, stretch.gap_s * 1e3, "ms"))
    return rows
