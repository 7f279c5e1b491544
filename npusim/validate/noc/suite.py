"""The NoC against a flit-level wormhole simulator of the same mesh → latencies, makespans, errors.

What npusim's packet-level rules leave out of the flits, and what that costs:

* With one virtual channel nothing: a packet that has begun to leave goes on a flit a cycle, so
  credits, arbitration and blocking of whole packets give the flits' times cycle by cycle. Where
  they do differ, it is npusim's scratchpad ports, which read and write a packet a cycle between
  them: one that comes while another leaves keeps its ejection slot for a cycle more, and in
  channels of one packet all that follows comes in another order. With ports that never make wait
  the worst, 8x8 gather with channels of one packet, goes from +7.2 % to 0, locked from +5.6 % to 0.
* With several, a link of npusim's serves packets one after the other (winner takes all). A router
  that goes round after every flit delays the first of two packets that meet and does not speed up
  the second, so its mean latency is higher by about as much again as packets wait.
* npusim lets virtual channels of one input port send to different outputs in one cycle; the
  textbook's router has one way into the crossbar a port.
* Locked messages have the last of several channels to themselves. Here that goes for ejection
  buffers too; npusim's slots are anybody's, so with two channels of one packet it ejects two where
  this ejects one and takes 22 to 31 % less time; were slots anybody's here too, the makespans
  would be equal. With deeper channels there is no difference.
* npusim sends a packet when there is room for all of it downstream (virtual cut-through). In
  channels that hold less than a packet, a blocked packet stands over several routers and holds
  their channels, which npusim does not model: there it is optimistic. One burst the other way:
  4x4 all-to-all takes 317 cycles on both sides in channels of a packet, 229 in ones of two, 237 of
  four; the flits 271 in channels of two thirds. Which packets meet is chance in so short a burst.
* The textbook's router is over 10 % slower only in channels of one or two packets: in incast all
  of it is sharing flit by flit (two packets both hold their channels for longer), in all-to-all and
  gather that and the one crossbar input, 3 to 11 % each.
"""

from collections.abc import Callable, Iterable

from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.noc import cases
from npusim.validate.noc.cases import Case
from npusim.validate.noc.chip import run_npusim, run_reference

SUITE = "noc"
LATENCY = Goal("worst", 0.05)
MAKESPAN = Goal("worst", 0.10)
ORACLE = "flit-level wormhole simulator"
PACKETS = "links shared packet by packet"
FLITS = "links shared flit by flit"


def mean_latency(case: Case) -> Comparison:
    """Mean cycles of a packet from its injection queue to its node."""
    ours, reference = (run(case.grid, case.net, case.transfers) for run in SIDES)
    return Comparison(case.name, ours.latency.mean(), reference.latency.mean(), "cycles")


def makespan(case: Case) -> Comparison:
    """Cycles from the start to the last scratchpad write."""
    ours, reference = (run(case.grid, case.net, case.transfers) for run in SIDES)
    return Comparison(case.name, ours.makespan, reference.makespan, "cycles")


SIDES = (run_npusim, run_reference)


def run(full: bool, progress: Callable[[str], None]) -> list[Family]:
    """All families; without `full` smaller meshes and fewer depths, patterns and loads."""

    def family(name, compare, some: Iterable[Case], goal: Goal, note="") -> Family:
        progress(name)
        return Family(
            SUITE, name, f"{ORACLE}: {name.split(',')[0]}", tuple(map(compare, some)), goal, note
        )

    one, several = (1,), (2, 4)
    return [
        family("latency, 1 channel", mean_latency, cases.latency(full, one), LATENCY),
        family(
            f"latency, 2 and 4 channels, {PACKETS}", mean_latency,
            cases.latency(full, several), LATENCY,
        ),
        family(
            f"latency, 2 and 4 channels, {FLITS}", mean_latency,
            cases.flit_by_flit(cases.latency(full, several)), LATENCY,
            "npusim's links serve a packet after the other; one crossbar input a port here",
        ),
        family("makespan, 1 channel", makespan, cases.bursts(full, one), MAKESPAN),
        family(
            f"makespan, 2 and 4 channels, {PACKETS}", makespan,
            cases.bursts(full, several), MAKESPAN,
        ),
        family(
            f"makespan, 2 and 4 channels, {FLITS}", makespan,
            cases.flit_by_flit(cases.bursts(full, several)), MAKESPAN,
            "npusim's links serve a packet after the other; one crossbar input a port here",
        ),
        family(
            "makespan, channels of less than a packet", makespan, cases.shallow(full), MAKESPAN,
            "npusim's channels hold a packet at least; a blocked one stands over one router",
        ),
        family(
            "makespan, channel locking", makespan, cases.locked(full), MAKESPAN,
            "at 2 channels of 1 packet messages eject by one of npusim's two slots here",
        ),
    ]  # fmt: skip
