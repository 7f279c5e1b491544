"""Small programs and traces by hand for the report tests."""

from types import SimpleNamespace

import numpy as np

from npusim.program import ProgramBuilder, array_unit
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import Scenario
from npusim.trace import CORE_KEYS, LINK_KEYS, SPAN_DTYPE, Iteration, Run, SpanLog, Trace

LINK_GIVEN = {"network", "bytes", "busy_ps", "gb_s"}
HARDWARE = Hardware.model_validate(
    {
        "name": "two_cores",
        "mesh": {"rows": 1, "columns": 2},
        "core_groups": [
            {
                "name": "main",
                "core": {
                    "clock_mhz": 1000,
                    "arrays": {"rows": 4, "columns": 4},
                    "vector": {"lanes": 8},
                    "sfu": {"lanes": 2},
                    "scratchpad": {"capacity_mib": 1},
                },
            }
        ],
        "memories": [
            {
                "capacity_gib": 1,
                "channels": 1,
                "timing": {
                    "channel_gb_s": 16,
                    "t_rcd_ns": 14,
                    "t_rp_ns": 14,
                    "t_cl_ns": 14,
                    "t_ras_ns": 32,
                },
            }
        ],
        "noc": {"clock_mhz": 1000, "link_bytes_per_cycle": 16},
    }
)


def setup(hardware=HARDWARE):
    scenario = Scenario.model_validate(
        {"hw": "two_cores", "workload": {"kind": "gemm", "m": 4, "n": 4, "k": 4}}
    )
    return SimpleNamespace(scenario=scenario, hardware=hardware, model=None)


def make_trace(program, start, end, makespan=None, num_cores=2, **more):
    """Trace with given task times, a channel a core and a link each way."""
    kind, core = program.kind, program.core
    moved = {
        k: [int(program.bytes[(kind == k) & (core == c)].sum()) for c in range(num_cores)]
        for k in (1, 2, 3)
    }
    zeros = [0] * num_cores
    start, end = np.array(start, np.int64), np.array(end, np.int64)
    return Trace(
        program=program,
        makespan_ps=int(end.max()) if makespan is None else makespan,
        ready_ps=start.copy(),
        start_ps=start,
        end_ps=end,
        channels={
            "memory": np.arange(num_cores),
            "read_bytes": np.array(moved[1]),
            "write_bytes": np.array(moved[2]),
            "busy_ps": np.array(moved[1]) * 62,
            "requests": np.ones(num_cores, np.int64),
            "row_hits": np.array(zeros),
            "row_misses": np.ones(num_cores, np.int64),
            "request_ps": np.array(zeros),
            "queue_ps": np.array(zeros),
            "service_ps": np.array(zeros),
            "response_ps": np.array(zeros),
            "peak_gb_s": np.array([16.0] * num_cores),
        },
        links={
            "network": np.ones(num_cores, np.int64),
            "bytes": np.array(moved[3]),
            "busy_ps": np.array(moved[3]) * 62,
            "gb_s": np.array([16.0] * num_cores),
        }
        | {name: np.array(zeros) for name in LINK_KEYS.keys() - LINK_GIVEN},
        cores={name: np.array(zeros) for name in CORE_KEYS},
        channel_names=[f"hbm[{c}] channel 0" for c in range(num_cores)],
        link_names=[f"link {c}" for c in range(num_cores)],
        core_names=[f"0,{c}" for c in range(num_cores)],
        **more,
    )


def small_program():
    """Core 0 loads and computes, then sends to core 1, which adds and stores."""
    b = ProgramBuilder()
    up = b.op("L0.up", "matmul", 0, "prefill")
    down = b.op("L1.up", "matmul", 1, "prefill")
    load = b.load(0, up, 0, 0, 1600)
    work = b.compute(0, array_unit(0), up, 200, [load], flops=3200)
    _, recv = b.message(0, 1, down, 800, [work])
    add = b.compute(1, 0, down, 50, [recv], flops=10)
    b.store(1, down, 1, 0, 400, [add])
    return b.build()


def small_trace(**more):
    #        load compute send recv add store
    start = [0, 100_000, 300_000, 310_000, 360_000, 410_000]
    end = [100_000, 300_000, 350_000, 360_000, 410_000, 440_000]
    spans = np.array(
        [(0, 0, 0, 100_000, 1600), (2, 2, 300_000, 350_000, 800), (1, 5, 410_000, 440_000, 400)],
        SPAN_DTYPE,
    )
    more.setdefault("spans", SpanLog([spans]))
    more.setdefault("bin_ps", 220_000)
    more.setdefault("channel_bins", np.array([[1600, 0], [0, 400]]))
    more.setdefault("link_bins", np.array([[0, 800], [0, 0]]))
    return make_trace(small_program(), start, end, **more)


def small_run():
    trace = small_trace()
    first = Iteration("prefill", 0, trace.makespan_ps, trace, new_tokens=4, output_tokens=1)
    again = Iteration("decode 1", 440_000, 440_000, trace, 1, 1, reused_from=0)
    return Run([first, again], notes=["placement auto picked ring"])


def keys(value, open_keys=(), place=""):
    """Paths of all keys, `[]` for each row of a list; what lies under `open_keys` is left out."""
    if place in open_keys:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            path = f"{place}.{name}" if place else name
            yield path
            yield from keys(inner, open_keys, path)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner, open_keys, f"{place}[]")
