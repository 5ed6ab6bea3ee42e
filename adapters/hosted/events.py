"""What a job says of itself: its events, oldest first, and the figures among them."""

import re
from typing import Any, NamedTuple

from openai.types.fine_tuning import FineTuningJobEvent

from .provider import Provider

STEP = re.compile(r"[Ss]tep (\d+)(?:\s*/\s*(\d+))?")
FIGURES = {"train_loss": "loss", "valid_loss": "eval_loss", "full_valid_loss": "eval_full_loss"}
"""The provider's name of a figure -> its name in history.json (as in local training)."""


class Progress(NamedTuple):
    """One step's figures. total: steps of the whole job, None where it does not say."""

    step: int
    total: int | None
    figures: dict[str, float]


async def events_since(provider: Provider, job_id: str, last: str | None) -> list[FineTuningJobEvent]:
    """Events that came after the one with id `last` (None: all), oldest first; none from a server without them."""

    async def newest_first() -> list[FineTuningJobEvent]:
        found: list[FineTuningJobEvent] = []
        async for event in provider.client.fine_tuning.jobs.list_events(job_id, limit=100):
            if event.id == last:
                break
            found.append(event)
        return found

    none: list[FineTuningJobEvent] = []
    return (await provider.offered(newest_first, f"reading the events of job {job_id}", none))[::-1]


def progress_of(event: FineTuningJobEvent) -> Progress | None:
    """The figures of an event; None for one that tells none."""
    data: dict[str, Any] = event.data if isinstance(event.data, dict) else {}
    said = STEP.search(event.message or "")
    step, total = data.get("step"), data.get("total_steps")
    if said is not None:
        step = said[1] if step is None else step
        total = said[2] if total is None else total
    figures = {name: value for key, name in FIGURES.items() if (value := _number(data.get(key))) is not None}
    number = _number(step)
    if number is None or (said is None and not figures):
        return None
    most = _number(total)
    return Progress(int(number), None if most is None else int(most), figures)


def history_of(events: list[FineTuningJobEvent]) -> list[dict[str, float]]:
    """Figures by step, in the shape of `history.json`."""
    found = (progress_of(event) for event in events)
    return [{"step": p.step, **p.figures} for p in found if p is not None and p.figures]


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < 1e15 else None  # no NaN, no infinity: history.json is JSON
