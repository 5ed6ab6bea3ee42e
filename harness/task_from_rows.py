"""A task file for rows that a user brings: columns and answer form guessed, rows split."""

import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness.data.row import DataRow, is_missing, value_text
from harness.data.rows import DataSource, open_rows
from harness.data.splitting import json_line, split_rows
from harness.errors import DataError
from harness.prompting.templates import named_in_prompt
from harness.scoring.field_rules import read_date
from harness.scoring.number_form import read_number
from harness.task_loading import collect_data_warnings
from harness.text_format import count_noun

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


TEST_SHARE = 0.2
SHOWN = 5
"""Doubtful labels that are named."""


class GuessedTask(NamedTuple):
    """The text of the task file, the training and test rows as JSON lines, and what was guessed, as sentences."""

    task: str
    train: str
    test: str
    remarks: tuple[str, ...]


def guessed_task(source: Path, folder: str) -> GuessedTask:
    """A task for the rows of a file or of a folder with splits; `folder`: where the task file looks for the rows.

    Raises UsageError for a file that cannot be read, or of which nothing can be guessed.
    """
    with collect_data_warnings() as remarks, tempfile.TemporaryDirectory() as name:
        aside = Path(name)
        if source.is_dir():
            for split in ("train", "test"):
                rows = open_rows(DataSource(location=str(source), split=split))
                (aside / f"{split}.jsonl").write_bytes(b"".join(json_line(row) + b"\n" for row in rows))
        else:
            split_rows(lambda: open_rows(DataSource(location=str(source))), aside, TEST_SHARE, "random", None, 0)
        train, test = ((aside / f"{split}.jsonl").read_text("utf-8") for split in ("train", "test"))
        guess = guess_columns(open_rows(DataSource(location=str(aside), split="train")), str(source))
    left_out = 0
    if guess.form not in ("conversation", "multi-label"):  # there, nothing is a right answer
        (train, without), (test, more) = (_complete(text, guess) for text in (train, test))
        left_out = without + more
    counts = {"train": train.count("\n"), "test": test.count("\n")}
    all_remarks = [*dict.fromkeys(remarks), *sentences_of_guess(guess, counts, split=not source.is_dir())]
    if left_out:
        empty = " or ".join([f"in '{guess.answer}'", "in " + " and ".join(f"'{name}'" for name in guess.texts)])
        all_remarks.append(f"left out: {count_noun(left_out, 'row')} without a value {empty}.")
    if guess.form == "label":
        labels = Counter(value_text(row[guess.answer]) or "" for row in map(_row, _lines(train + test)))
        all_remarks += doubtful_labels(labels, guess.answer)
    return GuessedTask(task_of_guess(guess, folder), train, test, tuple(all_remarks))


def _row(line: str) -> dict[str, Any]:
    return msgspec.json.decode(line, type=dict[str, Any])


def _complete(lines: str, guess: Guess) -> tuple[str, int]:
    """The lines whose rows have a right answer and a text, and how many lack one."""
    rows = _lines(lines)
    kept = [line for line in rows if _has_both(_row(line), guess)]
    return "".join(f"{line}\n" for line in kept), len(rows) - len(kept)


def _lines(text: str) -> list[str]:
    """Lines of JSON; a text may hold characters that str.splitlines takes for the end of a line."""
    return [line for line in text.split("\n") if line]


def _has_both(row: dict[str, Any], guess: Guess) -> bool:
    def given(name: str) -> bool:
        value = row.get(name)
        return not is_missing(value) and (not isinstance(value, str) or bool(value.strip()))

    return given(guess.answer) and any(map(given, guess.texts))


RARE = 0.1
"""A label that is spelled almost like another is doubtful where it has at most this share of the other's rows."""


def doubtful_labels(counts: Counter[str], column: str) -> list[str]:
    """A sentence for the labels that may be another label, misspelled: written in another case, or rare and close."""
    doubts = []
    for label, rows in sorted(counts.items()):
        others = [name for name, own in counts.items() if own > rows or (own == rows and name < label)]
        same = [name for name in others if name.strip().casefold() == label.strip().casefold()]
        close = get_close_matches(label, [name for name in others if rows <= RARE * counts[name]], n=1, cutoff=0.8)
        if found := [*same, *close]:
            doubts.append(f"'{label}' ({count_noun(rows, 'row')}) is like '{found[0]}' ({counts[found[0]]:,})")
    if not doubts:
        return []
    more = f"; and {len(doubts) - SHOWN} more" if len(doubts) > SHOWN else ""
    return [f"labels of '{column}' that may be misspelled: {'; '.join(doubts[:SHOWN])}{more}. Each counts as a label."]


def task_of_guess(guess: Guess, folder: str) -> str:
    """The task file for guessed columns."""
    if guess.form == "conversation":
        return f'messages = "{guess.answer}"            # its last turn is the right answer\ndata = "{folder}"\n'
    own = "\n".join(named_in_prompt(column) for column in guess.texts)
    asked = {
        "label": "Which of these is it: {{ labels }}? Answer with that and nothing else.",
        "multi-label": "Which of these apply: {{ labels }}? Name them with commas between, or none.",
        "number": f"Give the {guess.answer} as a number and nothing else.",
        "fields": f"Answer with one JSON object: {', '.join(guess.fields or ())}. A value that is not there is null.",
        "spans": 'Answer with a JSON list of {"text", "label"}; the labels are {{ labels }}.',
        "json": f"Give the {guess.answer} as JSON.",
    }.get(guess.form, f"Give the {guess.answer} and nothing else.")
    quotes = '"""'
    lines = [f"prompt = {quotes}\n{asked}\n\n{own}\nAnswer:{quotes}", f"reference = {_quoted(guess.answer)}"]
    lines += [f'form = "{guess.form}"'] if guess.form in ("multi-label", "spans", "number", "json") else []
    lines += ['labels = "train"'] if guess.form in ("label", "multi-label", "spans") else []
    lines += [f'data = "{folder}"']
    if guess.fields:
        lines += ["", "[fields]", *(f'{_quoted(name)} = "{rule}"' for name, rule in guess.fields.items())]
    return "\n".join(lines) + "\n"


def sentences_of_guess(guess: Guess, counts: dict[str, int], *, split: bool) -> list[str]:
    """What was guessed, for people to check."""
    sentences = [f"rows: {counts['train']:,} for training and {counts['test']:,} for evaluation"
            + (", split at random (`bench data split` splits by group or time)." if split else ".")]  # fmt: skip
    if guess.form == "conversation":
        return [*sentences, f"the column '{guess.answer}' holds conversations; their last turn is the right answer."]
    labels = f" with {guess.labels} labels" if guess.labels else ""
    sentences.append(f"the right answer is the column '{guess.answer}', of the form {guess.form}{labels}.")
    return [
        *sentences,
        f"the prompt shows {' and '.join(repr(text) for text in guess.texts)}. Change in the task file what is wrong.",
    ]


def _quoted(text: str) -> str:
    """A text as TOML writes it, as a key or as a value."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
