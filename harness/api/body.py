"""The JSON that is sent: built once per backend as far as it can be, then filled in per request."""

import re
from typing import Any

import msgspec

from harness.api.capabilities import Family
from harness.api.money import ORDINARY_TIERS
from harness.api.settings import ENV, OpenAISettings, from_environment
from harness.errors import UsageError
from harness.hashing import digest
from harness.money.prices import most_prompt_tokens
from harness.records import Decode, Request

_encoder = msgspec.json.Encoder()
MOST_TOP_LOGPROBS = 20
LENGTHS = ("max_tokens", "max_completion_tokens")


class BodyBuilder:
    """Turns requests into bodies for one model at one server, and says what it leaves out."""

    def __init__(
        self, name: str, settings: OpenAISettings, model: str, decode: Decode, family: Family, *, stream: bool = False
    ) -> None:
        where = f"[backends.{name}]"
        self.decode = decode
        self.extra = {k: _resolve(v, f"{where}.extra_body.{k}") for k, v in settings.extra_body.items()}
        effort = self.extra.get("reasoning_effort", family.reasoning_effort)
        self.effort = None if "reasoning_effort" in settings.omit else effort
        self._refused = frozenset((*family.refuses(self.effort), *settings.omit))
        self._rename = family.rename
        self.model = model
        self._stream = stream
        self._seed = settings.seed
        self._logprobs = settings.logprobs

    def facts(self) -> dict[str, Any]:
        """What shapes an answer beyond the request itself, without secrets: for identity and cache key."""
        sent = ["temperature", "max_tokens", "seed", "stop"]
        sent += ["logprobs", "top_logprobs"] if self._logprobs else []
        sent += ["response_format"] if self.decode == "json" else []
        facts: dict[str, Any] = {"not_sent": sorted(filter(self._left_out, sent))}
        if self.effort is not None:
            facts["reasoning_effort"] = self.effort
        if self._logprobs:
            facts["logprobs"] = True
        if not self._seed:
            facts["seed"] = "not sent"
        if self.extra:
            facts["extra_body"] = digest(self.extra)
        return facts

    def _left_out(self, field: str) -> bool:
        """Whether a field is refused, under its own name or under the one that this family gives it."""
        return field in self._refused or self._rename.get(field) in self._refused

    def why_unbounded(self) -> str | None:
        """Why no bound on an answer's cost can be known; None where there is one."""
        if self._left_out("max_tokens") and not any(self.extra.get(k) for k in LENGTHS):
            return "omit leaves max_tokens out, so that an answer may be of any length"
        tier = self.extra.get("service_tier")
        if tier not in (*ORDINARY_TIERS, "flex"):
            return f"extra_body asks for the service tier {tier}, whose price is unknown"
        return None

    def fields(self, request: Request) -> dict[str, Any]:
        """The body as a dictionary, under the names that the model's family uses."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": request.messages,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
        }
        if self._seed:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = request.stop
        if self._logprobs and request.labels:
            body["logprobs"] = True
            body["top_logprobs"] = MOST_TOP_LOGPROBS
        if self.decode == "json":
            body["response_format"] = response_format(request)
        if self.effort is not None:
            body["reasoning_effort"] = self.effort
        if self._stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if self._refused:
            body = {k: v for k, v in body.items() if not self._left_out(k)}
        for old, new in self._rename.items():
            if old in body:
                body[new] = body.pop(old)
        return {**body, **self.extra} if self.extra else body

    def encode(self, request: Request) -> bytes:
        """The body as it goes over the wire."""
        return _encoder.encode(self.fields(request))

    def answer_tokens(self, request: Request) -> int:
        """The most tokens the answer may have, `extra_body` considered."""
        asked = [self.extra.get(k, 0) for k in LENGTHS]
        return max(*asked, 0) or request.max_tokens

    def most_tokens(self, request: Request) -> tuple[int, int]:
        """Bounds of prompt and answer tokens that no request passes."""
        extra = len(_encoder.encode(self.extra)) if self.extra else 0
        return most_prompt_tokens(request) + extra, self.answer_tokens(request)


def _resolve(value: Any, where: str) -> Any:
    return from_environment(value, where) if isinstance(value, str) and value.startswith(ENV) else value


WRAP = "answer"


def response_format(request: Request) -> dict[str, Any]:
    """`response_format` for the request's schema, or for its labels as an enumeration.

    Providers want an object at the root: anything else is wrapped as {"answer": ..} and unwrapped on return.
    Raises UsageError where the request has neither schema nor labels.
    """
    schema = request.schema or ({"type": "string", "enum": list(request.labels)} if request.labels else None)
    if schema is None:
        raise UsageError('decode = "json" needs a task with a schema or labels: use decode = "generate".')
    if not is_object(schema):
        schema = {"type": "object", "properties": {WRAP: schema}, "required": [WRAP], "additionalProperties": False}
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", str(schema.get("title", WRAP)))[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


def is_object(schema: dict[str, Any]) -> bool:
    """Whether a schema may stand at the root as it is."""
    return schema.get("type") == "object"


def unwrap(request: Request, text: str) -> str:
    """The answer inside {"answer": ..}: a label as plain text, anything else as JSON; other text as it came."""
    if request.schema is not None and is_object(request.schema):
        return text
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    if not isinstance(value, dict) or set(value) != {WRAP}:
        return text
    inner = value[WRAP]
    return inner if isinstance(inner, str) and request.schema is None else msgspec.json.encode(inner).decode()
