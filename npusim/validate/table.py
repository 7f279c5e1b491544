"""Families, or their record → the table that a reader sees, in a terminal, Markdown or JSON."""

from typing import Any

from npusim.report.summary import Table
from npusim.validate.bands import Record, as_row, key
from npusim.validate.compare import Family

MEASURES = {"mape": "mean |error|", "worst": "worst", "bias": "mean error"}
COLUMNS = ["family", "n", "mean", "mean |error|", "worst", "goal", "", "within"]


def record_of(families: list[Family]) -> Record:
    """What write_record() would keep of them."""
    return {key(family): as_row(family) for family in families}


def summary_table(record: Record, title: str = "Errors, (ours - reference) / reference") -> Table:
    """One row a family and use; rows that a constant was fitted on are marked (fit). `within`: how
    many cases are each within the goal's limit, also where the goal is one of the mean."""
    rows = []
    for name, row in record.items():
        for use in ("report", "fit"):
            if use in row:
                rows.append(_cells(name, use, row))
    return Table(title, COLUMNS, rows)


def _cells(name: str, use: str, row: dict[str, Any]) -> list[str]:
    errors = row[use]
    percents = [_percent(errors["bias"]), _percent(errors["mape"])[1:], _percent(errors["worst"])]
    goal, reached = ("", "") if use == "fit" else _goal(row["goal"], errors)
    label = f"{name} (fit)" if use == "fit" else name
    inside = str(errors["num_within"]) if goal else ""
    return [label, str(errors["n"]), *percents, goal, reached, inside]


def _percent(fraction: float) -> str:
    """Signed, three digits; 0 is only what is equal."""
    percent = 100 * fraction
    if abs(percent) < 0.01:
        return f"{percent:+.1g} %"
    digits = 0 if abs(percent) >= 100 else 1 if abs(percent) >= 10 else 2
    return f"{percent:+.{digits}f} %"


def _goal(goal: dict[str, Any] | None, errors: dict[str, Any]) -> tuple[str, str]:
    if goal is None:
        return "", ""
    limit, measure = goal["limit_fraction"], goal["measure"]
    text = f"{MEASURES[measure]} ≤ {100 * limit:g} %" if limit else "equal"
    return text, "reached" if abs(errors[measure]) <= limit else "missed"


def case_tables(families: list[Family]) -> list[Table]:
    """Every comparison, a table a family."""
    return [
        Table(
            f"{key(family)}, against {family.reference}",
            ["case", "ours", "reference", "unit", "error", "use"],
            [
                [c.name, f"{c.ours:.6g}", f"{c.reference:.6g}", c.unit, _percent(c.error_fraction),
                 c.use]
                for c in family.comparisons
            ],
        )
        for family in families
    ]  # fmt: skip


MARKDOWN = "| family | against | n | mean | mean \\|error\\| | worst | goal, and cases within |"


def as_markdown(record: Record) -> str:
    """The summary table for a README, with what each family is compared with."""
    lines = [MARKDOWN, "|---" * 7 + "|"]
    for name, row in record.items():
        for cells in summary_table({name: row}).rows:
            label, n, mean, mape, worst, goal, reached, inside = cells
            verdict = f"{goal}: {reached}, {inside} of {n} cases" if goal else ""
            lines.append(_line([label, row["reference"], n, mean, mape, worst, verdict]))
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


OVERVIEW = "| what | against | cases | mean | mean \\|error\\| | worst | goals reached |"


def as_overview(record: Record) -> str:
    """The families of a suite with the same reference as one row, for the top README; rows that a
    constant was fitted on are left out."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, row in record.items():
        if "report" in row:
            groups.setdefault((name.split("/")[0], row["reference"]), []).append(row)
    lines = [OVERVIEW, "|---" * 7 + "|"]
    for (suite, reference), rows in groups.items():
        lines.append(_line([suite, reference, *_merged(rows), _goals_reached(rows)]))
    return "\n".join(lines) + "\n"


def _merged(rows: list[dict[str, Any]]) -> list[str]:
    """Number of cases, mean, mean absolute and worst error over several families."""
    errors = [row["report"] for row in rows]
    n = sum(e["n"] for e in errors)
    bias, mape = (sum(e["n"] * e[measure] for e in errors) / n for measure in ("bias", "mape"))
    worst = max((e["worst"] for e in errors), key=abs)
    return [str(n), _percent(bias), _percent(mape)[1:], _percent(worst)]


def _goals_reached(rows: list[dict[str, Any]]) -> str:
    goals = [_goal(row["goal"], row["report"])[1] for row in rows if row["goal"]]
    return f"{goals.count('reached')} of {len(goals)}" if goals else ""


def as_json(families: list[Family], level: str, departures: list[str]) -> dict[str, Any]:
    """Everything, for regression use: errors of each family and all its comparisons."""
    return {
        "schema_version": 1,
        "level": level,
        "departures": departures,
        "families": [
            {
                "suite": family.suite,
                "family": family.name,
                **as_row(family),
                "note": family.note,
                "comparisons": [
                    {
                        "name": c.name,
                        "ours": float(c.ours),  # a suite may give numpy's numbers
                        "reference": float(c.reference),
                        "unit": c.unit,
                        "use": c.use,
                        "error_fraction": c.error_fraction,
                    }
                    for c in family.comparisons
                ],
            }
            for family in families
        ],
    }
