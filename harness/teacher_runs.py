"""Questions to teachers: each set of them is an ordinary run in a folder, kept, continued and paid like any other."""

from pathlib import Path

import msgspec

from harness.backend import RunContext
from harness.data.contamination import Findings
from harness.errors import IncompleteRunError, InterruptedRunError
from harness.execution.auxiliary_run import plan_auxiliary_run
from harness.execution.backend_setup import make_backends
from harness.execution.event_loop import run_coroutine
from harness.execution.executor import Observer, run_backends
from harness.money.budget import Budget
from harness.records import BackendIdentity, Key, LogLine, Row, Sample
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.task import Task
from harness.task_loading import build_request
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
