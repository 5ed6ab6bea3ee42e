"""Bench's own row order: stopping early in it, and judging its beginning (`--limit`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.sampling import seeded_order
from harness.gate.early_stop import EarlyStop, EarlyStopTerms
from harness.gate.settings import Terms
from harness.metrics import ACCURACY
from harness.records import LogLine, Message, Request, Row, Sample, Score

from .measure import Cell, Label, Quantity, seed_of
from .product import Array, Codes, by_rows, verdict

ROWS, LIMIT = 1000, 400
MARGIN, LOST_AND_WON, RIGHT = 0.03, 0.06, 0.85


@dataclass(frozen=True)
class File:
    """Rows of a file in its order. lossy: (n,) how much each row takes part in the loss, 1 on average."""

    name: str
    references: tuple[str, ...]
    lossy: NDArray[np.floating[Any]]


def _files() -> list[File]:
    k: Codes = np.arange(ROWS, dtype=np.int64)
    unique = tuple("yes" if i < 450 else "no" if i < 900 else f"phrase {i}" for i in k)
    small = tuple(f"class {i % 77}" for i in k)
    pairs = tuple("yes" if i < 700 else f"phrase {i // 2}" for i in k)
    return [
        File("two classes", tuple(f"class {i % 2}" for i in k), np.ones(ROWS, dtype=np.float64)),
        File("two classes in turn, loss in one", tuple(f"class {i % 2}" for i in k), 2.0 * (k % 2 == 1)),
        File("sorted, loss in the last third", ("one",) * ROWS, 3.0 * (k >= 2 * ROWS / 3)),
        File("450 yes, 450 no, 100 unique references, loss in these", unique, 10.0 * (k >= 900)),
        File("700 yes, 150 references of two rows, loss in these", pairs, (k >= 700) / 0.3),
        File("77 classes, loss in a fifth of them", small, 5.0 * (k % 77 % 5 == 0)),
    ]


def _outcomes(rng: np.random.Generator, file: File, loss: float) -> tuple[Array, Array]:
    """Right or wrong of candidate and reference on the rows of a file."""
    lossy = file.lossy / file.lossy.mean() * loss
    lost = np.maximum((LOST_AND_WON + lossy) / 2, lossy)
    won = lost - lossy
    u = rng.random(ROWS)
    both = (u >= lost + won) & (rng.random(ROWS) < RIGHT)
    return (both | ((u >= lost) & (u < lost + won))).astype(np.float64), (both | (u < lost)).astype(np.float64)


class _Watch:
    """`--early-stop` over one file, asked again and again in fresh orders."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.samples = [Sample.of({"text": f"row {k}"}, r, "test") for k, r in enumerate(file.references)]
        self.place = {sample.id: k for k, sample in enumerate(self.samples)}
        message = (Message(role="user", content="?"),)
        self.rows = [Row(n=k, sample=s, request=Request(id=s.id, messages=message)) for k, s in enumerate(self.samples)]
        self.lines = [
            [LogLine(n=n, id=row.sample.id, finish="stop", score=Score(correct=bool(right))) for right in (0, 1)]
            for n, row in enumerate(self.rows)
        ]

    def order(self, seed: int) -> list[int]:
        """Positions in the file in the order in which a run with this seed asks them."""
        return [self.place[sample.id] for sample in seeded_order(self.samples, seed)]

    def stop(self, candidate: Array, reference: Array) -> str:
        """The decision on outcomes in the order asked; "" where all rows were asked without one."""
        terms = EarlyStopTerms(reference="main.json", metric=ACCURACY.name, margin=MARGIN)
        known = dict(enumerate(reference.tolist()))
        watch = EarlyStop(terms, ACCURACY, self.rows, 1, ["a"], {"a": known})
        for n, right in enumerate(candidate.tolist()):
            watch.observe("a", self.lines[n][int(right)])
            if watch.decided("a"):
                return str(watch.decision("a"))
        return ""


def ordering(runs: int, draws: int) -> Iterator[Cell]:
    """Each file: early stop alone, the gate of a run with early stop, and a gate on the first 400 rows."""
    del draws
    runs = max(runs // 3, 60)
    for file in _files():
        watch = _Watch(file)
        for loss in (MARGIN, 0.0):
            yield from _cells(watch, loss, runs)


def _cells(watch: _Watch, loss: float, runs: int) -> Iterator[Cell]:
    terms = Terms(margin=MARGIN)
    quantity: Quantity = "false pass" if loss else "power"
    shape = f"{watch.file.name}, margin {100 * MARGIN:g}"
    rng = np.random.default_rng(seed_of(Label("ordering", "all", shape, ""), quantity))
    passes = np.zeros(3, dtype=np.int64)
    for _ in range(runs):
        order = watch.order(int(rng.integers(2**31)))
        candidate, reference = (values[order] for values in _outcomes(rng, watch.file, loss))
        stopped = watch.stop(candidate, reference)
        gated = stopped or verdict(ACCURACY, terms, by_rows(ACCURACY, candidate, reference))
        limited = verdict(ACCURACY, terms, by_rows(ACCURACY, candidate[:LIMIT], reference[:LIMIT]))
        passes += [found == "pass" for found in (stopped, gated, limited)]
    for what, size, hits in zip(
        ("early stop", "early stop, then the gate", "accuracy, --limit"),
        (f"{ROWS} rows", f"{ROWS} rows", f"{LIMIT} of {ROWS} rows"),
        passes.tolist(),
        strict=True,
    ):
        yield Cell.of(Label("ordering", what, shape, size), quantity, runs, hits / runs)
