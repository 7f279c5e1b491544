"""Targets 5 and 6: placement of tensor-parallel ranks, with and without channel locking.

Three looks at the same question. One ring alone, by router, link width and order of steps; whole
answers (16 layers, 1,024 tokens in, 20 out, array 128, HBM 60 GB/s, TP 4 x PP 16 on 8x8 cores,
TP 16 x PP 16 on 32x8); and input fed from a host at column 0, which the released program has.
"""

from itertools import product

import numpy as np
from placement_verdicts import MODES, POLICIES, Answer, Probe, answer_verdicts, explain
from show import Line, Report, Table, lines_figure, main, published
from study import block, chip, generate, mapping, ms, run

from npusim.passes.place import place
from npusim.report.stalls import CAUSES, run_stalls, stalls_by_trace
from npusim.spec.load import load_hardware
from npusim.trace import SEND, Run

ROUTERS = {
    "shared": [],
    "shake": ["hw.noc.protocol=handshake"],
    "data": ["hw.noc.protocol=handshake", "hw.noc.flow_control=channel_locked"],
    "both": [
        "hw.noc.protocol=handshake",
        "hw.noc.flow_control=channel_locked",
        "hw.noc.lock_scope=both",
    ],
}
MESH = {4: [], 16: ["hw.mesh={rows: 32, columns: 8}"]}  # 256 cores; the study's maps are 8 wide
RING_BYTES = 4 << 20
PROMPT, OUTPUT_TOKENS, LAYERS, HIDDEN = 1024, 20, 16, 2560


def study(quick: bool) -> Report:
    links = (160,) if quick else (8, 160, 480)
    report = Report("Placement of tensor-parallel ranks (targets 5 and 6)")
    probes = {
        key: probe(*key)
        for key in product((4, 16), ("ring", "ring_phased"), links, ROUTERS, POLICIES)
    }
    answers = {key: answer(*key) for key in _answer_cases(quick)}
    report.tables += [_probe_table(probes, links), _lock_table(probes), _answer_table(answers)]
    report.tables.append(_published_table())
    report.tables.append(_host_table())
    report.notes.append(explain(probes, answers))
    report.verdicts += answer_verdicts(probes, answers)
    report.figure = _figure(probes, answers)
    return report


def _answer_cases(quick: bool) -> list[tuple[int, str, str, int, str]]:
    """(tp, partition, mode, link GB/s, placement)."""
    if quick:
        return [(4, "k", mode, 160, p) for mode in ("data", "both") for p in POLICIES]
    cases = list(product((4,), ("mn",), MODES, (8, 160, 480), POLICIES))
    cases += product((4,), ("k",), MODES, (160,), POLICIES)
    return cases + list(product((16,), ("mn", "k"), ("data", "both"), (160,), POLICIES))


def probe(tp: int, algorithm: str, link_gb_s: int, router: str, policy: str) -> Probe:
    """One ring all-gather (the traffic of rotating weights) over the first group of `policy`."""
    cores = place(policy, load_hardware("npu_large_core", {"mesh.rows": 32}), tp, 4, 1)[0][0]
    work = f"{{kind: collective, op: all_gather, bytes: {RING_BYTES}, algorithm: {algorithm}"
    overrides = [*chip(array=128, link_gb_s=link_gb_s), *MESH[16], *ROUTERS[router]]
    done = run([*overrides, f"workload={work}, cores: {cores}}}"])
    trace = done.iterations[0].trace
    sends = trace.program.kind == SEND
    wire_ps = 1000 * trace.program.bytes[sends] / link_gb_s
    rank = np.searchsorted(np.sort(cores), trace.program.core[sends])
    packets = int(trace.links["packets"].sum())
    return Probe(
        time_ps=done.makespan_ps,
        rounds=done.makespan_ps / (RING_BYTES * (tp - 1) / tp * 1000 / link_gb_s),
        message_over_wire=float(((trace.end_ps - trace.start_ps)[sends] / wire_ps).mean()),
        worst_over_wire=float(_slowest(trace.end_ps[sends] - trace.start_ps[sends], wire_ps, rank)),
        link_wait_ns=int(trace.links["wait_ps"].sum()) / packets / 1000,
    )


def _slowest(took_ps: np.ndarray, wire_ps: np.ndarray, rank: np.ndarray) -> float:
    """Mean time of a message over its wire time, of the rank for which it is largest."""
    return max((took_ps / wire_ps)[rank == r].mean() for r in np.unique(rank))


def answer(tp: int, partition: str, mode: str, link_gb_s: int, policy: str) -> Answer:
    router, collective = MODES[mode]
    done = run(
        [
            *chip(array=128, link_gb_s=link_gb_s),
            *MESH[tp],
            *ROUTERS[router],
            *block("4B", LAYERS),
            *mapping(partition, tp, 16, policy, collective),
            *generate(PROMPT, OUTPUT_TOKENS),
        ]
    )
    prefill_ms = ms(done.iterations[0].makespan_ps)
    return Answer(ms(done.makespan_ps), prefill_ms, _noc_share(done))


def _noc_share(done: Run) -> float:
    """Time that cores wait for messages in flight, over the time they do anything."""
    spent = run_stalls(done, stalls_by_trace(done)).sum(axis=0)
    by_cause = dict(zip(CAUSES, spent.tolist(), strict=True))
    active = sum(by_cause[c] for c in ("compute", "wait_memory", "wait_noc"))
    return by_cause["wait_noc"] / active


def _over_ring(times: dict) -> list[str]:
    return [f"{times[p] / times['ring']:.3f}" for p in _other_policies()]


