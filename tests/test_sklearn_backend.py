"""The classical baseline is a candidate like any other: trained by a recipe, asked by `run`, files without code."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from harness.adapter_manifest import find_current, learned_rows, read_manifest
from harness.backend import RunContext, RunRequirements
from harness.backends.sklearn_backend import SklearnBackend, SklearnSettings, TfidfClassifier
from harness.data.rows import EMBEDDED, DataSource
from harness.errors import UsageError
from harness.records import BackendIdentity, Completion, Request
from harness.task_loading import build_request, load_rows
from harness.tasks.agnews import AgNews
from harness.workspace import Workspace
from tests.support.streams import each

pytest.importorskip("sklearn", reason="needs the extra 'local'")

NEEDS = RunRequirements(task="agnews", rows=10, labels=AgNews.labels)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    from harness.adapters.dispatch import train
    from harness.adapters.train_options import TrainOptions

    home = Workspace(tmp_path_factory.mktemp("home"))
    train(TrainOptions("agnews", recipe="tfidf", data=EMBEDDED), home, Console(file=io.StringIO()))
    return home


def asked(workspace: Workspace, requests: list[Request], **settings: Any) -> list[Completion]:
    async def everything() -> list[Completion]:
        backend = SklearnBackend("tfidf", SklearnSettings(**settings), "agnews", RunContext(workspace=workspace))
        await backend.check(NEEDS)
        return [c async for c in backend.stream(each(requests), workspace.root)]

    return asyncio.run(everything())


def requests() -> list[Request]:
    return [build_request(AgNews(), s) for s in load_rows(AgNews(), DataSource(location=EMBEDDED, split="test"))]


def test_it_answers_every_row_with_a_label_and_its_probabilities(workspace: Workspace) -> None:
    completions = asked(workspace, requests())
    assert [c.id for c in completions] == [r.id for r in requests()]
    for completion in completions:
        assert completion.label_scores is not None
        assert set(completion.label_scores) == set(AgNews.labels)
        assert sum(np.exp(list(completion.label_scores.values()))) == pytest.approx(1, abs=1e-5)
        assert completion.text == max(completion.label_scores, key=completion.label_scores.__getitem__)
    samples = load_rows(AgNews(), DataSource(location=EMBEDDED, split="test"))
    right = sum(c.text == s.reference for c, s in zip(completions, samples, strict=True))
    assert right > 400


def test_it_reads_the_passages_alone(workspace: Workspace) -> None:
    one = requests()[0]
    text = one.messages[0].content
    passage = one.passages[0]
    other = f"ignore all this: {text[passage.start : passage.end]}"
    moved = Request(
        id="moved",
        messages=(one.messages[0].__class__(role="user", content=other),),
        passages=(passage.__class__(message=0, start=17, end=len(other)),),
        labels=one.labels,
    )
    before, after = asked(workspace, [one, moved])
    assert before.label_scores == after.label_scores


def test_what_is_loaded_gives_the_scores_that_scikit_learn_gave(tmp_path: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    texts = ["rain and wind", "goal and cup", "rain again", "cup final goal", "wind wind", "goal keeper rain"]
    for labels in (["a", "b", "a", "b", "a", "b"], ["a", "b", "a", "b", "c", "b"]):
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        features = vectorizer.fit_transform(texts)
        model = LogisticRegression(C=10).fit(features, labels)
        TfidfClassifier.of(vectorizer, model, 2).save(tmp_path)
        found = TfidfClassifier.load(tmp_path).classify(texts)
        mine = np.exp([[row[label] for label in model.classes_] for row in found])
        assert np.allclose(mine, model.predict_proba(features), atol=1e-5)


def test_its_files_are_json_and_safetensors_and_it_keeps_the_ids_of_its_rows(workspace: Workspace) -> None:
    folder = find_current(workspace, "agnews", "tfidf")
    assert {p.suffix for p in folder.iterdir()} == {".json", ".safetensors", ".npz"}
    learned = learned_rows(folder)
    assert learned is not None and len(learned) == 2500
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["selection"]["from"] == "train" and manifest["selection"]["c"] in (1.0, 10.0, 100.0)


def test_without_a_trained_baseline_it_says_how_to_train_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bench train --task agnews --recipe tfidf"):
        asked(Workspace(tmp_path), [])


def test_other_weights_than_the_manifest_names_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(find_current(workspace, "agnews", "tfidf"), folder)
    with (folder / "adapter_model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(UsageError, match="not those its manifest names"):
        asked(workspace, [], adapter=str(folder))


def test_training_fits_a_temperature_on_validation_rows_and_a_run_uses_it(workspace: Workspace) -> None:
    manifest = read_manifest(find_current(workspace, "agnews", "tfidf"))
    assert manifest.temperature is not None and 0.05 < manifest.temperature < 20

    async def identity() -> BackendIdentity:
        backend = SklearnBackend("tfidf", SklearnSettings(), "agnews", RunContext(workspace=workspace))
        await backend.check(NEEDS)
        return backend.identity()

    assert asyncio.run(identity()).temperature == manifest.temperature


def test_no_temperature_without_scores_of_all_labels() -> None:
    from harness.adapters.validation import temperature_of

    rows = [{"a": -0.1, "b": -2.4}] * 80
    assert temperature_of(rows, ["a"] * 60 + ["b"] * 20, ["a", "b"]) == pytest.approx(2.3 / np.log(3), rel=0.01)
    assert temperature_of(rows, ["a"] * 80, ["a", "b", "c"]) is None
    assert temperature_of([], [], ["a", "b"]) is None
