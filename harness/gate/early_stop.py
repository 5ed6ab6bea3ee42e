"""`--early-stop`: a run stops paying for a backend once its rows have answered the question.

The question is the gate's: is the candidate's headline figure worse than the reference's by the margin? Rows
come in the run's seeded order, and only the contiguous answered beginning of it is looked at, by a test that
may be looked at after every row. The gate of such a run takes this decision again from the log.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import UsageError
from harness.metrics import Metric
from harness.records import LogLine, Record, Row
from harness.statistics.sequential import Decision, OrderedRule
from harness.summary.outcomes import row_value

KIND = "early_stop"
"""The kind under which a session notes that it stopped early."""


class EarlyStopTerms(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What a run was told: `reference` is a baseline file or run, or a backend of the run itself."""

    reference: str
    metric: str
    margin: float


@dataclass
class _Values:
    """One backend's row values as they come; a row is known when all its repeats have ended."""

    repeats: int
    read: Callable[[LogLine], float]
    known: dict[int, float] = field(default_factory=dict)
    _parts: dict[int, dict[int, float]] = field(default_factory=dict)

    def add(self, line: LogLine) -> float | None:
        """The row's value at the moment it becomes complete, else None."""
        if line.n in self.known:
            return None
        parts = self._parts.setdefault(line.n, {})
        parts[line.repeat] = self.read(line)
        if len(parts) < self.repeats:
            return None
        self.known[line.n] = sum(parts.values()) / len(parts)
        del self._parts[line.n]
        return self.known[line.n]


class EarlyStop:
    """The watch over one run. Feed it every line (`observe`, those of earlier sessions too); ask `decided`.

    candidates: the backends that may stop. reference: for each of them its reference's value at each position (a
    position without one is passed over), or the name of a backend of this run, which stops with the last of them.
    """

    def __init__(
        self,
        terms: EarlyStopTerms,
        metric: Metric,
        rows: Sequence[Row],
        repeats: int,
        candidates: Sequence[str],
        reference: Mapping[str, Mapping[int, float]] | str,
    ) -> None:
        if metric.kind != "mean" or not metric.proportion:
            raise UsageError(f"--early-stop needs a metric that is right or wrong row by row; {metric.name} is not.")
        if any(row.sample.group is not None for row in rows):
            raise UsageError("--early-stop needs rows that are independent; these belong to groups.")
        self.terms = terms
        self._sign = 1.0 if metric.direction == "higher" else -1.0
        self._worst = 0.0 if metric.direction == "higher" else 1.0
        self._best = 1.0 - self._worst
        self._reader = row_value(metric.row_value)
        self._rows = len(rows)
        self._within = reference if isinstance(reference, str) else None
        self._reference = _Values(repeats, lambda line: self._read(line, self._best))
        self._outside = {} if isinstance(reference, str) else reference
        self._candidates = {name: _Values(repeats, lambda line: self._read(line, self._worst)) for name in candidates}
        self._rules = {name: OrderedRule(terms.margin) for name in candidates}

    def _read(self, line: LogLine, without_answer: float) -> float:
        """A row's value; an infrastructure error counts against the candidate, on whichever side it falls."""
        value = None if line.score is None or line.error is not None else self._reader(line.score)
        return without_answer if value is None else value

    def observe(self, backend: str, line: LogLine) -> None:
        """Take in one line of a backend's log."""
        if backend in self._candidates:
            mine = self._candidates[backend].add(line)
            if mine is not None:
                self._compare(backend, line.n, mine)
        elif backend == self._within and self._reference.add(line) is not None:
            for name, values in self._candidates.items():
                if line.n in values.known:
                    self._compare(name, line.n, values.known[line.n])

    def _compare(self, candidate: str, n: int, mine: float) -> None:
        if self._within is not None:
            theirs = self._reference.known.get(n)
            if theirs is None:
                return  # its answer is still to come
        else:
            theirs = self._outside[candidate].get(n)
        self._rules[candidate].observe(n, None if theirs is None else self._sign * (mine - theirs))

    def decided(self, backend: str) -> bool:
        """Whether this backend need not be asked any further: a candidate after its own decision, the reference
        after all of them."""
        if backend == self._within:
            return all(rule.decided for rule in self._rules.values())
        rule = self._rules.get(backend)
        return rule is not None and rule.decided is not None

    def decision(self, candidate: str) -> Decision | None:
        """The verdict on a candidate so far."""
        return self._rules[candidate].decided

    def reason(self, backend: str) -> dict[str, str]:
        """What its session notes as `stopped`."""
        names = list(self._rules) if backend == self._within else [backend]
        found = ", ".join(
            f"{name}: {self._rules[name].decided} after {self._rules[name].rule.rows} rows" for name in names
        )
        margin = f"{self.terms.metric} within {self.terms.margin:g} of {self.terms.reference}"
        return {"kind": KIND, "message": f"the answer is known ({margin}; {found}), of {self._rows} rows."}
