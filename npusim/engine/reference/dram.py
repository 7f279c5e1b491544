"""One DRAM channel's banks, rows and bus: (decision time, addresses, direction) → when data moves.

All times are ps. The names of the timings are JEDEC's.
"""

from dataclasses import dataclass

from npusim.units import ceil_div

READ, WRITE = "read", "write"


@dataclass(frozen=True)
class Timing:
    """One row of tables.Channels, as plain integers."""

    mb_s: int
    burst_bytes: int
    row_bytes: int
    num_banks: int
    t_rcd: int
    t_rp: int
    t_cl: int
    t_cwl: int
    t_ras: int
    t_rrd: int
    t_faw: int
    t_ccd_l: int
    t_wtr: int
    t_rtw: int
    t_wr: int
    t_refi: int
    t_rfc: int

    @property
    def lead(self) -> int:
        """How long before the bus is free the next unit is looked at, so that its activation
        overlaps the data that still moves."""
        return self.t_rp + self.t_rcd + self.t_cl

    def data_ps(self, accesses: int) -> int:
        """Time that `accesses` bursts of one row take on the bus."""
        burst = ceil_div(self.burst_bytes * 1_000_000, self.mb_s)
        at_peak = ceil_div(accesses * self.burst_bytes * 1_000_000, self.mb_s)
        if self.t_ccd_l <= burst:
            return at_peak
        return max(at_peak, (accesses - 1) * self.t_ccd_l + burst)


class Bank:
    """One bank: its open row (None: closed) and the earliest time of each command."""

    def __init__(self) -> None:
        self.row: int | None = None
        self.column_ok = 0
        self.precharge_ok = 0
        self.activate_ok = 0


class Dram:
    """The state of a channel's banks and bus; `access` serves one unit."""

    def __init__(self, timing: Timing):
        self.timing = timing
        self.banks = [Bank() for _ in range(timing.num_banks)]
        self.activations: list[int] = []  # the last four
        self.bus_free = 0
        self.direction: str | None = None
        self.next_refresh = timing.t_refi
        self.busy_ps = self.row_hits = self.row_misses = 0

    def readiness(self, now: int, address: int, direction: str) -> tuple[int, bool]:
        """Of a unit that waits: (when its first data could start, whether it needs another row);
        the smallest is served first. Limits between activations and refreshes are not looked at."""
        bank, row = self._bank_and_row(address)
        timing = self.timing
        if bank.row == row:
            column = max(now, bank.column_ok)
        elif bank.row is None:
            column = max(now, bank.activate_ok) + timing.t_rcd
        else:
            column = max(now, bank.precharge_ok) + timing.t_rp + timing.t_rcd
        return self._start(column, direction), bank.row != row

    def access(self, now: int, address: int, num_bytes: int, direction: str) -> tuple[int, int]:
        """(start, end) of the data of bytes [address, address + num_bytes), row after row."""
        first_start, end, last = None, now, address + num_bytes
        row_bytes = self.timing.row_bytes
        while address < last:
            run_end = min(last, (address // row_bytes + 1) * row_bytes)
            decision = now if first_start is None else max(now, end - self.timing.lead)
            start, end = self._run(decision, address, run_end, direction)
            first_start = start if first_start is None else first_start
            address = run_end
        assert first_start is not None
        return first_start, end

    def _run(self, now: int, address: int, end: int, direction: str) -> tuple[int, int]:
        """One run within a row: rules 1 to 4."""
        self._refresh(now)
        bank, row = self._bank_and_row(address)
        hit = bank.row == row
        column_ready = max(now, bank.column_ok) if hit else self._activate(now, bank, row)
        burst_bytes = self.timing.burst_bytes
        accesses = (end - 1) // burst_bytes - address // burst_bytes + 1
        data_ps = self.timing.data_ps(accesses)
        self.row_hits += accesses if hit else accesses - 1
        self.row_misses += 0 if hit else 1
        self.busy_ps += data_ps
        return self._transfer(bank, column_ready, data_ps, direction)

    def _bank_and_row(self, address: int) -> tuple[Bank, int]:
        number = address // self.timing.row_bytes
        return self.banks[number % self.timing.num_banks], number // self.timing.num_banks

    def _refresh(self, now: int) -> None:
        """All refreshes that are due by now; the last of them begins when the bus is free."""
        timing = self.timing
        if not timing.t_refi or now < self.next_refresh:
            return
        due = 1 + (now - self.next_refresh) // timing.t_refi
        begin = max(self.next_refresh + (due - 1) * timing.t_refi, self.bus_free)
        for bank in self.banks:
            bank.row, bank.activate_ok = None, begin + timing.t_rfc
        self.bus_free = max(self.bus_free, begin + timing.t_rfc)
        self.next_refresh += due * timing.t_refi

    def _activate(self, now: int, bank: Bank, row: int) -> int:
        """Opens a row; returns when its columns may be accessed."""
        timing = self.timing
        if bank.row is None:
            activate = max(now, bank.activate_ok)
        else:
            activate = max(now, bank.precharge_ok) + timing.t_rp
        if self.activations:
            activate = max(activate, self.activations[-1] + timing.t_rrd)
        if len(self.activations) == 4:
            activate = max(activate, self.activations[0] + timing.t_faw)
        self.activations = [*self.activations[-3:], activate]
        bank.row = row
        bank.column_ok = activate + timing.t_rcd
        bank.precharge_ok = activate + timing.t_ras
        return bank.column_ok

    def _transfer(self, bank: Bank, column_ready: int, data_ps: int, direction: str):
        """The data on the bus: (start, end)."""
        start = self._start(column_ready, direction)
        end = start + data_ps
        recovery = self.timing.t_wr if direction == WRITE else 0
        bank.precharge_ok = max(bank.precharge_ok, end + recovery)
        self.bus_free, self.direction = end, direction
        return start, end

    def _start(self, column_ready: int, direction: str) -> int:
        """Start of data on the bus, turned around if need be."""
        timing = self.timing
        earliest = self.bus_free
        if self.direction == READ and direction == WRITE:
            earliest += timing.t_rtw
        elif self.direction == WRITE and direction == READ:
            earliest += timing.t_wtr + timing.t_cl
        latency = timing.t_cl if direction == READ else timing.t_cwl
        return max(earliest, column_ready + latency)
