"""The main job as two functions: `run` makes a run directory and fills it, `resume` finishes one."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from harness.backend import RunContext
from harness.data.contamination import Findings
from harness.errors import ExitCode, InterruptedRunError
from harness.execution.budget import Budget
from harness.execution.event_loop import run_coroutine
from harness.execution.executor import Observer, run_backends
from harness.execution.preflight import check_servers, find_overlaps, refuse_contaminated
from harness.execution.run_plan import RunOptions, RunPlan, make_backends, plan_resume, plan_run, resumed_tables
from harness.gating.early_stopping import KIND as EARLY_STOP
from harness.prompting.prompt_variants import Probe, Questions
from harness.records import BackendIdentity
from harness.results import Summary
from harness.runs.object_storage import is_url, local_folder
from harness.runs.run_log import RunLog, write_likeness
from harness.runs.storage_mirror import Mirror
from harness.scoring.embedding_similarity import check_open, measure, why_not
from harness.settings import Settings, load_settings
from harness.summary.verdict_settings import named_backends, verdict_terms
from harness.workspace import Workspace

MAX_ERROR_RATE = 0.01
"""Above this share of infrastructure errors a run counts as incomplete."""


def run(
    task: str,
    backends: Sequence[str],
    *,
    data: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    base: str | None = None,
    repeats: int = 1,
    probe_rows: int = 0,
    batch: bool = False,
    executor: str | None = None,
    workers: int | None = None,
    shots: int = 0,
    prompt: str | None = None,
    probe: Probe | None = None,
    fail_on_contamination: bool = False,
    early_stop: str | None = None,
    embedding: str | None = None,
    incumbent: str | None = None,
    candidate: str | None = None,
    out: Path | str | None = None,
    settings: Settings | None = None,
    workspace: Workspace | None = None,
    max_cost: float | None = None,
    use_cache: bool = True,
    observer: Observer | None = None,
) -> RunLog:
    """Ask every backend the same prompts and return the run, its summary written.

    task: a name or ./file.py:Class. data: a path, "embedded", or None for the Hub. limit: rows, a seeded sample.
    base: replaces the model of local backends. max_cost: USD that this run may incur, never passed.
    executor: "process" or "ray" for all local backends; workers: so many Ray workers hold each model.
    shots: so many solved training rows stand before every question. prompt: a file with another prompt. probe:
    "blank" or "shuffle" asks without the rows' own texts, to find leaks.
    fail_on_contamination: refuse rows that also stand in a candidate's training rows. early_stop: a baseline, a
    run, or one of the backends; asking ends once `[gate]`'s question about the headline metric is answered.
    out: a folder, or a URL of object storage: the run is then written in the workspace and copied there.
    embedding: a model (folder or Hub id) by which open answers are compared with their references.
    incumbent, candidate: the backends that the verdict is about (default: `[verdict]`, else by what they are).

    Raises UsageError before anything is sent, IncompleteRunError where the disk is full, InterruptedRunError
    after Ctrl-C; the run directory can then be given to `resume`.
    """
    place = workspace or Workspace.current()
    options = RunOptions(
        task=task,
        backends=tuple(backends),
        data=data,
        limit=limit,
        seed=seed,
        base=base,
        repeats=repeats,
        probe_rows=probe_rows,
        batch=batch,
        executor=executor,
        workers=workers,
        questions=Questions(shots=shots, prompt=prompt, probe=probe),
        fail_on_contamination=fail_on_contamination,
    )
    heard = observer or Observer()
    budget = Budget(ceiling=max_cost)
    settings = settings or load_settings()
    context = RunContext(
        workspace=place,
        budget=budget,
        use_cache=use_cache,
        progress=heard.out_of_sight,
        remark=heard.remark,
        task=task,
        config=settings.path,
    )
    contenders = named_backends(settings, options.backends, incumbent, candidate)
    mirror = None
    if out is not None and is_url(str(out)):
        folder = local_folder(place.root, str(out))
        mirror = Mirror.begin(str(out), folder)
        out = folder
    planned = plan_run(options, settings, context, Path(out) if out else None, check_servers)
    plan = _with_embedding(planned, embedding, heard)
    terms = verdict_terms(settings, plan.task.metrics, contenders)
    plan = plan._replace(manifest=msgspec.structs.replace(plan.manifest, verdict=terms))
    if early_stop is not None:
        from harness.gating.early_stop_setup import early_stop_terms  # loads scipy, as `summarise` does below

        asked = early_stop_terms(plan.task.metrics, early_stop, settings, backends, place)
        plan = plan._replace(manifest=msgspec.structs.replace(plan.manifest, early_stop=asked))
    return _carry_out(plan, plan.manifest.backend_settings, context, heard, mirror)


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
    """Finish a run: ask what has no answer, pay for nothing twice, write the summary anew.

    Everything comes from the manifest but secrets, limits and `max_cost` (which counts earlier sessions).
    embedding: as in `run`; answers that are there already can be compared by it later, or by another.
    Raises as `run`, and UsageError where the task, a model or an adapter has changed since.
    """
    heard = observer or Observer()
    plan = _with_embedding(plan_resume(path), embedding, heard)
    log = RunLog.open(path)
    context = RunContext(
        workspace=workspace or Workspace.current(),
        budget=Budget(ceiling=max_cost, spent=sum(_booked(log, name) for name in plan.manifest.backend_settings)),
        use_cache=use_cache,
        resuming=True,
        task=plan.manifest.task_spec,
        progress=heard.out_of_sight,
        remark=heard.remark,
    )
    tables = resumed_tables(plan.manifest, settings or load_settings())
    return _carry_out(plan, tables, context, heard, Mirror.of_run(path))


def _booked(log: RunLog, backend: str) -> float:
    """USD that earlier sessions count against `max_cost`: what was paid, and what may have been billed unanswered."""
    return log.incurred(backend) + sum(s.counters.get("maybe_billed_usd", 0.0) for s in log.sessions(backend))


def _carry_out(
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
        findings = find_overlaps(plan, identities, context.workspace)
        if early is not None:
            for sentence in early.ask_all(name for name, seen in findings.overlaps.items() if seen.rows):
                observer.remark(sentence)
        if plan.clean_only:
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
        write_likeness(log.path, measure(log, plan.manifest.embedding, observer.working))
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
    """The plan with its embedding model; what is missing for it is said before anything is asked, and stops nothing."""
    model = model or plan.manifest.embedding
    if model is None:
        return plan
    check_open(plan.task)
    missing = why_not(model)
    if missing:
        observer.remark(f"embedding will not be computed: {missing}")
    named = str(Path(model).resolve()) if Path(model).exists() else model
    return plan._replace(manifest=msgspec.structs.replace(plan.manifest, embedding=named))


def exit_code(summary: Summary) -> ExitCode:
    """INCOMPLETE where rows are missing, but for an early stop, or more than MAX_ERROR_RATE ended in an error."""
    for result in summary.backends.values():
        on_purpose = (result.stopped or {}).get("kind") == EARLY_STOP
        if (result.missing and not on_purpose) or sum(result.errors.values()) > MAX_ERROR_RATE * result.asked:
            return ExitCode.INCOMPLETE
    return ExitCode.DONE
