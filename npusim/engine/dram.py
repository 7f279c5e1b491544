"""DRAM channels: which waiting unit is served next and when its data is over (phase F)."""

from npusim.engine.kernel import kernel
from npusim.engine.network import flush_span
from npusim.engine.state import DATA_READY, STORE_DATA
from npusim.engine.tables import NONE
from npusim.engine.wheel import ceil_div, cycles_to_ps, ps_to_cycles, schedule

READ, WRITE = 0, 1
HIT_POINTS, DIRECTION_POINTS = 2, 1


@kernel
def direction_of(kind):
    return WRITE if kind == STORE_DATA else READ


@kernel
def touch_channel(m, c):
    if m.channels[c].touched == 0:
        m.channels[c].touched = 1
        m.work_channels[m.g[0].num_channels] = c
        m.g[0].num_channels += 1


@kernel
def join_queue(m, p):
    """Phase A: packet p reaches its channel's queue, kept in order of (tick, key)."""
    packet = m.packets[p]
    channel = m.channels[packet.channel]
    packet.tick = m.g[0].now
    row = packet.address // channel.row_bytes
    packet.bank = row % channel.num_banks
    packet.row = row // channel.num_banks
    after = channel.last
    while after != NONE and m.packets[after].tick == packet.tick \
            and m.packets[after].key > packet.key:  # fmt: skip
        after = m.packets[after].prev
    packet.prev = after
    if after == NONE:
        packet.next = channel.first
        channel.first = p
    else:
        packet.next = m.packets[after].next
        m.packets[after].next = p
    if packet.next == NONE:
        channel.last = p
    else:
        m.packets[packet.next].prev = p
    touch_channel(m, packet.channel)


@kernel
def _leave_queue(m, channel, p):
    packet = m.packets[p]
    if packet.prev == NONE:
        channel.first = packet.next
    else:
        m.packets[packet.prev].next = packet.next
    if packet.next == NONE:
        channel.last = packet.prev
    else:
        m.packets[packet.next].prev = packet.prev


@kernel
def _pick(m, channel):
    """FR-FCFS: most points among the oldest `window`; the oldest when passed over that often."""
    oldest = channel.first
    if channel.oldest != oldest:
        channel.oldest = oldest
        channel.passed = 0
    if channel.passed >= channel.window:
        return oldest
    best, best_points, p = oldest, -1, oldest
    for _ in range(channel.window):
        packet = m.packets[p]
        points = 0
        if m.banks[channel.first_bank + packet.bank].row == packet.row:
            points += HIT_POINTS
        if direction_of(packet.kind) == channel.direction:
            points += DIRECTION_POINTS
        if points > best_points:
            best, best_points = p, points
        if points == HIT_POINTS + DIRECTION_POINTS or packet.next == NONE:
            break
        p = packet.next
    return best


@kernel
def _refresh(m, channel, now):
    """All-bank refreshes that fell due up to `now`, as one step."""
    count = 1 + (now - channel.next_refresh) // channel.t_refi
    begin = max(channel.next_refresh + (count - 1) * channel.t_refi, channel.bus_free)
    end = begin + channel.t_rfc
    for b in range(channel.first_bank, channel.first_bank + channel.num_banks):
        m.banks[b].row = NONE
        m.banks[b].act_ok = end
    channel.bus_free = max(channel.bus_free, end)
    channel.next_refresh += count * channel.t_refi


@kernel
def _activate(channel, bank, row, now):
    """Opens a row; the time of the ACT obeys tRP, tRAS, tRRD and tFAW."""
    if bank.row != NONE:
        act = max(now, bank.precharge_ok) + channel.t_rp
    else:
        act = max(now, bank.act_ok)
    if channel.num_acts > 0:
        act = max(act, channel.acts[(channel.num_acts - 1) & 3] + channel.t_rrd)
    if channel.num_acts > 3:
        act = max(act, channel.acts[channel.num_acts & 3] + channel.t_faw)
    channel.acts[channel.num_acts & 3] = act
    channel.num_acts = channel.num_acts + 1 if channel.num_acts < 1 << 30 else 4
    bank.row = row
    bank.column_ok = act + channel.t_rcd
    bank.precharge_ok = act + channel.t_ras


