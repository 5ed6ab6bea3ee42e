"""`--early-stop`: a run stops paying for a backend once its rows have answered the question.

The question is the gate's: every margin and limit of `[gate]` on a figure of rows. Only the contiguous answered
beginning of the order in which rows are asked is looked at, by tests that may be looked at after every row
(`in_sequence`). The gate of such a run calls the same function on the same rows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.data.leakage_groups import RowGroupsBuilder
from harness.gating.gate_settings import MAX_ERROR_RATE, Terms
from harness.gating.sequential_checks import (
    ArmValues,
    RowLayout,
    SequentialCheck,
    checks_of_terms,
    evaluate_sequentially,
    overall_decision,
)
from harness.metrics import Metric
from harness.records import LogLine, Record, Row, Score
from harness.runs.run_log import EARLY_STOP
from harness.statistics.confidence_sequence import Decision
from harness.summary.outcomes import HAS_NO_FORMAT, Array, Codes, row_value

LOOK_EVERY = 1.02
"""The next look comes when so many times the rows are known: a look costs time in proportion to the rows."""


class EarlyStopTerms(Record, frozen=True, kw_only=True, omit_defaults=False):
    """The settings of a run: `reference` is a baseline file or run, or a backend of the run itself.

    metric, margin: the headline and its margin; checks: what `[gate]` asks of every figure of rows, the headline among
    them (empty in runs of earlier versions: the headline alone); max_error_rate: with more errors there is no verdict;
    fewest_rows: that other checks of the gate need for any bound.
    """

    reference: str
    metric: str
    margin: float
    checks: dict[str, Terms] = {}
    max_error_rate: float = MAX_ERROR_RATE
    fewest_rows: int = 0

    @property
    def watched(self) -> dict[str, Terms]:
        """What is watched, by figure."""
        return self.checks or {self.metric: Terms(margin=self.margin)}


class Outside(NamedTuple):
    """A reference from elsewhere: its answers by position of this run, and how it takes them."""

    answers: ArmValues
    decode: str


class _Arrived:
    """One backend's answers as they come."""

    def __init__(self, metrics: Sequence[Metric], rows: int, repeats: int) -> None:
        self._repeats = repeats
        self._readers: dict[str, Callable[[Score], float | None]] = {m.name: row_value(m.row_value) for m in metrics}
        self._sums = {m.name: np.zeros(rows) for m in metrics}
        self._counts = {m.name: np.zeros(rows) for m in metrics}
        self._answered = np.zeros(rows)
        self._ended = np.zeros((rows, repeats), dtype=np.bool_)
        self.errors = 0
        self.lines = 0

    def add(self, line: LogLine) -> None:
        """Take in one answer or error."""
        if self._ended[line.n, line.repeat]:
            return
        self._ended[line.n, line.repeat] = True
        self.lines += 1
        if line.error is not None or line.score is None:
            self.errors += 1
            return
        self._answered[line.n] += 1
        for name, read in self._readers.items():
            value = read(line.score)
            if value is not None:
                self._sums[name][line.n] += value
                self._counts[name][line.n] += 1

    def complete(self, n: int) -> bool:
        """Whether all repeats of a row have ended."""
        return bool(self._ended[n].all())

    def answers(self) -> ArmValues:
        """What has come so far."""
        values: dict[str, Array] = {}
        for name, sums in self._sums.items():
            counts = self._counts[name]
            values[name] = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
        return ArmValues(values, self._answered / self._repeats)


