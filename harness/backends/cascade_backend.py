"""The cascade backend: stages in order, the next one asked only where the one before is not sure enough."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from harness.backend import Backend, Capabilities, RunContext, RunRequirements, make_backend
from harness.backends.cascade_state import PassedOnAnswers
from harness.confidence import PREFERRED, ConfidenceSource, answer_confidence, task_confidence
from harness.confidence_results import CascadeResult
from harness.errors import BackendStopped, UsageError
from harness.hashing import digest
from harness.records import BackendIdentity, Completion, Cost, Decode, Request, Timing, Usage
from harness.runs.run_log import RunLog
from harness.settings import load_settings
from harness.task import Task
from harness.task_loading import load_task

WAITING = 256
"""Requests that may wait between two stages: so many may still be sent after Ctrl-C."""
FROM = "from "
UNSURE = 20
"""After so many answers of a stage without any confidence the run says so."""
NO_FORMAT = ("choose", "head")


class CascadeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[backends.NAME]` with kind = "cascade"; docs/cascade.md says more.

    stages: names of other backends in the order in which they are asked; the last one answers what no other keeps.
    threshold: the confidence from which on an answer is kept: a number for two stages, a list for more; "from RUN"
    takes what `bench cascade RUN` certified for these stages.
    confidence: where it is known from: "auto", "label scores", "mean log-probability", "least log-probability" or
    "task"; a list for several stages. "from RUN" sets it.
    kept_share, kept_rows: the share of answers that the first stage keeps by expectation, and the rows that it was
    measured on: a run reports where its own share differs. "from RUN" sets both.
    stage_settings: the settings of the stages, which a run writes into its manifest.
    """

    kind: str = "cascade"
    stages: tuple[str, ...] = ()
    threshold: float | str | tuple[float, ...] = ()
    confidence: str | tuple[str, ...] = "auto"
    kept_share: float | None = None
    kept_rows: int | None = None
    stage_settings: dict[str, dict[str, Any]] = {}


@dataclass
class _Ticket:
    """A request on its way: the answers of the stages that passed it on, and what their confidences were."""

    request: Request
    answers: list[Completion] = field(default_factory=list)
    confidences: list[float | None] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, int]:
        return self.request.id, self.request.repeat


@dataclass
class _Clock:
    """Seconds in which a stage had at least one request in flight."""

    seconds: float = 0.0
    in_flight: int = 0
    since: float = 0.0

    def started(self) -> None:
        if self.in_flight == 0:
            self.since = time.perf_counter()
        self.in_flight += 1

    def ended(self) -> None:
        self.in_flight -= 1
        if self.in_flight == 0:
            self.seconds += time.perf_counter() - self.since


