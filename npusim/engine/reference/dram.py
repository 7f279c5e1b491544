"""One DRAM channel's banks, rows and bus: (decision time, addresses, direction) → when data moves.

All times are ps. The names of the timings are JEDEC's.
"""

from dataclasses import dataclass

from npusim.units import ceil_div

READ, WRITE = "read", "write"
LONG_AGO = -(1 << 60)


@dataclass(frozen=True)
class Timing:
    """One row of tables.Channels, as plain integers."""

    mb_s: int
    burst_bytes: int
    row_bytes: int
    num_banks: int
    num_groups: int
    block_bytes: int
    t_rcd: int
    t_rcd_wr: int
    t_rp: int
    t_cl: int
    t_cwl: int
    t_ras: int
    t_rrd: int
    t_rrd_l: int
    t_faw: int
    t_ccd_l: int
    t_rtp: int
    t_wtr: int
    t_wtr_l: int
    t_rtw: int
    t_wr: int
    t_refi: int
    t_rfc: int
    t_cmd: int

    @property
    def lead(self) -> int:
        """Time from a precharge to the first data that a read gets after it."""
        return self.t_rp + self.t_rcd + self.t_cl

    @property
    def spread(self) -> int:
        """Banks that a row run lies in."""
        return 2 if self.block_bytes else 1

    @property
    def run_bytes(self) -> int:
        return self.spread * self.row_bytes

    @property
    def burst_ps(self) -> int:
        return self.data_ps(1)

    def data_ps(self, bursts: int) -> int:
        """Time that bursts take at the data rate."""
        return ceil_div(bursts * self.burst_bytes * 1_000_000, self.mb_s)

    def latency(self, direction: str) -> int:
        """From a column command to its data."""
        return self.t_cl if direction == READ else self.t_cwl


class Group:
    """A bank group: its last activation, when its next data may move, when its last was written."""

    def __init__(self) -> None:
        self.activated = self.written = LONG_AGO
        self.data_ok = 0


