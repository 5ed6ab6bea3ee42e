"""The two arms of a gate, candidate and reference, and their rows as pairs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.data.contamination import read_findings
from harness.data.record_store import SpooledRecords
from harness.data.sampling import fingerprint, order_version
from harness.errors import IncompleteRunError, UsageError, did_you_mean
from harness.gating.early_stopping import EarlyStopTerms
from harness.gating.gate_result import ArmInfo
from harness.gating.row_ids import RowIds
from harness.hashing import digest_each
from harness.metrics import Metric
from harness.records import BackendIdentity, Row
from harness.results import BackendResult, Latency, Summary, is_tuned_model
from harness.runs.run_log import EARLY_STOP, RunLog
from harness.statistics.confidence_sequence import LEVEL as WATCHED_LEVEL
from harness.statistics.multiple_testing import selection_level
from harness.statistics.noninferiority import LEVEL
from harness.summary.answer_columns import NO_TEXT, Hashes
from harness.summary.log_aggregate import tally_of
from harness.summary.outcomes import (
    NOT_ANSWERED,
    NUMBER,
    REFERENCE_NUMBER,
    Array,
    Codes,
    Outcomes,
    RowTable,
)


@dataclass(frozen=True)
class Evaluation:
    """What must agree before two evaluations are compared: task, rows, prompts, parser, metrics.

    data: fingerprint of ids, references and groups; prompts: of ids and request hashes; both whatever the order.
    order: the version of the order by which rows and examples were drawn.
    """

    source: str
    task: str
    data: str
    prompts: str
    parser: str
    labels: tuple[str, ...]
    metrics: tuple[Metric, ...]
    order: int


@dataclass(frozen=True)
class Arm:
    """One backend's outcomes, rows in the order of `ids`.

    asked: requests; unanswered: of these, errors and never sent (early: the terms under which the run stopped early
    on purpose; then only what was sent was asked). cost_per_1000: list price, None where unknown.
    costs: (n,) USD an answer, row by row; None for a device that is paid by the hour, and in a baseline.
    contaminated: positions of rows that its model may have learned from, None where that is not known; trained: whether
    it was fine-tuned, or may have been. cached: answers that came from the answer cache, or from a recording where
    they are `recorded`; answers_sha256: of all texts, whatever the order of rows; None where one is missing or the
    texts are not known.
    """

    info: ArmInfo
    ids: RowIds
    outcomes: Outcomes
    asked: int
    unanswered: int
    errors: int
    cost_per_1000: float | None
    cost_basis: str
    tokens_per_answer: float | None
    probe: Latency | None
    early: EarlyStopTerms | None = None
    costs: Array | None = None
    contaminated: tuple[int, ...] | None = None
    trained: bool = False
    cached: int = 0
    recorded: bool = False
    answers_sha256: str | None = None

    def positions(self, ids: RowIds) -> Codes:
        """Positions of the rows `ids`, all of which it has. Raises KeyError."""
        found = self.ids.find(ids)
        if (found < 0).any():
            raise KeyError(ids[int((found < 0).argmax())])
        return found


def read_ids(rows: SpooledRecords[Row], log: RunLog) -> RowIds:
    """The ids of a run's rows. Raises UsageError where two rows have one id: pairing would be a guess."""
    ids = RowIds.of(row.sample.id for row in rows)
    twice = ids.repeated()
    if twice is not None:
        raise UsageError(f"{log.path / 'samples.jsonl'}: the id {twice} occurs twice; run it again.")
    return ids


def run_summary(log: RunLog) -> Summary:
    """The summary of a run that has ended. Raises IncompleteRunError for one that has not."""
    summary = log.summary()
    if summary is None:
        raise IncompleteRunError(f"{log.path} has not ended: finish it with `bench run --resume {log.path}`.")
    return summary


