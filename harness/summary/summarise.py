"""From a run directory to its summary: every aggregate and test result, computed once.

The same log gives the same bytes: no clock but the manifest's, seeds from names.
"""

from collections.abc import Mapping

import msgspec
import numpy as np

from harness.confidence_results import CascadeResult
from harness.data.contamination import Findings, Overlap, read_findings
from harness.metrics import ACCURACY, Metric
from harness.results import BackendResult, ClassResult, Confusion, PairResult, ReplacementVerdict, Summary, VerdictTerms
from harness.runs.run_log import Manifest, RunLog, read_likeness
from harness.summary.answer_columns import BackendAnswers, Hashes
from harness.summary.answer_findings import answer_findings, constant_answer
from harness.summary.estimates import confusion_record, counted_results, estimate_all, slice_estimates
from harness.summary.log_aggregate import Tally, tally_of
from harness.summary.outcomes import Outcomes, RowTable
from harness.summary.ranking import alone_detectable, better_of, letters, pair_results, ranks
from harness.summary.replacement_verdict import VerdictPair, replacement_verdict
from harness.summary.summary_warnings import warnings_of
from harness.summary.verdict_settings import Contenders, contenders


def summarise(
    log: RunLog,
    task_metrics: tuple[Metric, ...],
    contaminated: Mapping[str, int] | None = None,
) -> Summary:
    """The summary of a run from its current log.

    contaminated: backend -> evaluated rows that are also in its adapter's training rows, where the run
    directory holds no list of them. Raises UsageError for a log that does not fit its rows.
    """
    manifest = log.manifest
    rows = RowTable.of(log.rows(), manifest.labels)
    likeness = read_likeness(log.path)
    metrics = _metrics_of(manifest, task_metrics, likeness.metrics if likeness is not None else ())
    findings = read_findings(log.path)
    outcomes: dict[str, Outcomes] = {}
    results: dict[str, BackendResult] = {}
    hashes: dict[str, Hashes] = {}
    answers: dict[str, BackendAnswers] = {}
    for name in manifest.backends:
        tally = tally_of(log, name, metrics, len(rows), with_answers=True)
        outcomes[name], hashes[name] = tally.outcomes.build(), tally.hashes
        result = _backend_result(log, name, tally, rows, outcomes[name], (contaminated or {}).get(name))
        assert tally.answers is not None
        answers[name] = tally.answers.build()
        overlap = findings.overlaps.get(name)
        results[name] = result if overlap is None else _told_apart(result, overlap, metrics, rows, outcomes[name])
    headline = metrics[0] if metrics else ACCURACY
    pairs = pair_results(metrics, rows, outcomes)
    places = ranks(headline, pairs, results)
    verdict = _verdict(manifest, headline, rows, outcomes, results, findings, pairs)
    signs = answer_findings(manifest.backends, metrics, rows, outcomes, hashes)
    results, cascade = _with_confidence(manifest, verdict, metrics, rows, answers, results, findings)
    resolved = alone_detectable(headline, results) if verdict is None else verdict.detectable
    return Summary(
        run=manifest.id,
        task=manifest.task,
        created=manifest.created,
        rows=len(rows),
        repeats=manifest.repeats,
        data=manifest.data,
        headline=headline.name,
        metrics=metrics,
        backends=results,
        pairs=pairs,
        ranks=places,
        letters=letters(_best_first(places, results, headline), headline, pairs),
        verdict=verdict,
        constant=constant_answer(rows, metrics),
        findings=signs,
        resolution=resolved,
        complete=all(not r.missing and not r.errors for r in results.values()),
        warnings=warnings_of(manifest, results, pairs, outcomes, signs, metrics)
        + tuple(filter(None, [rows.copies_remark()]))
        + findings.remarks
        + (likeness.remarks if likeness is not None else ()),
        slices=slice_estimates(metrics, rows, outcomes),
        cascade=cascade,
    )


