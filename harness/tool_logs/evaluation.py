"""An evaluation as another tool logged it: one task, one model, its rows and what the tool measured."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.metrics import Metric
from harness.records import Failure, Finish, Message, Record, Usage

BINARY = (
    "acc",
    "acc_norm",
    "acc_mutual_info",
    "exact_match",
    "accuracy",
    "match",
    "includes",
    "choice",
    "pass",
    "success",
)
"""Names of metrics whose row values are 0 or 1 wherever their tool has no partial credit."""

TOLERANCE = 1e-6
"""How far a mean over the rows may lie from the tool's own figure and still be the same one."""


class LoggedAnswer(Record, frozen=True, kw_only=True):
    """One answer.

    row: what names its row in the log. repeat: from 0 (an epoch, a repeat). inputs: the row's own texts by name.
    messages: what was asked. reference: the right answer as text. text: the answer as it came; answer: as the tool read
    it. values: the row's value of each metric. group: what joins rows that are not independent. columns: further facts.
    service_s: seconds of the request, cost: USD, None where not logged. error: no answer came back.
    """

    row: str
    repeat: int = 0
    inputs: dict[str, str]
    messages: tuple[Message, ...]
    reference: str = ""
    text: str = ""
    answer: str | None = None
    values: dict[str, float] = {}
    labels: tuple[str, ...] = ()
    group: str | None = None
    columns: dict[str, str] = {}
    usage: Usage = Usage()
    service_s: float | None = None
    cost: float | None = None
    finish: Finish = "stop"
    error: Failure | None = None


class LoggedEvaluation(Record, frozen=True, kw_only=True):
    """One task under one model.

    tool: its name. version: the tool's. task, task_version: as the tool names them. model: as it was named; backend: a
    short name for it. adapter: the tuned adapter, where one is named. metrics: names in the tool's order, the first is
    the headline. lower: those of which less is better. figures: what the tool itself reports, by metric. decode: how
    answers were taken. created: ISO time. source: the file. remarks: sentences on what was left out.
    """

    tool: str
    version: str = ""
    task: str
    task_version: str = "1"
    model: str
    backend: str
    adapter: str | None = None
    metrics: tuple[str, ...]
    lower: tuple[str, ...] = ()
    figures: dict[str, float] = {}
    decode: str = "generate"
    created: str = ""
    source: str = ""
    answers: tuple[LoggedAnswer, ...]
    remarks: tuple[str, ...] = ()

    def checked_metrics(self) -> tuple[tuple[Metric, ...], list[str]]:
        """The metrics that are means of row values, and sentences on those that are not.

        A metric whose mean over the rows is not the tool's own figure (an aggregation over the whole set, weights) is
        left out: Bench would show another number under the same name.
        """
        kept, remarks = [], []
        for name in self.metrics:
            values = [a.values[name] for a in self.answers if a.error is None and name in a.values]
            if not values:
                continue
            mean, own = math.fsum(values) / len(values), self.figures.get(name)
            if own is not None and not math.isclose(mean, own, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
                remarks.append(
                    f"{name}: {self.tool} reports {own:.4g}, the mean over its rows is {mean:.4g}: it is no mean of "
                    "row values, and left out."
                )
                continue
            kept.append(_metric(name, values, name in self.lower))
        return tuple(kept), remarks


def _metric(name: str, values: Iterable[float], lower: bool) -> Metric:
    """A metric whose range is read off its name and values: rates, scores from 0 to 1, or unbounded figures."""
    found = set(values)
    rate = found <= {0.0, 1.0} and (name in BINARY or name.partition("_")[0] in BINARY)
    bounded = all(0.0 <= value <= 1.0 for value in found)
    return Metric(
        name=name,
        row_value=name,
        direction="lower" if lower else "higher",
        proportion=rate,
        low=0.0 if bounded and not rate else None,
        high=1.0 if bounded and not rate else None,
    )


def metric_name(*parts: str) -> str:
    """A metric's name as `[gate]` can name it: letters, digits and underscores."""
    joined = "_".join(part for part in parts if part and part != "none")
    return "".join(c if c.isalnum() else "_" for c in joined).strip("_") or "score"


def short_name(model: str, adapter: str | None = None) -> str:
    """A backend's name for a model id or path: its last part, with the adapter's behind it."""
    parts = [Path(part.rstrip("/")).name for part in (model, adapter or "") if part]
    name = "-".join(parts) or "model"
    cleaned = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-_.")
    return cleaned[:60] or "model"


def as_text(value: Any) -> str:
    """A logged value as text: text itself, anything else as JSON."""
    import msgspec

    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
