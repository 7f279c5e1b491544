"""A message and what crosses its way → how much longer it takes than on an idle NoC, by level."""

from npusim.machine.system import run
from npusim.program import Program, ProgramBuilder
from npusim.spec.hardware import Hardware
from npusim.spec.load import load_hardware
from npusim.spec.scenario import Fidelity

CHIP = "npu_large_core"
MESSAGE_BYTES = 1 << 20
Flow = tuple[tuple[int, int], tuple[int, int]]  # router of the source, of the destination
FOREGROUND: Flow = ((3, 0), (3, 7))
# What runs beside it; on XY routes all of it shares links of row 3.
BACKGROUNDS: dict[str, list[Flow]] = {
    "one flow on the same row": [((3, 1), (3, 6))],
    "three flows on the same row": [((3, column), (3, 7 - column)) for column in (1, 2, 3)],
    "eight flows that turn off the row": [
        ((3, 1 + index % 6), (index if index < 3 else index - 1, 7)) for index in range(3, 8)
    ]
    + [((3, 2), (0, 6)), ((3, 3), (6, 6)), ((3, 4), (7, 5))],
    "a sender to the same core from every row": [((row, 0), (3, 7)) for row in (1, 2, 4, 5)],
}


def slow_down(name: str, level: Fidelity) -> float:
    """Time of the foreground message with a background over its time alone."""
    hw = load_hardware(CHIP)
    idle, congested = (
        int(run(_program(hw, flows), hw, fidelity=level).end_ps[1])
        for flows in ([], BACKGROUNDS[name])
    )
    return congested / idle


def _program(hw: Hardware, background: list[Flow]) -> Program:
    builder = ProgramBuilder()
    op = builder.op("transfer", "transfer")
    for source, goal in [FOREGROUND, *background]:
        builder.message(hw.core_id(source), hw.core_id(goal), op, MESSAGE_BYTES)
    return builder.build()
