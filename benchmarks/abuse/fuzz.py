"""Coverage-guided fuzzing (atheris) of what reads strangers' bytes: no input may raise what is not a sentence.

    pip install atheris
    python -m benchmarks.abuse.fuzz answers -runs=1000000 -max_len=4096

`python -m benchmarks.abuse.body_shapes` does the same for bodies, streams and errors of servers, without atheris.

Targets: answers (every reader of a model's answer), headers (rate limits), runlog (the lines of a run directory),
tasks (task files). What follows the target goes to libFuzzer; a crash leaves its input in the current folder.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

SHM = Path("/dev/shm")

with atheris.instrument_imports(include=["harness"]):
    from harness.backends.openai import rate_limiter
    from harness.data.rows import DataSource
    from harness.errors import BenchError
    from harness.records import Completion
    from harness.runs.run_log import RunLog
    from harness.task_file import FileTask
    from tests.tasks.test_hostile_answers import READERS

FINISHES = (None, "stop", "length", "content_filter")
HEADERS = (
    "retry-after",
    "retry-after-ms",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
)


def answers(data: bytes) -> None:
    """Every reader on one text: never raises, and lenient takes what strict takes."""
    provider = atheris.FuzzedDataProvider(data)
    finish = FINISHES[provider.ConsumeIntInRange(0, len(FINISHES) - 1)]
    completion = Completion(id="x", text=provider.ConsumeUnicode(len(data)), finish=finish)  # type: ignore[arg-type]
    for name, read in READERS.items():
        score = read(completion)
        if (score.format is None) != (score.answer is not None):
            raise AssertionError(f"{name}: {score}")


def headers(data: bytes) -> None:
    """Any headers: a number that makes sense, or nothing."""
    provider = atheris.FuzzedDataProvider(data)
    given = {name: provider.ConsumeUnicodeNoSurrogates(24) for name in HEADERS}
    wait = rate_limiter.retry_after(given)
    if wait is not None and not wait >= 0:
        raise AssertionError(f"{given}: wait {wait}")
    for unit in ("requests", "tokens"):
        told = rate_limiter.reported_limit(given, unit)
        if told is not None and not told.limit > 0:
            raise AssertionError(f"{given}: {told}")


class RunLines:
    """Any bytes as a backend's log of a real run directory."""

    def __init__(self, folder: Path) -> None:
        golden = Path(__file__).parents[2] / "tests" / "reports" / "golden" / "run"
        shutil.copytree(golden, folder / "run")
        self.path = folder / "run"
        self.log = RunLog.open(self.path)
        self.backend = next(iter(self.log.manifest.backends))

    def __call__(self, data: bytes) -> None:
        self.log.log_path(self.backend).write_bytes(data)
        try:
            self.log.lines(self.backend)
            self.log.incurred(self.backend)
        except BenchError:
            return


class TaskFiles:
    """Any bytes as a task file; a good one also makes its first request and reads an answer."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "task.toml"
        (folder / "rows.jsonl").write_text('{"text": "some words", "label": "a"}\n')

    def __call__(self, data: bytes) -> None:
        self.path.write_bytes(data)
        try:
            task = FileTask(self.path)
            sample = next(iter(task.samples(DataSource(split="test"))), None)
            if sample is not None:
                task.score(sample, Completion(id=task.request(sample).id, text="a", finish="stop"))
        except BenchError:
            return


SEED = b'prompt = "{{ text }}"\ndata = "rows.jsonl"\nreference = "label"\nlabels = ["a", "b"]\n'


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in ("answers", "headers", "runlog", "tasks"):
        sys.exit(__doc__)
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        target: Callable[[bytes], None]
        if name == "runlog":
            target = RunLines(Path(folder))
            (corpus / "whole").write_bytes(target.log.log_path(target.backend).read_bytes()[:4000])
        elif name == "tasks":
            target = TaskFiles(Path(folder))
            (corpus / "whole").write_bytes(SEED)
        else:
            target = {"answers": answers, "headers": headers}[name]
        atheris.Setup([*sys.argv, str(corpus)], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
