"""The gate itself: a run against a baseline file, against another run, or one backend of a run against another."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from harness.errors import NotComparableError, UsageError, did_you_mean
from harness.gating.baseline_file import Baseline, baseline_arm
from harness.gating.checks import checks_of, drift_checks, drift_warnings, resolve_drift
from harness.gating.comparability import decode_refusals, refusals
from harness.gating.cost_and_latency import latency_checks
from harness.gating.diagnostics import (
    cannot_pass,
    checks_off,
    clean_checks,
    contamination_notes,
    contamination_of,
    contamination_warnings,
    diagnostics,
    flips,
    notes_of,
    too_contaminated,
    warnings_of,
)
from harness.gating.early_stopped_gate import order_1_warning, sequential_checks, stopped_early
from harness.gating.formatting import headline, plural, resolution, sentence
from harness.gating.gate_result import CheckResult, Diagnostic, Flip, GateResult, OverallVerdict, overall
from harness.gating.gate_settings import GateSettings
from harness.gating.gate_verdict import (
    correct_harm,
    exit_code,
    findings_of,
    mark_unchanged,
    same_answers,
    unchanged_warnings,
    verdicts_of,
)
from harness.gating.pairing import (
    Arm,
    Evaluation,
    Pairing,
    fill_missing,
    read_ids,
    run_arm,
    run_evaluation,
    run_summary,
)
from harness.gating.row_ids import RowIds
from harness.metrics import Metric
from harness.records import Row
from harness.results import CostResult, Latency, Summary
from harness.runs.run_log import RunLog
from harness.summary.outcomes import RowTable
from harness.summary.stored_verdict import detects, verdict_sentence
from harness.summary.verdict_settings import chosen_among


@dataclass(frozen=True)
class GateSource:
    """Something that can be gated against: what it evaluated, and its backends' outcomes on demand. A baseline has no
    rows; those of a run are read where they lie."""

    evaluation: Evaluation
    names: tuple[str, ...]
    ids: RowIds
    origin: "RunLog | Baseline"
    rows: Sequence[Row]
    summary: Summary | None

    @classmethod
    def of_run(cls, log: RunLog) -> "GateSource":
        """A run that has ended. Raises IncompleteRunError, UsageError."""
        summary, rows = run_summary(log), log.stored_rows()
        ids = read_ids(rows, log)
        return cls(run_evaluation(log, rows, summary), tuple(summary.backends), ids, log, rows, summary)

    def first(self) -> "GateSource | None":
        """The first baseline that was accepted before this one; None for a run, or where this is the first."""
        if isinstance(self.origin, RunLog) or (found := self.origin.first) is None:
            return None
        return GateSource.of_baseline(found, found.evaluation(Path(self.evaluation.source)))

    @classmethod
    def of_baseline(cls, baseline: Baseline, evaluation: Evaluation) -> "GateSource":
        """An accepted baseline."""
        return cls(evaluation, tuple(baseline.backends), baseline.ids(), baseline, [], None)

    def side(self, name: str) -> Arm:
        """One backend. Raises UsageError with the nearest name."""
        if name not in self.names:
            where = self.evaluation.source
            raise UsageError(f"{where} has no backend '{name}'{did_you_mean(name, self.names)}.")
        if isinstance(self.origin, RunLog):
            assert self.summary is not None
            return run_arm(self.origin, name, self.ids, self.summary)
        return baseline_arm(self.origin, name, self.evaluation.source, self.ids)


def match_names(
    candidate: GateSource, reference: GateSource, candidate_name: str | None, reference_name: str | None
) -> list[tuple[str, str]]:
    """Which backend is held against which: the two named ones, else all that bear one name on both sides.

    Raises UsageError for a name that is not there, NotComparableError where no name is common or a backend
    would be held against itself.
    """
    if candidate_name is None and reference_name is not None:
        raise UsageError("--reference names what to compare with: use --candidate as well.")
    if candidate_name is not None:
        pair = (candidate_name, reference_name or candidate_name)
        if candidate is reference and pair[0] == pair[1]:
            raise NotComparableError(f"'{pair[0]}' would be compared with itself: name another --reference.")
        return [pair]
    common = [name for name in candidate.names if name in reference.names]
    if not common:
        raise NotComparableError(
            f"no backend is common to {candidate.evaluation.source} ({', '.join(candidate.names)}) and "
            f"{reference.evaluation.source} ({', '.join(reference.names)}): name them with --candidate and --reference."
        )
    return [(name, name) for name in common]


def evaluate_gate(
    candidate: GateSource,
    reference: GateSource,
    names: list[tuple[str, str]],
    settings: GateSettings,
    latency_runs: Sequence[RunLog] = (),
    first: GateSource | None = None,
) -> GateResult:
    """The verdict; `first` is the first accepted baseline, against which drift is looked for.

    Never raises for results that cannot be compared: these are a verdict of their own.

    Raises UsageError: unknown backend, damaged baseline, a slice column that the rows do not have.
    """
    sides = [(candidate.side(a), reference.side(b)) for a, b in names]
    blank = GateResult(
        verdict="incomparable",
        exit_code=0,
        task=candidate.evaluation.task,
        rows=len(candidate.ids),
        on_inconclusive=settings.on_inconclusive,
        sides=tuple((c.info, r.info) for c, r in sides),
        contamination=tuple((contamination_of(c), contamination_of(r)) for c, r in sides),
        settings=msgspec.json.decode(msgspec.json.encode(settings)),
    )
    refused = _refused(blank, candidate, reference, names, sides, settings)
    if refused is not None:
        return refused
    metrics = candidate.evaluation.metrics
    rows = RowTable.of(candidate.rows, candidate.evaluation.labels)
    _refuse_unknown_slices(settings, rows)
    pairings = [
        replace(_pair(rows, c, r, metrics), candidates=chosen_from(candidate, reference, c, r)) for c, r in sides
    ]
    tests = len(pairings) * sum(terms.margin is not None for terms in settings.terms.values())
    checks, seen, lost = _findings_of_pairings(pairings, candidate, settings, tests, latency_runs)
    since_first = [] if first is None else _drift(candidate, first, sides, rows, settings, tests)
    checks = correct_harm(checks + since_first)
    checks = mark_unchanged(checks, pairings)
    warnings = _warnings(pairings, checks, settings)
    checks = resolve_drift(checks, all(same_answers(pairing) for pairing in pairings))
    checks = [sentence(check) for check in checks]
    warnings = [finding.sentence for finding in findings_of(candidate.summary, pairings)] + warnings
    warnings += cannot_pass(checks, metrics)
    verdicts = verdicts_of(checks, pairings, metrics[0]) if metrics else ()
    detected = [detects(v.rows, v.detectable, metrics[0]) for v in verdicts[:1]]
    result = msgspec.structs.replace(
        blank,
        resolution=" ".join(filter(None, [resolution(checks), *detected])),
        verdicts=verdicts,
        sentences=tuple(verdict_sentence(v, metrics[0]) for v in verdicts),
        checks=tuple(checks),
        diagnostics=tuple(seen),
        flips=tuple(lost[:10]),
        warnings=tuple(warnings),
        notes=(*notes_of(pairings, settings), *(line for pairing in pairings for line in contamination_notes(pairing))),
        checks_off=checks_off(pairings, settings),
    )
    return _finish(result, overall(checks))


def _findings_of_pairings(
    pairings: list[Pairing],
    candidate: GateSource,
    settings: GateSettings,
    tests: int,
    latency_runs: Sequence[RunLog],
) -> tuple[list[CheckResult], list[Diagnostic], list[Flip]]:
    """What every pairing shows: its checks, its diagnostics, and rows that went from right to wrong.

    tests: non-inferiority tests over all pairings, for the correction.
    """
    checks: list[CheckResult] = []
    seen: list[Diagnostic] = []
    lost: list[Flip] = []
    for pairing in pairings:
        if stopped_early(pairing):
            found = sequential_checks(pairing, settings, tests)
            checks += found if candidate.evaluation.order > 1 else order_1_warning(found, candidate.rows)
        else:
            checks += checks_of(pairing, settings, tests, _run_costs(pairing, latency_runs))
            checks += clean_checks(pairing, settings, tests)
            seen += diagnostics(pairing, settings.slices)
        checks += latency_checks(pairing.backend, settings, *_probes(pairing, latency_runs))
        lost += flips(pairing, candidate.rows)
    return checks, seen, lost


def _warnings(pairings: list[Pairing], checks: list[CheckResult], settings: GateSettings) -> list[str]:
    """Equal answers, contamination, drift, and margins that nobody chose."""
    warnings = [line for pairing in pairings for line in unchanged_warnings(pairing, checks)]
    warnings += [line for pairing in pairings for line in contamination_warnings(pairing)]
    return warnings + drift_warnings(checks) + warnings_of(pairings, settings)


def _drift(
    candidate: GateSource,
    first: GateSource,
    sides: list[tuple[Arm, Arm]],
    rows: RowTable,
    settings: GateSettings,
    tests: int,
) -> list[CheckResult]:
    """Checks against the first accepted baseline, of the backends that it knows."""
    if refusals(candidate.evaluation, first.evaluation, (candidate.ids, first.ids)):
        return []  # accepted for other rows or prompts: nothing to hold against
    found: list[CheckResult] = []
    for mine, last in sides:
        if last.info.backend in first.names and mine.early is None:
            pairing = _pair(rows, mine, first.side(last.info.backend), candidate.evaluation.metrics)
            found += drift_checks(pairing, settings, tests)
    return found


def _finish(result: GateResult, verdict: OverallVerdict, reasons: tuple[str, ...] = ()) -> GateResult:
    result = msgspec.structs.replace(
        result,
        verdict=verdict,
        reasons=reasons,
        exit_code=int(exit_code(verdict, result.on_inconclusive)),
    )
    return msgspec.structs.replace(result, headline=headline(result))


def refuse_too_few_answers(side: Arm, most: float) -> str | None:
    """Why a side that lacks more than `most` of its answers gets no verdict; None where it does not."""
    if side.unanswered <= most * side.asked:
        return None
    return (
        f"{side.info.backend} ({side.info.run}) lacks {side.unanswered} of {side.asked} answers "
        f"({plural(side.errors, 'infrastructure error')}), more than {100 * most:g} %: {_finish_it(side)}"
    )


def _finish_it(side: Arm) -> str:
    if not Path(side.info.source).is_dir():
        return "accept a run without so many gaps."
    return f"finish it with `bench run --resume {shlex.quote(side.info.source)}`."


def _refused(
    blank: GateResult,
    candidate: GateSource,
    reference: GateSource,
    names: list[tuple[str, str]],
    sides: list[tuple[Arm, Arm]],
    settings: GateSettings,
) -> GateResult | None:
    """The verdict where nothing can be compared: other rows, contaminated ones, too few answers; else None."""
    reasons = refusals(candidate.evaluation, reference.evaluation, (candidate.ids, reference.ids))
    if all(a == b for a, b in names):
        reasons += decode_refusals(sides)
    if reasons:
        return _finish(blank, "incomparable", reasons=tuple(reasons))
    seen_rows = [text for c, _ in sides if (text := too_contaminated(c, settings.max_contaminated))]
    if seen_rows:
        return _finish(blank, "incomparable", reasons=tuple(dict.fromkeys(seen_rows)))
    too_few = [
        text for pair in sides for side in pair if (text := refuse_too_few_answers(side, settings.max_error_rate))
    ]
    if too_few:
        return _finish(blank, "incomplete", reasons=tuple(dict.fromkeys(too_few)))
    return None


def _refuse_unknown_slices(settings: GateSettings, rows: RowTable) -> None:
    for column in settings.slices:
        if column not in rows.columns:
            raise UsageError(f"[gate] slices: the rows have no column '{column}'{did_you_mean(column, rows.columns)}.")


def _pair(rows: RowTable, candidate: Arm, reference: Arm, metrics: tuple[Metric, ...]) -> Pairing:
    other = reference.outcomes.only(reference.positions(candidate.ids))
    mine = fill_missing(candidate.outcomes, other, metrics, len(rows.labels))
    same_name = candidate.info.backend == reference.info.backend
    backend = candidate.info.backend if same_name else f"{candidate.info.backend} against {reference.info.backend}"
    return Pairing(backend, rows, mine, other, (candidate, reference), metrics)


def chosen_from(candidate: GateSource, reference: GateSource, mine: Arm, theirs: Arm) -> tuple[str, ...]:
    """Backends of the candidate's run among which it may have been picked for its figure on these rows.

    Empty where the run itself named its candidate, where backends are matched by name, or where it is the only one.
    """
    log, name, other = candidate.origin, mine.info.backend, theirs.info.backend
    if not isinstance(log, RunLog) or candidate.summary is None or name == other or not candidate.evaluation.metrics:
        return ()
    if log.manifest.verdict is not None and log.manifest.verdict.candidate == name:
        return ()
    incumbent = other if candidate is reference else None
    headline = candidate.evaluation.metrics[0]
    found = chosen_among(name, incumbent, log.manifest.backends, candidate.summary.backends, headline)
    return found if len(found) > 1 else ()


def _probes(pairing: Pairing, runs: Sequence[RunLog]) -> tuple[list[tuple[Latency | None, Latency | None]], bool]:
    """Probes of both sides run by run; without such runs, of the two occasions that are there."""
    names = tuple(side.info.backend for side in pairing.sides)
    if runs:
        found = []
        for log in runs:
            backends = run_summary(log).backends
            for side in pairing.sides:
                _refuse_other_model(log, side)
            found.append((backends[names[0]].probe, backends[names[1]].probe))
        return found, names[0] != names[1]
    one_run = pairing.sides[0].info.source == pairing.sides[1].info.source
    return [(pairing.sides[0].probe, pairing.sides[1].probe)], one_run


def _run_costs(pairing: Pairing, runs: Sequence[RunLog]) -> list[tuple[CostResult, CostResult]]:
    """What both sides cost in each of the runs that know them."""
    mine, theirs = (side.info.backend for side in pairing.sides)
    found = [run_summary(log).backends for log in runs]
    return [(b[mine].cost, b[theirs].cost) for b in found if mine in b and theirs in b]


def _refuse_other_model(log: RunLog, side: Arm) -> None:
    """A probe of something else says nothing about this side."""
    name, known = side.info.backend, log.manifest.backends
    if name not in known:
        raise UsageError(f"--latency-run {log.path}: has no backend '{name}'{did_you_mean(name, known)}.")
    there = known[name]
    if (there.model, there.adapter_sha256) != (side.info.model, side.info.adapter_sha256):
        raise UsageError(f"--latency-run {log.path}: '{name}' is another model or adapter there ({there.model}).")
