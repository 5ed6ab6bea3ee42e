"""The records of `gate.json`: every check with its figures, and the verdict over all of them."""

from collections.abc import Sequence
from typing import Any, Literal

from harness.records import Record
from harness.results import ReplacementVerdict
from harness.text_sanitize import html_table

SCHEMA = 2

Verdict = Literal["pass", "unchanged", "fail", "inconclusive", "incomparable", "advisory"]
"""Of a check. "unchanged": every answer is the reference's own text; "advisory" is shown and never counts;
"incomparable" is never a pass."""

OverallVerdict = Literal["pass", "unchanged", "fail", "inconclusive", "incomparable", "incomplete"]

Scope = Literal["all", "clean", "first"]
"""What a check looks at: all rows; those that the candidate was not trained on; all rows, against the first accepted
baseline instead of the last."""

Kind = Literal["paired", "absolute", "ratio", "sequential"]

AGAINST = ("paired", "sequential")
"""Kinds of checks that hold row against row."""

WORDS = {
    "pass": "PASS",
    "unchanged": "UNCHANGED",
    "fail": "FAIL",
    "inconclusive": "INCONCLUSIVE",
    "incomparable": "NOT COMPARABLE",
    "incomplete": "NO VERDICT",
    "advisory": "advice",
}
"""Verdicts as they are shown."""


class ArmInfo(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One side of a comparison: a backend of a run directory or of a baseline file (`source`)."""

    source: str
    run: str
    backend: str
    model: str
    adapter: str | None = None
    adapter_sha256: str | None = None
    decode: str
    created: str = ""
    git: str | None = None


class Contamination(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Evaluated rows that a side's model may have learned from.

    contaminated: how many, share: of `rows`; None where its training rows are not known. trained: whether it was
    fine-tuned, as far as is known.
    """

    source: str
    backend: str
    rows: int
    contaminated: int | None
    share: float | None
    trained: bool


class CheckResult(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One check.

    backend: the candidate's name. metric: its name. kind: what is compared with what. verdict: of this check. scope:
    which rows. candidate, reference: the two figures. level: of the interval. method: of the interval. rows: that were
    compared. differing: of these, rows on which the two sides differ. mid_p: of McNemar's mid-p test. needed_verdict:
    what so many rows would show. name: "llama-ft: accuracy, against the reference". difference: candidate - reference
    (paired) or their quotient (ratio); low, high: its interval at `level` (absolute checks: the interval of the
    candidate's own figure). p: two-sided, of "no difference" (mid_p: McNemar's mid-p); harm_p: one-sided, of "not
    worse", exact for right or wrong; harm_p_holm: over all checks. candidates: among so many the candidate is the best
    on these rows; the interval then holds for all of them at once. margin: the largest acceptable loss;
    limit: the bound of an absolute or ratio check. needed_rows: rows in all that would probably decide an inconclusive
    check (80 % power, if the figures stay), and needed_verdict: how; detectable: the smallest difference that the rows
    detect; resolves: the smallest margin that they pass with 80 % power when there is no true difference. shown_worse:
    a pass whose loss within the margin is real. unit: of differences, "points" for figures in 0..1; no_verdict: why
    these rows decide nothing, in words without a full stop ("" where they may). sentence: the finding in words.
    """

    name: str
    backend: str
    metric: str
    kind: Kind
    verdict: Verdict
    scope: Scope = "all"
    candidate: float | None = None
    reference: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.9
    candidates: int = 1
    method: str = ""
    margin: float | None = None
    limit: float | None = None
    rows: int = 0
    differing: int | None = None
    p: float | None = None
    mid_p: float | None = None
    harm_p: float | None = None
    harm_p_holm: float | None = None
    resolves: float | None = None
    detectable: float | None = None
    needed_rows: int | None = None
    needed_verdict: Literal["pass", "fail"] | None = None
    shown_worse: bool = False
    unit: str = ""
    no_verdict: str = ""
    sentence: str = ""


def overall(checks: Sequence[CheckResult]) -> OverallVerdict:
    """The worst that counts; a gate without a single check that counts has compared nothing."""
    counted = {check.verdict for check in checks if check.verdict != "advisory"}
    if "incomparable" in counted or not counted:
        return "incomparable"
    if "fail" in counted:
        return "fail"
    if "inconclusive" in counted:
        return "inconclusive"
    against = {check.verdict for check in checks if check.kind in AGAINST and check.scope != "first"} - {"advisory"}
    return "unchanged" if against == {"unchanged"} else "pass"


class Diagnostic(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Accuracy within one class or slice: shown, never gated. p_corrected: Benjamini-Hochberg over all of them."""

    backend: str
    column: str
    value: str
    rows: int
    candidate: float
    reference: float
    p: float
    p_corrected: float


class Flip(Record, frozen=True, kw_only=True, omit_defaults=False):
    """A row that the reference had right and the candidate has wrong."""

    backend: str
    id: str
    expected: str
    answered: str
    text: str


class GateResult(Record, frozen=True, kw_only=True, omit_defaults=False):
    """gate.json.

    schema: version of the file. verdict: of the gate. task: its name. rows: of the candidate's run. sentences: the
    verdicts in words. on_inconclusive: what an inconclusive gate does to the exit code. headline: the verdict in a
    sentence. resolution: what the rows can detect, in a sentence. sides: candidate and reference of each comparison.
    contamination: rows that either side was trained on. checks: all of them. diagnostics: within classes and slices,
    never gated. flips: rows that were right and are wrong. warnings: as sentences. settings: the terms that were
    applied. verdicts: for each two sides what the check of the headline metric bounds, and sentences: in words. verdict
    "incomplete": too few answers for any verdict; reasons: why the sides cannot be compared, or why no verdict was
    given. exit_code: what the command ends with under `on_inconclusive`. notes: how the gate was set up, where nothing
    needs to be done about it. checks_off: figures that the default gate holds against the reference and this one does
    not.
    """

    schema: int = SCHEMA
    verdict: OverallVerdict
    exit_code: int
    task: str
    rows: int = 0
    on_inconclusive: Literal["warn", "block"] = "warn"
    headline: str = ""
    resolution: str = ""
    verdicts: tuple[ReplacementVerdict, ...] = ()
    sentences: tuple[str, ...] = ()
    sides: tuple[tuple[ArmInfo, ArmInfo], ...] = ()
    contamination: tuple[tuple[Contamination, Contamination], ...] = ()
    checks: tuple[CheckResult, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    flips: tuple[Flip, ...] = ()
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    checks_off: tuple[str, ...] = ()
    settings: dict[str, Any] = {}

    @property
    def passed(self) -> bool:
        """Every check that counts has passed, or nothing has changed."""
        return self.verdict in ("pass", "unchanged")

    def _repr_html_(self) -> str:
        table = [["check", "verdict", "finding"], *([c.name, c.verdict, c.sentence] for c in self.checks)]
        return html_table(self.headline or f"{self.task}: {self.verdict}", table)
