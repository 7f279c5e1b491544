"""Program + Hardware → Trace: wires the chip, runs an engine, gives times back in ps."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from npusim.engine.tables import Outcome, Tasks, Wiring
from npusim.errors import DeadlockError, pick
from npusim.machine.analytic import Tables, coarsen
from npusim.machine.core import build_tasks, port_ratio
from npusim.machine.memory import (
    build_channels,
    channel_name,
    channel_rows,
    port_routers,
    stripes,
)
from npusim.machine.noc import build_links, build_routes, build_sources, node_routers
from npusim.machine.totals import ticks_to_ps, to_totals
from npusim.program import Program
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import Fidelity
from npusim.trace import SpanLog, Trace


@lru_cache(maxsize=4)  # serving runs many programs on one chip
def build_wiring(hw: Hardware) -> Wiring:
    """The chip as the engines want it, which they do not write into."""
    nodes = node_routers(hw, port_routers(hw))
    net = build_links(hw, nodes)
    noc = hw.noc
    rows = channel_rows(hw)
    port_of_channel = np.array([row.port_node for row in rows], dtype=np.int64)
    sources = build_sources(hw, net, noc.virtual_channels, port_of_channel)
    first, counts, interleave = stripes(hw)
    cores = hw.cores()
    ports = np.array([port_ratio(core, noc.khz) for core in cores], dtype=np.int64)
    return Wiring(
        khz=noc.khz,
        num_cores=hw.mesh.num_cores,
        num_nodes=len(nodes),
        num_vcs=noc.virtual_channels,
        buffer_packets=noc.buffer_packets,
        locked=noc.flow_control == "channel_locked",
        lock_ack=noc.lock_scope == "both",
        fifo_arbitration=noc.arbitration == "fifo",
        handshake=noc.protocol == "handshake",
        header_bytes=noc.header_bytes,
        min_packet_bytes=noc.min_packet_bytes,
        max_packet_bytes=noc.max_packet_bytes,
        packets_per_message=noc.packets_per_message,
        link_network=np.array(net.network),
        link_bytes=np.array(net.width),
        link_ticks=np.array(net.ticks),
        link_to_router=np.array(net.to_router),
        link_to_node=np.array(net.to_node),
        link_name=net.names,
        link_ring=np.array(net.ring) if noc.topology == "torus" else None,
        route=build_routes(hw, net, nodes),
        source_link=sources.link,
        core_source=sources.of_core,
        port_num=ports[:, 0],
        port_den=ports[:, 1],
        dma_unit_bytes=np.array([core.dma.unit_bytes for core in cores]),
        dma_outstanding=np.array([core.dma.max_outstanding for core in cores]),
        dma_issue_ticks=np.array([_issue_ticks(core, noc.khz) for core in cores]),
        channels=build_channels(hw, rows, sources.of_channel),
        memory_first_channel=first,
        memory_num_channels=counts,
        memory_interleave=interleave,
    )


def _issue_ticks(core, noc_khz: int) -> int:
    return max(1, -(-core.dma.issue_cycles * noc_khz // core.khz))


def _run_fast(wiring: Wiring, tasks: Tasks, on_spans) -> Outcome:
    from npusim.engine import fast

    return fast.run(wiring, tasks, on_spans)


def _run_simpy(wiring: Wiring, tasks: Tasks, on_spans) -> Outcome:
    from npusim.engine import reference

    return reference.run(wiring, tasks, on_spans)


ENGINES: dict[str, Callable] = {"fast": _run_fast, "simpy": _run_simpy}


def run(program: Program, hw: Hardware, *, engine: str = "fast", record_spans: bool = False,
        fidelity: Fidelity | None = None) -> Trace:  # fmt: skip
    """Runs all tasks from time 0 on an idle chip; `fidelity` defaults to transactions.

    Raises DeadlockError, naming the waiting cores, tasks and links, when it cannot proceed,
    SpecError for an unknown engine, and what coarsen() raises.
    """
    tables = coarsen(build_tables(program, hw), hw, fidelity or Fidelity())
    spans = SpanLog() if record_spans else None
    on_spans = spans.append if spans else None
    outcome = pick(ENGINES, engine, "engine")(tables.wiring, tables.tasks, on_spans)
    if outcome.waiting:
        raise deadlock(outcome.waiting)
    return to_trace(program, hw, tables, outcome, spans)


def deadlock(waiting: list[str]) -> DeadlockError:
    return DeadlockError("the simulation cannot proceed: " + "; ".join(waiting))


def build_tables(program: Program, hw: Hardware) -> Tables:
    """Chip and program as the engines want them, every transaction for itself."""
    wiring = build_wiring(hw)
    return Tables(
        wiring=wiring,
        tasks=build_tasks(program, hw),
        channel_names=[channel_name(row) for row in channel_rows(hw)],
        channel_gb_s=wiring.channels.mb_s / 1000,
    )


def to_trace(program: Program, hw: Hardware, tables: Tables, outcome: Outcome, spans) -> Trace:
    """Ticks → ps; totals by channel, link and core."""
    khz = tables.wiring.khz
    end_ps = ticks_to_ps(outcome.end, khz)
    return Trace(
        program=program,
        makespan_ps=int(end_ps.max(initial=0)),
        ready_ps=ticks_to_ps(outcome.ready, khz),
        start_ps=ticks_to_ps(outcome.start, khz),
        end_ps=end_ps,
        **vars(to_totals(hw, tables, outcome)),
        bin_ps=int(ticks_to_ps(np.array([outcome.bin_ticks]), khz)[0]),
        channel_bins=outcome.channel_bins,
        link_bins=outcome.link_bins,
        spans=spans,
        counters={"events": outcome.events},
    )
