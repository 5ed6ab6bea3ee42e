"""A long run against a faulty server: memory and descriptors must stay flat.

    python -m benchmarks.abuse.soak --minutes 60

A loopback server answers a paced run; of its answers 10 % are faults: errors, cut and reset connections, stalls. Every
ten seconds the process's resident memory and open descriptors are read from /proc; compared are the medians
of the second and the last quarter of the run.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from harness.runs.run_log import RunLog
from tests.support.openai_server import OpenAIServer, ServerConfig

FAULTS = {"500": 0.03, "overload": 0.02, "cut": 0.02, "reset": 0.02, "stall": 0.01}
EVERY_S = 10.0


class Reading(NamedTuple):
    """One look at the process: seconds since its start, resident bytes, open descriptors."""

    at_s: float
    resident: int
    descriptors: int


def look(pid: int, begun: float) -> Reading | None:
    """Memory and descriptors of a living process, from /proc."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return Reading(time.monotonic() - begun, pages * 4096, len(list(Path(f"/proc/{pid}/fd").iterdir())))
    except (OSError, IndexError):
        return None


def prepare(folder: Path, rows: int, url: str, rpm: float) -> None:
    """Rows and settings of the run."""
    with (folder / "rows.jsonl").open("w") as file:
        for n in range(rows):
            file.write(
                json.dumps({"text": f"Dispatch {n}: the council met about item {n * 7919 % rows}", "label": n % 4})
            )
            file.write("\n")
    (folder / "bench.toml").write_text(
        f'[backends.api]\nkind = "openai"\nmodel = "m"\nbase_url = "{url}"\nconcurrency = 50\nrpm = {rpm:.0f}\n'
        "timeout_s = 3\n"
    )


def watch(folder: Path) -> tuple[list[Reading], int]:
    """Run `bench run`, reading it every ten seconds; its readings and exit code."""
    asked = [
        "run",
        "--task",
        "agnews",
        "--data",
        "rows.jsonl",
        "--backends",
        "api",
        "--out",
        "run",
        "--no-cache",
        "--quiet",
    ]
    command = [sys.executable, "-c", "from harness.cli.main import main; main()", *asked]
    begun = time.monotonic()
    readings = []
    with (
        (folder / "said").open("wb") as said,
        subprocess.Popen(command, cwd=folder, stdout=said, stderr=said) as process,
    ):
        while process.poll() is None:
            reading = look(process.pid, begun)
            if reading is not None:
                readings.append(reading)
            try:
                process.wait(EVERY_S)
            except subprocess.TimeoutExpired:
                continue
    return readings, process.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=15.0, help="requests a second")
    args = parser.parse_args()
    rows = int(args.minutes * 60 * args.rate)
    with (
        tempfile.TemporaryDirectory() as name,
        OpenAIServer(ServerConfig(delay_s=0.05, faults=FAULTS, stall_s=10)) as server,
    ):
        folder = Path(name)
        prepare(folder, rows, server.url, args.rate * 60)
        readings, code = watch(folder)
        stats = server.stats()
        lines = sum(1 for _ in (folder / "run" / "api.jsonl").open("rb"))
        summary = RunLog.open(folder / "run").summary()
    quarter = len(readings) // 4
    parts = {"second quarter": readings[quarter : 2 * quarter], "last quarter": readings[3 * quarter :]}
    print(
        f"{rows} rows in {readings[-1].at_s / 60:.1f} minutes, exit code {code}; "
        f"the server saw {stats.requests} requests"
    )
    print(f"faults given: {stats.by_fault}; lines written: {lines}; summary: {'there' if summary else 'missing'}")
    for title, part in parts.items():
        memory = statistics.median(r.resident for r in part) / 1e6
        print(f"{title}: {memory:.1f} MB resident, {statistics.median(r.descriptors for r in part):.0f} descriptors")


if __name__ == "__main__":
    main()
