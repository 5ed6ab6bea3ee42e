"""A stream of any shape ends as an answer or as a named error; a server that does not stream answers whole."""

from pathlib import Path
from typing import Any

import pytest

from tests.openai.asking import ask, row
from tests.support.scripted_server import Answer, ScriptedServer, chat


def piece(delta: Any, finish: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **fields,
    }


USAGE = {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}}
TEXT = (piece({"role": "assistant", "content": "Wor"}), piece({"content": "ld"}))

SPLIT = Answer(
    200,
    "text/event-stream",
    (
        b': ping\r\n\r\nevent: x\r\ndata:{"choices":[{"delta":{"content":"World"},',
        b'\ndata: "finish_reason":"stop"}]}\r',
        b"\n\r\ndata: [DONE]",
    ),
)
"""One event over two lines, with every kind of line end, split in the middle of one; the last event is not ended."""
NAMED = Answer(
    200,
    "text/event-stream",
    (
        b'data: {"choices":[{"delta":{"content":"Wor"}}]}\n\n',
        b'event: error\ndata: {"message": "died"}\n\ndata: [DONE]\n\n',
    ),
)
"""An error that only the event's name tells."""

WHOLE = [
    Answer.events(*TEXT, piece({}, "stop"), USAGE),
    Answer.events(*TEXT, piece(None, "stop"), USAGE),
    Answer.events(*TEXT, {"choices": [{"index": 0, "finish_reason": "stop"}]}, USAGE),
    Answer.events(*TEXT, piece({}, "stop", usage=None), {"choices": None, "usage": USAGE["usage"]}),
    Answer.events({"choices": [], "prompt_filter_results": []}, *TEXT, piece({"content": None}, "stop"), USAGE),
    Answer.events(*TEXT, piece({"content": []}, "end_turn", system_fingerprint=3), USAGE),
    Answer.events(piece([{"type": "text", "text": "World"}], "stop"), USAGE),
    Answer.events(piece({"content": [{"type": "text", "text": "World"}]}, "stop"), USAGE, done=False),
    Answer.events(*TEXT, piece({}, "stop"), {**USAGE, "choices": [{"delta": None}]}, "[DONE]"),
    Answer.events(*TEXT, USAGE),  # no reason anywhere, but a whole end
    Answer.events(*TEXT, piece({}, "stop", error=None), USAGE),
    SPLIT,
]  # fmt: skip


@pytest.mark.parametrize("stream", WHOLE, ids=range(len(WHOLE)))
def test_a_stream_is_read_whatever_its_shape(tmp_path: Path, stream: Answer) -> None:
    with ScriptedServer(lambda call: stream) as server:
        answer = ask(server.url, tmp_path, [row("r0")], probing=True, max_attempts=1).by_id["r0"]
    assert answer.error is None
    assert (answer.text, answer.finish) == ("World", "stop")
    assert answer.timing.first_token_s is not None


BROKEN: list[tuple[Answer, str]] = [
    (Answer.events(*TEXT, done=False), "bad body"),
    (Answer.events(*TEXT, piece({}, "abort")), "server error"),
    (Answer.events(*TEXT, piece({}, "error")), "server error"),
    (Answer.events(*TEXT, {"error": {"message": "engine died", "code": 500}}), "server error"),
    (Answer.events(*TEXT, {"object": "error", "message": "engine died"}), "server error"),
    (Answer.events(*TEXT, {"error": {"message": "slow down", "code": 429}}), "rate limit"),
    (Answer.events(*TEXT, "{broken"), "bad body"),
    (Answer.events(*TEXT, "[1, 2]"), "bad body"),
    (
        NAMED,
        "server error",
    ),
    (Answer.text("<html>hello</html>"), "bad body"),
    (Answer(200, "text/event-stream", ()), "bad body"),
]  # fmt: skip


@pytest.mark.parametrize(("stream", "kind"), BROKEN, ids=range(len(BROKEN)))
def test_a_stream_that_breaks_is_a_named_error(tmp_path: Path, stream: Answer, kind: str) -> None:
    with ScriptedServer(lambda call: stream) as server:
        answer = ask(server.url, tmp_path, [row("r0")], probing=True, max_attempts=1).by_id["r0"]
    assert answer.error is not None
    assert answer.error.kind == kind
    assert answer.text == ""


def test_an_error_in_a_stream_that_is_the_rows_ends_the_row(tmp_path: Path) -> None:
    stream = Answer.events(*TEXT, {"error": {"message": "flagged", "code": "content_filter"}})
    with ScriptedServer(lambda call: stream) as server:
        answer = ask(server.url, tmp_path, [row("r0")], probing=True).by_id["r0"]
    assert (answer.finish, answer.error) == ("content_filter", None)


def test_a_server_that_does_not_stream_is_read_whole(tmp_path: Path) -> None:
    with ScriptedServer(lambda call: Answer.json(chat("World"))) as server:
        answer = ask(server.url, tmp_path, [row("r0")], probing=True, max_attempts=1).by_id["r0"]
    assert (answer.text, answer.finish, answer.timing.first_token_s) == ("World", "stop", None)
    assert answer.timing.service_s > 0
    assert answer.usage.prompt_tokens == 20


def test_thoughts_that_are_streamed_stand_apart(tmp_path: Path) -> None:
    events = (piece({"reasoning_content": "Sports "}), piece({"reasoning_content": "or World?"}), *TEXT)
    with ScriptedServer(lambda call: Answer.events(*events, piece({}, "stop"), USAGE)) as server:
        answer = ask(server.url, tmp_path, [row("r0")], probing=True).by_id["r0"]
    assert (answer.text, answer.reasoning) == ("World", "Sports or World?")
