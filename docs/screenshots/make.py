"""Take the screenshots of docs/reports.md again: python docs/screenshots/make.py [RUN..]

Without RUN from made-up runs, whose rows are nonsense on purpose: no picture shows a row of a real data set. With RUN
the leaderboard of these runs and the first screen of the first one's report, which show aggregates only. Needs
Chromium with its driver and selenium.
"""

import html
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from rich.console import Console

from harness.reports.exports import summary_of
from harness.reports.leaderboard_site import write_leaderboard
from harness.reports.run_page import write_report
from harness.reports.terminal_table import print_summary
from harness.runs.run_log import RunLog
from tests.reports.browser import chromium, eventually, open_rows
from tests.support.synthetic_run import synthetic_run

LOST = """
for (const [id, value] of [["x-show", "lost"], ["x-diff", "1"]]) {
  const box = document.getElementById(id);
  box.value = value;
  box.dispatchEvent(new Event("change"));
}
document.documentElement.style.scrollBehavior = "auto";
document.getElementById("rows").scrollIntoView();
"""


def terminal(log: RunLog, page: Path) -> None:
    """The final table as an 80-column terminal shows it."""
    out = io.StringIO()
    print_summary(summary_of(log), Console(file=out, width=80))
    style = "margin:16px;background:#14171b;color:#e7eaee;font:14px/1.35 'DejaVu Sans Mono',monospace"
    text = html.escape(out.getvalue())
    page.write_text(
        f'<meta charset="utf-8"><body style="{style}"><pre style="margin:0;font:inherit">{text}</pre>', "utf-8"
    )


def shoot(page: Path, name: str, *, dark: bool = False, size: str = "1280,1500", rows: bool = False) -> None:
    """One page as `name`.png beside this file."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        chromium(Path(scratch), size=size, dark=dark) as driver,
    ):
        (open_rows(driver, page) if rows else driver.get(page.as_uri()))
        if rows:
            driver.execute_script(LOST)
        eventually(lambda: ready(driver))
        driver.save_screenshot(str(Path(__file__).parent / f"{name}.png"))


def of_made_up_rows(folder: Path) -> None:
    """All pictures but the leaderboard."""
    log = synthetic_run(folder / "run", 500)
    report = write_report(log, folder / "report.html")
    terminal(log, folder / "terminal.html")
    shoot(report, "report")
    shoot(report, "report-dark", dark=True)
    shoot(report, "rows", rows=True, size="1280,950")
    shoot(folder / "terminal.html", "terminal", size="720,1120")


def main(runs: list[str]) -> None:
    """Write the PNG files beside this one."""
    with tempfile.TemporaryDirectory() as scratch:
        if runs:
            site = write_leaderboard([RunLog.open(Path(run)) for run in runs], Path(scratch), redact=True).paths
            shoot(site[0], "leaderboard", size="1480,1480")
            page = write_report(RunLog.open(Path(runs[0])), Path(scratch) / "verdict.html", redact=True)
            shoot(page, "verdict", size="1100,650")
        else:
            of_made_up_rows(Path(scratch))


def ready(driver: Any) -> bool:
    """Whether the page is laid out."""
    return bool(driver.execute_script("return document.readyState === 'complete'"))


if __name__ == "__main__":
    main(sys.argv[1:])
