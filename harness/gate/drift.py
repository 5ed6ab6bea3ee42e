"""Drift: small losses that each pass against the last baseline add up, and show against the first accepted one."""

import msgspec

from .checks import metric_checks
from .pairing import Pairing
from .records import CheckResult
from .settings import GateSettings


def drift_checks(pairing: Pairing, settings: GateSettings, tests: int) -> list[CheckResult]:
    """The margins of [gate] against the first accepted baseline (`pairing.sides[1]`)."""
    first = pairing.sides[1].info
    when = first.created[:10]
    return [
        msgspec.structs.replace(
            check,
            name=f"{pairing.backend}: {check.metric} against the first accepted baseline ({first.run}, {when})",
            scope="first",
        )
        for check in metric_checks(pairing, settings, tests)
        if check.kind == "paired"
    ]


def settle_drift(checks: list[CheckResult], unchanged: bool) -> list[CheckResult]:
    """A drift that is shown fails the gate; one that is not shown is advice, and so is one that an unchanged candidate
    cannot have brought about."""
    return [
        msgspec.structs.replace(check, verdict="advisory")
        if check.scope == "first" and (check.verdict not in ("pass", "fail") or unchanged)
        else check
        for check in checks
    ]


def drift_warnings(checks: list[CheckResult]) -> list[str]:
    """What to do about a drift that is shown."""
    names = [check.metric for check in checks if check.scope == "first" and _lost(check)]
    if not names:
        return []
    return [
        f"{', '.join(dict.fromkeys(names))}: worse than in the first accepted baseline by more than the margin allows, "
        "though each step since may have passed. If that is wanted, delete the baseline file and accept a run anew."
    ]


def _lost(check: CheckResult) -> bool:
    """Whether the loss is shown: not inside the margin, and harm significant after Holm."""
    return check.verdict == "fail"
