"""Collectives measured on A100 → families of our link model's times, by library, op and GPU count.

The constants stand in `hw_configs/parts/nvlink3*.yaml`; `is_fit` says which rows they were fitted
on. The sizes are the full vector of a GPU; of an all-to-all each GPU keeps its own piece.

vLLM without CUDA graphs: the host needs `EAGER_HOST_US` for a call, which hides a shorter
collective, and a vector that goes to NCCL is first copied (2,039 GB/s, A100's HBM, for read and
write: the copy's rate is published, not fitted).
"""

from functools import cache

from npusim.cost.interconnect import link_collective_ps
from npusim.spec.links import Chips
from npusim.spec.load import load_hardware
from npusim.units import PS_PER_US
from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.data import read_rows

REFERENCE = "measured on A100 SXM, ai-dynamo/aiconfigurator (Apache-2.0)"
EAGER_HOST_US = 44.4  # fit: median of the 10 eager fit rows (one of them, 49.0, is an outlier)
VLLM_MAX_BYTES = 8 * 2**20  # vectors below go to vLLM's own kernel
HBM_GB_S = 2039  # A100 SXM 80 GB data sheet
POWERS_OF_4 = {4**power for power in range(4, 15)}  # 256 B to 256 MiB

PARTS = {"nccl": "nvlink3", "vllm_graph": "nvlink3_vllm", "vllm_eager": "nvlink3_vllm"}
NOTES = {
    "nccl": "NCCL 2.27.3; its protocol is the one that its published tuning constants prefer",
    "vllm_graph": "vLLM 0.14.0 in a CUDA graph; from 8 MiB up NCCL, whose constants are its own. "
    "8 GPUs took 14.9 us for 4 KiB, between 5.6 and 6.3 for 2 and 8 KiB: the worst case",
    "vllm_eager": "vLLM 0.14.0; up to about 4 MiB the host's call hides the collective",
}


@cache
def chips(library: str) -> Chips:
    """Eight GPUs with the library's protocols."""
    part = {"chips": {"base": PARTS[library], "count": 8}}
    found = load_hardware("tpuv4_like", part).chips
    assert found
    return found


def time_us(library: str, op: str, num_gpus: int, num_bytes: int) -> float:
    """Our time of one measured row."""
    sent_bytes = num_bytes * (num_gpus - 1) // num_gpus if op == "all_to_all" else num_bytes
    time = link_collective_ps(op, sent_bytes, num_gpus, chips(library)) / PS_PER_US
    if library != "vllm_eager":
        return time
    if num_bytes >= VLLM_MAX_BYTES:
        time += 2 * num_bytes / (HBM_GB_S * 1000)
    return max(EAGER_HOST_US, time)


def is_fit(library: str, op: str, dtype: str, num_gpus: int, num_bytes: int) -> bool:
    """Whether a constant was fitted on this row."""
    if num_bytes not in POWERS_OF_4:
        return False
    if library == "nccl":
        of_op = op != "reduce_scatter" and num_bytes >= 1024
        return of_op and dtype == "fp16" and num_gpus in (2, 8)
    if library == "vllm_eager":
        return num_gpus in (2, 8) and num_bytes <= 65536
    if num_gpus == 4:
        return 2**20 <= num_bytes < VLLM_MAX_BYTES
    outlier = (num_gpus, num_bytes) == (8, 4096)  # 14.9 us between 5.6 and 6.3
    return num_bytes < VLLM_MAX_BYTES and not outlier


def repeats_a_fit(library: str, op: str, num_gpus: int, num_bytes: int) -> bool:
    """Whether a fit row has these bytes: as NCCL's time does not depend on the type, its int8 rows
    measure once more what was fitted at fp16, and do not report."""
    return any(is_fit(library, op, dtype, num_gpus, num_bytes) for dtype in ("fp16", "bf16"))


def families() -> list[Family]:
    """One family a library, op and GPU count; the goal is that of the reference data."""
    grouped: dict[tuple[str, str, int], list[Comparison]] = {}
    for row in read_rows("collectives_a100.csv"):
        library, op, dtype = row["library"], row["op"], row["dtype"]
        num_gpus, num_bytes = int(row["gpus"]), int(row["bytes"])
        comparison = Comparison(
            f"{num_bytes} B {dtype}",
            time_us(library, op, num_gpus, num_bytes),
            float(row["time_us"]),
            "us",
            "fit" if repeats_a_fit(library, op, num_gpus, num_bytes) else "report",
        )
        grouped.setdefault((library, op, num_gpus), []).append(comparison)
    return [
        Family(
            suite="collectives",
            name=f"{library} {op}, {num_gpus} GPUs",
            reference=REFERENCE,
            comparisons=tuple(comparisons),
            goal=Goal("mape", 0.15),
            note=NOTES[library],
        )
        for (library, op, num_gpus), comparisons in grouped.items()
    ]
