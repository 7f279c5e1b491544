"""Tiny chips and task streams for engine tests: a mesh in one call, tasks one by one."""

from dataclasses import dataclass, field

import numpy as np

from npusim.engine.tables import (
    COMPUTE,
    INT,
    LOAD,
    NONE,
    NUM_NETWORKS,
    RECV,
    RESPONSE_NETWORK,
    SEND,
    STORE,
    SYNC,
    Channels,
    Tasks,
    Wiring,
)

# 1 GB/s = 1 byte/ns: with 64-byte bursts at 64 GB/s and a tick of 1 ns a burst takes a tick.
DRAM = {
    "request_ticks": 3, "response_ticks": 4, "window": 4, "mb_s": 64_000, "burst_bytes": 64,
    "row_bytes": 1024, "num_banks": 4, "num_groups": 4, "block_bytes": 0, "t_rcd": 14_000,
    "t_rcd_wr": 14_000, "t_rp": 14_000, "t_cl": 14_000, "t_cwl": 10_000, "t_ras": 32_000,
    "t_rrd": 4_000, "t_rrd_l": 4_000, "t_faw": 16_000, "t_ccd_l": 0, "t_rtp": 5_000,
    "t_wtr": 8_000, "t_wtr_l": 8_000, "t_rtw": 5_000, "t_wr": 15_000, "t_refi": 0, "t_rfc": 0,
    "t_cmd": 0,
}  # fmt: skip


def ints(values) -> np.ndarray:
    return np.array(values, dtype=INT)


@dataclass
class Links:
    """Link columns that are being collected."""

    network: list[int] = field(default_factory=list)
    to_router: list[int] = field(default_factory=list)
    to_node: list[int] = field(default_factory=list)
    name: list[str] = field(default_factory=list)

    def add(self, network: int, name: str, router: int = NONE, node: int = NONE) -> int:
        self.network.append(network)
        self.to_router.append(router)
        self.to_node.append(node)
        self.name.append(name)
        return len(self.name) - 1


