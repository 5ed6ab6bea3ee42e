"""Parameters that a server refuses, learned from its own words: each is renamed, changed or left out once.

A table of model families (`capabilities.toml`) saves the first refusal where the family is known. Names of models at
gateways and in deployments say little ("my-gpt5"), and what a family takes changes; the 400 that names the parameter
decides. What would change the question (messages, model, response_format, template variables) is never left out.
"""

import re
from typing import Any

from harness.api.server_error import ServerError

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
    """What one backend has learned. `sentences` tell it, in the order of learning."""

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
            told = self._length(name, sent, error) if name in LENGTHS else self._optional(name, sent, error)
            if told:
                self.sentences.append(told)
                return self.apply(sent) != sent
        return False

    def _length(self, name: str, sent: dict[str, Any], error: ServerError) -> str:
        least = _AT_LEAST.search(error.message)
        if least is not None and sent[name] < int(least[1]) <= 4096:
            self.fewest_tokens = int(least[1])
            return f"answers may have {least[1]} tokens: the server takes no smaller {name}"
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
    """Whether an error is about a parameter: it stands in its `param`, or in its words as a name."""
    if error.param.rsplit(".", 1)[-1].strip("'\"`") == name:
        return True
    if "_" in name or name in _PLAIN_WORDS:
        pattern = rf"(?<![\w]){name}(?![\w])"
    else:
        pattern = rf"['\"`]{name}['\"`]|\bbody\.{name}\b|\b{name}:"
    return re.search(pattern, error.message.lower()) is not None
