"""Adapters trained together: one training with several seeds, or a grid of settings, ranked on validation rows."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.files import read_record
from harness.records import Record

GROUP = "group.json"
"""Stored with the weights of every adapter of a finished group."""


class Training(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One training of a group.

    number: from 1, in the order of training. score: the group's metric at the checkpoint that was kept, of
    step `step`. failed: why there is no adapter (a loss that became NaN), else "".
    """

    number: int
    settings: dict[str, Any] = {}
    seed: int = 0
    adapter: str | None = None
    score: float | None = None
    step: int | None = None
    failed: str = ""


class Candidate(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One point of the grid with all its seeds.

    mean, sd (n - 1), least and most are over the seeds that finished; low and high are Student's 95 % interval
    of the mean with n - 1 degrees of freedom: None with a single seed, or equal scores, which give no interval.
    """

    rank: int
    settings: dict[str, Any]
    trainings: tuple[Training, ...]
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    least: float | None = None
    most: float | None = None

    @property
    def failed(self) -> int:
        """Seeds that gave no adapter."""
        return sum(bool(t.failed) for t in self.trainings)


class Group(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Everything that was tried, and what was chosen of it.

    candidates: best first. rows: the validation rows that ranked them, the same for all (`fingerprint`), taken
    from the training split. evaluations: how often each training was asked at most. chosen: an adapter's id.
    """

    id: str
    task: str
    metric: str
    direction: Literal["higher", "lower"]
    seeds: tuple[int, ...]
    swept: tuple[str, ...]
    rows: int
    fingerprint: str
    evaluations: int
    candidates: tuple[Candidate, ...]
    chosen: str

    @property
    def tried(self) -> int:
        """Trainings, failed ones among them."""
        return sum(len(c.trainings) for c in self.candidates)

    def caution(self) -> str:
        """What the chosen score must not be taken for."""
        places = f"{len(self.candidates)} candidates" if self.swept else f"{len(self.seeds)} seeds"
        asked = f", each at its best of up to {self.evaluations} evaluations" if self.evaluations > 1 else ""
        return (
            f"The chosen score is the best of {places}{asked}, all on the same {self.rows:,} validation rows: "
            "it flatters. The evaluation split was not used in it; bench run measures there."
        )


def rank(
    trainings: Iterable[Training], direction: Literal["higher", "lower"], *, proportion: bool
) -> tuple[Candidate, ...]:
    """Candidates, the best mean over seeds first; those with a failed seed last; equal ones in the order of training.

    proportion: intervals stay within 0..1.
    """
    points: dict[bytes, list[Training]] = {}
    for training in sorted(trainings, key=lambda t: t.number):
        points.setdefault(msgspec.json.encode(training.settings), []).append(training)
    found = [_candidate(of_one, proportion) for of_one in points.values()]
    sign = -1 if direction == "higher" else 1
    found.sort(key=lambda c: (c.failed > 0, c.mean is None, sign * (c.mean or 0.0)))
    return tuple(msgspec.structs.replace(c, rank=n) for n, c in enumerate(found, 1))


def best_seed(candidate: Candidate, direction: Literal["higher", "lower"]) -> Training | None:
    """The training of a candidate with the best score, the earliest of equal ones; None where all failed."""
    sign = -1 if direction == "higher" else 1
    scored = [(sign * t.score, t.number, t) for t in candidate.trainings if t.score is not None]
    return min(scored)[2] if scored else None


def _candidate(trainings: list[Training], proportion: bool) -> Candidate:
    scores = [t.score for t in trainings if t.score is not None]
    bare = Candidate(rank=0, settings=trainings[0].settings, trainings=tuple(trainings))
    if not scores:
        return bare
    mean, sd, low, high = spread(scores, proportion=proportion)
    return msgspec.structs.replace(bare, mean=mean, sd=sd, low=low, high=high, least=min(scores), most=max(scores))


def spread(scores: list[float], *, proportion: bool) -> tuple[float, float | None, float | None, float | None]:
    """Mean, standard deviation (n - 1) and Student's 95 % interval of the mean.

    Only the mean for one score; no interval where all are equal.
    """
    import numpy as np

    from harness.statistics.clustered import clustered_mean  # scipy: not needed to read a group

    found = clustered_mean(np.asarray(scores, dtype=np.float64))
    if found.clusters < 2:
        return found.mean, None, None, None
    if found.constant:  # equal scores of a few seeds do not say that all seeds score alike
        return found.mean, 0.0, None, None
    low, high = found.interval()
    if proportion:
        low, high = max(0.0, low), min(1.0, high)
    return found.mean, float(np.std(scores, ddof=1)), low, high


def read_group(folder: Path) -> Group | None:
    """The group an adapter belongs to; None where it was trained alone. Raises UsageError for a damaged file."""
    path = folder / GROUP
    if not path.is_file():
        return None
    return read_record(path, Group, "group file")
