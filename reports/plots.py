"""`--plots DIR`: every picture of a run as a file, for papers and slides."""

from pathlib import Path

from harness.runlog import RunLog
from harness.summary.stored_verdict import by_rank

from .answers_chart import confusion
from .drawing import save
from .finished import summary_of
from .page import charts


def write_plots(log: RunLog, folder: Path) -> list[Path]:
    """Write each picture as SVG and PNG and say where; confusion matrices are pictures here, tables on the page."""
    summary = summary_of(log)
    drawn = [*charts(log, summary), *(c for n in by_rank(summary) if (c := confusion(summary, n)) is not None)]
    return [path for chart in drawn for path in save(chart, folder)]
