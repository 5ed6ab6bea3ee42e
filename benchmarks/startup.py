"""How long `bench` takes to start, and to write a report of 1,000 rows: python benchmarks/startup.py [--rounds 10]

Each round times all of them one after the other, so that load on the machine falls on all alike; medians are shown.
`bench --help` is held against `python -c pass` of the same interpreter: the goal is at most 8 times that.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

START = "from bench_harness import main; main()"


def timed(arguments: list[str], cwd: Path) -> tuple[float, float]:
    """Seconds by the clock and of the processor, for one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", *arguments], cwd=cwd, check=True, capture_output=True)
    clock = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a table."""
    from tests.support.synthetic_run import synthetic_run

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "bench_harness.py").write_text((Path(__file__).parents[1] / "bench_harness.py").read_text())
        synthetic_run(folder / "run", 1000)
        commands = {
            "python -c pass": ["pass"],
            "bench --help": [START, "--help"],
            "bench run --help": [START, "run", "--help"],
            "bench list tasks": [START, "list", "tasks"],
            "bench report, 1,000 rows": [START, "report", "run", "--quiet"],
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, arguments in commands.items():
                times[name].append(timed(arguments, folder))
        backends = len(json.loads((folder / "run" / "summary.json").read_text())["backends"])
    print(f"medians of {rounds}; the report holds {backends} backends\n")
    print("| command | clock | processor | x python -c pass |\n| --- | --- | --- | --- |")
    bare = statistics.median(clock for clock, _ in times["python -c pass"])
    for name, measured in times.items():
        clock, cpu = (statistics.median(column) for column in zip(*measured, strict=True))
        print(f"| `{name}` | {clock:.3f} s | {cpu:.3f} s | {clock / bare:.1f} |")


if __name__ == "__main__":
    main()
