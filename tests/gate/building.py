"""Run directories with answers that a test chooses, written through the one class that writes them."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from harness.data.sampling import fingerprint
from harness.gating.baseline_file import make_baseline, write_baseline
from harness.gating.gate_result import CheckResult, GateResult
from harness.gating.gate_sources import gate_run
from harness.hashing import digest
from harness.metrics import CLASSIFICATION, Metric
from harness.records import (
    BackendIdentity,
    Completion,
    Cost,
    Failure,
    InputSpan,
    Message,
    Request,
    Sample,
    Score,
    Timing,
    Usage,
    number_repeats,
)
from harness.runs.run_log import Manifest, RunLog, Session
from harness.scoring.label_parsing import score_label
from harness.summary.summarise import summarise
from harness.workspace import Workspace

LABELS = ("World", "Sports", "Business")
Answer = str | Failure | None
"""Text as it came back, an infrastructure error, or None: never sent."""


def sample(k: int, labels: tuple[str, ...] = LABELS, group: str | None = None, column: str | None = None) -> Sample:
    """The k-th row; classes take turns."""
    columns = {} if column is None else {"source": column}
    return Sample.of({"text": f"item {k}"}, labels[k % len(labels)], "test", group=group, columns=columns)


def request_of(row: Sample, labels: tuple[str, ...] = LABELS, prompt: str = "Which topic? ") -> Request:
    """What is asked about a row."""
    text = row.inputs["text"]
    return Request(
        id=row.id,
        messages=(Message(role="user", content=prompt + text),),
        passages=(InputSpan(message=0, start=len(prompt), end=len(prompt) + len(text)),),
        labels=labels,
    )


def right_but(
    *wrong: int, error: tuple[int, ...] = (), missing: tuple[int, ...] = (), garbled: tuple[int, ...] = ()
) -> Callable[[int, Sample, int], Answer]:
    """Answers every row rightly except those named."""

    def answer(k: int, row: Sample, repeat: int) -> Answer:
        if k in missing:
            return None
        if k in error:
            return Failure(kind="timeout", message="no answer in 60 s")
        if k in garbled:
            return "I would rather not say"
        if k in wrong:
            return LABELS[(LABELS.index(row.reference) + 1) % len(LABELS)]
        return row.reference

    return answer


def make_run(
    folder: Path,
    answers: dict[str, Callable[[int, Sample, int], Answer]],
    rows: int | list[Sample] = 60,
    *,
    repeats: int = 1,
    parser: str = "1",
    metrics: tuple[Metric, ...] = CLASSIFICATION,
    prompt: str = "Which topic? ",
    seed: int = 0,
    identities: dict[str, BackendIdentity] | None = None,
    completion: Callable[[str, int, Completion], Completion] | None = None,
    changes: dict[str, Any] | None = None,
    score: Callable[[int, Completion, Sample], Score] | None = None,
) -> RunLog:
    """A run directory; `completion` may alter each completion (cost, cache, time), `changes` the manifest."""
    samples = list(number_repeats(rows if isinstance(rows, list) else [sample(k) for k in range(rows)]))
    requests = [request_of(s, prompt=prompt) for s in samples]
    identities = identities or {}
    manifest = Manifest(
        id=folder.name,
        task="topics",
        task_spec="topics",
        parser=parser,
        metric_versions={m.name: m.version for m in metrics},
        labels=LABELS,
        created="2026-01-05T10:00:00+00:00",
        rows=len(samples),
        seed=seed,
        repeats=repeats,
        data={"source": "made up", "split": "test", "fingerprint": fingerprint(samples), "label": ""},
        request_hash=digest([r.hash() for r in requests]),
        backends={
            name: identities.get(name, BackendIdentity(kind="replay", model=f"{name}-1", decode="generate"))
            for name in answers
        },
    )
    log = RunLog.create(
        folder, msgspec.structs.replace(manifest, **(changes or {})), zip(samples, requests, strict=True)
    )
    for name, answer in answers.items():
        _answer(log, name, samples, answer, completion, score)
    return log


def finished(log: RunLog) -> RunLog:
    """The run with its summary."""
    log.write_summary(summarise(log, CLASSIFICATION))
    return log


def _answer(
    log: RunLog,
    name: str,
    samples: list[Sample],
    answer: Callable[[int, Sample, int], Answer],
    change: Callable[[str, int, Completion], Completion] | None,
    judge: Callable[[int, Completion, Sample], Score] | None,
) -> None:
    written = 0
    with log.writer(name) as writer:
        for k, row in enumerate(samples):
            for repeat in range(log.manifest.repeats):
                given = answer(k, row, repeat)
                if given is None:
                    continue
                done = Completion(
                    id=row.id,
                    repeat=repeat,
                    text=given if isinstance(given, str) else "",
                    finish="stop" if isinstance(given, str) else None,
                    error=given if isinstance(given, Failure) else None,
                    usage=Usage(prompt_tokens=20, completion_tokens=2),
                    timing=Timing(service_s=0.1 + k / 1000, queue_s=0.01),
                    cost=Cost(list=0.001, incurred=0.001),
                )
                done = change(name, k, done) if change else done
                verdict = judge(k, done, row) if judge else score_label(done, row.reference, LABELS)
                writer.append(k, done, None if done.error else verdict)
                written += 1
    log.note_session(name, Session(started="2026-01-05T10:00:00+00:00", wall_s=2.0, rows=written))


ROWS = 1500
ONE_IN_TEN = tuple(range(0, ROWS, 10))


def judged(tmp_path: Path, run: RunLog, baseline: str | Path | None = None, **options: Any) -> GateResult:
    """The gate as the command calls it."""
    table = options.pop("table", {"accuracy": {"margin": 0.02}})
    return gate_run(
        run.path,
        workspace=Workspace(tmp_path),
        table=table,
        baseline=None if baseline is None else str(baseline),
        **options,
    )


@functools.cache
def _baseline(rows: int) -> bytes:
    """Made once for all tests: it is always the same run."""
    with tempfile.TemporaryDirectory() as folder:
        reference = finished(make_run(Path(folder) / "reference", {"a": right_but(*range(0, rows, 10))}, rows))
        write_baseline(Path(folder) / "main.json", make_baseline(reference))
        return (Path(folder) / "main.json").read_bytes()


def runs(
    tmp_path: Path, candidate: Callable[[int, Sample, int], Any], rows: int = ROWS, **options: Any
) -> tuple[RunLog, Path]:
    """A candidate run and the baseline of one that is wrong on every tenth row."""
    (tmp_path / "main.json").write_bytes(_baseline(rows))
    return finished(make_run(tmp_path / "candidate", {"a": candidate}, rows, **options)), tmp_path / "main.json"


def only(result: GateResult, metric: str = "accuracy") -> CheckResult:
    (check,) = [c for c in result.checks if c.metric == metric]
    return check


def shifted(extra: int = 0) -> tuple[int, ...]:
    """Wrong on as many rows as the baseline, partly on others, and on `extra` more."""
    return tuple(range(0, ROWS // 2, 10)) + tuple(range(ROWS // 2 + 5, ROWS, 10)) + tuple(range(1, 10 * extra, 10))
