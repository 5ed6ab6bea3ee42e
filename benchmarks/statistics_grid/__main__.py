"""The command line of the grid."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import harness

from . import binary, graded, groups, judging, labels, ordering, system
from .measure import Cell
from .stored_results import Result, write_page

PARTS: dict[str, Callable[[int, int], Iterator[Cell]]] = {
    "accuracy": binary.accuracy,
    "format_errors": binary.format_errors,
    "repeats": binary.repeats,
    "macro_f1": labels.macro_f1,
    "graded": graded.graded,
    "groups": groups.groups,
    "ordering": ordering.ordering,
    "judging": judging.judging,
    "latency_and_cost": system.latency_and_cost,
}
RUNS, QUICK_RUNS = 1000, 200
DRAWS = 1000
"""Draws of a bootstrap: its own Monte-Carlo error in a bound is then a twentieth of the bound's standard error."""


def commit() -> str:
    """The last commit of the Bench that is measured, with a mark where its files were changed since."""
    folder = Path(harness.__file__).parent
    found = [
        subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False).stdout.strip()
        for words in (("log", "-1", "--format=%h", "--", "."), ("status", "--porcelain", "--", "."))
    ]
    return found[0] + (" with changes" if found[1] else "")


def run_part(part: str, runs: int, draws: int = DRAWS) -> Result:
    """Simulate one part."""
    start = time.process_time()
    cells = tuple(PARTS[part](runs, draws))
    return Result(
        part=part,
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        runs=runs,
        draws=draws,
        seconds=round(time.process_time() - start, 1),
        cells=cells,
    )


def line(cell: Cell) -> str:
    """A cell in words."""
    share = f"{100 * cell.share:5.1f} %" if cell.runs else "    - "
    mark = "" if cell.kept else "  <-- outside"
    seen = "" if cell.displayed == 1 else f", displayed in {100 * cell.displayed:.0f} %"
    return f"{cell.quantity:10} {share}  ({cell.runs} runs{seen})  {cell.what}: {cell.shape}, {cell.size}{mark}"


def main() -> None:
    """Simulate, print and store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statistics_grid", description=__doc__)
    parser.add_argument("--part", action="append", choices=sorted(PARTS), help="simulate this part only (repeatable)")
    parser.add_argument("--runs", type=int, default=RUNS, help="simulations of a cheap cell; costly ones have fewer")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} simulations of a cheap cell")
    parser.add_argument("--out", type=Path, help="a folder for one JSON file a part")
    parser.add_argument(
        "--write-docs", action="store_true", help="only write the stored results into docs/statistics.md"
    )
    args = parser.parse_args()
    if args.write_docs:
        write_page()
        return
    failed = 0
    for part in args.part or PARTS:
        result = run_part(part, QUICK_RUNS if args.quick else args.runs)
        print(f"\n{part} ({result.commit}, {result.seconds:.0f} s)")
        for cell in result.cells:
            print(line(cell))
        outside = [cell for cell in result.cells if not cell.kept]
        failed += len(outside)
        print(f"{len(result.cells)} cells, {len(outside)} outside")
        if args.out:
            result.store(args.out)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
