"""Bodies, streams and errors in the shapes of real servers, mutated: no reader may raise what is not named.

    python -m benchmarks.abuse.body_shapes 1000000 [SEED [FIRST]]

Prints the count reached. An input that breaks a reader ends the run with its seed and its number; FIRST begins there,
or where an earlier run ended.
"""

import copy
import json
import pickle
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

from harness.backends.openai.answer_parsing import BadBodyError, ReportedError, completion_of, decode, read_answer
from harness.backends.openai.error_body import server_error
from harness.backends.openai.error_classification import (
    FatalError,
    RowAnswer,
    RowError,
    TransientError,
    classify,
    of_status,
)
from harness.backends.openai.openai_settings import OpenAISettings
from harness.backends.openai.request_body import LearnedParameters
from harness.backends.openai.streaming import read_stream
from harness.records import Completion, Message, Request
from harness.scoring.answer_forms import SchemaForm
from harness.scoring.label_parsing import score_label

LABELS = ("World", "Sports", "Sci/Tech")
SETTINGS = OpenAISettings(model="m", logprobs=True)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
REQUESTS = (
    Request(id="a", messages=(Message(role="user", content="Which topic?"),), labels=LABELS),
    Request(id="b", messages=(Message(role="user", content="Which number?"),), schema=SCHEMA),
)
NAMED = (BadBodyError, ReportedError)
VERDICTS = (TransientError, FatalError, RowError, RowAnswer)


def _logprobs(text: str) -> dict[str, Any]:
    return {
        "content": [{"token": text, "logprob": -0.2, "bytes": [87], "top_logprobs": [{"token": text, "logprob": -0.2}]}]
    }


def _choice(message: Any, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"index": 0, "message": message, "finish_reason": finish, "logprobs": None, **more}


BODIES: list[Any] = [
    {  # vLLM
        "id": "chatcmpl-8b",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "smol",
        "choices": [
            _choice(
                {"role": "assistant", "content": "World", "refusal": None, "tool_calls": [], "reasoning": None},
                stop_reason=None,
                token_ids=None,
            )
        ],
        "service_tier": None,
        "system_fingerprint": None,
        "prompt_logprobs": None,
        "kv_transfer_params": None,
        "usage": {"prompt_tokens": 41, "total_tokens": 44, "completion_tokens": 3, "prompt_tokens_details": None},
    },
    {  # llama.cpp
        "choices": [
            _choice(
                {"role": "assistant", "reasoning_content": "hm", "content": '{\n\n"answer"\n : "World" }'},
                "length",
                logprobs=_logprobs('"World"'),
            )
        ],
        "created": 1790000000,
        "model": "/models/smol.gguf",
        "system_fingerprint": "b6000-abc",
        "object": "chat.completion",
        "usage": {
            "completion_tokens": 12,
            "prompt_tokens": 41,
            "total_tokens": 53,
            "prompt_tokens_details": {"cached_tokens": 8},
        },
        "id": "chatcmpl-x",
        "timings": {"cache_n": 8, "prompt_n": 33, "predicted_per_second": 80.5},
    },
    {  # LiteLLM
        "id": "chatcmpl-9",
        "model": "gpt-4.1",
        "object": "chat.completion",
        "choices": [
            _choice(
                {
                    "content": "<think>a</think>World",
                    "role": "assistant",
                    "function_call": None,
                    "provider_specific_fields": {"refusal": None},
                    "thinking_blocks": [{"type": "thinking", "thinking": "x"}],
                }
            )
        ],
        "usage": {
            "completion_tokens": 20,
            "prompt_tokens": 10,
            "total_tokens": 30,
            "completion_tokens_details": {"reasoning_tokens": 9, "text_tokens": None},
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    },
    {  # Magistral
        "model": "magistral",
        "choices": [
            _choice(
                [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "World"},
                ]
            )
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14},
    },
    {"choices": [_choice({"content": ""}, "error", error={"code": 502, "message": "Provider returned error"})]},
    [
        {
            "error": {
                "code": 429,
                "message": "Resource has been exhausted. Please retry in 7.5s.",
                "status": "RESOURCE_EXHAUSTED",
                "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}],
            }
        }
    ],
    {
        "error": {
            "message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.",
            "type": "invalid_request_error",
            "param": "max_tokens",
            "code": "unsupported_parameter",
        }
    },
    {
        "error": {
            "message": "request (500 tokens) exceeds the available context size (256 tokens)",
            "type": "exceed_context_size_error",
            "code": 400,
            "n_ctx": 256,
        }
    },
    {
        "error": {
            "message": "filtered",
            "code": "content_filter",
            "status": 400,
            "innererror": {
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": {"hate": {"filtered": True, "severity": "high"}},
            },
        }
    },
    {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 0}]},
    {"object": "error", "message": "The input (9 tokens) is longer than the model's context length (5).", "code": 400},
    {"error": "Unexpected endpoint or method. (POST /chat/completions). Returning 200 anyway"},
]
STREAMS: list[list[Any]] = [
    [
        {"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
        {"id": "c", "choices": [{"index": 0, "delta": {"reasoning_content": "hm"}, "logprobs": None}]},
        {"id": "c", "choices": [{"index": 0, "delta": {"content": "Wor"}, "logprobs": _logprobs("Wor")}]},
        {"id": "c", "choices": [{"index": 0, "delta": {"content": "ld"}, "finish_reason": None}], "usage": None},
        {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": None}]},
        {"id": "c", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}},
    ],
    [
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]},
        {"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": "World"}]}}]},
        {
            "choices": [{"index": 0, "delta": None, "finish_reason": "MAX_TOKENS"}],
            "x_groq": {"usage": {"prompt_tokens": 3}},
        },
    ],
    [{"choices": [{"delta": {"content": "Wo"}}]}, {"error": {"message": "engine died", "code": 500}}],
]
ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**18, 10**40, float("nan"), float("inf"), "", " ", "x", "null", "stop", "error",
    "\ud800", "\u0000", "<think>", "</think>", "[DONE]", '{"a": 1}', "429", [], {}, [[]], [None], {"": None},
    {"text": "y"}, {"type": "text", "text": None}, {"error": {}}, [{"type": "thinking"}], {"content": {"content": {}}},
]  # fmt: skip


