"""Every bundled scenario of serving: it checks, and its first requests are served on its chip."""

import json

import pytest

from npusim.spec.load import bundled, load_scenario

SERVED = [name for name in bundled("scenario") if load_scenario(name).traffic is not None]
DISAGGREGATED = ("serve_gpu", "serve_pd")


def test_the_default_is_bundled():
    assert {"serve", *DISAGGREGATED, "serve_azure", "serve_mooncake"} < set(SERVED)


@pytest.mark.parametrize("name", SERVED)
def test_a_bundled_scenario_checks(name, npusim):
    done = npusim("check", name)
    assert done.code == 0 and f"{name}: ok, scenario of kind serve on " in done.out
    assert "requests to " in done.out


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVED)
def test_a_bundled_scenario_serves_its_first_requests(name, npusim):
    coarse = [] if "replay" in name else ["--iteration", "analytic"]
    done = npusim("serve", name, *coarse, "--set", "traffic.requests=3", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["metrics"]["requests"]["done"] == 3 and not result["partial"]
    moves = sum(row["count"] for row in result["metrics"]["transfers"])
    assert moves == (3 if name in DISAGGREGATED else 0)
