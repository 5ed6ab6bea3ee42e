"""`json`: no answer leaves its JSON schema or label set, even from a model that knows neither."""

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from harness.errors import UsageError
from harness.workspace import Workspace
from tests.local.asking import ask
from tests.support.tiny_llama import LABELS, news_requests

pytest.importorskip("llguidance", reason="needs the `json` extra")

SCHEMA = {
    "type": "array",
    "minItems": 1,
    "maxItems": 2,
    "items": {
        "type": "object",
        "properties": {
            "text": {"type": "string", "maxLength": 6},
            "emotion": {"enum": ["happy", "sad", "neutral"]},
        },
        "required": ["text", "emotion"],
        "additionalProperties": False,
    },
}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["base", "chat_base"])
def test_every_finished_answer_keeps_the_schema(
    kind: str, temperature: float, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(kind)
    requests = news_requests(8, labels=(), schema=SCHEMA, max_tokens=500, temperature=temperature)
    answers = ask(Workspace(tmp_path), requests, model=str(folder), decode="json")
    for answer in answers.values():
        assert answer.finish == "stop", "endless white space is not allowed either"
        jsonschema.validate(json.loads(answer.text), SCHEMA)


def test_without_a_schema_the_answer_is_one_of_the_labels(base: Path, tmp_path: Path) -> None:
    requests = news_requests(12, labels=(*LABELS, "two words"))
    answers = ask(Workspace(tmp_path), requests, model=str(base), decode="json")
    assert {a.text.strip() for a in answers.values()} <= {*LABELS, "two words"}
    assert all(a.finish == "stop" for a in answers.values())


def test_different_schemas_share_a_batch(base: Path, tmp_path: Path) -> None:
    free = news_requests(4, labels=(), schema={"enum": ["yes", "no"]})
    numbers = [
        msgspec.structs.replace(r, id=f"n-{r.id}", schema={"type": "integer", "minimum": 3, "maximum": 7}) for r in free
    ]
    answers = ask(Workspace(tmp_path), [*free, *numbers], model=str(base), decode="json")
    for request in free:
        assert json.loads(answers[request.id].text) in ("yes", "no")
        assert 3 <= json.loads(answers[f"n-{request.id}"].text) <= 7


def test_a_task_with_neither_schema_nor_labels_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a JSON schema or labels"):
        ask(Workspace(tmp_path), news_requests(1, labels=()), model=str(base), decode="json")


def test_a_schema_that_cannot_be_kept_is_refused_beforehand(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be enforced"):
        ask(
            Workspace(tmp_path),
            news_requests(1, schema={"type": "string", "pattern": "(?<=a)b"}),
            model=str(base),
            decode="json",
        )


def test_no_label_is_cut_off_by_a_short_limit(base: Path, tmp_path: Path) -> None:
    labels = ("profit robot border season bank", "treaty coach oil rocket vote league")
    answers = ask(Workspace(tmp_path), news_requests(4, labels=labels, max_tokens=2), model=str(base), decode="json")
    assert {a.text.strip() for a in answers.values()} <= set(labels)
    assert all(a.finish == "stop" for a in answers.values())


def test_a_value_that_may_end_where_the_tokens_end_is_whole(base: Path, tmp_path: Path) -> None:
    schema = {"type": "string", "pattern": "^a*$"}
    answers = ask(
        Workspace(tmp_path), news_requests(3, labels=(), schema=schema, max_tokens=9), model=str(base), decode="json"
    )
    for answer in answers.values():
        whole = answer.text.endswith('"') and len(answer.text) > 1
        assert answer.finish == ("stop" if whole else "length")
