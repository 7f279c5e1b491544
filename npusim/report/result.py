"""Setup and Run → `result.json`: everything a run found, as integers in base units (schema.py)."""

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from npusim.cost.paths import Grid, hops
from npusim.report.replace import replacing
from npusim.report.stalls import CAUSES, run_stalls, stalls_by_trace
from npusim.report.usage import operators, peak_flops_s, peak_memory_gb_s, summed
from npusim.trace import LOAD, RECV, SEND, STORE, Run
from npusim.units import PS_PER_NS, PS_PER_S

if TYPE_CHECKING:
    from npusim.spec.load import Setup

SCHEMA_VERSION = 1
NUMBER = re.compile(r"[\d.,]+")
CHANNEL_FACTS = ("memory", "peak_gb_s")
LINK_FACTS = ("network", "gb_s")


def result_dict(setup: "Setup", run: Run) -> dict[str, Any]:
    """The result of a run; the same input gives the same dict. Keys: schema.RESULT_KEYS. What
    report/fidelity.py finds goes into `fidelity`."""
    by_trace = stalls_by_trace(run)
    stall_ps = run_stalls(run, by_trace)
    uses = operators(run, by_trace)
    trace = run.iterations[-1].trace
    totals, channels = _totals(setup, run, uses), _per_channel(run)
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": setup.scenario.model_dump(mode="json"),
        "hardware": setup.hardware.model_dump(mode="json"),
        "model": setup.model and setup.model.model_dump(mode="json"),
        "totals": totals,
        "stalls": {f"{c}_ps": int(v) for c, v in zip(CAUSES, stall_ps.sum(axis=0), strict=True)},
        "iterations": [_iteration(i) for i in run.iterations],
        "per_operator": [dataclasses.asdict(use) for use in uses],
        "per_core": _per_core(run, stall_ps),
        "per_memory": _per_memory(setup, channels, totals),
        "per_channel": channels,
        "per_link": _per_link(run),
        "counters": {k: int(v) for k, v in sorted(trace.counters.items())},
        "placed": trace.program.placed,
        "fidelity": None,
        "notes": notes(run),
        "checks": checks(setup, run, stall_ps),
    }


def write_result(result: dict[str, Any], directory: str | Path) -> Path:
    """Writes `directory/result.json` beside and renames it into place; returns the path."""
    path = Path(directory) / "result.json"
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
    with replacing(path) as file:
        file.write(orjson.dumps(result, option=options))
    return path


def notes(run: Run) -> list[str]:
    """Notes of the run and of its programs; the first of those that differ in numbers only, as the
    steps of a generation do."""
    programs = [note for i in run.iterations for note in i.trace.program.notes]
    first: dict[str, str] = {}
    for note in [*run.notes, *programs]:
        first.setdefault(NUMBER.sub("#", note), note)
    return list(first.values())


