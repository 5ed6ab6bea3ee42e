"""Open answers compared with their references by an embedding model: once, after all have answered, or not at all."""

import json
from pathlib import Path

import msgspec
import pytest

from harness import runner
from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.execution import embedding_similarity
from harness.execution.executor import Observer
from harness.runs.run_log import FILE, RunLog, read_likeness
from harness.settings import Settings
from harness.task_loading import load_rows, load_task
from harness.workspace import Workspace

st = pytest.importorskip("sentence_transformers", reason="needs the extra 'embedding'")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of some thousand random weights with a tokenizer of its own, and the mean of its states as embedding."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = [row.reference for row in load_rows(load_task("crossvalidated"), DataSource(location="embedded"))]
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder)
    return folder


def replay(folder: Path, name: str, answers: list[str]) -> dict[str, str]:
    file = folder / f"{name}.jsonl"
    rows = load_rows(load_task("crossvalidated"), DataSource(location="embedded"))
    lines = [{"id": row.id, "text": text} for row, text in zip(rows, answers, strict=False)]
    file.write_text("\n".join(map(json.dumps, lines)))
    return {"kind": "replay", "path": str(file)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    rows = load_rows(load_task("crossvalidated"), DataSource(location="embedded"))
    same = [row.reference for row in rows]
    other = ["", *same[2:], same[0]]
    return Settings(backends={"same": replay(tmp_path, "same", same), "other": replay(tmp_path, "other", other)})


def ask(settings: Settings, tmp_path: Path, model: str | None, said: list[str] | None = None) -> RunLog:
    observer = Observer(remark=(said if said is not None else []).append)
    return runner.run(
        "crossvalidated",
        ["same", "other"],
        data="embedded",
        settings=settings,
        workspace=Workspace(tmp_path / "home"),
        embedding=model,
        observer=observer,
    )


def test_an_answer_equal_to_its_reference_has_one_and_an_empty_one_has_nothing(
    settings: Settings, tmp_path: Path, model: Path
) -> None:
    log = ask(settings, tmp_path, str(model))
    summary = log.summary()
    assert summary is not None
    metric = next(m for m in summary.metrics if m.name == "embedding")
    assert summary.metrics.index(metric) == 1, "it is placed where a table shows it"
    assert (metric.model, summary.headline) == (str(model), load_task("crossvalidated").metrics[0].name)
    assert summary.backends["same"].metrics["embedding"].value == pytest.approx(1.0, abs=1e-5)
    other = summary.backends["other"].metrics["embedding"]
    assert other.value is not None and other.value < 0.999 and other.n == summary.rows
    scores = [line.score for line in log.lines("other").values() if line.score]
    assert [s.values["embedding"] for s in scores if s.format == "empty"] == [0.0]
    pair = next(p for p in summary.pairs if p.metric == "embedding")
    assert pair.rows == summary.rows and pair.p is not None
    measured = read_likeness(log.path)
    assert measured is not None and measured.most_tokens == 512 and len(measured.sha256) == 64
    assert log.manifest.embedding == str(model)


def test_values_are_cosines_of_the_model_whatever_the_batch(
    settings: Settings, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_similarity, "BATCH", 3)
    log = ask(settings, tmp_path, str(model))
    encoder = st.SentenceTransformer(str(model))
    rows = {row.n: row.sample.reference for row in log.rows()}
    for key, line in log.lines("other").items():
        assert line.score is not None
        if line.score.answer:
            left, right = (encoder.encode(t) for t in (line.score.answer, rows[key.n]))
            expected = float(st.util.cos_sim(left, right))
            assert line.score.values["embedding"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("missing", ["model", "library", "weights"])
def test_what_is_missing_is_said_before_and_after_and_nothing_is_counted_as_zero(
    settings: Settings, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    named = model
    if missing == "model":
        named = tmp_path / "nowhere"
    elif missing == "library":
        monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    else:
        named = tmp_path / "broken"
        named.mkdir()
        for file in model.glob("*.json"):
            (named / file.name).write_bytes(file.read_bytes())
        (named / "model.safetensors").write_bytes(b"not weights")
    said: list[str] = []
    summary = ask(settings, tmp_path, str(named), said).summary()
    assert summary is not None and summary.complete
    assert said[0].startswith("embedding will not be computed: ")
    assert [w for w in summary.warnings if w.startswith("embedding was not computed: ")]
    assert "embedding" not in summary.backends["same"].metrics
    assert "embedding" not in {m.name for m in summary.metrics}


def test_a_run_that_is_over_can_be_compared_later_and_by_another_model(
    settings: Settings, tmp_path: Path, model: Path
) -> None:
    log = ask(settings, tmp_path, None)
    assert not (log.path / FILE).exists()
    before = [(log.path / f"{name}.jsonl").read_bytes() for name in ("same", "other")]
    again = runner.resume(log.path, settings=settings, workspace=Workspace(tmp_path / "home"), embedding=str(model))
    summary = again.summary()
    assert summary is not None and summary.backends["same"].metrics["embedding"].value == pytest.approx(1, abs=1e-5)
    assert [(log.path / f"{name}.jsonl").read_bytes() for name in ("same", "other")] == before, "nothing asked again"
    once_more = runner.resume(log.path, settings=settings, workspace=Workspace(tmp_path / "home")).summary()
    assert once_more is not None and once_more.metrics == summary.metrics, "the manifest keeps the model"
    assert once_more.backends["other"].metrics == summary.backends["other"].metrics


def test_values_of_two_models_are_never_the_same_metric(model: Path, settings: Settings, tmp_path: Path) -> None:
    measured = read_likeness(ask(settings, tmp_path, str(model)).path)
    assert measured is not None
    other = msgspec.structs.replace(measured, sha256="ab" * 32)
    assert measured.metrics[0].version != other.metrics[0].version


def test_tasks_with_labels_refuse_it(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(UsageError, match="the answers of task 'agnews' are labels"):
        runner.run("agnews", ["same"], data="embedded", settings=settings, embedding="x/y")


@pytest.mark.parametrize("text", ["\ud800 half", "\0", "[" * 100_000, "  "])
def test_no_text_of_an_answer_breaks_the_comparison(model: Path, text: str) -> None:
    encoder = st.SentenceTransformer(str(model))
    (value,) = embedding_similarity._cosines(encoder, [(text, "A reference.")])
    assert -1.0 <= value <= 1.0
