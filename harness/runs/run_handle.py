"""A run as Python users see it: its summary, its answers as a table, and a display for terminals and notebooks."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.confidence import answer_confidence
from harness.errors import IncompleteRunError, MissingExtraError, NotFoundError, did_you_mean
from harness.extras import install_command
from harness.metrics import Metric, title
from harness.records import Key, LogLine, Row, Score
from harness.results import BackendResult, Summary
from harness.runs.run_log import Manifest, RunLog
from harness.text_format import count_noun, figure_of, money
from harness.text_sanitize import html_table, visible_line

if TYPE_CHECKING:
    from pathlib import Path

    import pandas
    from rich.table import Table

SHOWN_METRICS = 3
"""Metrics in the displays of a run: the task's first ones."""


class Run:
    """A run directory, opened for reading.

    path: the run directory. log: its rows, lines and sessions, for everything that is not offered here.
    """

    def __init__(self, log: RunLog) -> None:
        self.log = log

    @property
    def path(self) -> "Path":
        """The run directory."""
        return self.log.path

    @property
    def id(self) -> str:
        """The run's id: task, time and a short id of four hexadecimal digits."""
        return self.log.manifest.id

    @property
    def short_id(self) -> str:
        """The last part of the id, which names the run on the command line."""
        return self.id.rpartition("-")[2]

    @property
    def task(self) -> str:
        """The task's name."""
        return self.log.manifest.task

    @property
    def manifest(self) -> Manifest:
        """Everything that was asked, and everything it ran on."""
        return self.log.manifest

    @property
    def backends(self) -> tuple[str, ...]:
        """The names of the backends, in the order in which they were named."""
        return tuple(self.log.manifest.backends)

    @property
    def summary(self) -> Summary:
        """Every aggregate, interval and test, as `summary.json` holds them.

        Raises IncompleteRunError while the run has not ended: `resume` finishes it.
        """
        found = self.log.summary()
        if found is None:
            raise IncompleteRunError(
                f"{self.path} has not ended, so it has no summary: finish it with `bench run --resume {self.path}`."
            )
        return found

    @property
    def complete(self) -> bool:
        """Whether the run has ended and every row has an answer from every backend."""
        found = self.log.summary()
        return found is not None and found.complete

    def rows(self) -> Iterator[Row]:
        """The rows with their requests, by position."""
        return self.log.rows()

    def lines(self, backend: str) -> dict[Key, LogLine]:
        """The last line of every (n, repeat) of one backend. Raises NotFoundError for a backend of another run."""
        if backend not in self.backends:
            raise NotFoundError(f"{self.path}: no backend '{backend}'{did_you_mean(backend, self.backends)}.")
        return self.log.lines(backend)

    def to_pandas(self) -> "pandas.DataFrame":
        """A table with one row for each row of the data, backend and repeat; rows without an answer included.

        Columns: `n` (position of the row), `id`, `repeat`, `backend`, `status` ("answered", "error", "missing"), one
        `input_NAME` for each input, one `column_NAME` for each further column of the data, `group`, `reference`,
        `answer` (parsed), `correct`, `format` (kind of format error), `lenient_answer`, `lenient_correct`, one
        `value_NAME` for each further value of the score, `text`, `finish`, `error`, `error_message`; `latency_s`,
        `queue_s`, `retry_s`, `first_token_s` (seconds); `cost_usd` (list price), `incurred_usd` (paid by this run);
        `prompt_tokens`, `cached_tokens`, `completion_tokens`, `reasoning_tokens`, `attempts` and `cached`;
        `label_probability` (of the answered label), `mean_logprob` and `least_logprob` (of the answer's tokens) and
        `task_confidence`. What is unknown or undefined is NA.

        Raises MissingExtraError where pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError(f"to_pandas() needs pandas: {install_command('pandas')}.") from None
        frame = pd.DataFrame(list(self.records()))
        numbers = {"n", "repeat", *(name for name in frame if str(name).startswith("value_"))}
        return frame.astype({name: COLUMN_TYPES.get(str(name), "string") for name in frame if name not in numbers})

    def records(self) -> Iterator[dict[str, Any]]:
        """One mapping for each row, backend and repeat, in the order of backends, rows and repeats.

        The keys are the columns of `to_pandas`, the same for all; what is unknown or undefined is None. Keys of values
        (`value_NAME`) are in the mappings of the answers that have them.
        """
        rows = list(self.rows())
        inputs = dict.fromkeys(name for row in rows for name in row.sample.inputs)
        columns = dict.fromkeys(name for row in rows for name in row.sample.columns)
        for backend in self.backends:
            lines = self.log.lines(backend)
            for row in rows:
                for repeat in range(self.manifest.repeats):
                    line = lines.get(Key(row.n, repeat))
                    yield {
                        "n": row.n,
                        "id": row.sample.id,
                        "repeat": repeat,
                        "backend": backend,
                        "status": "missing" if line is None else "answered" if line.error is None else "error",
                        **{f"input_{name}": row.sample.inputs.get(name) for name in inputs},
                        **{f"column_{name}": row.sample.columns.get(name) for name in columns},
                        "group": row.sample.group,
                        "reference": row.sample.reference,
                        **_answer(line, len(self.manifest.labels), self.manifest.backends[backend].temperature),
                    }

    def __repr__(self) -> str:
        lines = [self._heading(), *("  " + "  ".join(cells).rstrip() for cells in _aligned(self._cells()))]
        return "\n".join(lines)

    def __rich__(self) -> "Table":
        from rich.table import Table
        from rich.text import Text

        header, *body = self._cells() or [["backend"]]
        table = Table(title=Text(self._heading()), title_justify="left", box=None, pad_edge=False)
        for name in header:
            table.add_column(Text(name))
        for cells in body:
            table.add_row(*map(Text, cells))
        return table

    def _repr_html_(self) -> str:
        return html_table(self._heading(), self._cells() or [["backend"]])

    def _heading(self) -> str:
        manifest = self.manifest
        repeats = f" x {manifest.repeats}" if manifest.repeats > 1 else ""
        label = f", {manifest.data['label']}" if manifest.data.get("label") else ""
        state = "" if self.log.summary() is not None else ", not ended"
        return visible_line(
            f"Run {self.short_id}: {self.task}, {count_noun(manifest.rows, 'row')}{repeats}{label}{state}"
        )

    def _cells(self) -> list[list[str]]:
        """The backends as a table of text, its header first."""
        summary = self.log.summary()
        if summary is None:
            identities = self.manifest.backends.items()
            return [["backend", "model"], *([visible_line(name), visible_line(i.model)] for name, i in identities)]
        metrics = summary.metrics[:SHOWN_METRICS]
        header = ["backend", "model", *(title(m.name) for m in metrics), "answered", "per 1,000 answers"]
        return [header, *(_result_cells(name, result, metrics) for name, result in summary.backends.items())]


def _result_cells(name: str, result: BackendResult, metrics: tuple[Metric, ...]) -> list[str]:
    figures = [figure_of(result.metrics.get(metric.name), metric, named=False) for metric in metrics]
    answered = f"{result.answered:,} of {result.asked:,}"
    return [visible_line(name), visible_line(result.model), *figures, answered, money(result.cost.per_1000)]


def _aligned(table: list[list[str]]) -> list[list[str]]:
    """Cells padded to the width of their columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [[cell.ljust(width) for cell, width in zip(cells, widths, strict=True)] for cells in table]


