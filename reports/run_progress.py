"""Live progress of a run: a table redrawn in place on a terminal or in a notebook, plain lines elsewhere."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.records import LogLine
from harness.text_format import UNKNOWN, count, money, plural, rate, seconds
from harness.text_sanitize import visible_line

PLAIN_EVERY_S = 5.0
"""Between two plain lines of one backend; short enough for a CI log to look alive, long enough to stay short."""


@dataclass
class _State:
    """What is known of one backend: counts of this session, and when its first and last lines came.

    elsewhere: answers made out of sight (a batch at a provider) that have not come here yet.
    """

    total: int
    done: int = 0
    errors: int = 0
    cost: float | None = None
    unpriced: bool = False
    began: float | None = None
    began_at: int = 0
    last: float = 0.0
    printed: float = 0.0
    elsewhere: int = 0

    @property
    def rate(self) -> float | None:
        """Rows a second since the first line of this session (which is the start of the clock)."""
        if self.began is None or self.last <= self.began:
            return None
        return (self.done - self.began_at) / (self.last - self.began)

    @property
    def left_s(self) -> float | None:
        """Seconds until the last row at this rate."""
        speed = self.rate
        return (self.total - self.done) / speed if speed else None

    def price(self) -> str:
        """Cost so far; "unknown" where no answer that cost anything had a price, "+" where only some had."""
        if self.unpriced:
            return f"{money(self.cost)}+" if self.cost else UNKNOWN
        return money(self.cost)


REDRAWN_EVERY_S = 0.25
"""Between two drawings of the table in a notebook, as often as on a terminal."""


class NotebookTable:
    """A table below the cell that is running, redrawn in place. It needs IPython alone, no widgets."""

    def __init__(self, table: Callable[[], Table], clock: Callable[[], float] = time.monotonic) -> None:
        self._table, self._clock = table, clock
        self._handle: Any = None
        self._drawn = 0.0

    def start(self) -> None:
        """Draw it for the first time."""
        from IPython.display import display

        self._drawn = self._clock()
        self._handle = display(self._table(), display_id=True)

    def refresh(self) -> None:
        """Draw it again, unless it has just been drawn."""
        if self._clock() - self._drawn >= REDRAWN_EVERY_S:
            self.stop()

    def stop(self) -> None:
        """Draw it as it is now; it stays below the cell."""
        self._drawn = self._clock()
        self._handle.update(self._table())


class RunProgress:
    """Progress of several backends at once; a context manager.

    totals: requests to answer per backend; done: of these, how many an earlier session answered.
    On an interactive terminal one line per backend is redrawn four times a second; in a pipe, in CI (the
    variable CI is set) or on a dumb terminal a plain line without control codes is printed now and then.
    """

    def __init__(
        self,
        console: Console,
        totals: Mapping[str, int],
        done: Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._clock = clock
        self._states = {n: _State(total=t, done=(done or {}).get(n, 0)) for n, t in totals.items()}
        self._live: Live | NotebookTable | None = None
        if console.is_jupyter:
            self._live = NotebookTable(self._table, clock)
        elif console.is_interactive and not os.environ.get("CI"):
            self._live = Live(
                get_renderable=self._table, console=console, refresh_per_second=4, transient=True, redirect_stderr=False
            )

    def __enter__(self) -> "RunProgress":
        now = self._clock()
        for state in self._states.values():
            state.printed = now
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if isinstance(self._live, NotebookTable):
            return
        for name in self._states:
            self._print(name, ended=True)

    def on_line(self, backend: str, line: LogLine) -> None:
        """Count one line that was just appended to a backend's log."""
        state = self._states[backend]
        state.elsewhere = max(0, state.elsewhere - 1)
        paid = line.cost.incurred
        cost = state.cost if paid is None else (state.cost or 0.0) + paid
        state.unpriced = state.unpriced or (paid is None and line.error is None)
        self.update(backend, state.done + 1, state.total, state.errors + (line.error is not None), cost)

    def on_batch_progress(self, backend: str, done: int, total: int) -> None:
        """A batch at a provider holds `total` rows, of which `done` are answered there."""
        state = self._states[backend]
        state.elsewhere = done
        self._redraw()
        if self._live is None and self._clock() - state.printed >= PLAIN_EVERY_S and done < total:
            self._print(backend)

    def update(self, backend: str, done: int, total: int, errors: int, cost: float | None) -> None:
        """Set a backend's counts: requests done of total, infrastructure errors, USD so far (None: unknown)."""
        state = self._states[backend]
        now = self._clock()
        state.done, state.total, state.errors, state.cost, state.last = done, total, errors, cost, now
        if state.began is None:
            state.began, state.began_at = now, done
        self._redraw()
        if self._live is None and now - state.printed >= PLAIN_EVERY_S and done < total:
            self._print(backend)

    def _redraw(self) -> None:
        """A terminal is redrawn by a thread of its own."""
        if isinstance(self._live, NotebookTable):
            self._live.refresh()

    def _print(self, name: str, *, ended: bool = False) -> None:
        state = self._states[name]
        state.printed = self._clock()
        share = f" ({state.done / state.total:.0%})" if state.total else ""
        parts = [f"{count(state.done)}/{count(state.total)}{share}"]
        if state.rate:
            parts.append(f"{rate(state.rate)} rows/s")
        if state.errors:
            parts.append(plural(state.errors, "error"))
        if state.elsewhere:
            parts.append(f"{count(state.elsewhere)} answered at the provider")
        parts.append(f"cost {state.price()}")
        if state.done < state.total and state.left_s is not None and not ended:
            parts.append(f"{seconds(state.left_s)} left")
        self._console.print(f"{visible_line(name)}: {', '.join(parts)}", markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_column(overflow="ellipsis", no_wrap=True, max_width=18)
        table.add_column(width=12)
        for _ in range(5):
            table.add_column(justify="right", no_wrap=True)
        for name, s in self._states.items():
            table.add_row(
                Text(visible_line(name)),
                ProgressBar(total=max(s.total, 1), completed=s.done + s.elsewhere, width=12),
                f"{count(s.done + s.elsewhere)}/{count(s.total)}",
                f"{rate(s.rate)}/s" if s.rate else "",
                Text(plural(s.errors, "error") if s.errors else "", style="red"),
                s.price(),
                Text(seconds(s.left_s), style="dim") if s.done < s.total and s.left_s is not None else "",
            )
        return table
