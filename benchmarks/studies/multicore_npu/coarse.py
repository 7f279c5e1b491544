"""Targets 7 and 8: the coarse levels of memory and NoC against every transaction, Qwen3-4B.

Error of latency and gain in CPU time of the machine (graph and lowering apart) of one program run
at both levels. The study's six cases are not described; ours are decode steps and prefills of its
block, and memory traffic that is no stream. CPU times are measured: gains differ from run to run.
"""

import statistics
import time
from dataclasses import dataclass

from show import Line, Report, Table, Verdict, lines_figure, main, published
from study import INT8, block, chip, decode, mapping, prefill

from npusim.machine.system import run as run_machine
from npusim.passes.collective.fabric import fabric_of
from npusim.passes.collective.lower import collective, point_to_point
from npusim.program import Program, ProgramBuilder
from npusim.simulate import simulate
from npusim.spec.hardware import Hardware
from npusim.spec.load import load_hardware, load_scenario, resolve
from npusim.spec.scenario import Fidelity

COARSE = {
    "memory": Fidelity(memory="analytic"),
    "noc": Fidelity(noc="analytic"),
    "both": Fidelity(memory="analytic", noc="analytic"),
}
SMALL_SRAM_MIB = 8  # no weight stays
LAYERS = 8
MESSAGE_BYTES = 1 << 20


def _llm(work: list[str], **settings: int) -> list[str]:
    return [*chip(**settings), *block("4B", LAYERS), *mapping("k", pp=4), *work]


def _access(pattern: str, request_bytes: int) -> list[str]:
    work = f"{{kind: memory, pattern: {pattern}, bytes: 4194304, request_bytes: {request_bytes}}}"
    return [*chip(), *INT8, f"workload={work}"]


# name: (bound, overrides)
CASES = {
    "decode, HBM 30": ("memory", _llm(decode(1024), sram_mib=SMALL_SRAM_MIB, hbm_gb_s=30)),
    "decode, HBM 120": ("memory", _llm(decode(1024), sram_mib=SMALL_SRAM_MIB, hbm_gb_s=120)),
    "decode, 16 requests": (
        "memory",
        _llm(decode(2048, batch=16), sram_mib=SMALL_SRAM_MIB, hbm_gb_s=60),
    ),
    "reads of 4 KiB, strided": ("memory", _access("strided", 4096)),
    "reads of 256 B, random": ("memory", _access("random", 256)),
    "prefill 256, array 64": ("compute", _llm(prefill(256), array=64)),
    "prefill 1,024, array 32": ("compute", _llm(prefill(1024), array=32)),
    "prefill 512, HBM 480": ("compute", _llm(prefill(512), array=64, hbm_gb_s=480)),
}
QUICK = ("decode, HBM 30", "reads of 4 KiB, strided", "prefill 256, array 64")


@dataclass(frozen=True)
class Found:
    """By level: signed error of the latency against every transaction, and gain in CPU time."""

    bound: str
    time_us: float
    error: dict[str, float]
    gain: dict[str, float]


def study(quick: bool) -> Report:
    names = QUICK if quick else tuple(CASES)
    found = {name: measure(*CASES[name]) for name in names}
    slowed = {level: congested(level) for level in ("transaction", "analytic")}
    report = Report("Coarse levels against every transaction (targets 7 and 8)")
    report.tables += [_error_table(found), _published_table(), _congestion_table(slowed)]
    report.verdicts += [_compute_bound(found), _memory_bound(found), _speed(found)]
    report.verdicts += _congestion(slowed)
    report.figure = _figure(found)
    return report


def measure(bound: str, overrides: list[str]) -> Found:
    setup = resolve(load_scenario(None, overrides, model="qwen3-4b"))
    program = simulate(setup).iterations[0].trace.program
    spent_s, time_ps = _run(program, setup.hardware, Fidelity())
    error, gain = {}, {}
    for name, level in COARSE.items():
        coarse_s, coarse_ps = _run(program, setup.hardware, level)
        gain[name] = spent_s / coarse_s
        error[name] = coarse_ps / time_ps - 1
    return Found(bound, time_ps / 1e6, error, gain)


def _run(program: Program, hardware: Hardware, level: Fidelity) -> tuple[float, int]:
    """CPU seconds and simulated ps; kernels are loaded, as the program has run before."""
    start_s = time.process_time()
    trace = run_machine(program, hardware, fidelity=level)
    return time.process_time() - start_s, trace.makespan_ps


def congested(level: str) -> tuple[float, float]:
    """us of a ring all-gather down the last column of a 4x4 mesh, alone and beside messages from
    all other cores to that column."""
    hardware = load_hardware("npu_large_core", {"mesh.rows": 4, "mesh.columns": 4})
    fidelity = COARSE["noc"] if level == "analytic" else Fidelity()
    times = []
    for crowded in (False, True):
        program, num_tasks = _ring_program(hardware, crowded)
        trace = run_machine(program, hardware, fidelity=fidelity)
        times.append(int(trace.end_ps[:num_tasks].max()) / 1e6)
    return times[0], times[1]