class Bank:
    """One bank: its open row (None: closed), when that row's columns may be read, and when the bank
    may be precharged or, closed, activated."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.row: int | None = None
        self.column_ok = self.free = 0


class Dram:
    """The state of a channel's banks and bus; `access` serves one unit."""

    def __init__(self, timing: Timing):
        self.timing = timing
        groups = [Group() for _ in range(timing.num_groups)]
        self.banks = [Bank(groups[i % timing.num_groups]) for i in range(timing.num_banks)]
        self.activations = [LONG_AGO] * 4  # the last four
        self.bus_free = self.data_end = 0
        self.direction: str | None = None
        self.next_refresh = timing.t_refi
        self.busy_ps = self.row_hits = self.row_misses = 0

    def place(self, address: int) -> tuple[int, int]:
        """(bank, row) of a byte: runs of rows go round the sets of banks; in a run, blocks take
        turns between the banks of its set."""
        timing = self.timing
        run = address // timing.run_bytes
        sets = timing.num_banks // timing.spread
        turn = address // timing.block_bytes % 2 if timing.block_bytes else 0
        return run % sets * timing.spread + turn, run // sets

    def set_of(self, address: int) -> int:
        """Number of the set of banks."""
        return self.place(address)[0] // self.timing.spread

    def is_hit(self, address: int) -> bool:
        bank, row = self.place(address)
        return self.banks[bank].row == row

    def begins(self, now: int, address: int) -> int:
        """When the first command for a unit may go, by its first bank alone."""
        return now if self.is_hit(address) else max(now, self.banks[self.place(address)[0]].free)

    def readiness(self, now: int, address: int, direction: str) -> tuple[bool, bool, int]:
        """Of a unit that waits: whether the bus has to be turned for it, whether its bank is not
        free yet, when its first data could start. The smallest is served first."""
        timing, bank = self.timing, self.banks[self.place(address)[0]]
        if self.is_hit(address):
            column = max(now, bank.column_ok)
        else:
            column = max(now, bank.free) + timing.t_rcd
            column += timing.t_rp if bank.row is not None else 0
        ready = max(column + timing.latency(direction), bank.group.data_ok)
        is_blocked = self.begins(now, address) > now
        return direction != self.direction, is_blocked, max(self.bus_free, ready)

    def access(self, now: int, lead: int, address: int, num_bytes: int, direction: str):
        """(start, end) of the data of bytes [address, address + num_bytes), row run after row run;
        the next one is decided on `lead` before the bus is free."""
        starts, ends, decision, last = [], [], now, address + num_bytes
        while address < last:
            run_end = min(last, (address // self.timing.run_bytes + 1) * self.timing.run_bytes)
            start, end, stop = self._run(decision, address, run_end, direction)
            starts.append(start)
            ends.append(end)
            decision = max(now, self.bus_free - lead)
            if stop < run_end and stop % self.timing.run_bytes:
                decision = self.next_refresh
            address = stop
        return starts[0], max(ends)

    def _run(self, now: int, address: int, end: int, direction: str) -> tuple[int, int, int]:
        """One run up to the next refresh: (start and end of its data, address where it stops)."""
        timing, size = self.timing, self.timing.burst_bytes
        first, last = address // size, ceil_div(end, size)
        bursts = self._by_bank(first, last)
        for _ in range(2):  # again if a refresh comes before the first burst
            self._refresh(now)
            opened = sum(bank.row != self.place(address)[1] for bank in bursts)
            ready = {bank: self._open(now, bank, address, direction) for bank in bursts}
            start = max(self._bus_ok(direction), min(ready.values()))
            left = self.next_refresh - (start - timing.latency(direction))
            if left > 0 or not timing.t_refi:
                break
            now = max(now, self.next_refresh)
        if timing.t_refi and 0 < left <= (last - first - 1) * timing.burst_ps:
            last = first + ceil_div(left, timing.burst_ps)
            end, bursts = last * size, self._by_bank(first, last)
        self.row_misses += min(opened, last - first)
        self.row_hits += max(0, last - first - opened)
        starts = {bank: max(start, ready[bank]) for bank in bursts}
        return start, self._transfer(bursts, starts, start, opened, direction), end

    def _by_bank(self, first: int, last: int) -> dict[Bank, int]:
        """How many of the bursts [first, last) of a run are in each of its banks."""
        places = [self.place(i * self.timing.burst_bytes)[0] for i in range(first, last)]
        return {self.banks[number]: places.count(number) for number in sorted(set(places))}

    def _refresh(self, now: int) -> None:
        """All refreshes that are due by now; the last of them begins when all rows are closed."""
        timing = self.timing
        if not timing.t_refi or now < self.next_refresh:
            return
        due = 1 + (now - self.next_refresh) // timing.t_refi
        last_due = self.next_refresh + (due - 1) * timing.t_refi
        begin = max(last_due, *(bank.free for bank in self.banks))
        if any(bank.row is not None for bank in self.banks):
            begin += timing.t_rp
        for bank in self.banks:
            bank.row, bank.free = None, begin + timing.t_rfc
        self.next_refresh += due * timing.t_refi

    def _open(self, now: int, bank: Bank, address: int, direction: str) -> int:
        """Opens the address's row unless it is; returns when its first data could move."""
        timing, group, row = self.timing, bank.group, self.place(address)[1]
        if bank.row != row:
            self._activate(now, bank, row)
        column = bank.column_ok
        if direction == WRITE:
            column += timing.t_rcd_wr - timing.t_rcd
        ready = max(now, column) + timing.latency(direction)
        if direction == READ:
            ready = max(ready, group.written + timing.t_wtr_l + timing.t_cl)
        return max(ready, group.data_ok)

    def _activate(self, now: int, bank: Bank, row: int) -> None:
        timing = self.timing
        activate = max(now, bank.free) + (0 if bank.row is None else timing.t_rp)
        activate = max(
            activate,
            self.activations[-1] + timing.t_rrd,
            self.activations[0] + timing.t_faw,
            bank.group.activated + timing.t_rrd_l,
        )
        self.activations = [*self.activations[1:], activate]
        bank.group.activated = activate
        bank.row = row
        bank.column_ok = activate + timing.t_rcd
        bank.free = activate + timing.t_ras

    def _bus_ok(self, direction: str) -> int:
        """When data may start on the bus, turned around if need be."""
        timing = self.timing
        if self.direction == READ and direction == WRITE:
            last_read = self.data_end - timing.burst_ps - timing.t_cl
            return max(self.bus_free, last_read + timing.t_rtw + timing.t_cwl)
        if self.direction == WRITE and direction == READ:
            return max(self.bus_free, self.data_end + timing.t_wtr + timing.t_cl)
        return self.bus_free

    def _transfer(self, bursts, starts, start: int, opened: int, direction: str) -> int:
        """The data on the bus, which is busy for it from `start` on; returns the data's end."""
        timing, count = self.timing, sum(bursts.values())
        busy = max(timing.data_ps(count), (count + 2 * opened) * timing.t_cmd)
        end = start + busy
        for bank, n in bursts.items():
            end = max(end, starts[bank] + (n - 1) * timing.t_ccd_l + timing.burst_ps)
            bank.group.data_ok = starts[bank] + n * timing.t_ccd_l
        for bank in bursts:
            if direction == WRITE:
                bank.group.written = end
                bank.free = max(bank.free, end + timing.t_wr)
            else:
                last_read = end - timing.burst_ps - timing.t_cl
                bank.free = max(bank.free, last_read + timing.t_rtp)
        self.bus_free, self.direction = start + busy, direction
        self.data_end = max(self.data_end, end)
        self.busy_ps += busy
        return end
