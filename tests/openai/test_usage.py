"""Tokens are counted as they were billed, whatever convention a server follows."""

from pathlib import Path
from typing import Any

import pytest

from harness.backends.openai.token_usage import usage_of
from harness.money.cost_estimate import estimate
from harness.records import Usage
from tests.openai.asking import ask, make, row, rows
from tests.support.scripted_server import Answer, ScriptedServer, chat


def used(prompt: int, answer: int, reasoning: int = 0, cached: int = 0, written: int = 0) -> Usage:
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=answer,
        reasoning_tokens=reasoning,
        cached_tokens=cached,
        cache_write_tokens=written,
    )


def said(prompt: Any, answer: Any, total: Any = None, reasoning: Any = None, cached: Any = None) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        **({"total_tokens": total} if total is not None else {}),
        **({"completion_tokens_details": {"reasoning_tokens": reasoning}} if reasoning is not None else {}),
        **({"prompt_tokens_details": {"cached_tokens": cached}} if cached is not None else {}),
    }


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (said(30, 12, 42), used(30, 12)),
        (said(30, 12, 42, 10), used(30, 12, 10)),  # OpenAI: inside
        (said(30, 2, 1032, 1000), used(30, 1002, 1000)),  # xAI: beside
        (said(30, 2, 532), used(30, 502, 500)),  # Gemini: told by the total alone
        (said(30, 2, None, 1000), used(30, 1002, 1000)),  # more thoughts than answer cannot be inside
        (said(30, 12, None, 10), used(30, 12, 10)),
        (said(130, 2, 132, None, 100), used(130, 2, 0, 100)),  # OpenAI: cached inside
        (said(30, 2, 132, None, 100), used(130, 2, 0, 100)),  # beside
        (said(30, 2, 20), used(30, 2)),  # a total below its parts decides nothing
        ({"input_tokens": 30, "output_tokens": 12}, used(30, 12)),
        (
            {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 7},
            used(100, 2, 0, 90, 7),
        ),
        ({"prompt_tokens": 90, "completion_tokens": 2, "prompt_cache_hit_tokens": 64}, used(90, 2, 0, 64)),
        (said("30", "2", "32"), used(30, 2)),
        (said(30, 2.0, 32, True), used(30, 2)),
        (said(30, -5, float("nan"), "x"), used(30, 0)),
    ],
)
def test_the_total_decides_between_conventions(usage: dict[str, Any], expected: Usage) -> None:
    assert usage_of({"usage": usage}) == expected


@pytest.mark.parametrize("usage", [None, [], "x", {}, {"prompt_tokens": 0}, {"prompt_tokens": 10**30}, [[]]])
def test_what_is_no_count_is_none(usage: Any) -> None:
    assert usage_of({"usage": usage}) is None


def test_groqs_own_field_is_read() -> None:
    assert usage_of({"x_groq": {"usage": {"prompt_tokens": 5, "completion_tokens": 1}}}) == used(5, 1)


def test_thoughts_beside_the_answer_are_priced(tmp_path: Path) -> None:
    body = chat("World", usage=said(30, 2, 1032, 1000))
    with ScriptedServer(lambda call: Answer.json(body)) as server:
        answer = ask(server.url, tmp_path, rows(1)).by_id["r0"]
    assert answer.cost.list == pytest.approx((30 * 1.0 + 1002 * 4.0) / 1e6)
    assert answer.usage == used(30, 1002, 1000)


@pytest.mark.parametrize("ceiling", [0.01, 0.02, 0.05])
def test_a_ceiling_holds_where_thoughts_are_billed_beyond_max_tokens(tmp_path: Path, ceiling: float) -> None:
    body = chat("World", usage=said(30, 2, 1032, 1000))
    with ScriptedServer(lambda call: Answer.json(body)) as server:
        asked = ask(server.url, tmp_path, rows(40), concurrency=16, max_cost=ceiling)
        sent = len(server.calls)
    assert asked.stop is not None
    assert asked.stop.kind == "max cost"
    assert asked.incurred <= ceiling
    assert sent * (30 * 1.0 + 1002 * 4.0) / 1e6 <= ceiling
    assert sent >= 1


def test_json_mode_asks_room_for_its_envelope_and_so_does_the_estimate(tmp_path: Path) -> None:
    asked = row("r0")
    as_json, plain = (make("http://127.0.0.1:9/v1", tmp_path, decode=mode) for mode in ("json", "generate"))
    wide = as_json.builder.fields(asked)["max_tokens"]
    assert plain.builder.fields(asked)["max_tokens"] == 8
    assert wide > 8 + 40
    assert as_json.builder.answer_bound(asked) == wide
    estimates = [estimate("api", b.identity(), [(asked, None)], 1) for b in (as_json, plain)]
    assert [e.most_answer_tokens for e in estimates] == [wide, 8]
