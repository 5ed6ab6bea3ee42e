"""One row's error never stops the others; what concerns all rows stops the backend, and a resume always finishes."""

from pathlib import Path

import pytest

from tests.openai.asking import ask, rows
from tests.support.scripted_server import Answer, Call, ScriptedServer, chat, error

REFUSALS = {
    "prompt is too long: 9000 tokens > 8000 maximum": "context_too_long",
    "Content Exists Risk": "content_filter",
    "Could not finish the message because max_tokens or model output limit was reached.": "length",
}


@pytest.mark.parametrize(("message", "finish"), REFUSALS.items())
def test_a_rows_own_refusal_is_an_answer_without_a_label(tmp_path: Path, message: str, finish: str) -> None:
    with ScriptedServer(lambda call: error(message) if call.prompt == "prompt r2" else Answer.json(chat("World"))) as s:
        asked = ask(s.url, tmp_path, rows(9), concurrency=1)
        assert len(s.calls) == 9
    assert (asked.stop, asked.errors) == (None, {})
    assert asked.by_id["r2"].finish == finish
    assert sum(c.text == "World" for c in asked.completions) == 8


def test_an_unknown_refusal_of_one_row_is_its_own_error(tmp_path: Path) -> None:
    def answer(call: Call) -> Answer:
        return error("Invalid something", 400) if call.prompt == "prompt r4" else Answer.json(chat("World"))

    with ScriptedServer(answer) as server:
        asked = ask(server.url, tmp_path, rows(9), concurrency=1)
        assert len(server.calls) == 9
    assert asked.stop is None
    assert asked.errors == {"invalid request": 1}
    assert "Invalid something" in str(asked.by_id["r4"].error)


def test_unknown_refusals_of_the_first_rows_do_not_stop_the_others(tmp_path: Path) -> None:
    def answer(call: Call) -> Answer:
        return error("no", 400) if call.prompt in {f"prompt r{n}" for n in range(5)} else Answer.json(chat("World"))

    with ScriptedServer(answer) as server:
        asked = ask(server.url, tmp_path, rows(12), concurrency=1)
        assert len(server.calls) == 13, "one control request, after the first refusal"
    assert asked.stop is None
    assert asked.errors == {"invalid request": 5}


def test_a_refusal_of_everything_stops_after_one_row_and_one_control_request(tmp_path: Path) -> None:
    with ScriptedServer(lambda call: error("response_format is unavailable here", 400)) as server:
        asked = ask(server.url, tmp_path, rows(40), concurrency=1)
        assert len(server.calls) == 2
    assert asked.stop is not None
    assert asked.stop.kind == "invalid request"
    assert "response_format is unavailable here" in str(asked.stop)
    assert server.url in str(asked.stop)


def test_refusals_that_begin_in_the_middle_stop_the_backend_after_some_rows(tmp_path: Path) -> None:
    def answer(call: Call) -> Answer:
        return Answer.json(chat("World")) if len(server.calls) <= 20 else error("no more", 400)

    with ScriptedServer(answer) as server:
        asked = ask(server.url, tmp_path, rows(100), concurrency=1)
    assert asked.stop is not None
    assert len(asked.completions) == 30, "twenty answers, ten refusals; then the control request failed as well"


def test_a_filter_that_takes_even_a_greeting_is_no_verdict_on_rows(tmp_path: Path) -> None:
    with ScriptedServer(lambda call: error("blocked", code="content_filter")) as server:
        asked = ask(server.url, tmp_path, rows(40), concurrency=1)
        assert len(server.calls) == 4
    assert asked.stop is not None
    assert "even a harmless request" in str(asked.stop)


def test_a_403_about_one_rows_text_is_that_rows(tmp_path: Path) -> None:
    flagged = Answer.json({"error": {"code": 403, "message": "Your input was flagged for violence"}}, 403)
    with ScriptedServer(lambda call: flagged if call.prompt == "prompt r1" else Answer.json(chat("World"))) as server:
        asked = ask(server.url, tmp_path, rows(3), concurrency=1)
    assert asked.stop is None
    assert asked.by_id["r1"].finish == "content_filter"


def test_a_limit_told_as_413_is_waited_for(tmp_path: Path) -> None:
    told = error("TPM limit, please try again in 0.05s", 413, code="rate_limit_exceeded", type="tokens")
    answers = iter([told, Answer.json(chat("World"))])
    with ScriptedServer(lambda call: next(answers)) as server:
        answer = ask(server.url, tmp_path, rows(1)).by_id["r0"]
    assert (answer.text, answer.attempts) == ("World", 2)


def test_a_request_that_no_limit_will_ever_let_through_ends_at_once(tmp_path: Path) -> None:
    big = error("tokens per minute (TPM): Limit 6000, Requested 6294", 413, code="rate_limit_exceeded")
    with ScriptedServer(lambda call: big if call.prompt == "prompt r1" else Answer.json(chat("World"))) as server:
        asked = ask(server.url, tmp_path, rows(4), concurrency=1)
        assert len(server.calls) == 4
    assert asked.stop is None
    assert asked.errors == {"rate limit": 1}


def test_what_a_control_request_costs_is_booked(tmp_path: Path) -> None:
    with ScriptedServer(
        lambda call: error("odd") if call.prompt == "prompt r0" else Answer.json(chat("World"))
    ) as server:
        asked = ask(server.url, tmp_path, rows(3), concurrency=1, max_cost=1.0)
    each = (20 * 1.0 + 2 * 4.0) / 1e6
    assert asked.incurred == pytest.approx(3 * each)
    assert asked.by_id["r0"].cost.incurred == pytest.approx(each)
