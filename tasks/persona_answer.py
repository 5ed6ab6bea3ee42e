"""Reading a persona's answer: strictly one JSON array of {"text", "emotion"}, and what could still be recovered."""

import json
from collections.abc import Iterator
from typing import Any

from harness.answers.json_scan import outermost_json
from harness.answers.labels import NOT_AN_ANSWER, answer_text
from harness.records import Completion, Lenient, Record, Score

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


class Reading(Record, frozen=True, kw_only=True):
    """What an answer holds: `parts` as strictly read (None: not well formed, then `kind` says why), `recovered`
    as a lenient reader would take them."""

    parts: tuple[dict[str, str], ...] | None = None
    kind: str | None = None
    recovered: tuple[dict[str, str], ...] = ()


def read_answer(text: str, *, cut: bool = False) -> Reading:
    """Read an answer; never raises. `cut`: the length limit ended it.

    Kinds of format error: "empty", "not JSON", "several arrays", "extra text" (before or after the one array),
    "cut off", "wrong type" (not an array, an element that is no object, a value that is no string),
    "missing key", "extra key" (a key given twice counts as extra).
    """
    text = text.strip()
    try:
        value = _load(text)
    except (ValueError, RecursionError):
        return Reading(kind=_broken(text, cut=cut), recovered=tuple(_found(text)))
    kind = _shape(value)
    if kind is not None:
        return Reading(kind=kind, recovered=tuple(_found(text)))
    parts = tuple({str(k): v for k, v in pairs} for pairs in value)
    return Reading(parts=parts, recovered=parts)


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
