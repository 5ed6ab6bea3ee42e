"""Who is compared with whom in the verdict of a run, and on which terms."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from harness.errors import SettingsError, UsageError, did_you_mean
from harness.gating.gate_settings import DEFAULT_MARGIN, gate_settings
from harness.metrics import Metric
from harness.records import BackendIdentity
from harness.results import BackendResult, VerdictTerms
from harness.settings import Settings, decode_table

DEFAULT_SOURCE = "Bench's default"


class VerdictSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of `[verdict]`.

    incumbent: the backend that would be replaced (default: the API, or the dearer one). candidate: the backend that
    would replace it (default: the tuned one, else the local one). margin: the largest loss of the headline metric that
    would be accepted, in its own units (0.02: two points of accuracy), or a table of such margins by metric; default:
    that of `[gate]`, else 0.02 for shares.
    """

    incumbent: str | None = None
    candidate: str | None = None
    margin: float | dict[str, float] | None = None


def named_backends(
    settings: Settings, backends: Sequence[str], incumbent: str | None = None, candidate: str | None = None
) -> tuple[str | None, str | None]:
    """Incumbent and candidate as far as flags (given here) or `[verdict]` name them; flags win.

    A backend that `[verdict]` names and the run does not ask is left out. Raises UsageError: a flag that names none of
    the run's backends, a setting that names no backend at all, one backend for both.
    """
    where, table = _table(settings)
    for flag, name in (("--incumbent", incumbent), ("--candidate", candidate)):
        if name is not None and name not in backends:
            raise SettingsError(f"{flag} {name}: this run asks no such backend{did_you_mean(name, backends)}.")
    for key, name in (("incumbent", table.incumbent), ("candidate", table.candidate)):
        if name is not None and name not in settings.backends:
            raise SettingsError(f"{where}: {key}: no backend '{name}'{did_you_mean(name, settings.backends)}.")
    if table.incumbent is not None and table.incumbent == table.candidate:
        raise SettingsError(f"{where}: '{table.incumbent}' is named as incumbent and as candidate: name two backends.")
    if incumbent is not None and incumbent == candidate:
        raise SettingsError(f"--incumbent and --candidate both name '{incumbent}': name two backends.")
    return (
        incumbent or _other_than(candidate, table.incumbent, backends),
        candidate or _other_than(incumbent, table.candidate, backends),
    )


def verdict_terms(
    settings: Settings, metrics: tuple[Metric, ...], named: tuple[str | None, str | None]
) -> VerdictTerms:
    """What a run is asked about replacement. named: incumbent and candidate, as `named_backends` gives them.

    Raises UsageError for a margin that is none.
    """
    where, table = _table(settings)
    margin, source = _margin(settings, table, metrics, where)
    checks = _gate_checks(settings, metrics)
    return VerdictTerms(incumbent=named[0], candidate=named[1], margin=margin, margin_source=source, checks=checks)


def _gate_checks(settings: Settings, metrics: tuple[Metric, ...]) -> int:
    """How many margins a gate of these settings checks; 1 where `[gate]` does not fit the task, as the gate reports."""
    try:
        terms = gate_settings(settings.gate, metrics).terms.values()
    except UsageError:
        return 1
    return max(1, sum(term.margin is not None for term in terms))


def _table(settings: Settings) -> tuple[str, VerdictSettings]:
    where = f"{settings.path} [verdict]" if settings.path else "[verdict]"
    return where, decode_table(settings.verdict, VerdictSettings, where)


def _other_than(taken: str | None, name: str | None, backends: Sequence[str]) -> str | None:
    """A name of `[verdict]`, unless the run does not ask it or a flag has given it the other part."""
    return name if name in backends and name != taken else None


def _margin(
    settings: Settings, table: VerdictSettings, metrics: tuple[Metric, ...], where: str
) -> tuple[float | None, str]:
    """The margin of the headline metric and whose it is; None for a metric without a usual one."""
    if not metrics:
        return None, ""
    headline, known = metrics[0], {m.name: m for m in metrics}
    own = {headline.name: table.margin} if isinstance(table.margin, float) else table.margin or {}
    for name, value in own.items():
        if name not in known:
            raise SettingsError(f"{where}: margin: this task has no metric '{name}'{did_you_mean(name, known)}.")
        check_margin(value, known[name], f"{where}: margin of {name}")
    if headline.name in own:
        return own[headline.name], "[verdict] of bench.toml"
    gated: Any = settings.gate.get(headline.name)
    asked = gated.get("margin") if isinstance(gated, dict) else None
    if isinstance(asked, int | float) and not isinstance(asked, bool):
        gate = f"{settings.path} [gate] {headline.name}: margin" if settings.path else f"[gate] {headline.name}: margin"
        check_margin(float(asked), headline, gate)
        return float(asked), "[gate] of bench.toml"
    return default_margin(headline)


