"""Which column of a data file is the text, which the right answer, and which form the answer has."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from harness.data.row import DataRow, is_missing, value_text
from harness.errors import DataError
from harness.scoring.field_rules import read_date
from harness.scoring.number_form import read_number

LOOKED_AT = 2_000
"""Rows by which columns are guessed."""

ANSWERS = (
    "label", "labels", "class", "category", "intent", "target", "answer", "sentiment", "topic", "topics", "tags",
    "output", "completion", "response", "reference", "expected", "score", "rating", "stars", "entities", "emotion",
)  # fmt: skip
"""Names that columns of right answers bear, the likeliest first."""

MOST_LABELS = 200
ROWS_A_LABEL = 2
GENERIC = ("id", "idx", "index", "uid", "uuid", "date", "time", "timestamp", "created", "created_at", "url", "split")


@dataclass(frozen=True)
class Guess:
    """form: as the key `form` names it, or "conversation". texts: columns for the prompt; answer: the column of the
    right answer, or of conversations; labels: how many different ones; fields: rules of a record's fields; rows: how
    many were looked at."""

    form: str
    texts: tuple[str, ...]
    answer: str
    rows: int
    labels: int = 0
    fields: dict[str, str] | None = None


def guess_columns(rows: Iterable[DataRow], place: str) -> Guess:
    """Look at the first rows. Raises DataError where there are none, or no column could be the answer."""
    columns: dict[str, list[Any]] = {}
    count = 0
    for row in rows:
        count += 1
        for name, value in row.fields.items():
            columns.setdefault(name, []).append(_read(value))
        if count >= LOOKED_AT:
            break
    if not count:
        raise DataError(f"{place} holds no rows.")
    chats = next((name for name, values in columns.items() if _are_messages(values)), None)
    if chats is not None:
        return Guess("conversation", (), chats, count)
    forms = {name: form for name, values in columns.items() if (form := _form(name, values))}
    if not forms:
        raise DataError(f"{place}: no column looks like a right answer ({', '.join(columns)}): write the task by hand.")
    answer = min(forms, key=lambda name: (_rank(name, forms[name]), list(columns).index(name)))
    texts = _texts({n: v for n, v in columns.items() if n != answer})
    if not texts:
        raise DataError(f"{place}: beside '{answer}' no column holds texts: write the task by hand.")
    given = [value for value in columns[answer] if not is_missing(value) and value != ""]
    return Guess(
        form=forms[answer],
        texts=texts,
        answer=answer,
        rows=count,
        labels=len(_labels(given)) if forms[answer] in ("label", "multi-label") else 0,
        fields=_rules(given) if forms[answer] == "fields" else None,
    )


def _read(value: Any) -> Any:
    """A value; JSON text of a list or an object as that."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    return value


def _are_messages(values: list[Any]) -> bool:
    first = next((value for value in values if not is_missing(value)), None)
    if not isinstance(first, list) or not first:
        return False
    return all(isinstance(message, dict) and bool({"role", "from"} & message.keys()) for message in first)


def _labels(values: list[Any]) -> Counter[str]:
    flat = (one for value in values for one in (value if isinstance(value, list) else [value]))
    return Counter(text.strip() for one in flat if (text := value_text(one)) is not None and text.strip())


def _form(name: str, values: list[Any]) -> str | None:
    """What form a column's values have as answers; None where they are none, as far as can be seen."""
    given = [value for value in values if not is_missing(value) and value != ""]
    if not given or name.casefold() in GENERIC:
        return None
    if all(isinstance(value, dict) for value in given):
        return "fields"
    if all(isinstance(value, list) for value in given):
        if any(isinstance(one, dict) and {"text", "label"} <= one.keys() for value in given for one in value):
            return "spans"
        return "multi-label" if len(_labels(given)) <= MOST_LABELS else "json"
    texts = _labels(given)
    few = len(texts) <= min(MOST_LABELS, max(2, len(given) / ROWS_A_LABEL))
    if few and len(texts) > 1 and max(map(len, texts)) <= 60:
        return "label"
    if all(read_number(text) is not None for text in texts):
        return "number"
    return "text" if name.casefold() in ANSWERS else None


def _rank(name: str, form: str) -> tuple[int, int]:
    """Names of answers first, then forms that texts seldom have by chance."""
    known = ANSWERS.index(name.casefold()) if name.casefold() in ANSWERS else len(ANSWERS)
    return known, ("label", "multi-label", "spans", "fields", "json", "number", "text").index(form)


def _texts(columns: dict[str, list[Any]]) -> tuple[str, ...]:
    """The columns with the longest texts: all that are at least a third as long as the longest."""
    lengths = {}
    for name, values in columns.items():
        texts = [text for value in values if (text := value_text(value)) is not None]
        if texts and name.casefold() not in GENERIC and not all(read_number(text) is not None for text in texts):
            lengths[name] = sum(map(len, texts)) / len(texts)
    longest = max(lengths.values(), default=0)
    return tuple(name for name, length in lengths.items() if length >= longest / 3)


def _rules(values: list[Any]) -> dict[str, str]:
    """How each field of records is best compared."""
    rules = {}
    for name in dict.fromkeys(key for value in values for key in value):
        seen = [value[name] for value in values if not is_missing(value.get(name)) and value[name] != ""]
        if seen and all(isinstance(one, bool) for one in seen):
            rules[name] = "boolean"
        elif seen and all(isinstance(one, int | float) for one in seen):
            rules[name] = "number"
        elif seen and all(isinstance(one, list) for one in seen):
            rules[name] = "set"
        elif seen and all(isinstance(one, str) and read_date(one) is not None for one in seen):
            rules[name] = "date"
        else:
            rules[name] = "casefold"
    return rules
