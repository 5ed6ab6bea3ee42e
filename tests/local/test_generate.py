"""`generate`: the tokens of `model.generate` one row at a time, whatever the batch."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from harness.backends.local.model import LoadedModel, PaddedBatch
from harness.workspace import Workspace
from tests.local.asking import Plain, ask
from tests.support.tiny_llama import news_requests


@pytest.mark.parametrize("kind", ["base", "bos_base", "chat_base"])
def test_texts_equal_model_generate_one_row_at_a_time(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(kind)
    plain = Plain(folder)
    requests = news_requests(24, max_tokens=8)
    answers = ask(Workspace(tmp_path), requests, model=str(folder))
    for asked in requests:
        ids = plain.generate(plain.prompt(asked), 8)
        assert answers[asked.id].text == plain.renderer.decode(ids)
        assert answers[asked.id].usage.completion_tokens == len(ids)
        assert answers[asked.id].finish == ("stop" if plain.renderer.end_id in ids else "length")


def test_rows_leave_the_batch_when_they_end_and_the_others_go_on(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, honest, fed = Plain(base), LoadedModel.logits, []

    def watched(self: LoadedModel, packed: PaddedBatch, *rest: Any) -> torch.Tensor:
        fed.append(len(packed.ids) if packed.ids.shape[1] == 1 else 0)
        return honest(self, packed, *rest)

    monkeypatch.setattr("harness.backends.local.engine.batching_is_exact", lambda net: True)
    monkeypatch.setattr(LoadedModel, "logits", watched)
    lengths = [1, 9, 2, 14, 5, 5, 30, 1, 3, 8]
    requests = [
        msgspec.structs.replace(request, max_tokens=tokens)
        for request, tokens in zip(news_requests(len(lengths)), lengths, strict=True)
    ]
    answers = ask(Workspace(tmp_path), requests, model=str(base), max_batch_tokens=100_000)
    for asked in requests:
        ids = plain.generate(plain.prompt(asked), asked.max_tokens)
        assert answers[asked.id].text == plain.renderer.decode(ids)
    assert max(fed) > 1, "they were written together"
    assert sum(fed) == sum(c.usage.completion_tokens - 1 for c in answers.values()), "nobody waits for the slowest"


def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(base: Path, tmp_path: Path) -> None:
    plain = Plain(base)
    requests = news_requests(12, max_tokens=16)
    free = {r.id: plain.renderer.decode(plain.generate(plain.prompt(r), 16)) for r in requests}
    longest = max(free.values(), key=lambda text: len(set(text)))
    stop = (longest[len(longest) // 2 :][:3], "never said")
    stopped = [msgspec.structs.replace(r, stop=stop) for r in requests]
    answers = ask(Workspace(tmp_path), stopped, model=str(base))
    ended = 0
    for asked in requests:
        answer, text = answers[asked.id], free[asked.id]
        assert answer.text == text.split(stop[0])[0]
        if stop[0] in text:
            assert answer.finish == "stop"
            ended += 1
    assert ended, "one answer at least holds the stop string"


def test_drawn_answers_repeat_with_their_seed_and_do_not_depend_on_the_batch(base: Path, tmp_path: Path) -> None:
    requests = news_requests(12, temperature=1.0, seed=5)
    once = ask(Workspace(tmp_path), requests, model=str(base))
    again = ask(Workspace(tmp_path), requests[::-1], model=str(base), max_batch_tokens=1)
    assert {i: c.text for i, c in once.items()} == {i: c.text for i, c in again.items()}
    repeats = [msgspec.structs.replace(r, repeat=1) for r in requests]
    other = ask(Workspace(tmp_path), repeats, model=str(base))
    assert {i: c.text for i, c in once.items()} != {i: c.text for i, c in other.items()}


@pytest.mark.parametrize("budget", [1, 700, 100_000])
def test_texts_do_not_depend_on_the_batch(base: Path, tmp_path: Path, budget: int) -> None:
    requests = news_requests(30)
    usual = ask(Workspace(tmp_path), requests, model=str(base))
    other = ask(Workspace(tmp_path), requests[::-1], model=str(base), max_batch_tokens=budget, window=11)
    assert {i: c.text for i, c in usual.items()} == {i: c.text for i, c in other.items()}


def test_eager_attention_writes_what_fused_attention_writes(base: Path, tmp_path: Path) -> None:
    requests = news_requests(10)
    fused = ask(Workspace(tmp_path), requests, model=str(base))
    eager = ask(Workspace(tmp_path), requests, model=str(base), attention="eager")
    assert {i: c.text for i, c in fused.items()} == {i: c.text for i, c in eager.items()}
