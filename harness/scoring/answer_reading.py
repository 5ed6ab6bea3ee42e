"""What all forms of answer share: JSON within a text, answers that say nothing, equality, the verdict."""

import json
from collections.abc import Iterator
from typing import Any

from harness.records import Completion, Lenient, Score
from harness.scoring.label_parsing import NOT_AN_ANSWER, answer_text
from harness.text_normalization import canonical_text

MANY_STARTS = 500
"""Where an answer offers more beginnings of JSON than this, the rest is not looked at."""


def outermost_json(text: str, decoder: json.JSONDecoder) -> Iterator[tuple[Any, int, int]]:
    """Every outermost JSON array or object that is complete in the text, with its start and end. Never raises."""
    at = starts = 0
    while starts < MANY_STARTS:
        at = min((p for p in (text.find("[", at), text.find("{", at)) if p >= 0), default=-1)
        if at < 0:
            return
        starts += 1
        try:
            value, end = decoder.raw_decode(text, at)
        except RecursionError:  # nested for its own sake: every further beginning would cost as much
            return
        except ValueError:
            at += 1
            continue
        yield value, at, end
        at = end


def no_answer(completion: Completion) -> str | None:
    """The format error of an answer that says nothing: refusals and filters by their names, "empty"; else None."""
    kind = NOT_AN_ANSWER.get(completion.finish or "")
    return kind or (None if canonical_text(answer_text(completion)).strip() else "empty")


def verdict(
    answer: str | None, kind: str | None, reference: str, guess: str | None, *, right: bool, alike: bool
) -> Score:
    """A score from the strict and the lenient reading; without a reference nothing is right or wrong."""
    strict = None if kind else answer
    if kind in NOT_AN_ANSWER.values() or kind == "empty":
        guess, alike = None, False
    if not reference:
        return Score(answer=strict, format=kind, lenient=Lenient(answer=guess))
    return Score(
        answer=strict,
        correct=kind is None and right,
        format=kind,
        lenient=Lenient(answer=guess, correct=alike),
    )


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


DECODER = json.JSONDecoder(parse_constant=_no_constant)


def parsed_json(text: str) -> tuple[Any] | None:
    """The value of a text that is JSON as a whole, in a tuple; None for any other."""
    try:
        return (DECODER.decode(text.strip()),)
    except (ValueError, RecursionError):
        return None


def same_json(one: Any, other: Any) -> bool:
    """Equality of JSON, not of Python: true is not 1, and 1.0 is 1. Texts are compared as `canonical_text`."""
    import jsonschema  # takes longer to load than most answers to read

    try:
        return bool(jsonschema.Draft202012Validator({"const": _canonical(other)}).is_valid(_canonical(one)))
    except RecursionError:
        return False


def _canonical(value: Any) -> Any:
    if isinstance(value, str):
        return canonical_text(value)
    if isinstance(value, dict):
        return {canonical_text(key): _canonical(inner) for key, inner in value.items()}
    return [_canonical(inner) for inner in value] if isinstance(value, list) else value


def json_text(value: Any, *, in_order: bool = False) -> str:
    """A value as JSON, keys sorted, or in the order that they have."""
    return json.dumps(value, ensure_ascii=False, sort_keys=not in_order)


def json_values(text: str) -> list[tuple[Any, tuple[int, int]]]:
    """The whole text as JSON, else every outermost array or object that it contains, with its position."""
    whole = parsed_json(text)
    if whole is not None:
        return [(whole[0], (0, len(text)))]
    return [(value, (start, end)) for value, start, end in outermost_json(text, DECODER)]
