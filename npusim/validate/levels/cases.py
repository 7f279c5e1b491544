"""The workloads on which the analytic level is held against every transaction."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A bundled scenario on a chip, with keys replaced."""

    name: str
    scenario: str
    hw: str
    model: str | None
    overrides: tuple[str, ...]


LAYERS = 2


def _layers(count: int) -> str:
    return f"{count} layer{'s' if count > 1 else ''}"


def _prefill(hw: str, model: str, tokens: int, tp: int, layers: int = LAYERS) -> Case:
    keys = (f"workload.prompt_tokens={tokens}", f"parallel.tp={tp}")
    name = f"{hw}, {_layers(layers)} of {model}, prefill {tokens}, tp {tp}"
    return Case(name, "quickstart", hw, model, (*keys, f"model.num_hidden_layers={layers}"))


def _decode(hw: str, model: str, batch: int, context: int, tp: int, layers: int = LAYERS) -> Case:
    keys = (f"workload.batch={batch}", f"workload.context_tokens={context}", f"parallel.tp={tp}")
    name = f"{hw}, {_layers(layers)} of {model}, decode {batch} x {context}, tp {tp}"
    return Case(name, "decode", hw, model, (*keys, f"model.num_hidden_layers={layers}"))


def _access(hw: str, pattern: str, num_bytes: int, request_bytes: int, reads: float) -> Case:
    keys = {"pattern": pattern, "bytes": num_bytes, "request_bytes": request_bytes}
    values = [f"workload.{key}={value}" for key, value in (keys | {"read_fraction": reads}).items()]
    name = f"{hw}, {pattern} by {request_bytes} bytes, {reads:.0%} reads"
    return Case(name, "memory", hw, None, tuple(values))


def _collective(hw: str, op: str, num_bytes: int) -> Case:
    values = (f"workload.op={op}", f"workload.bytes={num_bytes}", "workload.cores=null")
    return Case(f"{hw}, {op} of {num_bytes >> 10} KiB", "collective", hw, None, values)


# Compute-bound: cores compute more than twice as long as they wait for memory.
COMPUTE_BOUND = (
    _prefill("npu_large_core", "llama-3.1-8b", 1024, 16),
    _prefill("npu_group_hbm", "qwen3-4b", 512, 16),
    _prefill("npu_small_core", "qwen3-4b", 1024, 16, layers=1),
    _prefill("npu_edge_hbm", "llama-3.1-8b", 1024, 16, layers=1),
    _prefill("tpuv4_like", "llama-3.1-8b", 512, 4),
)
COMPUTE_BOUND_FULL = (
    _prefill("npu_large_core", "qwen3-32b", 512, 64),
    _prefill("npu_large_core", "llama-3.1-8b", 2048, 16, layers=4),
    _prefill("npu_group_hbm", "llama-3.1-8b", 1024, 16, layers=4),
    _prefill("npu_edge_hbm", "llama-3.1-8b", 1024, 16, layers=4),
    _prefill("tpuv4_like", "qwen3-32b", 512, 4),
    _prefill("a100_sxm_80", "llama-3.1-8b", 1024, 1),
    _prefill("h100_sxm", "llama-3.1-8b", 1024, 1),
)
# Memory-bound: they wait for memory longer than they compute. (Layers that fit the scratchpads
# would need no memory.)
MEMORY_BOUND = (
    _decode("npu_large_core", "llama-3.1-8b", 8, 1024, 16),
    _decode("npu_large_core", "llama-3.1-8b", 1, 512, 64, layers=6),
    _decode("npu_small_core", "qwen3-32b", 4, 1024, 64),
    _decode("npu_edge_hbm", "qwen3-4b", 8, 1024, 16),
    _decode("tpuv4_like", "llama-3.1-8b", 8, 1024, 4),
)
MEMORY_BOUND_FULL = (
    _decode("npu_large_core", "llama-3.1-8b", 8, 2048, 64, layers=8),
    _decode("npu_large_core", "qwen3-32b", 16, 1024, 64, layers=4),
    _decode("npu_group_hbm", "llama-3.1-8b", 8, 1024, 16),
    _decode("npu_group_hbm", "qwen3-32b", 4, 4096, 16),
    _decode("npu_edge_hbm", "llama-3.1-8b", 8, 1024, 64, layers=6),
    _decode("tpuv4_like", "llama-3.1-8b", 32, 2048, 4, layers=4),
    _decode("a100_sxm_80", "llama-2-7b", 8, 512, 1),
)
ACCESSES = tuple(
    _access(hw, pattern, num_bytes, size, reads)
    for hw in ("npu_large_core", "tpuv4_like")
    for pattern, num_bytes, size, reads in (
        ("sequential", 4 << 20, 4096, 1.0),
        ("sequential", 4 << 20, 65536, 1.0),
        ("strided", 4 << 20, 4096, 1.0),
        ("random", 1 << 20, 256, 1.0),
        ("sequential", 4 << 20, 4096, 0.5),
        ("random", 1 << 20, 256, 0.5),
    )
)
COLLECTIVES = tuple(
    _collective(hw, op, num_bytes)
    for hw in ("npu_large_core", "tpuv4_like")
    for op in ("all_reduce", "all_gather", "all_to_all", "broadcast")
    for num_bytes in (16 << 10, 1 << 20)
)
COLLECTIVES_FULL = tuple(
    _collective("npu_small_core", op, 1 << 20) for op in ("all_reduce", "all_gather", "broadcast")
)
