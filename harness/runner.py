"""The main job as two functions: `run` makes a run directory and fills it, `resume` finishes one."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import msgspec

from harness.backend import RunContext, capabilities_of
from harness.data.contamination import Findings
from harness.errors import ExitCode, InterruptedRunError, UnreachableError, UsageError
from harness.execution.backend_setup import existing_path, make_backends, resumed_tables
from harness.execution.event_loop import run_coroutine
from harness.execution.executor import Observer, run_backends
from harness.execution.preflight import check_servers, find_overlaps, refuse_contaminated
from harness.execution.run_plan import RunPlan, plan_resume, plan_run
from harness.money.prices import Budget
from harness.records import BackendIdentity
from harness.results import Summary
from harness.run_options import RunKeywords, RunOptions
from harness.runs.object_storage import is_url, local_folder
from harness.runs.run_log import EARLY_STOP, RunLog, write_embedding_scores
from harness.runs.storage_mirror import Mirror
from harness.settings import Settings, load_settings
from harness.summary.verdict_settings import named_backends, verdict_terms
from harness.workspace import Workspace

MAX_ERROR_RATE = 0.01
"""Above this share of infrastructure errors a run counts as incomplete."""


def run(
    task: str,
    backends: Sequence[str],
    *,
    settings: Settings | None = None,
    workspace: Workspace | None = None,
    observer: Observer | None = None,
    **options: Unpack[RunKeywords],
) -> RunLog:
    """Ask every backend the same prompts and return the run, its summary written.

    task: a name or ./file.py:Class. settings: instead of the nearest bench.toml. workspace: instead of BENCH_HOME.
    options: the fields of `harness.run_options.RunOptions`, which are those of `bench run`: `data`, `limit`, `seed`,
    `repeats`, `max_cost`, `out`, ..

    Raises UsageError before anything is sent, IncompleteRunError where the disk is full, InterruptedRunError
    after Ctrl-C; the run directory can then be given to `resume`.
    """
    asked = RunOptions.of(task, backends, options)
    settings, observer = settings or load_settings(), observer or Observer()
    context = RunContext(
        workspace=workspace or Workspace.current(),
        budget=Budget(ceiling=asked.max_cost),
        use_cache=asked.use_cache,
        progress=observer.batch_progress,
        remark=observer.remark,
        status=observer.status,
        task=asked.task,
        config=settings.path,
    )
    asked = _with_split(asked, context.workspace, observer)
    named = named_backends(settings, asked.backends, asked.incumbent, asked.candidate)
    mirror = None
    out = Path(asked.out) if asked.out else None
    if asked.out is not None and is_url(asked.out):
        out = local_folder(context.workspace.root, asked.out)
        mirror = Mirror.begin(asked.out, out)
    plan = plan_run(asked, settings, context, out, check_servers)
    metrics = plan.task.metrics
    changes: dict[str, Any] = {"verdict": verdict_terms(settings, metrics, named)}
    if asked.early_stop is not None:
        from harness.gating.early_stop_setup import early_stop_terms  # loads scipy, as `summarise` does below

        changes["early_stop"] = early_stop_terms(metrics, asked.early_stop, settings, asked.backends, context.workspace)
    plan = plan._replace(manifest=msgspec.structs.replace(plan.manifest, **changes))
    plan = _with_embedding(plan, asked.embedding, observer)
    return _execute(plan, plan.manifest.backend_settings, context, observer, mirror)


def _with_split(asked: RunOptions, workspace: Workspace, observer: Observer) -> RunOptions:
    """The options with the stored split of their one file as their data, where they want one."""
    if asked.test_share is None:
        return asked
    folder = split_once(asked.data, asked.test_share, workspace)
    observer.remark(f"{asked.data} is split at random: training and test rows are in {folder}.")
    return msgspec.structs.replace(asked, data=str(folder), test_share=None)


def split_once(data: str | None, share: float, workspace: Workspace) -> Path:
    """The folder in which one file's split is kept (`--test-share`). Raises UsageError for a share that is none, and
    for data that is no file. Training and evaluation take the same one, whatever their seeds."""
    from harness.data.splitting import stored_split

    if not 0 < share < 1:
        raise UsageError(f"--test-share is a share of the rows above 0 and below 1, as in 0.2, not {share:g}.")
    if data is None:
        raise UsageError("--test-share splits one file: name it with --data FILE.")
    return stored_split(data, share, 0, workspace.root)


def resume(
    path: Path,
    *,
    settings: Settings | None = None,
    workspace: Workspace | None = None,
    max_cost: float | None = None,
    use_cache: bool = True,
    embedding: str | None = None,
    observer: Observer | None = None,
) -> RunLog:
    """Finish a run: ask what has no answer, pay for nothing twice, rewrite the summary.

    Everything comes from the manifest but secrets, limits and `max_cost` (which counts earlier sessions).
    embedding: as in `run`; answers that are there already can be compared by it later, or by another.
    Raises as `run`, and UsageError where the task, a model or an adapter has changed since.
    """
    observer = observer or Observer()
    plan = _with_embedding(plan_resume(path), embedding, observer)
    log = RunLog.open(path)
    context = RunContext(
        workspace=workspace or Workspace.current(),
        budget=Budget(ceiling=max_cost, spent=sum(_booked(log, name) for name in plan.manifest.backend_settings)),
        use_cache=use_cache,
        resuming=True,
        task=plan.manifest.task_spec,
        progress=observer.batch_progress,
        remark=observer.remark,
        status=observer.status,
    )
    tables = resumed_tables(plan.manifest, settings or load_settings())
    try:
        return _execute(plan, tables, context, observer, Mirror.of_run(path))
    except UnreachableError as error:
        raise UnreachableError(f"{error} A resumed run asks the address that it began with.") from None


def _booked(log: RunLog, backend: str) -> float:
    """USD that earlier sessions count against `max_cost`: what was paid, and what may have been billed unanswered."""
    return log.incurred(backend) + sum(s.counters.get("maybe_billed_usd", 0.0) for s in log.sessions(backend))


def _execute(
    plan: RunPlan, tables: dict[str, dict[str, Any]], context: RunContext, observer: Observer, mirror: Mirror | None
) -> RunLog:
    with mirror.during(observer.remark) if mirror is not None else nullcontext():
        return _ask_and_summarise(plan, tables, context, observer)


def _ask_and_summarise(
    plan: RunPlan, tables: dict[str, dict[str, Any]], context: RunContext, observer: Observer
) -> RunLog:
    backends = make_backends(tables, plan.task.name, context)
    probing = replace(context, probing=True, use_cache=False)
    probers = make_backends(tables, plan.task.name, probing) if plan.manifest.probe_rows else {}

    def inspect(identities: dict[str, BackendIdentity]) -> Findings:
        if early is not None:
            early.decodes({name: identity.decode for name, identity in identities.items()})
        recordings = {name for name, backend in backends.items() if capabilities_of(type(backend)).answers_by_row}
        findings = find_overlaps(plan, identities, recordings, context.workspace)
        if early is not None:
            for sentence in early.ask_all(name for name, seen in findings.overlaps.items() if seen.rows):
                observer.remark(sentence)
        if plan.manifest.options.get("fail_on_contamination"):
            refuse_contaminated(findings, len(plan.rows))
        return findings

    early = None
    if plan.manifest.early_stop is not None:
        from harness.gating.early_stop_setup import watch_of

        early = watch_of(plan.manifest, plan.rows, plan.task.metrics, context.workspace)
    try:
        log = run_coroutine(run_backends(plan, backends, probers, observer, inspect, early))
    except KeyboardInterrupt:
        if not (plan.path / "manifest.json").is_file():
            raise InterruptedRunError("interrupted before anything was asked; nothing was written.") from None
        raise InterruptedRunError(
            f"interrupted; what was answered is kept: continue with `bench run --resume {plan.path}`."
        ) from None
    if plan.manifest.embedding is not None:
        from harness.execution.embedding_similarity import compute_similarity  # loads what local models need

        write_embedding_scores(log.path, compute_similarity(log, plan.manifest.embedding, observer.status))
    from harness.summary.summarise import summarise

    log.write_summary(summarise(log, plan.task.metrics))
    _compact(log, observer)
    return log


def _compact(log: RunLog, observer: Observer) -> None:
    """The lines of a long run are kept as Parquet from now on; where that fails they are kept as they are."""
    for name in log.manifest.backends:
        try:
            log.compact(name)
        except OSError as error:
            observer.remark(f"{name}: its log stays as JSON lines ({error.strerror or error}).")


def _with_embedding(plan: RunPlan, model: str | None, observer: Observer) -> RunPlan:
    """The plan with its embedding model; anything missing for it is reported before the run, and stops nothing."""
    model = model or plan.manifest.embedding
    if model is None:
        return plan
    from harness.execution.embedding_similarity import require_open_answers, unavailable_reason

    require_open_answers(plan.task)
    missing = unavailable_reason(model)
    if missing:
        observer.remark(f"embedding will not be computed: {missing}")
    return plan._replace(manifest=msgspec.structs.replace(plan.manifest, embedding=existing_path(model)))


def exit_code(summary: Summary) -> ExitCode:
    """INCOMPLETE where rows are missing, but for an early stop, or more than MAX_ERROR_RATE ended in an error."""
    for result in summary.backends.values():
        on_purpose = (result.stopped or {}).get("kind") == EARLY_STOP
        if (result.missing and not on_purpose) or sum(result.errors.values()) > MAX_ERROR_RATE * result.asked:
            return ExitCode.INCOMPLETE
    return ExitCode.DONE
