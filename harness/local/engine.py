"""The local engine: one base model, one worker thread, many handles that queue (adapter, window) jobs.

Only the worker touches the model; nobody else switches adapters. A handle's rows come back batch by batch.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch

from harness.records import Completion, Decode, Failure, Request, Usage
from harness.rendering import Prompt, Renderer

from .adapters import BASE, AdapterSet
from .batching import Item, batches
from .choose import Choose, Normalisation
from .counters import Counters, peak_memory
from .generate import Generate
from .head import Head
from .loading import as_net
from .memory import is_out_of_memory, release
from .net import Net
from .prefix import NOTHING, Prefix, PrefixCache

Decoder = Choose | Generate | Head

ACTIVE = "<active>"
"""The adapter of a live model, as it is: nothing is switched."""


@dataclass
class Job:
    """How a handle wants its rows answered.

    adapter: its name in this engine ("" is the base alone) and `folder` where it lies; budget: tokens of a
    batch; unbatched: one row at a time and no shared prefix (a latency probe). `cancelled` ends it after
    the current batch.
    """

    decode: Decode
    adapter: str = BASE
    folder: Path | None = None
    labels: tuple[str, ...] = ()
    normalisation: Normalisation = "sum"
    budget: int = 8192
    unbatched: bool = False
    counters: Counters = field(default_factory=Counters)
    cancelled: threading.Event = field(default_factory=threading.Event)


class LocalEngine:
    """Owns a model. `load` runs once, in the worker thread, when the first rows are asked."""

    def __init__(self, load: Callable[[], Net]) -> None:
        self._load = load
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-engine")
        self._net: Net | None = None
        self._live = False
        self._handles = 0
        self._decoders: dict[Hashable, Decoder] = {}

    @classmethod
    def from_live(cls, model: Any, tokenizer: Any) -> "LocalEngine":
        """An engine on a model that somebody else owns and changes (a trainer between steps)."""
        engine = cls(lambda: as_net(model, tokenizer))
        engine._live = True
        return engine

    def answer(
        self,
        requests: Sequence[Request],
        *,
        decode: Decode,
        labels: tuple[str, ...] = (),
        normalisation: Normalisation = "sum",
        budget: int = 8192,
    ) -> list[Completion]:
        """Answer with the live model and its active adapter, here and now, in the order of the requests.

        For an engine made by `from_live`. The model's training mode is put back. labels: of a head, in the
        order of its rows.
        """
        net = self._ready()
        training = [module for module in net.model.modules() if module.training]
        net.model.eval()
        self._prefixes.clear()  # the weights may have changed since
        job = Job(decode, ACTIVE, labels=labels, normalisation=normalisation, budget=budget)
        try:
            found = {(c.id, c.repeat): c for batch in self._run(job, list(requests)) for c in batch}
        finally:
            for module in training:
                module.training = True
        return [found[r.id, r.repeat] for r in requests]

    def open(self) -> None:
        """Count one more handle."""
        self._handles += 1

    async def close(self) -> None:
        """Count one handle less; the last one ends the worker and lets the weights go."""
        self._handles -= 1
        if self._handles == 0:
            await asyncio.to_thread(self._worker.shutdown, wait=True, cancel_futures=True)
            self._net = None

    async def stream(self, job: Job, requests: list[Request]) -> AsyncIterator[list[Completion]]:
        """Answer one window, yielding each batch as it ends. Closing the iterator ends it after the current batch."""
        loop = asyncio.get_running_loop()
        done: asyncio.Queue[list[Completion] | None] = asyncio.Queue()

        def work() -> None:
            try:
                for batch in self._run(job, requests):
                    loop.call_soon_threadsafe(done.put_nowait, batch)
            finally:
                loop.call_soon_threadsafe(done.put_nowait, None)

        future = loop.run_in_executor(self._worker, work)
        try:
            while (batch := await done.get()) is not None:
                yield batch
            await future
        finally:
            if not future.done():
                job.cancelled.set()
                await asyncio.wait([future])

    def _ready(self) -> Net:
        if self._net is None:
            self._net = self._load()
            self._adapters = AdapterSet(self._net.model)
            self._prefixes = PrefixCache()
        return self._net

    def _decoder(self, job: Job, net: Net) -> Decoder:
        """The decoder of a job, kept: label trees and grammars are built once."""
        key = (job.decode, job.normalisation, job.adapter, job.labels)
        if key not in self._decoders:
            self._decoders[key] = self._new_decoder(job, net)
        return self._decoders[key]

    def _new_decoder(self, job: Job, net: Net) -> Decoder:
        if job.decode == "choose":
            return Choose(net, job.normalisation)
        if job.decode == "head":
            score = net.model.score if self._live else self._adapters.head(job.adapter)
            return Head(net, score, job.labels)
        return Generate(net, constrained=job.decode == "json")

    def _run(self, job: Job, requests: list[Request]) -> Iterator[list[Completion]]:
        """One job, in the worker thread."""
        queued = time.perf_counter()
        with torch.inference_mode():
            net = self._ready()
            if job.adapter != ACTIVE:
                self._adapters.activate(job.adapter, job.folder)
            decoder = self._decoder(job, net)
            if job.unbatched:
                for request in requests:
                    yield from self._window(job, net, decoder, [request], queued)
            else:
                yield from self._window(job, net, decoder, requests, queued)

    def _window(
        self, job: Job, net: Net, decoder: Decoder, requests: list[Request], queued: float
    ) -> Iterator[list[Completion]]:
        rooms = [decoder.room(r) for r in requests]
        prompts = _prompts(net.renderer, job.decode, requests, rooms)
        too_long = [_too_long(r, p) for r, p, room in zip(requests, prompts, rooms, strict=True) if len(p.ids) > room]
        if too_long:
            yield too_long
        items = [Item(r, p, queued) for r, p, room in zip(requests, prompts, rooms, strict=True) if len(p.ids) <= room]
        if not items:
            return
        prefix = NOTHING
        if job.decode != "head" and not job.unbatched:
            before = self._prefixes.computed_tokens
            prefix = self._prefixes.get(net, job.adapter, [item.prompt.ids for item in items])
            job.counters.computed_tokens += self._prefixes.computed_tokens - before
        yield from self._batches(job, net, decoder, items, prefix)

    def _batches(
        self, job: Job, net: Net, decoder: Decoder, items: list[Item], prefix: Prefix
    ) -> Iterator[list[Completion]]:
        """All rows, longest first; out of memory halves the budget and goes on with what is left."""
        left = items
        while left:
            widths = [len(i.prompt.ids) - len(prefix.ids) + decoder.extra(i.request) for i in left]
            keys = [decoder.key(i.request) for i in left]
            most = min(decoder.most_rows(i.request) for i in left)
            done: set[int] = set()
            for positions in batches(left, job.budget, widths, keys, most):
                if job.cancelled.is_set():
                    return
                batch = [left[i] for i in positions]
                try:
                    answers = _timed(job, net, decoder, batch, prefix)
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    answers = [_failed(i.request, error) for i in batch] if len(batch) == 1 else []
                    release(net.device)
                    job.budget = max(1, min(job.budget, len(batch) * max(widths[i] for i in positions)) // 2)
                    job.counters.halvings += 1
                if answers:
                    done.update(positions)
                    yield answers
                else:
                    break
            left = [item for i, item in enumerate(left) if i not in done]


def _prompts(renderer: Renderer, decode: Decode, requests: list[Request], rooms: list[int]) -> list[Prompt]:
    if decode == "head":
        return renderer.passage_prompts(requests, rooms)
    return renderer.prompts(requests, rooms)


def _timed(job: Job, net: Net, decoder: Decoder, batch: list[Item], prefix: Prefix) -> list[Completion]:
    """One batch with its times and its part in the counters."""
    begun = time.perf_counter()
    answers = decoder.answer(batch, prefix)
    took = time.perf_counter() - begun
    counters = job.counters
    own = [len(i.prompt.ids) - len(prefix.ids) for i in batch]
    extra = decoder.extra(batch[0].request) * len(batch) if job.decode == "choose" else 0
    counters.rows += len(batch)
    counters.batches += 1
    counters.busy_s += took
    counters.prompt_tokens += sum(len(i.prompt.ids) for i in batch)
    counters.reused_tokens += len(prefix.ids) * len(batch)
    counters.computed_tokens += sum(own) + extra
    counters.padding_tokens += max(own) * len(own) - sum(own)
    if job.decode in ("generate", "json"):
        counters.completion_tokens += sum(a.usage.completion_tokens for a in answers)
    counters.peak_memory_bytes = peak_memory(net.device)
    return [
        msgspec.structs.replace(a, timing=msgspec.structs.replace(a.timing, queue_s=begun - i.queued, service_s=took))
        for i, a in zip(batch, answers, strict=True)
    ]


def _too_long(request: Request, prompt: Prompt) -> Completion:
    return Completion(
        id=request.id,
        repeat=request.repeat,
        finish="context_too_long",
        prompt_hash=prompt.hash(),
        usage=Usage(prompt_tokens=len(prompt.ids)),
    )


def _failed(request: Request, error: BaseException) -> Completion:
    message = (str(error).splitlines() or ["no memory"])[0]
    return Completion(id=request.id, repeat=request.repeat, error=Failure(kind="out_of_memory", message=message))
