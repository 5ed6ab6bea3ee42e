"""What --early-stop saves: rows asked until the answer is known, against a fixed number planned for 80 % power.

    python benchmarks/early_stop.py            # about a minute on one core

Simulated candidates with a margin of 2 points; the pool ends at 4,000 rows, so a run without a decision by then
has asked them all. `--rows-from RUN --candidate A --reference B` replays a real run's rows in fresh orders instead.
"""

import argparse
from pathlib import Path

import numpy as np

from harness.runs.run_log import RunLog
from harness.statistics.confidence_sequence import SequentialUnits, decide
from harness.statistics.power_analysis import rows_for_margin

MARGIN = 0.02
POOL = 4000


def simulate(differences: np.ndarray) -> tuple[str, int]:
    """Decision ("pass", "fail" or "none") and the rows asked for it."""
    rows = SequentialUnits(differences.astype(float), np.ones(len(differences)), -1.0, 1.0)
    found = decide(rows, -MARGIN, 0.0)
    return ("none", len(differences)) if found is None else (found.decision, found.units)


def line(name: str, found: list[tuple[str, int]], fixed: int | None) -> str:
    """One line of the table."""
    rows = np.array([n for _, n in found])
    shares = " ".join(f"{100 * np.mean([d == kind for d, _ in found]):6.1f} %" for kind in ("pass", "fail", "none"))
    planned = "never" if fixed is None else str(fixed)
    low, median, high = np.percentile(rows, [10, 50, 90])
    return f"{name:34} {shares}   {median:6.0f} ({low:.0f}-{high:.0f})   {planned:>6}"


def simulated(runs: int) -> None:
    """Candidates whose true difference and discordance are known."""
    rng = np.random.default_rng(0)
    for discordant in (0.03, 0.06, 0.10):
        for true in (-0.06, -0.02, -0.01, 0.0, 0.01, 0.02):
            if abs(true) > discordant:
                continue
            p = [(discordant - true) / 2, 1 - discordant, (discordant + true) / 2]
            found = [simulate(rng.choice([-1, 0, 1], p=p, size=POOL)) for _ in range(runs)]
            fixed = rows_for_margin(MARGIN, discordant, max(0.0, -true)) if true > -MARGIN else None
            print(line(f"true {100 * true:+.0f} points, discordance {100 * discordant:.0f} %", found, fixed))


def replayed(path: Path, candidate: str, reference: str, runs: int) -> None:
    """A real run's own rows, drawn in new orders."""
    log = RunLog.open(path)
    sides = [{key.n: x.score.correct for key, x in log.lines(b).items() if x.score} for b in (candidate, reference)]
    common = sorted(sides[0].keys() & sides[1].keys())
    d = np.array([float(bool(sides[0][n])) - float(bool(sides[1][n])) for n in common])
    rng = np.random.default_rng(0)
    found = [simulate(rng.permutation(d)) for _ in range(runs)]
    fixed = rows_for_margin(MARGIN, float((d != 0).mean()), max(0.0, -float(d.mean())))
    print(f"{candidate} against {reference}: {len(d)} rows, difference {100 * d.mean():+.2f} points")
    print(line("redrawn orders", found, fixed))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rows-from", type=Path)
    parser.add_argument("--candidate")
    parser.add_argument("--reference")
    args = parser.parse_args()
    print(f"{'margin 2 points':34} {'pass':>8} {'fail':>8} {'none':>8}   {'rows: median (10-90 %)':>22}   fixed n")
    if args.rows_from:
        replayed(args.rows_from, args.candidate, args.reference, args.runs)
    else:
        simulated(args.runs)


if __name__ == "__main__":
    main()
