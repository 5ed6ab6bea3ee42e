"""Rows with the answers of both sides, and requests sent to a side outside its run."""

import re
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.backend import RunContext, RunRequirements
from harness.deployment.parity_result import DifferentRow
from harness.errors import BackendStopped, BenchError, IncompleteRunError, NotComparableError
from harness.execution.backend_setup import make_backends
from harness.metrics import Estimate
from harness.records import Completion, Key, LogLine, Request, Row
from harness.runs.run_log import RunLog
from harness.statistics.clustered import clustered_mean
from harness.statistics.proportions import wilson
from harness.summary.estimates import effective_sample_size
from harness.summary.outcomes import RowTable, cluster_codes


async def ask_requests(
    tables: Mapping[str, dict[str, Any]], task: str, context: RunContext, requests: Sequence[Request]
) -> list[Completion]:
    """What one backend answers to requests outside of a run. Raises BenchError where it cannot be asked."""
    (backend,) = make_backends(tables, task, context).values()

    async def each() -> AsyncIterator[Request]:
        for request in requests:
            yield request

    found: list[Completion] = []
    first = requests[0]
    try:
        await backend.check(
            RunRequirements(
                task=task,
                rows=len(requests),
                labels=first.labels,
                schema=first.schema,
                max_tokens=max(r.max_tokens for r in requests),
                messages=first.messages,
            )
        )
        with tempfile.TemporaryDirectory() as state:
            try:
                async for answer in backend.stream(each(), Path(state)):
                    found.append(answer)  # noqa: PERF401  (what came before a stop is kept)
            except BackendStopped as stop:
                if not found:
                    raise BenchError(str(stop)) from None
    finally:
        await backend.aclose()
    return found


LEVEL = 0.95
MAX_UNANSWERED = 0.01
"""Above this share of requests without an answer, as in the gate, there is no verdict."""

Split = Callable[[str], list[str]]
"""How a text is split into tokens."""

_WORDS = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")


@dataclass(frozen=True)
class AnsweredRow:
    """One row with the answer of the reference and of the served copy."""

    row: Row
    reference: LogLine
    served: LogLine

    @property
    def texts_equal(self) -> bool:
        """Whether both gave the same text, blanks around it aside."""
        return self.reference.text.strip() == self.served.text.strip()

    @property
    def served_correct(self) -> bool:
        """Whether the served answer is right."""
        return self.served.score is not None and bool(self.served.score.correct)

    @property
    def equal(self) -> bool:
        """Whether both gave the same answer: as parsed, or the same text where one could not be parsed."""
        mine, theirs = (None if line.score is None else line.score.answer for line in (self.reference, self.served))
        if mine is None or theirs is None:
            return self.texts_equal and mine == theirs
        return mine == theirs


@dataclass(frozen=True)
class AnsweredRows:
    """The rows that both sides have answered, in the order of the run; table: all rows of the run."""

    rows: tuple[AnsweredRow, ...]
    table: RowTable
    asked: int

    @property
    def different(self) -> tuple[AnsweredRow, ...]:
        """Rows with different answers."""
        return tuple(one for one in self.rows if not one.equal)

    def share(self, holds: Callable[[AnsweredRow], bool]) -> Estimate:
        """The share of rows of which something holds, with Wilson's interval; rows of one group count as one."""
        values = np.array([holds(one) for one in self.rows], dtype=np.float64)
        if not len(values):
            return Estimate(value=None, method="no row was answered by both")
        mask: NDArray[np.bool_] = np.zeros(len(self.table), dtype=np.bool_)
        mask[[one.row.n for one in self.rows]] = True
        groups = cluster_codes(self.table, mask)
        trials = float(len(values))
        if groups is not None:
            trials = effective_sample_size(clustered_mean(values, groups), LEVEL)
        value = float(values.mean())
        low, high = wilson(value * trials, trials, LEVEL)
        method = "Wilson 95 %" if groups is None else f"Wilson 95 %, effective sample size {trials:,.0f}"
        return Estimate(value=value, low=low, high=high, method=method, n=len(values))


def join(reference: tuple[RunLog, str], served: tuple[RunLog, str]) -> AnsweredRows:
    """The rows of two runs that were asked the same, each given as a run and a backend of it.

    Raises NotComparableError where the runs asked something else, IncompleteRunError where more than MAX_UNANSWERED of
    a side's requests have no answer.
    """
    mine, theirs = reference[0].manifest, served[0].manifest
    if mine.request_hash != theirs.request_hash or mine.parser != theirs.parser:
        raise NotComparableError(
            f"{reference[0].path} and {served[0].path} asked different rows, or score them by different rules."
        )
    rows = list(reference[0].rows())
    lines = []
    for log, name in (reference, served):
        of_side = {key.n: line for key, line in log.lines(name).items() if key == Key(key.n, 0)}
        answered = {n: line for n, line in of_side.items() if line.error is None}
        if len(rows) - len(answered) > MAX_UNANSWERED * len(rows):
            kinds = sorted({line.error.kind for line in of_side.values() if line.error is not None})
            reason = f" ({', '.join(kinds)})" if kinds else ""
            raise IncompleteRunError(
                f"{name} answered {len(answered)} of {len(rows)} rows{reason}: no verdict. Give "
                f"--run {log.path} to ask for the rest and judge then."
            )
        lines.append(answered)
    joined = tuple(
        AnsweredRow(row, lines[0][row.n], lines[1][row.n]) for row in rows if row.n in lines[0] and row.n in lines[1]
    )
    return AnsweredRows(joined, RowTable.of(rows, mine.labels), len(rows))


def words(text: str) -> list[str]:
    """Words and signs, each with the blanks before it: where no tokenizer is at hand."""
    return _WORDS.findall(text)


def different_row(one: AnsweredRow, split: Split) -> DifferentRow:
    """A row whose answers differ, with the first token on which they do."""
    mine, theirs = split(one.reference.text), split(one.served.text)
    equal = next((n for n, pair in enumerate(zip(mine, theirs, strict=False)) if pair[0] != pair[1]), None)
    equal = min(len(mine), len(theirs)) if equal is None else equal
    return DifferentRow(
        id=one.row.sample.id,
        expected=one.row.sample.reference,
        reference=one.reference.text,
        served=one.served.text,
        reference_answer=None if one.reference.score is None else one.reference.score.answer,
        served_answer=None if one.served.score is None else one.served.score.answer,
        equal_tokens=equal,
        reference_token=_at(mine, equal),
        served_token=_at(theirs, equal),
        finish=one.served.finish,
    )


def _at(tokens: Sequence[str], position: int) -> str:
    return tokens[position] if position < len(tokens) else ""
