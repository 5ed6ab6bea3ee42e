"""How far the engine's answers lie from transformers' own, one row at a time, for one model of any architecture."""

from typing import Any, NamedTuple

import torch
import transformers

from harness.backends.local.engine import LocalEngine
from harness.records import Request
from tests.local.asking import Plain
from tests.support.tiny_architectures import tiny_config, tiny_model
from tests.support.tiny_llama import LABELS, news_requests, tokenizer

TOGETHER = ("court", "court market", "court team chip", "shares")
"""Labels whose tokens branch, and of which one is the beginning of another."""

LONG: dict[str, Any] = {"longest": 60}
"""Rows that reach beyond the tiny windows of the tiny models."""


class Compared(NamedTuple):
    """Largest difference of a score, rows whose label or text differs, and how the rows were computed."""

    difference: float
    differ: int
    batched: bool


def compare_choose(model: Any, made: Any) -> Compared:
    """Label scores of short and long rows, with branching labels."""
    plain = Plain(None, model, made)
    engine = LocalEngine.from_live(model, made)
    worst, differ = 0.0, 0
    for labels in (LABELS, TOGETHER):
        requests = news_requests(5, labels=labels) + renamed(news_requests(2, labels=labels, seed=5, **LONG))
        answers = engine.answer(requests, decode="choose")
        for asked, answer in zip(requests, answers, strict=True):
            assert answer.label_scores is not None, answer.error
            prompt = plain.prompt(asked)
            end = [plain.renderer.end_id] if labels is TOGETHER else []
            tokens = {label: [*plain.renderer.encode_answer(label), *end] for label in labels}
            scores = {label: plain.log_likelihood(prompt, ids) for label, ids in tokens.items()}
            worst = max(worst, *(abs(scores[label] - answer.label_scores[label]) for label in labels))
            differ += answer.text != max(scores, key=scores.__getitem__)
    return Compared(worst, differ, engine._ensure_loaded().loaded.batched_limit > 0)


def compare_generate(model: Any, made: Any) -> Compared:
    """Texts of 6 tokens, greedy, of rows that are written together."""
    plain = Plain(None, model, made)
    engine = LocalEngine.from_live(model, made)
    requests = news_requests(5, max_tokens=6) + renamed(news_requests(2, seed=5, max_tokens=6, **LONG))
    answers = engine.answer(requests, decode="generate")
    differ = 0
    for asked, answer in zip(requests, answers, strict=True):
        assert answer.error is None
        differ += answer.text != plain.renderer.decode(greedy(model, plain.prompt(asked), plain.renderer.end_id, 6))
    return Compared(0.0, differ, engine._ensure_loaded().loaded.batched_limit > 0)


@torch.inference_mode()
def greedy(model: Any, prompt: list[int], end: int, most: int) -> list[int]:
    """The likeliest tokens, each from the whole text before it: no cache, no rules of the checkpoint's own."""
    ids = list(prompt)
    while len(ids) < len(prompt) + most and ids[-1:] != [end]:
        ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def compare_head(name: str, made: Any, seed: int = 0) -> Compared | None:
    """Logits of a classification head; None where transformers has none for this kind of model."""
    config = tiny_config(name, len(made))
    kind: Any = transformers.AutoModelForSequenceClassification
    if type(config) not in kind._model_mapping:
        return None
    config.num_labels = len(LABELS)
    torch.manual_seed(seed)
    model = kind.from_config(config).float().eval()
    if not hasattr(model, "score"):
        return None
    requests = news_requests(6) + renamed(news_requests(2, seed=5, **LONG))
    engine = LocalEngine.from_live(model, made)
    answers = engine.answer(requests, decode="head", labels=LABELS)
    plain = Plain(None, model, made)
    worst, differ = 0.0, 0
    for asked, answer in zip(requests, answers, strict=True):
        (prompt,) = plain.renderer.passage_prompts([asked], 10**6)
        with torch.inference_mode():
            wanted = model(torch.tensor([prompt.ids]), use_cache=False).logits[0].float().log_softmax(-1).tolist()
        assert answer.label_scores is not None, answer.error
        worst = max(worst, *(abs(a - b) for a, b in zip(wanted, answer.label_scores.values(), strict=True)))
        differ += answer.text != LABELS[max(range(len(wanted)), key=wanted.__getitem__)]
    return Compared(worst, differ, True)


def renamed(requests: list[Request]) -> list[Request]:
    """The same under ids of their own."""
    import msgspec

    return [msgspec.structs.replace(r, id=f"long-{r.id}") for r in requests]


def made_for(name: str) -> tuple[Any, Any]:
    """A tiny model of an architecture and its tokenizer."""
    made = tokenizer()
    return tiny_model(name, len(made)), made
