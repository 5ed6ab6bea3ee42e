"""A task and backends whose answers are known beforehand, to test the spine without models or servers."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import msgspec

from harness.backend import RunContext, RunRequirements
from harness.data.rows import DataSource
from harness.errors import BackendStopped, UsageError
from harness.metrics import CLASSIFICATION
from harness.records import (
    BackendIdentity,
    Completion,
    Cost,
    Failure,
    InputSpan,
    Message,
    Request,
    Sample,
    Score,
    Timing,
    Usage,
)
from harness.scoring.label_parsing import score_label

LABELS = ("even", "odd")


class Parity:
    """Is a number even or odd? 60 rows, no files."""

    name = "parity"
    version = "1"
    labels = LABELS
    metrics = CLASSIFICATION
    recipe = "parity"

    def samples(self, source: DataSource) -> Iterable[Sample]:
        for number in range(60):
            yield Sample.of({"number": str(number)}, LABELS[number % 2], source.split)

    def request(self, sample: Sample) -> Request:
        assert sample.reference == "", "a request must never see the reference"
        number = sample.inputs["number"]
        content = f"Even or odd? {number}"
        return Request(
            id=sample.id,
            messages=(Message(role="user", content=content),),
            passages=(InputSpan(message=0, start=len(content) - len(number), end=len(content)),),
            labels=self.labels,
        )

    def score(self, sample: Sample, completion: Completion) -> Score:
        return score_label(completion, sample.reference, self.labels)

    def target(self, sample: Sample) -> str:
        return sample.reference


class OneId(Parity):
    """A task that gives every request the same id."""

    def request(self, sample: Sample) -> Request:
        return msgspec.structs.replace(super().request(sample), id="same")


class FakeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a fake does: wrong on multiples of `wrong_every`, errors on those of `error_every`, ..."""

    kind: str
    model: str = "fake-1"
    wrong_every: int = 0
    error_every: int = 0
    stop_after: int = 0
    crash_after: int = 0
    refuse: bool = False
    interrupt: bool = False
    delay_s: float = 0.0
    adapter: str | None = None
    window: int = 8


class FakeBackend:
    """Answers parity; over all instances, `asked` is what it was asked, and `most` how many rows at once
    (by whether it is a probe)."""

    Settings = FakeSettings
    asked: list[tuple[str, str, int]] = []
    most: dict[bool, int] = {}
    _at_work = 0

    def __init__(self, name: str, settings: FakeSettings, task_name: str, context: RunContext) -> None:
        self.name = name
        self.settings = settings
        self.context = context
        self.done = 0

    def identity(self) -> BackendIdentity:
        return BackendIdentity(kind="fake", model=self.settings.model, decode="generate", adapter=self.settings.adapter)

    async def check(self, needs: RunRequirements) -> None:
        if self.settings.refuse:
            raise UsageError(f"backend '{self.name}' is not ready: plug it in.")
        if self.settings.interrupt:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0.01)

    async def stream(self, requests: AsyncIterator[Request], state_dir: Path) -> AsyncIterator[Completion]:
        window: list[Request] = []
        async for request in requests:
            window.append(request)
            if len(window) == self.settings.window:
                for answer in await self._answer(window):
                    yield answer
                window = []
        for answer in await self._answer(window):
            yield answer

    async def _answer(self, window: list[Request]) -> list[Completion]:
        FakeBackend._at_work += len(window)
        probing = self.context.probing
        FakeBackend.most[probing] = max(FakeBackend.most.get(probing, 0), FakeBackend._at_work)
        await asyncio.sleep(self.settings.delay_s)
        FakeBackend._at_work -= len(window)
        answers = []
        for request in reversed(window):  # any order is allowed
            s = self.settings
            if s.stop_after and self.done >= s.stop_after:
                raise BackendStopped("the key was refused: set FAKE_KEY.", kind="authentication")
            if s.crash_after and self.done >= s.crash_after:
                raise RuntimeError("a bug in a plugin")
            self.done += 1
            FakeBackend.asked.append((self.name, request.id, request.repeat))
            answers.append(self._one(request, int(request.passage_texts()[0])))
        return answers

    def _one(self, request: Request, number: int) -> Completion:
        s = self.settings
        timing = Timing(service_s=0.01 * (1 + number % 5))
        if s.error_every and number % s.error_every == 0:
            failure = Failure(kind="timeout", message="no answer in 1 s")
            return Completion(id=request.id, repeat=request.repeat, error=failure, timing=timing)
        wrong = bool(s.wrong_every) and number % s.wrong_every == 0
        return Completion(
            id=request.id,
            repeat=request.repeat,
            text=LABELS[(number + wrong) % 2],
            finish="stop",
            usage=Usage(prompt_tokens=7, completion_tokens=1),
            timing=timing,
            cost=Cost(list=0.001, incurred=0.001),
        )

    def counters(self) -> dict[str, float]:
        return {"answers": float(self.done)}

    async def aclose(self) -> None:
        pass
