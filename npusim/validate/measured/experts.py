"""Expert parallelism across nodes → families: dispatch over RDMA by the link model.

Assumes a switch of one 400 Gb/s NIC a GPU for all pairs: with 32 GPUs and more, 8 to a node, most
pairs are in different nodes. A message is 7,168 bytes of fp8 with a 4-byte scale for each 128.
"""

from npusim.cost.interconnect import link_collective_ps
from npusim.spec.links import Chips, LinkProtocol
from npusim.units import PS_PER_US
from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.measured.rows import Row, read_measured
from npusim.validate.measured.unsimulated import reason

TOKENS, EXPERTS_PER_TOKEN = 128, 8  # of a rank
MESSAGE_BYTES = 7168 + 4 * 7168 // 128
NIC_GB_S = 50  # CX7, 400 Gb/s
ALPHA_US = 10  # point to point between nodes in aiconfigurator's system files


def expert_families() -> list[Family]:
    """Dispatch in us, one comparison a number of ranks."""
    rows = [row for row in read_measured() if "DeepEP" in row.source and reason(row) is None]
    found = [_dispatch(row) for row in rows]
    reference = "low-latency kernels on H800 with CX7, deepseek-ai/DeepEP (MIT)"
    note = "peak NIC rate and a published latency, nothing fitted"
    return [
        Family("measured", "expert dispatch", reference, tuple(found), Goal("mape", 0.25), note)
    ]


def _dispatch(row: Row) -> Comparison:
    num = row.num_chips
    rdma = LinkProtocol(alpha_us=ALPHA_US)
    chips = Chips(count=num, topology="switch", link_gb_s=NIC_GB_S, protocols={"rdma": rdma})
    sent_bytes = TOKENS * EXPERTS_PER_TOKEN * MESSAGE_BYTES * (num - 1) // num
    time_ps = link_collective_ps("all_to_all", sent_bytes, num, chips)
    return Comparison(f"dispatch EP{num}", time_ps / PS_PER_US, row.value, row.unit)
