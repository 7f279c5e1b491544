"""Files of small serving scenarios, for the folder of conftest.py, and those that a run writes."""

import csv
import json

FILES = ["iterations.csv", "requests.csv", "result.json", "transfers.csv"]

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


def result_of(folder, out="out"):
    return json.loads((folder / out / "result.json").read_text())


def rows_of(folder, name, out="out"):
    with (folder / out / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))
