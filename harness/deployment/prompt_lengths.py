"""The rendering of prompts, compared by their number of tokens: what a server's usage says about its chat template.

A server shows no rendered prompt, but nearly every one reports how many tokens it had. Those counts are compared with
the reference's, and where they differ with the counts of the usual mistakes, computed from the base's tokenizer.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from harness.deployment.parity_result import ParityFinding, PromptLengths
from harness.errors import UsageError
from harness.prompting.chat_rendering import Renderer
from harness.records import Message, Request
from harness.text_format import count_noun

MOST = 0.95
"""From this share of the rows on, a rendering is the one that the server uses."""

NO_SYSTEM = "without the system message"
PLAIN = "without the chat template"
NO_TURN = "without the beginning of the answer's turn"
TWO_BEGINNINGS = "with the beginning token twice"

Counts = Sequence[int]


def prompt_lengths(expected: Counts, served: Counts, renderings: Mapping[str, Counts]) -> PromptLengths | None:
    """Compare tokens a row; 0 is "not reported". renderings: name -> tokens a row if prompts were rendered so.

    None where a side reports none.
    """
    rows = [n for n, pair in enumerate(zip(expected, served, strict=True)) if min(pair) > 0]
    if not rows:
        return None
    equal = sum(expected[n] == served[n] for n in rows)
    matches = ""
    if equal < len(rows):
        for name, counts in renderings.items():
            fits = sum(counts[n] == served[n] for n in rows)
            if fits >= MOST * len(rows) and fits > equal:
                matches = name
                break
    difference = float(median(served[n] - expected[n] for n in rows))
    return PromptLengths(rows=len(rows), equal=equal, median_difference=difference, matches=matches)


def prompt_finding(expected: Counts, served: Counts, found: PromptLengths) -> ParityFinding | None:
    """What the counts say: cut prompts, a missing system message, another template; None where they agree."""
    known = [n for n, pair in enumerate(zip(expected, served, strict=True)) if min(pair) > 0]
    longest = max(served[n] for n in known)
    cut = [n for n in known if expected[n] > longest]
    short = [n for n in known if expected[n] <= longest]
    if cut and sum(served[n] == expected[n] for n in short) >= MOST * len(short) and found.equal < found.rows:
        return ParityFinding(
            kind="truncation",
            level="fault",
            count=len(cut),
            rows=found.rows,
            sentence=f"long prompts are cut: no served prompt has more than {longest:,} tokens, and "
            f"{count_noun(len(cut), 'row')} of {found.rows:,} have up to {max(expected[n] for n in cut):,}. "
            "Raise the server's context length (vLLM: --max-model-len, llama.cpp: --ctx-size, Ollama: num_ctx).",
        )
    if found.equal >= MOST * found.rows:
        return None
    count = found.rows - found.equal
    if found.matches == NO_SYSTEM:
        return ParityFinding(
            kind="system prompt",
            level="fault",
            count=count,
            rows=found.rows,
            sentence=f"the system prompt is missing: served prompts have as many tokens as without it "
            f"({found.median_difference:+,.0f} in the median). Send it, or use a chat template that prints it.",
        )
    how = f"as if rendered {found.matches}" if found.matches else "of another length"
    return ParityFinding(
        kind="chat template",
        level="fault",
        count=count,
        rows=found.rows,
        sentence=f"the chat template differs: {count_noun(count, 'prompt')} of {found.rows:,} {_are(count)} {how} "
        f"({found.median_difference:+,.0f} tokens in the median). Serve the template that the adapter was trained "
        "with (tokenizer_config.json or chat_template.jinja of its base).",
    )


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def usual_mistakes(renderer: Renderer, requests: Sequence[Request]) -> dict[str, list[int]]:
    """Tokens of every prompt under each way in which servers are known to render it wrongly."""
    found: dict[str, list[int]] = {}
    system = _without_system(renderer, requests)
    if system is not None:
        found[NO_SYSTEM] = system
    plain = ["\n\n".join(m.content for m in r.messages) for r in requests]
    if renderer.chat:
        found[PLAIN] = _lengths(renderer, plain, special=True)
        bare = _lengths(renderer, plain, special=False)
        if bare != found[PLAIN]:
            found[f"{PLAIN} and beginning token"] = bare
        texts = _texts(renderer, requests, lambda r: _without_turn(renderer, r.messages))
        if texts is not None:
            found[NO_TURN] = _lengths(renderer, texts, special=False)
    if renderer.tokenizer.bos_token_id is not None:
        whole = _texts(renderer, requests, lambda r: renderer.text(r.messages))
        if whole is not None:
            found[TWO_BEGINNINGS] = [len(ids) + 1 for ids in renderer.encode(whole)]
    return found


def _lengths(renderer: Renderer, texts: list[str], *, special: bool) -> list[int]:
    return [len(ids) for ids in renderer.tokenizer(texts, add_special_tokens=special)["input_ids"]]


def _texts(renderer: Renderer, requests: Sequence[Request], render: Callable[[Request], str]) -> list[str] | None:
    try:
        return [render(request) for request in requests]
    except UsageError:  # this template cannot be rendered so: nor can a server's
        return None


def _without_system(renderer: Renderer, requests: Sequence[Request]) -> list[int] | None:
    """Without the conversation's system message, or without the one that the template writes where there is none."""
    if any(m.role == "system" for r in requests for m in r.messages):
        kept = [tuple(m for m in r.messages if m.role != "system") for r in requests]
        if not all(kept):
            return None
        texts = _texts(renderer, requests, lambda r: renderer.text(tuple(m for m in r.messages if m.role != "system")))
        return None if texts is None else [len(ids) for ids in renderer.encode(texts)]
    default = default_system(renderer)
    if default is None:
        return None
    texts = _texts(renderer, requests, lambda r: renderer.text(r.messages).replace(default, "", 1))
    return None if texts is None else [len(ids) for ids in renderer.encode(texts)]


def default_system(renderer: Renderer) -> str | None:
    """The system turn that a chat template writes of itself, with its marks; None where it writes none."""
    if not renderer.chat:
        return None
    user = Message(role="user", content="\ue000")
    try:
        alone = renderer.text((user,))
        explicit = renderer.text((Message(role="system", content="\ue001"), user))
    except UsageError:
        return None
    before, after = explicit.split("\ue001", 1) if "\ue001" in explicit else ("", "")
    if not before or not alone.startswith(before) or not alone.endswith(after) or len(alone) <= len(before + after):
        return None
    text = alone[len(before) : len(alone) - len(after)]
    # The turn's own marks: what surrounds a second system turn, if the template prints one.
    try:
        twice = renderer.text(
            (Message(role="system", content="\ue001"), Message(role="system", content="\ue002"), user)
        )
    except UsageError:
        return text
    inner = twice.partition("\ue001")[2].partition("\ue002")[0]
    end = next((k for k in range(len(inner), -1, -1) if before.endswith(inner[k:]) and after.startswith(inner[:k])), 0)
    return inner[end:] + text + inner[:end] if inner else text


def _without_turn(renderer: Renderer, messages: tuple[Message, ...]) -> str:
    given: list[dict[str, Any]] = [{"role": m.role, "content": m.content} for m in messages]
    rendered = renderer.tokenizer.apply_chat_template(given, tokenize=False, add_generation_prompt=False)
    return str(rendered)
