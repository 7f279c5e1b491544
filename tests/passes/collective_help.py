"""Helpers of the tests of collectives."""

from npusim.cost.paths import Grid
from npusim.passes.collective.fabric import Fabric
from npusim.passes.collective.lower import collective
from npusim.program import SEND, ProgramBuilder, check

COLUMNS = 8


def fabric(**changes):
    plain = {
        "grid": Grid(COLUMNS, COLUMNS),
        "elements_per_cycle": (4,) * 64,
        "start_cycles": (10,) * 64,
        "scratchpad_bytes_per_cycle": (64,) * 64,
        "noc_cycles_per_cycle": (1.0,) * 64,
        "link_bytes_per_cycle": 16,
        "hop_cycles": 3,
        "message_cycles": 8,
        "handshake": False,
        "one_way": False,
    }
    return Fabric(**{**plain, **changes})


def emit(kind, cores, num_bytes, after=(), chip=None, **options):
    b = ProgramBuilder()
    op = b.op(kind, "collective")
    emitted = collective(b, op, kind, cores, num_bytes, after, chip or fabric(), **options)
    program = b.build()
    check(program)
    return program, emitted


def waits(program, task):
    return list(program.deps[program.dep_start[task] : program.dep_start[task + 1]])


def group(n):
    """A rectangle two rows high where n is even, in row-major order; else a line."""
    if n % 2 == 0 and n > 2:
        return [8 + i for i in range(n // 2)] + [16 + i for i in range(n // 2)]
    return list(range(8, 8 + n))


def sent_bytes(program, cores):
    sends = program.kind == SEND
    return [int(program.bytes[sends & (program.core == core)].sum()) for core in cores]