def _answer(line: LogLine | None, labels: int, temperature: float | None) -> dict[str, Any]:
    """What a line adds to the table of `to_pandas`; every value None where there is no line.

    labels: how many the task has. temperature: of the backend's label scores.
    """
    if line is None:
        return dict.fromkeys(_FIELDS)
    score, tokens = line.score or Score(), line.token_logprobs
    own = (
        *(score.answer, score.correct, score.format, score.lenient.answer, score.lenient.correct),
        *(line.text, line.finish, *((line.error.kind, line.error.message) if line.error else (None, None))),
        *(line.timing.service_s, line.timing.queue_s, line.timing.retry_s, line.timing.first_token_s),
        *(line.cost.list, line.cost.incurred),
        *(line.usage.prompt_tokens, line.usage.cached_tokens),
        *(line.usage.completion_tokens, line.usage.reasoning_tokens),
        *(line.attempts, line.cached),
        answer_confidence(line, "label scores", labels, temperature),
        *((None, None) if tokens is None else (tokens.mean, tokens.least)),
        score.confidence,
    )
    return {**dict(zip(_FIELDS, own, strict=True)), **{f"value_{name}": v for name, v in score.values.items()}}


_FIELDS = (
    *("answer", "correct", "format", "lenient_answer", "lenient_correct"),
    *("text", "finish", "error", "error_message"),
    *("latency_s", "queue_s", "retry_s", "first_token_s", "cost_usd", "incurred_usd"),
    *("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "attempts", "cached"),
    *("label_probability", "mean_logprob", "least_logprob", "task_confidence"),
)

COLUMN_TYPES = {
    **dict.fromkeys(("correct", "lenient_correct", "cached"), "boolean"),
    **dict.fromkeys(("latency_s", "queue_s", "retry_s", "first_token_s", "cost_usd", "incurred_usd"), "float64"),
    **dict.fromkeys(("label_probability", "mean_logprob", "least_logprob", "task_confidence"), "float64"),
    **dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "attempts"), "Int64"),
}
"""Types of the columns that are not text; all others but `n`, `repeat` and values are text."""
