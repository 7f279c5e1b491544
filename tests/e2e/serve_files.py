"""Files of small serving scenarios, for the folder of conftest.py."""

TRAFFIC = {
    "kind": "poisson",
    "rate_per_s": 20_000,
    "requests": 8,
    "prompt": "{kind: fixed, tokens: 32}",
    "output": "{kind: fixed, tokens: 4}",
}
SERVING = """\
hw: chip.yaml
model: model.json
parallel: {{tp: 4}}
traffic: {{{traffic}}}
serving: {{iteration: analytic, limits: {{max_requests: 8, max_tokens: 64}}}}
"""
BURST = "traffic={kind: burst, requests: 4, prompt: {kind: fixed, tokens: 8}, output: {kind: fixed, tokens: 4}}"  # fmt: skip  # noqa: E501


def traffic(**changes):
    """The traffic of the scenario as YAML, with some keys changed."""
    return ", ".join(f"{key}: {value}" for key, value in (TRAFFIC | changes).items())


def write_scenario(folder, **changes):
    (folder / "serve.yaml").write_text(SERVING.format(traffic=traffic(**changes)))


def sets(*texts):
    """`--set TEXT` for each."""
    return [part for text in texts for part in ("--set", text)]
