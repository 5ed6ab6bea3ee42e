"""The records every part of Bench exchanges: what is asked, what came back, what it is worth.

All are frozen and serialise to JSON directly. Backends know no tasks, scores know no models.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from harness._moved import renamed
from harness.hashing import digest

Decode = Literal["generate", "choose", "json", "head"]
"""How an answer is taken from a model; visible wherever results are."""

Finish = Literal["stop", "length", "refusal", "content_filter", "context_too_long"]
"""Why an answer ended. All but "stop" are answers without a label: wrong, and format errors by kind."""

JSON = str | int | float | bool | None | list[Any] | dict[str, Any]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of all records: immutable, keyword-only, unknown fields refused when decoded."""


class Message(Record, frozen=True, kw_only=True):
    """One chat message.

    role: "system", "user" or "assistant". content: its text.
    """

    role: str
    content: str


class InputSpan(Record, frozen=True, kw_only=True):
    """A span of the row's own text inside the messages of a request: `messages[message].content[start:end]`.

    Classification heads and the classical baseline read only these spans; only these may be cut when a prompt is too
    long, or blanked by a leak probe.

    message: index of the message. start, end: character positions in its content, `end` exclusive.
    """

    message: int
    start: int
    end: int


class Sample(Record, frozen=True, kw_only=True):
    """One row of a task.

    id: hash of the inputs, 16 hexadecimal digits; the k-th repeat of the same inputs has the suffix `-k`. inputs: the
    texts shown to a model, by name. reference: the right answer; never part of a request. split: "train", "test" or
    another name of the data. group: joins rows that share a question or a source and are therefore not independent.
    columns: further fields, by which results can be split.
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
    """What every backend is sent, byte for byte the same.

    id: of the row. repeat: which of its repeats, from 0. messages: the conversation so far. passages: the row's own
    texts inside the messages. labels: the closed set of answers; empty for free text. schema: a JSON schema of the
    answer. stop: texts that end an answer. max_tokens: longest answer, in tokens. temperature: of sampling; 0 takes the
    most likely token. seed: of sampling, where the backend takes one. tools: what may be called, in OpenAI's shape;
    tool_choice: "auto", or "required" where something must be.
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
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str = "auto"

    def hash(self) -> str:
        """SHA-256 of everything that is asked; id and repeat are left out."""
        return self._digest("id", "repeat")

    def cache_key(self) -> str:
        """SHA-256 of everything that is asked, and of the repeat: the k-th repeat is its own answer."""
        return self._digest("id")

    def _digest(self, *without: str) -> str:
        # Every field by name, defaults too: a default that changes must change the hash. Tools came later: requests
        # without any keep the hash that they had.
        left_out = without if self.tools else (*without, "tools", "tool_choice")
        return digest({k: v for k, v in msgspec.structs.asdict(self).items() if k not in left_out})

    def passage_texts(self) -> list[str]:
        """The row's own texts, in the order of the prompt."""
        return [self.messages[p.message].content[p.start : p.end] for p in self.passages]


class Usage(Record, frozen=True, kw_only=True):
    """Tokens as the server or the engine counted them.

    prompt_tokens: of the prompt. cached_tokens: of these, read from the provider's prompt cache. cache_write_tokens: of
    these, written to it. completion_tokens: of the answer. reasoning_tokens: of these, spent on reasoning.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0


class Timing(Record, frozen=True, kw_only=True):
    """Seconds of one request. Waiting for its turn, working, and waiting between attempts are never mixed.

    queue_s: waiting before it was sent. service_s: the successful attempt alone (in a local batch: the batch's
    duration). retry_s: failed attempts and the waits between them. first_token_s: until the first token; None for
    choose and head, and unless the answer was streamed.
    """

    queue_s: float = 0.0
    service_s: float = 0.0
    retry_s: float = 0.0
    first_token_s: float | None = None


class Cost(Record, frozen=True, kw_only=True):
    """USD; None is unknown, never 0.

    list: the price of the answer by the price table. incurred: what this run paid for it (0 for a cached answer).
    """

    list: float | None = None
    incurred: float | None = None


class Failure(Record, frozen=True, kw_only=True):
    """An infrastructure error: no answer came back. Never scored as wrong, always shown.

    kind: its name in the run directory, such as "timeout". message: what happened, as a sentence.
    """

    kind: str
    message: str


class TokenLogprobs(Record, frozen=True, kw_only=True):
    """How probable a generated answer was to the model that wrote it, before sampling and constraints.

    mean, least: mean and least natural log-probability of its tokens. tokens: how many they are (reasoning, end and
    stop tokens left out).
    """

    mean: float
    least: float
    tokens: int


class Completion(Record, frozen=True, kw_only=True):
    """The one end of a request that was sent: an answer (`finish`) or an infrastructure error (`error`).

    id, repeat: of the request. text: the answer. reasoning: the model's thoughts where they came with the answer; no
    part of the text. finish: why the answer ended; None for an error. usage: tokens. timing: seconds. cost: USD.
    attempts: how often it was sent. error: what went wrong; None for an answer. label_scores: label -> its
    log-likelihood (choose), log-probability (head) or the server's log-probability. token_logprobs: of the tokens of a
    generated answer, where they are known. prompt_hash: hash of the prompt as the backend rendered it.
    prompt_truncated: whether the prompt was cut to fit. cached: whether it came from the answer cache. notes: what a
    server reported of itself (`system_fingerprint`, ..).
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
    token_logprobs: TokenLogprobs | None = None
    prompt_hash: str | None = None
    prompt_truncated: bool = False
    cached: bool = False
    notes: dict[str, str] = {}


