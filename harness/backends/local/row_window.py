"""One window of rows: prompts, shared prefix, length-sorted batches, and what to do when memory runs out."""

import time
from collections.abc import Iterator

import msgspec

from harness.backends.local.batching import Item, batches, failed, is_out_of_memory, release
from harness.backends.local.classification_head import Head
from harness.backends.local.decode_job import DecodeJob
from harness.backends.local.engine_counters import peak_memory
from harness.backends.local.generation import Generate
from harness.backends.local.kv_cache import NOTHING, Prefix, PrefixCache
from harness.backends.local.label_scoring import Choose
from harness.backends.local.model import LoadedModel
from harness.errors import BackendStopped, UsageError
from harness.records import Completion, Request, Timing, Usage

Decoder = Choose | Generate | Head


def answer_window(
    job: DecodeJob, net: LoadedModel, decoder: Decoder, prefixes: PrefixCache, requests: list[Request], queued: float
) -> Iterator[list[Completion]]:
    """Completions of all requests, batch by batch; a prompt that cannot be cut to fit is `context_too_long`.

    queued: when the rows began to wait (seconds of time.perf_counter).
    """
    begun = time.perf_counter()
    rooms = [decoder.room(r) for r in requests]
    try:
        prompts = (net.renderer.passage_prompts if job.decode == "head" else net.renderer.prompts)(requests, rooms)
    except UsageError as error:  # what the first row's check could not know
        raise BackendStopped(str(error), "template") from None
    items, too_long = [], []
    for request, prompt, room in zip(requests, prompts, rooms, strict=True):
        if len(prompt.ids) > room:
            too_long.append(_too_long(request, len(prompt.ids), prompt.hash()))
        else:
            items.append(Item(request, prompt, queued))
    if too_long:
        yield too_long
    if not items:
        return
    # A probe asks what one answer takes, so its clock runs from the rendering of the prompt.
    since = begun if job.unbatched else None
    if not isinstance(decoder, Head):
        alone = [i for i in items if len(i.prompt.ids) + decoder.extra(i.request) > net.batched_limit]
        yield from _each_alone(job, net, decoder, alone, since)
        items = [i for i in items if len(i.prompt.ids) + decoder.extra(i.request) <= net.batched_limit]
    if not items:
        return
    prefix = NOTHING
    if job.decode != "head" and not job.unbatched:
        before = prefixes.computed_tokens
        prefix = _shared(job, net, prefixes, items)
        job.counters.computed_tokens += prefixes.computed_tokens - before
    job.counters.busy_s += time.perf_counter() - begun
    yield from _all_batches(job, net, decoder, items, prefix, since)


def _each_alone(
    job: DecodeJob, net: LoadedModel, decoder: Choose | Generate, items: list[Item], since: float | None
) -> Iterator[list[Completion]]:
    """Rows that must not share a batch, longest first."""
    for item in sorted(items, key=lambda i: -len(i.prompt.ids)):
        if job.cancelled.is_set():
            return
        try:
            yield _timed(job, net, decoder, [item], None, since)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            release(net.device)
            yield [_no_memory(item.request, error)]


def _shared(job: DecodeJob, net: LoadedModel, prefixes: PrefixCache, items: list[Item]) -> Prefix:
    """The prompts' common beginning; where memory has no room for it, each row computes its own."""
    rows = [item.prompt.ids for item in items]
    try:
        return prefixes.get(net, job.adapter, rows)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    prefixes.clear()  # those of other adapters take memory that the rows now need
    release(net.device)
    return NOTHING


def _all_batches(
    job: DecodeJob, net: LoadedModel, decoder: Decoder, items: list[Item], prefix: Prefix, since: float | None
) -> Iterator[list[Completion]]:
    """All rows, longest first; out of memory halves the budget and goes on with what is left."""
    left = items
    while left:
        widths = [len(i.prompt.ids) - len(prefix.ids) + decoder.extra(i.request) for i in left]
        keys = [decoder.key(i.request) for i in left]
        most = [
            min(decoder.most_rows(i.request), net.most_rows(len(prefix.ids) + w))
            for i, w in zip(left, widths, strict=True)
        ]
        done: set[int] = set()
        for positions in batches(left, job.budget, widths, keys, most):
            if job.cancelled.is_set():
                return
            batch = [left[i] for i in positions]
            try:
                answers = _timed(job, net, decoder, batch, prefix, since)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                release(net.device)
                job.budget = max(1, len(batch) * max(widths[i] for i in positions) // 2)
                job.counters.halvings += 1
                if len(batch) > 1:
                    break
                answers = [_no_memory(batch[0].request, error)]
            done.update(positions)
            yield answers
        left = [item for i, item in enumerate(left) if i not in done]


def _timed(
    job: DecodeJob, net: LoadedModel, decoder: Decoder, batch: list[Item], prefix: Prefix | None, since: float | None
) -> list[Completion]:
    """One batch with its times (from `since`, where given) and its part in the counters; prefix None: each alone."""
    begun = time.perf_counter()
    if prefix is None and not isinstance(decoder, Head):
        answers = [decoder.answer_singly(item) for item in batch]
    else:
        answers = decoder.answer(batch, prefix or NOTHING)
    prefix = prefix or NOTHING
    ended = time.perf_counter()
    counters = job.counters
    counters.rows += len(batch)
    counters.batches += 1
    counters.busy_s += ended - begun
    counters.prompt_tokens += sum(len(i.prompt.ids) for i in batch)
    counters.reused_tokens += len(prefix.ids) * len(batch)
    computed, columns = decoder.columns(batch, len(prefix.ids))
    counters.computed_tokens += computed
    counters.padding_tokens += columns - computed
    if job.decode in ("generate", "json"):
        counters.completion_tokens += sum(a.usage.completion_tokens for a in answers)
    counters.peak_memory_bytes = peak_memory(net.device)
    start = begun if since is None else since
    return [_with_times(a, start - i.queued, ended - start, begun - start) for i, a in zip(batch, answers, strict=True)]


def _with_times(answer: Completion, queue_s: float, service_s: float, lead_s: float) -> Completion:
    first = answer.timing.first_token_s
    timing = Timing(queue_s=queue_s, service_s=service_s, first_token_s=None if first is None else first + lead_s)
    return msgspec.structs.replace(answer, timing=timing)


def _too_long(request: Request, tokens: int, prompt_hash: str) -> Completion:
    return Completion(
        id=request.id,
        repeat=request.repeat,
        finish="context_too_long",
        prompt_hash=prompt_hash,
        usage=Usage(prompt_tokens=tokens),
    )


def _no_memory(request: Request, error: BaseException) -> Completion:
    return failed(request, "out_of_memory", (str(error).splitlines() or ["no memory"])[0])
