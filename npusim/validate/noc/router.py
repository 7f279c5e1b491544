"""Inputs that hold flits → the flits that leave them in a cycle: route computation, allocation of
virtual channels and of the switch, traversal."""

from npusim.engine.kernel import kernel
from npusim.validate.noc.columns import (
    COUNT,
    CREDITS,
    DELAY,
    ENTERED,
    FIRST,
    FLITS,
    GIVEN,
    GROUP,
    HOLDER,
    INTO,
    LAST_SWITCH,
    LAST_VC,
    LEFT,
    LINK,
    LOCK,
    LOCK_LEFT,
    NEXT,
    NODE,
    NUM_BACK,
    NUM_WIRE,
    OWNER,
    QUEUE,
    SENT,
    SPAN,
    TO_NODE,
    USED,
    WISH_FIRST,
    WISH_NEXT,
    ZERO,
)
from npusim.validate.noc.fabric import EAST, NONE, NORTH, SOUTH, WEST


@kernel
def _route(t, router, node):
    """The link by which a flit for `node` leaves a router: along the row, then the column."""
    network, here = router // t.num_routers, router % t.num_routers
    there = t.router_of_node[node]
    across = there % t.columns - here % t.columns
    if across != 0:
        return t.step[router, EAST if across > 0 else WEST]
    if there != here:
        return t.step[router, SOUTH if there > here else NORTH]
    return t.eject[network, node]


@kernel
def _front(t, item, now):
    """The packet whose flit stands first in an input, NONE if no flit does."""
    channels = len(t.links) * t.vcs
    if item < channels:
        return t.flits[item, t.inputs[item, FIRST]] >> 1 if t.inputs[item, COUNT] > 0 else NONE
    packet = t.sources[item - channels, QUEUE]
    return packet if packet != NONE and t.packets[packet, ENTERED] <= now else NONE


@kernel
def _wish(t, links, num_links, link, item):
    """Notes that an input wants a link; returns how many links are wanted."""
    if t.links[link, WISH_FIRST] == NONE:
        links[num_links] = link
        num_links += 1
    t.inputs[item, WISH_NEXT] = t.links[link, WISH_FIRST]
    t.links[link, WISH_FIRST] = item
    return num_links


@kernel
def _next_wish(t, link, last):
    """Of the inputs that want a link the first above the one served last, cyclic; takes it off."""
    best, best_rank, best_before = NONE, 1 << 60, NONE
    before, item = NONE, t.links[link, WISH_FIRST]
    while item != NONE:
        rank = item if item > last else item + (1 << 40)
        if rank < best_rank:
            best, best_rank, best_before = item, rank, before
        before, item = item, t.inputs[item, WISH_NEXT]
    if best_before == NONE:
        t.links[link, WISH_FIRST] = t.inputs[best, WISH_NEXT]
    else:
        t.inputs[best_before, WISH_NEXT] = t.inputs[best, WISH_NEXT]
    return best


@kernel
def _roomiest(t, link):
    """A channel of a link that no packet is being sent into, with most credits; NONE if none."""
    best, most = NONE, 0
    first = t.vcs - 1 if t.locked else 0  # Assumes that with locks there are only messages
    for vc in range(first, t.vcs):
        channel = link * t.vcs + vc
        if t.inputs[channel, OWNER] == NONE and t.inputs[channel, CREDITS] > most:
            best, most = channel, t.inputs[channel, CREDITS]
    return best


