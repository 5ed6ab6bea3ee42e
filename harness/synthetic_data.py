"""Rows from a teacher: any backend answers, the task's own rules decide which answers may be learned from.

A teacher gets the very requests that a run sends, so it never sees a right answer; where the data has one, an
answer that misses it is not taught. All requests are in OUT/teacher as ordinary runs: the same command
continues where it stopped.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from harness.backend import RunContext
from harness.data.contamination import Findings, Signatures, find_overlap
from harness.data.rows import DataSource
from harness.data.sampling import seeded_order
from harness.errors import IncompleteRunError, InterruptedRunError, UsageError
from harness.execution.auxiliary_run import plan_auxiliary_run
from harness.execution.backend_setup import make_backends
from harness.execution.event_loop import run_coroutine
from harness.execution.executor import Observer, run_backends
from harness.files import write_json, write_whole
from harness.hashing import digest
from harness.money.budget import Budget
from harness.records import BackendIdentity, Key, LogLine, Record, Row, Sample
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.task import Task
from harness.task_loading import build_request, load_rows
from harness.text_normalization import comparable_text
from harness.timestamps import utc_text
from harness.workspace import Workspace

ROUNDS = 3
"""How often a row is asked before it is dropped."""

TEMPERATURE = 0.7
TEST_SHARE = 0.1


@runtime_checkable
class Teachable(Task, Protocol):
    """A task whose rows a teacher can answer."""

    def taught_row(self, sample: Sample, answer: str) -> dict[str, Any]:
        """A row of the task's own data format, from a teacher's answer."""
        ...


class StarterTask(Task, Protocol):
    """Asks a teacher for inputs."""

    def questions(self, count: int, seed: int) -> list[Sample]:
        """Rows to ask, for `count` inputs."""
        ...

    def invented(self, answer: str) -> list[Sample]:
        """The inputs in an answer (`Score.answer`), as rows without a reference."""
        ...


@runtime_checkable
class InputGenerator(Protocol):
    """A task whose inputs a teacher can invent."""

    def starters(self, system: str) -> StarterTask:
        """What to ask for them."""
        ...


class SyntheticDataOptions(Record, frozen=True, kw_only=True):
    """What is wanted. data: rows without targets (or, for a task that invents its inputs, whose system message
    is taken); system: that message itself; rows: how many to ask for."""

    teacher: str
    rows: int
    data: str | None = None
    system: str | None = None
    seed: int = 0


class Provenance(Record, frozen=True, kw_only=True, omit_defaults=False):
    """The outcome; stored with the rows as `provenance.json`.

    invalid: answers not taken, by kind, over all rounds; dropped: rows, by reason. cost in USD; list None: unknown.
    """

    task: str
    created: str
    teacher: BackendIdentity
    order: SyntheticDataOptions
    asked: int = 0
    invalid: dict[str, int] = {}
    dropped: dict[str, int] = {}
    rows: dict[str, int] = {}
    cost_list: float | None = None
    cost_incurred: float = 0.0


class SyntheticDataRun:
    """One order being carried out; everything asked is an ordinary run under `out/teacher`."""

    def __init__(
        self,
        task: Task,
        order: SyntheticDataOptions,
        out: Path,
        settings: Settings,
        workspace: Workspace | None = None,
        max_cost: float | None = None,
        observer: Observer | None = None,
    ) -> None:
        if not isinstance(task, Teachable):
            raise UsageError(f"task '{task.name}' does not say how a teacher's answer becomes a row (taught_row).")
        if (out / "train.jsonl").exists() or (out / "test.jsonl").exists():
            raise UsageError(f"{out} holds rows already: name another --out.")
        self.task: Teachable = task
        self.order = order
        self.out = out
        self.settings = settings
        self.workspace = workspace or Workspace.current()
        self.observer = observer or Observer()
        self.budget = Budget(ceiling=max_cost)
        self.logs: dict[Path, RunLog] = {}
        self.dropped: Counter[str] = Counter()
        self.invalid: Counter[str] = Counter()

    def run(self) -> Provenance:
        """Ask, validate, split, write. Raises IncompleteRunError where the teacher stopped early."""
        samples = self._samples()
        answers = self._answers(samples)
        splits = self._split([s for s in samples if s.id in answers])
        for name, rows in splits.items():
            lines = (msgspec.json.encode(self.task.taught_row(s, answers[s.id])) + b"\n" for s in rows)
            write_whole(self.out / f"{name}.jsonl", b"".join(lines))
        taught = self._provenance(len(samples), {name: len(rows) for name, rows in splits.items()})
        write_json(self.out / "provenance.json", taught)
        return taught

    def _samples(self) -> list[Sample]:
        """The rows to be answered, no input twice."""
        if isinstance(self.task, InputGenerator):
            found = self._invented(self.task)
        else:
            source = DataSource(location=self.order.data, split="train")
            found = seeded_order(load_rows(self.task, source), self.order.seed)
        different: dict[str, Sample] = {}
        for sample in found:
            key = comparable_text(" ".join(sample.inputs.values()))
            if key in different:
                self.dropped["asked twice"] += 1
            else:
                different[key] = sample
        return list(different.values())[: self.order.rows]

    def _invented(self, task: InputGenerator) -> list[Sample]:
        system = self.order.system
        if system is None:
            rows = load_rows(self.task, DataSource(location=self.order.data, split="train"))
            system = next((row.inputs["system"] for row in rows if row.inputs.get("system")), None)
        if system is None:
            raise UsageError("no system message to go by: give one with --system FILE, or rows that have one (--data).")
        starters = task.starters(system)
        lines = self._ask("starters", starters, starters.questions(self.order.rows, self.order.seed), 0)
        found = []
        for line in lines.values():
            if line.score is not None and line.score.answer is not None:
                found += starters.invented(line.score.answer)
            elif line.score is not None:
                self.invalid[f"starters: {line.score.format}"] += 1
        if not found:
            raise IncompleteRunError(f"{self.order.teacher} gave no conversation starter that can be read.")
        return found

    def _answers(self, samples: list[Sample]) -> dict[str, str]:
        """Row id -> an answer that may be learned from; what fails is sent again, at most ROUNDS times."""
        accepted: dict[str, str] = {}
        todo = samples
        for turn in range(ROUNDS):
            if not todo:
                break
            lines = self._ask(f"answers-{turn + 1}", self.task, todo, turn)
            failed = []
            for n, sample in enumerate(todo):
                why = _rejection(lines.get(Key(n, 0)))
                if why is None:
                    accepted[sample.id] = lines[Key(n, 0)].text
                else:
                    self.invalid[why] += 1
                    failed.append(sample)
            todo = failed
        if todo:
            self.dropped[f"no valid answer in {ROUNDS} rounds"] += len(todo)
        return accepted

    def _ask(self, name: str, task: Task, samples: list[Sample], turn: int) -> dict[Key, LogLine]:
        """Ask the teacher as an ordinary run, or finish the one that is there."""
        teacher = self.order.teacher
        rows = []
        for n, sample in enumerate(samples):
            request = msgspec.structs.replace(
                build_request(task, sample), temperature=TEMPERATURE, seed=self.order.seed + turn, labels=()
            )
            rows.append(Row(n=n, sample=sample, request=request))
        tables = {teacher: self.settings.backend(teacher)}
        plan = plan_auxiliary_run(task, rows, self.out / "teacher", name, tables, "a teacher")
        if plan.log is not None:
            self.budget.spent += plan.log.incurred(teacher)
        context = RunContext(workspace=self.workspace, budget=self.budget, resuming=plan.log is not None)
        backends = make_backends(plan.manifest.backend_settings, task.name, context)
        again = "the same command continues from here"
        try:
            log = run_coroutine(run_backends(plan, backends, {}, self.observer, lambda identities: Findings()))
        except KeyboardInterrupt:
            raise InterruptedRunError(f"interrupted; what {teacher} answered is kept, {again}.") from None
        self.logs[plan.path] = log
        lines = log.lines(teacher)
        if len(lines) < len(rows):
            stopped = log.sessions(teacher)[-1].stopped or {}
            why = stopped.get("message", "it answered too little")
            raise IncompleteRunError(f"{teacher} answered {len(lines)} of {len(rows)} rows: {why} ({again}).")
        return lines

    def _split(self, samples: list[Sample]) -> dict[str, list[Sample]]:
        """Rows of one group on one side; evaluation rows that are near duplicates of a training row are dropped."""
        splits: dict[str, list[Sample]] = {"train": [], "test": []}
        for sample in samples:
            side = digest([self.order.seed, sample.group if sample.group is not None else sample.id])
            splits["test" if int(side[:8], 16) < TEST_SHARE * 2**32 else "train"].append(sample)
        asked, learned = (Signatures.of(self._texts(splits[name])) for name in ("test", "train"))
        near = set(find_overlap(asked, learned, "train").rows)
        self.dropped["evaluation rows near a training row"] += len(near)
        splits["test"] = [s for n, s in enumerate(splits["test"]) if n not in near]
        return splits

    def _texts(self, samples: Iterable[Sample]) -> list[list[str]]:
        return [build_request(self.task, sample).passage_texts() for sample in samples]

    def _provenance(self, asked: int, rows: dict[str, int]) -> Provenance:
        teacher = self.order.teacher
        costs = [line.cost.list for log in self.logs.values() for line in log.lines(teacher).values() if not line.error]
        identity = next(iter(self.logs.values())).manifest.backends[teacher]
        return Provenance(
            task=self.task.name,
            created=utc_text(),
            teacher=identity,
            order=self.order,
            asked=asked,
            invalid=dict(self.invalid.most_common()),
            dropped={reason: count for reason, count in self.dropped.items() if count},
            rows=rows,
            cost_list=None if None in costs else sum(c for c in costs if c is not None),
            cost_incurred=sum(log.incurred(teacher) for log in self.logs.values()),
        )


def _rejection(line: LogLine | None) -> str | None:
    """Why an answer may not be learned from; None: it may."""
    if line is None or line.error is not None or line.score is None:
        return "no answer"
    if line.score.format is not None:
        return line.score.format
    return "misses the right answer" if line.score.correct is False else None
