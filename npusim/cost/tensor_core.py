"""A tile of a matrix product and a core's matrix units → cycles, with sides rounded up to one
matrix instruction."""

from npusim.units import ceil_div


def mma_cycles(
    m: int,
    k: int,
    n: int,
    macs_per_cycle: float,
    granule: tuple[int, int, int] = (16, 8, 16),
    efficiency_fraction: float = 1.0,
) -> int:
    """Cycles of [m, k] @ [k, n] at `macs_per_cycle` multiply-adds a cycle, rounded up; `granule`:
    [m, n, k] of one matrix instruction (PTX `mma.m16n8k16`), to which sides are padded.

    Assumes that instructions of a tile follow one another at the sustained fraction of their rate.
    """
    padded = [ceil_div(size, unit) * unit for size, unit in zip((m, n, k), granule, strict=True)]
    macs = padded[0] * padded[1] * padded[2]
    return int(-(-macs // (macs_per_cycle * efficiency_fraction)))
