"""Separating a model's reasoning from its answer where both are in one text.

Reasoning models write their thoughts between marks in front of the answer. A server with a reasoning parser moves
them into a field of their own; one without (and a local model) leaves them in the text. The marks are those of the
models' own chat templates, as vLLM's and SGLang's reasoning parsers list them
(docs.vllm.ai "Reasoning Outputs", docs.sglang.io "Reasoning Parser").
"""

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

BLOCKS = (
    ("<think>", "</think>"),  # DeepSeek R1 and V3, Qwen3, QwQ, GLM, MiniMax, Nemotron, Granite, Hunyuan, ERNIE, OLMo
    ("<thinking>", "</thinking>"),  # Amazon Nova, Reflection
    ("<thought>", "</thought>"),  # EXAONE Deep, Gemini's OpenAI-compatible endpoint
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("<longcat_think>", "</longcat_think>"),
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThinker, Sky-T1
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("<|channel|>analysis<|message|>", "<|end|>"),  # gpt-oss (harmony)
    ("<|channel|>commentary<|message|>", "<|end|>"),
)
"""Beginning and end of a block of thoughts."""

ENVELOPES = (
    ("<answer>", "</answer>"),  # Hunyuan, and most models trained after R1's recipe
    ("<response>", "</response>"),
    ("<|begin_of_solution|>", "<|end_of_solution|>"),
    ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
)
"""What some models put around the answer that follows their thoughts."""

HEADERS = ("<|start|>assistant<|channel|>final<|message|>", "<|channel|>final<|message|>", "<|start|>assistant")
"""What gpt-oss writes between its thoughts and its answer."""

_ENVELOPES = {
    begin: re.compile(f"{re.escape(begin)}((?:(?!{re.escape(end)}).)*)(?:{re.escape(end)})?\\s*", re.DOTALL)
    for begin, end in ENVELOPES
}
_OPENING = {begin.casefold(): end.casefold() for begin, end in BLOCKS}
_CLOSING = {end for end in _OPENING.values() if end != "<|end|>"}
_MARK = re.compile(
    "|".join(re.escape(mark) for mark in sorted({m for pair in BLOCKS for m in pair}, key=len, reverse=True)),
    re.IGNORECASE,
)


class Separated(NamedTuple):
    """answer: the text without thoughts. reasoning: the thoughts. closed: whether the thoughts came to an end (True
    where there are none); where they did not, the text was cut off while the model was reasoning."""

    answer: str
    reasoning: str = ""
    closed: bool = True


def separate_reasoning(text: str, *, opened: bool = False, prompt: Iterable[str] = ()) -> Separated:
    """Split a text into answer and reasoning; a text without reasoning comes back unchanged.

    opened: the prompt itself ended with the opening mark (templates of DeepSeek R1 or QwQ), so that the text begins
    inside the thoughts. Without that knowledge a closing mark alone says the same. prompt: the texts of the prompt;
    an envelope around the answer that the prompt itself asks for is part of the answer and stays.

    Blocks count at any position; one that never ends counts where it begins the text or a line. A closing mark
    without an opening one ends thoughts that began with the text. A text that is one whole JSON value is an answer,
    whatever its strings hold.
    """
    if not opened and (_MARK.search(text) is None or _is_json(text)):
        return Separated(text)
    reader = _ReasoningReader(text, opened)
    for mark in _MARK.finditer(text):
        reader.take(mark)
    return reader.end(prompt)


class _ReasoningReader:
    """Walks over the marks of one text. `inside`: the mark that ends the block which is open ("any": whichever)."""

    def __init__(self, text: str, opened: bool) -> None:
        self.text = text
        self.inside = "any" if opened else ""
        self.answer: list[str] = []
        self.thoughts: list[str] = []
        self.position = 0
        self.found = opened

    def take(self, mark: re.Match[str]) -> None:
        """The next mark: it opens a block, closes one, or is a part of the text."""
        name = mark[0].casefold()
        if self.inside:
            ends = name == self.inside or (self.inside == "any" and name in _CLOSING)
            if ends:
                self._move(mark, self.thoughts, inside="")
        elif name in _OPENING:
            if self._opens(mark, _OPENING[name]):
                self._move(mark, self.answer, inside=_OPENING[name])
        elif name in _CLOSING:
            if not (self.found and not self.text[mark.end() :].strip()):  # else one end too many behind the answer
                self.thoughts += self.answer
                self.answer = []
                self._move(mark, self.thoughts, inside="")
            else:
                self._move(mark, self.answer, inside="")

    def _move(self, mark: re.Match[str], where: list[str], inside: str) -> None:
        where.append(self.text[self.position : mark.start()])
        self.position = mark.end()
        self.inside = inside
        self.found = True

    def _opens(self, mark: re.Match[str], end: str) -> bool:
        before = self.text[self.position : mark.start()].rstrip(" \t")
        return not before or before.endswith("\n") or end in self.text[mark.end() :].casefold()

    def end(self, prompt: Iterable[str]) -> Separated:
        """The text after the last mark, and the whole text."""
        if not self.found:
            return Separated(self.text)
        (self.thoughts if self.inside else self.answer).append(self.text[self.position :])
        parts = (_without_headers(part) for part in self.thoughts)
        reasoning = "\n".join(part for part in parts if part)
        return Separated(_unwrapped(_without_headers("".join(self.answer)), prompt), reasoning, not self.inside)


def _without_headers(text: str) -> str:
    for header in HEADERS:
        text = text.replace(header, "")
    return text.strip()


def _unwrapped(answer: str, prompt: Iterable[str]) -> str:
    """The answer inside an envelope that is around all of it (its end may have been cut off)."""
    for begin, envelope in _ENVELOPES.items():
        around = envelope.fullmatch(answer)
        if around is not None and not any(begin in text for text in prompt):
            return around[1].strip()
    return answer


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "[", '"'):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
