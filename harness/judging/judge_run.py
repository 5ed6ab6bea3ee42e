"""`bench judge`: an evaluation of a run's answers, in which one backend compares those of the others."""

from collections import Counter
from itertools import chain

from harness.backend import RunContext
from harness.data.contamination import Findings
from harness.data.sampling import order_version
from harness.errors import InterruptedRunError, UsageError, did_you_mean
from harness.execution.backend_setup import make_backends
from harness.execution.event_loop import run_coroutine
from harness.execution.executor import Observer, run_backends
from harness.execution.run_plan import RunPlan, plan_auxiliary_run
from harness.files import write_json
from harness.hashing import digest
from harness.judging.answer_pairs import (
    AnswerPair,
    Judgement,
    JudgeTask,
    append_judgements,
    judgement,
    pairs_of,
    read_judgements,
    samples_of,
)
from harness.judging.pairwise_preference import Verdicts, agreement, consistency, first_wins, pair_verdicts
from harness.money.prices import Budget
from harness.records import Completion, Key, LogLine, Row
from harness.results import CostResult
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.task_loading import build_request
from harness.workspace import Workspace

VERDICTS = "verdicts.json"
REFERENCE = "reference"


def judge_run(
    log: RunLog,
    judge: str,
    settings: Settings,
    *,
    between: tuple[str, ...] = (),
    limit: int | None = None,
    max_cost: float | None = None,
    workspace: Workspace | None = None,
    observer: Observer | None = None,
) -> Verdicts:
    """Let `judge` compare the answers of a run, and note its verdicts beside them.

    between: the candidates compared (default: all); "reference" among them stands for the data's own answers.
    limit: at most so many rows, the first of the run's seeded order. The judge's own requests and answers are in
    RUN/judge/.. as an ordinary run: a second call asks only what is missing. Raises UsageError where there is nothing
    to compare or the judge is not ready.
    """
    names = _candidates(log, between)
    rows = list(log.rows())[:limit]
    if len(rows) < log.manifest.rows and order_version(log.manifest.data) == 1:
        (observer or Observer()).remark(
            f"{log.path} was drawn by version 1 of the row order: its first rows hold references of few rows in "
            "another share than all rows do; judge all of them, or run it again."
        )
    pairs = pairs_of(rows, {name: _answers_of(log, name, rows) for name in names}, names)
    if not pairs:
        raise UsageError(f"{log.path}: no row was answered by two of {', '.join(names)}: there is nothing to compare.")
    plan = _plan(log, judge, settings, rows, pairs)
    context = RunContext(
        workspace=workspace or Workspace.current(),
        budget=Budget(ceiling=max_cost, spent=plan.log.incurred(judge) if plan.log else 0.0),
        resuming=plan.log is not None,
    )
    answers = _ask(plan, judge, context, observer or Observer()) if plan.rows else None
    judgements = _read(judge, pairs, answers)
    known = {digest(one) for one in read_judgements(log.path)}
    append_judgements(log.path, [one for one in judgements if digest(one) not in known])
    verdicts = _verdicts(log, judge, str(settings.backend(judge).get("model", "")), pairs, judgements, answers)
    write_json(plan.path / VERDICTS, verdicts)
    return verdicts


def _candidates(log: RunLog, between: tuple[str, ...]) -> tuple[str, ...]:
    known = tuple(log.manifest.backends)
    for name in between:
        if name not in (*known, REFERENCE):
            raise UsageError(f"{log.path} has no backend '{name}'{did_you_mean(name, known)}.")
    names = tuple(dict.fromkeys(between or known))
    if len(names) < 2:
        raise UsageError(f"{log.path}: comparing takes two candidates, and there is only {', '.join(names)}.")
    return names


def _answers_of(log: RunLog, name: str, rows: list[Row]) -> dict[Key, LogLine]:
    if name != REFERENCE or name in log.manifest.backends:
        return log.lines(name)
    own = (row for row in rows if row.sample.reference)
    return {
        Key(row.n, 0): LogLine.of(row.n, Completion(id=row.sample.id, text=row.sample.reference), None) for row in own
    }


def _plan(log: RunLog, judge: str, settings: Settings, rows: list[Row], pairs: list[AnswerPair]) -> RunPlan:
    """The judge's rows, two a pair, as a run of its own; the same pairs find the same run again."""
    task = JudgeTask()
    by_n = {row.n: row for row in rows}
    samples = list(chain.from_iterable(samples_of(pair, by_n[pair.n]) for pair in pairs if not pair.same))
    asked = [Row(n=n, sample=s, request=build_request(task, s)) for n, s in enumerate(samples)]
    tables = {judge: settings.backend(judge)}
    return plan_auxiliary_run(task, asked, log.path / "judge", judge, tables, f"answers of {log.manifest.id}")


def _ask(plan: RunPlan, judge: str, context: RunContext, observer: Observer) -> RunLog:
    backends = make_backends(plan.manifest.backend_settings, plan.task.name, context)
    try:
        return run_coroutine(run_backends(plan, backends, {}, observer, lambda identities: Findings()))
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted; the verdicts so far are kept: the same `bench judge {plan.path.parents[1]} --judge {judge}` "
            "continues."
        ) from None


def _read(judge: str, pairs: list[AnswerPair], log: RunLog | None) -> list[Judgement]:
    lines = log.lines(judge) if log is not None else {}
    found, at = [], 0
    for pair in pairs:
        answers: list[str | None] = [None, None]
        if not pair.same:
            for order in (0, 1):
                line = lines.get(Key(at + order, 0))
                answers[order] = line.score.answer if line is not None and line.score is not None else None
            at += 2
        found.append(judgement(pair, (answers[0], answers[1]), judge))
    return found


def _verdicts(
    log: RunLog, judge: str, model: str, pairs: list[AnswerPair], judgements: list[Judgement], answers: RunLog | None
) -> Verdicts:
    lines = list(answers.lines(judge).values()) if answers is not None else []
    listed = [line.cost.list for line in lines if line.error is None]
    kinds = Counter(line.score.format for line in lines if line.score is not None and line.score.format is not None)
    people = [one for one in read_judgements(log.path) if one.kind == "person"]
    identity = answers.manifest.backends.get(judge) if answers is not None else None
    return Verdicts(
        run=log.manifest.id,
        judge=judge,
        model=identity.model if identity is not None else model,
        pairs=pair_verdicts(pairs, judgements),
        asked=2 * sum(not pair.same for pair in pairs),
        answered=sum(line.error is None for line in lines),
        errors=sum(line.error is not None for line in lines),
        format_errors=dict(kinds.most_common()),
        consistent=consistency(judgements),
        first_wins=first_wins(judgements),
        with_people=agreement(judgements, people),
        cost=CostResult(
            list=None if None in listed else sum(c for c in listed if c is not None),
            incurred=answers.incurred(judge) if answers is not None else 0.0,
        ),
    )