def _place(rng: random.Random, value: Any) -> tuple[Any, Any] | None:
    """A (container, key) inside a value, at any depth; None where it holds nothing. By descent: listing all of them
    took longer than reading the body."""
    holder = value
    while isinstance(holder, dict | list) and holder:
        key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
        inner = holder[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.25:
            return holder, key
        holder = inner
    return None


def _names(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(n for inner in value.values() for n in _names(inner))]
    return [n for inner in value for n in _names(inner)] if isinstance(value, list) else []


BODIES_PACKED = [pickle.dumps(body) for body in BODIES]
STREAMS_PACKED = [pickle.dumps(stream) for stream in STREAMS]
ODD_PACKED = [pickle.dumps(odd) for odd in ODD]
NAMES = sorted({name for shape in (BODIES, STREAMS) for name in _names(shape)})


def mutate(rng: random.Random, packed: bytes) -> Any:
    """One to four changes: another value in a place, a place left out, a field under another's name, a deep nest.

    packed: a pickled value; to unpickle is several times faster than to copy.
    """
    value = pickle.loads(packed)
    for _ in range(rng.randint(1, 4)):
        place = _place(rng, value)
        if place is None or rng.random() < 0.002:
            return pickle.loads(rng.choice(ODD_PACKED))
        holder, key = place
        kind = rng.random()
        if kind < 0.55:
            holder[key] = pickle.loads(rng.choice(ODD_PACKED))
        elif kind < 0.7:
            del holder[key]
        elif kind < 0.8 and isinstance(holder, dict):
            holder[rng.choice(NAMES)] = holder.pop(key)
        elif kind < 0.85:
            deep: Any = "World"
            for _ in range(rng.choice((3, 30, 300))):
                deep = rng.choice(([deep], {"content": deep}, {"error": deep}, {"text": deep}))
            holder[key] = deep
        elif isinstance(holder, list):
            holder.insert(rng.randint(0, len(holder)), copy.deepcopy(holder[key]))
    return value


def to_bytes(rng: random.Random, value: Any) -> bytes:
    """JSON of some kind; now and then with bytes changed, cut, or put twice."""
    data = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    kind = rng.random()
    if kind < 0.1 and data:
        at = rng.randrange(len(data))
        data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    elif kind < 0.15:
        data = data[: rng.randint(0, len(data))]
    elif kind < 0.18:
        data = b"\xef\xbb\xbf" + data
    return data


def read_body(rng: random.Random) -> str:
    """A body of a 200, and the same one as that of an error."""
    body = to_bytes(rng, mutate(rng, rng.choice(BODIES_PACKED)))
    status = rng.choice((0, 301, 400, 401, 403, 404, 413, 422, 429, 498, 500, 503, 529))
    verdict = of_status(status, body, {"retry-after": rng.choice(("1", "x", ""))})
    assert isinstance(verdict, VERDICTS), verdict
    told = server_error(decode(body))
    if told is not None:
        LearnedParameters().learn({"max_tokens": 8, "temperature": 0.0, "seed": 0, "top_logprobs": 20}, told)
    try:
        keep(rng, read_answer(body))
    except NAMED as error:
        return named(error)
    return "answer"


def read_events(rng: random.Random) -> str:
    """A stream in pieces of any length."""
    events = mutate(rng, rng.choice(STREAMS_PACKED))
    ends = ("\n\n", "\r\n\r\n", "\r\r", "\n")
    data = b"".join(
        rng.choice(
            (b"data: ", b"data:", b": note\n\ndata: ", b"event: error\ndata: " if rng.random() < 0.05 else b"data: ")
        )
        + to_bytes(rng, event)
        + rng.choice(ends).encode()
        for event in (events if isinstance(events, list) else [events])
    ) + rng.choice((b"data: [DONE]\n\n", b""))

    async def pieces() -> AsyncIterator[bytes]:
        at = 0
        while at < len(data):
            step = rng.choice((1, 7, 64, 4096))
            yield data[at : at + step]
            at += step

    try:
        keep(rng, _run(read_stream(pieces(), 0.0)).answer)
    except NAMED as error:
        return named(error)
    return "answer"


def _run(coroutine: Any) -> Any:
    """Drive a coroutine that waits for nothing outside."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as stop:
        return stop.value


def named(error: Exception) -> str:
    """What is kept of an error must be a verdict and a text that can be stored."""
    if isinstance(error, ReportedError):
        verdict = classify(error)
        assert isinstance(verdict, VERDICTS), verdict
    assert len(str(error)) < 2000
    str(error).encode()
    return type(error).__name__


def keep(rng: random.Random, answer: Any) -> None:
    """The next steps of a row: the completion, its score, its line."""
    request = rng.choice(REQUESTS)
    done: Completion = completion_of(request, answer, SETTINGS, rng.choice(("generate", "json")), lambda text: text)
    done.text.encode()
    done.reasoning.encode()
    usage = done.usage
    assert 0 <= usage.reasoning_tokens <= usage.completion_tokens
    assert 0 <= usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens
    assert done.finish in ("stop", "length", "refusal", "content_filter")
    score_label(done, "World", LABELS)
    SchemaForm(SCHEMA).score(done, '{"n": 1}')


def run(count: int, seed: int, first: int = 0, report: Callable[[int], None] = lambda done: None) -> Counter[str]:
    """Inputs `first` to `count` of a seed; what became of them."""
    found: Counter[str] = Counter()
    for n in range(first, count):
        rng = random.Random(f"{seed}/{n}")
        try:
            found[(read_body if n % 3 else read_events)(rng)] += 1
        except Exception as error:
            raise AssertionError(f"input {n} of seed {seed}: {type(error).__name__}: {error}") from error
        if n % 10_000 == 9_999:
            report(n + 1)
    return found


def main() -> None:
    """Run from the command line."""
    given = [int(word) for word in sys.argv[1:]]
    count, seed, first = (*given, *(1_000_000, 0, 0)[len(given) :])
    began = time.perf_counter()
    found = run(count, seed, first, lambda done: print(f"\r{done:,}", end="", file=sys.stderr, flush=True))
    print(f"\n{count - first:,} inputs in {time.perf_counter() - began:.0f} s: {dict(found)}")


if __name__ == "__main__":
    main()
