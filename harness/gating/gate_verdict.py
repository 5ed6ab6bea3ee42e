"""From checks to one verdict, unchanged candidates, and the headline check in words."""

from collections.abc import Sequence

import msgspec

from harness.errors import ExitCode
from harness.gating.gate_result import AGAINST, ArmInfo, CheckResult, OverallVerdict
from harness.gating.gate_settings import OnInconclusive
from harness.gating.pairing import Pairing
from harness.metrics import Estimate, Metric
from harness.results import AnswerFinding, ReplacementVerdict, Summary, VerdictOutcome
from harness.statistics.multiple_testing import holm
from harness.statistics.noninferiority import ALPHA

EXIT: dict[str, ExitCode] = {
    "pass": ExitCode.DONE,
    "unchanged": ExitCode.DONE,
    "fail": ExitCode.GATE_FAILED,
    "incomparable": ExitCode.NOT_COMPARABLE,
    "incomplete": ExitCode.INCOMPLETE,
}


def correct_harm(checks: list[CheckResult]) -> list[CheckResult]:
    """Holm over the harm tests of all paired checks; a significant harm turns an inconclusive check into a fail, and is
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


def no_row_differs(checks: list[CheckResult]) -> bool:
    """Whether every paired check saw the same outcome in every row."""
    paired = [check for check in checks if check.kind in AGAINST and check.differing is not None]
    return bool(paired) and all(check.differing == 0 for check in paired)


def question_equality(checks: list[CheckResult]) -> list[CheckResult]:
    """A paired pass without one differing row is no evidence where texts are not known: as likely the candidate is the
    reference itself."""
    return [
        msgspec.structs.replace(check, verdict="inconclusive", needed_rows=None)
        if check.kind in AGAINST and check.verdict == "pass"
        else check
        for check in checks
    ]


def exit_code(verdict: OverallVerdict, on_inconclusive: OnInconclusive) -> ExitCode:
    """What the command ends with."""
    if verdict == "inconclusive":
        return ExitCode.INCONCLUSIVE if on_inconclusive == "block" else ExitCode.DONE
    return EXIT[verdict]


def same_answers(pairing: Pairing) -> bool:
    """Whether every row was answered with the same text on both sides."""
    here, there = (side.answers_sha256 for side in pairing.sides)
    return here is not None and here == there


def same_model(pairing: Pairing) -> bool:
    """Whether both sides name one model and one adapter."""
    here, there = (side.info for side in pairing.sides)
    return (here.model, here.adapter_sha256) == (there.model, there.adapter_sha256)


def mark_unchanged(checks: list[CheckResult], pairings: list[Pairing]) -> list[CheckResult]:
    """Checks against the reference of a candidate with the reference's answers are "unchanged".

    Of the same model that needs no number of rows; another model must have passed besides, for a few equal answers
    of another model say little. Where texts are not known (a baseline of an older version), equal outcomes in every
    row stay no evidence: as likely the reference was evaluated twice.
    """
    found = list(checks)
    for pairing in pairings:
        mine = [i for i, check in enumerate(found) if check.backend == pairing.backend and _against_last(check)]
        if same_answers(pairing):
            sentence = f"every answer is the same text as in the reference ({len(pairing.rows):,} rows)"
            for i in mine:
                if found[i].verdict == "pass" or (found[i].verdict == "inconclusive" and same_model(pairing)):
                    found[i] = msgspec.structs.replace(
                        found[i], verdict="unchanged", needed_rows=None, needed_verdict=None, sentence=f"{sentence}."
                    )
        elif not _texts_known(pairing) and no_row_differs([found[i] for i in mine]):
            for i, check in zip(mine, question_equality([found[i] for i in mine]), strict=True):
                found[i] = check
    return found


def unchanged_warnings(pairing: Pairing, checks: list[CheckResult]) -> list[str]:
    """What equal answers or outcomes, and answers from the cache, mean for the verdict."""
    candidate, reference = pairing.sides
    found = []
    mine = [check for check in checks if check.backend == pairing.backend and _against_last(check)]
    name = candidate.info.backend
    if same_answers(pairing):
        if same_model(pairing):
            found.append(f"{name}: every row has the same outcome as in the reference, by the same text of one model.")
        else:
            found.append(
                f"{name}: every answer is the same text as in the reference, although the models differ "
                f"({_who(candidate.info)}; {_who(reference.info)}): were the intended model and adapter used?"
            )
    elif not _texts_known(pairing) and no_row_differs(mine):
        who = "and both are the same model" if same_model(pairing) else "although the models differ"
        advice = "" if reference.answers_sha256 else " A baseline accepted again keeps which texts were answered."
        found.append(
            f"{name}: every row has the same outcome as in the reference, {who}: there is nothing to judge. "
            f"Was the reference evaluated by mistake, or answers replayed?{advice}"
        )
    if candidate.cached and candidate.info.source != reference.info.source:
        found.append(_of_cache(pairing))
    return found


def _of_cache(pairing: Pairing) -> str:
    side = pairing.sides[0]
    what = f"{side.info.backend}: {side.cached:,} of {side.asked:,} answers"
    if side.recorded:
        return f"{what} are recorded ones: the model itself was not run."
    return (
        f"{what} came from the answer cache: the model was not asked again, and a server that got worse would not "
        "show. `bench run --no-cache` asks it."
    )


def _texts_known(pairing: Pairing) -> bool:
    return all(side.answers_sha256 is not None for side in pairing.sides)


def _against_last(check: CheckResult) -> bool:
    return check.kind in AGAINST and check.scope != "first"


def _who(info: ArmInfo) -> str:
    return f"{info.model} with {info.adapter}" if info.adapter else info.model


def verdicts_of(
    checks: Sequence[CheckResult], pairings: Sequence[Pairing], metric: Metric
) -> tuple[ReplacementVerdict, ...]:
    """For each pairing the check of `metric` against the reference that allows the larger loss; none where there is no
    such check, or it has no interval."""
    found = []
    for pairing in pairings:
        mine = [c for c in checks if c.backend == pairing.backend and _is_bound(c, metric)]
        if mine:
            found.append(_verdict(max(mine, key=lambda c: _loss(c, metric)[1]), pairing, metric))
    return tuple(found)


def _is_bound(check: CheckResult, metric: Metric) -> bool:
    bounded = check.low is not None and check.high is not None and check.verdict != "incomparable"
    return check.metric == metric.name and check.kind in AGAINST and check.scope != "first" and bounded


def _loss(check: CheckResult, metric: Metric) -> tuple[float, float]:
    """The interval of the loss, positive is worse."""
    assert check.low is not None
    assert check.high is not None
    ends = (-check.high, -check.low) if metric.direction == "higher" else (check.low, check.high)
    return ends[0] + 0.0, ends[1] + 0.0


def _verdict(check: CheckResult, pairing: Pairing, metric: Metric) -> ReplacementVerdict:
    low, high = _loss(check, metric)
    if check.p is not None and check.p > ALPHA:  # the two-sided test does not call the candidate better
        high = max(high, 0.0)
    candidate, reference = (side.info for side in pairing.sides)
    same = candidate.backend == reference.backend
    sign = -1 if metric.direction == "higher" else 1
    return ReplacementVerdict(
        incumbent=f"{reference.backend} of {reference.run}" if same else reference.backend,
        candidate=f"{candidate.backend} of {candidate.run}" if same else candidate.backend,
        candidates=check.candidates,
        metric=metric.name,
        outcome=_outcome(check, low),
        value_incumbent=check.reference,
        value_candidate=check.candidate,
        loss=Estimate(
            value=None if check.difference is None else sign * check.difference + 0.0,
            low=low,
            high=high,
            method=check.method,
            n=check.rows,
        ),
        level=(1 + check.level) / 2,
        rows=check.rows,
        basis=f"that {candidate.backend} was not trained on" if check.scope == "clean" else "",
        sequential=check.kind == "sequential",
        margin=check.margin,
        margin_source="the gate",
        needed_rows=check.needed_rows,
        needed_for="worse" if check.needed_verdict == "fail" else "within margin" if check.needed_rows else "",
        detectable=check.detectable,
    )


def _outcome(check: CheckResult, low: float) -> VerdictOutcome:
    if check.verdict == "unchanged":
        return "unchanged"
    if check.verdict == "pass":
        return "within margin"
    if check.verdict == "fail":
        return "beyond margin" if check.margin is not None and low > check.margin else "worse"
    return "not shown"


def findings_of(summary: Summary | None, pairings: Sequence[Pairing]) -> list[AnswerFinding]:
    """What the candidate's run found about its answers; equal answers of the two that are compared are said already."""
    names = {pairing.sides[0].info.backend for pairing in pairings}
    compared = [{side.info.backend for side in pairing.sides} for pairing in pairings]
    return [
        finding
        for finding in (() if summary is None else summary.findings)
        if names & set(finding.backends)
        and not (finding.kind == "identical answers" and set(finding.backends) in compared)
    ]
