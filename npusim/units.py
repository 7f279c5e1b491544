"""Conversions between the units that files and names use; nothing else in npusim converts.

Simulated time is integer picoseconds (`_ps`). A clock domain turns a *total* of cycles into
picoseconds, rounding up once, so that errors never add up over time.
"""

PS_PER_NS = 1_000
PS_PER_US = 1_000_000
PS_PER_MS = 1_000_000_000
PS_PER_S = 1_000_000_000_000
KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
HZ_PER_MHZ = 1_000_000


def ceil_div(numerator: int, denominator: int) -> int:
    """Integer division rounded up; exact for any size."""
    return -(-numerator // denominator)


def ns_to_ps(ns: float) -> int:
    """Nanoseconds (a number from a file) to integer ps, rounded to the nearest."""
    return round(ns * PS_PER_NS)


def clock_khz(mhz: float) -> int:
    """A clock in MHz as an integer number of kHz, the unit that conversions are exact in."""
    return round(mhz * 1_000)


def cycles_to_ps(cycles: int, khz: int) -> int:
    """Time in ps at which `cycles` periods of a `khz` clock have passed, rounded up."""
    return ceil_div(int(cycles) * 1_000_000_000, khz)


def ps_to_cycles(ps: int, khz: int) -> int:
    """Cycles of a `khz` clock that cover `ps`, rounded up."""
    return ceil_div(int(ps) * khz, 1_000_000_000)


def convert_cycles(cycles: int, from_khz: int, to_khz: int) -> int:
    """Cycles of one clock as cycles of another that cover the same time, rounded up."""
    return ceil_div(int(cycles) * to_khz, from_khz)


def transfer_ps(num_bytes: int, gb_s: float) -> int:
    """Time in ps to move `num_bytes` at `gb_s` (10**9 bytes/s), rounded up."""
    return ceil_div(int(num_bytes) * 1_000_000, round(gb_s * 1_000))


def format_bytes(num_bytes: float) -> str:
    """Human text in binary units: 1536 -> '1.50 KiB'."""
    value = float(num_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.2f} {unit}"
        value /= 1024
    return f"{value:.2f} TiB"


def format_ps(ps: float) -> str:
    """Human text for a time: 1_234_000 -> '1.234 us'."""
    for unit, size in (("s", PS_PER_S), ("ms", PS_PER_MS), ("us", PS_PER_US), ("ns", PS_PER_NS)):
        if abs(ps) >= size:
            return f"{ps / size:.3f} {unit}"
    return f"{ps:.0f} ps"
