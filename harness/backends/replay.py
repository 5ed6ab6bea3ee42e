"""The replay backend: recorded answers instead of a model, so that an evaluation is paid for once.

Recordings are JSONL. A line holds either a conversation whose last message is the assistant's
(`{"messages": [.., {"role": "assistant", "content": ..}]}`, OpenAI's chat format), matched by its prompt, or
an answer by row (`{"id": .., "text": ..}`; `custom_id` is the same as `id`).
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.backend import Needs, RunContext
from harness.errors import UsageError
from harness.hashing import digest, file_digest
from harness.identity import Identity
from harness.money.prices import Price
from harness.records import Completion, Cost, Decode, Failure, Finish, Request, Usage


class ReplaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a replay backend.

    path: the JSONL file. model: what was recorded, as shown in results. decode: how those answers were taken.
    price: USD per million tokens, used where a line holds `usage`.
    """

    kind: str = "replay"
    path: str
    model: str = "recorded"
    decode: Literal["generate", "json"] = "generate"
    price: Price | None = None


class _Line(msgspec.Struct):
    """A line as it may be written; unknown fields are skipped."""

    messages: list[dict[str, Any]] | None = None
    id: str | None = None
    custom_id: str | None = None
    text: str | None = None
    finish: Finish | None = None
    usage: Usage | None = None


class Recordings:
    """Recorded answers by row id and by prompt, each list in file order."""

    def __init__(self, path: Path) -> None:
        self.by_id: dict[str, list[_Line]] = {}
        self.by_prompt: dict[str, list[_Line]] = {}
        decoder = msgspec.json.Decoder(_Line)
        try:
            with path.open("rb") as file:
                for number, raw in enumerate(file, 1):
                    if raw.strip():
                        self._add(_decode(decoder, raw, f"{path}:{number}"), f"{path}:{number}")
        except OSError as error:
            raise UsageError(f"the recordings {path} cannot be read ({error.strerror}).") from None

    def _add(self, line: _Line, place: str) -> None:
        name = line.id or line.custom_id
        if line.messages is not None:
            *prompt, last = line.messages or [{}]
            if last.get("role") != "assistant" or not isinstance(last.get("content"), str):
                raise UsageError(f"{place}: the last message must be the assistant's, with text as its content.")
            line.text = last["content"] if line.text is None else line.text
            self.by_prompt.setdefault(
                _prompt_key((str(m.get("role")), str(m.get("content"))) for m in prompt), []
            ).append(line)
        if name is not None:
            self.by_id.setdefault(name, []).append(line)
        if line.text is None or (line.messages is None and name is None):
            raise UsageError(f'{place}: a recording needs "messages", or "id" (or "custom_id") with "text".')

    def find(self, request: Request) -> _Line | None:
        """The recording of a request.

        By id first (`hash-3` with repeat 0 may be recorded as such), then by prompt: the k-th row with the
        same inputs (ids end in -2, -3, ..) takes the k-th recording; a further repeat takes the one after.
        """
        exact = self.by_id.get(request.id)
        if exact is not None:
            return exact[request.repeat] if request.repeat < len(exact) else None
        base, k = split_id(request.id)
        same = (
            self.by_id.get(base) or self.by_prompt.get(_prompt_key((m.role, m.content) for m in request.messages)) or []
        )
        position = k - 1 + request.repeat
        return same[position] if position < len(same) else None


def split_id(row_id: str) -> tuple[str, int]:
    """`<hash>-k` as (hash, k); an id without a suffix is the first of its kind."""
    match = re.fullmatch(r"(.+)-(\d+)", row_id)
    return (match[1], int(match[2])) if match else (row_id, 1)


def _prompt_key(messages: Any) -> str:
    return digest([[role, content] for role, content in messages])


def _decode(decoder: msgspec.json.Decoder[_Line], raw: bytes, place: str) -> _Line:
    try:
        return decoder.decode(raw)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{place}: not a recording ({error}).") from None


class ReplayBackend:
    """Answers from a file. A row without a recording ends as the infrastructure error "not recorded"."""

    Settings = ReplaySettings

    def __init__(self, name: str, settings: ReplaySettings, task_name: str, context: RunContext) -> None:
        self.name = name
        self.settings = settings
        self._path = Path(settings.path)
        self._recordings: Recordings | None = None
        self._hash: str | None = None

    def identity(self) -> Identity:
        """The recorded model; the file's hash says which recordings."""
        decode: Decode = self.settings.decode
        return Identity(
            kind="replay",
            model=self.settings.model,
            decode=decode,
            price=msgspec.to_builtins(self.settings.price) if self.settings.price else None,
            settings={"path": self.settings.path} | ({"sha256": self._hash} if self._hash else {}),
        )

    async def check(self, needs: Needs) -> None:
        """Read the file. Raises UsageError naming a line that is no recording."""
        self._load()

    def _load(self) -> Recordings:
        if self._recordings is None:
            self._recordings = Recordings(self._path)
            self._hash = file_digest(self._path)
        return self._recordings

    async def stream(self, requests: AsyncIterator[Request], state_dir: Path) -> AsyncIterator[Completion]:
        """Recorded answers in the order asked."""
        recordings = self._load()
        async for request in requests:
            yield self._answer(request, recordings.find(request))

    def _answer(self, request: Request, line: _Line | None) -> Completion:
        if line is None:
            message = f"{self._path} holds no answer to this row"
            return Completion(
                id=request.id, repeat=request.repeat, attempts=0, error=Failure(kind="not recorded", message=message)
            )
        cost = self.settings.price.cost(line.usage) if self.settings.price and line.usage else None
        return Completion(
            id=request.id,
            repeat=request.repeat,
            text=line.text or "",
            finish=line.finish or "stop",
            usage=line.usage or Usage(),
            cost=Cost(list=cost, incurred=0.0),
            attempts=0,
            cached=True,
            prompt_hash=_prompt_key((m.role, m.content) for m in request.messages),
        )

    def counters(self) -> dict[str, float]:
        """Nothing to say."""
        return {}

    async def aclose(self) -> None:
        """Forget the recordings."""
        self._recordings = None
