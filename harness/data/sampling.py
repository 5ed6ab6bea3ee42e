"""Which rows, in which order: a seeded order in which every beginning keeps the split's class shares."""

import hashlib
from collections.abc import Iterable

import msgspec

from harness.records import Sample


def seeded_order(samples: Iterable[Sample], seed: int) -> list[Sample]:
    """Order by a seeded hash of the id within the split's own class shares.

    Within its class a row's rank k (of m) is set by the hash of (seed, id); rows of all classes are then
    merged by (k + 1/2) / m. So any first n rows hold every class in its share (to within one row), and a
    smaller limit is a prefix of a larger one. The file's own order plays no part.
    """
    by_class: dict[str, list[tuple[bytes, Sample]]] = {}
    for sample in samples:
        by_class.setdefault(sample.reference, []).append((_hash(seed, sample.id), sample))
    if len(by_class) > MANY_CLASSES:  # open answers: no classes to keep the shares of
        everything = sorted((pair for rows in by_class.values() for pair in rows), key=lambda pair: pair[0])
        return [sample for _, sample in everything]
    merged = []
    for rows in by_class.values():
        rows.sort(key=lambda pair: pair[0])
        merged += [((k + 0.5) / len(rows), key, sample) for k, (key, sample) in enumerate(rows)]
    merged.sort(key=lambda item: item[:2])
    return [sample for _, _, sample in merged]


MANY_CLASSES = 1000
"""With more distinct references than this, references are texts and not classes."""


def _hash(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{text}".encode()).digest()


def fingerprint(samples: Iterable[Sample]) -> str:
    """SHA-256 over ids, references and groups, whatever the order of the rows."""
    lines = sorted(msgspec.json.encode([s.id, s.reference, s.group]) for s in samples)
    return hashlib.sha256(b"\n".join(lines)).hexdigest()
