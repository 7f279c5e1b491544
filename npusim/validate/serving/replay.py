"""The bundled replay → when each request's tokens came out, in ours and on the real server.

TTFT and latency count from the arrival at the client on both sides. (The published
`vllm_ttft_ms` of the run counts from the moment the engine had the request; that is 0.04 % less.)
"""

from dataclasses import dataclass

import numpy as np

from npusim.serving.serve import serve
from npusim.spec.files import find
from npusim.spec.load import load_scenario, resolve
from npusim.units import PS_PER_S
from npusim.validate.data import read_rows

SCENARIO = "serve_vllm_replay"
TRAFFIC = "sharegpt_rtx4090"


@dataclass(frozen=True)
class Served:
    """Requests of one run, in order of arrival; arrays (n,) in tokens and seconds."""

    prompt_tokens: np.ndarray
    output_tokens: np.ndarray
    arrival_s: np.ndarray
    first_token_s: np.ndarray
    last_token_s: np.ndarray

    @property
    def ttft_s(self) -> np.ndarray:
        return self.first_token_s - self.arrival_s

    @property
    def tpot_s(self) -> np.ndarray:
        """Mean time between tokens of each request; all have two or more."""
        return (self.last_token_s - self.first_token_s) / (self.output_tokens - 1)

    @property
    def latency_s(self) -> np.ndarray:
        return self.last_token_s - self.arrival_s

    @property
    def makespan_s(self) -> float:
        return float(self.last_token_s.max())


def real_run() -> Served:
    """What vLLM did."""
    rows = read_rows(str(find("traffic", TRAFFIC)))

    def column(name: str) -> np.ndarray:
        return np.array([float(row[name]) for row in rows])

    return Served(
        column("prompt_tokens").astype(int),
        column("output_tokens").astype(int),
        column("arrival_s"),
        column("vllm_first_token_s"),
        column("vllm_last_token_s"),
    )


def our_run(overrides: tuple[str, ...] = ()) -> Served:
    """What the bundled scenario gives, with `KEY=VALUE` overrides."""
    requests = serve(resolve(load_scenario(SCENARIO, overrides))).requests
    return Served(
        requests["prompt_tokens"],
        requests["output_tokens"],
        requests["arrival_ps"] / PS_PER_S,
        requests["first_token_ps"] / PS_PER_S,
        requests["finish_ps"] / PS_PER_S,
    )


def rank_correlation(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Spearman's: the correlation of the ranks, equal values sharing their mean rank."""
    return float(np.corrcoef(_ranks(ours), _ranks(theirs))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[which]