@kernel
def allocate_channels(t, now, links):
    """Heads without a channel ask for one of the link they want; round robin among inputs."""
    channels, num_links = len(t.links) * t.vcs, ZERO
    for i in range(t.active[0]):
        item = t.active[i + 1]
        if t.inputs[item, GIVEN] != NONE:
            continue
        packet = _front(t, item, now)
        if packet == NONE:
            continue
        if item < channels:
            link = _route(t, t.links[item // t.vcs, INTO], t.packets[packet, NODE])
        else:
            link = t.sources[item - channels, LINK]
        if (
            not t.locked
            or t.links[link, LOCK] == NONE
            or t.links[link, LOCK] == t.packets[packet, GROUP]
        ):
            num_links = _wish(t, links, num_links, link, item)
    for i in range(num_links):
        link = links[i]
        while t.links[link, WISH_FIRST] != NONE:
            channel = _roomiest(t, link)
            if channel == NONE:
                break
            item = _next_wish(t, link, t.links[link, LAST_VC])
            t.links[link, LAST_VC] = item
            t.inputs[channel, OWNER], t.inputs[item, GIVEN] = item, channel
            if t.locked:
                _lock(t, link, _front(t, item, now))
        t.links[link, WISH_FIRST] = NONE


@kernel
def _lock(t, link, packet):
    group = t.packets[packet, GROUP]
    if t.links[link, LOCK] == NONE:
        t.links[link, LOCK], t.links[link, LOCK_LEFT] = group, t.groups[group, LEFT]


@kernel
def allocate_switch(t, now, links):
    """Every link takes a flit of one of the inputs that have a credit for it."""
    num_links = ZERO
    for i in range(t.active[0]):
        item = t.active[i + 1]
        channel = t.inputs[item, GIVEN]
        if channel != NONE and t.inputs[channel, CREDITS] > 0 and _front(t, item, now) != NONE:
            num_links = _wish(t, links, num_links, channel // t.vcs, item)
    for i in range(num_links):
        link = links[(i + now) % num_links]
        item = _chosen(t, link, now)
        t.links[link, WISH_FIRST] = NONE
        if item != NONE:
            _send(t, link, item, now)


@kernel
def _chosen(t, link, now):
    """The input whose flit a link takes."""
    held = t.links[link, WISH_FIRST] if t.hold_switch else NONE
    while held != NONE and held != t.links[link, HOLDER]:
        held = t.inputs[held, WISH_NEXT]
    if held != NONE and _may_send(t, held, now):
        return held
    while t.links[link, WISH_FIRST] != NONE:
        item = _next_wish(t, link, t.links[link, LAST_SWITCH])
        if _may_send(t, item, now):
            return item
    return NONE


@kernel
def _may_send(t, item, now):
    """Whether an input's way into the crossbar is free in this cycle."""
    if not t.shared_input or item >= len(t.links) * t.vcs:
        return True
    return t.links[item // t.vcs, USED] != now


@kernel
def _send(t, link, item, now):
    """One flit leaves its input over a link."""
    channels, channel = len(t.links) * t.vcs, t.inputs[item, GIVEN]
    t.links[link, LAST_SWITCH] = t.links[link, HOLDER] = item
    if item < channels:
        flit = t.flits[item, t.inputs[item, FIRST]]
        t.inputs[item, FIRST] = (t.inputs[item, FIRST] + 1) % t.depth
        t.inputs[item, COUNT] -= 1
        t.links[item // t.vcs, USED] = now
        give_back(t, item, now)
    else:
        flit = _from_source(t, item - channels)
    if t.links[link, INTO] != NONE or not t.sink[t.links[link, TO_NODE]]:
        t.inputs[channel, CREDITS] -= 1
    slot = (now + t.links[link, DELAY]) % SPAN
    t.wire[slot, t.slots[slot, NUM_WIRE], 0], t.wire[slot, t.slots[slot, NUM_WIRE], 1] = (
        channel,
        flit,
    )
    t.slots[slot, NUM_WIRE] += 1
    if flit & 1:
        t.inputs[channel, OWNER] = t.inputs[item, GIVEN] = t.links[link, HOLDER] = NONE
        t.links[link, LOCK_LEFT] -= 1
        if t.links[link, LOCK_LEFT] == 0:
            t.links[link, LOCK] = NONE


@kernel
def _from_source(t, source):
    packet = t.sources[source, QUEUE]
    t.sources[source, SENT] += 1
    if t.sources[source, SENT] < t.packets[packet, FLITS]:
        return packet * 2
    t.sources[source, SENT] = 0
    t.sources[source, QUEUE] = t.packets[packet, NEXT]
    return packet * 2 + 1


@kernel
def give_back(t, channel, now):
    slot = (now + t.credit_cycles) % SPAN
    t.back[slot, t.slots[slot, NUM_BACK]] = channel
    t.slots[slot, NUM_BACK] += 1
