"""Langfuse: observations of type GENERATION, alone or inside a trace, as its exports and its API give them."""

from collections.abc import Iterator
from typing import Any

from harness.data.traces.call import (
    Found,
    LeftOut,
    LoggedCall,
    answer_of,
    decoded,
    first,
    number_of,
    seconds_of,
    table,
    turns_of,
)
from harness.records import Usage


def read_record(record: dict[str, Any]) -> Iterator[Found]:
    """The generations of a trace, or the one observation that the record is; a trace without any is one call itself."""
    inner = record.get("observations")
    generations = [o for o in inner if table(o).get("type") == "GENERATION"] if isinstance(inner, list) else []
    if generations:
        for generation in generations:
            yield _call(
                {**{k: record.get(k) for k in ("sessionId", "userId")}, **table(generation)}, str(record.get("id"))
            )
        return
    if record.get("type") not in (None, "GENERATION"):
        yield LeftOut("an observation that is no generation", str(record.get("type")))
        return
    yield _call(record, str(record.get("traceId") or record.get("trace_id") or ""))


def _call(record: dict[str, Any], trace: str) -> Found:
    asked = turns_of(decoded(record.get("input")))
    if asked is None:
        return LeftOut("holds no messages")
    answer = answer_of(decoded(record.get("output")))
    if answer is None:
        level = record.get("level")
        return LeftOut("a request that failed" if level == "ERROR" else "holds no answer")
    begun, ended = (
        seconds_of(first(record, "startTime", "start_time", "timestamp")),
        seconds_of(first(record, "endTime", "end_time")),
    )
    first_token = seconds_of(first(record, "completionStartTime", "completion_start_time"))
    latency = number_of(record.get("latency"))
    if begun is not None and ended is not None and ended >= begun:
        latency = ended - begun
    costs = table(decoded(first(record, "costDetails", "cost_details")))
    expected = answer_of(decoded(first(record, "expectedOutput", "expected_output")))
    session = first(record, "sessionId", "session_id", "userId", "user_id") or trace
    return LoggedCall(
        turns=(*asked, answer),
        time=begun,
        session=str(session) if session else None,
        model=str(first(record, "model", "providedModelName") or ""),
        usage=_usage(record),
        service_s=latency,
        first_token_s=first_token - begun
        if first_token is not None and begun is not None and first_token >= begun
        else None,
        cost=number_of(
            first(record, "calculatedTotalCost", "totalCost", "totalPrice", "total_cost") or costs.get("total")
        ),
        expected=None if expected is None else str(expected["content"]),
    )


def _usage(record: dict[str, Any]) -> Usage | None:
    """Tokens; the details count what the cache read apart from the rest of the input."""
    details = table(decoded(first(record, "usageDetails", "usage_details")))
    plain = table(decoded(record.get("usage")))
    source = details or plain
    cached = _count(source, "input_cached_tokens", "cache_read_input_tokens", "input_cache_read")
    prompt = _count(source, "input", "promptTokens", "prompt_tokens", "input_tokens") or _count(
        record, "promptTokens", "inputUsage"
    )
    completion = _count(source, "output", "completionTokens", "completion_tokens", "output_tokens") or _count(
        record, "completionTokens", "outputUsage"
    )
    if not prompt and not completion:
        return None
    return Usage(
        prompt_tokens=prompt + (cached if details else 0),
        cached_tokens=cached,
        completion_tokens=completion,
        reasoning_tokens=_count(source, "output_reasoning_tokens", "reasoning_tokens"),
    )


def _count(values: dict[str, Any], *names: str) -> int:
    found = number_of(first(values, *names))
    return int(found) if found is not None and found > 0 else 0
