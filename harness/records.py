"""The records every part of Bench exchanges: what is asked, what came back, what it is worth.

All are frozen and serialise to JSON as they stand. Backends know no tasks, scores know no models.
"""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import msgspec

from harness.hashing import digest

Decode = Literal["generate", "choose", "json", "head"]
"""How an answer is taken from a model; visible wherever results are."""

Finish = Literal["stop", "length", "refusal", "content_filter", "context_too_long"]
"""Why an answer ended. All but "stop" are answers without a label: wrong, and format errors by kind."""

JSON = str | int | float | bool | None | list[Any] | dict[str, Any]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of all records: immutable, keyword-only, unknown fields refused when decoded."""


class Message(Record, frozen=True, kw_only=True):
    """One chat message; `role` is "system", "user" or "assistant"."""

    role: str
    content: str


class InputSpan(Record, frozen=True, kw_only=True):
    """A span of the row's own text inside the messages: `messages[message].content[start:end]`.

    Classification heads and the classical baseline read only passages; only passages may be cut
    when a prompt is too long, or blanked by probes.
    """

    message: int
    start: int
    end: int


class Sample(Record, frozen=True, kw_only=True):
    """One row of a task.

    `inputs` are the texts shown to a model, `reference` is the gold answer (never part of a request),
    `group` joins rows that share a question or source, `columns` are further fields for slices.
    `id` is the hash of the inputs; the k-th repeat of the same inputs carries the suffix `-k`.
    """

    id: str
    inputs: dict[str, str]
    reference: str
    split: str
    group: str | None = None
    columns: dict[str, str] = {}

    @classmethod
    def of(
        cls,
        inputs: dict[str, str],
        reference: str,
        split: str,
        group: str | None = None,
        columns: dict[str, str] | None = None,
    ) -> "Sample":
        """A sample whose id is the hash of its inputs (without the reference)."""
        return cls(
            id=digest(inputs)[:16],
            inputs=inputs,
            reference=reference,
            split=split,
            group=group,
            columns=columns or {},
        )


class Request(Record, frozen=True, kw_only=True):
    """What every backend gets, byte for byte the same.

    `labels` is the closed set of answers (empty: free text), `schema` a JSON schema of the answer.
    """

    id: str
    repeat: int = 0
    messages: tuple[Message, ...]
    passages: tuple[InputSpan, ...] = ()
    labels: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    stop: tuple[str, ...] = ()
    max_tokens: int = 16
    temperature: float = 0.0
    seed: int = 0

    def hash(self) -> str:
        """SHA-256 of everything that is asked; id and repeat are left out."""
        return self._digest("id", "repeat")

    def cache_key(self) -> str:
        """SHA-256 of everything that is asked, and of the repeat: the k-th repeat is its own answer."""
        return self._digest("id")

    def _digest(self, *without: str) -> str:
        # Every field by name, defaults too: a default that changes must change the hash.
        return digest({k: v for k, v in msgspec.structs.asdict(self).items() if k not in without})

    def passage_texts(self) -> list[str]:
        """The row's own texts, in the order in which they stand in the prompt."""
        return [self.messages[p.message].content[p.start : p.end] for p in self.passages]


