"""The local engine: one base model, one worker thread, many handles that queue (adapter, window) jobs.

Only the worker touches the model; nobody else switches adapters. A handle's rows come back batch by batch.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import torch

from harness.backends.local.batching import default_batch_tokens
from harness.backends.local.decode_job import DecodeJob
from harness.backends.local.exactness import batching_is_exact
from harness.backends.local.generation import GenerationDecoder
from harness.backends.local.kv_cache import PrefixCache
from harness.backends.local.label_scoring import HeadDecoder, LabelScoringDecoder, Normalisation
from harness.backends.local.lora_weights import AdapterSet
from harness.backends.local.model import LoadedModel
from harness.backends.local.row_window import Decoder, answer_window
from harness.backends.local.weight_loading import choose_tokenizer, wrap_model
from harness.hashing import digest
from harness.prompting.chat_rendering import Renderer
from harness.records import Completion, Decode, Request

ACTIVE = "<active>"
"""The adapter of a live model, as it is: nothing is switched."""


class EngineState:
    """A model with what belongs to it: adapters, shared prefixes, and decoders with their trees and grammars."""

    def __init__(self, loaded: LoadedModel, *, live: bool) -> None:
        self.loaded = loaded
        self.live = live
        self.adapters = AdapterSet(loaded.model)
        self.prefixes = PrefixCache()
        self._decoders: dict[Hashable, Decoder] = {}

    def decoder(self, job: DecodeJob) -> Decoder:
        """The decoder of a job, kept: label trees and grammars are built once."""
        key = (job.decode, job.normalisation, job.adapter, job.labels, digest(job.template))
        if key not in self._decoders:
            self._decoders[key] = self._new_decoder(job)
        return self._decoders[key]

    def _new_decoder(self, job: DecodeJob) -> Decoder:
        if job.decode == "head":
            score = self._live_score if self.live else self.adapters.head(job.adapter, len(job.labels))
            return HeadDecoder(self.loaded, score, job.labels)
        if self.loaded.batched_limit and not batching_is_exact(self.loaded):
            self.loaded.batched_limit = 0
        loaded = self.loaded
        if job.template or job.tokenizer is not None:
            rows = len(loaded.model.get_input_embeddings().weight)  # with the job's adapter, which is active
            chosen = choose_tokenizer(loaded.renderer.tokenizer, job.tokenizer, rows)
            loaded = replace(loaded, renderer=Renderer(chosen.tokenizer, job.template))
        if job.decode == "choose":
            return LabelScoringDecoder(loaded, job.normalisation)
        return GenerationDecoder(loaded, constrained=job.decode == "json")

    def _live_score(self, hidden: torch.Tensor) -> torch.Tensor:
        """A live model's head; a trainer keeps it in float32, whatever the type of the model below."""
        score = self.loaded.model.score
        weights = list(score.parameters())  # PEFT keeps the untrained one beside the trained one
        dtype = next((w.dtype for w in weights if w.requires_grad), weights[0].dtype)
        return score(hidden.to(dtype))  # type: ignore[no-any-return]


class LocalEngine:
    """Owns a model. `load` runs once, in the worker thread, when the first rows are asked."""

    def __init__(self, load: Callable[[], LoadedModel]) -> None:
        self._load = load
        self._worker: ThreadPoolExecutor | None = None
        self._state: EngineState | None = None
        self._live = False
        self._handles = 0

    @classmethod
    def from_live(cls, model: Any, tokenizer: Any, template: dict[str, Any] | None = None) -> "LocalEngine":
        """An engine on a model that its caller owns and changes (a trainer between steps).

        template: variables of the chat template.
        """
        engine = cls(lambda: wrap_model(model, tokenizer, template))
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
        loaded = self._ensure_loaded()
        model = loaded.loaded.model
        training = [module for module in model.modules() if module.training]
        model.eval()
        loaded.prefixes.clear()  # the weights may have changed since
        tokens = budget or default_batch_tokens(loaded.loaded.device.type, decode)
        job = DecodeJob(decode, ACTIVE, labels=labels, normalisation=normalisation, budget=tokens)
        try:
            batches = list(self._run(job, list(requests), time.perf_counter()))
        finally:
            for module in training:
                module.training = True
        found = {(c.id, c.repeat): c for batch in batches for c in batch}
        return [found[r.id, r.repeat] for r in requests]

    def open(self) -> None:
        """Count one more handle; the first one starts the worker."""
        self._handles += 1
        if self._worker is None:
            self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-engine")

    async def close(self) -> None:
        """Count one handle less; the last one ends the worker and lets the weights go."""
        self._handles -= 1
        if self._handles == 0 and self._worker is not None:
            worker, self._worker = self._worker, None
            await asyncio.to_thread(worker.shutdown, wait=True, cancel_futures=True)
            self._state = None

    async def stream(self, job: DecodeJob, requests: list[Request]) -> AsyncIterator[list[Completion]]:
        """Answer one window, yielding each batch as it ends; between `open` and `close`.

        Closing the iterator ends the work after the current batch.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Queue[list[Completion] | None] = asyncio.Queue()
        queued = time.perf_counter()

        def work() -> None:
            try:
                for batch in self._run(job, requests, queued):
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

    def _ensure_loaded(self) -> EngineState:
        if self._state is None:
            self._state = EngineState(self._load(), live=self._live)
        return self._state

    def _run(self, job: DecodeJob, requests: list[Request], queued: float) -> Iterator[list[Completion]]:
        """One job, in the worker thread."""
        if job.cancelled.is_set():
            return
        with torch.inference_mode():
            loaded = self._ensure_loaded()
            if job.adapter != ACTIVE:
                loaded.adapters.activate(job.adapter, job.folder)
            decoder = loaded.decoder(job)
            for rows in [[r] for r in requests] if job.unbatched else [requests]:
                yield from answer_window(job, decoder.loaded, decoder, loaded.prefixes, rows, queued)
