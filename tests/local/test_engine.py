"""The engine at work: memory, contexts, cancellation, probes, and what it says of itself."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.backend import RunContext
from harness.backends.local.kv_cache import KeyValueStore, shared_length
from harness.backends.local.label_scoring import LabelScoringDecoder
from harness.backends.local.model import LoadedModel, PaddedBatch
from harness.backends.local_backend import LocalBackend, LocalSettings
from harness.errors import BackendStopped
from harness.records import Completion, Message, Request
from harness.workspace import Workspace
from tests.local.asking import Plain, ask, ask_in, needs
from tests.support.streams import each
from tests.support.tiny_llama import LABELS, make_adapter, make_base, news_requests, sentences


def answered(backend: LocalBackend, requests: list[Request], folder: Path) -> list[Completion]:
    """Check and stream, without closing."""

    async def go() -> list[Completion]:
        await backend.check(needs(requests))
        return [c async for c in backend.stream(each(requests), folder)]

    return asyncio.run(go())


def test_running_out_of_memory_halves_the_budget_and_loses_no_row(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = LabelScoringDecoder.decode_batch

    def cramped(self: LabelScoringDecoder, items: list[Any], prefix: Any) -> list[Completion]:
        if len(items) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return honest(self, items, prefix)

    requests = news_requests(40)
    usual = ask(Workspace(tmp_path), requests, model=str(base), decode="choose")
    monkeypatch.setattr(LabelScoringDecoder, "decode_batch", cramped)
    backend = LocalBackend(
        "x", LocalSettings(model=str(base), decode="choose"), "agnews", RunContext(workspace=Workspace(tmp_path))
    )
    found = {c.id: c for c in answered(backend, requests, tmp_path)}
    assert {i: c.text for i, c in found.items()} == {i: c.text for i, c in usual.items()}
    assert backend.counters()["out_of_memory_halvings"] >= 2


@pytest.mark.parametrize("decode", ["choose", "generate"])
def test_on_a_cpu_a_long_shared_prefix_makes_batches_smaller_before_memory_ends(
    base: Path, tmp_path: Path, decode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = news_requests(12)
    usual = ask(Workspace(tmp_path), requests, model=str(base), decode=decode, max_batch_tokens=10**6)
    columns: list[int] = []
    make = KeyValueStore.allocate

    def counted(self: KeyValueStore, keys: torch.Tensor, values: torch.Tensor) -> None:
        columns.append(self.rows * self.columns)
        make(self, keys, values)

    monkeypatch.setattr(KeyValueStore, "allocate", counted)
    token_bytes = 2 * 2 * 2 * 8 * 4  # keys and values, layers, heads, head size, float32
    monkeypatch.setattr("harness.backends.local.model.CPU_CACHE_BYTES", token_bytes * 300)
    found = ask(Workspace(tmp_path), requests, model=str(base), decode=decode, max_batch_tokens=10**6)
    assert {i: c.text for i, c in found.items()} == {i: c.text for i, c in usual.items()}
    assert max(columns) <= 300 and any(c.usage.cached_tokens for c in found.values())


def test_without_memory_for_the_shared_prefix_every_row_computes_its_own(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = news_requests(20)
    usual = ask(Workspace(tmp_path), requests, model=str(base), decode="choose")

    def cramped(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("harness.backends.local.kv_cache.compute_prefix", cramped)
    found = ask(Workspace(tmp_path), requests, model=str(base), decode="choose")
    assert {i: c.text for i, c in found.items()} == {i: c.text for i, c in usual.items()}
    assert any(c.usage.cached_tokens for c in usual.values())
    assert not any(c.usage.cached_tokens for c in found.values())


def test_a_row_that_fits_no_memory_alone_is_an_error_and_the_others_are_answered(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = LabelScoringDecoder.decode_batch

    def cramped(self: LabelScoringDecoder, items: list[Any], prefix: Any) -> list[Completion]:
        if any(item.request.id == "row-3" for item in items):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return honest(self, items, prefix)

    monkeypatch.setattr(LabelScoringDecoder, "decode_batch", cramped)
    found = ask(Workspace(tmp_path), news_requests(10), model=str(base), decode="choose")
    error = found["row-3"].error
    assert error is not None
    assert error.kind == "out_of_memory"
    assert sum(c.error is None for c in found.values()) == 9


@pytest.mark.parametrize("decode", ["choose", "generate", "json", "head"])
def test_scores_that_are_no_numbers_are_an_error_and_not_the_first_label(
    tmp_path: Path, decode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if decode == "json":
        pytest.importorskip("llguidance")
    workspace, honest = Workspace(tmp_path), LoadedModel.logits
    base = make_base(tmp_path / "base")
    make_adapter(workspace, base, "topics", head=decode == "head", rank=2)

    def overflowing(self: LoadedModel, packed: PaddedBatch, *rest: Any) -> torch.Tensor:
        logits = honest(self, packed, *rest)
        prompts = packed.ids.shape[1] > 1
        return torch.cat([logits[:-1], logits[-1:] * float("nan")]) if prompts else logits

    monkeypatch.setattr("harness.backends.local.engine.batching_is_exact", lambda net: True)
    monkeypatch.setattr(LoadedModel, "logits", overflowing)
    monkeypatch.setattr("harness.backends.local.lora_weights.nn.functional.linear", one_nan(torch.nn.functional.linear))
    found = ask(workspace, news_requests(4), model=str(base), adapter="topics", decode=decode, max_batch_tokens=10**6)
    errors = [c.error for c in found.values() if c.error is not None]
    assert [e.kind for e in errors] == ["not_a_number"]
    assert "float32" in errors[0].message
    assert all(c.text for c in found.values() if c.error is None)


def one_nan(linear: Any) -> Any:
    """A head whose last row overflows."""

    def overflowing(hidden: torch.Tensor, weight: torch.Tensor, *bias: Any) -> torch.Tensor:
        out: torch.Tensor = linear(hidden, weight, *bias)
        return torch.cat([out[:-1], out[-1:] * float("nan")]) if len(weight) == 4 else out

    return overflowing


def test_a_bug_is_not_taken_for_lack_of_memory(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: LabelScoringDecoder, items: list[Any], prefix: Any) -> list[Completion]:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(LabelScoringDecoder, "decode_batch", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        ask(Workspace(tmp_path), news_requests(2), model=str(base), decode="choose")


def long_request(name: str, words: int) -> Request:
    """A news item of so many words."""
    (request,) = news_requests(1, longest=1)
    text = " ".join(sentences(words, longest=1))
    passage = request.passages[0]
    content = request.messages[0].content
    content = content[: passage.start] + text + content[passage.end :]
    return Request(
        id=name,
        messages=(Message(role="user", content=content),),
        passages=(type(passage)(message=0, start=passage.start, end=passage.start + len(text)),),
        labels=LABELS,
        max_tokens=8,
    )


@pytest.mark.parametrize("decode", ["choose", "generate"])
def test_a_prompt_longer_than_the_context_loses_the_end_of_the_article_never_the_instruction(
    tmp_path: Path, decode: str
) -> None:
    base = make_base(tmp_path / "small", max_position_embeddings=128)
    requests = [long_request("long", 200), long_request("short", 5)]
    answers = ask(Workspace(tmp_path), requests, model=str(base), decode=decode)
    assert answers["long"].prompt_truncated
    assert not answers["short"].prompt_truncated
    assert answers["long"].finish in ("stop", "length")
    assert 128 - 20 < answers["long"].usage.prompt_tokens <= 128 - (0 if decode == "choose" else 8)
    plain = Plain(base)
    (kept,) = plain.renderer.prompts([requests[0]], answers["long"].usage.prompt_tokens)
    instruction, question = requests[0].messages[0].content.split("News: ")[0], "\n\nTopic:"
    assert kept.text.startswith(instruction)
    assert kept.text.endswith(question)
    assert kept.hash() == answers["long"].prompt_hash


def test_an_instruction_that_is_too_long_by_itself_is_a_row_without_a_label(tmp_path: Path) -> None:
    base = make_base(tmp_path / "small", max_position_embeddings=32)
    answers = ask(Workspace(tmp_path), news_requests(3), model=str(base), decode="choose")
    assert {c.finish for c in answers.values()} == {"context_too_long"}


def test_closing_a_stream_ends_the_work_after_the_current_batch(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, closing = 0, threading.Event()
    honest = LabelScoringDecoder.decode_batch

    def counted(self: LabelScoringDecoder, items: list[Any], prefix: Any) -> list[Completion]:
        nonlocal batches
        batches += 1
        if batches > 1:
            closing.wait(60)
        return honest(self, items, prefix)

    monkeypatch.setattr(LabelScoringDecoder, "decode_batch", counted)
    requests = news_requests(60)

    async def interrupted() -> None:
        context = RunContext(workspace=Workspace(tmp_path))
        settings = LocalSettings(model=str(base), decode="choose", max_batch_tokens=1)
        backend = LocalBackend("x", settings, "agnews", context)
        await backend.check(needs(requests))
        stream = backend.stream(each(requests), tmp_path)
        await anext(stream)
        closed = asyncio.ensure_future(stream.aclose())  # type: ignore[attr-defined]
        for _ in range(100):  # turns of the loop, in which the engine hears of it
            await asyncio.sleep(0)
        closing.set()
        await closed
        await backend.aclose()
        await backend.aclose()

    asyncio.run(interrupted())
    assert batches <= 2, "60 batches were queued"


def test_the_event_loop_stays_free_while_the_model_works(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = LabelScoringDecoder.decode_batch
    at_work, ticked = threading.Event(), threading.Event()
    heard: list[bool] = []

    def slow(self: LabelScoringDecoder, items: list[Any], prefix: Any) -> list[Completion]:
        at_work.set()
        heard.append(ticked.wait(60))
        return honest(self, items, prefix)

    monkeypatch.setattr(LabelScoringDecoder, "decode_batch", slow)

    async def both() -> None:
        task = asyncio.ensure_future(
            ask_in(RunContext(workspace=Workspace(tmp_path)), news_requests(4), model=str(base), decode="choose")
        )
        while not at_work.is_set():
            await asyncio.sleep(0.01)
        ticked.set()
        assert len(await task) == 4

    asyncio.run(both())
    assert heard and all(heard), "the loop went on while the model was at work"


def test_what_is_loaded_is_said_once_and_before_the_first_answer(base: Path, tmp_path: Path) -> None:
    said: list[str] = []
    context = RunContext(workspace=Workspace(tmp_path), status=said.append)
    for decode in ("choose", "generate"):  # two backends over one base share its weights
        asyncio.run(ask_in(context, news_requests(2), model=str(base), decode=decode, threads=1))
    assert said[0].startswith(f"loading {base.name} (") and said[0].endswith(" MB) on cpu")


def test_weights_that_cannot_be_loaded_stop_this_backend_with_a_sentence(tmp_path: Path) -> None:
    base = make_base(tmp_path / "odd")
    config = (base / "config.json").read_text().replace('"hidden_size": 32', '"hidden_size": 48')
    (base / "config.json").write_text(config)
    with pytest.raises(BackendStopped, match="cannot be loaded"):
        ask(Workspace(tmp_path), news_requests(1), model=str(base))


@pytest.mark.parametrize("decode", ["generate", "choose"])
def test_a_probe_asks_one_row_at_a_time_and_times_the_first_token_of_written_answers(
    base: Path, tmp_path: Path, decode: str
) -> None:
    requests = news_requests(4)
    context = RunContext(workspace=Workspace(tmp_path), probing=True)
    answers = asyncio.run(ask_in(context, requests, model=str(base), decode=decode))
    assert [a.id for a in answers] == [r.id for r in requests], "as asked, not sorted"
    for answer in answers:
        assert answer.usage.cached_tokens == 0
        first = answer.timing.first_token_s
        if decode == "generate":
            assert first is not None
            assert 0 < first <= answer.timing.service_s
        else:
            assert first is None


def test_the_shared_prefix_is_computed_once_and_every_row_keeps_a_token(base: Path, tmp_path: Path) -> None:
    assert shared_length([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 7, 8]]) == 5
    assert shared_length([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]) == 4
    assert shared_length([[1, 2], [1, 2]]) == 0, "too short to be worth a pass"
    assert shared_length([[1, 2, 3, 4, 5, 6]]) == 0, "one row shares with nobody"
    requests = news_requests(32)
    settings = LocalSettings(model=str(base), decode="choose", window=8)
    backend = LocalBackend("x", settings, "agnews", RunContext(workspace=Workspace(tmp_path)))
    answers = answered(backend, requests, tmp_path)
    cached = {a.usage.cached_tokens for a in answers}
    assert min(cached) > 20
    counters = backend.counters()
    own = sum(a.usage.prompt_tokens - a.usage.cached_tokens for a in answers)
    trees = counters["computed_tokens"] - own - max(cached)
    assert 0 <= trees <= 32 * 12, "the prefix was computed once for four windows"
    assert 0 <= counters["padding_share"] < 0.5
    assert counters["prefix_reuse_share"] == pytest.approx(
        sum(a.usage.cached_tokens for a in answers) / sum(a.usage.prompt_tokens for a in answers)
    )
    assert counters["rows_per_s"] > 0
    assert counters["peak_memory_bytes"] > 0


def test_labels_of_16_bit_weights_are_scored_in_float32(base: Path, tmp_path: Path) -> None:
    answers = ask(Workspace(tmp_path), news_requests(20), model=str(base), decode="choose", dtype="bfloat16")
    scores = [score for a in answers.values() for score in (a.label_scores or {}).values()]
    coarse = [s for s in scores if float(torch.tensor(s).to(torch.bfloat16)) == s]
    assert len(coarse) < len(scores) / 4, "scores rounded to bfloat16 would tie"
