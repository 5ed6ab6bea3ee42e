"""What differs between two compared runs besides their answers: model, adapter, prompt, settings, rows, environment."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from harness.records import BackendIdentity, Record
from harness.runs.run_log import Manifest
from harness.text_format import count_noun

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
