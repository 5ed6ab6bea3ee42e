"""Who would replace whom: the incumbent and the candidate of a run, where the user has not named both."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.metrics import Metric
from harness.records import BackendIdentity
from harness.results import BackendResult, VerdictTerms

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
