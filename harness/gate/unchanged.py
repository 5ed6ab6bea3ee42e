"""A candidate whose answers are the reference's own, text by text: nothing has changed, and nothing is to be judged."""

import msgspec

from .pairing import Pairing
from .records import CheckResult, SideInfo
from .verdict import AGAINST, doubt_equality, nothing_differs


def same_answers(pairing: Pairing) -> bool:
    """Whether every row was answered with the same text on both sides."""
    here, there = (side.answers_sha256 for side in pairing.sides)
    return here is not None and here == there


def same_model(pairing: Pairing) -> bool:
    """Whether both sides name one model and one adapter."""
    here, there = (side.info for side in pairing.sides)
    return (here.model, here.adapter_sha256) == (there.model, there.adapter_sha256)


def settle_unchanged(checks: list[CheckResult], pairings: list[Pairing]) -> list[CheckResult]:
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
        elif not _texts_known(pairing) and nothing_differs([found[i] for i in mine]):
            for i, check in zip(mine, doubt_equality([found[i] for i in mine]), strict=True):
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
                f"({_who(candidate.info)}; {_who(reference.info)}): did the model and adapter that were meant answer?"
            )
    elif not _texts_known(pairing) and nothing_differs(mine):
        who = "and both are the same model" if same_model(pairing) else "although the models differ"
        advice = "" if reference.answers_sha256 else " A baseline accepted anew keeps which texts were answered."
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
        return f"{what} are recorded ones: the model itself was not asked."
    return (
        f"{what} came from the answer cache: the model was not asked again, and a server that got worse would not "
        "show. `bench run --no-cache` asks it."
    )


def _texts_known(pairing: Pairing) -> bool:
    return all(side.answers_sha256 is not None for side in pairing.sides)


def _against_last(check: CheckResult) -> bool:
    return check.kind in AGAINST and check.scope != "first"


def _who(info: SideInfo) -> str:
    return f"{info.model} with {info.adapter}" if info.adapter else info.model
