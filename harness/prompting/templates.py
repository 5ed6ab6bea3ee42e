"""Prompt templates: Jinja, sandboxed, with the row's own texts marked; a task with another prompt."""

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import StrictUndefined, TemplateError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from harness.errors import UsageError, did_you_mean
from harness.files import read_text
from harness.hashing import digest
from harness.records import InputSpan, Message, Request

NONCHARACTERS = range(0xFDD0, 0x110000)
"""Unicode keeps the first 32 of these for use inside a program; a text that holds some of them takes later ones."""


ROW = "row"
"""In a template: the inputs by name, for names that are no identifiers."""


class _Own(str):
    """A text of the row's own; printed unchanged in a template it becomes a passage, between its two marks."""

    _marks: tuple[str, str]  # by its name beyond the reach of a template


def _mark(value: Any) -> Any:
    if callable(value):  # `{{ text.strip }}`, or a column that is called like one of Jinja's own: `{{ range }}`
        raise TypeError(f"it prints a function ({getattr(value, '__name__', value)}) where a text is meant")
    return value._marks[0] + value + value._marks[1] if isinstance(value, _Own) else value


_environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, finalize=_mark)


class PromptTemplate:
    """A user's message, and a system message before it where one is given, as Jinja templates over a row's inputs.

    `{{ text }}` becomes a passage: heads read it, probes blank it, and it alone is cut when a prompt is too long.
    A text changed by a filter (`{{ text | upper }}`) is part of the instruction. An input whose name is no identifier
    is written `{{ row["Review Text"] }}`. constants: further names, the same for every row, such as the labels.
    `names`: all inputs that the templates name.
    """

    def __init__(
        self,
        user: str,
        system: str | None = None,
        place: str = "prompt",
        constants: Mapping[str, Any] | None = None,
    ) -> None:
        self.place = place
        self._constants = dict(constants or {})
        self._source = f"{system}{user}"
        self.hash = digest([system, user])
        try:
            trees = [_environment.parse(text) for text in (system, user) if text]
            self.names = frozenset().union(*(_names(tree, self._constants) for tree in trees))
            self._by_row = ROW not in frozenset().union(*map(_bare_names, trees))
            self._templates = [
                (role, _environment.from_string(text)) for role, text in (("system", system), ("user", user)) if text
            ]
        except (TemplateError, RecursionError) as error:
            raise UsageError(f"{place}: the template is invalid: {_told(error)}{_hint(user, error)}.") from None

    @classmethod
    def load(cls, path: Path, constants: Mapping[str, Any] | None = None) -> "PromptTemplate":
        """From a file: plain text is the user's message; a TOML file holds `user` and, if wanted, `system`.

        Raises UsageError for a file that cannot be read or holds anything else.
        """
        try:
            text = read_text(path)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--prompt {path} cannot be read ({error}).") from None
        if path.suffix != ".toml":
            if not text.strip():
                raise UsageError(f"--prompt {path} is empty.")
            return cls(text, place=str(path), constants=constants)
        try:
            parts = msgspec.toml.decode(text, type=_PromptFile)
        except msgspec.MsgspecError as error:
            raise UsageError(f"--prompt {path}: {error} (it holds `user` and, if wanted, `system`).") from None
        return cls(parts.user, parts.system, str(path), constants)

    def render(self, inputs: dict[str, str]) -> tuple[tuple[Message, ...], tuple[InputSpan, ...]]:
        """Messages and passages for a row. Raises UsageError for a name that the row does not have.

        White space at the end is dropped: a prompt must not end in it, since answers begin with it.
        """
        unknown = sorted(self.names - set(inputs))
        if unknown:
            raise UsageError(f"{self.place} names '{unknown[0]}'{did_you_mean(unknown[0], inputs)}.")
        marks = _free_marks([self._source, *inputs.values()])
        own = {name: _Own(value) for name, value in inputs.items()}
        for text in own.values():
            text._marks = marks
        messages: list[Message] = []
        passages: list[InputSpan] = []
        for role, template in self._templates:
            try:
                named = {**own, **self._constants}
                marked = template.render({**named, ROW: own} if self._by_row else named)
            except Exception as error:  # a template is a program of its author's: whatever it raises is its own
                raise UsageError(f"{self.place}: the template cannot be filled: {_told(error)}.") from None
            content, spans = _unmark(marked, marks)
            if any(mark in content for mark in marks):
                raise UsageError(f"{self.place}: a block of the template cuts a text of the row: print it unchanged.")
            passages += [InputSpan(message=len(messages), start=start, end=end) for start, end in spans]
            messages.append(Message(role=role, content=content))
        return tuple(messages), tuple(passages)

    def apply(self, request: Request, inputs: dict[str, str]) -> Request:
        """The request with other messages; everything else (labels, schema, limits) stays the task's.

        Raises UsageError where no text of the row is printed unchanged: heads would read nothing, probes blank
        nothing, and every row look like every other.
        """
        messages, passages = self.render(inputs)
        if not any(messages[p.message].content[p.start : p.end].strip() for p in passages):
            raise UsageError(
                f"{self.place} prints no text of row {request.id} unchanged: "
                f"write {named_in_prompt(sorted(inputs)[0])}, without a filter; "
                "or, where the row's text is empty, leave the row out."
            )
        return msgspec.structs.replace(request, messages=messages, passages=passages)


