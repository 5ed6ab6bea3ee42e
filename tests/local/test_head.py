"""`head`: the classification head answers what PEFT's own sequence-classification model answers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from harness.backends.local.engine import LocalEngine
from harness.errors import UsageError
from harness.workspace import Workspace
from tests.local.asking import ask
from tests.support.tiny_llama import LABELS, make_adapter, news_requests


def classifier(base: Path, adapter: Path) -> Any:
    """Plain transformers and PEFT."""
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(LABELS), dtype=torch.float32)
    return PeftModel.from_pretrained(model, str(adapter)).eval()


@pytest.mark.parametrize("kind", ["base", "chat_base"])
def test_labels_and_probabilities_equal_pefts_own_forward_pass(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(kind)
    workspace = Workspace(tmp_path)
    adapter = make_adapter(workspace, folder, "topics", head=True)
    model, tokenizer = classifier(folder, adapter), AutoTokenizer.from_pretrained(folder)
    requests = news_requests(20)
    answers = ask(workspace, requests, model=str(folder), adapter="topics")
    for asked in requests:
        ids = tokenizer(asked.passage_texts()[0], return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            expected = model(input_ids=ids).logits[0].log_softmax(-1).tolist()
        scores = answers[asked.id].label_scores
        assert scores is not None
        assert list(scores.values()) == pytest.approx(expected, abs=1e-4)
        assert answers[asked.id].text == LABELS[expected.index(max(expected))]


def test_a_trainer_validates_its_live_model_with_the_same_scorer(base: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    adapter = make_adapter(workspace, base, "topics", head=True)
    model = classifier(base, adapter)
    model.train()
    requests = news_requests(9)
    live = LocalEngine.from_live(model, AutoTokenizer.from_pretrained(base))
    answers = live.answer(requests, decode="head", labels=LABELS)
    assert model.training, "the training mode is put back"
    stored = ask(workspace, requests, model=str(base), adapter="topics")
    assert [a.id for a in answers] == [r.id for r in requests]
    for answer in answers:
        assert answer.label_scores == pytest.approx(stored[answer.id].label_scores, abs=1e-4)


def test_a_head_for_other_labels_than_the_tasks_is_refused(base: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    make_adapter(workspace, base, "topics", head=True)
    with pytest.raises(UsageError, match="knows the labels World, Sports"):
        ask(workspace, news_requests(1, labels=("yes", "no")), model=str(base), adapter="topics")


def test_a_head_answers_in_no_other_mode_and_no_other_adapter_answers_as_head(base: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    make_adapter(workspace, base, "topics", head=True)
    make_adapter(workspace, base, "writer")
    with pytest.raises(UsageError, match="answers only with decode"):
        ask(workspace, news_requests(1), model=str(base), adapter="topics", decode="choose")
    with pytest.raises(UsageError, match="trained with a classification head"):
        ask(workspace, news_requests(1), model=str(base), adapter="writer", decode="head")
