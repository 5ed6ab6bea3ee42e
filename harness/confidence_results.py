"""The records of what confidences are worth: calibration, accuracy against the share kept, and cascades."""

from typing import Literal

from harness.metrics import Estimate
from harness.records import Record

SCHEMA = 1
"""Of `cascade.json`."""


class ReliabilityBin(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Rows of neighbouring confidence: how many, their mean confidence, and the share of them that is right."""

    rows: int
    confidence: float
    accuracy: float


class CoveragePoint(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What is kept at one threshold.

    threshold: answers with at least this confidence are kept. share: of the rows. accuracy: of the kept ones. low,
    high: of the band that holds at all points of the curve together.
    """

    threshold: float
    share: float
    accuracy: float
    low: float
    high: float


class CalibrationResult(Record, frozen=True, kw_only=True, omit_defaults=False):
    """How far one backend's confidence can be trusted.

    source: where the confidence is known from. temperature: by which label scores were divided; None for 1. rows: with
    a confidence and a verdict; without: answers without confidence. error: debiased root mean square calibration error.
    brier, log_loss: of being right against the confidence; a confidence that is no probability has none of the three.
    aurc: area under the risk-coverage curve, the mean error rate over all shares kept; error_rate: of all rows. bins:
    reliability data. coverage: accuracy against the share kept. caution: why the figures say little ("" where they do
    not).
    """

    source: str
    temperature: float | None = None
    rows: int
    without: int = 0
    error: Estimate = Estimate(value=None)
    brier: Estimate = Estimate(value=None)
    log_loss: Estimate = Estimate(value=None)
    aurc: float | None = None
    error_rate: float | None = None
    bins: tuple[ReliabilityBin, ...] = ()
    coverage: tuple[CoveragePoint, ...] = ()
    caution: str = ""


class StageShare(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One stage of a cascade that ran: requests it was asked, and answers of the cascade that are its own."""

    asked: int
    answered: int


class CascadeStage(Record, frozen=True, kw_only=True, omit_defaults=False):
    """A stage of a cascade.

    name: of the backend, or "person". source: of its confidence; "" for the last stage. value: its figure on all rows,
    asked alone. cost_per_1000: USD of 1,000 of its answers; latency_s: mean seconds of one request at a time; None:
    unknown.
    """

    name: str
    source: str = ""
    value: Estimate = Estimate(value=None)
    cost_per_1000: float | None = None
    latency_s: float | None = None


class CascadePoint(Record, frozen=True, kw_only=True, omit_defaults=False):
    """A cascade at one setting of its thresholds.

    thresholds: of all stages but the last; an answer of that confidence or more is kept (None: no answer is kept).
    shares: of the answers that each stage gives. value: of the headline metric. cost_per_1000: USD, all stages that are
    asked summed; latency_s: likewise; None: unknown.
    """

    thresholds: tuple[float | None, ...]
    shares: tuple[float, ...]
    value: float
    cost_per_1000: float | None = None
    latency_s: float | None = None


CascadeAim = Literal["loss", "cost"]


class CascadeResult(Record, frozen=True, kw_only=True, omit_defaults=False):
    """A cascade over the answers of a run: the curve, and the operating point that was certified.

    schema: version of the file. run: its id. metric: the figure of quality, of direction `direction`. stages: in the
    order in which they are asked. reference: what the loss is against. aim, limit: at most `limit` worse than the
    reference ("loss", in the metric's own units), or at most `limit` USD per 1,000 answers ("cost"). certified:
    whether the aim is shown to be kept at `level`, on the `certifying` rows; the `learning` rows chose the thresholds
    and the order in which they were tested. direction: of the metric, "higher" or "lower" is better. learning,
    certifying: rows of the two parts. level: of the certificate. chosen: the certified operating point, as measured
    on the certifying rows; None: none. loss: of the chosen point against the reference on the certifying rows, with
    its two-sided interval. left_out: rows without an answer of every stage, and rows that a stage was trained on.
    points: the curve over all rows, from all answers by the last stage to as many as possible by the first.
    up_by_label: reference label -> share of its rows that go beyond the first stage at the chosen point. volume:
    requests a month; saved_usd_month: USD that the chosen point saves in a month against the reference; None:
    unknown. cautions: what a reader must know, as sentences.
    """

    schema: int = SCHEMA
    run: str
    metric: str
    direction: Literal["higher", "lower"] = "higher"
    stages: tuple[CascadeStage, ...]
    reference: str
    aim: CascadeAim
    limit: float
    certified: bool = False
    level: float = 0.95
    learning: int = 0
    certifying: int = 0
    left_out: int = 0
    chosen: CascadePoint | None = None
    loss: Estimate = Estimate(value=None)
    points: tuple[CascadePoint, ...] = ()
    up_by_label: dict[str, float] = {}
    volume: int | None = None
    saved_usd_month: float | None = None
    cautions: tuple[str, ...] = ()
