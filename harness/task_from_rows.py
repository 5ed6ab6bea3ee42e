"""A task file for rows that a user brings: columns guessed, rows split."""

import tempfile
from pathlib import Path
from typing import NamedTuple

from harness.data.rows import DataSource, open_rows
from harness.data.splitting import json_line, split_rows
from harness.prompting.templates import named_in_prompt
from harness.scoring.column_guess import Guess, guess_columns
from harness.task_loading import collect_data_warnings

TEST_SHARE = 0.2


class GuessedTask(NamedTuple):
    """The text of the task file, the training and test rows as JSON lines, and what was guessed, as sentences."""

    task: str
    train: str
    test: str
    said: tuple[str, ...]


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
    counts = {"train": train.count("\n"), "test": test.count("\n")}
    said = (*dict.fromkeys(remarks), *sentences_of_guess(guess, counts, split=not source.is_dir()))
    return GuessedTask(task_of_guess(guess, folder), train, test, said)


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
    said = [f"rows: {counts['train']:,} for training and {counts['test']:,} for evaluation"
            + (", split at random (bench data split splits by group or time)." if split else ".")]  # fmt: skip
    if guess.form == "conversation":
        return [*said, f"the column '{guess.answer}' holds conversations; their last turn is the right answer."]
    labels = f" with {guess.labels} labels" if guess.labels else ""
    said.append(f"the right answer is the column '{guess.answer}', of the form {guess.form}{labels}.")
    return [
        *said,
        f"the prompt shows {' and '.join(repr(text) for text in guess.texts)}. Change in the task file what is wrong.",
    ]


def _quoted(text: str) -> str:
    """A text as TOML writes it, as a key or as a value."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
