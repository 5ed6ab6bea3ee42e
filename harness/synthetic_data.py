"""Rows from a teacher: any backend answers, the task decides which answers may be learned from."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from harness.backend import RunContext
from harness.data.contamination import Findings, Signatures, find_overlap
from harness.data.rows import DataSource
from harness.data.sampling import seeded_order
from harness.errors import IncompleteRunError, InterruptedRunError, UsageError
from harness.execution.backend_setup import make_backends
from harness.execution.event_loop import run_coroutine
from harness.execution.executor import Observer, run_backends
from harness.execution.run_plan import plan_auxiliary_run
from harness.files import write_json, write_whole
from harness.hashing import digest
from harness.money.prices import Budget
from harness.records import BackendIdentity, Key, LogLine, Record, Row, Sample, number_repeats
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.task import Task
from harness.task_loading import build_request, load_rows, require_rows
from harness.text_format import split_names, utc_text
from harness.text_normalization import comparable_text
from harness.workspace import Workspace


class TeacherRuns:
    """The runs of one order, under `folder`; max_cost: USD that all of them may incur."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        workspace: Workspace | None = None,
        max_cost: float | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.workspace = workspace or Workspace.current()
        self.observer = observer or Observer()
        self.budget = Budget(ceiling=max_cost)
        self.logs: dict[Path, tuple[str, RunLog]] = {}

    def ask(
        self, name: str, task: Task, samples: list[Sample], teacher: str, *, temperature: float, seed: int
    ) -> dict[Key, LogLine]:
        """Ask a teacher about rows, or finish the run that is there. The task's label set is not imposed: a teacher
        writes its answer. Raises IncompleteRunError where it stopped early, InterruptedRunError after Ctrl-C."""
        rows = []
        for n, sample in enumerate(samples):
            request = msgspec.structs.replace(
                build_request(task, sample), temperature=temperature, seed=seed, labels=()
            )
            rows.append(Row(n=n, sample=sample, request=request))
        tables = {teacher: self.settings.backend(teacher)}
        plan = plan_auxiliary_run(task, rows, self.folder, name, tables, "a teacher")
        if plan.log is not None:
            self.budget.spent += plan.log.incurred(teacher)
        context = RunContext(workspace=self.workspace, budget=self.budget, resuming=plan.log is not None)
        backends = make_backends(plan.manifest.backend_settings, task.name, context)
        again = "the same command continues from here"
        try:
            log = run_coroutine(run_backends(plan, backends, {}, self.observer, lambda identities: Findings()))
        except KeyboardInterrupt:
            raise InterruptedRunError(f"interrupted; what {teacher} answered is kept, {again}.") from None
        self.logs[plan.path] = teacher, log
        lines = log.lines(teacher)
        if len(lines) < len(rows):
            stopped = log.sessions(teacher)[-1].stopped or {}
            why = stopped.get("message", "it answered too little")
            raise IncompleteRunError(f"{teacher} answered {len(lines)} of {len(rows)} rows: {why} ({again}).")
        return lines

    def identities(self) -> dict[str, BackendIdentity]:
        """What answered, by the teacher's name."""
        return {teacher: log.manifest.backends[teacher] for teacher, log in self.logs.values()}

    def cost_list(self) -> float | None:
        """USD of all answers by the price table; None where one is unknown."""
        lines = (line for teacher, log in self.logs.values() for line in log.lines(teacher).values())
        costs = [line.cost.list for line in lines if not line.error]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def cost_incurred(self) -> float:
        """USD that was paid."""
        return sum(log.incurred(teacher) for teacher, log in self.logs.values())


ROUNDS = 3
"""How often a row is asked before it is dropped."""

TEMPERATURE = 0.7
TEST_SHARE = 0.1
AGREEMENT = "agreement"
"""The column of the share of teachers that gave a row's answer."""


@runtime_checkable
class Teachable(Task, Protocol):
    """A task whose rows a teacher can answer."""

    def taught_row(self, sample: Sample, answer: str) -> dict[str, Any]:
        """A row of the task's own data format, from a teacher's answer."""
        ...