class EarlyStop:
    """The watch over one run. Feed it every line (`observe`, those of earlier sessions too); ask `decided`.

    candidates: the backends that may stop. reference: for each of them the answers it is held against, or the name of a
    backend of this run, which stops with the last of them. turns: the order in which rows must be asked, None for
    their own.
    """

    def __init__(
        self,
        terms: EarlyStopTerms,
        metrics: Sequence[Metric],
        rows: Sequence[Row],
        repeats: int,
        candidates: Sequence[str],
        reference: Mapping[str, Outside] | str,
    ) -> None:
        builder = RowGroupsBuilder()
        for row in rows:
            builder.add(row.sample)
        groups = builder.build()
        self.terms = terms
        self.turns: Codes | None = groups.turns
        self._layout = RowLayout(groups.codes, groups.turns)
        self._rows = len(rows)
        self._within = reference if isinstance(reference, str) else None
        self._outside = {} if isinstance(reference, str) else reference
        checks = checks_of_terms(terms.watched, metrics)
        self._checks = dict.fromkeys(candidates, checks)
        backends = [*candidates, *filter(None, [self._within])]
        self._arrived = {name: _Arrived([c.metric for c in checks], len(rows), repeats) for name in backends}
        self._never: set[str] = set()
        self._known = dict.fromkeys(candidates, 0)
        self._next_look = dict.fromkeys(candidates, max(1, terms.fewest_rows))
        self._decisions: dict[str, tuple[Decision, int] | None] = dict.fromkeys(candidates)

    def decodes(self, modes: Mapping[str, str]) -> None:
        """How each backend takes its answers, once that is known: errors of format are not compared across modes."""
        for name, checks in self._checks.items():
            other = modes[self._within] if self._within is not None else self._outside[name].decode
            self._checks[name] = [c for c in checks if _applies(c, modes[name], other)]

    def ask_all(self, names: Iterable[str]) -> list[str]:
        """Candidates that are asked every row, and a sentence on each: rows that they were trained on are judged apart
        by the gate, which needs the others."""
        found = [name for name in names if name in self._known]
        self._never.update(found)
        return [
            f"{name}: some of the rows are also in its training rows, and the gate judges the others beside them: "
            "--early-stop does not end it."
            for name in found
        ]

    def observe(self, backend: str, line: LogLine) -> None:
        """Take in one line of a backend's log."""
        if backend not in self._arrived:
            return
        self._arrived[backend].add(line)
        for name in self._known if backend == self._within else [backend]:
            self._advance(name)

    def _advance(self, candidate: str) -> None:
        """Move the end of the contiguous beginning, and look where it has moved far enough."""
        mine = self._arrived[candidate]
        theirs = self._arrived[self._within] if self._within is not None else mine
        known = self._known[candidate]
        while known < self._rows:
            n = known if self.turns is None else int(self.turns[known])
            if not (mine.complete(n) and theirs.complete(n)):
                break
            known += 1
        self._known[candidate] = known
        if known < self._next_look[candidate] or self._decisions[candidate] is not None:
            return
        self._next_look[candidate] = max(known + 1, int(known * LOOK_EVERY))
        outside = self._outside.get(candidate)
        checks = self._checks[candidate]
        results = evaluate_sequentially(
            checks,
            self._layout,
            mine.answers(),
            theirs.answers() if outside is None else outside.answers,
            known,
            within=outside is None,
            tests=sum(c.kind == "margin" for of_one in self._checks.values() for c in of_one),
        )
        self._decisions[candidate] = overall_decision(results)

    def decided(self, backend: str) -> bool:
        """Whether this backend need not be asked any further: a candidate after its own decision, the reference
        after all of them. With more errors than the gate allows there is no decision."""
        if backend == self._within:
            return all(self.decided(name) for name in self._known)
        if self._decisions.get(backend) is None or backend in self._never:
            return False
        sides = [backend, *filter(None, [self._within])]
        return all(self._arrived[s].errors <= self.terms.max_error_rate * self._arrived[s].lines for s in sides)

    def decision(self, candidate: str) -> tuple[Decision, int] | None:
        """The verdict on a candidate so far, and the rows it took."""
        return self._decisions[candidate]

    def reason(self, backend: str) -> dict[str, str]:
        """What its session notes as `stopped`."""
        names = list(self._known) if backend == self._within else [backend]
        found = [f"{name}: {made[0]} after {made[1]} rows" for name in names if (made := self._decisions[name])]
        margin = f"{self.terms.metric} within {self.terms.margin:g} of {self.terms.reference}"
        return {
            "kind": EARLY_STOP,
            "message": f"the answer is known ({margin}; {', '.join(found)}), of {self._rows} rows.",
        }


def _applies(check: SequentialCheck, mine: str, theirs: str) -> bool:
    if not check.metric.about_format:
        return True
    return mine not in HAS_NO_FORMAT and (check.kind != "margin" or mine == theirs)
