"""From two runs of the same rows to a verdict: does the served copy answer as the reference?"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from harness.deployment.answered_rows import AnsweredRows, Split, different_row, words
from harness.deployment.metric_checks import metric_checks
from harness.deployment.parity_result import (
    LogProbDrift,
    ParityCheck,
    ParityFinding,
    ParityResult,
    ParitySide,
    PromptLengths,
)
from harness.errors import ExitCode
from harness.metrics import Metric, title
from harness.results import BackendResult
from harness.runs.run_log import RunLog
from harness.statistics.equivalence import Equivalence
from harness.text_format import two_digits

OnInconclusive = Literal["warn", "block"]

EXAMPLES = 20
"""Rows that differ, as shown."""


class Evidence:
    """What was found out beside the answers: findings, prompt lengths, drift, and what could not be looked at."""

    def __init__(self) -> None:
        self.findings: list[ParityFinding] = []
        self.prompts: PromptLengths | None = None
        self.drift: LogProbDrift | None = None
        self.notes: list[str] = []
        self.split: Split = words

    def add(self, *found: ParityFinding | None) -> None:
        """Take in findings; one of each kind is kept."""
        known = {one.kind for one in self.findings}
        self.findings += [one for one in found if one is not None and one.kind not in known]

    @property
    def faulty(self) -> bool:
        """Whether a fault was found."""
        return any(one.level == "fault" for one in self.findings)


def evaluate_parity(
    rows: AnsweredRows,
    reference: tuple[RunLog, str],
    served: tuple[RunLog, str],
    evidence: Evidence,
    *,
    margin: float,
    on_inconclusive: OnInconclusive = "warn",
) -> ParityResult:
    """The verdict. margin: the largest difference of a metric either way that counts as alike, as a share.

    alike: every deciding metric lies within the margin, and no fault was found. not alike: a fault, or a metric beyond
    it. Otherwise it is not shown yet. Without a metric that is a share, equal answers on all rows are alike.
    """
    summary = reference[0].summary()
    assert summary is not None
    checks = metric_checks(summary.metrics, rows.table, reference, served, margin)
    agreement = rows.share(lambda one: one.equal)
    verdict = _verdict(checks, evidence, everything_equal=agreement.value == 1.0)
    decisive = [c.needed_rows for c in checks if c.gated and c.verdict == "not shown yet"]
    needed = max((n for n in decisive if n is not None), default=None) if None not in decisive else None
    sides = (_side(reference), _side(served))
    different = rows.different
    texts = [one for one in rows.rows if not one.texts_equal]
    return ParityResult(
        verdict=verdict,
        exit_code=int(exit_code(verdict, on_inconclusive)),
        headline=headline(verdict, checks, evidence.findings, margin, needed, summary.metrics),
        task=reference[0].manifest.task,
        rows=len(rows.rows),
        margin=margin,
        reference=sides[0],
        served=sides[1],
        agreement=agreement,
        texts=rows.share(lambda one: one.texts_equal),
        checks=checks,
        findings=tuple(sorted(evidence.findings, key=lambda one: one.level != "fault")),
        prompts=evidence.prompts,
        drift=evidence.drift,
        different=len(different),
        examples=tuple(different_row(one, evidence.split) for one in (different or texts)[:EXAMPLES]),
        different_rows=tuple(one.row.n for one in different),
        needed_rows=needed,
        notes=tuple(evidence.notes),
    )


def _verdict(checks: Sequence[ParityCheck], evidence: Evidence, *, everything_equal: bool) -> Equivalence:
    gated = {check.verdict for check in checks if check.gated}
    if evidence.faulty or "not alike" in gated:
        return "not alike"
    if not gated:
        return "alike" if everything_equal else "not shown yet"
    return "alike" if gated == {"alike"} else "not shown yet"


def exit_code(verdict: Equivalence, on_inconclusive: OnInconclusive) -> ExitCode:
    """What the command ends with: as the gate, 5 for "not shown yet" only where that is to block."""
    if verdict == "alike":
        return ExitCode.DONE
    if verdict == "not alike":
        return ExitCode.GATE_FAILED
    return ExitCode.INCONCLUSIVE if on_inconclusive == "block" else ExitCode.DONE


def headline(
    verdict: Equivalence,
    checks: Sequence[ParityCheck],
    findings: Sequence[ParityFinding],
    margin: float,
    needed: int | None,
    metrics: Sequence[Metric],
) -> str:
    """The verdict in a sentence: the fault that decides, else the metric that does."""
    fault = next((one for one in findings if one.level == "fault"), None)
    if fault is not None:
        return f"Not alike: {fault.sentence}"
    gated = [check for check in checks if check.gated]
    points = f"{100 * margin:g} {'point' if margin == 0.01 else 'points'}"
    if verdict == "alike" and gated:
        names = " and ".join(title(check.metric) for check in gated)
        return f"Alike: {names} differ{'s' if len(gated) == 1 else ''} by less than {points}."
    if verdict == "alike":
        return "Alike: every answer is the same."
    if not gated:
        return "Not shown yet: answers differ, and this task has no metric that says whether that matters."
    worst = next((c for c in gated if c.verdict == verdict), gated[0])
    name, sign = title(worst.metric), "+" if worst.difference >= 0 else "-"
    figure = f"{name} {sign}{100 * abs(worst.difference):.1f} points"
    if worst.low is not None and worst.high is not None:
        figure += f" [{100 * worst.low:.1f}, {100 * worst.high:.1f}]"
    if verdict == "not alike":
        return f"Not alike: {figure}, margin {points}."
    rows = "" if needed is None else f"; about {two_digits(needed)} rows would probably show it"
    return f"Not shown yet: {figure}, margin {points}{rows}."


def _side(of: tuple[RunLog, str]) -> ParitySide:
    log, name = of
    identity, summary = log.manifest.backends[name], log.summary()
    assert summary is not None
    result: BackendResult = summary.backends[name]
    finish: Counter[str] = Counter()
    tokens: list[tuple[int, int]] = []
    for line in log.lines(name).values():
        if line.error is None:
            finish[str(line.finish)] += 1
            tokens.append((line.usage.prompt_tokens, line.usage.completion_tokens))
    latency = result.probe or result.load.service
    return ParitySide(
        backend=name,
        kind=identity.kind,
        model=identity.model,
        adapter=identity.adapter,
        decode=identity.decode,
        run=str(log.path),
        answered=result.answered,
        errors=sum(result.errors.values()),
        finish=dict(finish.most_common()),
        prompt_tokens=_mean([prompt for prompt, _ in tokens]),
        completion_tokens=_mean([completion for _, completion in tokens]),
        p50_s=None if latency is None else latency.p50_s,
        p95_s=None if latency is None else latency.p95_s,
        probed=result.probe is not None,
        cost_per_1000=result.cost.per_1000,
    )


def _mean(counts: Sequence[int]) -> float | None:
    known = [count for count in counts if count > 0]
    return sum(known) / len(known) if known else None