def _probe_table(probes: dict, links) -> Table:
    rows = []
    for tp, algorithm, link, router in product((4, 16), ("ring", "ring_phased"), links, ROUTERS):
        found = {p: probes[tp, algorithm, link, router, p] for p in POLICIES}
        name = f"TP {tp:2}  {algorithm:11}  {link:3} GB/s  {router}"
        ring = found["ring"]
        times = {p: f.time_ps for p, f in found.items()}
        rows.append([name, f"{ring.time_ps / 1e6:.1f}", f"{ring.rounds:.2f}", *_over_ring(times)])
    columns = ["one ring all-gather of 4 MiB", "ring us", "wire times", *_other_policies()]
    return Table("One ring: time on the ring placement, and of the others over it", columns, rows)


def _other_policies() -> list[str]:
    return [p for p in POLICIES if p != "ring"]


def _lock_table(probes: dict) -> Table:
    rows = []
    for tp, router, policy in product((4, 16), ("data", "both"), POLICIES):
        found = probes[tp, "ring_phased", 160, router, policy]
        rows.append(
            [
                f"TP {tp:2}  {router:5} {policy}",
                f"{found.rounds:.2f}",
                f"{found.message_over_wire:.2f}",
                f"{found.worst_over_wire:.2f}",
                f"{found.link_wait_ns:.1f}",
            ]
        )
    columns = [
        "phased, 160 GB/s",
        "wire times",
        "message/wire",
        "worst rank",
        "link wait ns/packet",
    ]
    title = "What the traces say: a message's time, request to last byte, over its wire time"
    return Table(title, columns, rows)


def _answer_table(answers: dict) -> Table:
    rows = []
    for key in dict.fromkeys(case[:4] for case in answers):
        tp, partition, mode, link = key
        found = {p: answers[(*key, p)] for p in POLICIES}
        times = {p: f.ms for p, f in found.items()}
        name = f"TP {tp:2}  {partition:2}  {link:3} GB/s  {mode}"
        share = f"{found['ring'].noc_share:.0%}"
        rows.append([name, f"{times['ring']:.1f}", share, *_over_ring(times)])
    columns = ["4B, 16 layers, 20 tokens", "ring ms", "noc share", *_other_policies()]
    return Table(
        "Whole answers: time on the ring placement, and of the others over it", columns, rows
    )


def _published_table() -> Table:
    rows = []
    for row in published("placement"):
        times = {p: float(row[f"{p}_s"]) for p in POLICIES}
        name = f"TP {row['tp']:2}  {row['model']:3}  {row['mark']}"
        rows.append([name, f"{times['ring']:.3f}", *_over_ring(times)])
    for row in published("placement_run"):
        name = f"TP {row['tp']:2}  {row['partition']}  {row['link_gb_s']} GB/s  run"
        rows.append([name, "-", row["interleave_over_ring"], "-", "-"])
    return Table(
        "Published: ring, s, and the others over it", ["", "ring s", *_other_policies()], rows
    )


def _host_table() -> Table:
    """Every rank reads the input, 1,024 x 2,560 bytes, from the host at column 0 of its row."""
    rows = []
    for tp in (4, 16):
        hardware = load_hardware("npu_large_core", {"mesh.rows": 32})
        for policy in POLICIES:
            cores = np.array(place(policy, hardware, tp, 4, 1)[0][0])
            in_a_row = int(np.bincount(cores // 8).max())
            rows.append([f"TP {tp:2}  {policy}", in_a_row, f"{_host_us(in_a_row):.1f}"])
    return Table("Input from a host at column 0, 160 GB/s", ["", "ranks a row", "us"], rows)


def _host_us(ranks: int) -> float:
    host = "{name: host, attach: edge, cores: [0-7], ports: [{at: [0, 0]}], channels: 1, "
    host += "capacity_gib: 1, timing: {base: hbm2, channel_gb_s: 4000}}"
    cores = list(range(ranks))
    work = f"{{kind: memory, bytes: {PROMPT * HIDDEN}, cores: {cores}, memory: host}}"
    return run([*chip(), f"hw.memories=[{host}]", f"workload={work}"]).makespan_ps / 1e6


# whole answers that are drawn: (partition, mode, link GB/s), one color each
DRAWN = (
    ("mn", "both", 160),
    ("mn", "both", 8),
    ("mn", "both", 480),
    ("k", "both", 160),
    ("mn", "data", 160),
    ("k", "data", 160),
)
BLACK = 6


def _figure(probes: dict, answers: dict):
    panels = {}
    for tp in (4, 16):
        panels[f"one ring, TP {tp}, phased, 160 GB/s"] = [
            _line(
                f"ring, {name}",
                [probes[tp, "ring_phased", 160, name, p].time_ps for p in POLICIES],
                i,
            )
            for i, name in enumerate(ROUTERS)
        ]
        lines = [
            _line("published, 4B to 32B", [float(row[f"{p}_s"]) for p in POLICIES], BLACK, True)
            for row in published("placement")
            if row["tp"] == str(tp)
        ]
        for color, key in enumerate(DRAWN):
            if (tp, *key, "ring") in answers:
                times = [answers[(tp, *key, p)].ms for p in POLICIES]
                lines.append(_line(f"answer, {key[0]}, {key[1]}, {key[2]} GB/s", times, color))
        panels[f"whole answer, TP {tp}"] = lines
    title = "Placement: time over the ring placement's"
    return lines_figure(title, panels, "placement", "time / ring", log="")


def _line(name: str, times: list[float], color: int, dash: bool = False) -> Line:
    ring = times[POLICIES.index("ring")]
    return Line(name, POLICIES, [t / ring for t in times], color, dash)


if __name__ == "__main__":
    main(__file__, __doc__, study)
