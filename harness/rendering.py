"""The one place that turns messages into a model's prompt, for `run` and for `train` alike.

Instruct models get their chat template, base models the same content as plain text. The date that some
templates print is pinned, and the beginning-of-sequence token stands exactly once.
"""

import functools
from typing import Any, NamedTuple

import msgspec

from harness.hashing import digest
from harness.records import Message, Request

PINNED_DATE = "26 Jul 2024"
"""Llama 3.2's template prints today's date; a prompt that changes overnight is not the same prompt."""

_MARK = "\N{BLACK SQUARE}answer\N{BLACK SQUARE}"


class Prompt(NamedTuple):
    """A prompt as the model sees it: `ids` are its tokens, `truncated` says that passages were cut to fit."""

    text: str
    ids: list[int]
    truncated: bool = False

    def hash(self) -> str:
        """SHA-256 of the token ids: what the model read, whatever the text looked like."""
        return digest(self.ids)


class Renderer:
    """Renders for one tokenizer (any Hugging Face tokenizer; nothing here imports transformers)."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.chat = bool(getattr(tokenizer, "chat_template", None))

    def text(self, messages: tuple[Message, ...]) -> str:
        """The prompt up to where the answer begins."""
        if self.chat:
            return self._template(messages, add_generation_prompt=True)
        return "\n\n".join(m.content for m in messages)

    def _template(self, messages: tuple[Message, ...], *, add_generation_prompt: bool) -> str:
        rendered = self.tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in messages],
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            date_string=PINNED_DATE,
        )
        return str(rendered)

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of rendered prompts, one tokenizer call; a template brings its own special tokens."""
        if not texts:
            return []
        ids = self.tokenizer(texts, add_special_tokens=not self.chat, return_attention_mask=False)["input_ids"]
        bos = self.tokenizer.bos_token_id
        return [row[1:] if row[:2] == [bos, bos] else list(row) for row in ids]

    def encode_answer(self, answer: str) -> list[int]:
        """Token ids of an answer as it continues a prompt (without the end token).

        A plain-text prompt never ends in white space, so its answer begins with a blank.
        """
        text = answer if self.chat else f" {answer}"
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @functools.cached_property
    def end_id(self) -> int:
        """The token that ends an answer: what the chat template puts behind an assistant's turn, else eos."""
        if self.chat:
            turn = (Message(role="user", content="."), Message(role="assistant", content=_MARK))
            after = self._template(turn, add_generation_prompt=False).split(_MARK)[-1]
            ids = self.tokenizer(after, add_special_tokens=False)["input_ids"]
            special = set(self.tokenizer.all_special_ids)
            ends = [i for i in ids if i in special]
            if ends:
                return int(ends[0])
        return int(self.tokenizer.eos_token_id)

    @functools.cached_property
    def template_hash(self) -> str:
        """SHA-256 of what decides the rendering: the template's text (None: plain text) and the pinned date."""
        return digest([getattr(self.tokenizer, "chat_template", None), PINNED_DATE])

    def prompts(self, requests: list[Request], room: int) -> list[Prompt]:
        """Render and tokenise; prompts of more than `room` tokens lose the ends of their passages.

        Only passages are cut, the longest first, never the instruction; a prompt whose instruction alone is
        too long keeps its length, and the caller must answer `context_too_long`.
        """
        texts = [self.text(r.messages) for r in requests]
        prompts = [Prompt(t, i) for t, i in zip(texts, self.encode(texts), strict=True)]
        return [p if len(p.ids) <= room else self._cut(r, p, room) for r, p in zip(requests, prompts, strict=True)]

    def _cut(self, request: Request, whole: Prompt, room: int) -> Prompt:
        """The longest prompt that fits, by bisection over the number of passage characters kept."""
        longest = max((p.end - p.start for p in request.passages), default=0)
        fits, too_long = 0, longest
        best: Prompt | None = None
        while fits <= too_long:
            keep = (fits + too_long) // 2
            text = self.text(cut_passages(request, keep).messages)
            ids = self.encode([text])[0]
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
