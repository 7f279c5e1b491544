"""Setup, ServeRun and its metrics → the dict of `result.json`, see schema.SERVE_KEYS."""

import dataclasses
from typing import TYPE_CHECKING, Any

from npusim.report.result import SCHEMA_VERSION
from npusim.serve_trace import ServeRun

if TYPE_CHECKING:
    from npusim.spec.load import Setup


def serve_result(setup: "Setup", run: ServeRun, metrics: dict[str, Any]) -> dict[str, Any]:
    """The result of serving, for report.result.write_result; the same input gives the same dict."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "serve",
        "scenario": setup.scenario.model_dump(mode="json"),
        "hardware": setup.hardware and setup.hardware.model_dump(mode="json"),
        "model": setup.model and setup.model.model_dump(mode="json"),
        "iteration": {"kind": run.iteration_kind, "facts": run.iteration_facts},
        "partial": run.partial,
        "metrics": metrics,
        "instances": [dataclasses.asdict(row) for row in run.instances],
        "find_rate": None,
        "notes": list(dict.fromkeys(run.notes)),
    }
