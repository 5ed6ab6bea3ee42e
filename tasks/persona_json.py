"""Persona JSON: an answer in a persona's voice as one JSON array of {text, emotion}: prompt, parser, teacher."""

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.data.rows import DataRow, DataSource, open_rows
from harness.errors import DataError
from harness.metrics import FORMAT_ERROR_RATE, LENIENT_FORMAT_ERROR_RATE, Metric
from harness.records import Completion, InputSpan, Lenient, Message, Record, Request, Sample, Score, user_message
from harness.scoring.answer_reading import outermost_json
from harness.scoring.label_parsing import NOT_AN_ANSWER, answer_text

KEYS = frozenset({"text", "emotion"})

SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {"text": {"type": "string"}, "emotion": {"type": "string"}},
        "required": ["text", "emotion"],
        "additionalProperties": False,
    },
}

Parts = list[dict[str, str]]


class PersonaReading(Record, frozen=True, kw_only=True):
    """What an answer holds: `parts` as strictly read (None: not well formed, then `kind` says why), `recovered`
    as a lenient reader would take them."""

    parts: tuple[dict[str, str], ...] | None = None
    kind: str | None = None
    recovered: tuple[dict[str, str], ...] = ()


def read_answer(text: str, *, cut: bool = False) -> PersonaReading:
    """Read an answer; never raises. `cut`: the length limit ended it.

    Kinds of format error: "empty", "not JSON", "several arrays", "extra text" (before or after the one array),
    "cut off", "wrong type" (not an array, an element that is no object, a value that is no string),
    "missing key", "extra key" (a key given twice counts as extra).
    """
    text = text.strip()
    try:
        value = _load(text)
    except (ValueError, RecursionError):
        return PersonaReading(kind=_broken(text, cut=cut), recovered=tuple(_found(text)))
    kind = _shape(value)
    if kind is not None:
        return PersonaReading(kind=kind, recovered=tuple(_found(text)))
    parts = tuple({str(k): v for k, v in pairs} for pairs in value)
    return PersonaReading(parts=parts, recovered=parts)


def score_answer(completion: Completion) -> Score:
    """The verdict: a persona's answer is well formed or not; there is no right one.

    values: "recovered" is 1 where a lenient reader finds at least one part, "parts" counts those it finds.
    """
    kind = NOT_AN_ANSWER.get(completion.finish or "")
    if kind is not None:
        return Score(format=kind, values={"recovered": 0.0, "parts": 0.0})
    reading = read_answer(answer_text(completion), cut=completion.finish == "length")
    values = {"recovered": float(bool(reading.recovered)), "parts": float(len(reading.recovered))}
    return Score(
        answer=None if reading.parts is None else canonical(reading.parts),
        format=reading.kind,
        lenient=Lenient(answer=canonical(reading.recovered) if reading.recovered else None),
        values=values,
    )


def canonical(parts: tuple[dict[str, str], ...]) -> str:
    """Parts as one line of JSON, `text` before `emotion`."""
    return json.dumps([{"text": p["text"], "emotion": p["emotion"]} for p in parts], ensure_ascii=False)


class _Object(list[tuple[str, Any]]):
    """A JSON object as its key-value pairs, so that a key given twice is seen."""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_Object, parse_constant=_no_constant)


def _load(text: str) -> Any:
    return _decoder.decode(text)


def _shape(value: Any) -> str | None:
    if isinstance(value, _Object) or not isinstance(value, list):
        return "wrong type"
    if not value:
        return "empty"
    return next((kind for kind in map(_part_shape, value) if kind is not None), None)


def _part_shape(part: Any) -> str | None:
    if not isinstance(part, _Object):
        return "wrong type"
    keys = [key for key, _ in part]
    if not set(keys) >= KEYS:
        return "missing key"
    if len(keys) > len(KEYS):
        return "extra key"
    return None if all(isinstance(value, str) for _, value in part) else "wrong type"


def _broken(text: str, *, cut: bool) -> str:
    if not text:
        return "empty"
    arrays = [
        v for v, _, _ in outermost_json(text, _decoder) if isinstance(v, list) and not isinstance(v, _Object) and v
    ]
    arrays = [a for a in arrays if any(isinstance(part, _Object) for part in a)]
    if len(arrays) > 1:
        return "several arrays"
    if arrays:
        return "extra text"
    return "cut off" if cut or _ends_early(text) else "not JSON"


def _ends_early(text: str) -> bool:
    """Whether the text is a beginning of JSON: the fault is that it ends."""
    try:
        _decoder.raw_decode(text)
    except json.JSONDecodeError as error:
        return text[0] in "[{" and (error.pos >= len(text) or error.msg.startswith("Unterminated string"))
    except (ValueError, RecursionError):
        return False
    return False


def _found(text: str) -> Parts:
    """Parts that a lenient reader finds: any object with a text and an emotion, wherever it stands."""
    return [part for value, _, _ in outermost_json(text, _decoder) for part in _parts(value)]


def _parts(value: Any) -> Iterator[dict[str, str]]:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, _Object):
            fields = dict(item)
            if all(isinstance(fields.get(key), str) for key in KEYS):
                yield {key: fields[key] for key in ("text", "emotion")}
                continue
            todo += [v for _, v in reversed(item)]
        elif isinstance(item, list):
            todo += reversed(item)


PER_REQUEST = 10
LONGEST = 300

THEMES = (
    "airports", "birthdays", "breakfast", "cars", "cinemas", "cleaning", "coffee", "concerts", "cooking", "dentists",
    "dogs", "doors", "elections", "exams", "fashion", "festivals", "friends", "gardens", "gyms", "haircuts",
    "holidays", "hotels", "invitations", "jokes", "letters", "lifts", "markets", "money", "museums", "music",
    "neighbours", "newspapers", "offices", "parents", "parking", "phones", "photographs", "presents", "queues", "rain",
    "restaurants", "sleep", "small talk", "sports", "supermarkets", "taxis", "teachers", "trains", "weddings", "winter",
)  # fmt: skip


