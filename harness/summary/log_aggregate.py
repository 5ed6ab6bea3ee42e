"""One pass over a backend's log: counts, sums, distributions, and figures per server."""

from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.confidence_results import StageShare
from harness.metrics import Metric
from harness.records import BackendIdentity, LogLine, Usage
from harness.results import CostResult, Latency, Load, ServerResult
from harness.runs.run_log import EARLY_STOP, RunLog, Session
from harness.summary.answer_columns import AnswersBuilder, Hashes, new_hashes, row_metric, text_hash
from harness.summary.outcomes import OutcomeBuilder


@dataclass
class Servers:
    """Adds up `notes.endpoint` and `notes.failed_at`, which only fleets write."""

    service: dict[str, "array[float]"] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)

    def add(self, line: LogLine) -> None:
        """Take in one line; an answer from the cache comes from no server."""
        if line.cached:
            return
        self.failed.update(line.notes.get("failed_at", "").split())
        url = line.notes.get("endpoint")
        if url is not None:
            self.service.setdefault(url, array("d")).append(line.timing.service_s)

    def results(self) -> dict[str, ServerResult]:
        """By URL. `share`: of all answers that came from a server."""
        total = sum(map(len, self.service.values()))
        found = {}
        for url in sorted({*self.service, *self.failed}):
            times = self.service.get(url, array("d"))
            p50, p95 = np.percentile(times, [50, 95]) if times else (None, None)
            found[url] = ServerResult(
                answered=len(times),
                share=len(times) / total if total else 0.0,
                failed_attempts=self.failed[url],
                p50_s=None if p50 is None else float(p50),
                p95_s=None if p95 is None else float(p95),
            )
        return found


@dataclass
class Times:
    """Service and first-token seconds of answers."""

    service: "array[float]" = field(default_factory=lambda: array("d"))
    first_token: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, line: LogLine) -> None:
        """Take in one answer's times."""
        self.service.append(line.timing.service_s)
        if line.timing.first_token_s is not None:
            self.first_token.append(line.timing.first_token_s)

    def latency(self) -> Latency | None:
        """Percentiles (linear between order statistics); None without answers."""
        if not self.service:
            return None
        p50, p95 = np.percentile(self.service, [50, 95])
        first = np.percentile(self.first_token, [50, 95]) if self.first_token else (None, None)
        return Latency(
            rows=len(self.service),
            p50_s=float(p50),
            p95_s=float(p95),
            mean_s=float(np.mean(self.service)),
            first_token_p50_s=None if first[0] is None else float(first[0]),
            first_token_p95_s=None if first[1] is None else float(first[1]),
        )


@dataclass
class Money:
    """Sums of USD; `unknown` counts what had no price."""

    list: float = 0.0
    list_unknown: int = 0
    incurred_unknown: int = 0

    def add(self, line: LogLine) -> None:
        """An answer has a price or an unknown one; a failed request costs what it says, else nothing."""
        if line.cost.list is not None:
            self.list += line.cost.list if line.error is None else 0.0
        elif line.error is None:
            self.list_unknown += 1
        if line.cost.incurred is None and line.error is None:
            self.incurred_unknown += 1


class RowPrices:
    """List prices of answers, row by row."""

    def __init__(self, rows: int, repeats: int) -> None:
        self._sums = np.zeros(rows)
        self._answers = np.zeros(rows, dtype=np.min_scalar_type(repeats))

    def add(self, line: LogLine) -> None:
        """Take in an answer; a price that is not known makes its row unknown."""
        self._sums[line.n] += np.nan if line.cost.list is None else line.cost.list
        self._answers[line.n] += 1

    def means(self) -> NDArray[np.float64]:
        """(rows,) USD an answer; nan where a row has no answer, or one of unknown price."""
        known = self._answers > 0
        means = np.full(len(known), np.nan)
        np.divide(self._sums, self._answers, out=means, where=known)
        return means


