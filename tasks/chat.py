"""Conversations as chat models are fine-tuned on them: OpenAI's JSONL goes into `bench train` as it is."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from harness.data.rows import DataRow, DataSource, DataWarning, open_rows
from harness.data.traces.call import Turn, answer_text, turn_of
from harness.errors import DataError
from harness.hashing import digest
from harness.metrics import ACCURACY, FORMAT_ERROR_RATE, LENIENT_ACCURACY
from harness.records import Completion, InputSpan, Message, Request, Sample, Score

COLUMNS = ("messages", "conversations")
TOOLS = "000 tools"
"""The input that holds a conversation's tools, as JSON: they are shown to the model."""


class Chat:
    """A conversation a line ("messages": [{"role", "content"}, ..]).

    Training rows: every answer of an assistant, behind the turns before it, but for those of weight 0; a call of a tool
    is an answer too. Test rows: the last answer of every conversation. Answers behind a tool's result are left out.
    """

    name = "chat"
    version = "1"
    labels: tuple[str, ...] = ()
    metrics = (ACCURACY, FORMAT_ERROR_RATE, LENIENT_ACCURACY)
    recipe = "agnews-generate"

    def samples(self, source: DataSource) -> Iterable[Sample]:
        """Rows in file order. Raises UsageError naming the line of what is no conversation."""
        left: Counter[str] = Counter()
        for row in open_rows(source):
            yield from self._of_conversation(row, source.split, left)
        if left:
            listed = ", ".join(f"{count:,} {why}" for why, count in left.most_common())
            warnings.warn(f"{source.location}: left out {listed}.", DataWarning, stacklevel=2)

    def _of_conversation(self, row: DataRow, split: str, left: Counter[str]) -> Iterator[Sample]:
        turns = _turns(row)
        answers = [n for n, turn in enumerate(turns) if turn["role"] == "assistant" and n]
        if not answers:
            raise DataError(f"{row.place}: the conversation holds no answer of an assistant.")
        group = digest([[turn["role"], turn["content"]] for turn in turns])[:16]
        given = row.fields.get("tools")
        tools = {TOOLS: msgspec.json.encode(given).decode()} if isinstance(given, list) and given else {}
        for n in answers if split == "train" else answers[-1:]:
            why = _why_left_out(turns[:n], turns[n], taught=split == "train")
            if why is not None:
                left[why] += 1
                continue
            inputs = {f"{k:03} {turn['role']}": turn["content"] for k, turn in enumerate(turns[:n], 1)}
            yield Sample.of({**tools, **inputs}, answer_text(turns[n]), split, group=group)

    def request(self, sample: Sample) -> Request:
        """The turns before the answer, and the conversation's tools; all turns but the system's are passages."""
        turns = [(name.partition(" ")[2], text) for name, text in sorted(sample.inputs.items()) if name != TOOLS]
        tools = msgspec.json.decode(sample.inputs.get(TOOLS, "[]"), type=list[dict[str, Any]])
        messages = tuple(Message(role=role, content=text) for role, text in turns)
        own = tuple(
            InputSpan(message=n, start=0, end=len(m.content)) for n, m in enumerate(messages) if m.role != "system"
        )
        return Request(id=sample.id, messages=messages, passages=own, max_tokens=1024, tools=tuple(tools))

    def score(self, sample: Sample, completion: Completion) -> Score:
        """Right where the answer is the conversation's own, word for word."""
        from harness.scoring.answer_forms import TextForm

        return TextForm().score(completion, sample.reference)

    def target(self, sample: Sample) -> str:
        """The assistant's own answer."""
        return sample.reference


def _turns(row: DataRow) -> list[Turn]:
    """The messages of a line. Raises UsageError for a line without them, or with one that is none."""
    column = next((name for name in COLUMNS if name in row.fields), None)
    if column is None:
        raise DataError(f'{row.place}: no conversation: a line holds {{"messages": [{{"role", "content"}}, ..]}}.')
    given = row.fields[column]
    if isinstance(given, str):
        try:
            given = msgspec.json.decode(given)
        except msgspec.DecodeError:
            given = None
    if not isinstance(given, list) or not given:
        raise DataError(f"{row.place}: '{column}' is no list of messages.")
    turns = []
    for number, message in enumerate(given, 1):
        turn = turn_of(message)
        if turn is None:
            raise DataError(f"{row.place}: message {number} is none of system, user, assistant or tool.")
        turns.append(turn)
    return turns


def _why_left_out(before: list[Turn], answer: Turn, *, taught: bool) -> str | None:
    """Why an answer is no row; None where it is one."""
    if taught and answer.get("weight") == 0:
        return "answers of weight 0"
    if any(turn["role"] == "tool" or turn.get("tool_calls") for turn in before):
        return "answers behind a call of a tool"
    if before[-1]["role"] != "user" or not before[-1]["content"].strip():
        return "answers without a user's text before them"
    return None if answer_text(answer).strip() else "empty answers"
