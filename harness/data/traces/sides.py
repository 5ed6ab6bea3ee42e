"""Which calls of a log are for training and which for the test: by time, by session, or at random."""

import hashlib
from array import array
from typing import Literal, NamedTuple

import numpy as np

from harness.errors import UsageError

Split = Literal["time", "session", "random"]
Side = Literal["train", "test", "removed"]

NO_TIME = float("nan")
FEW_SESSIONS = 10
"""Sessions below which they are no units of a split: a user id of three users would be one."""


class Places:
    """What a split needs of every call: hashes of what was asked and of the session, and the time. 24 bytes a call."""

    def __init__(self) -> None:
        self.asked, self.session, self.time = array("Q"), array("Q"), array("d")

    def add(self, asked: str, session: str | None, time: float | None) -> None:
        """One call, in the log's order. asked: a hash of its prompt."""
        self.asked.append(_short(asked))
        self.session.append(_short(f"session {session}") if session else 0)
        self.time.append(NO_TIME if time is None else time)

    def __len__(self) -> int:
        return len(self.asked)


class Sides(NamedTuple):
    """The side of every call by its position. counts: calls by side. duplicates: calls whose prompt occurred before."""

    of: list[Side]
    counts: dict[str, int]
    duplicates: int
    split: str
    remarks: list[str]


def assign_sides(places: Places, split: Split | None, share: float, seed: int) -> Sides:
    """Divide the calls; equal prompts and the calls of one session stay on one side.

    By time: the latest units are the test rows. A training call with a test call's prompt is removed. Raises UsageError
    where the log does not hold what the split needs.
    """
    asked, sessions = (np.frombuffer(a, np.uint64) for a in (places.asked, places.session))
    times = np.frombuffer(places.time, np.float64)
    timed, known = float(np.isfinite(times).mean()), float((sessions != 0).mean())
    remarks: list[str] = []
    chosen = split or ("time" if timed >= 0.99 else "session" if known >= 0.99 else "random")
    if chosen == "time" and timed < 0.5:
        raise UsageError(f"--by time: {100 * (1 - timed):.0f} % of the calls have no time: use --by session or random.")
    if chosen == "session" and known < 0.5:
        raise UsageError(
            f"--by session: {100 * (1 - known):.0f} % of the calls have no session: use --by time or random."
        )
    units = np.where(sessions != 0, sessions, asked)
    count = len(np.unique(units))
    if count < FEW_SESSIONS <= len(np.unique(asked)):
        remarks.append(f"the log has {count} sessions only: calls are divided one by one.")
        units = asked
    _, first, inverse = np.unique(units, return_index=True, return_inverse=True)
    if chosen == "time":
        begun = np.full(len(first), np.inf)
        np.minimum.at(begun, inverse, np.where(np.isfinite(times), times, -np.inf))
        order = np.argsort(begun, kind="stable")[::-1]
    else:
        order = np.argsort([_drawn(int(units[n]), seed) for n in first], kind="stable")
    sizes = np.bincount(inverse, minlength=len(first))
    wanted = max(1, round(share * len(asked)))
    taken = np.cumsum(sizes[order])
    last = int(np.searchsorted(taken, wanted)) + 1
    tested = np.zeros(len(first), dtype=bool)
    tested[order[: max(1, min(last, len(first) - 1))]] = True
    test = tested[inverse]
    both = np.isin(asked, asked[test]) & ~test
    of: list[Side] = [
        "test" if t else "removed" if b else "train" for t, b in zip(test.tolist(), both.tolist(), strict=True)
    ]
    return Sides(
        of,
        {side: of.count(side) for side in ("train", "test", "removed")},
        len(asked) - len(np.unique(asked)),
        chosen,
        remarks,
    )


def _short(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big") or 1


def _drawn(unit: int, seed: int) -> int:
    """A number for a unit that the seed decides, whatever the order of the log. 63 bits."""
    return _short(f"{seed} {unit}") >> 1
