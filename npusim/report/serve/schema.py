"""What every key of the `result.json` of serving means; `[]` stands for each row of a list."""

from npusim.report.schema import under

DISTRIBUTION_KEYS = {
    "count": "how many",
    "mean_ps": "mean; null when there are none, as those below",
    "p50_ps": "median; percentiles interpolate linearly between the two nearest ranks",
    "p90_ps": "90th percentile",
    "p99_ps": "99th percentile",
    "max_ps": "longest",
}
DISTRIBUTIONS = {
    "ttft": "arrival to first token",
    "tbt": "every gap between consecutive tokens of a request, pooled",
    "tpot": "mean gap between the tokens of a request, of those with several",
    "latency": "arrival to last token",
    "queueing": "arrival to the first batch",
}
COUNT_KEYS = {
    "count": "requests of the traffic",
    "done": "those that put out their last token; latencies and throughput are theirs",
    "rejected": "those that no instance can ever hold",
    "unfinished": "the rest",
    "preempted": "those that were preempted at least once",
    "preemptions": "times that one was preempted",
}
WHERE_KEYS = {
    "queueing_ps": "arrival to the first batch",
    "prefill_ps": "from there to the first token",
    "handover_ps": "from there until all its KV is at the instance that decodes",
    "decode_ps": "from there to the last token",
}
GOODPUT_KEYS = {
    "ttft_ps": "goal of the time to first token; null: none",
    "tbt_ps": "goal of the mean gap between the tokens of a request; null: none",
    "requests": "requests that meet the goals",
    "requests_s": "those a second of makespan",
    "fraction": "their share of all; of a partial run, of those done or rejected",
}
INSTANCE_KEYS = {
    "name": "its name",
    "role": "both, prefill or decode",
    "num_cores": "its cores",
    "num_iterations": "iterations it ran",
    "busy_ps": "time of the makespan in which at least one of its iterations ran",
    "busy_fraction": "busy_ps / makespan_ps",
    "mean_requests": "requests in a batch, mean over iterations",
    "max_requests": "most requests in a batch",
    "prefill_tokens": "prompt tokens computed, those computed anew as well",
    "decodes": "decode steps, over requests",
    "max_waiting": "most requests that waited for it when a batch was chosen",
    "preemptions": "times that it preempted a request",
    "kv_blocks": "KV blocks it has",
    "kv_peak_blocks": "most KV blocks held",
    "kv_peak_fraction": "kv_peak_blocks / kv_blocks",
    "kv_mean_fraction": "share of its KV blocks that is held, mean over the time of iterations",
    "kv_full_fraction": "share of that time in which requests wait and 90 % of blocks are held",
    "prefix_hit_fraction": "share of its requests' prompt tokens found in its prefix cache",
}
ROLE_NAMES = ("role", "num_cores", "num_iterations", "prefill_tokens", "decodes", "preemptions")
ROLE_KEYS = {name: INSTANCE_KEYS[name] for name in ROLE_NAMES} | {
    "num_instances": "its instances; counts are their sums",
    "busy_fraction": "mean over instances, by cores",
    "mean_requests": "requests in a batch, mean over iterations",
    "kv_mean_fraction": "mean over instances, by busy time",
    "kv_peak_fraction": "highest of an instance",
}
TRANSFER_KEYS = {
    "kind": "transfer between instances, swap_out or swap_in",
    "count": "moves",
    "bytes": "KV bytes of all",
    "mean_ps": "mean time of a move",
    "max_ps": "longest move",
    "mean_gb_s": "bytes / time, over all moves",
}
METRIC_KEYS = {
    "requests": "requests by what became of them",
    **under("requests", COUNT_KEYS),
    "makespan_ps": "first arrival to last completion; null when no request was done",
    "prompt_tokens": "tokens in, of requests done",
    "output_tokens": "tokens out, of requests done",
    "output_tokens_s": "output_tokens a second of makespan: the throughput",
    "total_tokens_s": "prompt and output tokens a second of makespan",
    "requests_s": "requests done a second of makespan",
    "output_tokens_per_mean_latency_s": "output_tokens / mean latency, as in arXiv 2510.05632; "
    "to compare with it only: not a throughput, as requests overlap",
    "prefix_hit_fraction": "share of prompt_tokens found in a prefix cache",
    **DISTRIBUTIONS,
    **{k: v for name in DISTRIBUTIONS for k, v in under(name, DISTRIBUTION_KEYS).items()},
    "where": "the mean latency in parts; null when no request was done",
    **under("where", WHERE_KEYS),
    "goodput": "null when no goal is given",
    **under("goodput", GOODPUT_KEYS),
    "instances": "instances in order",
    **under("instances[]", INSTANCE_KEYS),
    "roles": "instances of a role together",
    **under("roles[]", ROLE_KEYS),
    "transfers": "moves of KV by kind, those that there were",
    **under("transfers[]", TRANSFER_KEYS),
}
FACT_KEYS = {
    "name": "its name",
    "role": "both, prefill or decode",
    "chip": "chip it is on",
    "cores": "ids of its cores",
    "tp": "tensor-parallel degree",
    "pp": "pipeline stages",
    "scheduler": "its scheduler",
    "num_blocks": "KV blocks it has",
    "block_tokens": "tokens a block holds",
    "sram_blocks": "those of the blocks that are in scratchpads",
    "kv_bytes_per_token": "KV bytes of a token, over its cores",
}
FIND_RATE_KEYS = {
    "rate_per_s": "highest rate tried that meets the goals, requests a second; null: none did",
    "served_per_s": "requests done a second of makespan, in the run that `metrics` tells of",
    "not_met_per_s": "lowest rate tried that does not meet them; null: every one did",
    "tried": "rates in the order they were tried",
    "tried[].rate_per_s": "requests a second",
    "tried[].met": "whether it meets the goals",
}
SERVE_KEYS = {
    "schema_version": "version of this table",
    "kind": "serve",
    "scenario": "the scenario, fully resolved: spec/scenario.py",
    "hardware": "the chip, fully resolved: spec/hardware.py",
    "model": "the model, fully resolved: spec/model.py; null when a table stands for it",
    "iteration": "what the time of an iteration is from",
    "iteration.kind": "live, memo, table or analytic",
    "iteration.facts": "what it tells of itself",
    "partial": "why the run ended early; empty when it did not",
    "metrics": "the run in numbers",
    **under("metrics", METRIC_KEYS),
    "instances": "instances in order: what they are",
    **under("instances[]", FACT_KEYS),
    "find_rate": "null, or with --find-rate what the search found: FIND_RATE_KEYS",
    "notes": "what was chosen automatically, rejected, or left out",
}
OPEN_KEYS = ("scenario", "hardware", "model", "iteration.facts", "find_rate")
