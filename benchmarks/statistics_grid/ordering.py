"""Bench's own row order: stopping early in it, and judging its beginning (`--limit`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.sampling import seeded_order
from harness.gating.gate_settings import Terms
from harness.metrics import ACCURACY
from harness.records import Sample

from .measure import ENDINGS, LEAST_RUNS, Cell, Label, Quantity, covers, seed_of
from .product import Array, Codes, by_rows, difference, estimate, marked, stop_early, verdict

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


def _chances(file: File, loss: float) -> tuple[Array, Array]:
    """(n,) probabilities that only the reference, only the candidate has a row right."""
    lossy = file.lossy / file.lossy.mean() * loss
    lost = np.maximum((LOST_AND_WON + lossy) / 2, lossy)
    return lost, lost - lossy


def _outcomes(rng: np.random.Generator, lost: Array, won: Array) -> tuple[Array, Array]:
    """Right or wrong of candidate and reference on the rows of a file."""
    u = rng.random(ROWS)
    both = (u >= lost + won) & (rng.random(ROWS) < RIGHT)
    return (both | ((u >= lost) & (u < lost + won))).astype(np.float64), (both | (u < lost)).astype(np.float64)


def ordering(runs: int, draws: int) -> Iterator[Cell]:
    """Each file: early stop alone, the gate of a run with early stop, and a gate on the first 400 rows."""
    runs = max(runs // 3, LEAST_RUNS)
    for file in _files():
        for loss in (MARGIN, 0.0):
            yield from _cells(file, loss, runs, draws)


def _cells(file: File, loss: float, runs: int, draws: int) -> Iterator[Cell]:
    terms = Terms(margin=MARGIN)
    quantity: Quantity = "false pass" if loss else "power"
    shape = f"{file.name}, margin {100 * MARGIN:g}"
    rng = np.random.default_rng(seed_of(Label("ordering", "all", shape, ""), quantity))
    samples = [Sample.of({"text": f"row {k}"}, r, "test") for k, r in enumerate(file.references)]
    lost, won = _chances(file, loss)
    truths = (float((RIGHT * (1 - lost - won) + won).mean()), -loss)
    place = {sample.id: k for k, sample in enumerate(samples)}
    passes, shown, covered = np.zeros(3, dtype=np.int64), np.zeros(2), np.zeros(2)
    for _ in range(runs):
        order = [place[sample.id] for sample in seeded_order(samples, int(rng.integers(2**31)))]
        candidate, reference = (values[order] for values in _outcomes(rng, lost, won))
        drawn = by_rows(ACCURACY, candidate, reference)
        decision, rows = stop_early(ACCURACY, MARGIN, drawn)
        seen = marked(drawn, rows, stopped=bool(decision))
        gated = decision or verdict(ACCURACY, terms, seen)
        limited = verdict(ACCURACY, terms, by_rows(ACCURACY, candidate[:LIMIT], reference[:LIMIT]))
        passes += [found == "pass" for found in (decision, gated, limited)]
        for k, (interval, truth) in enumerate(
            zip((estimate(ACCURACY, seen, draws), difference(ACCURACY, seen, draws)), truths, strict=True)
        ):
            if interval is not None:
                shown[k] += 1
                covered[k] += covers(interval, truth)
    for what, size, hits in zip(
        ("early stop", "early stop, then the gate", "accuracy, --limit"),
        (f"{ROWS} rows", f"{ROWS} rows", f"{LIMIT} of {ROWS} rows"),
        passes.tolist(),
        strict=True,
    ):
        yield Cell.of(Label("ordering", what, shape, size), quantity, runs, hits / runs)
    own, paired = ENDINGS[2:] if loss else ENDINGS[:2]
    for ending, count, inside in zip((own, paired), shown.tolist(), covered.tolist(), strict=True):
        label = Label("ordering", "early stop, then the gate" + ending, shape, f"{ROWS} rows")
        yield Cell.of(label, "coverage", int(count), inside / count if count else 0.0, count / runs)
