"""What an error means, in the words and with the status of each provider."""

import json
from typing import Any

import pytest

from harness.backends.openai.error_classification import (
    FatalError,
    RowAnswer,
    RowError,
    TransientError,
    advice,
    error_table,
    of_status,
)


def meant(status: int, body: Any, **headers: str) -> str:
    """The class and kind of a verdict in one word."""
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    verdict = of_status(status, raw, headers)
    if isinstance(verdict, RowAnswer):
        return f"row: {verdict.finish}"
    names = {TransientError: "again", FatalError: "stop", RowError: "row error"}
    return f"{names[type(verdict)]}: {verdict.kind}"


def openai(message: str, code: Any = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


CONTEXT: list[tuple[int, Any]] = [
    (400, openai("This model's maximum context length is 4096 tokens. However, your messages resulted in 9000.")),
    (400, openai("too many", "context_length_exceeded")),
    (400, openai("request (900 tokens) exceeds the available context size (512 tokens)", 400, "exceed_context_size")),
    (500, openai("the request exceeds the available context size", 500, "server_error")),
    (400, {"object": "error", "message": "The decoder prompt (length 900) is longer than the maximum model length"}),
    (400, {"object": "error", "message": "The input (900 tokens) is longer than the model's context length (512)."}),
    (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}),
    (413, {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}),
    (400, {"message": "Input is too long for requested model."}),
    (
        400,
        [{"error": {"code": 400, "message": "The input token count (900) exceeds the maximum number of tokens (8)."}}],
    ),
    (422, {"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000"}),
    (422, {"error": "`inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000", "error_type": "validation"}),
    (400, openai("Range of input length should be [1, 30720]", "InvalidParameter")),
    (400, openai("Invalid request: Your request exceeded model token limit: 8192")),
    (400, openai("Prompt contains 9000 tokens, too large for model with 8192 maximum context length")),
    (400, openai("This model's maximum prompt length is 131072 but the request contains 200000 tokens.")),
    (400, openai("Please reduce the length of the messages or completion.")),
    (413, {"error": {"code": "tokens_limit_reached", "message": "Request body too large for gpt-4o model."}}),
    (400, {"message": "too many tokens: size limit exceeded by 100 tokens. Try using shorter or fewer inputs"}),
    (413, "<html><title>413 Request Entity Too Large</title></html>"),
    (400, {"error": "Trying to keep the first 900 tokens when context overflows. Provide a shorter input"}),
    (400, openai("invalid params, context window exceeds limit", 2013)),
]
FILTER: list[tuple[int, Any]] = [
    (400, openai("Content Exists Risk")),
    (400, openai("The response was filtered", "content_filter")),
    (400, {"error": {"message": "x", "code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    (400, openai("Input data may contain inappropriate content.", "data_inspection_failed")),
    (400, {"code": "InternalError.Algo.DataInspectionFailed", "message": "Output data may contain ..."}),
    (400, openai("The request was rejected because it was considered high risk", None, "content_filter")),
    (400, {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}}),
    (403, {"error": {"code": 403, "message": "openai/o3 requires moderation. Your input was flagged for 'violence'"}}),
    (400, openai("Your request was rejected as a result of our safety system.", "content_policy_violation")),
    (400, openai("Violated guardrail policy", 400, "None")),
    (403, {"error": {"message": "Content violates usage guidelines.", "code": "blocked"}}),
    (451, "unavailable"),
]
LENGTH: list[tuple[int, Any]] = [
    (400, openai("Could not finish the message because max_tokens or model output limit was reached.")),
    (500, openai("unable to complete request: max_output_tokens", 500)),
]
LIMIT: list[tuple[int, Any]] = [
    (429, openai("slow down")),
    (
        413,
        openai("Rate limit on tokens per minute (TPM): Limit 6000, Used 5000, Requested 1200", "rate_limit_exceeded"),
    ),
    (
        403,
        {
            "error": {
                "code": 403,
                "errors": [{"reason": "userRateLimitExceeded"}],
                "message": "User Rate Limit Exceeded",
            }
        },
    ),
    (429, {"error": {"code": 429, "message": "You exceeded your current quota.", "status": "RESOURCE_EXHAUSTED"}}),
    (503, {"error": {"message": "Too many requests", "code": "Throttling.RateQuota"}}),
    (400, {"__type": "ThrottlingException", "message": "Too many tokens per day, please wait"}),
    (429, {"error": {"code": "1302", "message": "您的账户已达到速率限制"}}),
]
STOP: list[tuple[str, int, Any]] = [
    ("authentication", 401, "nope"),
    ("authentication", 400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}]),
    ("authentication", 403, openai("Invalid API key")),
    ("no quota", 402, {"error": {"message": "Insufficient Balance"}}),
    ("no quota", 429, openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota")),
    ("no quota", 400, {"type": "error", "error": {"type": "x", "message": "Your credit balance is too low to access"}}),
    ("no quota", 403, {"error": {"message": "user quota is not enough", "code": "local:insufficient_user_quota"}}),
    ("no quota", 400, openai("Access denied, your account is overdue", "Arrearage")),
    ("no quota", 400, openai("Budget has been exceeded! Current cost: 2, Max budget: 1", 400, "budget_exceeded")),
    ("no quota", 429, {"error": {"code": "1113", "message": "账户余额不足"}}),
    ("permission", 403, openai("Country, region, or territory not supported", "unsupported_country_region_territory")),
    ("permission", 400, openai("Your organization has been suspended for violating our usage policies")),
    ("permission", 400, [{"error": {"code": 400, "message": "User location is not supported for the API use."}}]),
    ("not found", 404, openai("The model `x` does not exist or you do not have access to it.", "model_not_found")),
    ("not found", 400, openai("The model `x` has been decommissioned", "model_decommissioned")),
    ("not found", 400, openai("Model Not Exist")),
    ("not found", 404, "<html>404 page not found</html>"),
    ("not found", 405, ""),
    ("not found", 400, {"code": 20012, "message": "Model does not exist. Please check it carefully.", "data": None}),
    ("not found", 404, {"error": {"message": "No endpoints found for x/y.", "code": 404}}),
]
AGAIN: list[tuple[str, int, Any]] = [
    ("server error", 500, openai("moderation service unavailable", None, "server_error")),
    ("server error", 529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    ("server error", 498, openai("capacity", "capacity_exceeded")),
    ("server error", 503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
    ("server error", 424, {"error": "Request failed during generation", "error_type": "generation"}),
    ("server error", 520, "<html>cloudflare</html>"),
    ("server error", 400, openai("Model is overloaded, please try again", "model_overloaded")),
    ("timeout", 504, "<html>gateway</html>"),
    ("timeout", 524, ""),
    ("timeout", 408, openai("Request timed out.")),
]
UNDECIDED: list[tuple[int, Any]] = [
    (400, openai("Invalid value for 'messages'.")),
    (403, "<html>Attention Required! | Cloudflare</html>"),
    (422, {"detail": [{"loc": ["body", "foo"], "msg": "Extra inputs are not permitted"}]}),
    (400, openai("The maximum tokens you requested exceeds what this deployment gives")),
    (418, ""),
    (400, b"\xff\xfe".decode("latin-1")),
]


@pytest.mark.parametrize(("status", "body"), CONTEXT, ids=range(len(CONTEXT)))
def test_a_prompt_that_is_too_long_ends_its_row(status: int, body: Any) -> None:
    assert meant(status, body) == "row: context_too_long"


@pytest.mark.parametrize(("status", "body"), FILTER, ids=range(len(FILTER)))
def test_a_filter_ends_its_row(status: int, body: Any) -> None:
    assert meant(status, body) == "row: content_filter"


@pytest.mark.parametrize(("status", "body"), LENGTH, ids=range(len(LENGTH)))
def test_a_length_limit_that_comes_as_an_error_is_a_length_stop(status: int, body: Any) -> None:
    assert meant(status, body) == "row: length"


@pytest.mark.parametrize(("status", "body"), LIMIT, ids=range(len(LIMIT)))
def test_a_limit_is_waited_for_whatever_its_status(status: int, body: Any) -> None:
    assert meant(status, body) == "again: rate limit"


@pytest.mark.parametrize(("kind", "status", "body"), STOP, ids=range(len(STOP)))
def test_key_money_model_and_address_stop_the_backend(kind: str, status: int, body: Any) -> None:
    assert meant(status, body) == f"stop: {kind}"
    assert advice(kind, "backend 'b'", "KEY", "why").startswith("backend 'b': ")


@pytest.mark.parametrize(("kind", "status", "body"), AGAIN, ids=range(len(AGAIN)))
def test_what_may_pass_is_asked_again(kind: str, status: int, body: Any) -> None:
    assert meant(status, body) == f"again: {kind}"


@pytest.mark.parametrize(("status", "body"), UNDECIDED, ids=range(len(UNDECIDED)))
def test_an_unknown_refusal_decides_nothing(status: int, body: Any) -> None:
    assert meant(status, body) == "row error: invalid request"


def test_a_request_above_the_limit_by_itself_is_not_asked_again() -> None:
    body = openai("Request too large on tokens per minute (TPM): Limit 6000, Requested 6294", "rate_limit_exceeded")
    assert meant(413, body) == "row error: rate limit"


def test_a_redirect_names_where_it_leads() -> None:
    verdict = of_status(308, b"", {"location": "https://x.example/v1/"})
    assert isinstance(verdict, FatalError)
    assert "https://x.example/v1/" in str(verdict)


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Please try again in 7.66s. Visit ..", 7.66),
        ("Rate limit reached. Please try again in 1m26.4s.", 86.4),
        ("Please retry in 28.5s.", 28.5),
        ("try again in 6ms", 0.006),
        ("slow down", None),
    ],
)
def test_a_wait_that_stands_only_in_words_is_kept(message: str, seconds: float | None) -> None:
    verdict = of_status(429, json.dumps(openai(message)).encode(), {})
    assert isinstance(verdict, TransientError)
    assert verdict.retry_after == (None if seconds is None else pytest.approx(seconds))


def test_every_rule_names_its_source() -> None:
    assert all(rule.source for rule in error_table())
    assert {r.means for r in error_table()} >= {"authentication", "no quota", "context_too_long", "content_filter"}
