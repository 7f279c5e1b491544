"""The bundled traces are what this file makes of a seed: run as a script, it writes them anew."""

import json
import math
from itertools import count
from random import Random

import pytest

from npusim.serving.traffic import requests_of
from npusim.spec.files import bundled, data_root
from npusim.spec.traffic import TraceTraffic

NUM_REQUESTS = 200


def exponential(random: Random, mean: float) -> float:
    return -mean * math.log(1 - random.random())


def lognormal(random: Random, median: float, sigma: float) -> int:
    """Box and Muller, so that only random() of the library is used, which stays as it is."""
    radius = math.sqrt(-2 * math.log(1 - random.random()))
    z = radius * math.cos(2 * math.pi * random.random())
    return min(max(round(median * math.exp(sigma * z)), 1), 8192)


def azure() -> str:
    """A coding service: long prompts, short answers, 3 requests/s from noon on."""
    random, ticks = Random(1), 12 * 36_000_000_000
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for _ in range(NUM_REQUESTS):
        seconds, fraction = divmod(ticks, 10_000_000)
        minutes, second = divmod(seconds, 60)
        hour, minute = divmod(minutes, 60)
        stamp = f"2024-01-01 {hour:02}:{minute:02}:{second:02}.{fraction:07}"
        lines.append(f"{stamp},{lognormal(random, 1200, 1.0)},{lognormal(random, 16, 0.7)}")
        ticks += round(exponential(random, 1 / 3) * 10_000_000)
    return "\n".join(lines) + "\n"


def mooncake() -> str:
    """40 conversations of 5 turns behind a common system prompt of 1,024 tokens: a turn's prompt
    is all that was said before and something new."""
    random, new_id = Random(2), count()
    system = [next(new_id), next(new_id)]
    turns = []
    for _ in range(NUM_REQUESTS // 5):
        at_ms, prompt, ids = random.random() * 60_000, 1024, system
        for _ in range(5):
            prompt += lognormal(random, 300, 0.8)
            ids = ids + [next(new_id) for _ in range(-(-prompt // 512) - len(ids))]
            output = lognormal(random, 120, 0.6)
            turns.append((int(at_ms), prompt, output, ids))
            at_ms += exponential(random, 20_000)
            ids = ids[: prompt // 512]  # what follows changes a block that is partly filled
            prompt += output
    keys = ("timestamp", "input_length", "output_length", "hash_ids")
    return "".join(json.dumps(dict(zip(keys, turn, strict=True))) + "\n" for turn in sorted(turns))


def plain() -> str:
    """A chat service with two classes of users, half of them on one of 4 system prompts."""
    random, arrival_s = Random(3), 0.0
    lines = ["arrival_s,prompt_tokens,output_tokens,priority,prefix_id,prefix_tokens"]
    for _ in range(NUM_REQUESTS):
        group = int(random.random() * 8)
        tokens = 256 * (group + 1) if group < 4 else 0
        prefix = f"system{group},{tokens}" if tokens else ","
        prompt = tokens + lognormal(random, 250, 0.9)
        priority = int(random.random() < 0.75)
        output = lognormal(random, 180, 0.7)
        lines.append(f"{arrival_s:.6f},{prompt},{output},{priority},{prefix}")
        arrival_s += exponential(random, 0.25)
    return "\n".join(lines) + "\n"


SAMPLES = {
    "azure_sample.csv": ("azure", azure),
    "mooncake_sample.jsonl": ("mooncake", mooncake),
    "plain_sample.csv": ("csv", plain),
}


def test_all_of_them_are_bundled():
    assert set(SAMPLES) <= {path.name for path in bundled("traffic").values()}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_what_its_seed_makes(name):
    _, make = SAMPLES[name]
    assert bundled("traffic")[name.partition(".")[0]].read_text() == make()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_read_by_its_name(name):
    kind, _ = SAMPLES[name]
    requests = requests_of(TraceTraffic(kind=kind, path=name.partition(".")[0]), seed=0)
    assert len(requests) == NUM_REQUESTS
    assert requests[0].arrival_ps == 0 < requests[-1].arrival_ps
    assert all(request.prompt_tokens + request.output_tokens <= 16384 for request in requests)
    shared = {request.prefix[0] for request in requests if request.prefix}
    assert len(shared) == {"azure": 0, "mooncake": 1, "csv": 4}[kind]


if __name__ == "__main__":
    for sample, (_, maker) in SAMPLES.items():
        (data_root() / "workloads" / "traffic" / sample).write_text(maker())
