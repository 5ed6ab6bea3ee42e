"""How long `bench report` takes, how much memory, and how large the page is, for 1,000 to 100,000 rows x 4 backends.

    python benchmarks/report.py [ROWS ...]

Each report is written by a fresh `bench report` process; the run directory and its summary are made before and
not counted. With Chromium and its driver installed (and `pip install selenium`), the page is also opened: first
contentful paint, time until the row explorer answers, and the slowest of several filters and searches (a search
without the 60 ms for which the box waits whether more is typed).
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.reports.browser import CHROMIUM, DRIVER, chromium, eventually
from tests.support.synthetic_run import synthetic_run

FILTERS = """
const set = (id, value) => {
  const box = document.getElementById(id);
  box.value = value;
  const start = performance.now();
  box.dispatchEvent(new Event("change"));
  const taken = performance.now() - start;
  return taken;
};
const took = {};
for (const show of ["wrong", "format", "disagree", "differ", "lost", "all"]) took[show] = set("x-show", show);
return took;
"""
SEARCH = """
const done = arguments[arguments.length - 1];
const box = document.getElementById("x-search");
const status = document.getElementById("x-status");
const words = ["goalkeeper", "chip", "no such word", "sports"];
const took = {};
const next = () => {
  const word = words.shift();
  if (word === undefined) return done(took);
  const start = performance.now();
  new MutationObserver((_, seen) => { seen.disconnect(); took[word] = performance.now() - start - 60; next(); })
    .observe(status, { childList: true });
  box.value = word;
  box.dispatchEvent(new Event("input"));
};
next();
"""


def write(run: Path, page: Path) -> tuple[float, float, float]:
    """Of a whole `bench report` process: seconds by the clock and of processor time, and peak memory in MB."""
    code = "from harness.cli.main import main; main()"
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, "report", str(run), "--out", str(page), "--quiet"])
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, "bench report failed"
    assert isinstance(usage, resource.struct_rusage)
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def browse(page: Path, folder: Path) -> str:
    """Milliseconds to first paint, to a usable explorer, of the slowest filter and the slowest search."""
    with chromium(folder) as driver:
        driver.get(page.as_uri())
        ask = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        paint = eventually(lambda: driver.execute_script(ask))
        start = time.perf_counter()
        driver.execute_script("location.hash = '#rows'")
        eventually(lambda: driver.execute_script("return document.documentElement.dataset.rows === 'ready'"), 60)
        ready = time.perf_counter() - start
        filters = driver.execute_script(FILTERS)
        search = driver.execute_async_script(SEARCH)
    slowest = max(filters, key=filters.get), max(search, key=search.get)
    return (
        f"first paint {paint:.0f} ms, explorer {ready:.2f} s, slowest filter {filters[slowest[0]]:.0f} ms "
        f"({slowest[0]}), slowest search {search[slowest[1]]:.0f} ms ({json.dumps(slowest[1])})"
    )


def main(sizes: list[int]) -> None:
    """Measure and print a line per size."""
    for rows in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            synthetic_run(folder / "run", rows, varied=True)
            seconds, cpu, peak = write(folder / "run", folder / "page.html")
            size = (folder / "page.html").stat().st_size / 1e6
            text = (folder / "page.html").read_text("utf-8")
            left = re.search(r"the texts of ([\d,]+) of", text)
            note = f", texts of {left.group(1)} rows left out" if left else ""
            print(
                f"{rows:,} rows x 4: {seconds:.2f} s (processor {cpu:.2f} s), {peak:.0f} MB, page {size:.1f} MB{note}",
                flush=True,
            )
            if CHROMIUM and DRIVER:
                print(f"    {browse(folder / 'page.html', folder / 'profile')}", flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1_000, 10_000, 100_000])
