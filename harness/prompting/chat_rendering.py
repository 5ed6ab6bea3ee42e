"""The one place that turns messages into a model's prompt, for `run` and for `train` alike.

Instruct models get their chat template, base models the same content as plain text. The date that some
templates print is pinned, and the beginning-of-sequence token occurs exactly once.
"""

import datetime
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from harness.errors import UsageError
from harness.hashing import digest
from harness.records import Message, Request
from harness.scoring.tool_calls import read_calls

PINNED_DATE = "26 Jul 2024"
"""Llama 3.2's template prints today's date; a prompt that changes overnight is not the same prompt."""

_PINNED_DAY = datetime.datetime(2024, 7, 26)
_DIRECTIVES = {
    f"%{flag}{letter}": _PINNED_DAY.strftime(f"%{flag}{letter}") for flag in ("", "-") for letter in "dmyHIMSj"
}
_DIRECTIVES |= {f"%{letter}": _PINNED_DAY.strftime(f"%{letter}") for letter in "aAbBcDeFfGhpRTuUVwWxXY"}
PINNED_CLOCK = "".join(
    [
        "{% macro strftime_now(format) %}{{ format",
        *(f" | replace({directive!r}, {value!r})" for directive, value in _DIRECTIVES.items()),
        " }}{% endmacro %}\n",
    ]
)
"""The same for templates that ask for the date by `strftime_now` (SmolLM3, gpt-oss, Granite, Mistral Small): a macro of
that name in front of the template, since transformers passes templates data and no functions."""

RESERVED = ("conversation", "messages", "tokenize", "add_generation_prompt", "continue_final_message", "return_dict")
"""Arguments of `apply_chat_template` that are the renderer's own, and no variables of a template."""

_MARK = "\N{BLACK SQUARE}answer\N{BLACK SQUARE}"

_BEFORE = ":"
"""The text before an answer when its tokens are looked up without a tokenizer's own blank."""

SHOWN = 60
"""Characters of a text shown in a sentence."""

CALL = (
    'To call a function, answer with one JSON object {"name": .., "arguments": {..}} and nothing else. The functions:'
)
"""What precedes the tools where a model has no format of its own for them."""


class Prompt(NamedTuple):
    """A prompt as the model sees it: `ids` are its tokens, `truncated` says that passages were cut to fit."""

    text: str
    ids: list[int]
    truncated: bool = False

    def hash(self) -> str:
        """SHA-256 of the token ids: what the model read, whatever the text looked like."""
        return digest(self.ids)


class Form(NamedTuple):
    """How messages are handed to a chat template: with the system's text in front of the first user's, in parts."""

    fold: bool = False
    parts: bool = False


FORMS = (Form(), Form(fold=True), Form(parts=True), Form(fold=True, parts=True))
"""In the order in which they are tried; the first one whose rendering holds every text is taken."""


