"""GEMMs and a Llama-3-8B layer on the four-core chip of ONNXim → errors against its cycles.

ONNXim (arXiv 2406.08051) has a cycle-level DRAM under a tile-level core. Two families a kind:

* **our mapping**: what `npusim run` gives. ONNXim maps otherwise, so this shows what a mapping is
  worth more than what a model is worth.
* **its mapping**: tiles and order of instructions as ONNXim has them, run by our machine.

What ONNXim does, from its sources (Mapping.cc, GemmWS.cc, Core.cc, SystolicWS.cc, Simulator.cc):

* A tile is at most 5 x 5 blocks of 128 x 128 outputs and all of k; tiles go to the cores in turn.
  So a GEMM up to 640 x 640 runs on one core of the four (512^3: 9.4 us, ours on four 2.9, on one
  8.9), and 4096 columns are 11 tiles: three cores have three of them, one has two.
* A core works on two tiles at a time. A tile's instructions issue in order: a block's load
  is issued when the block before has arrived. A core so has two blocks, 64 KiB, under way and sees
  the latency of DRAM and interconnect once a block: 435 GB/s of 614 on four cores for 1 x 4096^2.
  Our own mapping loads weights far ahead (536 GB/s).
* Inputs are loaded as well, for every tile (1024^3: 8 MiB; our GEMM workload finds inputs in the
  scratchpad and loads 2 MiB); outputs are not stored.
* A GEMM with few rows takes 128 cycles a block, as every weight passes the array; our mapping takes
  the vector unit for it (1 x 4096^2 on one core: 134 us, ours 69).
* The first weights of an idle array take 255 cycles to get in; our fill is 128.
* In the layer it streams 436 MB of weights in that way, at about 390 GB/s. Ours keeps the 84 MB
  of the attention's weights in the scratchpads and loads the rest at 540 GB/s, so that its layer
  takes little over half as long.

Where its mapping on our machine still differs: a block lies in 8 of the 16 channels (interleave of
4 KiB, in ONNXim 32 bytes), so that four cores meet in channels, while its core takes at most 32
bytes from the interconnect a cycle of 8 GHz (256 GB/s), which ours does not know.
"""

import time
from typing import NamedTuple

from npusim.cost.systolic import gemm_cycles
from npusim.machine.system import run as run_machine
from npusim.program import Program, ProgramBuilder, array_unit
from npusim.simulate import simulate
from npusim.spec.hardware import Hardware
from npusim.spec.load import load_scenario, resolve
from npusim.units import ceil_div
from npusim.validate.compare import Comparison, Family
from npusim.validate.data import read_rows
from npusim.validate.suites import Progress

BLOCK = 128
MOST_BLOCKS = 5  # a side of a tile: half of the 4 MiB of accumulators in 32 bit
BLOCK_BYTES = BLOCK * BLOCK * 2
LAYERS = {
    "llama3_8b_layer_prefill_128": [],
    "llama3_8b_layer_decode_2048": [
        "workload.phase=decode", "workload.prompt_tokens=null", "workload.context_tokens=2048"],
}  # fmt: skip


def families(full: bool, progress: Progress) -> list[Family]:
    """All GEMMs and layers; `full` makes no difference."""
    rows = read_rows("onnxim.csv")
    gemms = [row for row in rows if row["workload"].startswith("gemm")]
    layers = [row for row in rows if row["workload"] in LAYERS]
    progress("GEMMs against ONNXim")
    found = [
        _family("ONNXim GEMM, its mapping", gemms, its_gemm_ps, ITS_NOTE, progress),
        _family("ONNXim GEMM, our mapping", gemms, our_gemm_ps, OUR_NOTE, progress),
    ]
    progress("a layer against ONNXim")
    return [*found, _family("ONNXim layer, our mapping", layers, layer_ps, LAYER_NOTE, progress)]


def _family(
    name: str, rows: list[dict[str, str]], makespan_ps, note: str, progress: Progress
) -> Family:
    """CPU seconds of both go to `progress` alone: families of one commit have the same bytes."""
    start_s = time.process_time()
    comparisons = tuple(
        Comparison(
            f"{row['workload']} on {row['cores']}",
            makespan_ps(row["workload"], int(row["cores"])) / 1e6,
            int(row["core_cycles"]) / 1e3,
            "us",
        )
        for row in rows
    )
    cpu_s = time.process_time() - start_s
    its_s = sum(float(row["cpu_s"]) for row in rows)
    progress(f"{name}: {cpu_s:.1f} CPU s, ONNXim {its_s:.0f}\n")
    return Family("compute", name, "ONNXim, cycle level", comparisons, None, note)


def _sizes(workload: str) -> tuple[int, int, int]:
    m, k, n = (int(text) for text in workload.split("_")[1:])
    return m, k, n


def our_gemm_ps(workload: str, cores: int) -> int:
    """Makespan of the GEMM workload on `cores` cores, as `npusim run` maps it."""
    sizes = [f"workload.{key}={n}" for key, n in zip("mkn", _sizes(workload), strict=True)]
    overrides = [*sizes, f"parallel.tp={cores}"]
    setup = resolve(load_scenario("gemm", overrides, hw="tpuv4_like", model=None))
    return simulate(setup).makespan_ps