class Usage(Record, frozen=True, kw_only=True):
    """Tokens as the server or engine counted them.

    `cached_tokens` and `cache_write_tokens` are part of `prompt_tokens`, `reasoning_tokens` of `completion_tokens`.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0


class Timing(Record, frozen=True, kw_only=True):
    """Seconds. Waiting for one's turn, working, and waiting between attempts are never mixed.

    `service_s` is the successful attempt alone (in a local batch: the batch's own duration);
    `first_token_s` is undefined for choose and head, and unless the answer was streamed.
    """

    queue_s: float = 0.0
    service_s: float = 0.0
    retry_s: float = 0.0
    first_token_s: float | None = None


class Cost(Record, frozen=True, kw_only=True):
    """USD. `list` is the price of the answer, `incurred` what this run paid (0 when cached); None = unknown."""

    list: float | None = None
    incurred: float | None = None


class Failure(Record, frozen=True, kw_only=True):
    """An infrastructure error: no answer came back. Never scored as wrong, always shown."""

    kind: str
    message: str


class Completion(Record, frozen=True, kw_only=True):
    """The one end of a request that was sent: an answer (`finish`) or an infrastructure error (`error`).

    `label_scores` maps each label to its log-likelihood (choose), log-probability (head) or the server's
    log-probability; `prompt_hash` is the hash of the prompt as the backend rendered it; `cached` marks an
    answer taken from the answer cache; `notes` holds what a server said of itself (system_fingerprint, ..).
    `reasoning` holds the model's thoughts where they came with the answer; they are no part of `text`.
    """

    id: str
    repeat: int = 0
    text: str = ""
    reasoning: str = ""
    finish: Finish | None = None
    usage: Usage = Usage()
    timing: Timing = Timing()
    cost: Cost = Cost()
    attempts: int = 1
    error: Failure | None = None
    label_scores: dict[str, float] | None = None
    prompt_hash: str | None = None
    prompt_truncated: bool = False
    cached: bool = False
    notes: dict[str, str] = {}


class Lenient(Record, frozen=True, kw_only=True):
    """What a forgiving reader would have understood; stands beside the strict verdict, never instead of it."""

    answer: str | None = None
    correct: bool | None = None


class Score(Record, frozen=True, kw_only=True):
    """The verdict on one completion.

    `answer` is the parsed answer (None: not parsed), `correct` the strict verdict (None: the task has no
    right answer), `format` the kind of format error (None: well formed), `values` further per-row numbers.
    """

    answer: str | None = None
    correct: bool | None = None
    format: str | None = None
    lenient: Lenient = Lenient()
    values: dict[str, float] = {}


class LogLine(Completion, frozen=True, kw_only=True, omit_defaults=False):
    """One line of `<backend>.jsonl`: a completion, the row it answers (`n`) and its score."""

    n: int
    score: Score | None = None

    @classmethod
    def of(cls, n: int, completion: Completion, score: Score | None) -> "LogLine":
        """Join a completion with its row's position and score."""
        return cls(n=n, score=score, **{f: getattr(completion, f) for f in completion.__struct_fields__})


class Row(Record, frozen=True, kw_only=True):
    """One line of `samples.jsonl`: the row at position `n` and what was asked about it."""

    n: int
    sample: Sample
    request: Request


class Key(NamedTuple):
    """What a completion answers: a row's position and the repeat."""

    n: int
    repeat: int


def number_repeats(samples: Iterable[Sample]) -> Iterable[Sample]:
    """Give the k-th repeat (k >= 2) of the same inputs the id `<hash>-k`, in the order they come."""
    seen: dict[str, int] = {}
    for sample in samples:
        k = seen[sample.id] = seen.get(sample.id, 0) + 1
        yield numbered(sample, k)


def numbered(sample: Sample, k: int) -> Sample:
    """The k-th sample of the same inputs: from the second on its id says so."""
    return sample if k == 1 else msgspec.structs.replace(sample, id=f"{sample.id}-{k}")


class BackendIdentity(Record, frozen=True, kw_only=True):
    """What answered: stands in the manifest, in the cache key, and decides what may be compared.

    `price` is USD per million tokens as used; `settings` are further facts (dtype, device, adapter path,
    base URL, limits), never a secret; `training_usd` is what its adapter's training cost, with
    all `trainings` that it was chosen from;
    `retired` is the model's shut-down date where one is known.
    """

    kind: str
    model: str
    decode: Decode
    adapter: str | None = None
    adapter_sha256: str | None = None
    base_sha256: str | None = None
    price: dict[str, Any] | None = None
    device_hour_usd: float | None = None
    training_usd: float | None = None
    trainings: int = 1
    retired: str | None = None
    settings: dict[str, Any] = {}


def user_message(head: str, *own: tuple[str, str]) -> tuple[tuple[Message, ...], tuple[InputSpan, ...]]:
    """The messages and passages of a request that is one user message: `head`, then each own text with what stands
    behind it.

    `user_message("Q: ", (question, " A: "), (answer, "\\nRight?"))` marks question and answer.
    """
    content, passages = head, []
    for text, after in own:
        passages.append(InputSpan(message=0, start=len(content), end=len(content) + len(text)))
        content += text + after
    return (Message(role="user", content=content),), tuple(passages)
