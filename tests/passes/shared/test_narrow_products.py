"""The sustained fraction of products of 8 bits and fewer, where it differs."""

from npusim.passes.shared.chip import chip_of
from npusim.spec.load import load_hardware
from npusim.spec.scenario import Dtypes

TILE = (128, 4096, 128)
MACS = 128 * 4096 * 128


def cycles(weights: str, **overrides: object) -> int:
    hardware = load_hardware("h100_sxm", {f"kernels.{k}": v for k, v in overrides.items()})
    activations = "bf16" if weights == "bf16" else "fp8"
    types = Dtypes(weights=weights, activations=activations, kv="bf16")
    return chip_of(hardware, types).gemm_cycles(*TILE)


def test_narrow_products_take_their_own_fraction():
    fractions = {"compute_efficiency_fraction": 0.8, "narrow_efficiency_fraction": 0.5}
    assert cycles("bf16", **fractions) == -(-MACS // (2048 * 0.8))
    assert cycles("fp8", **fractions) == -(-MACS // (4096 * 0.5))


def test_without_one_all_products_are_alike():
    fractions = {"compute_efficiency_fraction": 0.5, "narrow_efficiency_fraction": None}
    assert cycles("fp8", **fractions) == -(-MACS // (4096 * 0.5))
