"""A fabric, packets and their sources → when each packet arrives, flit by flit, cycle by cycle.

The router is the textbook's (Dally and Towles, Principles and Practices of Interconnection
Networks, chapters 13 and 16): input virtual channels of a bounded number of flits, route
computation, virtual-channel allocation for a packet's head, switch allocation for every flit,
credits that come back after a delay. A head goes on with one credit, so a packet may stand
over several routers. A flit granted at cycle t stands in the buffer downstream at t + the link's
delay, which is that of the wire and of the router's pipeline.

Assumes XY routing, one flit a cycle per link, allocators without a bound on iterations (greedy,
round robin), unbounded queues at the sources. A core takes a packet off its ejection buffer once it
is whole; a memory port's flits leave the network as they come.
"""

import numpy as np

from npusim.engine.kernel import entry, kernel
from npusim.validate.noc.columns import (
    ARRIVED,
    COUNT,
    CREDITS,
    ENTERED,
    FIRST,
    FIRST_WAITER,
    FLITS,
    FREE,
    GROUP,
    INTO,
    IS_ACTIVE,
    LATENCY,
    LEFT,
    NEXT,
    NODE,
    NUM_BACK,
    NUM_WIRE,
    PAUSE,
    QUEUE,
    READY,
    REOPENS,
    SERVICE,
    SOON,
    SOURCE,
    SPAN,
    START,
    UNDER_WAY,
    WINDOW,
    ZERO,
    Tables,
)
from npusim.validate.noc.fabric import NONE
from npusim.validate.noc.router import allocate_channels, allocate_switch, give_back


@kernel
def _append(t, table, row, first, packet):
    """Puts a packet at the end of a chain, whose columns are `first` and the one after it."""
    t.packets[packet, NEXT] = NONE
    if table[row, first] == NONE:
        table[row, first] = packet
    else:
        t.packets[table[row, first + 1], NEXT] = packet
    table[row, first + 1] = packet


@kernel
def _activate(t, item):
    if not t.inputs[item, IS_ACTIVE]:
        t.inputs[item, IS_ACTIVE] = True
        t.active[t.active[0] + 1] = item
        t.active[0] += 1


@kernel
def _drop_idle(t):
    """Takes inputs without flits or packets off the list of active ones."""
    kept, channels = 0, len(t.links) * t.vcs
    for i in range(t.active[0]):
        item = t.active[i + 1]
        holds = (
            t.inputs[item, COUNT] > 0
            if item < channels
            else t.sources[item - channels, QUEUE] != NONE
        )
        t.inputs[item, IS_ACTIVE] = holds
        if holds:
            t.active[kept + 1] = item
            kept += 1
    t.active[0] = kept


@kernel
def _land_flits(t, now):
    """Flits at the end of their wire go into their channel's buffer, or out of the network."""
    slot, landed = now % SPAN, 0
    for i in range(t.slots[slot, NUM_WIRE]):
        channel, flit = t.wire[slot, i, 0], t.wire[slot, i, 1]
        link = channel // t.vcs
        if t.links[link, INTO] != NONE:
            t.flits[channel, (t.inputs[channel, FIRST] + t.inputs[channel, COUNT]) % t.depth] = flit
            t.inputs[channel, COUNT] += 1
            _activate(t, channel)
        elif flit & 1:
            _deliver(t, channel, flit >> 1, now + 1)
            landed += 1
    t.slots[slot, NUM_WIRE] = 0
    return landed


@kernel
def _deliver(t, channel, packet, whole):
    """A packet is at its node from cycle `whole` on."""
    t.packets[packet, ARRIVED] = whole
    if not t.sink[t.packets[packet, NODE]]:
        for _ in range(t.packets[packet, FLITS]):
            give_back(t, channel, whole)
    if t.packets[packet, REOPENS] != NONE:
        _append(t, t.slots, (whole + 1) % SPAN, SOON, packet)
    group = t.packets[packet, GROUP]
    t.groups[group, LEFT] -= 1
    if t.groups[group, LEFT] == 0:
        for i in range(t.groups[group, FIRST_WAITER], t.groups[group + 1, FIRST_WAITER]):
            slot = (whole + t.packets[t.waiters[i], PAUSE]) % SPAN
            _append(t, t.slots, slot, SOON, t.waiters[i])


@kernel
def _take_credits(t, now):
    slot = now % SPAN
    for i in range(t.slots[slot, NUM_BACK]):
        t.inputs[t.back[slot, i], CREDITS] += 1
    t.slots[slot, NUM_BACK] = 0


@kernel
def _run_sources(t, now, order, begun):
    """Packets that are ready now join their source; sources that are free take one each."""
    while begun < order.size and t.packets[order[begun], START] <= now:
        _append(t, t.sources, t.packets[order[begun], SOURCE], READY, order[begun])
        begun += 1
    packet = t.slots[now % SPAN, SOON]
    t.slots[now % SPAN, SOON] = NONE
    while packet != NONE:
        following = t.packets[packet, NEXT]
        if t.packets[packet, ARRIVED] == NONE:
            _append(t, t.sources, t.packets[packet, SOURCE], READY, packet)
        else:
            t.sources[t.packets[packet, REOPENS], UNDER_WAY] -= 1
        packet = following
    for i in range(len(t.sources)):
        packet = t.sources[i, READY]
        if (
            packet != NONE
            and t.sources[i, FREE] <= now
            and t.sources[i, UNDER_WAY] < t.sources[i, WINDOW]
        ):
            t.sources[i, READY] = t.packets[packet, NEXT]
            t.sources[i, UNDER_WAY] += 1
            t.sources[i, FREE] = now + t.sources[i, SERVICE]
            t.packets[packet, ENTERED] = now + t.sources[i, SERVICE] + t.sources[i, LATENCY]
            _append(t, t.sources, i, QUEUE, packet)
            _activate(t, len(t.links) * t.vcs + i)
    return begun


@entry
def run_cycles(t: Tables, order, limit):
    """Runs until all packets have arrived; returns the cycle, or NONE at `limit`."""
    links = np.empty(len(t.links), np.int64)
    now, begun, left = ZERO, ZERO, len(t.packets)
    while left > 0:
        if now >= limit:
            return NONE
        left -= _land_flits(t, now)
        _take_credits(t, now)
        begun = _run_sources(t, now, order, begun)
        _drop_idle(t)
        allocate_channels(t, now, links)
        allocate_switch(t, now, links)
        now += 1
    return now
