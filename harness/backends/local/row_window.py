"""One window of rows: prompts, shared prefix, length-sorted batches, and what to do when memory runs out."""

import time
from collections.abc import Iterator

import msgspec

from harness.backends.local.batching import PromptItem, batches, failed_completion, free_device_memory, is_out_of_memory
from harness.backends.local.decode_job import DecodeJob, peak_memory
from harness.backends.local.generation import GenerationDecoder
from harness.backends.local.kv_cache import NO_PREFIX, Prefix, PrefixCache
from harness.backends.local.label_scoring import HeadDecoder, LabelScoringDecoder
from harness.backends.local.model import LoadedModel
from harness.errors import BackendStopped, UsageError
from harness.records import Completion, Request, Timing, Usage

Decoder = LabelScoringDecoder | GenerationDecoder | HeadDecoder


def answer_window(
    job: DecodeJob, loaded: LoadedModel, decoder: Decoder, prefixes: PrefixCache, requests: list[Request], queued: float
) -> Iterator[list[Completion]]:
    """Completions of all requests, batch by batch; a prompt that cannot be cut to fit is `context_too_long`.

    queued: when the rows began to wait (seconds of time.perf_counter).
    """
    started = time.perf_counter()
    prompt_limits = [decoder.max_prompt_tokens(r) for r in requests]
    try:
        prompts = (loaded.renderer.passage_prompts if job.decode == "head" else loaded.renderer.prompts)(
            requests, prompt_limits
        )
    except UsageError as error:  # what the first row's check could not know
        raise BackendStopped(str(error), "template") from None
    items, too_long = [], []
    for request, prompt, prompt_limit in zip(requests, prompts, prompt_limits, strict=True):
        if len(prompt.ids) > prompt_limit:
            too_long.append(_context_too_long(request, len(prompt.ids), prompt.hash()))
        else:
            items.append(PromptItem(request, prompt, queued))
    if too_long:
        yield too_long
    if not items:
        return
    # A probe asks what one answer takes, so its clock runs from the rendering of the prompt.
    clock_start = started if job.unbatched else None
    if not isinstance(decoder, HeadDecoder):
        singles = [i for i in items if len(i.prompt.ids) + decoder.extra_tokens(i.request) > loaded.batched_limit]
        yield from _decode_singly(job, loaded, decoder, singles, clock_start)
        items = [i for i in items if len(i.prompt.ids) + decoder.extra_tokens(i.request) <= loaded.batched_limit]
    if not items:
        return
    prefix = NO_PREFIX
    if job.decode != "head" and not job.unbatched:
        before = prefixes.computed_tokens
        prefix = _shared_prefix(job, loaded, prefixes, items)
        job.counters.computed_tokens += prefixes.computed_tokens - before
    job.counters.busy_s += time.perf_counter() - started
    yield from _decode_batches(job, loaded, decoder, items, prefix, clock_start)


def _decode_singly(
    job: DecodeJob,
    loaded: LoadedModel,
    decoder: LabelScoringDecoder | GenerationDecoder,
    items: list[PromptItem],
    clock_start: float | None,
) -> Iterator[list[Completion]]:
    """Rows that must not share a batch, longest first."""
    for item in sorted(items, key=lambda i: -len(i.prompt.ids)):
        if job.cancelled.is_set():
            return
        try:
            yield _decode_timed(job, loaded, decoder, [item], None, clock_start)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            free_device_memory(loaded.device)
            yield [_out_of_memory(item.request, error)]


def _shared_prefix(job: DecodeJob, loaded: LoadedModel, prefixes: PrefixCache, items: list[PromptItem]) -> Prefix:
    """The prompts' common beginning; where it does not fit into memory, each row computes its own."""
    rows = [item.prompt.ids for item in items]
    try:
        return prefixes.get(loaded, job.adapter, rows)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    prefixes.clear()  # those of other adapters take memory that the rows now need
    free_device_memory(loaded.device)
    return NO_PREFIX


def _decode_batches(
    job: DecodeJob,
    loaded: LoadedModel,
    decoder: Decoder,
    items: list[PromptItem],
    prefix: Prefix,
    clock_start: float | None,
) -> Iterator[list[Completion]]:
    """All rows, longest first; out of memory halves the budget and continues with what is left."""
    remaining = items
    while remaining:
        widths = [len(i.prompt.ids) - len(prefix.ids) + decoder.extra_tokens(i.request) for i in remaining]
        keys = [decoder.batch_key(i.request) for i in remaining]
        row_limits = [
            min(decoder.max_batch_rows(i.request), loaded.max_batch_rows(len(prefix.ids) + w))
            for i, w in zip(remaining, widths, strict=True)
        ]
        done: set[int] = set()
        for positions in batches(remaining, job.budget, widths, keys, row_limits):
            if job.cancelled.is_set():
                return
            batch = [remaining[i] for i in positions]
            try:
                answers = _decode_timed(job, loaded, decoder, batch, prefix, clock_start)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                free_device_memory(loaded.device)
                job.budget = max(1, len(batch) * max(widths[i] for i in positions) // 2)
                job.counters.halvings += 1
                if len(batch) > 1:
                    break
                answers = [_out_of_memory(batch[0].request, error)]
            done.update(positions)
            yield answers
        remaining = [item for i, item in enumerate(remaining) if i not in done]


def _decode_timed(
    job: DecodeJob,
    loaded: LoadedModel,
    decoder: Decoder,
    batch: list[PromptItem],
    prefix: Prefix | None,
    clock_start: float | None,
) -> list[Completion]:
    """One batch with its times (from `since`, where given) and its part in the counters; prefix None: each alone."""
    started = time.perf_counter()
    if prefix is None and not isinstance(decoder, HeadDecoder):
        answers = [decoder.decode_singly(item) for item in batch]
    else:
        answers = decoder.decode_batch(batch, prefix or NO_PREFIX)
    prefix = prefix or NO_PREFIX
    ended = time.perf_counter()
    counters = job.counters
    counters.rows += len(batch)
    counters.batches += 1
    counters.busy_s += ended - started
    counters.prompt_tokens += sum(len(i.prompt.ids) for i in batch)
    counters.reused_tokens += len(prefix.ids) * len(batch)
    computed, columns = decoder.count_columns(batch, len(prefix.ids))
    counters.computed_tokens += computed
    counters.padding_tokens += columns - computed
    if job.decode in ("generate", "json"):
        counters.completion_tokens += sum(a.usage.completion_tokens for a in answers)
    counters.peak_memory_bytes = peak_memory(loaded.device)
    start = started if clock_start is None else clock_start
    return [
        _with_timing(a, start - i.queued, ended - start, started - start) for i, a in zip(batch, answers, strict=True)
    ]


def _with_timing(answer: Completion, queue_s: float, service_s: float, lead_s: float) -> Completion:
    first = answer.timing.first_token_s
    timing = Timing(queue_s=queue_s, service_s=service_s, first_token_s=None if first is None else first + lead_s)
    return msgspec.structs.replace(answer, timing=timing)


def _context_too_long(request: Request, tokens: int, prompt_hash: str) -> Completion:
    return Completion(
        id=request.id,
        repeat=request.repeat,
        finish="context_too_long",
        prompt_hash=prompt_hash,
        usage=Usage(prompt_tokens=tokens),
    )


def _out_of_memory(request: Request, error: BaseException) -> Completion:
    return failed_completion(request, "out_of_memory", (str(error).splitlines() or ["no memory"])[0])
