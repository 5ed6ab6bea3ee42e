"""A job made visible: a live bar on a terminal; in a pipe the provider's messages and every tenth of the way."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .events import Progress as Step


class JobDisplay:
    """What people see while a job is followed. Everything it is given has been cleaned."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._status = ""
        self._told = 0
        self._bar: Progress | None = None
        self._row: Any = None

    def __enter__(self) -> "JobDisplay":
        if self.console.is_terminal and not self.console.quiet:
            columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}"))
            self._bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console)
            self._row = self._bar.add_task("", total=None, words="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def status(self, job_id: str, status: str) -> None:
        """The job's own word for where it is."""
        if status == self._status:
            return
        self._status = status
        if self._bar is not None:
            self._bar.update(self._row, words=status)
        self.message(f"job {job_id}: {status}.")

    def message(self, text: str) -> None:
        """A line of its own."""
        self.console.print(f"bench: {text}", markup=False, highlight=False, soft_wrap=True)

    def step(self, step: Step) -> None:
        """Move the bar, or print a line for every tenth."""
        words = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in step.figures.items())
        if self._bar is not None:
            self._bar.update(self._row, completed=step.step, total=step.total, words=words or self._status)
        elif step.total and step.step * 10 // step.total > self._told:
            self._told = step.step * 10 // step.total
            self.message(f"training: step {step.step}/{step.total}{f', {words}' if words else ''}")
