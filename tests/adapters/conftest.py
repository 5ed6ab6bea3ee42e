"""A base model small enough to train in seconds, untrained: what these tests look at is the machinery."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'local'")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained Llama of a few thousand weights with a tokenizer of its own."""
    from tools.samples.news import pretraining_texts
    from tools.tiny_base import Shape, new_model, train_tokenizer

    torch.manual_seed(0)
    shape = Shape(width=32, layers=2, heads=2, feed_forward=64, vocabulary=400)
    tokenizer = train_tokenizer(iter(pretraining_texts(200, seed=5)), shape.vocabulary)
    folder = tmp_path_factory.mktemp("base")
    new_model(shape, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A folder with 120 training and 12 evaluation rows of the AG News task, of very different lengths."""
    folder = tmp_path / "rows"
    folder.mkdir()
    labels = ("World", "Sports", "Business", "Sci/Tech")

    def line(n: int, split: str) -> str:
        text = f"{split} item {n} " + "and so on " * (n % 9)
        return json.dumps({"text": text, "label": labels[n % 4]}) + "\n"

    (folder / "train.jsonl").write_text("".join(line(n, "train") for n in range(120)))
    (folder / "test.jsonl").write_text("".join(line(n, "test") for n in range(12)))
    return folder
