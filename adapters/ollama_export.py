"""An Ollama Modelfile: parameters, stop texts, and the chat template in Ollama's own language."""

from typing import Any

from harness.errors import UsageError
from harness.prompting.chat_rendering import Renderer
from harness.records import Message

SYSTEM, USER = "\ue001", "\ue002"
"""Marks in place of texts, found again in what the template prints."""


def modelfile(gguf: str, renderer: Renderer, stops: tuple[str, ...], context: int, max_tokens: int) -> str:
    """The Modelfile of a GGUF file beside it. Raises UsageError for a chat template that is no frame around texts."""
    lines = [f"FROM ./{gguf}", f'TEMPLATE """{go_template(renderer)}"""']
    lines += [f"PARAMETER stop {_quoted(stop)}" for stop in stops]
    lines += ["PARAMETER temperature 0", f"PARAMETER num_ctx {context}", f"PARAMETER num_predict {max_tokens}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def go_template(renderer: Renderer) -> str:
    """The frame of one turn as a Go template: system (or the template's default), user, and the answer's beginning.

    Ollama's template language is Go's text/template with .System, .Prompt and .Response; requests of several turns are
    rendered by its own loop over .Messages, which a frame of marks cannot express.
    """
    if not renderer.chat:
        return "{{ .Prompt }}"
    user = Message(role="user", content=USER)
    alone = renderer.text((user,))
    try:
        both = renderer.text((Message(role="system", content=SYSTEM), user))
    except UsageError:  # a template without system messages
        both = ""
    if alone.count(USER) != 1 or "{{" in alone:
        raise UsageError("the chat template cannot be written as an Ollama template: serve the GGUF with llama.cpp.")
    before, after = alone.split(USER)
    if both.count(SYSTEM) != 1 or both.count(USER) != 1 or not both.endswith(USER + after):
        return f"{before}{{{{ .Prompt }}}}{after}{{{{ .Response }}}}"
    start, middle = both[: -len(USER + after)].split(SYSTEM)
    return (
        f"{{{{ if .System }}}}{start}{{{{ .System }}}}{middle}{{{{ else }}}}{before}{{{{ end }}}}"
        f"{{{{ .Prompt }}}}{after}{{{{ .Response }}}}"
    )


def stop_texts(tokenizer: Any, ends: tuple[int, ...]) -> tuple[str, ...]:
    """The texts of the tokens that end an answer."""
    return tuple(str(tokenizer.convert_ids_to_tokens(token)) for token in ends)
