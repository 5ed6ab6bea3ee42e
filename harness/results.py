"""The records of `summary.json`: every aggregate and test result, computed once when a run ends.

Reports, compare and gate read these and never recompute a statistic.
"""

from typing import Any, Literal

from harness.confidence_results import CalibrationResult, CascadeResult, StageShare
from harness.metrics import Estimate, Metric
from harness.records import Record

SCHEMA = 2
"""2: `resolution` is that of the pair that `verdict` names; 1: of the worst of all pairs."""


class ClassResult(Record, frozen=True, kw_only=True):
    """One label's precision, recall and F1 (zero division gives 0), and its rows (`support`).

    accuracy: of a field, the share of rows in which it is right, absent ones included; None for labels.
    """

    precision: float
    recall: float
    f1: float
    support: float
    accuracy: Estimate | None = None


class Confusion(Record, frozen=True, kw_only=True):
    """counts[i][j]: rows whose reference is labels[i] answered answers[j]; the last answer is "(no label)"."""

    labels: tuple[str, ...]
    answers: tuple[str, ...]
    counts: tuple[tuple[float, ...], ...]


class Latency(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Seconds over `rows` answers. In a probe: one request at a time. First-token time None where undefined."""

    rows: int
    p50_s: float
    p95_s: float
    mean_s: float
    first_token_p50_s: float | None = None
    first_token_p95_s: float | None = None


class Load(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Work under load. `wall_s` and rates cover sessions that ended (a killed session has no wall time).

    service: per-request seconds while others were in flight (never comparable with a probe);
    queue_mean_s, retry_total_s: waiting, kept apart; attempts: requests sent; cached: rows from the cache
    (left out of latency and rates); counters: what the backend says of its own work (padding_share, ..).
    """

    wall_s: float | None = None
    rows_per_s: float | None = None
    tokens_per_s: float | None = None
    service: Latency | None = None
    queue_mean_s: float | None = None
    retry_total_s: float = 0.0
    attempts: int = 0
    cached: int = 0
    counters: dict[str, float] = {}


class CostResult(Record, frozen=True, kw_only=True, omit_defaults=False):
    """USD; None = unknown, never 0. `basis` says in words what the figures rest on.

    list: price of all answers; incurred: what the run paid; per_1000: list price of 1,000 answers;
    training: of the adapter, once, with all `trainings` (seeds, a sweep) that it was chosen from.
    """

    list: float | None = None
    incurred: float | None = None
    per_1000: float | None = None
    training: float | None = None
    trainings: int = 1
    basis: str = ""


class ServerResult(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One server of a fleet: rows it answered, its share of them, attempts that failed there, seconds a request."""

    answered: int
    share: float
    failed_attempts: int = 0
    p50_s: float | None = None
    p95_s: float | None = None


def is_tuned_model(model: str) -> bool:
    """Whether a provider's model id names a fine-tuned one, as OpenAI (`ft:..`) and Azure write it."""
    return model.startswith("ft:") or ".ft-" in model


class BackendResult(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One candidate's results.

    decode: how answers were taken from the model. model: its id or path. adapter: its id. answered: requests with an
    answer. metrics: figures by name. per_class: by label. confusion: references against answers. usage: tokens by kind.
    truncated_prompts: prompts that were cut to fit. probe: latency of one request at a time. load: work under load.
    cost: USD. asked: rows x repeats; answered + errors + missing = asked; errors: infrastructure errors by kind (not in
    any denominator); error_examples: the first message of each kind; missing: never sent; stopped: why the backend
    ended early; format_errors: rows by kind; cut_off_thinking: answers that the length limit ended before the model had
    done with its reasoning; only_reasoning: answers that ended by themselves and hold reasoning alone; contaminated:
    evaluated rows that are also in the adapter's training rows (None: not known); clean: the metrics without those
    rows (empty where there are none); servers: by URL, where there were several; calibration: what its confidence is
    worth, where it gives one; stages: of a cascade, by name in the order in which they are asked.
    """

    decode: str
    model: str
    adapter: str | None = None
    asked: int = 0
    answered: int = 0
    errors: dict[str, int] = {}
    error_examples: dict[str, str] = {}
    missing: int = 0
    stopped: dict[str, str] | None = None
    metrics: dict[str, Estimate] = {}
    per_class: dict[str, ClassResult] = {}
    confusion: Confusion | None = None
    format_errors: dict[str, int] = {}
    usage: dict[str, int] = {}
    truncated_prompts: int = 0
    cut_off_thinking: int = 0
    only_reasoning: int = 0
    contaminated: int | None = None
    clean: dict[str, Estimate] = {}
    probe: Latency | None = None
    load: Load = Load()
    cost: CostResult = CostResult()
    servers: dict[str, ServerResult] = {}
    calibration: CalibrationResult | None = None
    stages: dict[str, StageShare] = {}

    @property
    def contamination_unknown(self) -> bool:
        """Whether it was fine-tuned on rows that nobody has compared with the evaluated ones."""
        return self.contaminated is None and (self.adapter is not None or is_tuned_model(self.model))


class PairResult(Record, frozen=True, kw_only=True, omit_defaults=False):
    """a against b on the rows both answered, for one metric.

    a, b: names of the two backends. metric: its name. rows: that both answered. p_method: name of the test. difference:
    a - b; p: of the named test; p_holm: corrected over all pairs of this metric; only_a, only_b: rows only a (only b)
    got right, for right/wrong metrics; detectable: the smallest difference that these rows detect with 80 % power at
    5 %; verdict: "a better", "b better" or "not distinguishable" (at 5 %, after Holm); no_verdict: why nothing may be
    concluded from these rows, in words without a full stop ("" where it may; then p does not decide).
    """

    a: str
    b: str
    metric: str
    rows: int
    difference: Estimate
    p: float | None = None
    p_method: str = ""
    p_holm: float | None = None
    only_a: int | None = None
    only_b: int | None = None
    detectable: float | None = None
    verdict: Literal["a better", "b better", "not distinguishable"] = "not distinguishable"
    no_verdict: str = ""


class VerdictTerms(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What a run was asked about replacing one backend by another; None where nobody said.

    margin: the largest loss of the headline metric that would be accepted, in the metric's own units (shares: 0.02 is
    2 points); margin_source: whose it is, in words; checks: margins of `[gate]` over which a gate corrects a harm, so
    that rows needed are the same figure in both.
    """

    incumbent: str | None = None
    candidate: str | None = None
    margin: float | None = None
    margin_source: str = ""
    checks: int = 1


class LossPosterior(Record, frozen=True, kw_only=True, omit_defaults=False):
    """P(loss < margin) after these rows, and the prior in words. A reading beside the bound; it decides nothing."""

    probability: float
    prior: str


VerdictOutcome = Literal[
    "within margin",
    "not shown",
    "worse",
    "beyond margin",
    "unchanged",
    "no margin",
    "no bound",
    "incomplete",
]
"""within margin: the bound of the loss lies below the margin. beyond margin: the loss is shown to exceed it. worse: a
loss is shown, but not on which side of the margin it lies. unchanged: not one row differs. not shown: none of these.
no margin: nobody named one, and the metric has no usual one. no bound: the rows cannot bound the loss. incomplete: too
many answers are missing."""


class ReplacementVerdict(Record, frozen=True, kw_only=True, omit_defaults=False):
    """May the candidate replace the incumbent? One record, from which every output takes its first sentence.

    incumbent, candidate: names of the two backends. metric: the headline metric. outcome: in a word. level: of the
    bound. needed_for: "" where no rows are needed. remarks: what a reader must know, as sentences. candidates: those
    among which the candidate was chosen by its figure (one: it was named, or the only one); the level of the bound is
    then corrected by Bonferroni over them. value_incumbent, value_candidate: figures on these rows. loss: how much
    worse the candidate is, positive is worse, in the metric's own units; [low, high] is two-sided, and each end alone a
    one-sided bound at `level` (low, high None: unbounded). method: of the interval. rows: rows that were compared;
    basis: which ones, "" for all. sequential: the interval holds wherever asking stopped. margin, margin_source: as in
    the terms; None where no margin is known. needed_rows: rows in all that would probably decide, and needed_for: what
    they would show. detectable: the smallest difference that these rows detect with 80 % power. discordant: rows on
    which exactly one of the two is right; fewest_discordant: so many a two-sided exact test at 5 % takes at least
    (None: not a right/wrong metric, or dependent rows). posterior: None where the rows are no independent right or
    wrong answers.
    """

    incumbent: str
    candidate: str
    candidates: int = 1
    metric: str
    outcome: VerdictOutcome
    value_incumbent: float | None = None
    value_candidate: float | None = None
    loss: Estimate = Estimate(value=None)
    level: float = 0.95
    rows: int = 0
    basis: str = ""
    sequential: bool = False
    margin: float | None = None
    margin_source: str = ""
    needed_rows: int | None = None
    needed_for: Literal["", "within margin", "worse"] = ""
    detectable: float | None = None
    discordant: int | None = None
    fewest_discordant: int | None = None
    posterior: LossPosterior | None = None
    remarks: tuple[str, ...] = ()


class ConstantAnswer(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What always giving the most frequent label of the evaluated rows would score: the metrics of the task by name."""

    label: str
    accuracy: float
    rows: int
    metrics: dict[str, float] = {}


FindingKind = Literal["one answer", "not better than constant", "not shown better than constant", "identical answers"]


class AnswerFinding(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Signs of a broken candidate: one answer everywhere, no better than a constant, or another's answers.

    backends: whose answers; rows: rows looked at; count: of these, answers that are the one, rows with equal answers,
    or rows that are right; answer: the one label, or the label of the constant; sentence: the finding in words.
    """

    kind: FindingKind
    backends: tuple[str, ...]
    rows: int
    count: int
    answer: str = ""
    sentence: str


class Summary(Record, frozen=True, kw_only=True, omit_defaults=False):
    """summary.json.

    schema: version of the file. run: its id. task: its name. created: ISO time, UTC. rows: of the data. repeats: how
    often each row was asked. headline: name of the metric that decides. metrics: of the task. backends: results by
    name. pairs: every two backends, by metric. warnings: as sentences. data: as in the manifest ({"source", "split",
    "fingerprint", "label", ..}); ranks: 1 + the number of backends that are shown to be better by the headline metric;
    letters: two backends share one exactly where their difference is not significant; resolution: the smallest
    difference of the headline metric that these rows detect between the two backends of the verdict (80 % power, 5 %),
    as a proportion; verdict: None with one backend; constant: None where the task has no labels; findings: answers that
    no working candidate gives; complete: no row is missing or ended in an infrastructure error; slices: the metrics
    within each value of a column of the data: column -> value -> backend -> metric -> figure. Columns of at most 20
    values; values in falling number of rows; cascade: the best cascade of two backends that is certified to stay within
    the margin of the verdict, None where there is none.
    """

    schema: int = SCHEMA
    run: str
    task: str
    created: str = ""
    rows: int = 0
    repeats: int = 1
    data: dict[str, Any] = {}
    headline: str = "accuracy"
    metrics: tuple[Metric, ...] = ()
    backends: dict[str, BackendResult] = {}
    pairs: tuple[PairResult, ...] = ()
    ranks: dict[str, int] = {}
    letters: dict[str, str] = {}
    verdict: ReplacementVerdict | None = None
    constant: ConstantAnswer | None = None
    findings: tuple[AnswerFinding, ...] = ()
    resolution: float | None = None
    complete: bool = True
    warnings: tuple[str, ...] = ()
    slices: dict[str, dict[str, dict[str, dict[str, Estimate]]]] = {}
    cascade: CascadeResult | None = None
