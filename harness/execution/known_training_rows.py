"""The rows of a file that a model was trained on elsewhere, as the contamination check compares them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.data.contamination import Signatures
from harness.data.json_rows import read_json
from harness.data.rows import DataSource
from harness.data.shared_text import SharedText, without_shared
from harness.errors import DataError, UsageError
from harness.task import Task
from harness.task_loading import build_request, load_rows


def read_training_file(task: Task, file: Path) -> Signatures:
    """Signatures of the rows in `file`: rows as the task reads them, or a chat file of another trainer.

    Of a chat file the user's texts count, without what all of them begin and end with (the prompt's own words).
    Raises UsageError where it is neither.
    """
    if not file.exists():
        raise DataError(f"the training rows {file}: there is no such file.")
    try:
        rows = load_rows(task, DataSource(location=str(file), split="train"))
    except UsageError as error:
        texts = _chat_texts(file)
        if texts is None:
            raise DataError(
                f"the training rows {file} can be read neither as rows of {task.name} ({str(error).rstrip('.')}) nor "
                'as a chat file (lines with "messages", "conversations" or "prompt").'
            ) from None
        return Signatures.of(_without_template(texts))
    return Signatures.of(build_request(task, sample).passage_texts() for sample in rows)


def _chat_texts(file: Path) -> list[str] | None:
    """The user's text of every line; None where no line holds a conversation."""
    if file.is_dir():
        return None
    try:
        found = [_user_text(row.fields) for row in read_json(file)]
    except UsageError:
        return None
    texts = [text for text in found if text]
    return texts or None


def _user_text(fields: dict[str, Any]) -> str:
    """What a training row asks, in the forms of OpenAI and TRL, ShareGPT, and Alpaca; "" where it has none of them."""
    for key in ("messages", "conversations", "prompt"):
        turns = fields.get(key)
        if isinstance(turns, list):
            asked = [_content(turn) for turn in turns if isinstance(turn, dict) and _is_user(turn)]
            return "\n".join(text for text in asked if text)
    for key in ("prompt", "instruction"):
        if isinstance(fields.get(key), str):
            return "\n".join(filter(None, (fields[key], str(fields.get("input") or ""))))
    return ""


def _is_user(turn: dict[str, Any]) -> bool:
    return str(turn.get("role") or turn.get("from")) in ("user", "human")


def _content(turn: dict[str, Any]) -> str:
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _without_template(texts: Sequence[str]) -> Iterator[list[str]]:
    """Each text without the beginning and the end that all of them share, where there are several texts."""
    shared = SharedText()
    for text in texts:
        shared.add(text)
    for own in without_shared(texts, shared.around()):
        yield [own]
