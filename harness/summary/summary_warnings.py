"""What a reader of a summary must know before believing its figures, in words."""

import math

import numpy as np

from harness.gating.gate_settings import DEFAULT_FORMAT_MARGIN, DEFAULT_MARGIN
from harness.metrics import ACCURACY, FORMAT_ERROR_RATE, Metric
from harness.results import AnswerFinding, BackendResult, PairResult
from harness.runs.run_log import EARLY_STOP, Manifest
from harness.statistics.proportions import two_shares_p
from harness.statistics.rows_needed import least_rows_to_pass
from harness.summary.outcomes import HAS_NO_FORMAT, Outcomes
from harness.text_format import figure_of
from harness.text_sanitize import one_line

MUCH_CACHED = 0.01
WAITING = 10.0
"""A request that waits for its turn this many times longer than its service time indicates a client bottleneck."""


def warnings_of(
    manifest: Manifest,
    results: dict[str, BackendResult],
    pairs: tuple[PairResult, ...],
    outcomes: dict[str, Outcomes],
    findings: tuple[AnswerFinding, ...] = (),
    metrics: tuple[Metric, ...] = (),
) -> tuple[str, ...]:
    """All warnings: first what makes a verdict doubtful, last what concerns speed alone."""
    found = [text for name, result in results.items() for text in _incomplete(name, result)]
    found += [finding.sentence for finding in findings]
    found += [text for name, result in results.items() for text in _contaminated(manifest, name, result, metrics)]
    found += [text for name, result in results.items() for text in _kept_share(manifest, name, result)]
    found += [text for name, result in results.items() for text in _undefined(name, result, outcomes[name])]
    found += _too_few_for_a_gate(manifest, results)
    fewer = sorted({(p.a, p.b, p.rows) for p in pairs if p.rows < manifest.rows and p.metric == _headline(pairs)})
    of = f"of {manifest.rows:,} rows that both answered"
    found += [f"{a} and {b} are compared on the {n:,} {of}." for a, b, n in fewer]
    found += [text for name, result in results.items() for text in _retired(manifest, name, result)]
    found += [text for name, result in results.items() for text in _of_work(manifest, name, result)]
    return tuple(found)


def _too_few_for_a_gate(manifest: Manifest, results: dict[str, BackendResult]) -> list[str]:
    """That the default gate could not pass on these rows, whatever the answers."""
    written = any(r.decode not in HAS_NO_FORMAT for r in results.values())
    if written and FORMAT_ERROR_RATE.name in manifest.metric_versions:
        margin, what = DEFAULT_FORMAT_MARGIN, "format errors within 1 point"
    elif ACCURACY.name in manifest.metric_versions:
        margin, what = DEFAULT_MARGIN, "accuracy within 2 points"
    else:
        return []
    least = least_rows_to_pass(margin)
    if not 0 < manifest.rows < least:
        return []
    return [
        f"`bench gate` with its default margins cannot pass with fewer than {least} rows, even where no row differs "
        f"({what}); these are {manifest.rows}."
    ]


def _headline(pairs: tuple[PairResult, ...]) -> str:
    return pairs[0].metric if pairs else ""


def _first_message(result: BackendResult) -> str:
    """What the server said of the most frequent kind of error."""
    kind = max(result.errors, key=lambda kind: result.errors[kind])
    message = result.error_examples.get(kind, "")
    return f" The first {kind}: {one_line(message, 160)}" if message else ""


def _incomplete(name: str, result: BackendResult) -> list[str]:
    found = []
    errors = sum(result.errors.values())
    if errors:
        kinds = ", ".join(f"{kind} {count}" for kind, count in result.errors.items())
        found.append(
            f"{name}: {errors:,} of {result.asked:,} requests ended in an infrastructure error ({kinds}); "
            f"they are excluded from the rates.{_first_message(result)}"
        )
    early = result.stopped is not None and result.stopped.get("kind") == EARLY_STOP
    if result.missing and not early:
        found.append(f"{name}: {result.missing:,} of {result.asked:,} answers are missing; continue with --resume.")
    if early:
        found.append(
            f"{name}: its number of rows was chosen by looking at the answers: its intervals are confidence sequences, "
            "which are valid at any stopping time; figures without one are shown without an interval."
        )
    if result.stopped is not None:
        found.append(f"{name} stopped early: {result.stopped.get('message', '')}")
    return found


