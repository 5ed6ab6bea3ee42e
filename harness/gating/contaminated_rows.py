"""Rows that a model may have learned from: the gate judges the other rows beside all rows, and the worse one counts."""

import msgspec
import numpy as np

from harness.gating.arm import Arm
from harness.gating.checks import metric_checks
from harness.gating.gate_result import CheckResult, Contamination
from harness.gating.gate_settings import GateSettings
from harness.gating.pairing import Pairing


def contamination_of(side: Arm) -> Contamination:
    """How many of a side's rows its model may have learned from."""
    count = None if side.contaminated is None else len(side.contaminated)
    rows = len(side.ids)
    return Contamination(
        source=side.info.source,
        backend=side.info.backend,
        rows=rows,
        contaminated=count,
        share=None if count is None or not rows else count / rows,
        trained=side.trained,
    )


def too_contaminated(side: Arm, most: float) -> str | None:
    """Why a candidate that may have learned from more than `most` of the rows gets no verdict; None for others."""
    seen = contamination_of(side)
    if seen.share is None or seen.share <= most:
        return None
    return (
        f"{_part(side)} are also in its training rows, more than {100 * most:g} %: these rows cannot tell how "
        "good it is on new ones. Evaluate on other rows (max_contaminated in [gate] sets the share)."
    )


def clean_checks(pairing: Pairing, settings: GateSettings, tests: int) -> list[CheckResult]:
    """The checks of metrics again, without the rows that the candidate may have learned from; none where it saw none.

    Rows that only the reference has seen stay: they flatter the reference, and make passing harder.
    """
    seen = pairing.sides[0].contaminated
    if not seen:
        return []
    rows = np.setdiff1d(np.arange(len(pairing.rows)), seen)
    if not len(rows):
        return [_no_row_left(pairing)]
    found = metric_checks(pairing.only(rows), settings, tests)
    return [msgspec.structs.replace(c, name=f"{c.name}, rows not trained on", scope="clean") for c in found]


def contamination_warnings(pairing: Pairing) -> list[str]:
    """What a reader must know of both sides' training rows."""
    candidate, reference = pairing.sides
    found = []
    if candidate.contaminated:
        left = len(candidate.ids) - len(candidate.contaminated)
        found.append(
            f"{_part(candidate)} are also in its training rows: the {left:,} others are judged beside all rows, and "
            "the worse verdict counts."
        )
    if reference.contaminated and candidate.contaminated != reference.contaminated:
        found.append(
            f"the reference {_part(reference)} are also in its training rows: its figures on them are too optimistic."
        )
    return found


def contamination_notes(pairing: Pairing) -> list[str]:
    """That a candidate's training rows are not known, where it has some."""
    candidate = pairing.sides[0]
    if candidate.contaminated is not None or not candidate.trained:
        return []
    name = candidate.info.backend
    return [f"{name}: contamination unknown: whether it was trained on these rows could not be checked."]


def _part(side: Arm) -> str:
    count, rows = len(side.contaminated or ()), len(side.ids)
    return f"{side.info.backend}: {count:,} of {rows:,} evaluated rows ({100 * count / rows:.2g} %)"


def _no_row_left(pairing: Pairing) -> CheckResult:
    return CheckResult(
        name=f"{pairing.backend}: rows not trained on",
        backend=pairing.backend,
        metric=pairing.metrics[0].name,
        kind="paired",
        verdict="inconclusive",
        scope="clean",
        sentence="every evaluated row is also in its training rows.",
    )