def run_evaluation(log: RunLog, rows: SpooledRecords[Row], summary: Summary) -> Evaluation:
    """What a run evaluated, from its rows themselves."""
    return Evaluation(
        source=str(log.path),
        task=log.manifest.task,
        data=fingerprint(row.sample for row in rows),
        prompts=prompt_fingerprint(rows),
        parser=log.manifest.parser,
        labels=log.manifest.labels,
        metrics=summary.metrics,
        order=order_version(log.manifest.data),
    )


def prompt_fingerprint(rows: Iterable[Row]) -> str:
    """SHA-256 over what was asked about each row, whatever the order."""
    hashes = bytearray()

    def each() -> Iterator[str]:
        for row in rows:
            hashes.extend(bytes.fromhex(row.request.hash()))
            yield row.sample.id

    names = RowIds.of(each())
    size = len(hashes) // max(len(names), 1)
    by_position = (hashes[size * n : size * (n + 1)].hex() for n in names.order().tolist())
    return digest_each([name, of] for name, of in zip(names.only(names.order()), by_position, strict=True))


def run_arm(log: RunLog, name: str, ids: RowIds, summary: Summary) -> Arm:
    """A backend of a run whose rows are called `ids`. Raises UsageError with the nearest name."""
    if name not in summary.backends:
        raise UsageError(f"{log.path} has no backend '{name}'{did_you_mean(name, summary.backends)}.")
    manifest = log.manifest
    result: BackendResult = summary.backends[name]
    tally = tally_of(log, name, summary.metrics, len(ids))
    asked = len(ids) * manifest.repeats
    overlap = read_findings(log.path).overlaps.get(name)
    early = None
    if manifest.early_stop is not None and (result.stopped or {}).get("kind") == EARLY_STOP:
        early = msgspec.convert(manifest.early_stop, EarlyStopTerms)
        asked = tally.answered + tally.errors.total()
    tokens = sum(result.usage.get(kind, 0) for kind in ("prompt_tokens", "completion_tokens"))
    return Arm(
        info=ArmInfo(
            source=str(log.path),
            run=manifest.id,
            backend=name,
            model=result.model,
            adapter=result.adapter,
            adapter_sha256=manifest.backends[name].adapter_sha256,
            decode=result.decode,
            created=manifest.created,
            git=manifest.git,
        ),
        ids=ids,
        outcomes=tally.outcomes.build(),
        asked=asked,
        unanswered=asked - tally.answered,
        errors=tally.errors.total(),
        cost_per_1000=result.cost.per_1000,
        cost_basis=result.cost.basis,
        tokens_per_answer=tokens / tally.answered if tally.answered else None,
        probe=result.probe,
        early=early,
        costs=tally.prices.means() if manifest.backends[name].device_hour_usd is None else None,
        contaminated=None if overlap is None else tuple(overlap.rows),
        trained=_trained(manifest.backends[name]),
        cached=tally.cached,
        recorded=manifest.backends[name].kind == "replay",
        answers_sha256=_answers_digest(ids, tally.hashes),
    )


def _trained(identity: BackendIdentity) -> bool:
    """Whether a backend was fine-tuned, as far as its identity shows; unknown for recorded answers."""
    return identity.adapter is not None or identity.kind == "replay" or is_tuned_model(identity.model)


def _answers_digest(ids: RowIds, hashes: Hashes) -> str | None:
    """SHA-256 over which text each row was answered with; None where an answer is missing."""
    if (hashes == NO_TEXT).any():
        return None
    order = ids.order()
    return digest_each([row, *hashes[n].tolist()] for row, n in zip(ids.only(order), order, strict=True))


