"""`kill -9` at random moments of run, batch, report and train: nothing lost, nothing paid twice, the same result.

    python -m benchmarks.abuse.kills --run 100 --batch 50 --report 38 --train 12

Every process is killed after a random share of the time that an undisturbed one takes (so start-up and the last
write are hit too), continued, and killed again; at the end the result is compared with the undisturbed one.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from safetensors.numpy import load_file

from harness.runs.run_log import RunLog
from tests.support.openai_server import OpenAIServer, ServerConfig

ROWS = 300
CONCURRENCY = 4
BATCH = "batch = true\npoll_s = 0.2"
AT_ONCE = 10
"""Kills of one piece of work before it is let finish."""
TINY = Path(__file__).parents[2] / "adapters" / "tiny"
BENCH = [sys.executable, "-c", "from harness.cli.main import main; main()"]


def bench(folder: Path, *args: str) -> "subprocess.Popen[bytes]":
    """A `bench` process in a folder, its words kept in a file."""
    said = (folder / "said").open("wb")
    return subprocess.Popen([*BENCH, *args], cwd=folder, stdout=said, stderr=said)


def finish(process: "subprocess.Popen[bytes]", folder: Path) -> float:
    """Let a process end; seconds it took. Exits with its words where it failed."""
    begun = time.monotonic()
    if process.wait(600):
        sys.exit(f"exit code {process.returncode} after a kill:\n{(folder / 'said').read_text()}")
    return time.monotonic() - begun


def kill_within(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """SIGKILL after so many seconds; whether the process was still there."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        return True
    return False


def prepare(folder: Path, url: str = "", *, batch: bool = False) -> None:
    """Rows for every job, and a backend where a server is at hand."""
    folder.mkdir(parents=True)
    for split, first in (("test", 0), ("train", ROWS)):
        numbers = range(first, first + ROWS)
        rows = [{"text": f"Report number {n} on the matter of {n * n}", "label": n % 4} for n in numbers]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    kind = f'kind = "openai"\nmodel = "m"\nbase_url = "{url}"\nconcurrency = {CONCURRENCY}\n'
    (folder / "bench.toml").write_text(f"[backends.api]\n{kind}{BATCH if batch else ''}\n")


def runs(count: int, chance: random.Random, *, batch: bool) -> tuple[int, int]:
    """Kills that fell, and rows asked twice, over runs (through the batch endpoint, if so) of ROWS rows each."""
    first = ("run", "--task", "agnews", "--data", ".", "--backends", "api", "--out", "run", "--no-cache", "--quiet")
    fallen = twice = 0
    config = ServerConfig(delay_s=0.01, batch_s=1.0)
    while fallen < count:
        with tempfile.TemporaryDirectory() as name, OpenAIServer(config) as server:
            folder = Path(name) / "work"
            prepare(folder, server.url, batch=batch)
            whole = finish(bench(folder, *first), folder)
            wanted = (folder / "run" / "summary.json").is_file()
            shutil.rmtree(folder / "run")
            server.reset(config)
            hits = 0
            for _ in range(AT_ONCE):
                begun = (folder / "run" / "manifest.json").is_file()
                process = bench(folder, *(("run", "--resume", "run", "--quiet") if begun else first))
                hits += kill_within(process, chance.random() * whole)
                if not (folder / "run" / "manifest.json").is_file():
                    shutil.rmtree(folder / "run", ignore_errors=True)
            begun = (folder / "run" / "manifest.json").is_file()
            finish(bench(folder, *(("run", "--resume", "run", "--quiet") if begun else first)), folder)
            stats = server.stats()
            log = RunLog.open(folder / "run")
            positions = [json.loads(line)["n"] for line in (folder / "run" / "api.jsonl").open()]
            assert wanted and log.summary() is not None
            assert sorted(positions) == list(range(ROWS)), "a row is missing, or is in the log twice"
            again = stats.requests - ROWS
            if batch:
                assert stats.batches == 1, f"{stats.batches} batches were paid"
            else:
                assert 0 <= again <= hits * CONCURRENCY, f"{again} rows were asked again after {hits} kills"
                twice += again
            fallen += hits
    return fallen, twice


def reports(count: int, chance: random.Random) -> int:
    """Kills of `bench report`: the page is the old one or the new one, whole."""
    fallen = 0
    with tempfile.TemporaryDirectory() as name, OpenAIServer() as server:
        folder = Path(name) / "work"
        prepare(folder, server.url)
        ask = ("run", "--task", "agnews", "--data", ".", "--backends", "api", "--out", "run", "--no-cache", "--quiet")
        finish(bench(folder, *ask), folder)
        page = folder / "run" / "report.html"
        whole = finish(bench(folder, "report", "run", "--quiet"), folder)
        wanted = page.read_bytes()
        while fallen < count:
            fallen += kill_within(bench(folder, "report", "run", "--quiet"), chance.random() * whole)
            assert page.read_bytes().rstrip().endswith(b"</html>"), "half a page"
        finish(bench(folder, "report", "run", "--quiet"), folder)
        assert page.read_bytes() == wanted
    return fallen


def trainings(count: int, chance: random.Random) -> int:
    """Kills of `bench train`: the weights are those of an undisturbed training."""
    fallen = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "work"
        prepare(folder)
        asked = ("train", "--task", "agnews", "--data", ".", "--recipe", "tiny-agnews", "--quiet")
        asked += ("--base", str(TINY), "--set", "validation_rows=50", "--set", "evaluations=6")
        whole = finish(bench(folder, *asked, "--out", "whole"), folder)
        while fallen < count:
            fallen += kill_within(bench(folder, *asked, "--out", "torn"), (0.3 + 0.7 * chance.random()) * whole)
            if (folder / "torn").exists():
                same_weights(folder)
                shutil.rmtree(folder / "torn")
        finish(bench(folder, *asked, "--out", "torn"), folder)
        same_weights(folder)
    return fallen


def same_weights(folder: Path) -> None:
    """Asserts that both adapters of a folder are equal, bit for bit."""
    one, other = (load_file(folder / made / "adapter_model.safetensors") for made in ("whole", "torn"))
    assert one.keys() == other.keys()
    assert all((one[key] == other[key]).all() for key in one), "the weights differ"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for verb, kills in (("run", 100), ("batch", 50), ("report", 38), ("train", 12)):
        parser.add_argument(f"--{verb}", type=int, default=kills, help=f"kills of {verb} (default {kills})")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    jobs: dict[str, Callable[[], object]] = {
        "run": lambda: runs(args.run, chance, batch=False),
        "batch": lambda: runs(args.batch, chance, batch=True)[0],
        "report": lambda: reports(args.report, chance),
        "train": lambda: trainings(args.train, chance),
    }
    for name, job in jobs.items():
        if getattr(args, name):
            found = job()
            kills, twice = found if isinstance(found, tuple) else (found, 0)
            print(f"{name}: {kills} kills, nothing lost; rows asked again because in flight: {twice}", flush=True)


if __name__ == "__main__":
    main()