def _of_work(manifest: Manifest, name: str, result: BackendResult) -> list[str]:
    found = []
    load = result.load
    if load.cached > MUCH_CACHED * max(result.answered, 1):
        found.append(
            f"{name}: {load.cached:,} of {result.answered:,} answers came from the cache or a recording; "
            "latency and throughput are computed from the others."
        )
    if result.truncated_prompts:
        found.append(f"{name}: {result.truncated_prompts} prompts were too long and were truncated.")
    if result.cut_off_thinking:
        found.append(
            f"{name}: {result.cut_off_thinking:,} of {result.answered:,} answers were cut off while the model was "
            "still reasoning: their tokens were used for reasoning; raise max_tokens, or switch reasoning off."
        )
    if manifest.probe_rows and result.probe is None:
        found.append(f"{name}: the latency probe has no answer: its latency one request at a time is not known.")
    if result.only_reasoning:
        found.append(
            f"{name}: {result.only_reasoning:,} of {result.answered:,} answers contain reasoning only: the model "
            "stopped there, or the server's reasoning parser mistakes answers for reasoning; switch reasoning off "
            "(template = { enable_thinking = false }), or start the server without that parser."
        )
    if load.counters.get("client_bound"):
        lag = load.counters.get("client_lag_s", 0.0)
        advice = "measure latency with a probe, or lower concurrency"
        if manifest.probe_rows:
            advice = "its probe is not affected" if result.probe is not None else "no answer of its probe came back"
        found.append(
            f"{name}: latency under load is client-bound: answers were read {1000 * lag:.0f} ms late on average; "
            f"{advice}."
        )
    remote = manifest.backends[name].kind != "local"  # rows of a local window wait for each other by design
    if remote and load.service is not None and load.queue_mean_s is not None:
        waited, worked = load.queue_mean_s, load.service.mean_s
        if 0 < WAITING * worked < waited:
            found.append(
                f"{name}: requests waited {waited:.2f} s in the queue and were processed for {worked:.2f} s: "
                "throughput is bound by this machine or its limits, not by the server."
            )
    return found


def _retired(manifest: Manifest, name: str, result: BackendResult) -> list[str]:
    retired = manifest.backends[name].retired
    if not retired:
        return []
    past = manifest.created[:10] >= retired
    return [f"{name}: {result.model} {'was' if past else 'will be'} shut down on {retired}."]


def _contaminated(manifest: Manifest, name: str, result: BackendResult, metrics: tuple[Metric, ...]) -> list[str]:
    if result.contamination_unknown and not manifest.data.get("probe"):
        local = manifest.backends[name].kind == "local"
        how = "--trained-on FILE" if local else f'trained_on = "FILE" in [backends.{name}]'
        return [f"{name}: contamination unknown: the rows that it was trained on are not at hand; name them ({how})."]
    if not result.contaminated:
        return []
    return [
        f"{name}: {result.contaminated:,} of {manifest.rows:,} evaluated rows are also in the training rows"
        f"{_without(result, metrics)}."
    ]


def _without(result: BackendResult, metrics: tuple[Metric, ...]) -> str:
    """What the headline metric is on the other rows."""
    for metric in metrics:
        figure = result.clean.get(metric.name)
        if figure is not None and figure.value is not None and figure.low is not None and figure.high is not None:
            return f"; on the {figure.n:,} others: {figure_of(figure, metric)}"
    return ""


def _kept_share(manifest: Manifest, name: str, result: BackendResult) -> list[str]:
    """That a cascade's first stage keeps another share of the answers than on the rows that certified it."""
    settings = manifest.backends[name].settings
    expected, rows = settings.get("kept_share"), settings.get("kept_rows")
    answered = sum(stage.answered for stage in result.stages.values())
    if not isinstance(expected, float) or not answered:
        return []
    first, share = next((stage, one.answered / answered) for stage, one in result.stages.items())
    p = two_shares_p(expected, float(rows or math.inf), share, answered)
    if p >= DRIFT:
        return []
    return [
        f"{name}: {first} keeps {100 * share:.1f} % of the answers, {100 * expected:.1f} % where the threshold was "
        f"certified (p {'< 0.001' if p < 0.001 else f'{p:.3f}'}): the rows or the model have changed, so that the "
        "certificate may not hold; certify again with `bench cascade`."
    ]


DRIFT = 0.01
"""The p-value below which a share that is kept counts as another one."""


def _undefined(name: str, result: BackendResult, outcomes: Outcomes) -> list[str]:
    """Answers that a metric says nothing about."""
    answered = int(outcomes.answered.sum())
    found = []
    for metric, values in outcomes.values.items():
        lacking = answered - int((~np.isnan(values)).sum())
        if lacking:
            found.append(f"{name}: {metric} is not defined for {lacking:,} of {answered:,} answered rows.")
    return found
