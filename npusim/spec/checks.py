"""A scenario beside its chip and model → SpecError for what they do not have."""

from typing import TYPE_CHECKING

from npusim.errors import SpecError, pick
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import MemoryWorkload, Scenario

if TYPE_CHECKING:
    from npusim.spec.model import Model


def check_cores(scenario: Scenario, hardware: Hardware) -> None:
    """Cores named by a micro-operation lie in the mesh, each once, and are enough."""
    work = scenario.workload
    ids: dict[str, int] = {}
    for key in ("src", "dst", "core"):
        if hasattr(work, key):
            ids[key] = _core_id(hardware, f"workload.{key}", getattr(work, key))
    if work.kind == "transfer" and ids["src"] == ids["dst"]:
        raise SpecError(f"workload.dst must differ from workload.src, not {ids['dst']}")
    listed = getattr(work, "cores", None)
    cores = [_core_id(hardware, "workload.cores", core) for core in listed or ()]
    if len(set(cores)) != len(cores):
        raise SpecError(f"workload.cores must not repeat a core, not {cores}")
    count = hardware.mesh.num_cores if listed is None else len(cores)
    if work.kind == "collective" and count < 2:
        raise SpecError(f"workload.cores must be at least 2 for a collective, not {count}")
    if listed is not None and not cores:
        raise SpecError("workload.cores must not be empty")


def _core_id(hardware: Hardware, name: str, core: int | tuple[int, int]) -> int:
    try:
        return hardware.core_id(core)
    except ValueError as error:
        raise SpecError(f"{name}: {error}") from None


def check_memory(scenario: Scenario, hardware: Hardware) -> None:
    """The memory of a memory workload (the first, when it names none) serves its cores."""
    work = scenario.workload
    if not isinstance(work, MemoryWorkload):
        return
    table = {memory.name: memory for memory in hardware.memories}
    if not table:
        raise SpecError(f"workload kind memory needs a memory; {hardware.name} has none")
    memory = pick(table, work.memory or next(iter(table)), "workload.memory")
    served = set(hardware.cores_of(memory))
    for core in map(hardware.core_id, work.cores or (work.core,)):
        if core not in served:
            raise SpecError(f"workload.memory must serve core {core}; {memory.name} does not")


def check_parallel(scenario: Scenario, model: "Model | None") -> None:
    """Keys that would have no effect are refused: experts, MLA, a grid that nothing uses."""
    parallel, name = scenario.parallel, model.name if model else "the workload"
    if parallel.ep > 1 and not (model and model.moe):
        raise SpecError(f"must be 1, as {name} has no experts, not {parallel.ep}", "parallel.ep")
    if parallel.mla != "auto" and not (model and model.mla):
        raise SpecError(
            f"must be auto, as {name} has no latent attention, not {parallel.mla!r}", "parallel.mla"
        )
    if parallel.grid and parallel.partition not in ("auto", "mnk"):
        raise SpecError(
            f"is for partition mnk (or auto), not {parallel.partition!r}", "parallel.grid"
        )


def check_mapping(scenario: Scenario, hardware: Hardware) -> None:
    """Keys that map work to the cores of a mesh are refused on a chip that deals tiles itself."""
    parallel = scenario.parallel
    mapping = {
        "parallel.partition": parallel.partition,
        "parallel.collective": parallel.collective,
        "parallel.grid": parallel.grid or "auto",
        "placement": scenario.placement,
    }
    for key, value in mapping.items():
        if value != "auto":
            text = f"must be left out, as {hardware.name} deals its tiles to cores itself"
            raise SpecError(f"{text}, not {value!r}", key)
