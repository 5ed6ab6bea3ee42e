"""The replay backend: recorded answers instead of a model, so that an evaluation is paid for once.

Recordings are JSONL. A line holds a conversation whose last message is the assistant's
(`{"messages": [.., {"role": "assistant", "content": ..}]}`, OpenAI's chat format), matched by its prompt; an answer by
row (`{"id": .., "text": ..}`; `custom_id` is the same as `id`); or one of OpenAI's own objects (`recorded_line`).
"""

import hashlib
import re
from array import array
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.backend import Capabilities, RunContext, RunRequirements
from harness.backends.recorded_answers import RecordedLine, prompt_key, read_line
from harness.errors import UsageError
from harness.hashing import digest, file_digest
from harness.money.prices import Price
from harness.records import BackendIdentity, Completion, Cost, Decode, Failure, Request, Timing, Usage


class ReplaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a replay backend.

    path: the JSONL file. model: what was recorded, as shown in results. decode: how those answers were taken.
    price: USD per million tokens, used where a line holds `usage`. trained_on: a file with the rows that the recorded
    model was trained on.
    """

    kind: str = "replay"
    path: str
    model: str = "recorded"
    decode: Literal["generate", "json"] = "generate"
    price: Price | None = None
    trained_on: str = ""


class Recordings:
    """Recorded answers by row id and by prompt, each in file order. They stay in their file: what is kept of a
    recording are 16 bytes, a hash of its name and its position."""

    def __init__(self, path: Path) -> None:
        self._path = path
        by_id, by_prompt = _IndexBuilder(), _IndexBuilder()
        try:
            self._file = path.open("rb")
            position = 0
            for number, raw in enumerate(self._file, 1):
                if raw.strip():
                    self._add(read_line(raw, f"{path}:{number}"), position, by_id, by_prompt)
                position += len(raw)
        except OSError as error:
            raise UsageError(f"the recordings {path} cannot be read ({error.strerror}).") from None
        self._by_id, self._by_prompt = by_id.build(), by_prompt.build()

    @staticmethod
    def _add(line: RecordedLine, position: int, by_id: "_IndexBuilder", by_prompt: "_IndexBuilder") -> None:
        if line.failed:
            return
        if line.prompt is not None:
            by_prompt.add(prompt_key(line.prompt), position)
        if line.id is not None:
            by_id.add(line.id, position)

    def find(self, request: Request) -> RecordedLine | None:
        """The recording of a request.

        By id first (`hash-3` with repeat 0 may be recorded as such; a batch of Bench's own calls it `hash-3/0`), then
        by prompt: the k-th row with the same inputs (ids end in -2, -3, ..) takes the k-th recording; a further repeat
        takes the one after.
        """
        batched = self._by_id.of(f"{request.id}/{request.repeat}")
        if len(batched):
            return self._read(batched, 0)
        exact = self._by_id.of(request.id)
        if len(exact):
            return self._read(exact, request.repeat)
        base, k = split_id(request.id)
        same = self._by_id.of(base)
        if not len(same):
            same = self._by_prompt.of(prompt_key((m.role, m.content) for m in request.messages))
        return self._read(same, k - 1 + request.repeat)

    def _read(self, positions: NDArray[np.int64], k: int) -> RecordedLine | None:
        if k >= len(positions):
            return None
        self._file.seek(int(positions[k]))
        return read_line(self._file.readline(), f"{self._path}, at byte {positions[k]}")

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


class _IndexBuilder:
    """Gathers names and positions."""

    def __init__(self) -> None:
        self._names, self._positions = array("Q"), array("q")

    def add(self, name: str, position: int) -> None:
        """A name at a position of the file."""
        self._names.append(_short_hash(name))
        self._positions.append(position)

    def build(self) -> "_Index":
        """The index of all of them."""
        names, positions = np.frombuffer(self._names, np.uint64), np.frombuffer(self._positions, np.int64)
        order = np.argsort(names, kind="stable")
        return _Index(names[order], positions[order])


@dataclass(frozen=True)
class _Index:
    """Names by their hashes, ascending, and their positions; equal ones in file order. Of 10^7 names, the chance that
    two of one hash exist is 3 in 10^6."""

    names: NDArray[np.uint64]
    positions: NDArray[np.int64]

    def of(self, name: str) -> NDArray[np.int64]:
        """Position of a name, in file order."""
        target = np.uint64(_short_hash(name))
        low = self.names.searchsorted(target, "left")
        if low == len(self.names) or self.names[low] != target:
            return self.positions[:0]
        return self.positions[low : self.names.searchsorted(target, "right")]


def _short_hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def split_id(row_id: str) -> tuple[str, int]:
    """`<hash>-k` as (hash, k); an id without a suffix is the first of its kind."""
    match = re.fullmatch(r"(.+)-(\d+)", row_id)
    return (match[1], int(match[2])) if match else (row_id, 1)


class ReplayBackend:
    """Answers from a file. A row without a recording ends as the infrastructure error "not recorded"."""

    Settings = ReplaySettings
    capabilities = Capabilities(answers_by_row=True)

    def __init__(self, name: str, settings: ReplaySettings, task_name: str, context: RunContext) -> None:
        self.name = name
        self.settings = settings
        self._path = Path(settings.path)
        self._recordings: Recordings | None = None
        self._hash: str | None = None

    def identity(self) -> BackendIdentity:
        """The recorded model; the file's hash says which recordings."""
        decode: Decode = self.settings.decode
        return BackendIdentity(
            kind="replay",
            model=self.settings.model,
            decode=decode,
            price=msgspec.to_builtins(self.settings.price) if self.settings.price else None,
            settings={"path": self.settings.path} | ({"sha256": self._hash} if self._hash else {}),
        )

    async def check(self, requirements: RunRequirements) -> None:
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

    def _answer(self, request: Request, line: RecordedLine | None) -> Completion:
        if line is None:
            message = f"{self._path} holds no answer to this row"
            return Completion(
                id=request.id, repeat=request.repeat, attempts=0, error=Failure(kind="not recorded", message=message)
            )
        cost = self.settings.price.cost(line.usage) if self.settings.price and line.usage else line.cost
        return Completion(
            id=request.id,
            repeat=request.repeat,
            text=line.text,
            reasoning=line.reasoning,
            finish=line.finish or "stop",
            usage=line.usage or Usage(),
            timing=Timing(service_s=line.service_s, first_token_s=line.first_token_s),
            cost=Cost(list=cost, incurred=0.0),
            attempts=0,
            cached=True,
            prompt_hash=digest([[m.role, m.content] for m in request.messages]),
        )

    def counters(self) -> dict[str, float]:
        """Nothing to say."""
        return {}

    async def aclose(self) -> None:
        """Forget the recordings."""
        if self._recordings is not None:
            self._recordings.close()
        self._recordings = None
