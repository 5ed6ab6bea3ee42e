"""Charts of a training: losses and scores by step, row lengths, seeds of a sweep."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from harness.adapter_group import Candidate, Group
from harness.metrics import title
from harness.reports.plot import (
    DOTTED,
    INK,
    MUTED,
    SERIES,
    SMALL,
    Columns,
    Curve,
    Legend,
    Panel,
    Plot,
    Rule,
    Words,
    label,
    looks,
)
from harness.reports.svg_charts import Chart
from harness.reports.table_model import Grid, TableCell, TableColumn
from harness.text_format import plural
from harness.text_sanitize import visible_line
from harness.training_record import Lengths

MOST_BINS = 30
NEAR = 1.6
"""The limit is drawn where it lies within so many times the longest row; else it is only mentioned."""


def lengths(found: Lengths | None) -> Chart | None:
    """A histogram of the training rows' tokens; None where nothing was kept."""
    if found is None or not found.counts:
        return None
    tokens = np.array(list(found.counts), dtype=np.int64)
    counts = np.array(list(found.counts.values()), dtype=np.int64)
    edges = _edges(int(tokens.min()), int(tokens.max()))
    heights, _ = np.histogram(tokens, bins=edges, weights=counts)
    drawn = found.room <= NEAR * tokens.max()

    plot, panel = Plot.single(5.4, 3.1)
    panel.add(Columns(edges, heights.tolist(), SERIES[0]))
    if drawn:
        limit = f"at most {found.room:,}"
        panel.add(
            Rule(found.room, dash=DOTTED),
            Words(limit, found.room, 1, (-4, -2), anchor="end", rise="top", size=SMALL, shares=(False, True)),
        )
    panel.x.label, panel.y.label = "tokens of prompt and answer", "rows"
    panel.x.grid = False
    middle = int(tokens[np.searchsorted(np.cumsum(counts), counts.sum() / 2)])
    limit = f"a row may have {found.room:,}" + ("" if drawn else ", far to the right of this chart")
    rows = tuple(
        (TableCell(text=f"{low:,} to {high - 1:,}"), TableCell(text=f"{int(height):,}"))
        for low, high, height in zip(edges, edges[1:], heights, strict=False)
    )
    return Chart(
        name="lengths",
        title="Length of the training rows",
        caption=f"{plural(int(counts.sum()), 'row')}: {tokens.min():,} to {tokens.max():,} tokens, {middle:,} in the "
        f"middle; {limit}.",
        grid=Grid(
            caption="Rows by length", columns=(TableColumn(title="tokens"), TableColumn(title="rows")), rows=rows
        ),
        plot=plot,
    )


def _edges(least: int, most: int) -> list[int]:
    """Whole numbers that cut least..most into bins of one width."""
    width = max(1, math.ceil((most - least + 1) / MOST_BINS))
    return list(range(least, most + 1 + width, width))[: math.ceil((most - least + 1) / width) + 1]


MOST = 30
"""Candidates that are drawn; the table has them all."""


def candidates(group: Group) -> Grid:
    """All candidates, best first, with mean, spread and interval over seeds."""
    many = len(group.seeds) > 1
    columns = (
        TableColumn(title="rank"),
        *(TableColumn(title=visible_line(key), numeric=False) for key in group.swept),
        TableColumn(title=f"mean {title(group.metric)}" if many else title(group.metric)),
        *((TableColumn(title="sd"), TableColumn(title="least"), TableColumn(title="most")) if many else ()),
        TableColumn(title="trainings", numeric=False),
    )
    return Grid(
        caption=f"{plural(group.tried, 'training')}, ranked on {plural(group.rows, 'validation row')}",
        columns=columns,
        rows=tuple(_row(group, c, many) for c in group.candidates),
        sortable=True,
    )


def _row(group: Group, c: Candidate, many: bool) -> tuple[TableCell, ...]:
    interval = "" if c.low is None or c.high is None else f"[{c.low:.3f}, {c.high:.3f}]"
    spread = (c.sd, c.least, c.most) if many else ()
    seeds = " · ".join(
        f"seed {t.seed}: {'given up' if t.score is None else f'{t.score:.3f}'}"
        + (" (chosen)" if t.adapter is not None and t.adapter == group.chosen else "")
        for t in c.trainings
    )
    return (
        TableCell(text=str(c.rank), sort=float(c.rank)),
        *(TableCell(text=visible_line(_setting(c.settings[key])), sort=str(c.settings[key])) for key in group.swept),
        TableCell(text="-" if c.mean is None else f"{c.mean:.3f}", note=interval, sort=c.mean),
        *(TableCell(text="-" if value is None else f"{value:.3f}", sort=value) for value in spread),
        TableCell(text=seeds, sort=seeds),
    )