class Lenient(Record, frozen=True, kw_only=True):
    """What a lenient parser finds in an answer; is next to the strict verdict, never instead of it.

    answer: as parsed; None where nothing was found. correct: the verdict on it; None where the task has no right
    answer.
    """

    answer: str | None = None
    correct: bool | None = None


class Score(Record, frozen=True, kw_only=True):
    """The verdict on one completion.

    answer: as parsed; None where it could not be. correct: the strict verdict; None where the task has no right answer.
    format: the kind of format error; None for a well-formed answer. lenient: what a lenient parser found. values:
    further numbers of the row, by name, which a `Metric` averages. confidence: how sure the task's own method
    `confidence` is of the answer, larger is surer; None where the task has none.
    """

    answer: str | None = None
    correct: bool | None = None
    format: str | None = None
    lenient: Lenient = Lenient()
    values: dict[str, float] = {}
    confidence: float | None = None


class LogLine(Completion, frozen=True, kw_only=True, omit_defaults=False):
    """One line of `<backend>.jsonl`: a completion, the row it answers and its score.

    n: position of the row. score: the verdict; None for an infrastructure error.
    """

    n: int
    score: Score | None = None

    @classmethod
    def of(cls, n: int, completion: Completion, score: Score | None) -> "LogLine":
        """Join a completion with its row's position and score."""
        return cls(n=n, score=score, **{f: getattr(completion, f) for f in completion.__struct_fields__})


class Row(Record, frozen=True, kw_only=True):
    """One line of `samples.jsonl`: a row and what was asked about it.

    n: position of the row, from 0. sample: the row. request: what every backend was sent.
    """

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
    """What answered: stored in the manifest, part of the cache key, and what decides whether runs are comparable.

    kind: of the backend, as in bench.toml. model: its id or path. decode: how an answer is obtained from the model.
    adapter: its id. adapter_sha256, base_sha256: of the weights. price: USD per million tokens as used.
    device_hour_usd: price of an hour of the device. training_usd: USD that training the adapter took, with all
    `trainings` that it was chosen from. trainings: how many those are. retired: the model's shut-down date, where one
    is known. temperature: by which label scores are divided to make calibrated probabilities of them, fitted on the
    adapter's validation rows; None where none was fitted. stages: of a cascade, the backends in the order
    in which they are asked. settings: further facts (dtype, device, base URL, limits), never a secret.
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
    temperature: float | None = None
    stages: tuple[str, ...] = ()
    settings: dict[str, Any] = {}


def user_message(head: str, *own: tuple[str, str]) -> tuple[tuple[Message, ...], tuple[InputSpan, ...]]:
    """The messages and passages of a request that is one user message: `head`, then each own text with the
    text after it.

    `user_message("Q: ", (question, " A: "), (answer, "\\nRight?"))` marks question and answer.
    """
    content, passages = head, []
    for text, after in own:
        passages.append(InputSpan(message=0, start=len(content), end=len(content) + len(text)))
        content += text + after
    return (Message(role="user", content=content),), tuple(passages)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        return renamed(__name__, name)