def default_margin(metric: Metric) -> tuple[float | None, str]:
    """Two points where figures are shown in points; of other metrics nobody knows what a small loss is."""
    return (DEFAULT_MARGIN, DEFAULT_SOURCE) if metric.in_points else (None, "")


def check_margin(value: float, metric: Metric, what: str) -> None:
    """Raises UsageError for a margin that is not above 0, or not below 1 where the metric is a share."""
    if not (math.isfinite(value) and value > 0):
        raise SettingsError(f"{what} must be above 0: it is the largest loss that would be accepted, not {value:g}.")
    if metric.in_points and value >= 1:
        raise SettingsError(f"{what} is a share of rows, 0.02 for 2 points, and not {value:g}.")


TUNED, LOCAL, REMOTE = 2, 1, 0


class Contenders(NamedTuple):
    """candidates: all among which the candidate was chosen because its figure is the best (itself too)."""

    incumbent: str
    candidate: str
    candidates: tuple[str, ...]


def contenders(
    terms: VerdictTerms,
    identities: Mapping[str, BackendIdentity],
    results: Mapping[str, BackendResult],
    metric: Metric,
    reference: str | None = None,
) -> Contenders | None:
    """The pair that the verdict is about; None with fewer than two backends.

    The incumbent is the API (the best, where there are several) and the candidate the tuned model, else the local
    one. Among backends of one kind the most expensive is the incumbent, where prices are known, else the one named
    last.
    reference: a backend that `--early-stop` compares with; it is then the incumbent.
    """
    names = [name for name in identities if name in results]
    if len(names) < 2:
        return None
    incumbent = terms.incumbent if terms.incumbent in names else None
    candidate = terms.candidate if terms.candidate in names else None
    if incumbent is None:
        others = [name for name in names if name != candidate]
        incumbent = reference if reference in others else _incumbent(others, candidate, identities, results, metric)
    if candidate is not None:
        return Contenders(incumbent, candidate, (candidate,))
    rest = [name for name in names if name != incumbent]
    highest = max(_kind(identities[name]) for name in rest)
    among = tuple(name for name in rest if _kind(identities[name]) == highest)
    return Contenders(incumbent, _best(among, results, metric), among)


def chosen_among(
    name: str,
    incumbent: str | None,
    identities: Mapping[str, BackendIdentity],
    results: Mapping[str, BackendResult],
    metric: Metric,
) -> tuple[str, ...]:
    """Backends of one kind with `name` among which its figure is the best, so that it may have been picked for that;
    `name` alone where another one is better."""
    among = tuple(n for n in results if n != incumbent and _kind(identities[n]) == _kind(identities[name]))
    return among if _best(among, results, metric) == name else (name,)


def _kind(identity: BackendIdentity) -> int:
    if identity.adapter is not None or identity.training_usd is not None or identity.model.startswith("ft:"):
        return TUNED
    return LOCAL if identity.kind in ("local", "sklearn") else REMOTE


def _incumbent(
    others: Sequence[str],
    candidate: str | None,
    identities: Mapping[str, BackendIdentity],
    results: Mapping[str, BackendResult],
    metric: Metric,
) -> str:
    lowest = min(_kind(identities[name]) for name in others)
    among = [name for name in others if _kind(identities[name]) == lowest]
    if candidate is not None or len(among) < len(others):
        return _best(among, results, metric)
    prices = {name: price for name in among if (price := results[name].cost.per_1000) is not None}
    dearest = max(prices.values(), default=0.0)
    if len(prices) == len(among) and list(prices.values()).count(dearest) == 1:
        return max(prices, key=lambda name: prices[name])
    return among[-1]


def _best(names: Sequence[str], results: Mapping[str, BackendResult], metric: Metric) -> str:
    sign = 1.0 if metric.direction == "higher" else -1.0

    def figure(name: str) -> float:
        found = results[name].metrics.get(metric.name)
        return float("-inf") if found is None or found.value is None else sign * found.value

    return max(names, key=figure)
