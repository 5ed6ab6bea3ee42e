"""The request body: built once per backend, adapted to model families and to parameters a server refuses."""

import re
from functools import lru_cache
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import msgspec

from harness.backends.openai.error_body import ServerError
from harness.backends.openai.openai_settings import ENV, OpenAISettings, from_environment
from harness.backends.openai.token_usage import ORDINARY_TIERS
from harness.errors import UsageError
from harness.hashing import digest
from harness.money.prices import most_prompt_tokens
from harness.prompting.token_counts import answer_budget
from harness.records import Decode, Message, Record, Request, Usage

GATEWAYS = {"openai", "azure", "azure_ai", "openrouter", "litellm", "github", "vercel"}
"""Prefixes of names of OpenAI's models: "openai/gpt-5-mini", "openrouter/openai/o3"."""


class Family(Record, frozen=True, kw_only=True):
    """One family's line; see capabilities.toml for the meaning of each field."""

    prefixes: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    reasoning_effort: str | None = None
    refused: tuple[str, ...] = ()
    refused_reasoning: tuple[str, ...] = ()
    schema: bool = True

    def refuses(self, effort: str | None) -> tuple[str, ...]:
        """What is refused at a reasoning effort."""
        return self.refused if effort == "none" else self.refused + self.refused_reasoning


class _CapabilityTable(Record, frozen=True, kw_only=True):
    families: tuple[Family, ...]


@lru_cache(maxsize=1)
def _families() -> tuple[Family, ...]:
    text = resources.files("harness.backends.openai").joinpath("capabilities.toml").read_bytes()
    return msgspec.toml.decode(text, type=_CapabilityTable).families


@lru_cache(maxsize=64)
def family_of(model: str) -> Family:
    """The family of a model id by its longest matching prefix; an unknown model is taken to accept everything, until
    the server says otherwise (`parameters.py`)."""
    *providers, name = model.split("/")
    if not GATEWAYS.issuperset(providers):  # a model of another vendor, whatever its name begins with
        return Family()
    base = name.split(":")[1] if name.startswith("ft:") else name
    matches = [(len(p), f) for f in _families() for p in f.prefixes if base.startswith(p) or base == p.rstrip("-")]
    return max(matches, key=lambda match: match[0])[1] if matches else Family()


OPTIONAL = ("temperature", "seed", "stop", "logprobs", "top_logprobs", "reasoning_effort", "stream_options", "stream")
"""What may be left out."""
LENGTHS = ("max_tokens", "max_completion_tokens")
"""Two names of one parameter."""
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
_PLAIN_WORDS = ("temperature", "logprobs", "seed")
"""Names that need no quotes around them to be understood ("stop" is an ordinary word)."""
_REFUSED = re.compile(
    r"unsupported|not (?:be )?support|n[o']t support|unrecogni[sz]ed|unknown|unexpected|not permitted|not allowed|"
    r"not available|not enabled|extra (?:inputs|fields)|only (?:the )?default|only \d|must be|should be|invalid|"
    r"deprecated|incompatible|cannot be|can't be|not a valid|disallow|forbidden|greater than|less than|max allowed|"
    r"minimum|maximum|at most|at least|out of range|does not (?:exist|accept|take)|isn't|is not",
    re.IGNORECASE,
)
_AT_LEAST = re.compile(r"(?:>=|at least|minimum(?: value)?(?: of| is)?|greater than or equal to)\s*:?\s*(\d+)", re.I)


