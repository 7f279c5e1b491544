"""A Comm of the partition → real messages between the cores of its groups."""

from npusim.passes.collective.fabric import Fabric
from npusim.passes.collective.lower import collective, point_to_point
from npusim.passes.emit.tasks import Emission, Ranks
from npusim.passes.partition import Comm, shards
from npusim.passes.tile import bits_to_bytes
from npusim.program import VECTOR_UNIT
from npusim.units import ceil_div


class Communicator:
    """Emits collectives over a chip's fabric with one choice of algorithm."""

    def __init__(self, fabric: Fabric, algorithm: str, activation_bits: int) -> None:
        self.fabric = fabric
        self.algorithm = algorithm
        self.bits = activation_bits

    def __call__(self, emission: Emission, comm: Comm, row: int, after: Ranks) -> Ranks:
        """All groups of `comm`, side by side; returns what each rank waits for next.

        Assumes that vectors travel in the activation type.
        """
        done = list(after)
        for group, elements in zip(comm.groups, comm.elements, strict=True):
            waits = [after[rank] for rank in group]
            cores = [emission.cores[rank].core for rank in group]
            num_bytes = bits_to_bytes(elements, self.bits)
            found = self._group(emission, comm, cores, num_bytes, row, waits)
            for rank, tasks in zip(group, found, strict=True):
                done[rank] = tasks
        return done

    def _group(
        self,
        emission: Emission,
        comm: Comm,
        cores: list[int],
        num_bytes: int,
        row: int,
        waits: Ranks,
    ) -> Ranks:
        builder, kind = emission.builder, comm.kind
        if kind == "gather":
            return self._gather(emission, cores, num_bytes, row, waits)
        if kind == "all_reduce" and len(cores) == 2 and num_bytes:
            return self._exchange(emission, cores, num_bytes, row, waits)
        emitted = collective(
            builder, row, kind, cores, num_bytes, waits, self.fabric,
            algorithm=self.algorithm, element_bytes=max(1, self.bits // 8),
            sizes=self._sizes(comm, num_bytes, len(cores)),
        )  # fmt: skip
        return emitted.final

    def _sizes(self, comm: Comm, num_bytes: int, ranks: int) -> tuple[int, ...] | None:
        """Elements of each rank's chunk where they come in whole rows; None: cut evenly.

        Assumes an even cut for types of less than a byte, and where all ranks end with everything.
        """
        if comm.unit == 1 or self.bits % 8 or comm.kind not in ("reduce_scatter", "all_gather"):
            return None
        rows = num_bytes // (comm.unit * self.bits // 8)
        return tuple(comm.unit * size for size in shards(rows, ranks))

    def _exchange(
        self, emission: Emission, cores: list[int], num_bytes: int, row: int, waits: Ranks
    ) -> Ranks:
        """Two ranks swap whole vectors and both add: as many bytes as a ring, in one step."""
        builder, elements = emission.builder, ceil_div(num_bytes * 8, self.bits)
        sends, recvs = [0, 0], [0, 0]
        for i in (0, 1):
            sends[i], recvs[1 - i] = builder.message(
                cores[i], cores[1 - i], row, num_bytes, waits[i]
            )
        done = []
        for i, core in enumerate(cores):
            cycles = ceil_div(elements, self.fabric.elements_per_cycle[core])
            total = builder.compute(
                core, VECTOR_UNIT, row, cycles + self.fabric.start_cycles[core],
                [recvs[i], *waits[i]], sram_bytes=3 * num_bytes, flops=elements,
            )  # fmt: skip
            done.append([total, sends[i]])
        return done

    def _gather(
        self, emission: Emission, cores: list[int], num_bytes: int, row: int, waits: Ranks
    ) -> Ranks:
        """Everyone's `num_bytes` go to the first core."""
        done = [list(tasks) for tasks in waits]
        for i, core in enumerate(cores[1:], start=1):
            sent, got = point_to_point(
                emission.builder, row, core, cores[0], num_bytes, waits[i], ()
            )
            done[i] = sent
            done[0] = done[0] + got
        return done
