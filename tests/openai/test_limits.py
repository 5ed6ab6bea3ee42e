"""A limit is used nearly whole and hardly ever passed, whether it is configured, told by headers, or neither."""

from pathlib import Path
from typing import Any

import pytest

from harness.backends.openai.rate_limiter import (
    RateLimiter,
    ReportedLimit,
    parse_duration,
    reported_limit,
    retry_after,
)
from tests.openai.asking import ask, rows
from tests.openai.simulation import simulate
from tests.support.openai_server import OpenAIServer, ServerConfig


@pytest.mark.parametrize("configured", [True, False], ids=["configured", "told by headers"])
@pytest.mark.parametrize("burst_s", [1.0, 60.0], ids=["counted by the second", "counted by the minute"])
@pytest.mark.parametrize(
    "limit",
    [
        {"rpm": 1200.0},
        {"tpm": 72 * 1200.0},
        {"tpm": 62 * 1200.0, "charged": 2},
        {"tpm": 120.0 * 1200, "max_tokens": 600, "charged": 60},
        {"rpm": 1200.0, "tpm": 72 * 2400.0},
    ],
    ids=["requests", "tokens", "used tokens only", "a tenth of max_tokens used", "both"],
)
def test_a_limit_is_used_to_95_percent_and_hardly_ever_passed(
    limit: dict[str, float], burst_s: float, configured: bool
) -> None:
    outcome = simulate(3000, burst_s=burst_s, configured=configured, **limit)  # type: ignore[arg-type]
    assert outcome.use >= 0.95
    assert outcome.refused_share < 0.005


def test_a_limit_that_no_header_tells_is_learned_from_what_is_let_through() -> None:
    outcome = simulate(3000, rpm=1200, headers=False)
    assert outcome.use >= 0.9
    assert outcome.refused_share < 0.05


@pytest.mark.parametrize("configured", [True, False], ids=["configured", "told by headers"])
def test_a_real_server_refuses_next_to_nothing(server: OpenAIServer, tmp_path: Path, configured: bool) -> None:
    server.reset(ServerConfig(rpm=6000, tpm=6000 * 14, burst_s=2.0, delay_s=0.02))
    limits: dict[str, Any] = {"rpm": 6000, "tpm": 6000 * 14} if configured else {}
    asked = ask(server.url, tmp_path, rows(250), **limits)
    assert asked.errors == {}
    assert len(asked.by_id) == 250
    assert server.stats().refused <= 5


def test_a_server_that_refuses_without_a_word_is_asked_until_it_answers(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(rpm=6000, delay_s=0.02, headers=False))
    asked = ask(server.url, tmp_path, rows(200), concurrency=32)
    assert asked.errors == {}
    assert server.stats().answered == 200


def test_a_server_that_lets_nobody_in_for_longer_than_a_row_may_wait_ends_the_asking(
    server: OpenAIServer, tmp_path: Path
) -> None:
    server.reset(ServerConfig(when={"prompt": "429"}, retry_after="3600", headers=False))
    asked = ask(server.url, tmp_path, rows(50), concurrency=4, deadline_s=2.0)
    assert asked.stop is not None
    assert asked.stop.kind == "rate limit"
    assert "asks to wait 60 minutes; continue with --resume" in str(asked.stop)
    assert set(asked.errors) == {"rate limit"}
    assert len(asked.completions) == server.stats().requests < 10


def test_an_overloaded_server_gets_fewer_requests_at_once(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(delay_s=0.01, faults={"overload": 0.3}, retry_after="0.01"))
    asked = ask(server.url, tmp_path, rows(200), concurrency=64)
    assert asked.errors == {}
    assert asked.counters["most_in_flight"] < 64


def test_what_is_left_according_to_the_headers_holds_the_next_request_back() -> None:
    pacer = RateLimiter(None, None)
    pacer.answered({"x-ratelimit-limit-requests": "600", "x-ratelimit-remaining-requests": "0"}, None, 0.0)
    bucket = pacer.buckets["requests"]
    assert bucket.level == 0.0
    assert bucket.wait(1.0, bucket.at) == pytest.approx(1 / (10 * 0.985))


def test_a_configured_limit_is_kept_even_where_the_server_allows_more() -> None:
    pacer = RateLimiter(60, None)
    pacer.answered({"x-ratelimit-limit-requests": "6000"}, None, 0.0)
    assert pacer.buckets["requests"].limit == 60
    pacer.answered({"x-ratelimit-limit-requests": "30"}, None, 0.0)
    assert pacer.buckets["requests"].limit == 30


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12ms", 0.012), ("1s", 1.0), ("6m0s", 360.0), ("1h2m3.5s", 3723.5), ("2", 2.0), ("0.5", 0.5), ("17us", 17e-6)],
)
def test_durations_as_openai_writes_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1", "1x", "1s later", "nan", "inf"])
def test_other_durations_are_unknown(text: str) -> None:
    assert parse_duration(text) is None


def test_limits_that_azure_calls_minus_one_are_unknown() -> None:
    assert (
        reported_limit({"x-ratelimit-limit-requests": "-1", "x-ratelimit-remaining-requests": "-1"}, "requests") is None
    )
    assert reported_limit(
        {"x-ratelimit-limit-tokens": "10", "x-ratelimit-remaining-tokens": "-1"}, "tokens"
    ) == ReportedLimit(10, None)


def test_retry_after_comes_before_the_reset_of_the_quota() -> None:
    assert retry_after({"retry-after": "2", "x-ratelimit-reset-requests": "1s"}) == 2.0
    assert retry_after({"retry-after-ms": "150", "retry-after": "2"}) == 0.15
    assert retry_after({"x-ratelimit-reset-requests": "1s"}) is None
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