class LearnedParameters:
    """What one backend has learned. `sentences` describe it, in the order of learning."""

    def __init__(self) -> None:
        self.omitted: set[str] = set()
        self.renamed: dict[str, str] = {}
        self.values: dict[str, Any] = {}
        self.fewest_tokens = 0
        self.sentences: list[str] = []

    def apply(self, body: dict[str, Any]) -> dict[str, Any]:
        """A body as this server takes it."""
        if not self.sentences:
            return body
        body = {k: self.values.get(k, v) for k, v in body.items() if k not in self.omitted}
        for name in LENGTHS:
            if name in body:
                body[self.renamed.get(name, name)] = max(body.pop(name), self.fewest_tokens)
                break
        return body

    def learn(self, sent: dict[str, Any], error: ServerError) -> bool:
        """Take a refusal in. Whether the body that was sent would now be another one, so that it may be sent again."""
        named = [name for name in (*LENGTHS, *OPTIONAL) if name in sent and _names(error, name)]
        if not named or not (_REFUSED.search(error.message) or "unsupported" in error.code):
            return False
        if self.apply(sent) != sent:  # another row has learned it meanwhile
            return True
        for name in named:
            reported = self._length(name, sent, error) if name in LENGTHS else self._optional(name, sent, error)
            if reported:
                self.sentences.append(reported)
                return self.apply(sent) != sent
        return False

    def _length(self, name: str, sent: dict[str, Any], error: ServerError) -> str:
        minimum = _AT_LEAST.search(error.message)
        if minimum is not None and sent[name] < int(minimum[1]) <= 4096:
            self.fewest_tokens = int(minimum[1])
            return f"answers may have {minimum[1]} tokens: the server takes no smaller {name}"
        other = LENGTHS[1 - LENGTHS.index(name)]
        if name in self.renamed or name in self.renamed.values():
            return ""
        self.renamed[name] = other
        return f"{name} is sent as {other}"

    def _optional(self, name: str, sent: dict[str, Any], error: ServerError) -> str:
        if name in ("logprobs", "top_logprobs") and isinstance(sent.get("top_logprobs"), int):
            fewer = [int(n) for n in re.findall(r"\b\d{1,2}\b", error.message) if 0 < int(n) < sent["top_logprobs"]]
            if fewer and "top_logprobs" not in self.values:
                self.values["top_logprobs"] = max(fewer)
                return f"top_logprobs is {max(fewer)}, the most that the server gives"
        if name == "reasoning_effort" and name not in self.values:
            words = re.findall(r"[a-z]+", error.message.lower())
            known = [effort for effort in EFFORTS if effort in words and effort != sent[name]]
            if known:
                self.values[name] = known[0]
                return f"reasoning_effort is {known[0]}, the least that the server takes"
        together = {"logprobs": ("top_logprobs",), "top_logprobs": ("logprobs",), "stream": ("stream_options",)}
        self.omitted |= {name, *together.get(name, ())}
        return f"{name} is not sent: the server refuses it"


def _names(error: ServerError, name: str) -> bool:
    """Whether an error is about a parameter: named in its `param` or in its message."""
    if error.param.rsplit(".", 1)[-1].strip("'\"`") == name:
        return True
    if "_" in name or name in _PLAIN_WORDS:
        pattern = rf"(?<![\w]){name}(?![\w])"
    else:
        pattern = rf"['\"`]{name}['\"`]|\bbody\.{name}\b|\b{name}:"
    return re.search(pattern, error.message.lower()) is not None


