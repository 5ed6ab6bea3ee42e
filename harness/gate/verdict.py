"""From checks to one verdict: passing needs every check, failing needs one, and harm is corrected over all."""

import msgspec

from harness.errors import ExitCode
from harness.statistics.holm import holm
from harness.statistics.noninferiority import ALPHA

from .records import CheckResult, OverallVerdict
from .settings import OnInconclusive

AGAINST = ("paired", "sequential")
"""Kinds of checks that hold row against row."""

EXIT: dict[str, ExitCode] = {
    "pass": ExitCode.DONE,
    "unchanged": ExitCode.DONE,
    "fail": ExitCode.GATE_FAILED,
    "incomparable": ExitCode.NOT_COMPARABLE,
    "incomplete": ExitCode.INCOMPLETE,
}


def correct_harm(checks: list[CheckResult]) -> list[CheckResult]:
    """Holm over the harm tests of all paired checks; a harm that stands turns an inconclusive check into a fail, and is
    noted on a pass.

    Passing needs no correction: every check must pass, so a bad candidate passes with probability ALPHA at most
    (intersection-union test, R. L. Berger, Technometrics 1982).
    """
    tested = [i for i, check in enumerate(checks) if check.harm_p is not None and check.verdict != "advisory"]
    corrected = holm([p for i in tested if (p := checks[i].harm_p) is not None])
    found = list(checks)
    for i, p in zip(tested, corrected, strict=True):
        verdict = found[i].verdict
        found[i] = msgspec.structs.replace(
            found[i],
            harm_p_holm=p,
            verdict="fail" if p <= ALPHA and verdict == "inconclusive" else verdict,
            shown_worse=p <= ALPHA and verdict == "pass",
        )
    return found


def nothing_differs(checks: list[CheckResult]) -> bool:
    """Whether every paired check saw the same outcome in every row."""
    paired = [check for check in checks if check.kind in AGAINST and check.differing is not None]
    return bool(paired) and all(check.differing == 0 for check in paired)


def doubt_equality(checks: list[CheckResult]) -> list[CheckResult]:
    """A paired pass without one differing row is no evidence where texts are not known: as likely the candidate is the
    reference itself."""
    return [
        msgspec.structs.replace(check, verdict="inconclusive", needed_rows=None)
        if check.kind in AGAINST and check.verdict == "pass"
        else check
        for check in checks
    ]


def overall(checks: list[CheckResult]) -> OverallVerdict:
    """The worst that counts; a gate without a single check that counts has compared nothing."""
    counted = {check.verdict for check in checks if check.verdict != "advisory"}
    if "incomparable" in counted or not counted:
        return "incomparable"
    if "fail" in counted:
        return "fail"
    if "inconclusive" in counted:
        return "inconclusive"
    against = {check.verdict for check in checks if check.kind in AGAINST and check.scope != "first"} - {"advisory"}
    return "unchanged" if against == {"unchanged"} else "pass"


def exit_code(verdict: OverallVerdict, on_inconclusive: OnInconclusive) -> ExitCode:
    """What the command ends with."""
    if verdict == "inconclusive":
        return ExitCode.INCONCLUSIVE if on_inconclusive == "block" else ExitCode.DONE
    return EXIT[verdict]
