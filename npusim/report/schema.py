"""What every key of `result.json` means; `[]` stands for each row of a list."""

from npusim.trace import CHANNEL_KEYS, CORE_KEYS, LINK_KEYS

STALL_KEYS = {
    "compute_ps": "time in which a compute task ran",
    "wait_memory_ps": "else: time in which a load or store was in flight",
    "wait_noc_ps": "else: time in which a message was in flight from or to the core",
    "wait_dependency_ps": "else: time before the core's last task ended",
    "idle_ps": "the rest of the makespan",
}
WORK_KEYS = {
    "flops": "floating-point operations, two a multiply-accumulate",
    "load_bytes": "bytes that tasks load from memory",
    "store_bytes": "bytes that tasks store to memory",
    "message_bytes": "payload of messages between cores",
    "num_tasks": "tasks of the program",
}
TOTAL_KEYS = WORK_KEYS | {
    "makespan_ps": "end of the last iteration, simulated time",
    "new_tokens": "tokens computed, over all requests and iterations",
    "output_tokens": "tokens sampled",
    "tokens_s": "new_tokens a second of simulated time",
    "output_tokens_s": "output_tokens a second of simulated time",
    "flops_s": "flops a second of simulated time",
    "peak_flops_s": "all arrays of the chip, at the rate of the weights' data type",
    "flops_fraction": "flops_s / peak_flops_s",
    "array_busy_fraction": "time in which an array runs a task, mean over all arrays",
    "vector_busy_fraction": "time in which a vector unit runs a task, mean over all cores",
    "memory_gb_s": "load and store bytes a nanosecond of simulated time",
    "peak_memory_gb_s": "all memory instances of the chip",
    "memory_fraction": "memory_gb_s / peak_memory_gb_s",
}
ITERATION_KEYS = {
    "label": "what the iteration computes",
    "start_ps": "when it starts",
    "makespan_ps": "how long it takes",
    "new_tokens": "tokens computed",
    "output_tokens": "tokens sampled",
    "reuse": "null, or {simulated_layers, reused_layers, spread_fraction} when layers were reused",
    "reused_from": "null, or the index of the iteration whose simulation this one shares",
}
OPERATOR_KEYS = {
    "operator": "name without the layer",
    "kind": "kind of operator",
    "phase": "prefill or decode, where the program says so",
    **WORK_KEYS,
    **{name: f"core time, {text}" for name, text in STALL_KEYS.items() if name != "idle_ps"},
    "span_ps": "first start to last end of its tasks, summed over layers and iterations",
    "array_ps": "time in which its tasks run on arrays, summed over arrays",
    "vector_ps": "time in which its tasks run on vector units, summed over cores",
}
MEMORY_KEYS = {
    "name": "a memory of the chip's file, all its instances",
    "gb_s": "its bytes a nanosecond of simulated time",
    "used_peak_gb_s": "peak of those of its channels that were used",
    "fraction": "gb_s / used_peak_gb_s",
}
CHECK_KEYS = {
    "name": "what is conserved",
    "left": "first quantity named",
    "right": "second quantity named",
    "ok": "whether they agree",
}


def under(prefix: str, keys: dict[str, str]) -> dict[str, str]:
    """The keys below `prefix`."""
    return {f"{prefix}.{name}": text for name, text in keys.items()}


SIMULATED = {"name": "its name", "busy_fraction": "busy_ps / simulated time"}
RESULT_KEYS = {
    "schema_version": "version of this table",
    "scenario": "the scenario, fully resolved: spec/scenario.py",
    "hardware": "the chip, fully resolved: spec/hardware.py",
    "model": "the model, fully resolved: spec/model.py; null for micro-workloads without one",
    "totals": "the run in numbers; reused layers count",
    **under("totals", TOTAL_KEYS),
    "stalls": "core time by cause, summed over cores: cores x makespan in all",
    **under("stalls", STALL_KEYS),
    "iterations": "iterations in order",
    **under("iterations[]", ITERATION_KEYS),
    "per_operator": "work and core time by operator, over layers, cores and iterations",
    **under("per_operator[]", OPERATOR_KEYS),
    "per_core": "stalls (reused layers count) and port totals (as simulated) of each core",
    **under("per_core[]", {"name": "its name"} | STALL_KEYS | CORE_KEYS),
    "per_memory": "traffic by name of memory; reused layers are taken to spread theirs alike",
    **under("per_memory[]", MEMORY_KEYS),
    "per_channel": "totals of each memory channel, as simulated, over iterations",
    **under("per_channel[]", SIMULATED | CHANNEL_KEYS),
    "per_link": "totals of each NoC link, as simulated, over iterations",
    **under("per_link[]", SIMULATED | LINK_KEYS),
    "counters": "other counts of the machine in the last iteration",
    "placed": "what the memory plan of the last iteration put where",
    "fidelity": "null, or with --fidelity both what the analytic level gives: FIDELITY_KEYS",
    "notes": "what was chosen automatically, replicated, spilled or reused",
    "checks": "conservation checks",
    **under("checks[]", CHECK_KEYS),
}
OPEN_KEYS = (
    "scenario",
    "hardware",
    "model",
    "counters",
    "placed",
    "iterations[].reuse",
    "fidelity",
)

LEVEL_KEYS = {
    "transaction_ps": "at the transaction level",
    "analytic_ps": "at the analytic level",
    "error_fraction": "analytic_ps / transaction_ps - 1",
}
FIDELITY_KEYS = {
    "memory": "level of the memory in the analytic run",
    "noc": "level of the NoC in the analytic run",
    **LEVEL_KEYS,
    "preparation_cpu_s": "CPU seconds of graphs and lowering, which both runs share; measured",
    "transaction_cpu_s": "CPU seconds of the simulation with every transaction; measured",
    "analytic_cpu_s": "CPU seconds of the analytic simulation; measured",
    "simulation_speed_up": "transaction_cpu_s / analytic_cpu_s",
    "speed_up": "the same with preparation_cpu_s added to both",
    "iterations": "iterations in order",
    **under("iterations[]", {"label": "what the iteration computes"} | LEVEL_KEYS),
    "per_kind": "core time by kind of operator, over cores; the largest difference first",
    **under("per_kind[]", {"kind": "kind of operator"} | LEVEL_KEYS),
    "per_kind[].cause": "the cause of time that differs most",
    "per_kind[].cause_ps": "by how much",
}
