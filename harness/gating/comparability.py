"""Whether two evaluations may be compared at all: refused with reasons, never quietly compared."""

from collections.abc import Iterable

from harness.gating.pairing import Arm, Evaluation
from harness.gating.row_ids import RowIds
from harness.metrics import Metric


def refusals(candidate: Evaluation, reference: Evaluation, ids: tuple[RowIds, RowIds]) -> list[str]:
    """Why the evaluations differ in more than the model; empty where they do not. ids: of both sides."""
    found = []
    for what, here, there in (
        ("tasks", candidate.task, reference.task),
        ("versions of the task's parser and scoring", candidate.parser, reference.parser),
        ("label sets", ", ".join(candidate.labels), ", ".join(reference.labels)),
    ):
        if here != there:
            found.append(f"the {what} differ: {here or 'none'} here, {there or 'none'} in the reference.")
    if not found and candidate.data != reference.data:
        found.append(_rows_differ(*ids) + _other_order(candidate, reference))
    elif not found and candidate.prompts != reference.prompts:
        sentence = "the prompts differ: the same rows were run with other prompts, limits or seeds."
        found.append(sentence + _other_order(candidate, reference))
    return found + metric_refusals(candidate, reference)


def _rows_differ(here: RowIds, there: RowIds) -> str:
    common = here.common(there)
    if not common:
        return f"no row is common: {len(here)} rows here, {len(there)} in the reference."
    if common == len(here) == len(there):
        return "the rows differ: same texts, other references or groups."
    return (
        f"the rows differ: {len(here)} here, {len(there)} in the reference, {common} common "
        "(`bench compare` looks at the common ones)."
    )


def _other_order(candidate: Evaluation, reference: Evaluation) -> str:
    """That the same --limit and --shots draw other rows in another version of the order."""
    if candidate.order == reference.order:
        return ""
    return (
        f" Rows are drawn by version {candidate.order} of the seeded order here and by version {reference.order} in "
        "the reference, so that the same --limit or --shots takes other rows: run the reference again and accept it."
    )


def metric_refusals(candidate: Evaluation, reference: Evaluation) -> list[str]:
    """Metrics that bear one name and are not the same."""
    there = {m.name: m for m in reference.metrics}
    return [
        f"the metric {m.name} differs: {_differing(m, there[m.name])} in the reference."
        for m in candidate.metrics
        if m.name in there and not m.same_measure(there[m.name])
    ]


def _differing(here: Metric, there: Metric) -> str:
    if here.bounds is not None and there.bounds is not None and here.bounds != there.bounds:
        return "values from {:g} to {:g} here, from {:g} to {:g}".format(*here.bounds, *there.bounds)
    return f"version {here.version} here, {there.version}"


def decode_refusals(pairs: Iterable[tuple[Arm, Arm]]) -> list[str]:
    """A backend of one name must take its answers in one way on both sides."""
    return [
        f"{c.info.backend} uses another decode mode: {c.info.decode} here, {r.info.decode} in the reference."
        for c, r in pairs
        if c.info.decode != r.info.decode
    ]