_encoder = msgspec.json.Encoder()
MOST_TOP_LOGPROBS = 20
CONTROL = "Good morning. Please answer with one word."


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
        self.streams = stream
        self._url = settings.urls[0] if settings.urls else ""
        self._seed = settings.seed
        self._logprobs = settings.logprobs
        self.template = settings.template
        self.learned = LearnedParameters()
        self._beyond = 0

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
        if self.template:
            facts["template"] = self.template
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
        if self.decode == "head":
            return {"model": self.model, "input": classified_text(request), **self.extra}
        body: dict[str, Any] = {
            "model": self.model,
            "messages": request.messages,
            "max_tokens": answer_budget(request, self.decode),
            "temperature": request.temperature,
        }
        if self._seed:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = request.stop
        if self._logprobs:
            body["logprobs"] = True
            if request.labels:
                body["top_logprobs"] = MOST_TOP_LOGPROBS
        if request.tools:  # constrained decoding of a call is the server's own: it holds to the tools' schemas
            body["tools"] = request.tools
            body["tool_choice"] = "required" if self.decode == "json" else request.tool_choice
        elif self.decode == "json":
            body["response_format"] = response_format(request)
        if self.effort is not None:
            body["reasoning_effort"] = self.effort
        body |= template_fields(self.template, self._url)
        if self.streams:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if self._refused:
            body = {k: v for k, v in body.items() if not self._left_out(k)}
        for old, new in self._rename.items():
            if old in body:
                body[new] = body.pop(old)
        body = self.learned.apply(body)
        return {**body, **self.extra} if self.extra else body

    def encode(self, request: Request) -> bytes:
        """The body as it goes over the wire."""
        return _encoder.encode(self.fields(request))

    def answer_tokens(self, request: Request) -> int:
        """The most tokens the answer may have, `extra_body` considered."""
        asked = [v for k in LENGTHS if isinstance(v := self.extra.get(k), int)]
        return max(asked, default=0) or max(answer_budget(request, self.decode), self.learned.fewest_tokens)

    def control(self, request: Request) -> Request:
        """A harmless request that is asked just as `request` is."""
        return msgspec.structs.replace(
            request, id="control", repeat=0, messages=(Message(role="user", content=CONTROL),), passages=()
        )

    def most_tokens(self, request: Request) -> tuple[int, int]:
        """Bounds of prompt and answer tokens that no request passes."""
        extra = len(_encoder.encode(self.extra)) if self.extra else 0
        return most_prompt_tokens(request) + extra, self.answer_bound(request)

    def answer_bound(self, request: Request) -> int:
        """The most tokens that an answer is billed: what it may have, and what servers were seen to bill beyond."""
        return self.answer_tokens(request) + self._beyond

    def beyond_bound(self, request: Request, usage: Usage) -> bool:
        """Learn from a usage; whether it is above the bound so far. Thoughts vary in length: twice as much is taken."""
        if usage.completion_tokens <= self.answer_bound(request):
            return False
        self._beyond = 2 * (usage.completion_tokens - self.answer_tokens(request))
        return True


def classified_text(request: Request) -> str:
    """What a head reads: the row's own texts (of a request without any: its messages)."""
    return "\n\n".join(request.passage_texts() or [message.content for message in request.messages])


def template_fields(template: dict[str, Any], url: str) -> dict[str, Any]:
    """Variables of the model's chat template as a server takes them: `chat_template_kwargs` (vLLM, SGLang, llama.cpp,
    Together), or for `enable_thinking` at hosts that have a word of their own for it, that word.

    Sources: the providers' API references (DeepSeek, Z.ai, Moonshot and Volcengine: thinking.type; DashScope and
    SiliconFlow: enable_thinking; OpenRouter: reasoning.enabled; Groq and Ollama: reasoning_effort = "none").
    """
    rest = dict(template)
    host = urlsplit(url).netloc.lower()
    fields: dict[str, Any] = {}
    own = next((word for part, word in THINKING_WORDS.items() if part in host), None)
    if own is not None and isinstance(rest.get("enable_thinking"), bool):
        on = rest.pop("enable_thinking")
        if own == "thinking":
            fields["thinking"] = {"type": "enabled" if on else "disabled"}
        elif own == "reasoning":
            fields["reasoning"] = {"enabled": on}
        elif own == "reasoning_effort":
            fields |= {} if on else {"reasoning_effort": "none"}
        else:
            fields[own] = on
    return {**fields, "chat_template_kwargs": rest} if rest else fields


THINKING_WORDS = {
    "api.deepseek.com": "thinking",
    "api.z.ai": "thinking",
    "bigmodel.cn": "thinking",
    "api.moonshot": "thinking",
    "volces.com": "thinking",
    "dashscope": "enable_thinking",
    "siliconflow": "enable_thinking",
    "openrouter.ai": "reasoning",
    "api.groq.com": "reasoning_effort",
    ":11434": "reasoning_effort",
}
"""Part of a host's name (or Ollama's port) to the field that switches thinking there."""


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
    """Whether a schema is allowed at the root unchanged."""
    return schema.get("type") == "object"
