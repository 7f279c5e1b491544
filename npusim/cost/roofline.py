"""FLOPs and bytes → the ideal time at peak rate and peak bandwidth."""

from npusim.units import ceil_div, transfer_ps


def compute_ps(flops: int, gflop_s: float) -> int:
    """Time in ps of `flops` at `gflop_s` (10**9 FLOP/s = 1 FLOP/ns), rounded up."""
    return ceil_div(int(flops) * 1_000_000, round(gflop_s * 1_000))


def roofline_ps(flops: int, num_bytes: int, gflop_s: float, gb_s: float) -> int:
    """max(flops / peak, bytes / bandwidth) in ps (Williams et al., CACM 52(4), 2009)."""
    return max(compute_ps(flops, gflop_s), transfer_ps(num_bytes, gb_s))


def peak_gflop_s(
    rows: int, columns: int, clock_mhz: float, arrays: int = 1, rate: float = 1.0
) -> float:
    """Peak rate of `arrays` systolic arrays, 2 FLOPs an element and cycle, times `rate`."""
    return 2 * rows * columns * arrays * rate * clock_mhz / 1_000
