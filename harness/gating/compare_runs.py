"""Two runs row by row, and what differs between their settings."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import NotComparableError
from harness.gating.comparability import metric_refusals
from harness.gating.evaluate import GateSource, match_names
from harness.hashing import digest
from harness.metrics import Metric
from harness.records import BackendIdentity, Record, Row
from harness.results import PairResult, ReplacementVerdict, VerdictTerms, is_tuned_model
from harness.runs.run_log import Manifest, RunLog
from harness.summary.comparison import Comparison, compare_all
from harness.summary.detectable_difference import detectable_of_pair
from harness.summary.outcomes import Codes, RowTable
from harness.summary.ranking import better_of, correct_pairs
from harness.summary.replacement_verdict import GainBounds, fixed_bounds, not_better, verdict_of_bounds
from harness.text_format import agreeing, count_noun, listing
from harness.text_sanitize import html_table

Topic = Literal["model", "adapter", "prompt", "settings", "rows", "environment"]

_DIGEST = re.compile(r"[0-9a-f]{40,64}")

ABSENT = "-"
"""How a value is written that one side does not have."""


class RunDifference(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One thing that differs. name: what; a, b: its value in each run, as text; backends: of which two, "" for both
    runs as a whole."""

    topic: Topic
    name: str
    a: str
    b: str
    backends: str = ""


def run_differences(a: Manifest, b: Manifest, sides: Iterable[tuple[str, str]]) -> tuple[RunDifference, ...]:
    """The differences by topic. sides: names of the backends that are compared, of `a` and of `b`."""
    found = [d for mine, theirs in sides for d in _of_backends(a, b, mine, theirs)]
    found += [*_of_prompts(a, b), *_of_rows(a, b), *_of_environments(a, b)]
    order = ("model", "adapter", "prompt", "settings", "rows", "environment")
    return tuple(sorted(found, key=lambda d: order.index(d.topic)))


def _of_backends(a: Manifest, b: Manifest, mine: str, theirs: str) -> Iterator[RunDifference]:
    x, y = a.backends.get(mine), b.backends.get(theirs)
    if x is None or y is None:
        return
    who = mine if mine == theirs else f"{mine} and {theirs}"
    facts: tuple[tuple[Topic, str, Any, Any], ...] = (
        ("model", "kind", x.kind, y.kind),
        ("model", "model", x.model, y.model),
        ("model", "weights", _short(x.base_sha256), _short(y.base_sha256)),
        ("model", "decode", x.decode, y.decode),
        ("adapter", "adapter", x.adapter, y.adapter),
        ("adapter", "adapter weights", _short(x.adapter_sha256), _short(y.adapter_sha256)),
        ("settings", "price", _price(x), _price(y)),
        ("settings", "device hour", x.device_hour_usd, y.device_hour_usd),
    )
    for topic, name, one, other in facts:
        yield from _differs(topic, name, one, other, who)
    shown = {"kind", "model", "decode", "adapter", "price", "device_hour_usd"}
    one, other = (
        {**a.backend_settings.get(mine, {}), **x.settings},
        {**b.backend_settings.get(theirs, {}), **y.settings},
    )
    for name in sorted({*one, *other} - shown):
        yield from _differs("settings", name, one.get(name), other.get(name), who)


def _of_prompts(a: Manifest, b: Manifest) -> Iterator[RunDifference]:
    for name in ("prompt", "probe"):
        yield from _differs("prompt", name, a.options.get(name), b.options.get(name))
    yield from _differs("prompt", "shots", a.shots, b.shots)
    yield from _differs("prompt", "parser", a.parser, b.parser)


def _of_rows(a: Manifest, b: Manifest) -> Iterator[RunDifference]:
    yield from _differs("rows", "rows", count_noun(a.rows, "row"), count_noun(b.rows, "row"))
    for name in ("source", "split", "label", "order"):
        yield from _differs("rows", name, a.data.get(name), b.data.get(name))
    yield from _differs("rows", "fingerprint", _short(a.data.get("fingerprint")), _short(b.data.get("fingerprint")))
    yield from _differs("rows", "seed", a.seed, b.seed)
    yield from _differs("rows", "repeats", a.repeats, b.repeats)


def _of_environments(a: Manifest, b: Manifest) -> Iterator[RunDifference]:
    yield from _differs("environment", "time", a.created, b.created)
    yield from _differs("environment", "commit", _short(a.git), _short(b.git))
    for mine, theirs in ((a.versions, b.versions), (a.hardware, b.hardware)):
        for name in sorted({*mine, *theirs}):
            yield from _differs("environment", name, mine.get(name), theirs.get(name))


def _differs(topic: Topic, name: str, a: Any, b: Any, backends: str = "") -> Iterator[RunDifference]:
    if a != b:
        yield RunDifference(topic=topic, name=name, a=_text(a), b=_text(b), backends=backends)