class CascadeBackend:
    """Several backends as one; a stage's answer is kept where its confidence reaches the threshold."""

    Settings = CascadeSettings
    capabilities = Capabilities(
        stages="stages",
        resume_from_identity=frozenset({"threshold", "confidence", "kept_share", "kept_rows"}),
    )

    def __init__(self, name: str, settings: CascadeSettings, task_name: str, context: RunContext) -> None:
        self.name = name
        self.settings = settings
        self.context = context
        self._where = f"[backends.{name}]"
        self._check_names()
        tables = settings.stage_settings or self._tables()
        self.stages: list[Backend] = [make_backend(n, tables[n], task_name, context) for n in settings.stages]
        self._certificate = self._certified() if _source_run(settings.threshold) else None
        self.thresholds = self._thresholds()
        self.sources = self._sources()
        self._labels = 0
        self._temperatures: list[float | None] = []
        self._by_hour: list[bool] = []
        self._task: Task | None = None
        self.clocks = [_Clock() for _ in self.stages]
        self._answered = [0] * len(self.stages)
        self._without = [0] * len(self.stages)

    def _check_names(self) -> None:
        stages = self.settings.stages
        if len(stages) < 2 or len(set(stages)) < len(stages) or self.name in stages:
            raise UsageError(f'{self._where}: stages names two or more other backends, as ["small", "large"].')

    def _tables(self) -> dict[str, dict[str, Any]]:
        found = load_settings(self.context.config)
        return {name: found.backend(name) for name in self.settings.stages}

    def _certified(self) -> CascadeResult:
        from harness.summary.cascade_of_run import stored_cascade  # loads scipy

        run = self.context.workspace.find_run(str(_source_run(self.settings.threshold)))
        return stored_cascade(RunLog.open(run), self.settings.stages)

    def _thresholds(self) -> tuple[float, ...]:
        threshold, wanted = self.settings.threshold, len(self.stages) - 1
        if self._certificate is not None and self._certificate.chosen is not None:
            return tuple(float("inf") if t is None else t for t in self._certificate.chosen.thresholds)
        given = (threshold,) if isinstance(threshold, int | float) else threshold
        if isinstance(given, str) or len(given) != wanted:
            raise UsageError(
                f"{self._where}: threshold is a number, a list of {wanted} (one for each stage but the last), or "
                f'"from RUN", and not {threshold!r}.'
            )
        return tuple(map(float, given))

    def _sources(self) -> tuple[ConfidenceSource | None, ...]:
        """Of each stage but the last; None: the preferred one that an answer has."""
        wanted = len(self.stages) - 1
        if self._certificate is not None:
            given: Sequence[str] = [stage.source for stage in self._certificate.stages[:wanted]]
        else:
            sources = self.settings.confidence
            given = [sources] * wanted if isinstance(sources, str) else sources
        known: dict[str, ConfidenceSource | None] = {"auto": None, **{s: s for s in PREFERRED if s != "agreement"}}
        if len(given) != wanted or any(source not in known for source in given):
            raise UsageError(
                f"{self._where}: confidence is one of {', '.join(known)}, or a list of one for each stage but the "
                f"last, and not {', '.join(given) or 'nothing'}."
            )
        return tuple(known[source] for source in given)

    def identity(self) -> BackendIdentity:
        """Complete after `check`: the stages' identities, thresholds, and the share that is expected to be kept."""
        each = [stage.identity() for stage in self.stages]
        decodes: list[Decode] = [one.decode for one in each]
        trained = [one.training_usd for one in each if one.training_usd is not None]
        chosen = self._certificate.chosen if self._certificate is not None else None
        expected = {
            "kept_share": chosen.shares[0] if chosen is not None else self.settings.kept_share,
            "kept_rows": self._certificate.certifying if self._certificate is not None else self.settings.kept_rows,
        }
        return BackendIdentity(
            kind="cascade",
            model=" > ".join(one.model for one in each),
            decode=next((d for d in decodes if d not in NO_FORMAT), decodes[-1]),
            adapter=next((one.adapter for one in each if one.adapter), None),
            adapter_sha256=_joined([one.adapter_sha256 for one in each]),
            base_sha256=_joined([one.base_sha256 for one in each]),
            training_usd=sum(trained) if trained else None,
            trainings=sum(one.trainings for one in each if one.training_usd is not None) or 1,
            retired=min((one.retired for one in each if one.retired), default=None),
            stages=self.settings.stages,
            settings={
                "threshold": list(self.thresholds),
                "confidence": [source or "auto" for source in self.sources],
                **{key: value for key, value in expected.items() if value is not None},
                **({"certified_by": self._certificate.run} if self._certificate is not None else {}),
                "identities": {n: msgspec.to_builtins(one) for n, one in zip(self.settings.stages, each, strict=True)},
            },
        )

    async def reach(self) -> None:
        """Reach the servers of all stages that have any. Raises UsageError."""
        for stage in self.stages:
            reach = getattr(stage, "reach", None)
            if reach is not None:
                await reach()

    async def check(self, requirements: RunRequirements) -> None:
        """What every stage checks. Raises UsageError."""
        self._labels = len(requirements.labels)
        if "task" in self.sources or None in self.sources:
            self._task = load_task(self.context.task) if self.context.task else None
        for stage in self.stages:
            await stage.check(requirements)

    def _confidence(self, stage: int, completion: Completion) -> float | None:
        if completion.error is not None:
            return None
        wanted, temperature = self.sources[stage], self._temperatures[stage]
        for source in (wanted,) if wanted is not None else PREFERRED:
            if source == "task":
                found = None if self._task is None else task_confidence(self._task, completion)
            else:
                found = answer_confidence(completion, source, self._labels, temperature)
            if found is not None:
                return found
        self._without[stage] += 1
        if self._without[stage] == UNSURE and self._answered[stage] == UNSURE and not self.context.probing:
            self.context.remark(
                f"{self.name}: the answers of {self.settings.stages[stage]} carry no confidence, so that all go to the "
                "next stage: servers give log-probabilities with logprobs = true."
            )
        return None

    async def stream(self, requests: AsyncIterator[Request], state_dir: Path) -> AsyncIterator[Completion]:
        """Answer requests through the stages, all of which work at the same time. Raises BackendStopped after all that
        was answered has been yielded, where a stage stopped."""
        identities = [stage.identity() for stage in self.stages]
        self._temperatures = [one.temperature for one in identities]
        self._by_hour = [one.device_hour_usd is not None for one in identities]
        pipeline = _Pipeline(self, requests, state_dir)
        try:
            async for completion in pipeline.answers():
                yield completion
        finally:
            await pipeline.aclose()

    def counters(self) -> dict[str, float]:
        """Counters of the stages under their names; USD of device time, and what may have been billed, over all."""
        found: dict[str, float] = {}
        device_usd, priced = 0.0, False
        for name, stage, clock in zip(self.settings.stages, self.stages, self.clocks, strict=True):
            own = stage.counters()
            found |= {f"{name}.{key}": value for key, value in own.items()}
            found["maybe_billed_usd"] = found.get("maybe_billed_usd", 0.0) + own.get("maybe_billed_usd", 0.0)
            hour = stage.identity().device_hour_usd
            if hour is not None:
                device_usd, priced = device_usd + own.get("busy_s", clock.seconds) / 3600 * hour, True
        return {**found, **({"device_usd": device_usd} if priced else {})}

    async def aclose(self) -> None:
        """Close all stages."""
        for stage in self.stages:
            await stage.aclose()

    def keeps(self, stage: int, completion: Completion, ticket: _Ticket) -> bool:
        """Whether a stage's answer is the cascade's, its confidence noted."""
        self._answered[stage] += 1
        if stage == len(self.stages) - 1:
            return True
        confidence = self._confidence(stage, completion)
        ticket.confidences.append(confidence)
        return confidence is not None and confidence >= self.thresholds[stage]

    def combined(self, ticket: _Ticket) -> Completion:
        """The last answer with tokens, times and costs of all stages that were asked. Its confidence belongs to one
        stage, and is left out but for the notes."""
        *earlier, last = ticket.answers
        shown = " ".join("-" if c is None else f"{c:.6g}" for c in ticket.confidences)
        costs = [_cost(a, by_hour) for a, by_hour in zip(ticket.answers, self._by_hour, strict=False)]
        return msgspec.structs.replace(
            last,
            usage=_sum_usage(ticket.answers),
            timing=_sum_timing(earlier, last),
            cost=Cost(list=_sum([c.list for c in costs]), incurred=_sum([c.incurred for c in costs])),
            attempts=sum(a.attempts for a in ticket.answers),
            cached=all(a.cached for a in ticket.answers),
            label_scores=None,
            token_logprobs=None,
            notes={
                **last.notes,
                "stage": self.settings.stages[len(earlier)],
                **({"confidence": shown} if shown else {}),
            },
        )


