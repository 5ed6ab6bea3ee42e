"""The tiny base is pretrained on texts without labels; no evaluation row is among them."""

from collections import Counter
from pathlib import Path
from typing import Any

import transformers

from harness.data.rows import DataSource
from harness.prompting.chat_rendering import Renderer
from harness.records import Sample
from harness.task_loading import load_rows
from harness.tasks.agnews import INSTRUCTION, AgNews
from tools.tiny_base import Shape, build, documents, pretraining_rows, train_tokenizer

SMALL = Shape(width=32, layers=2, heads=2, feed_forward=64, vocabulary=400, documents=400, block=64, steps=2)


def test_no_evaluation_row_is_pretrained_on_and_no_label_is_read(rows: Path) -> None:
    copied = (rows / "test.jsonl").read_text().splitlines()[0] + "\n"
    (rows / "train.jsonl").write_text((rows / "train.jsonl").read_text() + copied)
    found = pretraining_rows(AgNews(), str(rows), 0, seed=1)
    evaluated = {s.id for s in load_rows(AgNews(), DataSource(location=str(rows), split="test"))}
    assert len(found) == 120
    assert not evaluated & {s.id for s in found}
    assert {s.reference for s in found} == {""}


def test_prompts_among_the_documents_are_answered_by_chance() -> None:
    task = AgNews()
    samples = [Sample.of({"text": f"item {n}"}, "", "train") for n in range(400)]
    tokenizer = train_tokenizer(iter([INSTRUCTION, *task.labels] * 5), 400)
    shape = Shape(prompts=0.5)
    texts = [tokenizer.decode(d) for d in documents(task, samples, Renderer(tokenizer), shape)]
    prompts = [t for t in texts if t.startswith(INSTRUCTION)]
    said = Counter(t.rpartition("Topic: ")[2].removesuffix("<|end|>") for t in prompts)
    assert len(prompts) == 200 and set(said) == set(task.labels)
    assert all(30 < n < 75 for n in said.values())
    assert all(t.endswith("<|end|>") for t in texts)


def test_one_command_builds_a_model_and_a_tokenizer(tmp_path: Path) -> None:
    build(tmp_path / "tiny", AgNews(), None, SMALL)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "tiny")
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(tmp_path / "tiny")
    assert model.config.tie_word_embeddings and str(model.dtype) == "torch.float16"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert {p.suffix for p in (tmp_path / "tiny").iterdir()} == {".json", ".safetensors"}