@runtime_checkable
class Unlabelled(Task, Protocol):
    """A task whose rows may lack their right answer."""

    def unlabelled_samples(self, source: DataSource) -> Iterable[Sample]:
        """The rows of a split; the reference is empty where the data has none."""
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
    """What is wanted. teacher: a backend, or several with commas between; agree: so many of these must give one
    answer (default: more than half). data: rows without targets (or, for a task that invents its inputs, whose system
    message is taken); system: that message itself; rows: how many to ask for, None for all that there are."""

    teacher: str
    rows: int | None = None
    agree: int | None = None
    data: str | None = None
    system: str | None = None
    seed: int = 0


class Provenance(Record, frozen=True, kw_only=True, omit_defaults=False):
    """The outcome; stored with the rows as `provenance.json`.

    teacher: what answered, of several the first; teachers: of several all, by name. agreement: rows by how many
    teachers gave the most frequent answer ("3 of 3"). invalid: answers refused, by kind, in all rounds; dropped: rows,
    by reason. cost in USD; list None: unknown.
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
    teachers: dict[str, BackendIdentity] = {}
    agreement: dict[str, int] = {}


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
        self.teachers = split_names(order.teacher, "--teacher")
        if order.agree is not None and not 1 <= order.agree <= len(self.teachers):
            raise UsageError(f"--agree {order.agree}: there are {len(self.teachers)} teachers.")
        self.asking = TeacherRuns(out / "teacher", settings, workspace, max_cost, observer)
        self.agreement: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.invalid: Counter[str] = Counter()

    def run(self) -> Provenance:
        """Ask, validate, split, write. Raises IncompleteRunError where the teacher stopped early."""
        samples = self._samples()
        answers = self._agreed(samples)
        splits = self._split([s for s in samples if s.id in answers])
        for name, rows in splits.items():
            lines = (msgspec.json.encode(self._row(s, answers[s.id])) + b"\n" for s in rows)
            write_whole(self.out / f"{name}.jsonl", b"".join(lines))
        taught = self._provenance(len(samples), {name: len(rows) for name, rows in splits.items()})
        write_json(self.out / "provenance.json", taught)
        return taught

    def _samples(self) -> list[Sample]:
        """The rows to be answered, no input twice."""
        if isinstance(self.task, InputGenerator):
            found = self._invented(self.task)
        else:
            found = seeded_order(self._rows(DataSource(location=self.order.data, split="train")), self.order.seed)
        different: dict[str, Sample] = {}
        for sample in found:
            key = comparable_text(" ".join(sample.inputs.values()))
            if key in different:
                self.dropped["asked twice"] += 1
            else:
                different[key] = sample
        return list(different.values())[: self.order.rows]

    def _rows(self, source: DataSource) -> list[Sample]:
        if not isinstance(self.task, Unlabelled):
            return load_rows(self.task, source)
        rows = list(number_repeats(self.task.unlabelled_samples(source)))
        require_rows(len(rows), self.task, source)
        return rows

    def _row(self, sample: Sample, answer: "TaughtAnswer") -> dict[str, Any]:
        row = self.task.taught_row(sample, answer.text)
        return row if answer.agreement is None else {**row, AGREEMENT: answer.agreement}

    def _invented(self, task: InputGenerator) -> list[Sample]:
        system, wanted = self.order.system, self.order.rows
        if wanted is None:
            raise UsageError(f"task '{self.task.name}' invents its inputs: say how many with --rows N.")
        if system is None:
            rows = load_rows(self.task, DataSource(location=self.order.data, split="train"))
            system = next((row.inputs["system"] for row in rows if row.inputs.get("system")), None)
        if system is None:
            raise UsageError("no system message to go by: give one with --system FILE, or rows that have one (--data).")
        starters = task.starters(system)
        questions = starters.questions(wanted, self.order.seed)
        lines = self._ask("starters", starters, questions, 0, self.teachers[0])
        found = []
        for line in lines.values():
            if line.score is not None and line.score.answer is not None:
                found += starters.invented(line.score.answer)
            elif line.score is not None:
                self.invalid[f"starters: {line.score.format}"] += 1
        if not found:
            raise IncompleteRunError(f"{self.teachers[0]} gave no conversation starter that can be read.")
        return found

    def _agreed(self, samples: list[Sample]) -> dict[str, "TaughtAnswer"]:
        """Row id -> the answer that is taught: the teacher's, or the one on which enough of several agree."""
        given = {teacher: self._answers(samples, teacher) for teacher in self.teachers}
        if len(given) == 1:
            return {row: TaughtAnswer(text) for row, (text, _) in given[self.teachers[0]].items()}
        needed, of = self.order.agree or len(given) // 2 + 1, len(given)
        agreed: dict[str, TaughtAnswer] = {}
        for sample in samples:
            votes = [answers[sample.id] for answers in given.values() if sample.id in answers]
            counts = Counter(read for _, read in votes)
            best, count = counts.most_common(1)[0] if counts else ("", 0)
            self.agreement[f"{count} of {of}"] += 1
            if count >= needed and list(counts.values()).count(count) == 1:
                text = next(text for text, read in votes if read == best)
                agreed[sample.id] = TaughtAnswer(text, count / of)
            elif votes:
                self.dropped[f"fewer than {needed} of {of} teachers agree"] += 1
        return agreed

    def _answers(self, samples: list[Sample], teacher: str) -> dict[str, tuple[str, str]]:
        """Row id -> an answer of a teacher that may be learned from, and as the task reads it; what fails is sent
        again, at most ROUNDS times."""
        accepted: dict[str, tuple[str, str]] = {}
        todo = samples
        for turn in range(ROUNDS):
            if not todo:
                break
            lines = self._ask(f"answers-{turn + 1}", self.task, todo, turn, teacher)
            failed = []
            for n, sample in enumerate(todo):
                line = lines.get(Key(n, 0))
                why = rejection(line, sample)
                if why is None and line is not None:
                    accepted[sample.id] = line.text, read_answer(line)
                else:
                    self.invalid[str(why)] += 1
                    failed.append(sample)
            todo = failed
        if todo:
            self.dropped[f"no valid answer in {ROUNDS} rounds"] += len(todo)
        return accepted

    def _ask(self, name: str, task: Task, samples: list[Sample], turn: int, teacher: str) -> dict[Key, LogLine]:
        """Ask as an ordinary run, or finish the one that is there."""
        own = name if len(self.teachers) == 1 else f"{teacher}-{name}"
        return self.asking.ask(own, task, samples, teacher, temperature=TEMPERATURE, seed=self.order.seed + turn)

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
        identities = self.asking.identities()
        several = len(self.teachers) > 1
        return Provenance(
            task=self.task.name,
            created=utc_text(),
            teacher=identities[self.teachers[0]],
            order=self.order,
            asked=asked,
            invalid=dict(self.invalid.most_common()),
            dropped={reason: count for reason, count in self.dropped.items() if count},
            rows=rows,
            cost_list=self.asking.cost_list(),
            cost_incurred=self.asking.cost_incurred(),
            teachers=identities if several else {},
            agreement=dict(sorted(self.agreement.items(), reverse=True)),
        )


class TaughtAnswer(NamedTuple):
    """An answer to learn, and the share of several teachers that gave it."""

    text: str
    agreement: float | None = None


def read_answer(line: LogLine) -> str:
    """An answer as the task reads it: what teachers are held against each other by."""
    return line.score.answer if line.score is not None and line.score.answer is not None else line.text.strip()


def rejection(line: LogLine | None, sample: Sample) -> str | None:
    """Why an answer may not be learned from; None: it may."""
    if line is None or line.error is not None or line.score is None:
        return "no answer"
    if line.score.format is not None:
        return line.score.format
    return "misses the right answer" if sample.reference and line.score.correct is False else None