def layer_ps(workload: str, cores: int) -> int:
    """Makespan of one layer of Llama-3-8B, embedding and head left out."""
    setup = resolve(load_scenario("onnxim_layer", LAYERS[workload]))
    trace = simulate(setup).iterations[0].trace
    layers = [i for i, op in enumerate(trace.program.ops) if op.layer == 0]
    inside = [task for task, op in enumerate(trace.program.op) if op in layers]
    return int(trace.end_ps[inside].max() - trace.start_ps[inside].min())


def its_gemm_ps(workload: str, cores: int) -> int:
    """Makespan of the tiles and instructions of ONNXim on our machine."""
    setup = resolve(load_scenario("gemm", [], hw="tpuv4_like", model=None))
    program = its_program(*_sizes(workload), cores, setup.hardware)
    return run_machine(program, setup.hardware).makespan_ps


class Tile(NamedTuple):
    """Outputs [row, row + rows) x [column, column + columns) of a GEMM, all of k."""

    row: int
    rows: int
    column: int
    columns: int


def its_tiles(m: int, n: int, cores: int) -> list[Tile]:
    """Tiles in the order in which cores get them, one core after the other."""
    high, wide = (ceil_div(size, MOST_BLOCKS * BLOCK) for size in (m, n))
    missing = ceil_div(cores, high * wide) if high * wide < cores else 1
    if n > m:
        wide *= missing
        wide += high * wide % cores
    elif m > n:
        high *= missing
        high += high * wide % cores
    rows, columns = (
        ceil_div(ceil_div(size, BLOCK) * BLOCK, parts) // BLOCK * BLOCK
        for size, parts in ((m, high), (n, wide))
    )
    return [
        Tile(row, min(rows, m - row), column, min(columns, n - column))
        for row in range(0, m, rows)
        for column in range(0, n, columns)
    ]


def its_program(m: int, k: int, n: int, cores: int, hardware: Hardware) -> Program:
    """Assumes that the two tiles of a core take turns, and that the blocks of a matrix lie one
    after another in memory."""
    builder = ProgramBuilder()
    op = builder.op("gemm", "gemm")
    tiles = its_tiles(m, n, cores)
    done: dict[tuple[int, int], tuple[int, ...]] = {}  # last task of the tile in a core's slot
    for first in range(0, len(tiles), 2 * cores):
        for core in range(cores):
            pair = tiles[first + core : first + 2 * cores : cores]
            running = [
                TileRun(builder, op, core, slot, tile, (m, k, n), done.get((core, slot), ()))
                for slot, tile in enumerate(pair)
            ]
            for step in range(max((len(run.steps) for run in running), default=0)):
                for run in running:
                    run.emit(step)
            done |= {(core, slot): (run.computed,) for slot, run in enumerate(running)}
    return builder.build()


class TileRun:
    """Emits the instructions of a tile, block after block."""

    def __init__(self, builder, op, core, slot, tile, sizes, after):
        self._builder, self._op, self._core, self._slot = builder, op, core, slot
        self._tile, self._sizes = tile, sizes
        self._arrived = after  # what the next block's loads wait for
        self.computed = -1
        self.steps = [
            (column, depth, row)
            for column in range(0, tile.columns, BLOCK)
            for depth in range(0, sizes[1], BLOCK)
            for row in range(0, tile.rows, BLOCK)
        ]

    def emit(self, index: int) -> None:
        """The loads and the fold of one step; nothing when the tile has fewer."""
        if index >= len(self.steps):
            return
        column, depth, row = self.steps[index]
        (_, k, _), tile = self._sizes, self._tile
        rows = min(BLOCK, tile.rows - row)
        loads = []
        if column == 0:
            loads.append(self._load(0, tile.row + row, depth, k, rows * BLOCK * 2))
        if row == 0:
            loads.append(self._load(self._weights, tile.column + column, depth, k, BLOCK_BYTES))
        self._arrived = tuple(loads) or self._arrived
        followed = index + 1 < len(self.steps)
        cycles = gemm_cycles(rows, BLOCK, BLOCK, BLOCK, BLOCK, followed=followed)
        unit = array_unit(0)
        self.computed = self._builder.compute(self._core, unit, self._op, cycles, self._arrived)

    @property
    def _weights(self) -> int:
        """Address of the first block of weights."""
        m, k, _ = self._sizes
        return ceil_div(m, BLOCK) * ceil_div(k, BLOCK) * BLOCK_BYTES

    def _load(self, base: int, line: int, depth: int, k: int, num_bytes: int) -> int:
        block = line // BLOCK * ceil_div(k, BLOCK) + depth // BLOCK
        address = base + block * BLOCK_BYTES
        return self._builder.load(
            self._core, self._op, 0, address, num_bytes, self._arrived, engine=self._slot
        )


ITS_NOTE = "its tiles and order of loads on our machine; left: how blocks spread over channels"
OUR_NOTE = "ours uses all cores, loads weights far ahead, has inputs on chip; ONNXim does not"
LAYER_NOTE = (
    "ONNXim waits for every block; ours loads far ahead and keeps attention weights on chip"
)
