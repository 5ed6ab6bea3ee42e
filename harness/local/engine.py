"""The local engine: one base model, one worker thread, many handles that queue (adapter, window) jobs.

Only the worker touches the model; nobody else switches adapters. A handle's rows come back batch by batch.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from harness.records import Completion, Decode, Request

from .adapters import AdapterSet
from .batching import usual_tokens
from .choose import Choose, Normalisation
from .generate import Generate
from .head import Head
from .job import Job
from .loading import as_net
from .net import Net
from .prefix import PrefixCache
from .window import Decoder, answer_window

ACTIVE = "<active>"
"""The adapter of a live model, as it is: nothing is switched."""


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
        budget: int | None = None,
    ) -> list[Completion]:
        """Answer with the live model and its active adapter, here and now, in the order of the requests.

        For an engine made by `from_live`. The model's training mode is put back. labels: of a head, in the
        order of its rows.
        """
        net = self._ready()
        training = [module for module in net.model.modules() if module.training]
        net.model.eval()
        self._prefixes.clear()  # the weights may have changed since
        tokens = budget or usual_tokens(net.device.type, decode)
        job = Job(decode, ACTIVE, labels=labels, normalisation=normalisation, budget=tokens)
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
            for rows in [[r] for r in requests] if job.unbatched else [requests]:
                yield from answer_window(job, net, decoder, self._prefixes, rows, queued)
