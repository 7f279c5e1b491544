"""The traffic of a scenario: what it defaults to, and what is refused with which words."""

import pytest

from npusim.errors import SpecError
from npusim.spec.load import bundled, load_scenario, schema
from npusim.spec.traffic import FixedLength, SyntheticTraffic, TraceTraffic

POISSON = (
    "kind: poisson, requests: 10, rate_per_s: 2, prompt: {kind: fixed, tokens: 5}, "
    "output: {kind: fixed, tokens: 6}"
)


@pytest.fixture
def traffic_of(folder):
    """traffic_of(keys) → the traffic of a scenario with these keys on its line 3."""

    def load(keys, *overrides):
        text = f"hw: npu_large_core\nmodel: qwen3-4b\ntraffic: {{{keys}}}\n"
        (folder / "s.yaml").write_text(text)
        return load_scenario("s.yaml", overrides).traffic

    return load


def test_defaults_of_synthetic_traffic(traffic_of):
    five, six = FixedLength(tokens=5), FixedLength(tokens=6)
    expected = SyntheticTraffic(
        kind="poisson", requests=10, rate_per_s=2.0, prompt=five, output=six, priorities=1
    )
    assert traffic_of(POISSON) == expected
    assert hash(traffic_of(POISSON)) == hash(expected)


def test_defaults_of_a_trace(traffic_of):
    assert traffic_of("kind: mooncake, path: mooncake_sample") == TraceTraffic(
        kind="mooncake", path="mooncake_sample", skip=0, start_s=0.0, time_scale=1.0, shuffle=False
    )


def test_traffic_makes_a_scenario_one_to_serve(folder):
    (folder / "s.yaml").write_text(f"model: qwen3-4b\ntraffic: {{{POISSON}}}\n")
    assert load_scenario("s.yaml").workload.kind == "serve"


def test_set_changes_a_law(traffic_of):
    law = traffic_of(POISSON, "traffic.prompt={kind: uniform, min: 1, max: 4}").prompt
    assert (law.kind, law.min, law.max) == ("uniform", 1, 4)


def changed(old, new):
    assert old in POISSON
    return POISSON.replace(old, new)


PROMPT = "prompt: {kind: fixed, tokens: 5}"
BAD = [
    (changed("rate_per_s: 2", "rate_per_s: 0"), "traffic.rate_per_s must be above 0, not 0"),
    (changed("rate_per_s: 2, ", ""), "traffic.rate_per_s is missing; needed by kind poisson"),
    (changed("poisson", "burst"), "traffic.rate_per_s does not go with kind burst"),
    (changed("poisson", "gamma"), "traffic.cv is missing; needed by kind gamma"),
    (POISSON + ", cv: 2", "traffic.cv does not go with kind poisson"),
    (
        changed("poisson", "gamma") + ", cv: 0.0001",
        "traffic.cv must be at least 0.001, not 0.0001",
    ),
    (changed("requests: 10", "requests: 0"), "traffic.requests must be at least 1, not 0"),
    (
        changed("poisson", "poison"),
        "traffic.kind must be one of poisson, gamma, constant, burst, azure, mooncake, csv, not "
        "'poison'; did you mean 'poisson'?",
    ),
    (changed("tokens: 5", "tokens: 0"), "traffic.prompt.tokens must be at least 1, not 0"),
    (
        changed(PROMPT, "prompt: {kind: uniform, min: 5, max: 4}"),
        "traffic.prompt.min must be at most max 4, not 5",
    ),
    (
        changed(PROMPT, "prompt: {kind: lognormal, median: 5, sigma: 1, min: 7, max: 6}"),
        "traffic.prompt.min must be at most max 6, not 7",
    ),
    (
        changed(PROMPT, "prompt: {kind: lognormal, median: 200000, sigma: 1}"),
        "traffic.prompt.median must be of min 1 to max 131072, not 200000",
    ),
    (
        changed(PROMPT, "prompt: {kind: table, tokens: [1, 2], weights: [1]}"),
        "traffic.prompt.weights must be 2 numbers, one a length, not all 0",
    ),
    (
        changed(PROMPT, "prompt: {kind: table, tokens: [1, 2], weights: [0, 0]}"),
        "traffic.prompt.weights must be 2 numbers, one a length, not all 0",
    ),
    (
        POISSON + ", prefix: {tokens: 5, fraction: 1.5}",
        "traffic.prefix.fraction must be at most 1, not 1.5",
    ),
    ("kind: azure", "traffic.path is missing"),
    (
        "kind: azure, path: azur_sample",
        f"traffic must be a file or one of {', '.join(bundled('traffic'))}, not "
        "'azur_sample'; did you mean 'azure_sample'?",
    ),
    ("kind: azure, path: no/such.csv", "traffic file 'no/such.csv' is not there"),
    ("kind: azure, path: 7", "traffic.path must be text, not 7"),
    (
        "kind: azure, path: azure_sample, start_s: 5, end_s: 5",
        "traffic.end_s must be above start_s 5.0, not 5.0",
    ),
    (
        "kind: azure, path: azure_sample, rate_per_s: 5, time_scale: 2",
        "traffic.rate_per_s does not go with time_scale; give one of the two",
    ),
    (
        "kind: azure, path: azure_sample, request: 5",
        "unknown key traffic.request; did you mean 'requests'?",
    ),
]


@pytest.mark.parametrize(("keys", "text"), BAD)
def test_traffic_that_cannot_be(traffic_of, keys, text):
    with pytest.raises(SpecError) as caught:
        traffic_of(keys)
    assert str(caught.value) == f"s.yaml:3: {text}"


def test_a_workload_does_not_go_with_traffic(folder):
    text = f"model: qwen3-4b\nworkload: {{kind: llm, prompt_tokens: 5}}\ntraffic: {{{POISSON}}}\n"
    (folder / "s.yaml").write_text(text)
    with pytest.raises(SpecError, match=r"^s\.yaml:3: traffic does not go with workload kind llm$"):
        load_scenario("s.yaml")


def test_traces_are_bundled_without_their_suffix():
    assert {"azure_sample", "mooncake_sample", "plain_sample"} <= set(bundled("traffic"))


def test_schema_names_every_kind_of_traffic():
    definitions = schema("scenario")["$defs"]
    assert {"SyntheticTraffic", "TraceTraffic", "LognormalLength"} <= set(definitions)