def _setting(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def spread(group: Group) -> Chart | None:
    """Scores of all seeds by candidate; None where fewer than two trainings have one."""
    shown = [c for c in group.candidates[:MOST] if c.mean is not None]
    if sum(t.score is not None for c in shown for t in c.trainings) < 2:
        return None

    plot, panel = Plot.single(11.4, 0.9 + 0.34 * len(shown))
    for y, candidate in enumerate(shown):
        _line(panel, candidate, y, group.chosen)
    panel.y.list_names([label(_named(c), 44) for c in shown])
    panel.y.grid = False
    panel.x.label, panel.x.margin = title(group.metric), 0.06
    left_out = len(group.candidates) - len(shown)
    note = f" {plural(left_out, 'candidate')} not shown." if left_out else ""
    whisker = (
        " The upright stroke is the mean over seeds, its line Student's 95 % interval of that mean (wide: few seeds)."
        if len(group.seeds) > 1
        else ""
    )
    return Chart(
        name="spread",
        title=f"{title(group.metric)[0].upper()}{title(group.metric)[1:]} of every training",
        caption=f"Each dot is one training on the same validation rows; the ring is the chosen one.{whisker}{note}",
        grid=candidates(group),
        plot=plot,
    )


def _line(panel: Panel, candidate: Candidate, y: int, chosen: str) -> None:
    if candidate.mean is not None and candidate.low is not None and candidate.high is not None:
        panel.whisker((candidate.low, candidate.high), y, MUTED, width=1.4)
        panel.add(Curve([candidate.mean], [y], INK, width=0, marker="|", size=13, mark_width=1.6))
    for training in candidate.trainings:
        if training.score is not None:
            at = [training.score], [y]
            panel.add(Curve(*at, SERIES[0], width=0, marker="o", size=5))
            if training.adapter == chosen:
                panel.add(Curve(*at, SERIES[1], width=0, marker="o", size=10, hollow=True, mark_width=1.6))


def _named(candidate: Candidate) -> str:
    return ", ".join(f"{key} {_setting(value)}" for key, value in candidate.settings.items()) or "all seeds"


HISTORY = "history.json"
NOT_SCORES = ("loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
"""The keys under `eval_` other than validation scores."""

Points = dict[int, float]
"""Step -> value, in the order of steps."""


class History(NamedTuple):
    """Curves of a training; a curve that was not noted is empty. scores: validation scores by name."""

    loss: Points
    validation_loss: Points
    learning_rate: Points
    scores: dict[str, Points]


def read_history(folder: Path) -> History:
    """The curves of an adapter; all empty where it keeps none, or none that can be read."""
    try:
        lines = msgspec.json.decode((folder / HISTORY).read_bytes(), type=list[dict[str, Any]])
    except (OSError, msgspec.MsgspecError):
        lines = []
    names = dict.fromkeys(k.removeprefix("eval_") for line in lines for k in line if k.startswith("eval_"))
    return History(
        loss=_points(lines, "loss"),
        validation_loss=_points(lines, "eval_loss"),
        learning_rate=_points(lines, "learning_rate"),
        scores={
            name: found for name in names if not name.endswith(NOT_SCORES) and (found := _points(lines, f"eval_{name}"))
        },
    )


def _points(lines: list[dict[str, Any]], key: str) -> Points:
    """The last value of every step; what is no finite number is left out."""
    found: Points = {}
    for line in lines:
        value, step = line.get(key), line.get("step")
        if isinstance(value, int | float) and isinstance(step, int) and abs(value) != float("inf") and value == value:
            found[step] = float(value)
    return dict(sorted(found.items()))


def losses(history: History, kept: int | None) -> Chart | None:
    """Training and validation loss; None where fewer than two were noted."""
    curves = {"training": history.loss, "validation": history.validation_loss}
    return _curves(
        "loss",
        "Loss",
        "Mean loss of an answer's tokens (or of the class). A validation loss that rises while the training loss "
        "falls means that the model is overfitting.",
        {name: points for name, points in curves.items() if points},
        kept,
    )


def scores(history: History, metric: str | None, kept: int | None) -> Chart | None:
    """Validation scores, the one that chose first; None where rows were asked fewer than two times."""
    names = sorted(history.scores, key=lambda name: name != metric)
    named = title(metric or "")
    chosen = f"{named[:1].upper()}{named[1:]} chose the checkpoint. " if metric in history.scores else ""
    return _curves(
        "scores",
        "Validation scores",
        f"{chosen}What the task's own scoring says of the model's answers to the validation rows.",
        {title(name): history.scores[name] for name in names},
        kept,
    )


def learning_rate(history: History) -> Chart | None:
    """The learning rate; None where it was not noted."""
    caption = "The learning rate by step."
    return _curves("rate", "Learning rate", caption, {"learning rate": history.learning_rate}, None)


def _curves(name: str, heading: str, caption: str, curves: Mapping[str, Points], kept: int | None) -> Chart | None:
    if max((len(points) for points in curves.values()), default=0) < 2:
        return None
    seen = looks(list(curves))
    mark = kept if kept is not None and any(kept in points for points in curves.values()) else None

    plot, panel = Plot.single(5.4, 3.1)
    if mark is not None:
        kept_words = Words("kept", mark, 1, (0, 2), "middle", colour=MUTED, size=SMALL, shares=(False, True))
        panel.add(Rule(mark, dash=DOTTED), kept_words)
    for curve, points in curves.items():
        look = seen[curve]
        marker = look.marker if len(points) <= 20 else ""
        xs, ys = list(points), list(points.values())
        panel.add(Curve(xs, ys, look.colour, 1.6, look.dash, marker, 4, named=label(curve)))
    panel.x.label, panel.x.grid = "step", False
    panel.x.margin, panel.y.margin = 0.02, 0.1
    panel.y.low = 0 if name == "rate" else None
    panel.legend = Legend("below", columns=3) if len(curves) > 1 else None
    note = f" The dotted line marks the checkpoint that was kept (step {mark:,})." if mark is not None else ""
    return Chart(
        name=name,
        title=heading,
        caption=caption + note,
        grid=_grid(heading, curves),
        plot=plot,
    )


def _grid(heading: str, curves: Mapping[str, Points]) -> Grid:
    steps = sorted({step for points in curves.values() for step in points})
    rows = tuple(
        (
            TableCell(text=f"{step:,}"),
            *(TableCell(text=f"{points[step]:.4g}" if step in points else "-") for points in curves.values()),
        )
        for step in steps
    )
    columns = (TableColumn(title="step"), *(TableColumn(title=visible_line(name)) for name in curves))
    return Grid(caption=f"{heading} by step", columns=columns, rows=rows)
