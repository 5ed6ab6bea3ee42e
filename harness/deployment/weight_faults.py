"""From simulated faults and a server's own words to the cause of differences in the weights."""

import functools
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from harness.deployment.answered_rows import AnsweredRow
from harness.deployment.parity_result import ParityFinding
from harness.deployment.server_facts import ServedModelFacts
from harness.metrics import Estimate

FaultKind = Literal["adapter not applied", "reduced rank", "quantisation"]


class Fault(NamedTuple):
    """A simulated fault: its kind, and its size in words ("rank 8 of 16", "4 bits")."""

    kind: FaultKind
    size: str = ""


MOST_ROWS = 24
"""Rows that differ, and as many that do not, that are asked again with every simulated fault."""

EXPLAINED = 0.9
"""Share of the rows that differ whose served answer a fault must give, to be named as the cause."""

PROBABLE = 0.5
"""The same for weights of fewer bits, whose rounding no two programs do alike."""

ROUNDING = 0.05
"""Share of rows that other kernels, and types of 16 or 8 bits, change at most: bfloat16 against float32 changed 3 of
100 labels of a real adapter, Q8_0 3 of 300; more of them mean other weights."""

FEW_BITS = 12.0
"""Weights of fewer bits than this are quantised (16-bit types hold 16)."""

EIGHT_BITS = 8.0
"""Weights of fewer bits than this may answer as differently as other weights do."""


def rows_to_ask(rows: Sequence[AnsweredRow]) -> list[AnsweredRow]:
    """Rows that differ and as many that do not, in the order of the run."""
    different = [one for one in rows if not one.texts_equal][:MOST_ROWS]
    equal = [one for one in rows if one.texts_equal][: max(4, len(different))]
    return sorted([*different, *equal], key=lambda one: one.row.n)


class Explanation:
    """How far one fault gives the served answers. explained: of the `different` rows; kept: of the `equal` ones."""

    def __init__(self, fault: Fault, rows: Sequence[AnsweredRow], texts: Sequence[str]) -> None:
        hits = [(one.texts_equal, one.served.text.strip() == text) for one, text in zip(rows, texts, strict=True)]
        self.fault = fault
        self.different = sum(not equal for equal, _ in hits)
        self.explained = sum(hit for equal, hit in hits if not equal)
        self.equal = sum(equal for equal, _ in hits)
        self.kept = sum(hit for equal, hit in hits if equal)

    @property
    def share(self) -> float:
        """Of the rows that differ."""
        return self.explained / self.different if self.different else 0.0

    @property
    def agreement(self) -> float:
        """Of all rows."""
        return (self.explained + self.kept) / max(1, self.different + self.equal)

    @property
    def decisive(self) -> bool:
        """Whether the fault is the cause: a rounding only resembles another, and is held against all others."""
        return self.fault.kind != "quantisation" and min(self.share, self.agreement) >= EXPLAINED


def weight_finding(
    explanations: Iterable[Explanation],
    facts: ServedModelFacts | None,
    asked_model: str,
    agreement: Estimate | None,
    prompts_known: bool,
) -> ParityFinding | None:
    """The fault that explains the differences, if any; and if none does and they are too many for rounding, that.

    agreement: of short answers; None for open ones, whose texts part by rounding alone. prompts_known: whether the
    prompts of both sides were compared, and found alike.
    """
    found = list(explanations)
    best = max(found, key=lambda e: (e.agreement, e.share), default=None)
    if best is not None and best.decisive:
        return _named(best, facts, asked_model)
    bits = None if facts is None else facts.bits
    apart = None if agreement is None or agreement.high is None else 1 - agreement.high
    beyond_rounding = apart is not None and apart > ROUNDING
    if bits is not None and bits < FEW_BITS and not (beyond_rounding and bits >= EIGHT_BITS):
        return ParityFinding(
            kind="quantisation",
            level="note",
            sentence=f"the served weights are quantised: {bits:.1f} bits a weight by the server's own account.",
        )
    if best is not None and best.fault.kind == "quantisation" and best.share >= PROBABLE:
        return _named(best, facts, asked_model)
    if agreement is None or apart is None or not beyond_rounding:
        return None
    tried = ", ".join(dict.fromkeys(f"{e.fault.kind}{f' ({e.fault.size})' if e.fault.size else ''}" for e in found))
    rest = f" None of the simulated faults gives these answers ({tried})." if tried else ""
    return ParityFinding(
        kind="other weights",
        level="fault",
        count=round((1 - (agreement.value or 0.0)) * agreement.n),
        rows=agreement.n,
        sentence=f"other weights answer: at least {100 * apart:.0f} % of the answers differ, more than "
        f"rounding changes, and the prompts {'are alike' if prompts_known else 'could not be compared'}.{rest} Compare "
        "the revision of the base and the SHA-256 of the adapter on the server with those of the adapter's manifest.",
    )


def _named(best: Explanation, facts: ServedModelFacts | None, asked_model: str) -> ParityFinding:
    fault, told = best.fault, f"{best.explained:,} of {best.different:,} differing answers are those of"
    finding = functools.partial(ParityFinding, count=best.explained, rows=best.different)
    if fault.kind == "adapter not applied":
        if facts is not None and facts.adapters and facts.parent is None and asked_model not in facts.adapters:
            return finding(
                kind="base asked",
                level="fault",
                sentence=f"the base is asked instead of the adapter: {told} the base alone, and '{asked_model}' is the "
                f'base in the server\'s list. Set model = "{facts.adapters[0]}".',
            )
        return finding(
            kind="adapter not applied",
            level="fault",
            sentence=f"the adapter is not applied: {told} the base alone. Load it (vLLM: --enable-lora "
            "--lora-modules), ask by its name, or serve the merged model.",
        )
    if fault.kind == "reduced rank":
        return finding(
            kind="reduced rank",
            level="fault",
            sentence=f"the adapter is served with {fault.size}: {told} that rank. Raise the server's largest rank "
            "(vLLM: --max-lora-rank), or export the adapter again.",
        )
    return finding(
        kind="quantisation",
        level="note",
        sentence=f"the served weights seem to be rounded to {fault.size}: {told} such weights.",
    )
