"""Take the pictures of docs/reports.md anew, from made-up runs: python docs/screenshots/make.py

Needs Chromium with its driver and selenium. The rows are nonsense on purpose: no picture shows a real data set.
"""

import html
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from rich.console import Console

from harness.reports.board import write_leaderboard
from harness.reports.finished import summary_of
from harness.reports.page import write_report
from harness.reports.table import print_summary
from harness.runlog import RunLog
from tests.reports.browser import chromium, eventually, open_rows
from tests.support.synthetic_run import MAKERS, synthetic_run

LOST = """
for (const [id, value] of [["x-show", "lost"], ["x-diff", "1"]]) {
  const box = document.getElementById(id);
  box.value = value;
  box.dispatchEvent(new Event("change"));
}
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


def main() -> None:
    """Write the PNG files beside this one."""
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        log = synthetic_run(folder / "run", 500)
        report = write_report(log, folder / "report.html")
        terminal(log, folder / "terminal.html")
        makers = {name: maker for name, maker in MAKERS.items() if name != "gpt35"}
        older = [synthetic_run(folder / f"older-{seed}", 300, seed=seed, makers=makers) for seed in (1, 2)]
        site = write_leaderboard([*older, log], folder / "site", redact=True)[0]

        def shoot(name: str, page: Path, *, dark: bool = False, size: str = "1280,1500", rows: bool = False) -> None:
            with chromium(folder / f"profile-{name}", size=size, dark=dark) as driver:
                (open_rows(driver, page) if rows else driver.get(page.as_uri()))
                if rows:
                    driver.execute_script(LOST)
                eventually(lambda: ready(driver))
                driver.save_screenshot(str(here / f"{name}.png"))

        shoot("report", report)
        shoot("report-dark", report, dark=True)
        shoot("rows", report, rows=True, size="1280,950")
        shoot("leaderboard", site, size="1480,1000")
        shoot("terminal", folder / "terminal.html", size="720,900")


def ready(driver: Any) -> bool:
    """Whether the page is laid out."""
    return bool(driver.execute_script("return document.readyState === 'complete'"))


if __name__ == "__main__":
    main()
