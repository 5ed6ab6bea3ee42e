"""The lines of a batch are read as single answers are: whole ones count whatever their shape, faults are none."""

import json
from pathlib import Path
from typing import Any, cast

import openai
import pytest

from harness.backends.openai.batch_jobs import BatchExecutor
from harness.money.prices import Budget
from harness.records import Completion
from tests.openai.asking import make, row
from tests.support.scripted_server import chat


def read(folder: Path, line: dict[str, Any], **settings: Any) -> Completion:
    backend = make("http://127.0.0.1:9/v1", folder, **settings)
    caller = BatchExecutor(
        "backend 'api'",
        backend.settings,
        backend.builder,
        backend.price,
        Budget(),
        cast("openai.AsyncOpenAI", None),
        lambda text: text,
        lambda done, total: None,
    )
    return caller._completion(row("r0"), {"custom_id": "r0/0", **line}, "batch-1")


def response(body: Any, status: Any = 200) -> dict[str, Any]:
    return {"response": {"status_code": status, "request_id": "x", "body": body}, "error": None}


@pytest.mark.parametrize(
    "line",
    [
        response(chat("World")),
        response(chat([{"type": "text", "text": "World"}], system_fingerprint=7)),
        response(json.dumps(chat("World"))),
        response(chat("<think>hm</think>World"), "200"),
        {"response": {"body": chat("World")}},
    ],
)
def test_a_whole_answer_counts(tmp_path: Path, line: dict[str, Any]) -> None:
    answer = read(tmp_path, line)
    assert (answer.text, answer.finish, answer.error) == ("World", "stop", None)
    assert answer.cost.list


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (response(chat("World", "error")), "server error"),
        (response(chat("World", "vanished")), "bad body"),
        (response({"error": {"message": "engine died"}}), "server error"),
        (response({"error": {"message": "odd"}}, 400), "invalid request"),
        (response("not json", 500), "server error"),
        (response([]), "bad body"),
        (response(None), "bad body"),
        ({"response": None, "error": {"code": "batch_expired", "message": "too late"}}, "batch expired"),
        ({"response": [], "error": "died"}, "batch error"),
        ({}, "batch error"),
    ],
)
def test_a_fault_is_a_named_error(tmp_path: Path, line: dict[str, Any], kind: str) -> None:
    answer = read(tmp_path, line)
    assert answer.error is not None
    assert answer.error.kind == kind


def test_a_rows_own_refusal_ends_the_row(tmp_path: Path) -> None:
    assert read(tmp_path, response({"error": {"message": "prompt is too long"}}, 400)).finish == "context_too_long"
    assert read(tmp_path, response({"error": {"message": "x", "code": "content_filter"}})).finish == "content_filter"
