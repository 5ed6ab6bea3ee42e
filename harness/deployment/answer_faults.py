"""Faults that the answers of both sides show by themselves: where they end, and whether they repeat."""

from collections import Counter
from collections.abc import Sequence

from harness.deployment.answered_rows import AnsweredRow, AnsweredRows
from harness.deployment.parity_result import ParityFinding
from harness.records import Completion
from harness.text_format import count_noun

LEAST = 2
"""Fewer rows than this show nothing."""


def end_token_finding(rows: AnsweredRows) -> ParityFinding | None:
    """Served answers that begin as the reference's and go on where it ended."""
    longer = [one for one in rows.rows if _goes_on(one)]
    changed = sum(not one.texts_equal for one in rows.rows)
    if len(longer) < LEAST or 2 * len(longer) < changed:
        return None
    at_limit = sum(one.served.finish == "length" for one in longer)
    limit = f", {at_limit:,} of them up to max_tokens" if at_limit else ""
    return ParityFinding(
        kind="end token",
        level="fault",
        count=len(longer),
        rows=len(rows.rows),
        sentence=f"the end token does not end answers: {count_noun(len(longer), 'served answer')} of {len(rows.rows):,}"
        f" go{'es' if len(longer) == 1 else ''} on behind the reference's{limit}. Name every end token in the served "
        "model's generation_config.json (eos_token_id), or as a stop text of the server.",
    )


def _goes_on(one: AnsweredRow) -> bool:
    """Whether the served text continues an answer that ended by itself."""
    mine, theirs = one.reference.text.strip(), one.served.text.strip()
    ended = one.reference.finish == "stop"
    return ended and bool(mine) and theirs.startswith(mine) and len(theirs) > len(mine)


def context_finding(rows: AnsweredRows) -> ParityFinding | None:
    """Rows that the server refused as too long, and the reference answered."""
    refused = [
        one
        for one in rows.rows
        if one.served.finish == "context_too_long" and one.reference.finish != "context_too_long"
    ]
    if not refused:
        return None
    return ParityFinding(
        kind="truncation",
        level="fault",
        count=len(refused),
        rows=len(rows.rows),
        sentence=f"the served context is too short: {count_noun(len(refused), 'row')} of {len(rows.rows):,} "
        "were refused as too long. Raise the server's context length (vLLM: --max-model-len, llama.cpp: --ctx-size, "
        "Ollama: num_ctx).",
    )


def sampling_finding(answers: Sequence[Completion]) -> ParityFinding | None:
    """One request asked several times at temperature 0 has one answer; several answers of a fifth of the rows mean
    that the server samples. answers: of the repeats, any order."""
    texts: dict[str, set[str]] = {}
    asked: Counter[str] = Counter()
    for answer in answers:
        if answer.error is None:
            texts.setdefault(answer.id, set()).add(answer.text.strip())
            asked[answer.id] += 1
    looked_at = [row for row, count in asked.items() if count > 1]
    varying = [row for row in looked_at if len(texts[row]) > 1]
    if len(varying) < LEAST or 5 * len(varying) < len(looked_at):
        return None
    return ParityFinding(
        kind="sampling",
        level="fault",
        count=len(varying),
        rows=len(looked_at),
        sentence=f"the server samples: {count_noun(len(varying), 'request')} of {len(looked_at):,} sent again "
        "at temperature 0 got another answer. Look for a temperature that the server or a gateway sets "
        "(generation_config.json, an Ollama PARAMETER, a proxy's default).",
    )
