"""The verbs as Python functions: run, resume, train, compare, gate, report, and `load_run`.

Each takes the options of the verb of the same name, under the same names and with the same defaults, and returns an
object instead of printing. `from harness import run, ...` is the way to import them.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.api_arguments import (
    backends_of,
    observer_of,
    pass_objects,
    run_path,
    settings_of,
    task_spec,
    workspace_of,
)
from harness.runs.run_handle import Run

if TYPE_CHECKING:
    from harness.backend import Backend
    from harness.confidence import ConfidenceSource
    from harness.confidence_results import CascadeResult
    from harness.gating.compare_runs import RunComparison
    from harness.gating.gate_result import GateResult
    from harness.settings import Settings
    from harness.task import Task
    from harness.workspace import Workspace

_log = logging.getLogger("harness")


def run(
    task: "str | Task | type[Task]",
    backends: "str | Sequence[str] | Mapping[str, Mapping[str, Any] | type[Backend]]",
    *,
    data: Path | str | None = None,
    test_share: float | None = None,
    limit: int | None = None,
    seed: int = 0,
    adapter: Path | str | None = None,
    trained_on: Path | str | None = None,
    base: str | None = None,
    repeats: int = 1,
    latency_probe: int = 0,
    max_cost: float | None = None,
    use_cache: bool = True,
    batch: bool = False,
    executor: Literal["process", "ray"] | None = None,
    workers: int | None = None,
    shots: int = 0,
    prompt: Path | str | None = None,
    probe: Literal["blank", "shuffle"] | None = None,
    fail_on_contamination: bool = False,
    embedding: str | None = None,
    early_stop: str | None = None,
    incumbent: str | None = None,
    candidate: str | None = None,
    out: Path | str | None = None,
    config: "Path | str | Settings | None" = None,
    workspace: "Path | str | Workspace | None" = None,
    progress: bool | None = None,
) -> Run:
    """Ask every backend the same prompts and return the run, its summary written.

    task: a name, `./file.toml` or `./file.py:Class`; or a task itself, a class or an object.
    backends: names from bench.toml or built-in ones: a sequence, or text with commas as on the command line. Or a
    mapping from names to tables like those of bench.toml (laid over a table of the same name), or to backend classes.
    data: a file, a folder or "embedded"; None: the task's data set on the Hub.
    test_share: of one file without splits, the share of rows that are evaluated; the split is kept in the workspace.
    limit: rows at most, a seeded sample of which every smaller one is a part; None: all.
    seed: of the sample of rows and of the few-shot examples.
    adapter: the adapter of the local backend that has one: an id or a folder, also a PEFT folder trained elsewhere.
    trained_on: a file with the rows that this adapter was trained on, where Bench did not train it.
    base: replaces the model of every local backend.
    repeats: how often each row is asked; a row's value is the mean over its repeats.
    latency_probe: rows that each backend is first asked one at a time, to measure latency.
    max_cost: USD that the run may incur; it stops before more is spent.
    use_cache: whether answers may come from the answer cache and go there.
    batch: paid backends use their provider's batch API.
    executor: where local models run: "process" or "ray"; None: as bench.toml says.
    workers: Ray workers that hold each local model.
    shots: solved training rows shown before each question.
    prompt: a file with another prompt, a Jinja template.
    probe: "blank" or "shuffle": ask without the rows' own texts, or with those of other rows, to find leaks.
    fail_on_contamination: refuse rows that a candidate was trained on.
    embedding: a model (a folder or a Hub id) that compares open answers with their references.
    early_stop: a baseline, a run or one of the backends: asking ends once the gate's question against it is answered.
    incumbent: the backend that would be replaced; None: as `[verdict]` says, else the API.
    candidate: the backend that would replace it; None: as `[verdict]` says, else the tuned or local one.
    out: the run directory, or a URL of object storage; None: a new folder in the workspace.
    config: a settings file; None: the nearest bench.toml upwards from the current folder.
    workspace: the folder of runs, adapters and the cache; None: `BENCH_HOME`, else `./.bench`.
    progress: show progress (on standard error, in a notebook below the cell); None: on a terminal and in a notebook.
    Without it, remarks go to the logger "harness" as warnings.

    A run that lacks answers is returned like any other: see `Run.complete`.

    Raises UsageError before anything is sent, IncompleteRunError where the disk is full, and InterruptedRunError after
    Ctrl-C; the run directory can then be given to `resume`.
    """
    from harness import runner

    names, settings = backends_of(backends, config)
    with observer_of(progress) as observer:
        log = runner.run(
            task_spec(task),
            names,
            data=None if data is None else str(data),
            test_share=test_share,
            limit=limit,
            seed=seed,
            adapter=None if adapter is None else str(adapter),
            trained_on=None if trained_on is None else str(trained_on),
            base=base,
            repeats=repeats,
            probe_rows=latency_probe,
            batch=batch,
            executor=executor,
            workers=workers,
            shots=shots,
            prompt=None if prompt is None else str(prompt),
            probe=probe,
            fail_on_contamination=fail_on_contamination,
            early_stop=early_stop,
            embedding=embedding,
            incumbent=incumbent,
            candidate=candidate,
            out=out,
            settings=settings,
            workspace=workspace_of(workspace),
            max_cost=max_cost,
            use_cache=use_cache,
            observer=observer,
        )
    return Run(log)


def resume(
    run: Run | Path | str,
    *,
    task: "Task | type[Task] | None" = None,
    backends: "Mapping[str, type[Backend]] | None" = None,
    max_cost: float | None = None,
    use_cache: bool = True,
    embedding: str | None = None,
    config: "Path | str | Settings | None" = None,
    workspace: "Path | str | Workspace | None" = None,
    progress: bool | None = None,
) -> Run:
    """Finish a run: ask what has no answer yet, pay for nothing twice, and write the summary.

    run: a run, or what `load_run` takes. Everything comes from its manifest except secrets, limits and the options.
    task, backends: the task and the backend classes that `run` was given as objects which no other program can import,
    as in a notebook that was restarted; None where they are found by their names.
    max_cost: USD that the run may incur, counting its earlier sessions.
    use_cache, config, workspace, progress: as in `run`.
    embedding: as in `run`; answers that exist already can be compared with their references later.

    Raises as `run`, and UsageError where the task, a model or an adapter has changed since.
    """
    from harness import runner

    place = workspace_of(workspace)
    path = run_path(run, place)
    if task is not None or backends:
        pass_objects(path, task, backends or {})
    with observer_of(progress) as observer:
        log = runner.resume(
            path,
            settings=settings_of(config),
            workspace=place,
            max_cost=max_cost,
            use_cache=use_cache,
            embedding=embedding,
            observer=observer,
        )
    return Run(log)


def compare(
    a: Run | Path | str,
    b: Run | Path | str,
    *,
    candidate: str | None = None,
    reference: str | None = None,
    out: Path | str | None = None,
    redact: bool = False,
    workspace: "Path | str | Workspace | None" = None,
) -> "RunComparison":
    """Compare two runs on the rows that both asked in the same words, with intervals and paired tests.

    a, b: runs, or what `load_run` takes.
    candidate: the backend of `a`; None: every one that bears the same name in both.
    reference: the backend of `b` that it is compared with.
    out: write the comparison there as an HTML page as well.
    redact: leave rows and answers out of that page.
    workspace: as in `run`.

    Raises NotComparableError for another task, parser or metric version and where no row is common, IncompleteRunError
    for a run that has not ended, and UsageError for unknown runs and backends.
    """
    from harness.gating.compare_runs import compare_two_runs
    from harness.gating.evaluate import GateSource

    place = workspace_of(workspace)
    left, right = load_run(a, workspace=place).log, load_run(b, workspace=place).log
    found = compare_two_runs(GateSource.of_run(left), GateSource.of_run(right), candidate, reference)
    if out is not None:
        from harness.reports.compare_page import write_compare

        write_compare(found, left, right, Path(out), redact=redact)
    return found


def gate(
    run: Run | Path | str,
    *,
    baseline: Path | str | None = None,
    candidate: str | None = None,
    reference: str | None = None,
    margin: Mapping[str, float] | None = None,
    at_most: Mapping[str, float] | None = None,
    at_least: Mapping[str, float] | None = None,
    ratio: Mapping[str, float] | None = None,
    on_inconclusive: Literal["warn", "block"] | None = None,
    latency_runs: Sequence[Run | Path | str] = (),
    out: Path | str | None = None,
    config: "Path | str | Settings | None" = None,
    workspace: "Path | str | Workspace | None" = None,
) -> "GateResult":
    """Decide whether a candidate may ship, and write `gate.json`.

    run: the run that is judged, or what `load_run` takes.
    baseline: a baseline file (`bench baseline accept`) or another run.
    candidate: the backend of `run` that is judged; None: every one that bears the same name in the baseline.
    reference: the backend that it is compared with; without `baseline`, one of the same run.
    margin: the largest loss that may go unnoticed, by figure: `{"accuracy": 0.02}`.
    at_most, at_least: limits of the upper and the lower 95 % bound, by figure.
    ratio: candidate / reference, for `cost_per_1000`, `latency_p50` and `latency_p95`.
    on_inconclusive: what `exit_code` is then: 0 for "warn", 5 for "block"; None: as `[gate]` says, else "warn".
    latency_runs: five or more runs that probe both sides, for latency ratios.
    out: where `gate.json` is written; None: into the run directory.
    config, workspace: as in `run`.

    The result's `passed` and `verdict` say how it went: a candidate that fails raises nothing. Raises UsageError for
    wrong settings, names or files, IncompleteRunError for a run that has not ended, and NotComparableError where there
    is no baseline or no common backend.
    """
    from harness.files import write_json
    from harness.gating.gate_sources import gate_run

    place, settings = workspace_of(workspace), settings_of(config)
    terms = {"margin": margin, "at_most": at_most, "at_least": at_least, "ratio": ratio}
    flags: dict[str, dict[str, float]] = {}
    for term, values in terms.items():
        for figure, value in (values or {}).items():
            flags.setdefault(figure, {})[term] = value
    path = run_path(run, place)
    result = gate_run(
        path,
        workspace=place,
        table=settings.gate,
        where=f"{settings.path} [gate]" if settings.path else "[gate]",
        baseline=None if baseline is None else str(baseline),
        candidate=candidate,
        reference=reference,
        flags=flags,
        on_inconclusive=on_inconclusive,
        latency_runs=[run_path(one, place) for one in latency_runs],
    )
    write_json(path / "gate.json" if out is None else Path(out), result)
    return result


def cascade(
    run: Run | Path | str,
    stages: Sequence[str],
    *,
    max_loss: float | None = None,
    max_cost_per_1000: float | None = None,
    volume: int | None = None,
    confidence: "ConfidenceSource | None" = None,
    prices: Mapping[str, float] | None = None,
    person_accuracy: float | None = None,
    person_price: float | None = None,
    out: Path | str | None = None,
    workspace: "Path | str | Workspace | None" = None,
) -> "CascadeResult":
    """Combine backends of a run: each answers where it is sure enough, the next one elsewhere. Asks nothing.

    run: a run, or what `load_run` takes.
    stages: names of its backends in the order in which they are asked.
    max_loss: the most that may be lost to the last of them, in points of 100 (of metrics that are no shares in their
    own units); None: the margin of the run's verdict.
    max_cost_per_1000: instead, the most that 1,000 answers may cost, USD.
    volume: requests a month, for `saved_usd_month`.
    confidence: the source of the confidence; None: the first that is known.
    prices: USD of 1,000 answers by stage, instead of what the run knows.
    person_accuracy: adds people as the last stage, who are right so often.
    person_price: USD of one of their answers.
    out: write a page (`.html`) or the chart (`.svg`, `.png`) there as well.
    workspace: as in `run`.

    The result is kept in the run directory, where a backend with `threshold = "from RUN"` finds it; `certified` says
    whether the aim is shown to be kept. Raises UsageError for unknown names, stages without confidence or prices, and
    IncompleteRunError for a run that has not ended.
    """
    from harness.summary.cascade_of_run import cascade_of_run, cascade_terms

    opened = load_run(run, workspace=workspace)
    terms = cascade_terms(
        opened.summary,
        stages,
        max_loss=max_loss,
        max_cost_per_1000=max_cost_per_1000,
        volume=volume,
        confidence=confidence,
        prices=prices,
        person_accuracy=person_accuracy,
        person_price=person_price,
    )
    question, result = cascade_of_run(opened.log, opened.summary, terms)
    if out is not None:
        from harness.reports.cascade_page import write_cascade

        write_cascade(opened.log, question, result, Path(out))
    return result


def report(
    run: Run | Path | str,
    out: Path | str | None = None,
    *,
    redact: bool = False,
    workspace: "Path | str | Workspace | None" = None,
) -> Path:
    """Write the report of a run and return its path.

    run: a run, or what `load_run` takes.
    out: the file; its suffix decides what is written: `.html` (a page), `.json`, `.csv` or `.md` (figures). None:
    `report.html` in the run directory, `report-redacted.html` with `redact`.
    redact: leave out all rows and answers, for sharing.
    workspace: as in `run`.

    Raises UsageError for an unknown run or suffix, and IncompleteRunError for a run that has not ended.
    """
    from harness.files import write_whole
    from harness.reports.exports import export, summary_of
    from harness.reports.run_page import write_report

    log = load_run(run, workspace=workspace).log
    summary = summary_of(log)
    target = Path(out) if out is not None else log.path / ("report-redacted.html" if redact else "report.html")
    if target.suffix.lower() in (".html", ".htm"):
        write_report(log, target, redact=redact)
    else:
        write_whole(target, export(summary, target.suffix).encode())
    return target


def load_run(run: Run | Path | str = "last", *, workspace: "Path | str | Workspace | None" = None) -> Run:
    """Open a run.

    run: a run directory, an id or short id, "last" for the newest of the workspace, or a URL of object storage, from
    where it is fetched; a `Run` is returned as it is.
    workspace: as in `run`.

    Raises UsageError where there is no such run, or its manifest is not readable or of a newer schema.
    """
    if isinstance(run, Run):
        return run
    from harness.runs.run_log import RunLog

    return Run(RunLog.open(run_path(run, workspace_of(workspace))))