class _PromptFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A prompt in TOML."""

    user: str
    system: str | None = None


def _names(tree: nodes.Template, constants: Mapping[str, Any]) -> frozenset[str]:
    """All inputs that a template names: `{{ text }}`, `{{ row["text"] }}`, `{{ row.text }}`."""
    return frozenset((_bare_names(tree) - constants.keys()) | set(_taken_from_row(tree)))


def _bare_names(tree: nodes.Template) -> set[str]:
    """Names that stand for an input themselves; `row` is one only where nothing is taken out of it."""
    names = set(meta.find_undeclared_variables(tree))
    uses = sum(node.name == ROW for node in tree.find_all(nodes.Name))
    return names - {ROW} if uses and uses == len(_taken_from_row(tree)) else names


def _taken_from_row(tree: nodes.Template) -> list[str]:
    """Every name that is taken out of `row`."""
    parts: list[nodes.Getitem | nodes.Getattr] = [*tree.find_all(nodes.Getitem), *tree.find_all(nodes.Getattr)]
    of_row = [node for node in parts if isinstance(node.node, nodes.Name) and node.node.name == ROW]
    return [key for node in of_row if (key := _key(node)) is not None]


def _key(node: nodes.Node) -> str | None:
    if isinstance(node, nodes.Getattr):
        return node.attr
    key = node.arg if isinstance(node, nodes.Getitem) else None
    return key.value if isinstance(key, nodes.Const) and isinstance(key.value, str) else None


def named_in_prompt(column: str) -> str:
    """How a template names a column."""
    return f"{{{{ {column} }}}}" if column.isidentifier() else f'{{{{ {ROW}["{column}"] }}}}'


def _hint(text: str, error: Exception) -> str:
    """For a name with a blank in it, which Jinja reads as two."""
    two = re.search(r"\{\{-?\s*([^\W\d]\w*(?: +\w+)+)\s*-?\}\}", text) if isinstance(error, TemplateError) else None
    return f"; a column whose name is not an identifier is written {named_in_prompt(two[1])}" if two else ""


def _told(error: Exception) -> str:
    """What went wrong, as one line."""
    if isinstance(error, MemoryError | RecursionError):
        return "it is too large"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _free_marks(texts: Iterable[str]) -> tuple[str, str]:
    """Two characters that none of the texts holds."""
    first, second = islice((mark for mark in map(chr, NONCHARACTERS) if not any(mark in text for text in texts)), 2)
    return first, second


def _unmark(marked: str, marks: tuple[str, str]) -> tuple[str, list[tuple[int, int]]]:
    """The text without its marks, and the positions of the marked parts."""
    first, last = map(re.escape, marks)
    content, spans, at = "", [], 0
    for match in re.finditer(f"{first}([^{last}]*){last}", marked):
        content += marked[at : match.start()]
        spans.append((len(content), len(content) + len(match[1])))
        content += match[1]
        at = match.end()
    content = (content + marked[at:]).rstrip()
    return content, [(min(start, len(content)), min(end, len(content))) for start, end in spans]
