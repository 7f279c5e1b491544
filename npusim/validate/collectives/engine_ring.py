"""Cores in a ring, or around a crossbar, and a collective → picoseconds on the transaction engine.

Every step of a ring collective between neighbours of a Hamiltonian cycle of the mesh uses each link
once, and so does every exchange through a crossbar: these runs have no contention.
"""

from dataclasses import dataclass

from npusim.simulate import simulate
from npusim.spec.hardware import Hardware
from npusim.spec.load import Setup
from npusim.spec.scenario import Scenario
from npusim.units import ceil_div, cycles_to_ps

LINK_BYTES = 64
PACKET_BYTES = 4096
CORE_MHZ = 1000
SCRATCHPAD_BYTES = 1600  # a core cycle


@dataclass(frozen=True)
class Wires:
    """`rows` x `columns` cores; `crossbar` puts them in one row around a hub."""

    rows: int
    columns: int
    link_cycles: int = 1
    router_cycles: int = 2
    noc_mhz: float = 1000
    crossbar: bool = False

    @property
    def num_cores(self) -> int:
        return self.rows * self.columns

    @property
    def link_gb_s(self) -> float:
        return LINK_BYTES * self.noc_mhz / 1000

    def alpha_ps(self, piece_bytes: int) -> int:
        """Time of a message to a neighbour besides its bytes at the link's rate: the links in, on
        and out, the routers, and a packet's way out of one scratchpad and into another."""
        links = 2 if self.crossbar else 3
        cycles = links * self.link_cycles + (links - 1) * self.router_cycles
        return cycles_to_ps(cycles, round(self.noc_mhz * 1000)) + self.ports_ps(piece_bytes)

    def ports_ps(self, piece_bytes: int) -> int:
        """A packet's way out of one scratchpad and into another."""
        port = ceil_div(min(piece_bytes, PACKET_BYTES), SCRATCHPAD_BYTES)
        return cycles_to_ps(2 * port, CORE_MHZ * 1000)

    def cycle(self) -> list[tuple[int, int]]:
        """The cores in an order in which each is a neighbour of the next, the last of the first."""
        if self.crossbar:
            return [(0, column) for column in range(self.columns)]
        places = [(0, column) for column in range(self.columns)]
        for row in range(1, self.rows):
            inner = [(row, column) for column in range(1, self.columns)]
            places += reversed(inner) if row % 2 else inner
        return places + [(row, 0) for row in range(self.rows - 1, 0, -1)]


def run_ps(wires: Wires, op: str, algorithm: str, num_bytes: int) -> int:
    """Time of one collective on the machine, all cores starting at once, in ps."""
    workload = {
        "kind": "collective",
        "op": op,
        "algorithm": algorithm,
        "bytes": num_bytes,
        "cores": wires.cycle(),
    }
    scenario = Scenario.model_validate({"hw": "ring", "workload": workload})
    run = simulate(Setup(scenario, _hardware(wires), None))
    return int(run.iterations[0].trace.end_ps.max())


def _hardware(wires: Wires) -> Hardware:
    core = {
        "clock_mhz": CORE_MHZ,
        "arrays": {"rows": 1, "columns": 1},
        "vector": {"lanes": 65536},  # the scratchpad, not the vector unit, bounds a reduction
        "sfu": {"lanes": 1},
        "scratchpad": {"capacity_mib": 1024, "banks": 100, "bank_bytes_per_cycle": 16},
        "dma": {"engines": 1, "max_outstanding": 256},
    }
    noc = {
        "topology": "crossbar" if wires.crossbar else "mesh",
        "clock_mhz": wires.noc_mhz,
        "link_bytes_per_cycle": LINK_BYTES,
        "router_cycles": wires.router_cycles,
        "link_cycles": wires.link_cycles,
        "buffer_packets": 32,  # covers the round trip of the longest link
        "header_bytes": 0,
        "max_packet_bytes": PACKET_BYTES,
        "packets_per_message": 1,
    }
    return Hardware.model_validate(
        {
            "name": "ring",
            "mesh": {"rows": wires.rows, "columns": wires.columns},
            "core_groups": [{"name": "all", "core": core}],
            "noc": noc,
        }
    )