@dataclass
class StageTally:
    """Adds up `notes.stage`, which only cascades write. names: of the stages, in the order in which they are asked."""

    names: tuple[str, ...]
    answered: Counter[str] = field(default_factory=Counter)

    def add(self, line: LogLine) -> None:
        """Take in one line."""
        name = line.notes.get("stage")
        if name in self.names and line.error is None:
            self.answered[name] += 1

    def results(self) -> dict[str, StageShare]:
        """By name; a stage was asked what it or a later one answered."""
        asked, found = 0, {}
        for name in reversed(self.names):
            asked += self.answered[name]
            found[name] = StageShare(asked=asked, answered=self.answered[name])
        return {name: found[name] for name in self.names}


@dataclass
class Tally:
    """What a backend's lines add up to. `add` every line's last state once.

    paid: USD of all lines ever written, superseded ones too: an answer that was asked again was paid for. hashes:
    (rows, repeats) of the answers' texts. answers: None unless they are wanted row by row (`with_answers`).
    """

    identity: BackendIdentity
    metrics: tuple[Metric, ...]
    labels: tuple[str, ...]
    rows: int
    repeats: int
    with_answers: bool = False
    paid: float = 0.0
    answered: int = 0
    cached: int = 0
    attempts: int = 0
    truncated: int = 0
    cut_off_thinking: int = 0
    only_reasoning: int = 0
    tokens: int = 0
    queue_s: float = 0.0
    retry_s: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    error_examples: dict[str, str] = field(default_factory=dict)
    format_errors: Counter[str] = field(default_factory=Counter)
    usage: Counter[str] = field(default_factory=Counter)
    times: Times = field(default_factory=Times)
    probe: Times = field(default_factory=Times)
    money: Money = field(default_factory=Money)
    probe_money: Money = field(default_factory=Money)
    servers: Servers = field(default_factory=Servers)
    prices: RowPrices = field(init=False)
    outcomes: OutcomeBuilder = field(init=False)
    answers: AnswersBuilder | None = field(init=False, default=None)
    hashes: Hashes = field(init=False)
    stages: StageTally = field(init=False)

    def __post_init__(self) -> None:
        self.prices = RowPrices(self.rows, self.repeats)
        self.hashes = new_hashes(self.rows, self.repeats)
        self.outcomes = OutcomeBuilder(self.identity.decode, self.metrics, self.labels, self.rows, self.repeats)
        self.stages = StageTally(self.identity.stages)
        if self.with_answers:
            self.answers = AnswersBuilder(
                row_metric(self.metrics), self.rows, self.repeats, len(self.labels), self.identity.temperature
            )

    def add(self, line: LogLine) -> None:
        """Take in the last line of one (row, repeat)."""
        self.money.add(line)
        self.servers.add(line)
        if self.answers is not None:
            self.answers.add(line)
        self.stages.add(line)
        if not line.cached:
            self.attempts += line.attempts
            self.retry_s += line.timing.retry_s
        if line.error is not None:
            self.errors[line.error.kind] += 1
            self.error_examples.setdefault(line.error.kind, line.error.message[:200])
            return
        self.answered += 1
        self.truncated += line.prompt_truncated
        thought = bool(line.reasoning or line.usage.reasoning_tokens)
        self.cut_off_thinking += thought and line.finish == "length" and not line.text.strip()
        self.only_reasoning += bool(line.reasoning) and line.finish == "stop" and not line.text.strip()
        self.outcomes.add(line)
        self.prices.add(line)
        self.hashes[line.n, line.repeat] = text_hash(line.text)
        if line.score is not None and line.score.format is not None:
            self.format_errors[line.score.format] += 1
        for name in Usage.__struct_fields__:
            self.usage[name] += getattr(line.usage, name)
        if line.cached:
            self.cached += 1
            if self.identity.kind == "replay" and line.timing.service_s:  # as the log has it
                self.times.add(line)
        else:
            self.tokens += line.usage.prompt_tokens + line.usage.completion_tokens
            self.queue_s += line.timing.queue_s
            if "batch" not in line.notes:  # a provider's batch has hours, and no latency of a row
                self.times.add(line)

    def add_probe(self, line: LogLine) -> None:
        """Take in a line of the latency probe: its time where it is an answer, its cost always."""
        self.probe_money.add(line)
        if line.error is None:
            self.probe.add(line)

    def load(self, sessions: list[Session]) -> Load:
        """Rates over the time the backend worked: its own `busy_s` where it counts that (handles of one local
        engine take turns, so that wall time is not theirs alone; workers side by side share it), else the wall time
        of its sessions."""
        fresh = self.answered - self.cached
        wall_s = sum(s.wall_s for s in sessions)
        busy_s = sum(s.counters.get("busy_s", s.wall_s) / s.counters.get("workers", 1.0) for s in sessions)
        rows = sum(s.rows for s in sessions)
        rate = rows / busy_s if busy_s and rows else None
        return Load(
            wall_s=wall_s if sessions else None,
            rows_per_s=rate,
            tokens_per_s=rate * self.tokens / fresh if rate is not None and fresh else None,
            service=self.times.latency(),
            queue_mean_s=self.queue_s / fresh if fresh else None,
            retry_total_s=self.retry_s,
            attempts=self.attempts,
            cached=self.cached,
            counters=next((s.counters for s in reversed(sessions) if s.counters), {}),
        )

    def cost(self, sessions: list[Session]) -> CostResult:
        """By the hour where the device has a price, else by what the answers carry."""
        if self.identity.device_hour_usd is not None:
            return self._by_the_hour(sessions, self.identity.device_hour_usd)
        known = bool(self.answered and not self.money.list_unknown)
        device = sum(s.counters.get("device_usd", 0.0) for s in sessions)  # of stages whose price is by the hour
        asked = sum(s.rows for s in sessions)
        each = self.money.list / self.answered + (device / asked if asked else 0.0) if known else None
        paid = None
        if not self.money.incurred_unknown and not self.probe_money.incurred_unknown:
            paid = self.paid + device
        if self.answered and not known:
            what = "set device_hour_usd" if self.identity.kind == "local" else "set price"
            basis = f"no price known for {self.identity.model}: {what} in bench.toml"
        elif self.identity.price:
            terms = ", ".join(f"{k} {v}" for k, v in sorted(self.identity.price.items()) if v is not None)
            basis = f"tokens as the server counted them, at {terms}"
        else:
            basis = "the costs that the answers carry" + (f", and {device:.4g} USD of device time" if device else "")
        return CostResult(
            list=None if each is None else each * self.answered,
            incurred=paid if self.answered or self.paid else None,
            per_1000=None if each is None else 1000 * each,
            training=self.identity.training_usd,
            trainings=self.identity.trainings,
            basis=basis,
        )

    def _by_the_hour(self, sessions: list[Session], price: float) -> CostResult:
        busy_s = working_seconds(sessions)
        rows = sum(s.rows for s in sessions)
        if not rows or not busy_s:
            basis = f"device hours at {price} USD, but no session with a measured time"
            return CostResult(training=self.identity.training_usd, trainings=self.identity.trainings, basis=basis)
        each = busy_s / 3600 * price / rows
        return CostResult(
            list=each * self.answered,
            incurred=busy_s / 3600 * price,
            per_1000=1000 * each,
            training=self.identity.training_usd,
            trainings=self.identity.trainings,
            basis=f"{busy_s:.1f} s of work at {price} USD an hour, the device fully used",
        )


def tally_of(log: RunLog, name: str, metrics: tuple[Metric, ...], rows: int, *, with_answers: bool = False) -> Tally:
    """One backend's log and probe log, added up. with_answers: values and confidences row by row too."""
    manifest = log.manifest
    tally = Tally(manifest.backends[name], metrics, manifest.labels, rows, manifest.repeats, with_answers)
    tally.paid = log.incurred(name)
    sessions = log.sessions(name)
    tally.outcomes.watched = manifest.early_stop is not None
    tally.outcomes.sequential = bool(sessions) and (sessions[-1].stopped or {}).get("kind") == EARLY_STOP
    for line in log.backend_log(name).each_last():
        tally.add(line)
    for line in log.backend_log(name, probe=True).each_last():
        tally.add_probe(line)
    return tally


def working_seconds(sessions: list[Session]) -> float:
    """Seconds of work: as the backend counted them (`busy_s`, of all its workers), else by the clock on the wall."""
    return sum(s.counters.get("busy_s", s.wall_s) for s in sessions)
