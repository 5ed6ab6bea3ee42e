"""The training file: the very messages that `run` sends, with the target as the assistant's; checked, then JSONL."""

import hashlib
import json
from typing import Any, NamedTuple

import msgspec

from harness.adapters.hosted.hosted_recipe import HostedRecipe
from harness.adapters.training_rows import SHOWN
from harness.errors import DataError
from harness.money.prices import MESSAGE_OVERHEAD
from harness.prompting.token_counts import PER_MESSAGE, PER_REPLY, Counter
from harness.records import Message, Sample
from harness.scoring.tool_calls import read_calls
from harness.task import Task
from harness.task_loading import build_request

ROLES = ("system", "user", "assistant")
LEAST_ROWS = 10
"""Fewer training examples are refused by OpenAI, after the upload."""
MOST_BYTES = 512_000_000
"""OpenAI takes files up to this size."""

_encoder = msgspec.json.Encoder()


class Conversation(NamedTuple):
    """One row as it is uploaded. tokens: counted or estimated; most_tokens: never passed by a byte-level tokeniser."""

    sample: Sample
    messages: tuple[Message, ...]
    tokens: int
    most_tokens: int


class TrainingFile(NamedTuple):
    """A file for the provider: its rows and its bytes, one JSON object a line."""

    rows: list[Conversation]
    content: bytes

    @property
    def sha256(self) -> str:
        """Of the bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def tokens(self) -> int:
        """Of all rows, read once."""
        return sum(row.tokens for row in self.rows)

    @property
    def most_tokens(self) -> int:
        """A bound of `tokens` that no byte-level tokeniser passes."""
        return sum(row.most_tokens for row in self.rows)

    @property
    def samples(self) -> list[Sample]:
        """The rows as the task knows them."""
        return [row.sample for row in self.rows]


def write_file(
    task: Task, samples: list[Sample], counter: Counter, recipe: HostedRecipe, what: str
) -> tuple[TrainingFile, list[str]]:
    """Rows as a training file, and sentences on those left out. `what` names the rows in messages.

    Raises UsageError for rows longer than the recipe's max_length (unless options drop them), and for a file
    that no provider takes.
    """
    rows = [_conversation(task, sample, counter) for sample in samples]
    flawed = {row.sample.id: flaw for row in rows if (flaw := flaw_of(row.messages))}
    remarks = []
    if flawed:
        named = ", ".join(f"{i} ({flaw})" for i, flaw in list(flawed.items())[:SHOWN])
        remarks.append(f"{len(flawed)} of {len(rows)} {what} rows cannot be uploaded and are left out: {named}.")
    rows = [row for row in rows if row.sample.id not in flawed]
    rows, more = _fitting(rows, recipe, counter, what)
    content = b"".join(_encoder.encode(_line(task, row)) + b"\n" for row in rows)
    if len(content) > MOST_BYTES:
        raise DataError(
            f"the {what} file has {len(content):,} bytes, a provider takes {MOST_BYTES:,}: take fewer rows (--limit)."
        )
    return TrainingFile(rows, content), remarks + more


def flaw_of(messages: tuple[Message, ...]) -> str | None:
    """Why a provider would refuse a conversation; None where it would not."""
    roles = [m.role for m in messages]
    unknown = next((role for role in roles if role not in ROLES), None)
    if unknown is not None:
        return f"unknown role '{unknown}'"
    if "user" not in roles:
        return "no user message"
    if "system" in roles[1:]:
        return "a system message that is not the first"
    empty = next((m.role for m in messages if not m.content.strip()), None)
    return f"empty {empty} message" if empty is not None else None


def _line(task: Task, row: Conversation) -> dict[str, Any]:
    """A row as providers take it; a call of a tool is no text there."""
    tools = build_request(task, row.sample).tools
    calls, alone = read_calls(row.messages[-1].content) if tools else ([], False)
    if not alone:
        return {"messages": row.messages, **({"tools": tools} if tools else {})}
    written = [
        {
            "id": f"call_{n}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments or {}, ensure_ascii=False)},
        }
        for n, call in enumerate(calls)
    ]
    return {"messages": [*row.messages[:-1], {"role": "assistant", "tool_calls": written}], "tools": tools}


def _conversation(task: Task, sample: Sample, counter: Counter) -> Conversation:
    messages = (*build_request(task, sample).messages, Message(role="assistant", content=task.target(sample)))
    tokens = PER_REPLY + sum(PER_MESSAGE + counter.count(m.role) + counter.count(m.content) for m in messages)
    if not counter.approximate:
        return Conversation(sample, messages, tokens, tokens)
    most = MESSAGE_OVERHEAD + sum(len(m.content.encode("utf-8", "replace")) + MESSAGE_OVERHEAD for m in messages)
    return Conversation(sample, messages, tokens, most)


def _fitting(
    rows: list[Conversation], recipe: HostedRecipe, counter: Counter, what: str
) -> tuple[list[Conversation], list[str]]:
    """Rows within max_length: a provider would cut longer ones, their answers first."""
    room = recipe.max_length
    long = [row for row in rows if room is not None and row.tokens > room]
    if not long:
        return rows, []
    longest = max(row.tokens for row in long)
    about = f" (counted as {counter.name})" if counter.approximate else ""
    if recipe.too_long == "refuse":
        raise DataError(
            f"{len(long)} of {len(rows)} {what} rows need more than {room} tokens{about}, the longest {longest}; the "
            "provider would cut their answers: raise max_length where the model allows it, or --set too_long=drop."
        )
    remark = f"{len(long)} of {len(rows)} {what} rows need more than {room} tokens{about} and are left out."
    return [row for row in rows if row.tokens <= (room or 0)], [remark]
