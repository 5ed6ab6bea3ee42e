"""What 1,000 answers cost at list price: compared as it is. A cached rerun must not look cheaper than a fresh one."""

from .pairing import Pairing
from .records import CheckResult, Kind, Verdict
from .settings import COST, Terms


def cost_checks(pairing: Pairing, terms: Terms) -> list[CheckResult]:
    """A limit in USD, a ratio to the reference, or both. The same rows were asked: there is no chance in it."""
    found = []
    if terms.at_most is not None:
        found.append(_check(pairing, "absolute", terms.at_most))
    if terms.ratio is not None:
        found.append(_check(pairing, "ratio", terms.ratio))
    return found


def _check(pairing: Pairing, kind: Kind, limit: float) -> CheckResult:
    candidate, reference = (side.cost_per_1000 for side in pairing.sides)
    quotient = candidate / reference if candidate is not None and reference else None
    figure = candidate if kind == "absolute" else quotient
    verdict: Verdict = "incomparable"
    if figure is not None:
        verdict = "pass" if figure <= limit else "fail"
        found = f"${figure:.4g}" if kind == "absolute" else f"{figure:.3g} x the reference"
        sentence = f"{found} for 1,000 answers at list price{_tokens(pairing)}."
    else:
        who = pairing.sides[0 if candidate is None else 1]
        sentence = f"the cost of {who.info.backend} is unknown or 0 ({who.cost_basis})."
    unit = "USD" if kind == "absolute" else "x the reference"
    return CheckResult(
        name=f"{pairing.backend}: {COST} at most {limit:g} {unit}",
        backend=pairing.backend,
        metric=COST,
        kind=kind,
        verdict=verdict,
        candidate=candidate,
        reference=reference,
        difference=quotient if kind == "ratio" else None,
        method="list price, no test",
        limit=limit,
        rows=len(pairing.rows),
        sentence=sentence,
    )


def _tokens(pairing: Pairing) -> str:
    here, there = (side.tokens_per_answer for side in pairing.sides)
    if here is None or there is None:
        return ""
    return f"; {here:.1f} tokens an answer, {there:.1f} in the reference"
