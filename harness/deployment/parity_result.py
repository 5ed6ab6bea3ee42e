"""The records of `parity.json`: agreement, differences of the metrics, findings, and the verdict over all of them."""

from pathlib import Path
from typing import Literal

import msgspec

from harness.metrics import Estimate, Metric, title
from harness.records import Record
from harness.statistics.equivalence import Equivalence
from harness.text_format import count_noun, figure_of
from harness.text_sanitize import html_table, visible_line

SCHEMA = 1
FILE = "parity.json"
"""In the run directory of the served copy."""

FindingKind = Literal[
    "adapter not applied",
    "base asked",
    "chat template",
    "system prompt",
    "end token",
    "sampling",
    "truncation",
    "reduced rank",
    "quantisation",
    "other weights",
]
"""adapter not applied: the answers are the base's. base asked: and the request names the base. chat template: prompts
are rendered in another way. system prompt: it is missing from them. end token: answers go on behind their end.
sampling: one request has several answers. truncation: long prompts are cut or refused. reduced rank: the adapter has
lost a part of its rank. quantisation: the weights are rounded to fewer bits. other weights: none of these explains
the differences."""

Level = Literal["fault", "note"]

SHARE = Metric(name="share")
"""A share of rows."""


def points(value: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * value:+.1f}"


class ParitySide(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One side: what answers, how its answers end, what they take.

    backend: its name. kind, model, adapter, decode: as in its identity. run: the run directory. answered, errors:
    requests with an answer, and infrastructure errors. finish: how often answers ended for each reason. prompt_tokens,
    completion_tokens: mean per answer as reported, None where they are not. p50_s, p95_s: seconds of one request at a
    time, or under load where it was not probed (`probed` says which). cost_per_1000: USD, None where unknown.
    """

    backend: str
    kind: str
    model: str
    adapter: str | None = None
    decode: str = ""
    run: str = ""
    answered: int = 0
    errors: int = 0
    finish: dict[str, int] = {}
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    p50_s: float | None = None
    p95_s: float | None = None
    probed: bool = False
    cost_per_1000: float | None = None


class ParityCheck(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One metric of the task on both sides.

    metric: its name. gated: whether the verdict rests on it. rows: answered by both. reference, served: the figures.
    difference: served minus reference, in the metric's own units; [low, high]: its interval at `level`, None:
    unbounded. method: of the interval. p: of no difference, corrected over the gated metrics. margin: the largest
    difference either way that counts as alike. needed_rows: rows in all that would probably show it. no_verdict: why
    these rows decide nothing, "" where they may.
    """

    metric: str
    gated: bool
    rows: int
    reference: float
    served: float
    difference: float
    low: float | None
    high: float | None
    level: float
    method: str
    margin: float
    verdict: Equivalence
    p: float | None = None
    needed_rows: int | None = None
    no_verdict: str = ""

    @property
    def interval(self) -> str:
        """`[-1.2, 0.4]` in points; "" where the rows bound nothing."""
        return "" if self.low is None or self.high is None else f"[{100 * self.low:.1f}, {100 * self.high:.1f}]"

    @property
    def outcome(self) -> str:
        """The verdict, or why there is none; "" for a metric on which the verdict does not rest."""
        return (self.no_verdict or self.verdict) if self.gated else ""


class ParityFinding(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What explains a difference. A fault makes the verdict "not alike"; a note does not.

    count of rows: the rows that show it, of those looked at. sentence: the finding and what to do.
    """

    kind: FindingKind
    level: Level
    sentence: str
    count: int = 0
    rows: int = 0


class DifferentRow(Record, frozen=True, kw_only=True, omit_defaults=False):
    """A row that both sides answered differently.

    id: of the row. expected: its reference. reference, served: the texts. reference_answer, served_answer: as parsed,
    None where they could not be. equal_tokens: tokens that both begin with; reference_token, served_token: the first
    ones that differ ("" is the end of the answer). finish: why the served answer ended.
    """

    id: str
    expected: str
    reference: str
    served: str
    reference_answer: str | None = None
    served_answer: str | None = None
    equal_tokens: int = 0
    reference_token: str = ""
    served_token: str = ""
    finish: str | None = None


class PromptLengths(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Tokens of the prompts on both sides.

    rows: with a count on both sides. equal: of these, with the same count. median_difference: served minus reference.
    matches: the rendering whose counts the served ones are ("" for the reference's own, or where none fits).
    """

    rows: int = 0
    equal: int = 0
    median_difference: float = 0.0
    matches: str = ""


class LogProbDrift(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Natural log-probability of the whole answer, by the served copy and by the reference, over rows with equal
    answers.

    mean, largest: of the absolute difference. log_odds: mean absolute difference of the answer's log-odds. eight_bits,
    four_bits: the same between the reference and itself with weights rounded to so many bits; None where not simulated.
    """

    rows: int
    mean: float
    largest: float
    log_odds: float | None = None
    eight_bits: float | None = None
    four_bits: float | None = None


class ParityResult(Record, frozen=True, kw_only=True, omit_defaults=False):
    """parity.json.

    schema: version of the file. verdict: over all gated checks and faults. exit_code: what the command ends with.
    headline: the verdict in a sentence. task: its name. rows: answered by both. margin: in the metrics' own units
    (0.01: one point). reference, served: the sides. agreement: share of rows with equal answers (as parsed, else as
    texts); texts: share of rows with equal texts. checks: the metrics. findings: what explains the differences.
    prompts: tokens of the prompts, None where a side does not count them. drift: None where no log-probabilities are
    known. different: how many rows were answered differently; examples: some of them; different_rows: positions of
    all of them in the run of the served copy. notes: what was not looked at.
    needed_rows: rows in all that would probably decide, None where none are needed or none would.
    """

    schema: int = SCHEMA
    verdict: Equivalence
    exit_code: int
    headline: str
    task: str
    rows: int
    margin: float
    reference: ParitySide
    served: ParitySide
    agreement: Estimate
    texts: Estimate
    checks: tuple[ParityCheck, ...] = ()
    findings: tuple[ParityFinding, ...] = ()
    prompts: PromptLengths | None = None
    drift: LogProbDrift | None = None
    different: int = 0
    examples: tuple[DifferentRow, ...] = ()
    needed_rows: int | None = None
    notes: tuple[str, ...] = ()
    different_rows: tuple[int, ...] = ()

    def __repr__(self) -> str:
        sides = visible_line(f"{self.served.backend} against {self.reference.backend}")
        lines = [f"Parity {visible_line(self.task)}: {sides}, {count_noun(self.rows, 'row')}", self.headline]
        lines += [f"{one.level}: {one.sentence}" for one in self.findings if one.sentence not in self.headline]
        return "\n  ".join([*lines, f"equal answers {figure_of(self.agreement, SHARE, named=False)}"])

    def _repr_html_(self) -> str:
        header = ["", "reference %", "served %", "difference, points", "verdict"]
        metrics = [
            [
                *(title(check.metric), f"{100 * check.reference:.1f}", f"{100 * check.served:.1f}"),
                *(f"{points(check.difference)} {check.interval}".rstrip(), check.outcome),
            ]
            for check in self.checks
        ]
        shown = html_table(self.headline, [header, *metrics])
        equal = ["equal answers", figure_of(self.agreement, SHARE, named=False)]
        found = [[f"{one.level}: {one.kind}", one.sentence] for one in self.findings]
        return shown + html_table(f"{count_noun(self.rows, 'row')} of {self.task}", [equal, *found])


def read_parity(folder: Path) -> ParityResult | None:
    """The result beside a served copy's answers; None where there is none, or one of another version."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=ParityResult)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