def _metrics_of(manifest: Manifest, of_task: tuple[Metric, ...], likeness: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """The metrics of a run in the order in which they are shown, the headline first.

    likeness: of open answers to their references; behind the headline, before what is shown only where there is room.
    """
    found = of_task if manifest.labels else tuple(m for m in of_task if m.kind != "confusion")
    return (*found[:1], *likeness, *found[1:])


def _with_confidence(
    manifest: Manifest,
    verdict: ReplacementVerdict | None,
    metrics: tuple[Metric, ...],
    rows: RowTable,
    answers: dict[str, BackendAnswers],
    results: dict[str, BackendResult],
    findings: Findings,
) -> tuple[dict[str, BackendResult], CascadeResult | None]:
    """The results with their calibration, and the best cascade; neither where no answer carries a confidence."""
    if not any(a.source is not None for a in answers.values()):
        return results, None
    from harness.summary.cascade_of_run import best_cascade, with_calibration  # loaded only where it is used

    calibrated = with_calibration(results, answers, metrics, rows, manifest.backends)
    return calibrated, best_cascade(manifest, verdict, metrics, rows, answers, calibrated, findings)


def _verdict(
    manifest: Manifest,
    headline: Metric,
    rows: RowTable,
    outcomes: dict[str, Outcomes],
    results: dict[str, BackendResult],
    findings: Findings,
    pairs: tuple[PairResult, ...],
) -> ReplacementVerdict | None:
    """The verdict on the run's candidate; None with fewer than two backends."""
    terms = manifest.verdict or VerdictTerms()
    reference = (manifest.early_stop or {}).get("reference")
    found = contenders(terms, manifest.backends, results, headline, reference)
    if found is None:
        return None
    overlap = findings.overlaps.get(found.candidate)
    duel = VerdictPair(
        contenders=found,
        better=any(better_of(p) == found.candidate for p in pairs if p.metric == headline.name and _is_pair(p, found)),
        sides=(outcomes[found.candidate], outcomes[found.incumbent]),
        results=(results[found.candidate], results[found.incumbent]),
        trained_on=np.array([] if overlap is None else overlap.rows, dtype=np.int64),
    )
    return replacement_verdict(headline, rows, duel, terms)


def _is_pair(pair: PairResult, found: Contenders) -> bool:
    return {pair.a, pair.b} == {found.candidate, found.incumbent}


def _best_first(places: dict[str, int], results: dict[str, BackendResult], headline: Metric) -> list[str]:
    """Measured backends by rank, then by the headline figure, then by name."""
    sign = -1 if headline.direction == "higher" else 1
    return sorted(places, key=lambda n: (places[n], sign * (results[n].metrics[headline.name].value or 0.0), n))


def _told_apart(
    result: BackendResult, overlap: Overlap, metrics: tuple[Metric, ...], rows: RowTable, outcomes: Outcomes
) -> BackendResult:
    """The result with its contaminated rows counted, and the metrics without them."""
    seen = overlap.rows
    if not seen:
        return msgspec.structs.replace(result, contaminated=0)
    others = np.setdiff1d(np.arange(len(rows)), seen)
    clean = estimate_all(metrics, rows.only(others), outcomes.only(others), "without contaminated rows")
    return msgspec.structs.replace(result, contaminated=len(seen), clean=clean)


def _backend_result(
    log: RunLog,
    name: str,
    tally: Tally,
    rows: RowTable,
    outcomes: Outcomes,
    contaminated: int | None,
) -> BackendResult:
    sessions = log.sessions(name)
    asked = len(rows) * log.manifest.repeats
    table: Confusion | None = None
    per_class: dict[str, ClassResult] = {}
    if rows.labels and tally.answered:
        table, per_class = confusion_record(rows, outcomes)
    elif tally.answered:
        per_class = counted_results(tally.metrics, rows, outcomes)
    return BackendResult(
        decode=tally.identity.decode,
        model=tally.identity.model,
        adapter=tally.identity.adapter,
        asked=asked,
        answered=tally.answered,
        errors=dict(sorted(tally.errors.items())),
        error_examples=dict(sorted(tally.error_examples.items())),
        missing=asked - tally.answered - tally.errors.total(),
        stopped=sessions[-1].stopped if sessions else None,
        metrics=estimate_all(tally.metrics, rows, outcomes, name),
        per_class=per_class,
        confusion=table,
        format_errors=dict(tally.format_errors.most_common()),
        usage=dict(tally.usage),
        truncated_prompts=tally.truncated,
        cut_off_thinking=tally.cut_off_thinking,
        only_reasoning=tally.only_reasoning,
        contaminated=contaminated,
        probe=tally.probe.latency(),
        load=tally.load(sessions),
        cost=tally.cost(sessions),
        servers=tally.servers.results(),
        stages=tally.stages.results(),
    )
