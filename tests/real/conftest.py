"""The real tier: SmolLM2-135M-Instruct and the servers that people use. Each part skips where it is not installed.

`python -m benchmarks.real.environments` makes the light part, with `vllm litellm` the rest; docs/real-models.md.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from benchmarks.real import environments, servers

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder belongs to the tier."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.timeout(900))


def need(*parts: str) -> None:
    """Skip with the sentence that says how a part is made."""
    for part in parts:
        if sentence := environments.missing(part):
            pytest.skip(sentence)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The pretrained model's folder."""
    need("model")
    return environments.model_folder()


@pytest.fixture(scope="session")
def llamacpp() -> Iterator[servers.Server]:
    """llama.cpp's server over the quantised copy."""
    need("llamacpp")
    with servers.llamacpp() as server:
        yield server


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a workspace of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    return tmp_path


NEWS = {
    "World": ("Ministers of two states met at the border.", "A ferry line joins the islands again."),
    "Sports": ("The keeper saved two penalties.", "She won the long race by a second."),
    "Business": ("The mill raised its prices.", "A grocer bought its last rival."),
    "Sci/Tech": ("A probe sent its first picture.", "The new chip needs half the power."),
}
"""Short rows, so that a training on a CPU takes seconds."""


@pytest.fixture(scope="session")
def news(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight training and eight evaluated rows of AG News' topics."""
    folder = tmp_path_factory.mktemp("news")
    for split, words in (("train", "On Monday:"), ("test", "Later in the week:")):
        rows = [{"text": f"{words} {text}", "label": label} for label, texts in NEWS.items() for text in texts]
        (folder / f"{split}.jsonl").write_bytes(b"\n".join(msgspec.json.encode(row) for row in rows))
    return folder


@pytest.fixture(scope="session")
def adapter(smollm2: Path, news: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of SmolLM2 for AG News topics after two steps: enough that it answers otherwise than its base."""
    from tests.real.cli import bench

    folder = tmp_path_factory.mktemp("adapter") / "topics"
    bench(
        "train", "--task", "agnews", "--recipe", "agnews-generate", "--base", str(smollm2), "--data", str(news),
        "--set", "batch=4", "--set", "accumulate=1", "--set", "learning_rate=5e-3", "--set", "validation_rows=2",
        "--set", "evaluations=1", "--set", "max_steps=2", "--out", str(folder),
        home=folder.parent / "home",
    )  # fmt: skip
    return folder
