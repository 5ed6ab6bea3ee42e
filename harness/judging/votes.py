"""People's votes on two answers: taken in from a voting page's export, and what all verdicts on a run add up to."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from harness.errors import DataError, did_you_mean
from harness.judging.answer_pairs import Judgement, Winner, append_judgements
from harness.judging.pairwise_preference import WORTH, PreferenceTest, corrected_verdicts, test_of_preference
from harness.metrics import Estimate
from harness.records import Record
from harness.runs.run_log import RunLog, decode_schema

SCHEMA = 1


class Vote(Record, frozen=True, kw_only=True):
    """One vote as a voting page exports it."""

    n: int
    id: str
    choice: Winner
    first: Literal["a", "b"]


class VoteFile(Record, frozen=True, kw_only=True):
    """What a voting page exports: one rater's votes on two backends of one run."""

    schema: int
    run: str
    a: str
    b: str
    by: str
    votes: tuple[Vote, ...]


class Agreement(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Two judges on the same two backends, over the rows both judged.

    share: of equal verdicts; kappa: Cohen's, None where undefined.
    """

    a: str
    b: str
    one: str
    two: str
    rows: int
    share: float
    kappa: float | None


class Preference(Record, frozen=True, kw_only=True, omit_defaults=False):
    """a against b, as people together or one judging model see it. A row counts for the answer that more people
    preferred.

    p: two-sided, of the exact sign test over rows that went to one of the two (Student's t or sign flips over groups
    where rows share one: p_method); p_holm: corrected over all pairs of these judges; share: of these rows, those
    that went to a; verdict: "a preferred" by name or "not distinguishable", at 5 % after Holm; no_verdict: why nothing
    may be concluded, in words ("" where it may).
    """

    a: str
    b: str
    wins_a: int
    wins_b: int
    ties: int
    share: Estimate
    p: float
    judges: tuple[str, ...]
    p_method: str = "exact sign test"
    p_holm: float | None = None
    verdict: str = "not distinguishable"
    no_verdict: str = ""


def add_votes(log: RunLog, path: Path) -> int:
    """Append a voting page's export to the run and return the number of votes.

    Raises UsageError for a file that is no export, of another run, or of rows and backends the run does not have.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"--votes {path} cannot be read ({error.strerror}).") from None
    file = decode_schema(raw, VoteFile, SCHEMA, str(path))
    if file.run != log.manifest.id:
        raise DataError(f"{path} holds votes on run {file.run}, not on {log.manifest.id}.")
    for name in (file.a, file.b):
        if name not in log.manifest.backends:
            raise DataError(f"{path}: this run has no backend '{name}'{did_you_mean(name, log.manifest.backends)}.")
    ids = {row.n: row.sample.id for row in log.rows()}
    for vote in file.votes:
        if ids.get(vote.n) != vote.id:
            raise DataError(f"{path}: row {vote.n} of this run is not {vote.id}: the votes belong to another run.")
    append_judgements(log.path, (_judgement(file, vote) for vote in file.votes))
    return len(file.votes)


def _judgement(file: VoteFile, vote: Vote) -> Judgement:
    return Judgement(
        n=vote.n,
        id=vote.id,
        a=file.a,
        b=file.b,
        winner=vote.choice,
        by=file.by,
        kind="person",
        first=vote.choice if vote.first == "a" else None,
        second=vote.choice if vote.first == "b" else None,
    )


def preferences(judgements: Iterable[Judgement], groups: Mapping[int, str] | None = None) -> list[Preference]:
    """One per pair of backends for the people, and one per judging model; verdicts without a winner are left out.

    groups: of dependent rows, their group; the other rows are on their own.
    """
    found: dict[tuple[str, str, str], list[Judgement]] = defaultdict(list)
    for one in _turned(judgements):
        found[one.a, one.b, "" if one.kind == "person" else one.by].append(one)
    tallies = {key: _preference(*key[:2], of_pair, groups or {}) for key, of_pair in sorted(found.items())}
    corrected: dict[tuple[str, str, str], Preference] = {}
    for judge in {key[2] for key in tallies}:
        keys = [key for key in tallies if key[2] == judge]
        verdicts = corrected_verdicts([(key[0], key[1], tallies[key][1]) for key in keys])
        for key, (p_holm, verdict) in zip(keys, verdicts, strict=True):
            corrected[key] = replace(tallies[key][0], p_holm=p_holm, verdict=verdict)
    return [corrected[key] for key in tallies]


def agreements(judgements: Iterable[Judgement]) -> list[Agreement]:
    """Of every two judges who saw the same answers, people and models alike."""
    pairs: dict[tuple[str, str], dict[str, dict[int, Winner]]] = defaultdict(lambda: defaultdict(dict))
    for one in _turned(judgements):
        pairs[one.a, one.b][one.by][one.n] = one.winner or "tie"
    found = []
    for (a, b), judges in sorted(pairs.items()):
        for one_name, two_name in combinations(sorted(judges), 2):
            agreement = _agreement(a, b, one_name, two_name, judges)
            found += [] if agreement is None else [agreement]
    return found


SWAPPED: dict[Winner, Winner] = {"a": "b", "b": "a", "tie": "tie"}


def _turned(judgements: Iterable[Judgement]) -> list[Judgement]:
    """Verdicts that name a winner or a tie, with the two backends in the order of their names."""
    return [
        one if one.a <= one.b else replace(one, a=one.b, b=one.a, winner=SWAPPED[one.winner])
        for one in judgements
        if one.winner is not None
    ]


def _preference(a: str, b: str, found: list[Judgement], groups: Mapping[int, str]) -> tuple[Preference, PreferenceTest]:
    rows: dict[int, int] = defaultdict(int)
    for judgement in found:
        rows[judgement.n] += WORTH[judgement.winner or "tie"]
    leaning = [(value > 0) - (value < 0) for value in rows.values()]
    names = [f"group {groups[n]}" if n in groups else f"row {n}" for n in rows]
    test = test_of_preference(leaning, names)
    return (
        Preference(
            a=a,
            b=b,
            wins_a=leaning.count(1),
            wins_b=leaning.count(-1),
            ties=leaning.count(0),
            share=test.share,
            p=1.0 if test.p is None else test.p,
            judges=tuple(sorted({j.by for j in found})),
            p_method=test.p_method,
            no_verdict=test.no_verdict,
        ),
        test,
    )


def _agreement(a: str, b: str, one: str, two: str, judges: dict[str, dict[int, Winner]]) -> Agreement | None:
    """Cohen's kappa: (p_o - p_e) / (1 - p_e). J. Cohen, Educ. Psychol. Meas. 1960."""
    verdicts = (judges[one], judges[two])
    rows = sorted(verdicts[0].keys() & verdicts[1].keys())
    if not rows:
        return None
    observed = sum(verdicts[0][n] == verdicts[1][n] for n in rows) / len(rows)
    shares = [{c: sum(s[n] == c for n in rows) / len(rows) for c in WORTH} for s in verdicts]
    chance = sum(shares[0][c] * shares[1][c] for c in WORTH)
    kappa = None if chance == 1 else (observed - chance) / (1 - chance)
    return Agreement(a=a, b=b, one=one, two=two, rows=len(rows), share=observed, kappa=kappa)
