"""Setting up `--early-stop`: the gate's question, taken down in the manifest, and the watch that asks it."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from harness.data.sampling import fingerprint, order_version
from harness.errors import NotComparableError, UsageError
from harness.gate.comparable import refusals
from harness.gate.early_stop import EarlyStop, EarlyStopTerms
from harness.gate.front import is_baseline, open_reference
from harness.gate.judge import Source
from harness.gate.settings import DEFAULT_MARGIN, gate_settings
from harness.gate.side import Evaluation, prompt_fingerprint
from harness.metrics import Metric
from harness.records import Row
from harness.runlog import Manifest
from harness.settings import Settings
from harness.workspace import Workspace


def early_stop_terms(
    metrics: tuple[Metric, ...], reference: str, settings: Settings, names: Sequence[str], workspace: Workspace
) -> dict[str, Any]:
    """The question as it stands in the manifest: the task's headline metric, the margin of `[gate]`. A run stands there
    by its path, for `last` would be another one when this run is resumed. names: of this run's backends."""
    if reference not in names and not is_baseline(reference):
        reference = str(workspace.find_run(reference))
    where = f"{settings.path} [gate]" if settings.path else "[gate]"
    terms = gate_settings(settings.gate, metrics, where=where).terms.get(metrics[0].name)
    margin = DEFAULT_MARGIN if terms is None or terms.margin is None else terms.margin
    return msgspec.structs.asdict(EarlyStopTerms(reference=reference, metric=metrics[0].name, margin=margin))


def watch_of(
    manifest: Manifest, rows: Sequence[Row], metrics: tuple[Metric, ...], workspace: Workspace
) -> EarlyStop | None:
    """The watch over a run that is about to be asked; None where nobody wants one.

    Raises NotComparableError where the reference was measured on other rows, prompts or rules, or does not
    exist, UsageError where the metric or the rows do not allow it.
    """
    if manifest.early_stop is None:
        return None
    terms = msgspec.convert(manifest.early_stop, EarlyStopTerms)
    metric = next(m for m in metrics if m.name == terms.metric)
    names = list(manifest.backend_settings)
    if terms.reference in names:
        others = [name for name in names if name != terms.reference]
        if not others:
            raise UsageError(f"--early-stop {terms.reference}: there is no other backend to hold against it.")
        return EarlyStop(terms, metric, rows, manifest.repeats, others, terms.reference)
    source = open_reference(terms.reference, workspace)
    _refuse_other_evaluation(manifest, rows, metrics, source)
    candidates = [name for name in names if name in source.names]
    if not candidates:
        raise NotComparableError(
            f"--early-stop {terms.reference}: it knows {', '.join(source.names)}, this run asks {', '.join(names)}; "
            "backends are matched by name."
        )
    values = {name: _values(rows, source, name, metric) for name in candidates}
    return EarlyStop(terms, metric, rows, manifest.repeats, candidates, values)


def _values(rows: Sequence[Row], source: Source, name: str, metric: Metric) -> dict[int, float]:
    """The reference's value of each position of this run; rows without an answer are left out."""
    side = source.side(name)
    if metric.name not in side.outcomes.values:
        raise NotComparableError(f"--early-stop {source.evaluation.source}: '{name}' has no {metric.name} there.")
    at = side.positions([row.sample.id for row in rows])
    found = side.outcomes.values[metric.name][at]
    return {n: float(value) for n, value in enumerate(found) if not np.isnan(value)}


def _refuse_other_evaluation(
    manifest: Manifest, rows: Sequence[Row], metrics: tuple[Metric, ...], source: Source
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
    reasons = refusals(here, source.evaluation, ([row.sample.id for row in rows], source.ids))
    if reasons:
        raise NotComparableError(f"--early-stop {source.evaluation.source}: {' '.join(reasons)}")