def mesh(
    rows: int = 1,
    columns: int = 2,
    *,
    memory: str = "private",
    num_channels: int = 1,
    interleave: int = 256,
    ports: tuple[int, ...] = (0,),
    num_engines: int = 2,
    num_vcs: int = 1,
    link_bytes: int = 32,
    link_ticks: int = 2,
    dram: dict | None = None,
    port: tuple[int, int] = (1, 64),
    dma_unit_bytes: int = 256,
    dma_outstanding: int = 4,
    dma_issue_ticks: int = 1,
    **settings,
) -> Wiring:
    """A mesh with XY routing. `memory`: private (an instance of `num_channels` channels for each
    core), shared (one instance for all), edge (one instance whose channels take turns at routers
    `ports`), or none. `settings`: other fields of Wiring."""
    num_cores = rows * columns
    port_routers = ports if memory == "edge" else ()
    links, inject, route = _links(rows, columns, port_routers)
    num_instances = {"private": num_cores, "none": 0}.get(memory, 1)
    total_channels = num_instances * num_channels
    core_links = [
        inject[network, core]
        for core in range(num_cores)
        for network in range(NUM_NETWORKS)
        for _ in range(num_engines + 1)
    ]
    first_source = len(links.name) * num_vcs
    first_channel_source = first_source + len(core_links)
    port_of = [
        num_cores + c % len(port_routers) if port_routers else NONE for c in range(total_channels)
    ]
    channel_links = [inject[RESPONSE_NETWORK, port] for port in port_of if port != NONE]
    channel_sources = [
        first_channel_source + c if port_of[c] != NONE else NONE for c in range(total_channels)
    ]
    timing = {**DRAM, **(dram or {})}
    by_core = dict.fromkeys(range(num_cores))
    defaults = {
        "khz": 1_000_000, "buffer_packets": 2, "locked": False, "lock_ack": False,
        "fifo_arbitration": False, "handshake": False, "header_bytes": 8, "min_packet_bytes": 64,
        "max_packet_bytes": 256, "packets_per_message": 4,
    }  # fmt: skip
    return Wiring(
        **{**defaults, **settings},
        num_cores=num_cores,
        num_nodes=num_cores + len(port_routers),
        num_vcs=num_vcs,
        link_network=ints(links.network),
        link_bytes=ints([link_bytes] * len(links.name)),
        link_ticks=ints([link_ticks] * len(links.name)),
        link_to_router=ints(links.to_router),
        link_to_node=ints(links.to_node),
        link_name=links.name,
        route=route,
        source_link=ints(core_links + channel_links),
        core_source=first_source
        + np.arange(len(core_links)).reshape(num_cores, NUM_NETWORKS, num_engines + 1),
        port_num=ints([port[0] for _ in by_core]),
        port_den=ints([port[1] for _ in by_core]),
        dma_unit_bytes=ints([dma_unit_bytes for _ in by_core]),
        dma_outstanding=ints([dma_outstanding for _ in by_core]),
        dma_issue_ticks=ints([dma_issue_ticks for _ in by_core]),
        channels=Channels(
            memory=ints([c // num_channels for c in range(total_channels)]),
            port_node=ints(port_of),
            source=ints(channel_sources),
            **{name: ints([value] * total_channels) for name, value in timing.items()},
        ),
        memory_first_channel=ints([i * num_channels for i in range(num_instances)]),
        memory_num_channels=ints([num_channels] * num_instances),
        memory_interleave=ints([interleave] * num_instances),
    )


def _links(rows: int, columns: int, ports: tuple[int, ...]):
    """Links of both networks, injection link by (network, node), route table."""
    links, num_cores = Links(), rows * columns
    at_router = [*range(num_cores), *ports]
    inject, eject, step = {}, {}, {}
    for network in range(NUM_NETWORKS):
        for node, router in enumerate(at_router):
            inject[network, node] = links.add(network, f"n{network} in {node}", router)
            eject[network, node] = links.add(network, f"n{network} out {node}", NONE, node)
        for a in range(num_cores):
            for b in _neighbours(a, rows, columns):
                step[network, a, b] = links.add(network, f"n{network} {a}→{b}", b)
    route = np.full((NUM_NETWORKS, num_cores, len(at_router)), NONE, INT)
    for network in range(NUM_NETWORKS):
        for router in range(num_cores):
            for node, target in enumerate(at_router):
                ahead = _next(router, target, columns)
                here = ahead == router
                route[network, router, node] = (
                    eject[network, node] if here else step[network, router, ahead]
                )
    return links, inject, route


def _neighbours(router: int, rows: int, columns: int) -> list[int]:
    row, column = divmod(router, columns)
    near = [(row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column)]
    return [r * columns + c for r, c in near if 0 <= r < rows and 0 <= c < columns]


def _next(router: int, target: int, columns: int) -> int:
    """The next router on the XY way."""
    (row, column), (to_row, to_column) = divmod(router, columns), divmod(target, columns)
    if column != to_column:
        return router + (1 if to_column > column else -1)
    return router + (0 if to_row == row else columns if to_row > row else -columns)


class Stream:
    """Collects tasks in table order; `build()` gives Tasks. Methods return the task's index."""

    def __init__(self) -> None:
        self.rows: list[dict[str, int]] = []
        self.afters: list[tuple[int, ...]] = []
        self.queues: dict[tuple[int, int], list[int]] = {}

    def add(self, kind, core, after=(), unit=None, **columns) -> int:
        """`unit`: −1 − i for compute unit i, e for DMA engine e, None: no queue."""
        task = len(self.rows)
        self.rows.append({"kind": kind, "core": core, "match": NONE, "memory": NONE, **columns})
        self.afters.append(tuple(after))
        if unit is not None:
            self.queues.setdefault((core, unit), []).append(task)
        return task

    def compute(self, core, ticks, after=(), *, num_bytes=0, unit=0) -> int:
        return self.add(COMPUTE, core, after, -1 - unit, ticks=ticks, bytes=num_bytes)

    def load(self, core, address, num_bytes, after=(), *, memory=None, engine=1, **two_d) -> int:
        memory = core if memory is None else memory
        transfer = {"memory": memory, "address": address, "bytes": num_bytes, **two_d}
        return self.add(LOAD, core, after, engine, **transfer)

    def store(self, core, address, num_bytes, after=(), *, memory=None, engine=1, **two_d) -> int:
        memory = core if memory is None else memory
        transfer = {"memory": memory, "address": address, "bytes": num_bytes, **two_d}
        return self.add(STORE, core, after, engine, **transfer)

    def send(self, core, num_bytes, after=(), *, engine=0) -> int:
        return self.add(SEND, core, after, engine, bytes=num_bytes)

    def recv(self, core, send, after=()) -> int:
        task = self.add(RECV, core, after, bytes=self.rows[send]["bytes"], match=send)
        self.rows[send]["match"] = task
        return task

    def message(self, src, dst, num_bytes, after=(), recv_after=(), *, engine=0) -> tuple[int, int]:
        send = self.send(src, num_bytes, after, engine=engine)
        return send, self.recv(dst, send, recv_after)

    def sync(self, core, after=()) -> int:
        return self.add(SYNC, core, after)

    def build(self) -> Tasks:
        queue_of = {task: q for q, tasks in enumerate(self.queues.values()) for task in tasks}
        dependents: list[list[int]] = [[] for _ in self.rows]
        for task, after in enumerate(self.afters):
            for other in after:
                dependents[other].append(task)
        lengths = [len(tasks) for tasks in self.queues.values()]
        names = ("kind", "core", "ticks", "bytes", "memory", "address", "row_bytes",
                 "stride_bytes", "match")  # fmt: skip
        return Tasks(
            **{name: ints([row.get(name, 0) for row in self.rows]) for name in names},
            queue=ints([queue_of.get(task, NONE) for task in range(len(self.rows))]),
            num_waits=ints([len(after) for after in self.afters]),
            dependents_start=ints(np.cumsum([0, *map(len, dependents)])),
            dependents=ints([task for tasks in dependents for task in tasks]),
            queue_start=ints(np.cumsum([0, *lengths])),
            queue_tasks=ints([task for tasks in self.queues.values() for task in tasks]),
            queue_core=ints([core for core, _ in self.queues]),
            queue_engine=ints([max(unit, NONE) for _, unit in self.queues]),
        )
