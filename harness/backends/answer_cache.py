"""The answer cache: SQLite in WAL mode, safe for several processes; what was paid once is not paid again.

Key: identity of the model (id, base URL, adapter hash, decode mode and all that shapes the body) and
`Request.cache_key()`, so that editing any of them misses. Only answers that ended as answers do are kept.
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from harness.errors import UsageError
from harness.hashing import digest
from harness.records import Completion, Cost, Finish, Record, Timing, TokenLogprobs, Usage

WRITE_EVERY, WRITE_AFTER_S = 256, 1.0
"""Answers are written together: at latest after so many, or when the oldest waits so long."""
BUSY_S = 30.0
VERSION = 2
"""Raised whenever answers are read otherwise than before: what earlier versions kept is forgotten.
2: errors inside a 200 and faulty finish reasons are no answers; reasoning is apart from the text."""
CACHED_FINISHES = ("stop", "length", "refusal")
"""Finish reasons of answers that are kept: the model's own. What a filter or a full context ends is sent again."""


class CachedAnswer(Record, frozen=True, kw_only=True):
    """What is kept of an answer. Its price is not: list cost is recomputed from the usage."""

    text: str
    reasoning: str = ""
    finish: Finish | None = None
    usage: Usage = Usage()
    label_scores: dict[str, float] | None = None
    token_logprobs: TokenLogprobs | None = None
    prompt_hash: str | None = None
    notes: dict[str, str] = {}


class CacheStats(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What the cache holds: answers by model, bytes on disk, and when the oldest came (ISO time, UTC)."""

    path: str
    answers: int
    by_model: dict[str, int]
    bytes: int
    oldest: str | None


class AnswerCache:
    """The cache as one backend sees it: `scope` names what answers, `model` is shown by `bench cache stats`.

    It saves money and must never lose an answer that was paid: where the file cannot be read or written any longer
    (a full disk, another process that holds it), `remark` is called once and the run continues without it.
    """

    def __init__(
        self, path: Path, model: str = "", scope: Any = None, remark: Callable[[str], None] = lambda text: None
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._model = model
        self._scope = digest([VERSION, scope]).encode()
        self._pending: dict[bytes, bytes] = {}
        self._pending_since = 0.0
        self._remark = remark
        self._disabled = False
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(CachedAnswer)
        self._db = _open(path)

    def _key(self, request_key: str) -> bytes:
        return hashlib.sha256(self._scope + request_key.encode()).digest()

    def get(self, request_key: str) -> CachedAnswer | None:
        """The kept answer to a request, or None."""
        key = self._key(request_key)
        value = self._pending.get(key) or self._read(key)
        try:
            return self._decoder.decode(value) if value is not None else None
        except msgspec.MsgspecError:  # written by another version of Bench: as good as not there
            return None

    def _read(self, key: bytes) -> bytes | None:
        if self._disabled:
            return None
        try:
            row = self._db.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            self._disable(error)
            return None
        return row[0] if row is not None else None

    def put(self, request_key: str, completion: Completion) -> None:
        """Keep a whole answer; it is on disk at the latest after the next `flush`. Anything else is left out."""
        if self._disabled or completion.error is not None or completion.finish not in CACHED_FINISHES:
            return
        cached = CachedAnswer(
            text=completion.text,
            reasoning=completion.reasoning,
            finish=completion.finish,
            usage=completion.usage,
            label_scores=completion.label_scores,
            token_logprobs=completion.token_logprobs,
            prompt_hash=completion.prompt_hash,
            notes=completion.notes,
        )
        if not self._pending:
            self._pending_since = time.monotonic()
        self._pending[self._key(request_key)] = self._encoder.encode(cached)
        if len(self._pending) >= WRITE_EVERY or time.monotonic() - self._pending_since > WRITE_AFTER_S:
            self.flush()

    def flush(self) -> None:
        """Write what waits, in one transaction."""
        if not self._pending:
            return
        now = time.time()
        rows = [(key, self._model, now, value) for key, value in self._pending.items()]
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._disable(error)
        self._pending.clear()

    def _disable(self, error: sqlite3.Error) -> None:
        self._disabled = True
        self._remark(
            f"the answer cache {self.path} is not used any longer ({error}): answers are stored in the run only"
        )

    def stats(self) -> CacheStats:
        """What is in it."""
        by_model = dict(self._db.execute("SELECT model, count(*) FROM answers GROUP BY model ORDER BY model"))
        oldest = self._db.execute("SELECT min(created) FROM answers").fetchone()[0]
        return CacheStats(
            path=str(self.path),
            answers=sum(by_model.values()),
            by_model=by_model,
            bytes=sum(p.stat().st_size for p in self.path.parent.glob(f"{self.path.name}*")),
            oldest=None if oldest is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(oldest)),
        )

    def clear(self, model: str | None = None) -> int:
        """Forget all answers, or one model's; how many they were."""
        with self._db:
            if model is None:
                deleted = self._db.execute("DELETE FROM answers").rowcount
            else:
                deleted = self._db.execute("DELETE FROM answers WHERE model = ?", (model,)).rowcount
        self._db.execute("VACUUM")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted

    def close(self) -> None:
        """Write what waits and close. Safe to call twice."""
        self.flush()
        self._db.close()


def from_cache(request_id: str, repeat: int, cached: CachedAnswer, list_cost: float | None) -> Completion:
    """A kept answer as a completion: marked, at no cost to this run, without times of its own."""
    return Completion(
        id=request_id,
        repeat=repeat,
        text=cached.text,
        reasoning=cached.reasoning,
        finish=cached.finish,
        usage=cached.usage,
        timing=Timing(),
        cost=Cost(list=list_cost, incurred=0.0),
        attempts=0,
        label_scores=cached.label_scores,
        token_logprobs=cached.token_logprobs,
        prompt_hash=cached.prompt_hash,
        cached=True,
        notes=cached.notes,
    )


def _open(path: Path) -> sqlite3.Connection:
    """Open or create. WAL with synchronous NORMAL: a crash of the machine may lose the last answers, never the file."""
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        raise UsageError(
            f"the answer cache {path} cannot be opened ({error}): delete the file, or run with --no-cache."
        ) from None


def _locked(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


# SQLite does not wait, as it does elsewhere, while another process is turning a new file to WAL.
@retry(retry=retry_if_exception(_locked), stop=stop_after_delay(BUSY_S), wait=wait_random(0.01, 0.1), reraise=True)
def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(
            "CREATE TABLE IF NOT EXISTS answers "
            "(key BLOB PRIMARY KEY, model TEXT NOT NULL, created REAL NOT NULL, value BLOB NOT NULL) WITHOUT ROWID"
        )
        if db.execute("PRAGMA user_version").fetchone()[0] < VERSION:
            db.execute("DELETE FROM answers")
            db.execute(f"PRAGMA user_version = {VERSION}")
        db.commit()
    except BaseException:
        db.close()
        raise
    return db
