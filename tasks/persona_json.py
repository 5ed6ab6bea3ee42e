"""Persona JSON: an answer in a persona's voice, as one JSON array of {"text", "emotion"}."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.data.rows import DataRow, DataSource, open_rows
from harness.errors import UsageError
from harness.metrics import FORMAT_ERROR_RATE, LENIENT_FORMAT_ERROR_RATE, Metric
from harness.records import Completion, Message, Passage, Request, Sample, Score

from .persona_answer import SCHEMA, score_answer
from .persona_teacher import Starters

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
            passages=(Passage(message=last, start=0, end=len(messages[last].content)),),
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
        raise UsageError(
            f'{row.place}: a conversation is {{"messages": [..]}}; this row holds {", ".join(row.fields)}.'
        )
    roles = [m.get("role") if isinstance(m, dict) else None for m in found]
    if roles not in ROLES:
        raise UsageError(f"{row.place}: the roles are {roles}; they must be system (optional), user, assistant.")
    for message in found:
        if not isinstance(message.get("content"), str):
            raise UsageError(f"{row.place}: the {message['role']} message has no text in 'content'.")
    if not found[-2]["content"].strip():
        raise UsageError(f"{row.place}: the user's message is empty.")
    return found
