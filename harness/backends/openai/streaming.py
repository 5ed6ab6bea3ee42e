"""Reading a streamed answer from its bytes: events of any shape, or the whole answer of a server that streams none."""

import codecs
import time
from collections.abc import AsyncIterable
from typing import Any, NamedTuple

from harness.backends.openai.answer_parsing import (
    BadBodyError,
    ChatAnswer,
    MessageParts,
    ReportedError,
    decode,
    first_choice,
    first_words,
    message_of,
    read_answer,
    whole_answer,
)
from harness.backends.openai.error_body import server_error
from harness.backends.openai.token_usage import usage_of
from harness.records import Usage

DONE = "[DONE]"
SIDE_FIELDS = ("model", "system_fingerprint", "service_tier")


class StreamedAnswer(NamedTuple):
    """The answer, and seconds until its first piece came (None: it came whole)."""

    answer: ChatAnswer
    first_token_s: float | None


class StreamReader:
    """Takes the data of events in and ends as a whole answer."""

    def __init__(self) -> None:
        self.parts = MessageParts()
        self.side: dict[str, Any] = {}
        self.choice: dict[str, Any] = {}
        self.reason: Any = None
        self.usage: Usage | None = None
        self.done = False
        self.events = 0
        self._logprobs: list[Any] = []

    def take(self, data: str) -> bool:
        """The data of one event; whether it brought a piece of the answer. Raises BadBodyError and ReportedError."""
        if self.done or not data.strip():
            return False
        if data.strip() == DONE:
            self.done = True
            return False
        event = decode(data)
        if not isinstance(event, dict):
            raise BadBodyError(
                f"the stream holds an event that is no JSON object: {first_words(data.encode())}", self.usage
            )
        self.events += 1
        self.usage = usage_of(event) or self.usage
        self.side |= {k: event[k] for k in SIDE_FIELDS if event.get(k)}
        choice = first_choice(event)
        reported = bool({"error", "code", "detail", "errors"} & set(event)) or event.get("object") == "error"
        error = server_error(event, answered=choice is not None or not reported)
        if error is not None:
            raise ReportedError(error, self.usage)
        if choice is None:
            return False
        self.reason = choice.get("finish_reason") or self.reason
        if choice.get("error"):
            self.choice["error"] = choice["error"]
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
            self._logprobs += logprobs["content"]
        return self.parts.add(message_of(choice))

    def end(self) -> ChatAnswer:
        """The whole answer. Raises BadBodyError for a stream that broke off, ReportedError for one that ended so."""
        if self.reason is None and not self.done:
            raise BadBodyError("the stream ended before the answer did", self.usage)
        if self._logprobs:
            self.choice["logprobs"] = {"content": self._logprobs}
        return whole_answer(self.side, self.choice, self.parts, self.reason, self.usage)


async def read_stream(chunks: AsyncIterable[bytes], began: float) -> StreamedAnswer:
    """Read the bytes of a body as server-sent events (HTML standard, section 9.2: lines end with CR, LF or both, an
    empty line ends an event); a body that holds none of them is read as a whole answer.

    began: when it was sent, by time.perf_counter. Raises BadBodyError and ReportedError.
    """
    reader, lines = StreamReader(), _Lines()
    first: float | None = None
    async for chunk in chunks:
        for data in lines.feed(chunk):
            if reader.take(data) and first is None:
                first = time.perf_counter() - began
    for data in lines.close():
        reader.take(data)
    if not lines.events:
        return StreamedAnswer(read_answer(bytes(lines.raw)), None)
    return StreamedAnswer(reader.end(), first)


class _Lines:
    """Bytes to the data of events. `raw` keeps what came before the first event."""

    def __init__(self) -> None:
        self.raw = bytearray()
        self.events = 0
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._open = ""
        self._data: list[str] = []
        self._name = ""

    def feed(self, chunk: bytes) -> list[str]:
        """The data of events that end with these bytes."""
        if not self.events:
            self.raw += chunk
        text = self._open + self._text.decode(chunk)
        pending = "\r" if text.endswith("\r") else ""  # its LF may come with the next chunk
        *whole, self._open = _split(text.removesuffix("\r"))
        self._open += pending
        return self._take(whole)

    def close(self) -> list[str]:
        """What is left at the end: an event that no empty line has ended counts."""
        rest = _split((self._open + self._text.decode(b"", True)).removesuffix("\r"))
        return self._take([*rest, ""])

    def _take(self, lines: list[str]) -> list[str]:
        found = []
        for line in lines:
            name, colon, value = line.lstrip("\ufeff").partition(":")
            if name == "data" and colon:
                self._data.append(value.removeprefix(" "))
                self.events += 1
            elif name == "event" and colon:
                self._name = value.strip()
            elif not line:
                data = "\n".join(self._data)
                if data:
                    found.append(f'{{"error": {data}}}' if self._name == "error" else data)
                self._data, self._name = [], ""
        return found


def _split(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