class _Pipeline:
    """The stages at work on one stream of requests."""

    def __init__(self, cascade: CascadeBackend, requests: AsyncIterator[Request], state_dir: Path) -> None:
        self._cascade = cascade
        self._requests = requests
        self._kept = PassedOnAnswers(None if cascade.context.probing else state_dir)
        self._folders = [state_dir / name for name in cascade.settings.stages]
        for folder in self._folders:
            folder.mkdir(exist_ok=True)
        count = len(cascade.stages)
        self._queues: list[asyncio.Queue[_Ticket | None]] = [asyncio.Queue(WAITING) for _ in range(count)]
        self._done: asyncio.Queue[Completion | None] = asyncio.Queue(WAITING)
        self._tickets: list[dict[tuple[str, int], _Ticket]] = [{} for _ in range(count)]
        self._stopping = False
        self._tasks = [asyncio.ensure_future(self._work(k)) for k in range(count)]
        self._end = asyncio.ensure_future(self._say_end())

    async def answers(self) -> AsyncIterator[Completion]:
        """All answers as they come. Raises what ended a stage, an internal error first."""
        while (completion := await self._done.get()) is not None:
            yield completion
        raised = [error for task in self._tasks if (error := task.exception()) is not None]
        for error in sorted(raised, key=lambda e: isinstance(e, BackendStopped)):
            raise error

    async def _say_end(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._done.put(None)

    async def aclose(self) -> None:
        """Drop what is in flight and close the state file."""
        for task in (*self._tasks, self._end):
            task.cancel()
        await asyncio.gather(*self._tasks, self._end, return_exceptions=True)
        self._kept.close()

    async def _work(self, stage: int) -> None:
        """One stage: ask what comes, keep or pass on; whatever ends it, the next stage hears of the end."""
        backend, ended = self._cascade.stages[stage], False
        try:
            stream = backend.stream(self._feed(stage), self._folders[stage])
            async with contextlib.aclosing(stream) as completions:  # type: ignore[type-var]
                async for completion in completions:
                    self._cascade.clocks[stage].ended()
                    await self._arrived(stage, completion)
            ended = True
        except Exception:
            self._stopping = True
            raise
        finally:
            if ended or self._stopping:  # and not cancelled: then nobody listens
                await self._hand_over(stage, ended)

    async def _hand_over(self, stage: int, ended: bool) -> None:
        """Tell the next stage that nothing more comes; one that stopped drains its queue, so that the stages before it
        do not wait for a place."""
        if stage + 1 < len(self._queues):
            await self._queues[stage + 1].put(None)
        if not ended and stage > 0:
            while await self._queues[stage].get() is not None:
                pass

    async def _feed(self, stage: int) -> AsyncIterator[Request]:
        source = self._incoming() if stage == 0 else self._queued(stage)
        async for ticket in source:
            self._tickets[stage][ticket.key] = ticket
            self._cascade.clocks[stage].started()
            yield ticket.request

    async def _incoming(self) -> AsyncIterator[_Ticket]:
        """New requests; one whose first stages answered in an earlier session goes to the stage that is next."""
        while not self._stopping:
            request = await anext(self._requests, None)
            if request is None:
                return
            ticket = _Ticket(request)
            for stage, completion in enumerate(self._kept.of(ticket.key)):
                ticket.answers.append(completion)
                self._cascade.keeps(stage, completion, ticket)
                self._cascade.context.budget.settle(0.0, completion.cost.incurred or 0.0)
            if ticket.answers:
                await self._queues[len(ticket.answers)].put(ticket)
            else:
                yield ticket

    async def _queued(self, stage: int) -> AsyncIterator[_Ticket]:
        while (ticket := await self._queues[stage].get()) is not None:
            yield ticket
        self._queues[stage].put_nowait(None)  # for the drain of a stage that stops after its feed has ended

    async def _arrived(self, stage: int, completion: Completion) -> None:
        ticket = self._tickets[stage].pop((completion.id, completion.repeat))
        ticket.answers.append(completion)
        if self._cascade.keeps(stage, completion, ticket):
            if completion.error is not None:
                self._kept.booked(ticket.key)
            await self._done.put(self._cascade.combined(ticket))
        else:
            self._kept.add(stage, completion)
            await self._queues[stage + 1].put(ticket)


def _source_run(threshold: float | str | tuple[float, ...]) -> str | None:
    """The run of "from RUN"."""
    if not isinstance(threshold, str) or not threshold.startswith(FROM):
        return None
    return threshold.removeprefix(FROM).strip() or None


def _joined(hashes: list[str | None]) -> str | None:
    return digest(hashes) if any(hashes) else None


def _cost(answer: Completion, by_hour: bool) -> Cost:
    """What an answer adds to its row: device time is counted by the session; a failed request costs what it says."""
    if by_hour:
        return Cost(list=0.0, incurred=0.0)
    if answer.error is not None:
        return Cost(list=answer.cost.list or 0.0, incurred=answer.cost.incurred or 0.0)
    return answer.cost


def _sum(values: list[float | None]) -> float | None:
    """Their sum; None where one is unknown."""
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _sum_usage(answers: list[Completion]) -> Usage:
    return Usage(**{name: sum(getattr(a.usage, name) for a in answers) for name in Usage.__struct_fields__})


def _sum_timing(earlier: list[Completion], last: Completion) -> Timing:
    """Seconds of all stages, one after the other; the first token is the last stage's."""
    all_of_them = [a.timing for a in (*earlier, last)]
    before = sum(t.service_s + t.retry_s for t in all_of_them[:-1])
    first = last.timing.first_token_s
    return Timing(
        queue_s=sum(t.queue_s for t in all_of_them),
        service_s=sum(t.service_s for t in all_of_them),
        retry_s=sum(t.retry_s for t in all_of_them),
        first_token_s=None if first is None else before + first,
    )
