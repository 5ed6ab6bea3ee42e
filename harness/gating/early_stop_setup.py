"""Setting up `--early-stop`: the gate's question, taken down in the manifest, and the watch that asks it."""

from collections.abc import Sequence
from typing import Any

import msgspec

from harness.data.sampling import fingerprint, order_version
from harness.errors import IncompleteRunError, NotComparableError, UsageError
from harness.gating.comparability import refusals
from harness.gating.early_stopping import EarlyStop, EarlyStopTerms, Outside
from harness.gating.evaluate import GateSource, refuse_too_few_answers
from harness.gating.gate_settings import COST, DEFAULT_MARGIN, LATENCY, Terms, gate_settings
from harness.gating.gate_sources import is_baseline, open_reference
from harness.gating.pairing import Evaluation, prompt_fingerprint
from harness.gating.row_ids import RowIds
from harness.gating.sequential_checks import ArmValues
from harness.metrics import FORMAT_ERROR_RATE, Metric
from harness.records import Row
from harness.runs.run_log import Manifest
from harness.settings import Settings
from harness.statistics.mean_intervals import FEWEST
from harness.summary.optional_stopping import bounds_of
from harness.workspace import Workspace


def early_stop_terms(
    metrics: tuple[Metric, ...], reference: str, settings: Settings, names: Sequence[str], workspace: Workspace
) -> dict[str, Any]:
    """The questions as stored in the manifest: the task's headline metric, and whatever else `[gate]` asks of a
    figure of rows. A run is stored by its path, for `last` would be another one when this run is resumed. names: of
    this run's backends.

    Raises UsageError where `[gate]` asks for a figure that cannot be decided row by row.
    """
    if reference not in names and not is_baseline(reference):
        reference = str(workspace.find_run(reference))
    where = f"{settings.path} [gate]" if settings.path else "[gate]"
    gate = gate_settings(settings.gate, metrics, where=where)
    headline = metrics[0]
    asked = gate.terms.get(headline.name)
    margin = DEFAULT_MARGIN if asked is None or asked.margin is None else asked.margin
    checks = {headline.name: msgspec.structs.replace(asked or Terms(), margin=margin)}
    checks |= {name: terms for name, terms in gate.terms.items() if name not in (headline.name, COST, *LATENCY)}
    for metric in metrics:
        if metric.name in checks and bounds_of(metric) is None:
            why = "is no mean of rows" if metric.kind != "mean" else "has no range"
            raise UsageError(
                f"--early-stop decides row by row, and {metric.name} {why}: take it out of [gate], or run without "
                "--early-stop."
            )
    terms = EarlyStopTerms(
        reference=reference,
        metric=headline.name,
        margin=margin,
        checks=checks,
        max_error_rate=gate.max_error_rate,
        fewest_rows=FEWEST if COST in gate.terms else 0,
    )
    return dict(msgspec.to_builtins(terms))


def watch_of(
    manifest: Manifest, rows: Sequence[Row], metrics: tuple[Metric, ...], workspace: Workspace
) -> EarlyStop | None:
    """The watch over a run that is about to be asked; None where nobody wants one.

    Raises NotComparableError where the reference was measured on other rows, prompts or rules, or does not
    exist, IncompleteRunError where it lacks too many answers, UsageError where there is nobody to hold against it.
    """
    if manifest.early_stop is None:
        return None
    terms = msgspec.convert(manifest.early_stop, EarlyStopTerms)
    names = list(manifest.backend_settings)
    if terms.reference in names:
        others = [name for name in names if name != terms.reference]
        if not others:
            raise UsageError(f"--early-stop {terms.reference}: there is no other backend to hold against it.")
        return EarlyStop(terms, metrics, rows, manifest.repeats, others, terms.reference)
    source = open_reference(terms.reference, workspace)
    _refuse_other_evaluation(manifest, rows, metrics, source)
    candidates = [name for name in names if name in source.names]
    if not candidates:
        raise NotComparableError(
            f"--early-stop {terms.reference}: it knows {', '.join(source.names)}, this run asks {', '.join(names)}; "
            "backends are matched by name."
        )
    outside = {name: _outside(rows, source, name, terms) for name in candidates}
    return EarlyStop(terms, metrics, rows, manifest.repeats, candidates, outside)


def _outside(rows: Sequence[Row], source: GateSource, name: str, terms: EarlyStopTerms) -> Outside:
    """The reference's answers at each position of this run."""
    side = source.side(name)
    lacking = refuse_too_few_answers(side, terms.max_error_rate)
    if lacking:
        raise IncompleteRunError(f"--early-stop {terms.reference}: {lacking}")
    found = side.outcomes.only(side.positions(RowIds.of(row.sample.id for row in rows)))
    for metric, asked in terms.watched.items():
        if asked.margin is not None and metric not in found.values and metric != FORMAT_ERROR_RATE.name:
            raise NotComparableError(f"--early-stop {source.evaluation.source}: '{name}' has no {metric} there.")
    return Outside(ArmValues.of(found), found.decode)


def _refuse_other_evaluation(
    manifest: Manifest, rows: Sequence[Row], metrics: tuple[Metric, ...], source: GateSource
) -> None:
    here = Evaluation(
        source="this run",
        task=manifest.task,
        data=fingerprint(row.sample for row in rows),
        prompts=prompt_fingerprint(rows),
        parser=manifest.parser,
        labels=manifest.labels,
        metrics=metrics,
        order=order_version(manifest.data),
    )
    reasons = refusals(here, source.evaluation, (RowIds.of(row.sample.id for row in rows), source.ids))
    if reasons:
        raise NotComparableError(f"--early-stop {source.evaluation.source}: {' '.join(reasons)}")
