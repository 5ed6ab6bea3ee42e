"""Progress of a run on the terminal: the reports' live display, fed by the runner's observer."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.status import Status

from harness.execution.executor import Observer

PLAIN_EVERY_S = 5.0
"""Between two plain lines of the probe."""


class ProbeProgress:
    """Rows of the latency probe: a line that redraws itself on a terminal, a plain one now and then elsewhere."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._status: Status | None = None
        self._printed: float | None = None

    def __call__(self, done: int, total: int) -> None:
        """Show `done` of `total` rows; the line is removed after the last one."""
        text = f"probing latency: {done} of {total} rows"
        if self._console.is_interactive and not os.environ.get("CI"):
            if self._status is None:
                self._status = self._console.status(text)
                self._status.start()
            self._status.update(text)
        elif self._printed is None or self._clock() - self._printed >= PLAIN_EVERY_S or done == total:
            self._printed = self._clock()
            self._console.print(f"bench: {text}", markup=False, highlight=False, soft_wrap=True)
        if done == total:
            self.close()

    def close(self) -> None:
        """Remove the line."""
        if self._status is not None:
            self._status.stop()
            self._status = None


@contextlib.contextmanager
def observed(console: Console, *, quiet: bool) -> Iterator[Observer]:
    """An observer that draws progress on `console` (nothing when quiet) until the block ends."""

    def remark(text: str) -> None:
        console.print(f"bench: {text}", markup=False, highlight=False, soft_wrap=True)

    if quiet:
        yield Observer(remark=remark)
        return
    with contextlib.ExitStack() as stack:
        display = None
        probe = ProbeProgress(console)
        stack.callback(probe.close)

        def started(totals: dict[str, tuple[int, int]]) -> None:
            nonlocal display
            probe.close()
            asked = {name: total for name, (_, total) in totals.items()}
            answered = {name: done for name, (done, _) in totals.items()}
            from harness.reports import run_progress

            display = stack.enter_context(run_progress.RunProgress(console, asked, answered))

        yield Observer(
            started=started,
            line=lambda backend, line: display.on_line(backend, line) if display else None,
            remark=remark,
            status=remark,
            probing=probe,
            batch_progress=lambda backend, done, total: (
                display.on_batch_progress(backend, done, total) if display else None
            ),
        )
