"""What a cascade of the backends of a real run is worth against each of them at equal cost.

`python -m benchmarks.real.cascade RUN --stages a,b,c`: a third of the rows chooses, for each stage, the thresholds
of the most accurate cascade that costs no more than that stage; the other rows compare the two by the gate's paired
rule. A second comparison is the same cost spent without confidence: as many rows go up, at random.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.reports.exports import summary_of
from harness.runs.run_log import RunLog
from harness.summary.cascade_analysis import cascade_rows
from harness.summary.cascade_curve import (
    Array,
    CascadeRows,
    evaluate_grid,
    grid_levels,
    route,
    routed_prices,
    routed_values,
    split_rows,
)
from harness.summary.cascade_of_run import CascadeTerms, question_of_run
from harness.summary.comparison import compare_means
from harness.summary.outcomes import Outcomes, RowValues

SEED = 1


def outcomes(values: Array) -> Outcomes:
    """Row values as one side of a comparison."""
    kept = RowValues()
    kept.keep("accuracy", values)
    return Outcomes("head", kept, np.zeros((len(values), 1), dtype=np.int64))


def compared(data: CascadeRows, a: Array, b: Array) -> str:
    """The paired difference a - b in points, with its two-sided 95 % interval."""
    found = compare_means(data.metric, data.rows, outcomes(a), outcomes(b), ("cascade", "alone"), 0.95)
    assert found is not None
    return f"{100 * found.gain:+.2f} [{100 * found.low:.2f}, {100 * found.high:.2f}] points, p {found.p:.2g}"


def best_within(learning: CascadeRows, usd: float) -> tuple[float, ...] | None:
    """Thresholds of the most accurate cascade on the learning rows whose mean cost is at most `usd`."""
    grid = evaluate_grid(learning.stages, grid_levels(learning.stages))
    assert grid.cost is not None, "every stage needs a price"
    value = np.where(grid.cost <= usd, grid.value, -np.inf).ravel()
    return grid.thresholds(int(value.argmax())) if np.isfinite(value).any() else None


def costs(data: CascadeRows, answering: np.ndarray) -> Array:
    """USD of each answer."""
    found = routed_prices(data.stages, answering)
    assert found is not None
    return found


def against(data: CascadeRows, names: Sequence[str]) -> None:
    """Print the comparison with every stage alone, and with rows that go up at random."""
    learning_rows, testing_rows = split_rows(data.rows)
    learning, testing = data.only(learning_rows), data.only(testing_rows)
    print(f"{len(learning_rows)} rows choose, {len(testing_rows)} compare; stages {' > '.join(names)}")
    rng = np.random.default_rng(SEED)
    for stage in testing.stages:
        assert stage.prices is not None
        alone = float(stage.prices.mean())
        print(f"{stage.name} alone: accuracy {100 * stage.values.mean():.2f} %, ${1000 * alone:.4f} per 1,000")
        thresholds = best_within(learning, alone)
        if thresholds is None:
            print("  no cascade is as cheap")
            continue
        answering = route(testing.stages, thresholds)
        values, usd = routed_values(testing.stages, answering), costs(testing, answering)
        shares = np.bincount(answering, minlength=len(names)) / len(answering)
        print(
            f"  cascade at {', '.join(f'{t:.3f}' for t in thresholds)}: accuracy {100 * values.mean():.2f} %, "
            f"${1000 * usd.mean():.4f}, answers {', '.join(f'{100 * s:.1f} %' for s in shares)}"
        )
        print(f"  cascade - {stage.name}: {compared(testing, values, stage.values)}")
        at_random = routed_values(testing.stages, rng.permutation(answering))
        print(f"  cascade - the same shares at random: {compared(testing, values, at_random)}")


def main() -> None:
    """Read the run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--stages", required=True)
    args = parser.parse_args()
    log, names = RunLog.open(args.run), args.stages.split(",")
    question = question_of_run(log, summary_of(log), CascadeTerms(stages=tuple(names)))
    against(cascade_rows(question)[1], names)


if __name__ == "__main__":
    main()