def _ring_program(hardware: Hardware, crowded: bool) -> tuple[Program, int]:
    """The ring's tasks first, and how many they are."""
    builder = ProgramBuilder()
    ring = [row * 4 + 3 for row in range(4)]
    row = builder.op("ring", "collective")
    collective(
        builder, row, "all_gather", ring, MESSAGE_BYTES, (), fabric_of(hardware), algorithm="ring"
    )
    num_tasks = len(builder)
    for core in (c for c in range(16) if crowded and c not in ring):
        goal = (core // 4 + 2) % 4 * 4 + 3
        point_to_point(builder, builder.op("crowd", "transfer"), core, goal, MESSAGE_BYTES)
    return builder.build(), num_tasks


def _error_table(found: dict[str, Found]) -> Table:
    rows = [
        [
            name,
            f.bound,
            f"{f.time_us:,.0f}",
            *(f"{f.error[level]:+.1%}" for level in COARSE),
            *(f"{f.gain[level]:.1f}" for level in COARSE),
        ]
        for name, f in found.items()
    ]
    columns = ["", "bound", "us", *(f"error {c}" for c in COARSE), *(f"gain {c}" for c in COARSE)]
    return Table("npusim: analytic memory, NoC and both, against transactions", columns, rows)


def _published_table() -> Table:
    rows = [
        [r["case"], r["bound"], f"{float(r['latency_error_percent']):+.2f} %", r["run_time_gain"]]
        for r in published("coarse")
    ]
    return Table("Published (raw): coarse memory", ["", "bound", "error", "gain"], rows)


def _congestion_table(slowed: dict[str, tuple[float, float]]) -> Table:
    rows = [
        [f"npusim, {level}", f"{idle:.2f}", f"{busy:.2f}", f"{busy / idle:.2f}"]
        for level, (idle, busy) in slowed.items()
    ]
    for r in published("congestion"):
        idle, busy = float(r["idle_us"]), float(r["congested_us"])
        rows.append([f"published ({r['mark']}), {r['level']}", idle, busy, f"{busy / idle:.2f}"])
    title = "NoC, idle and congested, us (not the same traffic: the fork's is not described)"
    return Table(title, ["", "idle", "congested", "ratio"], rows)


def _of(found: dict[str, Found], bound: str) -> dict[str, Found]:
    return {name: f for name, f in found.items() if f.bound == bound}


def _compute_bound(found: dict[str, Found]) -> Verdict:
    errors = {name: f.error["memory"] for name, f in _of(found, "compute").items()}
    worst = max(errors, key=lambda name: abs(errors[name]))
    holds = abs(errors[worst]) <= 0.03
    text = f"worst {errors[worst]:+.2%} ({worst})"
    return Verdict("7", "coarse memory, compute-bound: error of 3 % at most", holds, text)


def _memory_bound(found: dict[str, Found]) -> Verdict:
    errors = {name: f.error["memory"] for name, f in _of(found, "memory").items()}
    worst = max(errors, key=lambda name: abs(errors[name]))
    optimistic = sum(e < 0 for e in errors.values())
    holds = abs(errors[worst]) > 0.2 and 2 * optimistic > len(errors)
    text = f"{optimistic} of {len(errors)} optimistic, worst {errors[worst]:+.1%} ({worst})"
    streams = [abs(e) for name, e in errors.items() if name.startswith("decode")]
    text += f"; streams of weights and KV {max(streams):.1%} at most"
    rule = "coarse memory, memory-bound: error can exceed 20 %, mostly optimistic"
    why = "" if holds else _why_memory(errors)
    return Verdict("7", rule, holds, text, why)


def _why_memory(errors: dict[str, float]) -> str:
    return (
        "the analytic level takes what a stream sustains with these timings, and weights and KV "
        f"are streams; the largest error is {max(errors.values(), key=abs):+.1%}"
    )


def _speed(found: dict[str, Found]) -> Verdict:
    gain = {
        bound: statistics.median(f.gain["memory"] for f in _of(found, bound).values())
        for bound in ("memory", "compute")
    }
    text = f"median {gain['memory']:.1f} memory-bound, {gain['compute']:.1f} compute-bound"
    holds = gain["memory"] > gain["compute"]
    why = "" if holds else _why_speed()
    rule = "coarse memory: larger gain in run time when memory-bound"
    return Verdict("7", rule, holds, text, why)


def _why_speed() -> str:
    return (
        "compiled kernels serve a burst in well under a microsecond, so tables, tasks and "
        "messages, which coarse memory keeps, are most of the time in both"
    )


def _congestion(slowed: dict[str, tuple[float, float]]) -> list[Verdict]:
    ratio = {level: busy / idle for level, (idle, busy) in slowed.items()}
    same = abs(ratio["analytic"] - 1) <= 0.01
    why = "" if same else "the ring's cores also take in the crowd's messages, at their own port"
    rule = "coarse NoC: the same with and without congestion"
    return [
        Verdict("8", rule, same, f"{ratio['analytic']:.3f}", why),
        Verdict(
            "8",
            "every transaction: 1.3 times slower or more when congested",
            ratio["transaction"] >= 1.3,
            f"{ratio['transaction']:.2f}",
        ),
    ]


def _figure(found: dict[str, Found]):
    names = list(found)
    rows = published("coarse")
    cases = [f"published {r['case']}, {r['bound']}" for r in rows]
    ours = {
        "latency error of coarse memory, %": [100 * found[n].error["memory"] for n in names],
        "gain in run time": [found[n].gain["memory"] for n in names],
    }
    columns = ("latency_error_percent", "run_time_gain")
    panels = {}
    for (title, values), column in zip(ours.items(), columns, strict=True):
        theirs = [float(r[column]) for r in rows]
        panels[title] = [
            Line("npusim", names, values, 0, joined=False),
            Line("published", cases, theirs, 1, dash=True, joined=False),
        ]
    return lines_figure("Coarse memory against transactions", panels, "", "", log="")


if __name__ == "__main__":
    main(__file__, __doc__, study)