def _totals(setup: "Setup", run: Run, uses: list) -> dict[str, Any]:
    seconds = run.makespan_ps / PS_PER_S
    flops = sum(u.flops for u in uses)
    moved = sum(u.load_bytes + u.store_bytes for u in uses)
    new = sum(i.new_tokens for i in run.iterations)
    output = sum(i.output_tokens for i in run.iterations)
    cores = setup.hardware.cores()
    num_arrays = sum(core.arrays.count for core in cores)
    peak_flops, peak_gb_s = peak_flops_s(setup), peak_memory_gb_s(setup)
    return {
        "makespan_ps": run.makespan_ps,
        "new_tokens": new,
        "output_tokens": output,
        "tokens_s": _ratio(new, seconds),
        "output_tokens_s": _ratio(output, seconds),
        "flops": flops,
        "flops_s": _ratio(flops, seconds),
        "peak_flops_s": peak_flops,
        "flops_fraction": _ratio(flops, seconds * peak_flops),
        "array_busy_fraction": _ratio(sum(u.array_ps for u in uses), run.makespan_ps * num_arrays),
        "vector_busy_fraction": _ratio(
            sum(u.vector_ps for u in uses), run.makespan_ps * len(cores)
        ),
        "load_bytes": sum(u.load_bytes for u in uses),
        "store_bytes": sum(u.store_bytes for u in uses),
        "message_bytes": sum(u.message_bytes for u in uses),
        "memory_gb_s": _ratio(moved, run.makespan_ps / PS_PER_NS),
        "peak_memory_gb_s": peak_gb_s,
        "memory_fraction": _ratio(moved, run.makespan_ps / PS_PER_NS * peak_gb_s),
        "num_tasks": sum(u.num_tasks for u in uses),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _iteration(iteration) -> dict[str, Any]:
    names = ("label", "start_ps", "makespan_ps", "new_tokens", "output_tokens")
    row = {name: getattr(iteration, name) for name in names}
    return row | {"reuse": iteration.reuse, "reused_from": iteration.reused_from}


def _per_core(run: Run, stall_ps: np.ndarray) -> list[dict]:
    columns = {f"{cause}_ps": stall_ps[:, i] for i, cause in enumerate(CAUSES)}
    return _rows(run.iterations[0].trace.core_names, columns | summed(run, "cores"))


def _per_channel(run: Run) -> list[dict]:
    columns = summed(run, "channels", CHANNEL_FACTS)
    return _rows(run.iterations[0].trace.channel_names, _with_use(columns, run))


def _per_memory(setup: "Setup", channels: list[dict], totals: dict[str, Any]) -> list[dict]:
    """By name of memory: its share of the traffic, against the peak of its channels in use.
    Assumes that reused layers and steps spread their traffic as the simulated ones do."""
    name_of = [i.memory.name for i in setup.hardware.memory_instances()]
    moved = dict.fromkeys(name_of, 0)
    peak = dict.fromkeys(name_of, 0.0)
    for row in channels:
        name, num_bytes = name_of[row["memory"]], row["read_bytes"] + row["write_bytes"]
        moved[name] += num_bytes
        peak[name] += row["peak_gb_s"] if num_bytes else 0.0
    rates = {n: _ratio(totals["memory_gb_s"] * b, sum(moved.values())) for n, b in moved.items()}
    return [
        {
            "name": n,
            "gb_s": rates[n],
            "used_peak_gb_s": peak[n],
            "fraction": _ratio(rates[n], peak[n]),
        }
        for n in moved
    ]


def _per_link(run: Run) -> list[dict]:
    columns = summed(run, "links", LINK_FACTS)
    return _rows(run.iterations[0].trace.link_names, _with_use(columns, run))


def _with_use(columns: dict[str, np.ndarray], run: Run) -> dict[str, np.ndarray]:
    if "busy_ps" not in columns:
        return columns
    simulated_ps = sum(i.trace.makespan_ps for i in run.iterations)
    return columns | {"busy_fraction": columns["busy_ps"] / max(simulated_ps, 1)}


def _rows(names: list[str], columns: dict[str, np.ndarray]) -> list[dict]:
    lists = [np.asarray(column).tolist() for column in columns.values()]
    keys = ["name", *columns]
    return [dict(zip(keys, row, strict=True)) for row in zip(names, *lists, strict=True)]


def checks(setup: "Setup", run: Run, stall_ps: np.ndarray) -> list[dict]:
    """What must be conserved: rows of name, two numbers that must agree, and whether they do."""
    asked = {kind: _bytes_of(run, kind) for kind in (LOAD, STORE, SEND, RECV)}
    channels = summed(run, "channels", CHANNEL_FACTS)
    moved = {k: int(np.sum(channels.get(k, 0))) for k in ("read_bytes", "write_bytes")}
    cores = len(stall_ps)
    pairs = [
        ("load bytes = bytes read from memory", asked[LOAD], moved["read_bytes"]),
        ("store bytes = bytes written to memory", asked[STORE], moved["write_bytes"]),
        ("bytes sent = bytes received", asked[SEND], asked[RECV]),
        ("stalls = cores x makespan", int(stall_ps.sum()), cores * run.makespan_ps),
    ]
    rows = [{"name": n, "left": a, "right": b, "ok": a == b} for n, a, b in pairs]
    if setup.scenario.fidelity.noc == "transaction":
        name = "bytes carried by links >= message bytes x hops"
        carried, needed = _link_bytes(run), _message_hop_bytes(setup, run)
        rows.append({"name": name, "left": carried, "right": needed, "ok": carried >= needed})
    return rows


def _bytes_of(run: Run, kind: int) -> int:
    """Bytes of the tasks of a kind that ended, over all iterations."""
    total = 0
    for iteration in run.iterations:
        program = iteration.trace.program
        chosen = (program.kind == kind) & (iteration.trace.end_ps >= 0)
        total += int(program.bytes[chosen].sum())
    return total


def _link_bytes(run: Run) -> int:
    return int(np.sum(summed(run, "links", LINK_FACTS).get("bytes", 0)))


def _message_hop_bytes(setup: "Setup", run: Run) -> int:
    """Payload x hops of all messages that ended."""
    total, grid = 0, Grid(*setup.hardware.grid)
    for iteration in run.iterations:
        program = iteration.trace.program
        sent = (program.kind == SEND) & (iteration.trace.end_ps >= 0)
        source, target = program.core[sent], program.peer[sent]
        total += int((hops(source, target, grid) * program.bytes[sent]).sum())
    return total