@kernel
def _data_ps(channel, accesses):
    """Time that `accesses` bursts of one row take on the bus."""
    data = ceil_div(accesses * channel.burst_bytes * 1_000_000, channel.mb_s)
    burst = ceil_div(channel.burst_bytes * 1_000_000, channel.mb_s)
    if channel.t_ccd_l > burst:
        data = max(data, (accesses - 1) * channel.t_ccd_l + burst)
    return data


@kernel
def _turnaround(channel, direction):
    if channel.direction == NONE or channel.direction == direction:
        return 0
    return channel.t_rtw if direction == WRITE else channel.t_wtr + channel.t_cl


@kernel
def _serve_row(m, channel, bank_id, row, accesses, direction, decided):
    """One row run; returns (start, end) of its data on the bus."""
    prepare = channel.t_rp + channel.t_rcd + channel.t_cl
    now = max(decided, channel.bus_free - prepare) if channel.requests > 0 else decided
    if channel.t_refi > 0 and now >= channel.next_refresh:
        _refresh(m, channel, now)
    bank = m.banks[channel.first_bank + bank_id]
    if bank.row == row:
        channel.hits += accesses
    else:
        _activate(channel, bank, row, now)
        channel.misses += 1
        channel.hits += accesses - 1
    latency = channel.t_cwl if direction == WRITE else channel.t_cl
    column_ready = max(now, bank.column_ok)
    start = max(channel.bus_free + _turnaround(channel, direction), column_ready + latency)
    end = start + _data_ps(channel, accesses)
    recovery = channel.t_wr if direction == WRITE else 0
    bank.precharge_ok = max(bank.precharge_ok, end + recovery)
    channel.bus_free = end
    channel.direction = direction
    channel.busy += end - start
    return start, end


@kernel
def _serve(m, channel, packet, decided):
    """All row runs of a unit; returns (start, end) of its data in ps."""
    direction = direction_of(packet.kind)
    address, last = packet.address, packet.address + packet.payload
    first_start, end = -1, 0
    while address < last:
        row = address // channel.row_bytes
        stop = min(last, (row + 1) * channel.row_bytes)
        accesses = ceil_div(stop, channel.burst_bytes) - address // channel.burst_bytes
        start, end = _serve_row(m, channel, row % channel.num_banks, row // channel.num_banks,
                                accesses, direction, decided)  # fmt: skip
        if first_start < 0:
            first_start = start
        address = stop
    return first_start, end


@kernel
def _record_span(m, c, task, start, end, num_bytes):
    record = m.channels[c]
    gap = cycles_to_ps(64, m.khz)
    if record.span_task == task and start - record.span_end <= gap:
        record.span_end = end
        record.span_bytes += num_bytes
        return
    if record.span_task != NONE:
        flush_channel_span(m, c)
    record.span_task = task
    record.span_start = start
    record.span_end = end
    record.span_bytes = num_bytes


@kernel
def flush_channel_span(m, c):
    record = m.channels[c]
    flush_span(m, c, record.span_task, record.span_start, record.span_end, record.span_bytes)
    record.span_task = NONE


@kernel
def serve_channel(m, c):
    """Phase F for one channel: picks a unit when it is open and has one."""
    channel = m.channels[c]
    if channel.open == 0 or channel.first == NONE:
        return
    now = m.g[0].now
    p = _pick(m, channel)
    if p == channel.first:
        channel.oldest = NONE
    else:
        channel.passed += 1
    _leave_queue(m, channel, p)
    packet = m.packets[p]
    start, end = _serve(m, channel, packet, cycles_to_ps(now, m.khz))
    _count(m, c, channel, packet, now)
    if m.keep_spans == 1:
        _record_span(m, c, packet.task, start, end, packet.payload)
    prepare = channel.t_rp + channel.t_rcd + channel.t_cl
    channel.open = 0
    schedule(m, m.first_channel + c, max(now + 1, ps_to_cycles(end - prepare, m.khz)))
    ready = max(ps_to_cycles(end, m.khz) + channel.response_ticks, channel.last_ready + 1)
    channel.last_ready = ready
    packet.stage = DATA_READY
    schedule(m, m.first_packet + p, ready)


@kernel
def _count(m, c, channel, packet, now):
    channel.requests += 1
    channel.queue_ticks += now - packet.tick
    if packet.kind == STORE_DATA:
        channel.write_bytes += packet.payload
    else:
        channel.read_bytes += packet.payload
    m.channel_bins[c, now >> m.g[0].bin_shift] += packet.payload
