"""ASTRA-sim's analytical ring collectives → families of our link model's times.

Its model, read from its times (every figure but the integer rounding follows from it): one step
sends a piece to the next chip of a one-way ring and takes link latency + 10 ns endpoint delay +
bytes / rate, GB/s being 2**30; what is received to be reduced passes the local memory three times
at 1,600 bytes/ns (`local-mem-bw` of its example systems); 10 ns once. `all_gather` counts the bytes
that each chip contributes. `dataset_splits` parts run one after the other. Pieces of an all-to-all
are relayed chip by chip, one distance after the other.

It drops what is below a nanosecond and below 1,600 bytes a step, we do not: reductions of 1 KiB in
steps of 30 ns take up to 10 % longer, in whole cycles of the engine up to 13 %. The goal is one of
the mean, and that case misses it. `engine_families` wires the same rings on the transaction engine,
a core a chip (all but the relayed all-to-all).
"""

from dataclasses import dataclass

from npusim.cost.interconnect import link_collective_ps
from npusim.spec.links import Chips
from npusim.units import GIB, PS_PER_NS, ceil_div
from npusim.validate.collectives.engine_ring import (
    LINK_BYTES,
    PACKET_BYTES,
    SCRATCHPAD_BYTES,
    Wires,
    run_ps,
)
from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.data import read_rows

REFERENCE = "ASTRA-sim 2.0, analytical backends (MIT)"
ENDPOINT_NS = 10
REDUCE_BYTES_PER_NS = 1600 / 3


@dataclass(frozen=True)
class Row:
    """One of their runs."""

    network: str
    op: str
    num_chips: int
    gib_s: float
    latency_ns: float
    splits: int
    num_bytes: int
    time_ns: float

    @property
    def name(self) -> str:
        return f"{self.network} {self.num_bytes} B in {self.splits}"


def rows() -> list[Row]:
    """Their figures; the congestion-aware and -unaware backends agree on all."""
    return [
        Row(
            network=row["network"],
            op=row["op"],
            num_chips=int(row["npus"]),
            gib_s=float(row["bw_gib_s"]),
            latency_ns=float(row["link_latency_ns"]),
            splits=int(row["splits"]),
            num_bytes=int(row["bytes"]),
            time_ns=float(row["time_ns"]),
        )
        for row in read_rows("astra_sim_collectives.csv")
    ]


def ring_of(num_chips: int, gib_s: float, latency_ns: float) -> Chips:
    """Their ring as our chips."""
    protocol = {
        "alpha_us": ENDPOINT_NS / 1000,
        "step_us": (latency_ns + ENDPOINT_NS) / 1000,
        "reduce_gb_s": REDUCE_BYTES_PER_NS,
    }
    return Chips.model_validate(
        {
            "count": num_chips,
            "topology": "one_way_ring",
            "link_gb_s": gib_s * GIB / 1e9,
            "protocols": {"ring": protocol},
        }
    )


def vector_bytes(op: str, num_bytes: int, num_chips: int) -> int:
    """Their size as ours: the vector that a chip ends with, or what it sends to others in all."""
    if op == "all_gather":
        return num_bytes * num_chips
    return num_bytes * (num_chips - 1) // num_chips if op == "all_to_all" else num_bytes


def time_ns(op: str, num_bytes: int, num_chips: int, splits: int, chips: Chips) -> float:
    """Our time of one of their rows."""
    size = vector_bytes(op, num_bytes // splits, num_chips)
    return splits * link_collective_ps(op, size, num_chips, chips) / PS_PER_NS


def wires_of(row: Row) -> Wires:
    """A mesh of cores whose neighbours are as far apart as their chips, in whole NoC cycles: a
    packet's way through both scratchpads is part of the latency."""
    side = round(row.num_chips**0.5)
    noc_mhz = row.gib_s * GIB / 1e6 / LINK_BYTES
    piece = vector_bytes(row.op, row.num_bytes // row.splits, row.num_chips) // row.num_chips
    scratchpads_ns = 2 * ceil_div(min(piece, PACKET_BYTES), SCRATCHPAD_BYTES)
    wire_ns = row.latency_ns + ENDPOINT_NS - scratchpads_ns
    link_cycles = max(1, round(wire_ns * noc_mhz / 1000 / 3))  # in, on and out
    return Wires(side, side, link_cycles, 0, noc_mhz)


def families() -> list[Family]:
    """Our links' times, one family an op."""
    grouped: dict[str, list[Comparison]] = {}
    for row in rows():
        chips = ring_of(row.num_chips, row.gib_s, row.latency_ns)
        ours = time_ns(row.op, row.num_bytes, row.num_chips, row.splits, chips)
        grouped.setdefault(row.op, []).append(Comparison(row.name, ours, row.time_ns, "ns"))
    return [_family(f"links in a ring, {op}", rows) for op, rows in grouped.items()]


def engine_families(full: bool) -> list[Family]:
    """The engine's times, one family an op; up to 1 MiB, `full` up to 16 MiB."""
    limit = 1 << 24 if full else 1 << 20
    grouped: dict[str, list[Comparison]] = {}
    for row in rows():
        if row.op == "all_to_all" or row.num_bytes > limit:
            continue
        size = vector_bytes(row.op, row.num_bytes // row.splits, row.num_chips)
        ours = row.splits * run_ps(wires_of(row), row.op, "ring", size) / PS_PER_NS
        grouped.setdefault(row.op, []).append(Comparison(row.name, ours, row.time_ns, "ns"))
    return [_family(f"engine wired as a ring, {op}", rows) for op, rows in grouped.items()]


def _family(name: str, comparisons: list[Comparison]) -> Family:
    return Family(
        suite="collectives",
        name=name,
        reference=REFERENCE,
        comparisons=tuple(comparisons),
        goal=Goal("mape", 0.02),
        note="it rounds each step down, to whole ns and whole 1,600 B: much of a step of 1 KiB",
    )
