"""The one place that turns messages into a model's prompt, for `run` and for `train` alike.

Instruct models get their chat template, base models the same content as plain text. The date that some
templates print is pinned, and the beginning-of-sequence token stands exactly once.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from harness.errors import UsageError
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
        return self._encode(texts, special=not self.chat)

    def _encode(self, texts: list[str], *, special: bool) -> list[list[int]]:
        if not texts:
            return []
        ids = self.tokenizer(texts, add_special_tokens=special, return_attention_mask=False)["input_ids"]
        bos = self.tokenizer.bos_token_id
        # A model reads at least one token, so an empty text becomes a beginning (or, where there is none, an end).
        empty = [bos if bos is not None else self.end_id]
        return [row[1:] if row[:2] == [bos, bos] else list(row) or empty for row in ids]

    def encode_answer(self, answer: str) -> list[int]:
        """Token ids of an answer as it continues a prompt (without the end token).

        A plain-text prompt never ends in white space, so its answer begins with a blank.
        """
        text = answer if self.chat else f" {answer}"
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @functools.cached_property
    def end_id(self) -> int:
        """The token that ends an answer: what the chat template puts behind an assistant's turn, else eos.

        Raises UsageError where the tokenizer has neither.
        """
        if self.chat:
            turn = (Message(role="user", content="."), Message(role="assistant", content=_MARK))
            after = self._template(turn, add_generation_prompt=False).split(_MARK)[-1]
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
        """SHA-256 of what decides the rendering: the template's text (None: plain text) and the pinned date."""
        return digest([getattr(self.tokenizer, "chat_template", None), PINNED_DATE])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated tokens, special tokens skipped."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def prompts(self, requests: Sequence[Request], room: int | Sequence[int]) -> list[Prompt]:
        """Render and tokenise; prompts of more than `room` tokens (of all, or of each) lose the ends of passages.

        Only passages are cut, the longest first, never the instruction; a prompt whose instruction alone is
        too long keeps its length, and the caller must answer `context_too_long`.
        """
        return self._fitting(requests, room, lambda r: self.text(r.messages), self.encode)

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
