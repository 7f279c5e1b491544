"""Counters of an engine, in ticks → totals by channel, link, core with the names a user reads."""

from dataclasses import dataclass

import numpy as np

from npusim.engine import tables as engine_tables
from npusim.engine.tables import Wiring
from npusim.machine.analytic import Tables
from npusim.machine.core import port_ratio
from npusim.spec.hardware import Hardware

PHASES = ("request", "queue", "service", "response")
COUNTS = ("read_bytes", "write_bytes", "busy_ps", "requests", "row_hits", "row_misses")


@dataclass(frozen=True)
class Totals:
    """`channels`, `links`, `cores`: a numpy column a key, as in Trace (keys: CHANNEL_KEYS,
    LINK_KEYS, CORE_KEYS); row i is `channel_names[i]` …"""

    channels: dict[str, np.ndarray]
    links: dict[str, np.ndarray]
    cores: dict[str, np.ndarray]
    channel_names: list[str]
    link_names: list[str]
    core_names: list[str]


def to_totals(hw: Hardware, tables: Tables, counted: engine_tables.Totals) -> Totals:
    """What an engine has counted, in ps."""
    wiring, khz = tables.wiring, tables.wiring.khz
    channel, link, core = counted.channel, counted.link, counted.core
    return Totals(
        channels={
            "memory": wiring.channels.memory,
            **{name: channel[name] for name in COUNTS},
            **{f"{phase}_ps": ticks_to_ps(channel[f"{phase}_ticks"], khz) for phase in PHASES},
            "peak_gb_s": tables.channel_gb_s,
        },
        links={
            "network": wiring.link_network,
            "bytes": link["bytes"],
            "busy_ps": ticks_to_ps(link["busy_ticks"], khz),
            "packets": link["packets"],
            "wait_ps": ticks_to_ps(link["wait_ticks"], khz),
            "gb_s": wiring.link_bytes * khz / 1e6,
        },
        cores={
            "port_bytes": core["port_bytes"],
            "port_busy_ps": ticks_to_ps(_port_busy_ticks(hw, wiring, core), khz),
            "stretch_ps": ticks_to_ps(core["stretch_ticks"], khz),
        },
        channel_names=tables.channel_names,
        link_names=wiring.link_name,
        core_names=["{},{}".format(*divmod(i, hw.mesh.columns)) for i in range(wiring.num_cores)],
    )


def _port_busy_ticks(hw: Hardware, wiring: Wiring, core: dict[str, np.ndarray]) -> np.ndarray:
    """As counted; where ports are no servers (analytic), what their bytes would take."""
    if wiring.port_num.any():
        return core["port_busy_ticks"]
    num, den = np.array([port_ratio(c, wiring.khz) for c in hw.cores()], dtype=np.int64).T
    return -(-core["port_bytes"] * num // den)


def ticks_to_ps(ticks: np.ndarray, khz: int) -> np.ndarray:
    """Ticks as ps, rounded up; −1 (never) stays. Free of overflow for hours of simulated time."""
    seconds, rest = np.divmod(ticks.astype(np.int64), khz)
    ps = seconds * 1_000_000_000 + -(-rest * 1_000_000_000 // khz)
    return np.where(ticks < 0, -1, ps)
