"""`[gate]` of bench.toml, with flags on top: which figures are gated, and by which margins and limits."""

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from harness.errors import SettingsError, did_you_mean
from harness.metrics import OF_LABELS, Metric

T = TypeVar("T")

COST = "cost_per_1000"
ERRORS = "error_rate"
LATENCY = ("latency_p50", "latency_p95")
MAX_ERROR_RATE = 0.01
MAX_CONTAMINATED = 0.5
DEFAULT_MARGIN = 0.02
DEFAULT_FORMAT_MARGIN = 0.01

OnInconclusive = Literal["warn", "block"]


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of one figure.

    margin: the largest loss against the reference that may go unnoticed, in the metric's own units;
    at_most: a limit that the upper one-sided 95 % bound must keep; at_least: a limit that the lower one-sided 95 %
    bound must keep;
    ratio: the most that candidate / reference may be, for cost and latency.
    """

    margin: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    ratio: float | None = None


class GateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All terms by figure.

    slices: columns shown as diagnostics. defaulted: figures whose margin is Bench's default; off: figures that the
    defaults would check and that the user's own choice leaves out.
    """

    terms: dict[str, Terms]
    max_error_rate: float = MAX_ERROR_RATE
    max_contaminated: float = MAX_CONTAMINATED
    on_inconclusive: OnInconclusive = "warn"
    slices: tuple[str, ...] = ()
    defaulted: tuple[str, ...] = ()
    off: tuple[str, ...] = ()


class GateKeys(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The keys of `[gate]` that are no figures.

    max_error_rate: share of answers that may be missing for infrastructure errors; above it there is no verdict.
    max_contaminated: share of the rows that the candidate may have been trained on; above it there is no verdict, below
    it the other rows are judged beside all rows, and the worse verdict counts.
    on_inconclusive: "warn" ends with exit code 0, "block" with 5. slices: columns of the data by which the figures
    are shown beside the verdict; they decide nothing.
    """

    max_error_rate: float = MAX_ERROR_RATE
    max_contaminated: float = MAX_CONTAMINATED
    on_inconclusive: OnInconclusive = "warn"
    slices: tuple[str, ...] = ()


def gate_settings(
    table: Mapping[str, Any],
    metrics: tuple[Metric, ...],
    flags: Mapping[str, Mapping[str, float]] | None = None,
    on_inconclusive: OnInconclusive | None = None,
    where: str = "[gate]",
) -> GateSettings:
    """Read `[gate]`, lay `flags` (figure -> term -> value) over it, and check all against the task's metrics.

    The default margins (the headline within DEFAULT_MARGIN, format errors within DEFAULT_FORMAT_MARGIN) hold until
    the user chooses what is compared: a table that names figures, or a margin among the flags. Limits and ratios
    by flag are added to them. Default checks that were chosen away are listed in `off`.
    Raises UsageError: unknown keys with the nearest name, margins that are no positive number, limits that do not fit
    the metric's direction.
    """
    plain = {f.name for f in msgspec.structs.fields(GateKeys)}
    by_name = {m.name: m for m in metrics}
    figures = (*by_name, COST, ERRORS, *LATENCY)
    wanted: dict[str, dict[str, Any]] = {}
    for key, value in table.items():
        if key in plain:
            continue
        if key not in figures:
            raise SettingsError(f"{where}: unknown key '{key}'{did_you_mean(key, (*figures, *plain))}.")
        if not isinstance(value, dict):
            raise SettingsError(f"{where}: {key} must be a table such as {{ margin = 0.02 }}.")
        wanted[key] = dict(value)
    for key, given in (flags or {}).items():
        if key not in figures:
            raise SettingsError(f"there is no figure '{key}' to gate{did_you_mean(key, figures)}.")
        wanted.setdefault(key, {}).update(given)
    settings = _convert({k: v for k, v in table.items() if k in plain}, GateKeys, where)
    if not 0 <= settings.max_error_rate < 1:
        raise SettingsError(f"{where}: max_error_rate must lie in [0, 1), not {settings.max_error_rate}.")
    if not 0 <= settings.max_contaminated <= 1:
        raise SettingsError(f"{where}: max_contaminated is a share of rows in [0, 1], not {settings.max_contaminated}.")
    named = {key: _terms(key, value, by_name.get(key), where) for key, value in wanted.items()}
    chosen = any(key in figures for key in table) or any(terms.margin is not None for terms in named.values())
    defaults = _defaults(metrics)
    added = {} if chosen else {k: d for k, d in defaults.items() if k not in named or named[k].margin is None}
    terms = {k: _joined(added.get(k), named.get(k)) for k in (*added, *(k for k in named if k not in added))}
    return GateSettings(
        terms=terms,
        max_error_rate=settings.max_error_rate,
        max_contaminated=settings.max_contaminated,
        on_inconclusive=on_inconclusive or settings.on_inconclusive,
        slices=settings.slices,
        defaulted=tuple(added),
        off=tuple(k for k in defaults if k not in terms or terms[k].margin is None),
    )


def _defaults(metrics: tuple[Metric, ...]) -> dict[str, Terms]:
    terms = {metrics[0].name: Terms(margin=DEFAULT_MARGIN)} if metrics else {}
    return terms | {m.name: Terms(margin=DEFAULT_FORMAT_MARGIN) for m in metrics[1:] if m.row_value == "format_error"}


def _joined(default: Terms | None, named: Terms | None) -> Terms:
    """A figure's terms: what was named, with the default margin where that is to hold too."""
    if named is None:
        assert default is not None
        return default
    return named if default is None else msgspec.structs.replace(named, margin=default.margin)


def _terms(key: str, table: dict[str, Any], metric: Metric | None, where: str) -> Terms:
    place = f"{where} {key}"
    known = {f.name for f in msgspec.structs.fields(Terms)}
    allowed = _allowed(key, metric)
    for name in table:
        if name not in known:
            raise SettingsError(f"{place}: unknown key '{name}'{did_you_mean(name, allowed)}.")
        if name not in allowed:
            raise SettingsError(f"{place}: '{name}' does not apply to it (it takes {', '.join(allowed)}).")
    terms = _convert(table, Terms, place)
    if terms == Terms():
        raise SettingsError(f"{place}: name a term ({', '.join(allowed)}).")
    if terms.margin is not None and terms.margin <= 0:
        raise SettingsError(f"{place}: margin must be above 0: it is the largest acceptable loss.")
    if terms.ratio is not None and terms.ratio <= 0:
        raise SettingsError(f"{place}: ratio must be above 0: it is candidate divided by reference.")
    for name, value in msgspec.structs.asdict(terms).items():
        if value is not None and not math.isfinite(value):
            raise SettingsError(f"{place}: {name} must be a number, not {value}.")
        if value is not None and name != "ratio" and _is_share(key, metric) and not 0 <= value < 1:
            raise SettingsError(f"{place}: {name} is a share of rows, 0.02 for 2 %, and not {value:g}.")
    return terms


def _is_share(key: str, metric: Metric | None) -> bool:
    """Whether the figure lies in 0..1: a margin of 2, meant as two points, would then let everything pass."""
    return key == ERRORS or (metric is not None and (metric.proportion or metric.kind in OF_LABELS))


def _allowed(key: str, metric: Metric | None) -> tuple[str, ...]:
    if metric is not None:
        return ("margin", "at_least" if metric.direction == "higher" else "at_most")
    if key == ERRORS:
        return ("at_most",)
    return ("at_most", "ratio") if key == COST else ("ratio",)


def _convert(table: dict[str, Any], kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {error}.") from None
