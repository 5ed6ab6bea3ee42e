"""The metrics within each value of a column of the data."""

from harness.metrics import Metric
from harness.results import Estimate
from harness.summary.estimates import estimate_all
from harness.summary.outcomes import Outcomes, RowTable

MOST_VALUES = 20
"""Columns of more values, or of another value in every row, are texts and not slices."""

DRAWS = 2_000
"""Slices are diagnostics: a coarser interval is enough."""

Slices = dict[str, dict[str, dict[str, dict[str, Estimate]]]]


def slice_estimates(metrics: tuple[Metric, ...], rows: RowTable, outcomes: dict[str, Outcomes]) -> Slices:
    """column -> value -> backend -> metric -> figure; columns of 2 to 20 values, values by falling number of rows."""
    found: Slices = {}
    for column, values in rows.columns.items():
        counts = values.counts()
        if not 2 <= len(counts) <= MOST_VALUES or len(counts) == len(rows):
            continue
        ordered = sorted(counts, key=lambda value: (-counts[value], value))
        found[column] = {}
        for value in ordered:
            chosen = values.rows_of(value)
            part = rows.only(chosen)
            found[column][value] = {
                name: estimate_all(metrics, part, of_all.only(chosen), f"{name}/{column}/{value}", DRAWS)
                for name, of_all in outcomes.items()
            }
    return found