def _text(value: Any) -> str:
    if value is None or value == "":
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return value[:8] if isinstance(value, str) and _DIGEST.fullmatch(value) else str(value)


def _short(digest: Any) -> str | None:
    """The beginning of a hash, and what follows a dash in a commit (`-dirty`)."""
    if not digest:
        return None
    start, dash, rest = str(digest).partition("-")
    return f"{start[:8]}{dash}{rest}"


def _price(identity: BackendIdentity) -> dict[str, Any] | None:
    return None if identity.price is None else {k: v for k, v in identity.price.items() if k != "date"}


class ComparedBackend(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One backend of the comparison and its figures on the common rows, by metric."""

    run: str
    backend: str
    model: str
    decode: str
    figures: dict[str, float]


class RunComparison(Record, frozen=True, kw_only=True, omit_defaults=False):
    """a against b for every metric.

    task: its name. sides: the compared backends. pairs: their differences by metric. rows: common rows; verdicts: for
    each two sides whether a may replace b, by the first metric; resolves: the smallest difference of the first metric
    that the rows detect between the first two sides (80 % power); notes: what was left out; differences: what is not
    the same in both runs besides their answers.
    """

    task: str
    rows: int
    sides: tuple[tuple[ComparedBackend, ComparedBackend], ...]
    pairs: tuple[PairResult, ...]
    resolves: float | None
    notes: tuple[str, ...]
    verdicts: tuple[ReplacementVerdict, ...] = ()
    differences: tuple[RunDifference, ...] = ()

    def _repr_html_(self) -> str:
        table = [["a", "b", "metric", "a - b [95 %]", "verdict"]]
        for pair in self.pairs:
            d = pair.difference
            bounds = "" if d.low is None or d.high is None else f" [{d.low:+.4f}, {d.high:+.4f}]"
            value = "n/a" if d.value is None else f"{d.value:+.4f}{bounds}"
            table.append([pair.a, pair.b, pair.metric, value, pair.verdict])
        return html_table(f"{self.task}: {count_noun(self.rows, 'common row')}", table)


def compare_two_runs(a: GateSource, b: GateSource, a_name: str | None, b_name: str | None) -> RunComparison:
    """Compare on the rows of one id and one request hash.

    A metric that one side has not measured is left out. Raises NotComparableError: another task, parser or metric
    version, or no row in common.
    """
    names = match_names(a, b, a_name, b_name)
    _refuse(a, b)
    same = _same_requests(a, b)
    if not len(same):
        raise NotComparableError(_nothing_common(a, b))
    theirs_by_name = {m.name for m in b.evaluation.metrics}
    metrics = tuple(m for m in a.evaluation.metrics if m.name in theirs_by_name)
    rows = RowTable.of((a.rows[n] for n in same.tolist()), a.evaluation.labels)
    ids = a.ids.only(same)
    sides: list[tuple[ComparedBackend, ComparedBackend]] = []
    everything: dict[tuple[str, str], dict[str, Comparison]] = {}
    bounds: dict[tuple[str, str], GainBounds] = {}
    notes: list[str] = []
    for mine, theirs in names:
        x, y = a.side(mine), b.side(theirs)
        left, right = x.outcomes.only(x.positions(ids)), y.outcomes.only(y.positions(ids))
        compared = compare_all(metrics, rows, left, right, (mine, theirs))
        notes += [
            f"{side.info.backend} of {side.info.run}: contamination unknown: its training rows are not at hand."
            for side in (x, y)
            if side.contaminated is None and (side.info.adapter or is_tuned_model(side.info.model))
        ]
        notes += _of_answers(mine, theirs, len(same), int((left.answered & right.answered).sum()))
        if x.early is not None or y.early is not None:
            notes.append(f"{mine}: the run stopped early; the figures shown are valid at any stopping time.")
        of_runs = f"{mine} of {x.info.run}", f"{theirs} of {y.info.run}"
        everything[of_runs] = compared
        if metrics:
            found = fixed_bounds(metrics[0], rows, (left, right), (mine, theirs))
            bounds |= {} if found is None else {of_runs: found}
        values = [{n: getattr(c, f"value_{side}") for n, c in compared.items()} for side in "ab"]
        sides.append(
            (
                ComparedBackend(
                    run=x.info.run, backend=mine, model=x.info.model, decode=x.info.decode, figures=values[0]
                ),
                ComparedBackend(
                    run=y.info.run, backend=theirs, model=y.info.model, decode=y.info.decode, figures=values[1]
                ),
            )
        )
    pairs = correct_pairs(metrics, everything)
    return RunComparison(
        task=a.evaluation.task,
        rows=len(same),
        sides=tuple(sides),
        pairs=pairs,
        resolves=detectable_of_pair(pairs[0]) if pairs else None,
        verdicts=_verdicts(bounds, pairs, a, metrics),
        differences=_differences(a, b, names),
        notes=(*_notes(a, b, len(same), sides), *filter(None, [rows.copies_remark()]), *notes),
    )


def _nothing_common(a: GateSource, b: GateSource) -> str:
    """That no row was asked in the same words by both, and why, where the rows themselves are common."""
    both = a.ids.common(b.ids)
    message = f"{a.evaluation.source} and {b.evaluation.source} have no row with the same request"
    if not both:
        return f"{message}: their rows differ."
    why = [f"{d.name} {d.a} and {d.b}" for d in _differences(a, b, []) if d.topic == "prompt"]
    return (
        f"{message}: {count_noun(both, 'row')} {agreeing(both, 'is')} in both, asked in other words"
        f"{f' ({listing(why)})' if why else ''}. Ask one run again with the prompt of the other."
    )


def _differences(a: GateSource, b: GateSource, names: list[tuple[str, str]]) -> tuple[RunDifference, ...]:
    """What differs between two runs; nothing is known of a baseline file."""
    if not isinstance(a.origin, RunLog) or not isinstance(b.origin, RunLog):
        return ()
    return run_differences(a.origin.manifest, b.origin.manifest, names)


def _same_requests(a: GateSource, b: GateSource) -> Codes:
    """Positions in `a` of the rows that both asked in the same words and with the same reference; a baseline has no
    rows."""
    if not len(a.rows) or not len(b.rows):
        return np.empty(0, dtype=np.int64)
    here, there = (_all_asked(source.rows) for source in (a, b))
    place = b.ids.find(a.ids)
    known = np.flatnonzero(place >= 0)
    return np.asarray(known[here[known] == there[place[known]]])


def _all_asked(rows: Iterable[Row]) -> NDArray[np.void]:
    """(n,) 32 bytes of each row, over what was asked and the reference."""
    found = bytearray()
    for row in rows:
        found += bytes.fromhex(digest([row.request.hash(), row.sample.reference]))
    return np.frombuffer(found, dtype="V32")


def _refuse(a: GateSource, b: GateSource) -> None:
    for what, here, there in (
        ("tasks", a.evaluation.task, b.evaluation.task),
        ("versions of the task's parser", a.evaluation.parser, b.evaluation.parser),
        ("label sets", ", ".join(a.evaluation.labels), ", ".join(b.evaluation.labels)),
    ):
        if here != there:
            raise NotComparableError(f"the {what} differ ({here} and {there}): their scores mean different things.")
    if other := metric_refusals(a.evaluation, b.evaluation):
        raise NotComparableError(" ".join(other))


def _verdicts(
    bounds: dict[tuple[str, str], GainBounds],
    pairs: tuple[PairResult, ...],
    source: GateSource,
    metrics: tuple[Metric, ...],
) -> tuple[ReplacementVerdict, ...]:
    """For each two sides with bounds, whether the first may replace the second."""
    better = {(p.a, p.b) for p in pairs if p.metric == metrics[0].name and better_of(p) == p.a} if metrics else set()
    return tuple(
        verdict_of_bounds(b if names in better else not_better(b), metrics[0], names, _terms(source, metrics[0]))
        for names, b in bounds.items()
    )


def _terms(source: GateSource, metric: Metric) -> VerdictTerms:
    """The terms that the first run was asked by, where they are of this metric."""
    asked = source.origin.manifest.verdict if isinstance(source.origin, RunLog) else None
    if asked is None or source.evaluation.metrics[0] != metric:
        return VerdictTerms()
    return VerdictTerms(margin=asked.margin, margin_source=asked.margin_source, checks=asked.checks)


def _notes(
    a: GateSource, b: GateSource, common: int, sides: list[tuple[ComparedBackend, ComparedBackend]]
) -> list[str]:
    notes = []
    if not common == len(a.rows) == len(b.rows):
        notes.append(
            f"compared on the {common} rows that both asked in the same words, of {len(a.rows)} and {len(b.rows)}."
        )
    if not common == len(a.rows) == len(b.rows) and a.evaluation.order != b.evaluation.order:
        notes.append(
            f"rows were drawn by version {a.evaluation.order} of the seeded order in one run and by version "
            f"{b.evaluation.order} in the other: a smaller --limit is no part of a larger one there."
        )
    for x, y in sides:
        if x.decode != y.decode:
            notes.append(f"{x.backend} and {y.backend} take their answers in different ways ({x.decode}, {y.decode}).")
    alone = {m.name for m in a.evaluation.metrics} ^ {m.name for m in b.evaluation.metrics}
    notes += [f"{name} was measured in one of the runs only." for name in sorted(alone)]
    return notes


def _of_answers(mine: str, theirs: str, common: int, answered: int) -> list[str]:
    if answered == common:
        return []
    who = mine if mine == theirs else f"{mine} and {theirs}"
    return [f"{who}: rows that one side has not answered are left out: {answered} remain."]
