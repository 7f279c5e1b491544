"""A few (chip, model, phase) triples: makespan and digest of all task times, by both engines.

A change that moves a time shows here. When it is meant, print the new table with
`python tests/golden/test_golden.py` and say in the commit why times moved.
"""

import hashlib
import json
from pathlib import Path

import pytest

from npusim.simulate import simulate
from npusim.spec.load import load_scenario, resolve

TABLE = Path(__file__).with_name("golden.json")
TINY = ["model.num_hidden_layers=1", "model.hidden_size=256", "model.intermediate_size=512",
        "model.num_attention_heads=8", "model.num_key_value_heads=4", "model.head_dim=32",
        "model.vocab_size=1024"]  # fmt: skip
PREFILL = ["workload.prompt_tokens=48"]
DECODE = ["workload.batch=3", "workload.context_tokens=200"]
CASES: dict[str, tuple[str, str, list[str]]] = {
    "large core, prefill, megatron": ("npu_large_core", "qwen3-1.7b", [
        *TINY, *PREFILL, "parallel.tp=4", "parallel.partition=megatron"]),
    "large core, prefill, k": ("npu_large_core", "qwen3-1.7b", [
        *TINY, *PREFILL, "parallel.tp=4", "parallel.partition=k"]),
    "large core, locked handshake, mnk": ("npu_large_core", "qwen3-1.7b", [
        *TINY, *PREFILL, "parallel.tp=4", "parallel.partition=mnk",
        "hw.noc.flow_control=channel_locked", "hw.noc.protocol=handshake"]),
    "large core, locks of both ways, k": ("npu_large_core", "qwen3-1.7b", [
        *TINY, *PREFILL, "parallel.tp=8", "parallel.partition=k",
        "hw.noc.flow_control=channel_locked", "hw.noc.protocol=handshake",
        "hw.noc.lock_scope=both"]),
    "edge memory, decode": ("npu_edge_hbm", "qwen3-1.7b", [*TINY, *DECODE, "parallel.tp=8"]),
    "group memory, decode": ("npu_group_hbm", "qwen3-1.7b", [*TINY, *DECODE, "parallel.tp=4"]),
    "four cores, two stages": ("tpuv4_like", "qwen3-1.7b", [
        *TINY, *PREFILL, "model.num_hidden_layers=2", "parallel.tp=2", "parallel.pp=2"]),
}  # fmt: skip


def outcome(name: str, engine: str) -> dict[str, object]:
    hw, model, overrides = CASES[name]
    base = "decode" if "workload.batch=3" in overrides else "quickstart"
    scenario = load_scenario(base, [*overrides, f"engine={engine}"], hw=hw, model=model)
    trace = simulate(resolve(scenario)).iterations[0].trace
    digest = hashlib.sha256()
    for column in (trace.ready_ps, trace.start_ps, trace.end_ps):
        digest.update(column.astype("<i8").tobytes())
    return {"makespan_ps": trace.makespan_ps, "sha256": digest.hexdigest()}


@pytest.mark.parametrize("engine", ["fast", "simpy"])
@pytest.mark.parametrize("name", CASES)
def test_times_are_the_golden_ones(name, engine):
    assert outcome(name, engine) == json.loads(TABLE.read_text())[name]


if __name__ == "__main__":
    rows = {name: outcome(name, "fast") for name in CASES}
    TABLE.write_text(json.dumps(rows, indent=1) + "\n")
