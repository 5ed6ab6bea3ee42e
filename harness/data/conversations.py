"""Conversations: a list of {role, content} in a column, the last turn of which is the right answer."""

from typing import Any

import msgspec

from harness.data.row import DataRow, kind_of
from harness.errors import DataError
from harness.records import InputSpan, Message

ASKING = ("system", "user", "assistant")
SPELLINGS = {"developer": "system", "human": "user", "gpt": "assistant", "model": "assistant"}
"""Roles as other data sets call them."""

Turn = dict[str, Any]


def read_conversation(row: DataRow, column: str) -> list[Turn]:
    """The turns of a row, roles in our spelling; a column of JSON text is read as JSON. Raises DataError."""
    given = row.value(column)
    if isinstance(given, str):
        try:
            given = msgspec.json.decode(given)
        except msgspec.DecodeError:
            raise DataError(f"{row.place}: column '{column}' is no JSON list of messages.") from None
    if not isinstance(given, list) or not given:
        raise DataError(f"{row.place}: column '{column}' holds {kind_of(given)}, not a list of {{role, content}}.")
    turns = []
    for number, one in enumerate(given, 1):
        turn = _plain(one)
        if turn is None or turn["role"] not in ASKING:
            what = f"the role '{one.get('role', one.get('from'))}'" if isinstance(one, dict) else kind_of(one)
            raise DataError(
                f"{row.place}: message {number} has {what}: a conversation has messages of system, user and assistant."
            )
        turns.append(turn)
    return turns


def _plain(message: Any) -> Turn | None:
    """A message with `role` and `content`; shapes of other data sets ({"from", "value"}, parts) are read alike."""
    if not isinstance(message, dict):
        return None
    role = str(message.get("role", message.get("from", "")))
    content = message.get("content", message.get("value"))
    if isinstance(content, list) and all(isinstance(part, dict) and "text" in part for part in content):
        content = "".join(str(part["text"]) for part in content)
    return {**message, "role": SPELLINGS.get(role, role), "content": content}


def asked_turns(turns: list[Turn], row: DataRow, *, answered: bool) -> list[Turn]:
    """The turns that a model is shown: all, or all but the last, which is then an answer. Raises DataError for a
    conversation that does not end so, a turn without text, and calls of tools before the last turn."""
    asked = turns[:-1] if answered else turns
    if answered and turns[-1]["role"] != "assistant":
        raise DataError(f"{row.place}: the conversation ends with a {turns[-1]['role']} message, and the last turn is "
                        "the right answer: it must be the assistant's.")  # fmt: skip
    if not asked or asked[-1]["role"] != "user":
        raise DataError(f"{row.place}: a user's message must come before the answer.")
    for number, turn in enumerate(asked, 1):
        if not isinstance(turn["content"], str) or turn.get("tool_calls"):
            raise DataError(
                f"{row.place}: message {number} holds no text; calls of tools are read in the last turn only."
            )
    return asked


def inputs_of(asked: list[Turn]) -> dict[str, str]:
    """Turns as the inputs of a row: `001 user`, `002 assistant`, .."""
    return {f"{number:03} {turn['role']}": turn["content"] for number, turn in enumerate(asked, 1)}


def messages_of(inputs: dict[str, str], system: str | None) -> tuple[tuple[Message, ...], tuple[InputSpan, ...]]:
    """Messages and passages of a row's inputs; `system` goes before a conversation that has no system message."""
    messages = [Message(role=name.partition(" ")[2], content=inputs[name]) for name in sorted(inputs)]
    if system and messages[0].role != "system":
        messages.insert(0, Message(role="system", content=system))
    messages[-1] = msgspec.structs.replace(messages[-1], content=messages[-1].content.rstrip())
    spans = (InputSpan(message=n, start=0, end=len(m.content)) for n, m in enumerate(messages) if m.role != "system")
    return tuple(messages), tuple(spans)