class Starters:
    """Asks a teacher for things people might say to a persona; an answer is a JSON array of strings."""

    name = "persona-json-starters"
    version = "1"
    labels: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = (FORMAT_ERROR_RATE,)
    recipe = ""

    def __init__(self, system: str) -> None:
        self.system = system

    def samples(self, source: DataSource) -> Iterable[Sample]:
        """Invented, not read."""
        raise DataError("conversation starters are invented by a teacher: bench data generate.")

    def questions(self, count: int, seed: int) -> list[Sample]:
        """Enough requests for `count` starters and half as many again, each about two themes of its own."""
        rng = random.Random(seed)
        found: dict[str, Sample] = {}
        while len(found) < max(1, -(-count * 3 // (2 * PER_REQUEST))):
            themes = " and ".join(rng.sample(THEMES, 2))
            part = str(len(found))
            found[part] = Sample.of({"system": self.system, "themes": themes, "part": part}, "", "teacher")
        return list(found.values())

    def request(self, sample: Sample) -> Request:
        """The persona and the themes."""
        head = (
            f"Below is the instruction of a persona. Write {PER_REQUEST} different things that people might say or ask "
            "to start a conversation with it, one sentence each, on the themes "
        )
        tail = f". Answer with one JSON array of strings and nothing else.\n\n{self.system}".rstrip()
        messages, passages = user_message(head, (sample.inputs["themes"], tail))
        return Request(id=sample.id, messages=messages, passages=passages, max_tokens=1024)

    def score(self, sample: Sample, completion: Completion) -> Score:
        """Well formed when at least one starter can be read."""
        kind = NOT_AN_ANSWER.get(completion.finish or "")
        starters = [] if kind else list(read_starters(answer_text(completion)))
        if not starters:
            return Score(format=kind or "no starters")
        return Score(answer=json.dumps(starters, ensure_ascii=False))

    def target(self, sample: Sample) -> str:
        """Teachers are not trained here."""
        raise DataError("teachers are not trained.")

    def invented(self, answer: str) -> list[Sample]:
        """The rows that an answer, as scored, stands for: without a reference yet."""
        return [Sample.of({"system": self.system, "user": text}, "", "teacher") for text in json.loads(answer)]


def read_starters(text: str) -> Iterator[str]:
    """The strings of the first JSON array in an answer; too short and too long ones are left out. Never raises."""
    start = text.find("[")
    if start < 0:
        return
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return
    for one in found if isinstance(found, list) else []:
        if isinstance(one, str) and 3 <= len(one.strip()) <= LONGEST:
            yield " ".join(one.encode("utf-8", "replace").decode().split())


ROLES = (["system", "user", "assistant"], ["user", "assistant"])


class PersonaJson:
    """Conversations of a persona: system, user, assistant. What counts is whether the answer is well formed."""

    name = "persona-json"
    version = "2"
    labels = ()
    metrics = (
        FORMAT_ERROR_RATE,
        LENIENT_FORMAT_ERROR_RATE,
        Metric(name="parts", row_value="parts", proportion=False, low=0.0, unit="parts"),
    )
    recipe = "llama-3.1-8b-persona"

    embedded = Path(__file__).parent / "data" / "persona"

    def samples(self, source: DataSource) -> Iterable[Sample]:
        """Rows of chat JSONL: {"messages": [system, user, assistant]}; the system message may be missing."""
        for row in open_rows(source, embedded=self.embedded):
            *asked, answer = _messages(row)
            inputs = {message["role"]: message["content"] for message in asked}
            yield Sample.of(inputs, answer["content"], source.split)

    def request(self, sample: Sample) -> Request:
        """The conversation as it is given; the user's words are the only passage."""
        messages = tuple(
            Message(role=role, content=sample.inputs[role]) for role in ("system", "user") if role in sample.inputs
        )
        last = len(messages) - 1
        return Request(
            id=sample.id,
            messages=messages,
            passages=(InputSpan(message=last, start=0, end=len(messages[last].content)),),
            schema=SCHEMA,
            max_tokens=512,
        )

    def score(self, sample: Sample, completion: Completion) -> Score:
        """Well formed or a format error by kind; beside it what a lenient reader recovers."""
        return score_answer(completion)

    def target(self, sample: Sample) -> str:
        """The answer as the data holds it."""
        return sample.reference

    def taught_row(self, sample: Sample, answer: str) -> dict[str, Any]:
        """A data row from a teacher's answer, as scored."""
        asked = [{"role": role, "content": sample.inputs[role]} for role in ("system", "user") if role in sample.inputs]
        return {"messages": [*asked, {"role": "assistant", "content": answer}]}

    def starters(self, system: str) -> Starters:
        """What a teacher is asked so that it invents the user's side."""
        return Starters(system)


def _messages(row: DataRow) -> list[dict[str, str]]:
    found: Any = row.fields.get("messages")
    if not isinstance(found, list):
        raise DataError(f'{row.place}: a conversation is {{"messages": [..]}}; this row holds {", ".join(row.fields)}.')
    roles = [m.get("role") if isinstance(m, dict) else None for m in found]
    if roles not in ROLES:
        raise DataError(f"{row.place}: the roles are {roles}; they must be system (optional), user, assistant.")
    for message in found:
        if not isinstance(message.get("content"), str):
            raise DataError(f"{row.place}: the {message['role']} message has no text in 'content'.")
    if not found[-2]["content"].strip():
        raise DataError(f"{row.place}: the user's message is empty.")
    return found
