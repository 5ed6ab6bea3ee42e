"""How long `bench` takes to start, to report 1,000 rows, and to ask 50 rows of a server that answers at once.

    python benchmarks/startup.py [--rounds 10]

Each round times all of them one after the other, so that load on the machine falls on all alike; medians are shown,
and the processor time of each as a multiple of that of `python -c pass` of the same interpreter. A first round, which
does not count, compiles modules, as pip does when it installs a package. Goals: `bench --help` 2.5 times that, the
report and the run 1.0 s of processor time each.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

START = "from bench_harness import main; main()"
ROWS = 50


def timed(arguments: list[str], cwd: Path) -> tuple[float, float]:
    """Seconds by the clock and of the processor, for one process."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(cwd / "compiled")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", *arguments], cwd=cwd, env=env, check=True, capture_output=True)
    clock = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def prepare(folder: Path, url: str) -> None:
    """A run of 1,000 rows to report, 50 rows to ask, and the settings that name the server."""
    from tests.support.synthetic_run import synthetic_run

    root = Path(__file__).parents[1]
    (folder / "bench_harness.py").write_text((root / "bench_harness.py").read_text())
    synthetic_run(folder / "run", 1000)
    rows = (root / "tasks" / "data" / "news" / "test.jsonl").read_text("utf-8").splitlines(keepends=True)
    (folder / "rows.jsonl").write_text("".join(rows[:ROWS]), "utf-8")
    (folder / "bench.toml").write_text(f'[backends.fast]\nkind = "openai"\nmodel = "m"\nbase_url = "{url}"\n')


def main() -> None:
    """Print a table."""
    from tests.support.openai_server import OpenAIServer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    run = [START, "run", "--task", "agnews", "--data", "rows.jsonl", "--backends", "fast", "--no-cache", "--out"]
    numbers = itertools.count()
    with tempfile.TemporaryDirectory() as scratch, OpenAIServer() as server:
        folder = Path(scratch)
        prepare(folder, server.url)
        commands = {
            "python -c pass": ["pass"],
            "bench --help": [START, "--help"],
            "bench run --help": [START, "run", "--help"],
            "bench list tasks": [START, "list", "tasks"],
            "bench report, 1,000 rows": [START, "report", "run", "--quiet"],
            f"bench run, {ROWS} rows at a server": run,
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for counts in [False, *[True] * rounds]:
            for name, arguments in commands.items():
                out = [f"out-{next(numbers)}"] if arguments is run else []
                measured = timed([*arguments, *out], folder)
                if counts:
                    times[name].append(measured)
        backends = len(json.loads((folder / "run" / "summary.json").read_text())["backends"])
    print(f"medians of {rounds}; the report holds {backends} backends\n")
    print("| command | clock | processor | x `python -c pass` |\n| --- | --- | --- | --- |")
    bare = statistics.median(cpu for _, cpu in times["python -c pass"])
    for name, of_command in times.items():
        clock, cpu = (statistics.median(column) for column in zip(*of_command, strict=True))
        print(f"| `{name}` | {clock:.3f} s | {cpu:.3f} s | {cpu / bare:.1f} |")


if __name__ == "__main__":
    main()
