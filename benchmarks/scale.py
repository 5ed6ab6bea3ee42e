"""How Bench grows, with rows and with workers.

    python benchmarks/scale.py rows --rows 100000 1000000 5000000
    python benchmarks/scale.py workers --workers 1 2 4

`rows` asks synthetic rows of a recording and shows rows/s million by million, and peak memory; then, of each verb that
reads such a run (`report`, `compare` with itself, `baseline accept`, `gate` against that baseline), seconds and peak
memory of its process. `workers` (scale_workers.py) feeds Ray workers whose work is a sleep.

Rows, recording and run lie in --work (5,000,000 rows: about 8 GB), which is removed afterwards.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
import scale_workers

from harness.data.rows import DataSource
from harness.execution.executor import Observer
from harness.metrics import CLASSIFICATION
from harness.records import Completion, InputSpan, LogLine, Message, Request, Sample, Score
from harness.runner import run
from harness.scoring.label_parsing import score_label
from harness.settings import load_settings
from harness.workspace import Workspace

LABELS = ("World", "Sports", "Business", "Sci/Tech")
WRONG = 0.1


class MadeUp:
    """Rows of 90 characters in four classes; `--data` is how many. Nothing is kept."""

    name = "made-up"
    version = "1"
    labels = LABELS
    metrics = CLASSIFICATION
    recipe = "agnews-generate"

    def samples(self, source: DataSource) -> Iterable[Sample]:
        """The rows: the same for the same number."""
        rng = random.Random(1)
        for n in range(int(source.location or 0)):
            text = f"Item {n}: {rng.getrandbits(256):064x} and nothing more."
            yield Sample.of({"text": text}, LABELS[rng.randrange(4)], source.split)

    def request(self, sample: Sample) -> Request:
        """A short question."""
        text = sample.inputs["text"]
        return Request(
            id=sample.id,
            messages=(Message(role="user", content=f"{text}\nTopic:"),),
            passages=(InputSpan(message=0, start=0, end=len(text)),),
            labels=LABELS,
        )

    def score(self, sample: Sample, completion: Completion) -> Score:
        """Right when the answer is the label."""
        return score_label(completion, sample.reference, LABELS)

    def target(self, sample: Sample) -> str:
        """The label."""
        return sample.reference


def main() -> None:
    """Read the command line and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables = parser.add_subparsers(dest="table", required=True)
    rows = tables.add_parser("rows", help="rows/s and peak memory of runs of a recording")
    rows.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    rows.add_argument("--work", type=Path, help="where files lie meanwhile (default: a new folder of the system's own)")
    rows.set_defaults(measure=lambda args: print_rows(args.rows, args.work))
    workers = tables.add_parser("workers", help="efficiency of Ray workers whose work is a sleep")
    scale_workers.add_options(workers)
    workers.set_defaults(measure=scale_workers.print_workers)
    args = parser.parse_args()
    args.measure(args)


def print_rows(sizes: list[int], work: Path | None) -> None:
    """One line for each size."""
    for size in sizes:
        folder = Path(tempfile.mkdtemp(prefix="bench-scale-", dir=work))
        try:
            record(folder, size)
            print(json.dumps(measure(folder, size)), flush=True)
            for verb in READERS:
                print(json.dumps(measure_reader(folder, verb)), flush=True)
        finally:
            shutil.rmtree(folder)


def record(folder: Path, size: int) -> None:
    """A recording of every row, one answer in ten wrong, in the order of the rows."""
    rng = random.Random(2)
    with (folder / "recorded.jsonl").open("w") as file:
        for sample in MadeUp().samples(DataSource(location=str(size))):
            text = sample.reference if rng.random() >= WRONG else rng.choice(LABELS)
            file.write(json.dumps({"id": sample.id, "text": text}) + "\n")
    (folder / "bench.toml").write_text(
        f'[backends.recorded]\nkind = "replay"\npath = "{(folder / "recorded.jsonl").as_posix()}"\n'
    )


def measure(folder: Path, size: int) -> dict[str, object]:
    """Seconds before, while and after asking; rows/s of every tenth of the rows; peak memory of all processes, MB."""
    clock = Clock(max(size // 10, 1))
    started = time.perf_counter()
    with peak_memory() as peak:
        log = run(
            f"{Path(__file__).resolve()}:MadeUp",
            ["recorded"],
            data=str(size),
            out=folder / "run",
            settings=load_settings(folder / "bench.toml"),
            workspace=Workspace(folder / "home"),
            observer=Observer(started=clock.start, line=clock.count),
        )
    ended = time.perf_counter()
    summary = log.summary()
    assert summary is not None and summary.complete
    return {
        "rows": size,
        "planning_s": round(clock.times[0] - started, 1),
        "asking_s": round(clock.times[-1] - clock.times[0], 1),
        "summary_s": round(ended - clock.times[-1], 1),
        "rows_per_s_by_tenth": clock.rates(),
        "rows_per_s": round(size / (ended - started)),
        "peak_mb": round(peak() / 2**20),
        "accuracy": summary.backends["recorded"].metrics["accuracy"].value,
    }


READERS = (
    ("report", "run", "--out", "page.html", "--quiet"),
    ("compare", "run", "run"),
    ("baseline", "accept", "run", "--out", "main.json"),
    ("gate", "run", "--baseline", "main.json"),
)
"""Verbs that read a run, in the folder of which it is a part."""


def measure_reader(folder: Path, words: tuple[str, ...]) -> dict[str, object]:
    """Seconds of the processor and by the clock, and peak memory, MB, of one verb in a process of its own."""
    command = [sys.executable, "-c", "from harness.cli.main import main; main()", *words]
    started = time.perf_counter()
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"bench {' '.join(words)} failed:\n{(folder / 'said').read_text('utf-8', 'replace')[-2000:]}")
    return {
        "verb": " ".join(words[:2] if words[0] == "baseline" else words[:1]),
        "wall_s": round(time.perf_counter() - started, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
        "page_mb": round((folder / "page.html").stat().st_size / 1e6, 1) if words[0] == "report" else None,
    }


class Clock:
    """When every so many rows were done."""

    def __init__(self, each: int) -> None:
        self.each, self.done = each, 0
        self.times: list[float] = []

    def start(self, totals: dict[str, tuple[int, int]]) -> None:
        """Asking begins."""
        self.times.append(time.perf_counter())

    def count(self, backend: str, line: LogLine) -> None:
        """One more answer is on disk."""
        self.done += 1
        if self.done % self.each == 0:
            self.times.append(time.perf_counter())

    def rates(self) -> list[int]:
        """Rows/s between."""
        return [round(self.each / (b - a)) for a, b in zip(self.times, self.times[1:], strict=False)]


class peak_memory:  # noqa: N801 (a context manager, used as a word)
    """Watches the resident memory of this process and its children, ten times a second; yields the peak so far."""

    def __enter__(self) -> Callable[[], int]:
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return lambda: self._peak

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._over.wait(0.1):
            self._peak = max(self._peak, sum(_resident([me, *me.children(recursive=True)])))

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _resident(processes: list[psutil.Process]) -> Iterator[int]:
    for process in processes:
        try:
            yield process.memory_info().rss
        except psutil.NoSuchProcess:
            continue


if __name__ == "__main__":
    main()
