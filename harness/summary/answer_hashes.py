"""Which answers are equal texts, without keeping a text: eight bytes a row and repeat."""

import hashlib

import numpy as np
from numpy.typing import NDArray

NO_TEXT = 0

Hashes = NDArray[np.uint64]


def text_hash(text: str) -> int:
    """Eight bytes of a hash of a text, blanks around it aside; never NO_TEXT."""
    found = hashlib.blake2b(text.strip().encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(found, "big") | 1


def new_hashes(rows: int, repeats: int) -> Hashes:
    """(rows, repeats), NO_TEXT everywhere."""
    return np.full((rows, repeats), NO_TEXT, dtype=np.uint64)


def equal_rows(a: Hashes, b: Hashes) -> tuple[int, int]:
    """Rows on which both have answered, and of these the rows on which all their common answers are equal texts."""
    repeats = min(a.shape[1], b.shape[1])
    a, b = a[:, :repeats], b[:, :repeats]
    both = (a != NO_TEXT) & (b != NO_TEXT)
    rows = both.any(axis=1)
    return int(rows.sum()), int((rows & ((a == b) | ~both).all(axis=1)).sum())


def commonest(hashes: Hashes) -> tuple[int, int]:
    """How many answers there are, and how many of them are the most frequent text."""
    known = hashes[hashes != NO_TEXT]
    if not len(known):
        return 0, 0
    return len(known), int(np.unique(known, return_counts=True)[1].max())