class Renderer:
    """Renders for one tokenizer (any Hugging Face tokenizer; nothing here imports transformers).

    template: variables of the chat template ({"enable_thinking": False}), or under "chat_template" the name of one of
    several. remarks: sentences on what the template made necessary, once a conversation was rendered.
    """

    def __init__(self, tokenizer: Any, template: Mapping[str, Any] | None = None) -> None:
        self.tokenizer = tokenizer
        self.chat = bool(getattr(tokenizer, "chat_template", None))
        self.template = dict(template or {})
        self.remarks: list[str] = []
        self._forms: dict[tuple[str, ...], Form] = {}
        self._tools_printed: bool | None = None

    def text(self, messages: tuple[Message, ...], tools: tuple[dict[str, Any], ...] = ()) -> str:
        """The prompt up to where the answer begins.

        tools: printed by the chat template; where it prints none, they are part of a system message. Raises UsageError
        where the chat template refuses the messages, or leaves out or changes a text of theirs.
        """
        if not self.chat:
            if self.template:
                raise UsageError("template: this model has no chat template: leave its variables out.")
            return "\n\n".join(m.content for m in (_with_tools(messages, tools) if tools else messages))
        if tools and not self._prints_tools(tools):
            messages, tools = _with_tools(messages, tools), ()
        text = self._apply(messages, self._form(messages), True, tools)
        lost = _lost(messages, text)
        if lost is not None:
            raise UsageError(
                f"the model's chat template does not print this text of a {lost.role} message unchanged: "
                f"'{_short(lost.content)}'. The model would be asked about another text: use a base whose template "
                "prints it, or a base without chat template."
            )
        return text

    def _form(self, messages: tuple[Message, ...]) -> Form:
        """The form in which the template prints all texts of such messages; found once for each sequence of roles."""
        roles = tuple(m.role for m in messages)
        if roles not in self._forms:
            self._forms[roles] = self._find_form(roles)
        return self._forms[roles]

    def _find_form(self, roles: tuple[str, ...]) -> Form:
        marked = tuple(Message(role=role, content=f"{_MARK}{n}.") for n, role in enumerate(roles))
        refused = silent = ""
        for form in FORMS:
            if form.fold and not {"system", "user"} <= set(roles):
                continue
            try:
                text = self._apply(marked, form, roles[-1] != "assistant")
            except UsageError as error:
                refused = refused or str(error)
                continue
            lost = _lost(marked, text)
            if lost is None:
                if form.fold:
                    why = refused.rstrip(".") or "the model's chat template prints no system message"
                    self.remarks.append(f"{why}; the system message is therefore prepended to the user's message.")
                return form
            silent = silent or lost.role
        raise UsageError(
            refused or f"the model's chat template prints no text of a {silent} message: name another base."
        )

    def _prints_tools(self, tools: tuple[dict[str, Any], ...]) -> bool:
        """Whether the chat template prints tools that it is given; found once."""
        if self._tools_printed is None:
            turn = (Message(role="user", content=_MARK),)
            try:
                text = self._apply(turn, Form(), True, tools)
            except UsageError:
                text = ""
            self._tools_printed = all(tool["function"]["name"] in text for tool in tools)
            if not self._tools_printed:
                self.remarks.append("the model's chat template prints no tools; they are listed in a system message.")
        return self._tools_printed

    def _apply(
        self,
        messages: tuple[Message, ...],
        form: Form,
        add_generation_prompt: bool,
        tools: tuple[dict[str, Any], ...] = (),
        answer: dict[str, Any] | None = None,
    ) -> str:
        """What the template makes of the messages, and of an answer with calls behind them. Raises UsageError with the
        template's own words."""
        given: list[dict[str, Any]] = [
            {"role": m.role, "content": m.content} for m in (_folded(messages) if form.fold else messages)
        ]
        turns = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in given] if form.parts else given
        turns = turns if answer is None else [*turns, answer]
        options = {"date_string": PINNED_DATE, **self.template, "chat_template": self._source}
        options |= {"tools": list(tools)} if tools else {}
        try:
            rendered = self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=add_generation_prompt, **options
            )
        except Exception as error:  # a template is a program of its author's: whatever it raises is its own
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UsageError(
                f"the model's chat template refuses messages of {', '.join(m['role'] for m in given)}: '{reason}'."
            ) from None
        return str(rendered)

    @functools.cached_property
    def _source(self) -> str:
        """The template's text. Raises UsageError for variables that are none, and where no template is the default."""
        own = [name for name in self.template if name in RESERVED]
        if own:
            raise UsageError(f"template: '{own[0]}' is no variable of a chat template: leave it out.")
        templates = self.tokenizer.chat_template
        named = self.template.get("chat_template")
        if not isinstance(templates, dict):
            if named is not None and "{" not in str(named):
                raise UsageError(f"template: this model has one chat template, and none called '{named}'.")
            source = str(named or templates)
        elif (named or "default") not in templates:
            names = ", ".join(sorted(templates))
            wrong = "none of them is the default" if named is None else f"none is called '{named}'"
            raise UsageError(
                f"this model has several chat templates ({names}) and {wrong}: "
                f'say which with template = {{ chat_template = "{min(templates)}" }}.'
            )
        else:
            source = str(templates[named or "default"])
        return PINNED_CLOCK + source if "strftime_now" in source else source

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of rendered prompts, one tokenizer call; a template brings its own special tokens."""
        return self._encode(texts, special=not self.chat)

    def _encode(self, texts: list[str], *, special: bool) -> list[list[int]]:
        if not texts:
            return []
        lead = self._lead if special else []
        rows = self.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        bos = self.tokenizer.bos_token_id
        rows = [list(row) if row[: len(lead)] == lead else [*lead, *row] for row in rows]
        # A model reads at least one token, so an empty text becomes a beginning (or, where there is none, an end).
        empty = [bos if bos is not None else self.end_id]
        return [row[1:] if row[:2] == [bos, bos] else row or empty for row in rows]

    @functools.cached_property
    def _lead(self) -> list[int]:
        """What the tokenizer puts before a text; what it puts behind (an end token) would end the prompt: left out."""
        whole = list(self.tokenizer("a", add_special_tokens=True)["input_ids"])
        bare = list(self.tokenizer("a", add_special_tokens=False)["input_ids"])
        for start in range(len(whole) - len(bare) + 1):
            if whole[start : start + len(bare)] == bare:
                return whole[:start]
        return []

    def encode_answer(self, answer: str) -> list[int]:
        """Token ids of an answer as it continues a prompt (without the end token).

        A plain-text prompt never ends in white space, so its answer begins with a blank; so does an answer behind a
        chat template that writes one there (Llama 2, Mistral). A tokenizer that puts a blank before every text must
        not do so here: its answer is read behind other text.
        """
        text = self._gap + answer
        if self._adds_blank:
            before = list(self.tokenizer(_BEFORE, add_special_tokens=False)["input_ids"])
            both = list(self.tokenizer(_BEFORE + text, add_special_tokens=False)["input_ids"])
            if both[: len(before)] == before and len(both) > len(before):
                return both[len(before) :]
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @functools.cached_property
    def _gap(self) -> str:
        """The blank between a prompt and its answer, or nothing."""
        if not self.chat:
            return " "
        turn = (Message(role="user", content="."), Message(role="assistant", content=_MARK))
        asked = self._apply(turn[:1], self._form(turn[:1]), True)
        answered = self._apply(turn, self._form(turn), False)
        return " " if answered.startswith(f"{asked} {_MARK}") else ""

    @functools.cached_property
    def _adds_blank(self) -> bool:
        """Whether the tokenizer puts a blank before a text that has none (SentencePiece's dummy prefix)."""
        alone = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        behind = self.tokenizer(_BEFORE + "a", add_special_tokens=False)["input_ids"]
        first = str(self.tokenizer.convert_ids_to_tokens([alone[0]])[0]) if alone else ""
        return first[:1] in ("\u2581", "\u0120") and list(behind[-len(alone) :]) != list(alone)

    @functools.cached_property
    def end_id(self) -> int:
        """The token that ends an answer: what the chat template puts behind an assistant's turn, else eos.

        Raises UsageError where the tokenizer has neither.
        """
        if self.chat:
            turn = (Message(role="user", content="."), Message(role="assistant", content=_MARK))
            text = self._apply(turn, self._form(turn), False)
            after = text.split(_MARK)[-1] if _MARK in text else ""
            ids = self.tokenizer(after, add_special_tokens=False)["input_ids"]
            special = set(self.tokenizer.all_special_ids)
            ends = [i for i in ids if i in special]
            if ends:
                return int(ends[0])
        if self.tokenizer.eos_token_id is None:
            raise UsageError("this model's tokenizer names no end token: set eos_token in its tokenizer_config.json.")
        return int(self.tokenizer.eos_token_id)

    @functools.cached_property
    def template_hash(self) -> str:
        """SHA-256 of what decides the rendering: the template's text (None: plain text), the date and the variables."""
        seen = [getattr(self.tokenizer, "chat_template", None), PINNED_DATE]
        return digest([*seen, self.template] if self.template else seen)

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """The text of generated tokens; special: with special tokens, which are skipped else."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=not special, clean_up_tokenization_spaces=False))

    def without_special(self, text: str) -> str:
        """A decoded text without the special tokens it may still hold."""
        for token in self.tokenizer.all_special_tokens:
            text = text.replace(token, "")
        return text

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else 0

    def prompts(self, requests: Sequence[Request], room: int | Sequence[int]) -> list[Prompt]:
        """Render and tokenise; prompts of more than `room` tokens (of all, or of each) lose the ends of passages.

        Only passages are cut, the longest first, never the instruction; a prompt whose instruction alone is
        too long keeps its length, and the caller must answer `context_too_long`.
        """
        return self._fitting(requests, room, lambda r: self.text(r.messages, r.tools), self.encode)

    def answer_of(self, request: Request, target: str) -> str:
        """A training target as the model writes it: a call of a tool in the chat template's own format, where it has
        one; any other text as it is."""
        if not (request.tools and self.chat and self._prints_tools(request.tools)):
            return target
        calls, alone = read_calls(target)
        if len(calls) != 1 or not alone:
            return target
        function = {"name": calls[0].name, "arguments": calls[0].arguments or {}}
        try:
            asked = self._apply(request.messages, self._form(request.messages), True, request.tools)
            turn = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
            whole = self._apply(request.messages, self._form(request.messages), False, request.tools, turn)
        except UsageError:
            return target
        end = str(self.tokenizer.convert_ids_to_tokens(self.end_id))
        written = whole.removeprefix(asked).split(end)[0].strip() if whole.startswith(asked) else ""
        read, alone = read_calls(written)
        return written if alone and [c.text() for c in read] == [calls[0].text()] else target

    def passage_prompts(self, requests: Sequence[Request], room: int | Sequence[int]) -> list[Prompt]:
        """What a classification head reads: the row's own passages as plain text, cut like `prompts`."""
        return self._fitting(
            requests,
            room,
            lambda r: "\n\n".join(r.passage_texts()),
            lambda texts: self._encode(texts, special=True),
        )

    def _fitting(
        self,
        requests: Sequence[Request],
        room: int | Sequence[int],
        text_of: Callable[[Request], str],
        encode: Callable[[list[str]], list[list[int]]],
    ) -> list[Prompt]:
        rooms = [room] * len(requests) if isinstance(room, int) else room
        texts = [text_of(r) for r in requests]
        prompts = [Prompt(t, i) for t, i in zip(texts, encode(texts), strict=True)]
        for n, (request, prompt) in enumerate(zip(requests, prompts, strict=True)):
            if len(prompt.ids) > rooms[n]:
                prompts[n] = _cut(request, prompt, rooms[n], text_of, encode)
        return prompts


def _folded(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The system's texts in front of the first user's."""
    system = [m.content for m in messages if m.role == "system"]
    rest = [m for m in messages if m.role != "system"]
    first = next(n for n, m in enumerate(rest) if m.role == "user")
    rest[first] = msgspec.structs.replace(rest[first], content="\n\n".join([*system, rest[first].content]))
    return tuple(rest)


def _with_tools(messages: tuple[Message, ...], tools: tuple[dict[str, Any], ...]) -> tuple[Message, ...]:
    """The messages with the tools in front, in words, for a model that has no format of its own for them."""
    listed = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
    instruction = f"{CALL}\n{listed}"
    if messages[0].role == "system":
        first = msgspec.structs.replace(messages[0], content=f"{instruction}\n\n{messages[0].content}")
        return (first, *messages[1:])
    return (Message(role="system", content=instruction), *messages)


def _lost(messages: tuple[Message, ...], text: str) -> Message | None:
    """The first message whose text the rendering does not hold; templates may trim it, and rewrite earlier answers."""
    return next((m for m in messages if m.role != "assistant" and m.content.strip() not in text), None)


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}.."


def _cut(
    request: Request,
    whole: Prompt,
    room: int,
    text_of: Callable[[Request], str],
    encode: Callable[[list[str]], list[list[int]]],
) -> Prompt:
    """The longest prompt that fits, by bisection over the number of passage characters kept."""
    fits, too_long = 0, max((p.end - p.start for p in request.passages), default=0)
    best: Prompt | None = None
    while fits <= too_long:
        keep = (fits + too_long) // 2
        text = text_of(cut_passages(request, keep))
        ids = encode([text])[0]
        if len(ids) <= room:
            best, fits = Prompt(text, ids, truncated=True), keep + 1
        else:
            too_long = keep - 1
    return best or whole


def cut_passages(request: Request, keep: int) -> Request:
    """The request with every passage cut to its first `keep` characters, marks moved along."""
    messages = list(request.messages)
    passages = []
    shift: dict[int, int] = {}
    for p in sorted(request.passages, key=lambda p: (p.message, p.start)):
        start = p.start - shift.get(p.message, 0)
        length = p.end - p.start
        kept = min(length, keep)
        content = messages[p.message].content
        cut = content[: start + kept] + content[start + length :]
        messages[p.message] = msgspec.structs.replace(messages[p.message], content=cut)
        passages.append(msgspec.structs.replace(p, start=start, end=start + kept))
        shift[p.message] = shift.get(p.message, 0) + length - kept
    return msgspec.structs.replace(request, messages=tuple(messages), passages=tuple(passages))
