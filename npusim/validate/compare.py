"""Ours and a reference's figure of the same case → signed errors, by family.

A suite gives families; a family holds comparisons against one reference, so that no mean hides
another family's error. Errors are signed: (ours - reference) / reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Comparison:
    """One case: our figure, the reference's, in `unit`. `use: fit` marks a row that an efficiency
    constant was fitted on; it is counted apart from the rows that report."""

    name: str
    ours: float
    reference: float
    unit: str
    use: Literal["report", "fit"] = "report"

    def __post_init__(self) -> None:
        figures = f"{self.name}: {self.ours} against {self.reference}"
        assert self.reference > 0 and isfinite(self.reference) and isfinite(self.ours), figures

    @property
    def error_fraction(self) -> float:
        return float(self.ours / self.reference - 1)


@dataclass(frozen=True)
class Goal:
    """An error that a family is meant to stay within: of the mean absolute error (`mape`), the
    worst case (`worst`) or the mean signed error (`bias`)."""

    measure: Literal["mape", "worst", "bias"]
    limit_fraction: float


@dataclass(frozen=True)
class Family:
    """Comparisons of one kind against one reference. `reference` says in a phrase what it is and
    where it is from; `note` what a reader must know of the figure."""

    suite: str
    name: str
    reference: str
    comparisons: tuple[Comparison, ...]
    goal: Goal | None = None
    note: str = ""

    def __post_init__(self) -> None:
        names = [c.name for c in self.comparisons]
        assert names, f"{self.name}: no comparisons"
        assert len(set(names)) == len(names), f"{self.name}: two comparisons have one name"


@dataclass(frozen=True)
class Errors:
    """Of n comparisons: mean signed error, mean absolute error, the signed error that is largest
    in size, and the case it belongs to. Fractions."""

    n: int
    bias: float
    mape: float
    worst: float
    worst_name: str

    def within(self, goal: Goal) -> bool:
        return abs(getattr(self, goal.measure)) <= goal.limit_fraction


def num_within(comparisons: Sequence[Comparison], limit_fraction: float) -> int:
    """How many cases are each within a limit, whatever their mean."""
    return sum(abs(c.error_fraction) <= limit_fraction for c in comparisons)


def errors_of(comparisons: Sequence[Comparison]) -> Errors | None:
    """The errors of some comparisons; None when there are none."""
    if not comparisons:
        return None
    errors = np.array([c.error_fraction for c in comparisons])
    worst = int(np.abs(errors).argmax())
    return Errors(
        n=len(errors),
        bias=float(errors.mean()),
        mape=float(np.abs(errors).mean()),
        worst=float(errors[worst]),
        worst_name=comparisons[worst].name,
    )


def split_by_use(family: Family) -> dict[str, Errors]:
    """`report` and `fit` errors of a family, each where it has such rows."""
    found = {}
    for use in ("report", "fit"):
        errors = errors_of([c for c in family.comparisons if c.use == use])
        if errors:
            found[use] = errors
    return found
