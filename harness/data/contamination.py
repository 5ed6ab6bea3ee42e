"""Rows that a model may have learned from and is then asked about: exact and near duplicates.

What is compared are the row's own texts (a request's passages), without regard to case, white space and their
order. Near duplicates are found by MinHash (A. Broder 1997; datasketch) over runs of five characters. Only
hashes are kept beside an adapter, never a text.
"""

import zipfile
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.files import read_record, write_json, write_whole
from harness.hashing import digest
from harness.records import Record
from harness.text_normalization import comparable_text

SIGNATURES = "rows.npz"
"""Beside an adapter's weights: hashes and MinHash signatures of the rows it learned from."""

OVERLAPS = "contamination.json"
"""In a run directory: what was found, by backend."""

PERMUTATIONS = 64
BANDS = 16
"""Two texts of similarity s meet in at least one of 16 bands of 4 with probability 1 - (1 - s^4)^16: 0.9998 at 0.8."""

SIMILAR = 0.8
"""Jaccard similarity, estimated from 64 hashes (standard error 0.05), from which on rows are near duplicates."""

RUN = 5


class Overlap(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Evaluated rows, by position, that are also among the rows a model may have learned from.

    source: which training rows; training_rows: how many; exact, near: positions (a row is in one of them);
    near_checked: False where only hashes of whole rows were kept.
    """

    source: str
    training_rows: int
    exact: tuple[int, ...] = ()
    near: tuple[int, ...] = ()
    near_checked: bool = True

    @property
    def rows(self) -> list[int]:
        """All positions, ascending."""
        return sorted((*self.exact, *self.near))


@dataclass(frozen=True)
class Signatures:
    """Hashes of n rows: `exact` (n,) of the whole row, `minhash` (n, 64)."""

    exact: NDArray[np.uint64]
    minhash: NDArray[np.uint32]

    @classmethod
    def of(cls, texts: Iterable[Sequence[str]]) -> "Signatures":
        """Of rows given as their own texts. About 0.1 ms a row of 200 characters."""
        from datasketch import MinHash

        exact = array("Q")

        def runs() -> Iterator[list[bytes]]:
            for own in texts:
                row = sorted(map(comparable_text, own))
                exact.append(_whole_row(row))
                yield sorted({run for text in row for run in _runs(text)})

        minhash = bytearray()
        for one in MinHash.generator(runs(), num_perm=PERMUTATIONS, seed=1, hashfunc=zlib.crc32, scheme="affine32"):
            minhash += np.asarray(one.hashvalues, dtype=np.uint32).tobytes()
        return cls(
            np.frombuffer(exact, dtype=np.uint64), np.frombuffer(minhash, dtype=np.uint32).reshape(-1, PERMUTATIONS)
        )

    def save(self, folder: Path) -> None:
        """Write `rows.npz`."""
        import io

        data = io.BytesIO()
        np.savez(data, exact=self.exact, minhash=self.minhash)
        write_whole(folder / SIGNATURES, data.getvalue())

    @classmethod
    def load(cls, folder: Path) -> "Signatures | None":
        """Read `rows.npz`; None where there is none. Raises UsageError for a file that is none of ours."""
        path = folder / SIGNATURES
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                exact, minhash = arrays["exact"].astype(np.uint64), arrays["minhash"].astype(np.uint32)
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is not readable ({error}): train the adapter again, or remove the file.") from None
        if minhash.shape != (len(exact), PERMUTATIONS):
            raise DataError(f"{path} holds signatures of another shape: train the adapter again, or remove the file.")
        return cls(exact, minhash)


def find_overlap(asked: Signatures, learned: Signatures, source: str) -> Overlap:
    """Which of the asked rows are also among the learned ones. A row that marks no text equals no other."""
    marked = asked.exact != _whole_row([])
    same = np.isin(asked.exact, learned.exact) & marked
    rest = np.flatnonzero(~same & marked)
    _, once = np.unique(learned.exact, return_index=True)  # a text that occurs a thousand times is compared once
    near = _near(asked.minhash[rest], learned.minhash[once]) if len(rest) and len(once) else []
    return Overlap(
        source=source,
        training_rows=len(learned.exact),
        exact=tuple(int(i) for i in np.flatnonzero(same)),
        near=tuple(int(rest[i]) for i in near),
    )


def _near(asked: NDArray[np.uint32], learned: NDArray[np.uint32]) -> list[int]:
    """Rows of `asked` with a similar row in `learned`: candidates share a band, all 64 hashes then decide.

    Both sides are at hand at once, so one sorted join a band does what an index of single insertions would
    (120,000 against 7,600 rows in a second or two).
    """
    width = PERMUTATIONS // BANDS
    found = np.zeros(len(asked), dtype=bool)
    for band in range(BANDS):
        columns = slice(band * width, (band + 1) * width)
        ours, theirs = _band_keys(asked[:, columns]), _band_keys(learned[:, columns])
        order = np.argsort(theirs, kind="stable")
        low = np.searchsorted(theirs, ours, "left", sorter=order)
        high = np.searchsorted(theirs, ours, "right", sorter=order)
        for i in np.flatnonzero((high > low) & ~found):
            candidates = learned[order[low[i] : high[i]]]
            found[i] = bool(((candidates == asked[i]).mean(axis=1) >= SIMILAR).any())
    return [int(i) for i in np.flatnonzero(found)]


def _band_keys(band: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """One number for each row's part of a band; equal parts have equal numbers."""
    keys = np.zeros(len(band), dtype=np.uint64)
    for column in band.T:
        keys = (keys ^ column) * np.uint64(0x9E3779B97F4A7C15)
    return keys


def _whole_row(texts: list[str]) -> int:
    return int(digest(texts)[:16], 16)


def _runs(text: str) -> Iterable[bytes]:
    if len(text) <= RUN:
        return [text.encode("utf-8", "replace")]
    return (text[i : i + RUN].encode("utf-8", "replace") for i in range(len(text) - RUN + 1))


class Findings(Record, frozen=True, kw_only=True, omit_defaults=False):
    """`contamination.json`: overlaps by backend, and sentences on the data that a reader must know."""

    schema: int = 1
    overlaps: dict[str, Overlap] = {}
    remarks: tuple[str, ...] = ()


def write_findings(run: Path, findings: Findings) -> None:
    """Note in a run directory what was found."""
    write_json(run / OVERLAPS, findings)


def read_findings(run: Path) -> Findings:
    """What was noted; empty where nothing was. Raises UsageError for a file that is not readable."""
    path = run / OVERLAPS
    if not path.is_file():
        return Findings()
    return read_record(path, Findings, "list of contaminated rows")
