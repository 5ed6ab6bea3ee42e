"""A Ray actor that answers windows of rows: they come in by `ask`, answers go out by `take` as they are made.

Everything crosses as bytes of msgpack. `take` waits until there is something and hands out all there is, so that one
call at a time carries any number of answers; it works through `ray://` too, which knows no streamed results.
"""

import asyncio
import os
import traceback
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec

from harness import hardware
from harness.backends.local.model_spec import BaseFacts, DecodeSettings, ModelSpec
from harness.backends.ray.ray_cluster import PACKAGES
from harness.errors import BenchError
from harness.records import Completion, Record, Request

if TYPE_CHECKING:
    from harness.backends.local.decode_job import DecodeJob
    from harness.backends.local.engine import LocalEngine
    from harness.backends.local.weight_loading import Placement


class WorkerInfo(Record, frozen=True, kw_only=True):
    """A worker's first words: where it runs and on what."""

    node: str
    pid: int
    versions: dict[str, str]


class WorkerRefusal(Record, frozen=True, kw_only=True):
    """A user message as it is sent over the wire; `kind` names it in the run directory."""

    message: str
    kind: str = "fatal"


class AnswerChunk(Record, frozen=True, kw_only=True):
    """News of one window: answers, and how it ended where it did.

    counters: sums of this worker's work for the window's backend so far; refused: this backend must stop;
    fault: a traceback, where the program is wrong.
    """

    window: int
    answers: list[Completion] = []
    ended: bool = False
    counters: dict[str, float] = {}
    refusal: WorkerRefusal | None = None
    fault: str = ""


CHUNKS = msgspec.msgpack.Decoder(list[AnswerChunk])
ROWS = msgspec.msgpack.Decoder(list[Request])


class Worker(ABC):
    """An asynchronous actor. A kind of worker says in `answer` how a window is answered."""

    def __init__(self) -> None:
        self._chunks: list[AnswerChunk] = []
        self._any = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def info(self) -> bytes:
        """A Greeting."""
        import ray

        versions = {k: v for k, v in hardware.versions().items() if k in PACKAGES}
        node = f"node {ray.util.get_node_ip_address()}"  # type: ignore[no-untyped-call,unused-ignore]
        return msgspec.msgpack.encode(WorkerInfo(node=node, pid=os.getpid(), versions=versions))

    async def submit(self, window: int, job: bytes, rows: bytes) -> None:
        """Take a window; windows are answered in the order in which they come."""
        task = asyncio.create_task(self._answer(window, job, ROWS.decode(rows)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def poll(self) -> bytes:
        """All news since the last call, at least one piece."""
        await self._any.wait()
        self._any.clear()
        chunks, self._chunks = self._chunks, []
        return msgspec.msgpack.encode(chunks)

    async def _answer(self, window: int, job: bytes, requests: list[Request]) -> None:
        end = AnswerChunk(window=window, ended=True)
        try:
            async for answers in self.answer(job, requests):
                self._publish(AnswerChunk(window=window, answers=answers))
        except BenchError as error:
            refusal = WorkerRefusal(message=str(error), kind=getattr(error, "kind", "fatal"))
            end = msgspec.structs.replace(end, refused=refusal)
        except Exception:
            end = msgspec.structs.replace(end, fault=traceback.format_exc())
        self._publish(msgspec.structs.replace(end, counters=self.counters(job)))

    def _publish(self, chunk: AnswerChunk) -> None:
        self._chunks.append(chunk)
        self._any.set()

    @abstractmethod
    def answer(self, job: bytes, requests: list[Request]) -> AsyncIterator[list[Completion]]:
        """Answers of one window, some at a time."""

    def counters(self, job: bytes) -> dict[str, float]:
        """Sums over all windows of this order so far."""
        return {}


class LocalWorker(Worker):
    """Holds one base model in an engine of its own. Models and adapters come by path or Hub id, never by wire."""

    def __init__(self, spec: bytes) -> None:
        super().__init__()
        self._weights = msgspec.msgpack.decode(spec, type=ModelSpec)
        self._engine: LocalEngine | None = None
        self._placement: Placement | None = None
        self._jobs: dict[bytes, DecodeJob] = {}

    async def find(self) -> bytes:
        """BaseFacts of the base as it lies on this node, or a Refusal."""
        return msgspec.msgpack.encode(await asyncio.to_thread(self._find))

    def _find(self) -> BaseFacts | WorkerRefusal:
        try:
            from harness.backends.local.decode_job import resolve_model
            from harness.backends.local.engine import LocalEngine
            from harness.backends.local.weight_loading import load

            base, placement, facts = resolve_model(self._weights)
        except BenchError as error:
            return WorkerRefusal(message=str(error))
        if self._engine is None:
            self._placement, self._engine = placement, LocalEngine(lambda: load(base, placement))
            self._engine.open()
        return facts

    async def check(self, job: bytes) -> bytes:
        """Whether the adapter of an order lies here too, whole and the same: None or a Refusal."""
        return msgspec.msgpack.encode(await asyncio.to_thread(self._check, job))

    def _check(self, job: bytes) -> WorkerRefusal | None:
        from pathlib import Path

        from harness.adapter_manifest import weights_digest

        settings = msgspec.msgpack.decode(job, type=DecodeSettings)
        if settings.folder is None:
            return None
        digest = weights_digest(Path(settings.folder))
        if digest is None:
            return WorkerRefusal(message=f"there is no adapter at {settings.folder}")
        if digest != settings.sha256:
            return WorkerRefusal(message=f"the adapter at {settings.folder} has other weights than the driver's")
        return None

    async def answer(self, job: bytes, requests: list[Request]) -> AsyncIterator[list[Completion]]:
        """Batch by batch, as the engine makes them."""
        from harness.backends.local.decode_job import make_job

        assert self._engine is not None and self._placement is not None, "find comes before ask"
        if job not in self._jobs:
            self._jobs[job] = make_job(msgspec.msgpack.decode(job, type=DecodeSettings), self._placement)
        async for batch in self._engine.stream(self._jobs[job], requests):
            yield batch

    def counters(self, job: bytes) -> dict[str, float]:
        """The engine's sums for this job."""
        decode_job = self._jobs.get(job)
        return {k: float(v) for k, v in asdict(decode_job.counters).items()} if decode_job is not None else {}


def decode_or_refuse(raw: bytes, kind: Any) -> Any:
    """What a worker sent: a record of `kind` or a Refusal, distinguished by trying."""
    try:
        return msgspec.msgpack.decode(raw, type=kind)
    except msgspec.ValidationError:
        return msgspec.msgpack.decode(raw, type=WorkerRefusal)
