"""The task that a log's calls amount to: prompt, form of the answer, the row of a call, and its recorded answer."""

import datetime
import json
from collections import Counter
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from harness.data.traces.call import answer_text
from harness.files import write_whole
from harness.text_normalization import comparable_text

MOST_LABELS = 60
LONGEST_LABEL = 60
ROWS_A_LABEL = 5
"""Answers are labels where they are so few, so short, and each as frequent as this on average."""

TRACKED = 500
"""Different answers that are counted; more are no labels."""

AnswerKind = Literal["text", "calls"]


class Call(Protocol):
    """What a row needs of a call."""

    @property
    def system(self) -> str: ...
    @property
    def turns(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def answer(self) -> str: ...
    @property
    def calls(self) -> tuple[dict[str, Any], ...]: ...
    @property
    def session(self) -> str | None: ...
    @property
    def time(self) -> float | None: ...
    @property
    def model(self) -> str: ...
    @property
    def expected(self) -> str | None: ...
    @property
    def facts(self) -> dict[str, Any]: ...


class AnswerKinds:
    """What the answers are: a closed set, JSON objects with common keys, calls of tools, or free text."""

    def __init__(self) -> None:
        self.texts = self.calls = self.objects = 0
        self._counts: Counter[str] = Counter()
        self._keys: set[str] | None = None

    def add(self, answer: str, calls: bool) -> None:
        """Take an answer into account."""
        if calls:
            self.calls += 1
            return
        self.texts += 1
        text = answer.strip()
        if len(self._counts) <= TRACKED:
            self._counts[text] += 1
        if text[:1] == "{" and self.objects == self.texts - 1:
            keys = _keys(text)
            if keys is not None:
                self.objects += 1
                self._keys = keys if self._keys is None else self._keys & keys

    def kind(self) -> AnswerKind:
        """What most answers are; the others are left out."""
        return "calls" if self.calls > self.texts else "text"

    def labels(self) -> tuple[str, ...]:
        """The labels, most frequent first; none where the answers are no closed set."""
        found = [label for label, _ in self._counts.most_common()]
        closed = 2 <= len(found) <= MOST_LABELS and self.texts >= ROWS_A_LABEL * len(found)
        short = all(len(label) <= LONGEST_LABEL and "\n" not in label and label for label in found)
        distinct = len({comparable_text(label) for label in found}) == len(found)
        return tuple(found) if closed and short and distinct and not self.objects else ()

    def task(
        self,
        *,
        name: str,
        systems: Counter[str],
        around: tuple[str, str],
        conversations: bool,
        expected: bool,
        model: str,
        tools: tuple[dict[str, Any], ...],
    ) -> "LogTask":
        """The task of these answers."""
        constant = next(iter(systems)) if len(systems) == 1 else None
        calls = self.kind() == "calls"
        keys = sorted(self._keys or ()) if self.objects == self.texts and not calls and self.texts else None
        return LogTask(
            name=name,
            system=constant,
            around=around,
            conversations=conversations or calls,
            expected=expected and not calls,
            model=model or "the logged model",
            labels=() if calls else self.labels(),
            keys=tuple(keys) if keys is not None else None,
            tools=tools if calls else (),
        )


def _keys(text: str) -> set[str] | None:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return set(value) if isinstance(value, dict) else None


class LogTask(NamedTuple):
    """system: the constant system prompt, None where it differs from row to row. around: the words before and after
    every row's own text. conversations: rows are conversations (several turns, or calls of tools). expected: references
    are right answers of the log's own, and not the model's. keys: of JSON objects, None for other answers.
    """

    name: str
    system: str | None
    around: tuple[str, str]
    conversations: bool
    expected: bool
    model: str
    labels: tuple[str, ...]
    keys: tuple[str, ...] | None
    tools: tuple[dict[str, Any], ...]

    @property
    def remarks(self) -> list[str]:
        """What a user must know of the references."""
        if self.expected:
            return []
        return [
            f"the references are the answers of {self.model} itself: it is right on every row by definition, and "
            "others are measured by how far they agree with it. Correct them where it was wrong (column 'answer')."
        ]

    def row(self, call: Call) -> dict[str, Any]:
        """A call as a row of the task."""
        facts = {"session": call.session, "time": _iso(call.time), "model": call.model or None}
        own = {key: value for key, value in facts.items() if value is not None}
        if self.conversations:
            turns = [{"role": role, "content": text} for role, text in call.turns]
            if self.system is None and call.system:
                turns.insert(0, {"role": "system", "content": call.system})
            return {"messages": [*turns, self._answer(call)], **own}
        text = call.turns[0][1]
        before, after = self.around
        system = {} if self.system is not None else {"system": call.system}
        answer: Any = call.expected if self.expected else call.answer
        return {"input": text[len(before) : len(text) - len(after)], **system, "answer": answer.strip(), **own}

    def _answer(self, call: Call) -> dict[str, Any]:
        if call.calls:
            return {"role": "assistant", "content": call.answer or None, "tool_calls": list(call.calls)}
        return {"role": "assistant", "content": call.expected if self.expected else call.answer}

    def recorded(self, call: Call) -> dict[str, Any]:
        """The model's own answer, matched by its prompt."""
        turns = [{"role": role, "content": text} for role, text in call.turns]
        system = [{"role": "system", "content": call.system}] if call.system else []
        answer = {"content": call.answer, "tool_calls": list(call.calls)}
        own = {"role": "assistant", "content": answer_text(answer)}
        return {"messages": [*system, *turns, own], "model": call.model, **call.facts}

    def toml(self) -> str:
        """The task file."""
        lines = [f"# Made from a log of {self.model}. Rows: train.jsonl and test.jsonl beside this file."]
        if not self.expected:
            lines.append(f"# The references are the answers of {self.model}: correct them where it was wrong.")
        lines += [f"name = {_toml(self.name)}", 'data = "."']
        if self.conversations:
            lines.append('messages = "messages"')
        else:
            before, after = (_literal(text) for text in self.around)
            lines += [f"prompt = {_toml(before + '{{ input }}' + after)}", 'reference = "answer"']
        if self.system is None and not self.conversations:
            lines.append('system = "{{ system }}"')
        elif self.system:
            lines.append(f"system = {_toml(_literal(self.system))}")
        if self.labels:
            lines.append(f"labels = {_toml(list(self.labels))}")
        if self.tools:
            lines.append('tools = "tools.json"')
        if not self.labels and not self.tools and self.keys is None:
            lines.append("max_tokens = 512")
        if self.keys is not None:
            lines += ["", "[schema]", 'type = "object"', f"required = {_toml(list(self.keys))}"]
        return "\n".join(lines) + "\n"


def write_task(out: Path, task: LogTask) -> None:
    """Write `task.toml`, its tools, and a `bench.toml` that names the recording as the backend `production`."""
    write_whole(out / "task.toml", task.toml().encode())
    if task.tools:
        write_whole(
            out / "tools.json", json.dumps([tool.get("function", tool) for tool in task.tools], indent=2).encode()
        )
    settings = [
        "# The answers of the model in production, recorded: asking it again costs nothing.",
        "[backends.production]",
        'kind = "replay"',
        f"path = {_toml(str((out / 'recording.jsonl').resolve()))}",
        f"model = {_toml(task.model)}",
        "",
    ]
    write_whole(out / "bench.toml", "\n".join(settings).encode())


def _iso(time: float | None) -> str | None:
    if time is None:
        return None
    try:
        return datetime.datetime.fromtimestamp(time, datetime.UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return None


def _literal(text: str) -> str:
    """A text that a template prints as it is."""
    if not any(mark in text for mark in ("{{", "{%", "{#")):
        return text
    return "{% raw %}" + text.replace("{% endraw %}", "{% endraw %}{{ '{% endraw %}' }}{% raw %}") + "{% endraw %}"


def _toml(value: Any) -> str:
    """A text or a list of texts as TOML: JSON's escapes are TOML's, but for DEL and lone surrogates."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
