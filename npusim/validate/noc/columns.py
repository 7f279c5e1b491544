"""Names of the columns of the flit simulator's tables, all int64, and the tables together."""

from typing import NamedTuple

import numpy as np

# Of the type that it is counted up from: with a literal 0 numba would compile callees twice.
ZERO = np.int64(0)
SPAN = 64  # cycles that the calendars of flits, credits and packets look ahead
# Columns of the tables. An input is a virtual channel, link · vcs + vc, or, after these, a source.
(
    FIRST, COUNT, IS_ACTIVE,  # flits that stand in a channel's ring
    GIVEN,  # the channel that the packet in front has been given
    CREDITS, OWNER,  # of a channel: the input whose packet is being sent into it
    WISH_NEXT,
) = range(7)  # fmt: skip
INPUT_COLUMNS = 7
(
    DELAY, INTO, TO_NODE,
    LAST_VC, LAST_SWITCH,  # inputs served last, by the allocation of channels and of the switch
    HOLDER, USED,  # USED: cycle in which a flit last left the input port at its end
    LOCK, LOCK_LEFT,  # group, and how many of its packets are still to come
    WISH_FIRST,  # inputs that want it
) = range(10)  # fmt: skip
LINK_COLUMNS = 10
# A source takes ready packets in order, one every SERVICE cycles while fewer than WINDOW of its
# packets are under way, and queues them at its injection link LATENCY cycles later.
(
    LINK, SERVICE, LATENCY, WINDOW,
    READY, READY_LAST, QUEUE, QUEUE_LAST,  # chains of packets
    SENT,  # flits of the first packet that have left
    FREE, UNDER_WAY,
) = range(11)  # fmt: skip
SOURCE_COLUMNS = 11
# A packet is ready at cycle START or, if AFTER is not NONE, PAUSE cycles after the last packet of
# that group is at its node. A cycle after it is there itself it makes room in the window of source
# REOPENS, NONE: of none.
(
    SOURCE, NODE, NETWORK, FLITS, GROUP, START, AFTER, PAUSE, REOPENS, NEXT, ENTERED, ARRIVED,
) = range(12)  # fmt: skip
PACKET_COLUMNS = 12
NUM_WIRE, NUM_BACK, SOON, SOON_LAST = range(4)  # of a slot of the calendar
SLOT_COLUMNS = 4
LEFT, FIRST_WAITER = range(2)  # of a group of packets; its waiters end where the next one's begin


class Tables(NamedTuple):
    """Everything that the simulator reads and writes. `active[0]` counts the entries after it."""

    num_routers: int  # of one network
    columns: int
    vcs: int
    depth: int
    credit_cycles: int
    hold_switch: bool
    shared_input: bool
    locked: bool
    step: np.ndarray
    eject: np.ndarray
    router_of_node: np.ndarray
    sink: np.ndarray
    inputs: np.ndarray
    links: np.ndarray
    sources: np.ndarray
    packets: np.ndarray
    groups: np.ndarray
    waiters: np.ndarray
    slots: np.ndarray
    flits: np.ndarray  # [channel, place]: packet · 2 + whether it is the tail
    wire: np.ndarray  # [slot, i, 2]: channel, flit
    back: np.ndarray  # [slot, i]: channel that gets a credit
    active: np.ndarray  # inputs that may hold something
