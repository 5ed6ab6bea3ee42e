"""The model is trained on the very token ids that `run` sends, with the loss on answer and end token alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from harness.adapters.recipe import Recipe
from harness.adapters.training_examples import IGNORED, Example, GroupedByLength, collate, encode, padding_share
from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.prompting.chat_rendering import Renderer
from harness.task_loading import build_request, load_rows
from harness.tasks.agnews import AgNews


@pytest.fixture
def renderer(base: Path) -> Renderer:
    return Renderer(transformers.AutoTokenizer.from_pretrained(base))


def test_prompt_ids_are_those_of_run_and_the_answer_ends_with_the_end_token(rows: Path, renderer: Renderer) -> None:
    task = AgNews()
    samples = load_rows(task, DataSource(location=str(rows), split="train"))[:8]
    examples, remarks = encode(task, samples, renderer, Recipe(), 512)
    prompts = renderer.prompts([build_request(task, s) for s in samples], 512)
    assert [e.prompt for e in examples] == [p.ids for p in prompts]
    for sample, example in zip(samples, examples, strict=True):
        assert renderer.decode(example.answer).strip() == sample.reference
        assert example.answer[-1] == renderer.end_id
    assert remarks == []


def test_a_head_reads_the_passages_alone(rows: Path, renderer: Renderer) -> None:
    task = AgNews()
    samples = load_rows(task, DataSource(location=str(rows), split="train"))[:4]
    examples, _ = encode(task, samples, renderer, Recipe(objective="head"), 512)
    assert [renderer.decode(e.prompt) for e in examples] == [s.inputs["text"] for s in samples]
    assert [e.label for e in examples] == [0, 1, 2, 3]


def test_no_prompt_holds_the_answer(rows: Path, renderer: Renderer) -> None:
    task = AgNews()
    samples = load_rows(task, DataSource(location=str(rows), split="train"))[:1]
    other = [s.__class__.of(s.inputs, "Sports", "train") for s in samples]
    one, two = (encode(task, s, renderer, Recipe(), 512)[0] for s in (samples, other))
    assert one[0].prompt == two[0].prompt
    assert one[0].answer != two[0].answer


def test_the_last_columns_predict_the_answers() -> None:
    batch = collate([{"input_ids": Example([5, 6, 7], [8, 9])}, {"input_ids": Example([4], [3])}])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8], [0, 0, 0, 4]]
    assert batch["labels"].tolist() == [[8, 9], [IGNORED, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [0, 0, 0, 1]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3], [0, 0, 0, 0]]


def test_padding_by_length_leaves_the_loss_as_it_is_alone(base: Path) -> None:
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    short, long = Example([5, 6, 7], [8, 9]), Example(list(range(10, 40)), [3, 4, 1])

    def loss(*examples: Example) -> float:
        batch = collate([{"input_ids": e} for e in examples])
        labels = batch.pop("labels")
        logits = model(**batch, logits_to_keep=labels.shape[1]).logits
        summed = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        return float(summed.detach())

    assert loss(short, long) == pytest.approx(loss(short) + loss(long), rel=1e-5)
    text = torch.tensor([long.prompt + long.answer])
    whole = model(input_ids=text, labels=torch.where(torch.arange(33) < 30, IGNORED, text))
    assert loss(long) == pytest.approx(float(whole.loss.detach()) * 3, rel=1e-5)


def test_grouping_by_length_leaves_hardly_any_padding_and_misses_no_row() -> None:
    lengths = [20 + (n * 37) % 100 for n in range(1000)]
    sampler = GroupedByLength(lengths, 16, seed=3)
    order = list(sampler)
    assert sorted(order) == list(range(1000))
    assert padding_share(lengths, 16, order) < 0.03
    assert padding_share(lengths, 16, range(1000)) > 0.3
    assert list(sampler) == order
    sampler.set_epoch(1)
    assert list(sampler) != order


def test_rows_that_do_not_fit_are_counted_and_refused(rows: Path, renderer: Renderer) -> None:
    task = AgNews()
    samples = load_rows(task, DataSource(location=str(rows), split="train"))
    lengths = sorted(e.tokens for e in encode(task, samples, renderer, Recipe(), 512)[0])
    room = lengths[60]
    over = sum(n > room for n in lengths)
    with pytest.raises(UsageError, match=f"{over} of 120 training rows need more than {room} tokens"):
        encode(task, samples, renderer, Recipe(max_length=room), 512)
    dropped, remarks = encode(task, samples, renderer, Recipe(max_length=room, too_long="drop"), 512)
    assert len(dropped) == 120 - over
    assert remarks == [f"{over} of 120 rows need more than {room} tokens and are left out."]


def test_cutting_takes_the_ends_of_passages_and_never_the_answer(rows: Path, renderer: Renderer) -> None:
    task = AgNews()
    samples = load_rows(task, DataSource(location=str(rows), split="train"))
    lengths = sorted(e.tokens for e in encode(task, samples, renderer, Recipe(), 512)[0])
    examples, remarks = encode(task, samples, renderer, Recipe(max_length=lengths[60], too_long="cut"), 512)
    assert len(examples) == 120
    assert max(e.tokens for e in examples) <= lengths[60]
    assert [renderer.decode(e.answer).strip() for e in examples] == [s.reference for s in samples]
    assert all(renderer.decode(e.prompt).endswith("Topic:") for e in examples)
    assert "prompts were cut" in remarks[0]