@dataclass(frozen=True)
class Pairing:
    """A candidate and its reference on the same rows, answers that the candidate owes filled in as wrong.

    candidates: backends among which the candidate is the best on these very rows (itself too), where it may have been
    picked for that; empty where it was named beforehand.
    """

    backend: str
    rows: RowTable
    candidate: Outcomes
    reference: Outcomes
    sides: tuple[Arm, Arm]
    metrics: tuple[Metric, ...]
    candidates: tuple[str, ...] = ()

    def only(self, chosen: Codes) -> "Pairing":
        """The pairing on the rows at these positions; its sides stay whole."""
        rows, mine, theirs = self.rows.only(chosen), self.candidate.only(chosen), self.reference.only(chosen)
        return replace(self, rows=rows, candidate=mine, reference=theirs)

    @property
    def level(self) -> float:
        """Of the intervals that decide: for the best of several candidates they hold for all of these at once."""
        return selection_level(self.level_of_one, max(1, len(self.candidates)))

    @property
    def level_of_one(self) -> float:
        """Of one candidate's intervals: where asking could have stopped early, half of the 5 % was spent on looking."""
        return WATCHED_LEVEL if self.candidate.watched or self.reference.watched else LEVEL

    @property
    def names(self) -> tuple[str, str]:
        """Seeds of the resampling: what is compared, not where it lies."""
        return (f"candidate {self.sides[0].info.backend}", f"reference {self.sides[1].info.backend}")


def fill_missing(candidate: Outcomes, reference: Outcomes, metrics: tuple[Metric, ...], labels: int) -> Outcomes:
    """These metrics of the candidate with the worst value on every answer it owes.

    A row owing some repeats is worth their mean. The worst is 0 or 1 for right/wrong metrics, else the worst value seen
    on either side.
    """
    share = (candidate.answers != NOT_ANSWERED).mean(axis=1)
    owing = share < 1
    if not owing.any():
        return candidate
    by_name = {m.name: m for m in metrics}
    values: dict[str, Array] = {}
    for name in filter(by_name.__contains__, candidate.values):
        given = candidate.values[name]
        worst = _worst(by_name[name], given, reference.values.get(name))
        filled = np.where(np.isnan(given), worst, given) * share + worst * (1 - share)
        values[name] = np.where(owing, filled, given)
    answers = np.where(candidate.answers == NOT_ANSWERED, labels, candidate.answers)
    values |= _without_hits(candidate, reference, owing, share)
    return replace(candidate, values=values, answers=answers)


def _without_hits(candidate: Outcomes, reference: Outcomes, owing: NDArray[np.bool_], share: Array) -> dict[str, Array]:
    """What label counts and correlations are computed from, where answers are owed: the references are those of the
    other side (or of the answers that are there), the answers add nothing."""
    found: dict[str, Array] = {}
    for key in {k for side in (candidate, reference) for k in side.values if ":" in k}:
        nothing = np.full(len(owing), np.nan)
        given = candidate.values.get(key, nothing)
        other = reference.values.get(key, nothing)
        if key == REFERENCE_NUMBER:
            found[key] = np.where(np.isnan(given), other, given)
        elif key == NUMBER:
            found[key] = given
        elif key.startswith("references:"):
            found[key] = np.nan_to_num(np.where(np.isnan(given), other, given))
        else:
            found[key] = np.where(owing, np.nan_to_num(given) * share, given)
    return found


def _worst(metric: Metric, given: Array, other: Array | None) -> float:
    if metric.proportion:
        return 0.0 if metric.direction == "higher" else 1.0
    seen = np.concatenate([given, other if other is not None else given])
    seen = seen[~np.isnan(seen)]
    if not len(seen):
        return float("nan")
    return float(seen.min() if metric.direction == "higher" else seen.max())


def undefined(metric: Metric, candidate: Outcomes, reference: Outcomes) -> int:
    """Rows where the reference has a value of the metric and the candidate answered without getting one."""
    if metric.kind != "mean" or metric.name not in candidate.values or metric.name not in reference.values:
        return 0
    lacking = np.isnan(candidate.values[metric.name]) & ~np.isnan(reference.values[metric.name])
    return int((lacking & candidate.answered).sum())
