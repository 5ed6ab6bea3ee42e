"""Question-answer rows from Stack Exchange's API: throttled as it asks, and continued where a quota ended it.

api.stackexchange.com/docs: every answer is a wrapper ({"items", "has_more", "quota_remaining", "backoff"}) and always
compressed; after a `backoff` the same method must not be asked for so many seconds; more than 30 requests a second, or
more than the day's quota (300 an address, 10,000 a key), are refused as `throttle_violation`; pages beyond 25 need a
key.
"""

import datetime
import gzip
import html
import re
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness.errors import DataError, IncompleteRunError
from harness.files import write_json
from harness.hashing import digest
from harness.tasks.stackexchange import Built, Post, Posts, write_pairs
from harness.text_format import utc_text

API_URL = "https://api.stackexchange.com/2.3"
LICENCE = "CC BY-SA (each row names its version, authors and links: keep them)"
FILTER = "withbody"
"""The API's own filter that adds the bodies of posts; licences, authors and links are in it."""

PAGE_SIZE = 100
LAST_PAGE = 25
INTERVAL_S = 0.2
"""Seconds between two requests: 5 a second, where 30 are allowed."""

MARGIN_S = 1.0
"""Seconds added to a `backoff`: the server counts from when it answered."""

LONGEST_WAIT_S = 300.0
"""A longer wait ends the session; what was read is kept."""

ATTEMPTS = 5
TIMEOUT_S = 30.0
LARGEST_ANSWER = 1 << 26

_SECONDS = re.compile(r"(\d+)\s*seconds")


class ApiClock(NamedTuple):
    """The time in seconds, and how to wait."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Client:
    """Asks methods of the API one after another, as slowly as it wants; IncompleteRunError where it must stop."""

    def __init__(self, url: str, site: str, key: str | None, clock: ApiClock) -> None:
        self.url, self.site, self.key, self.clock = url.rstrip("/"), site, key, clock
        self.remaining: int | None = None
        self._next = 0.0
        self._not_before: dict[str, float] = {}

    def get(self, method: str, path: str, **parameters: Any) -> dict[str, Any]:
        """The wrapper of one request. method: what a backoff counts for."""
        if self.remaining == 0:
            raise IncompleteRunError("the API's quota of today is used up")
        for attempt in range(1, ATTEMPTS + 1):
            self._wait(method)
            wrapper, status = self._ask(path, parameters)
            if "error_id" not in wrapper and status == 200:
                self.remaining = wrapper.get("quota_remaining", self.remaining)
                self._hold(method, float(wrapper.get("backoff") or 0))
                return wrapper
            wait = self._wait_after(wrapper, status, attempt)
            if wait > LONGEST_WAIT_S:
                raise IncompleteRunError(f"the API wants no request for {wait:,.0f} seconds ({_said(wrapper, status)})")
            if attempt < ATTEMPTS:
                self._hold(method, wait)
        raise IncompleteRunError(f"the API has refused {ATTEMPTS} times ({_said(wrapper, status)})")

    def _wait(self, method: str) -> None:
        due = max(self._next, self._not_before.get(method, 0.0))
        pause = due - self.clock.now()
        if pause > 0:
            self.clock.sleep(pause)
        self._next = self.clock.now() + INTERVAL_S

    def _hold(self, method: str, seconds: float) -> None:
        if seconds > 0:
            self._not_before[method] = self.clock.now() + seconds + MARGIN_S

    def _wait_after(self, wrapper: dict[str, Any], status: int, attempt: int) -> float:
        """Seconds until the next attempt. Raises DataError for a request that will never be answered."""
        error = int(wrapper.get("error_id") or status)
        if error == 502 or status == 429:
            told = _SECONDS.search(str(wrapper.get("error_message")))
            return float(told[1]) if told else float(wrapper.get("retry_after") or 2.0**attempt * 5)
        if error in (500, 503) or status >= 500 or status == 0:
            return 2.0**attempt
        raise DataError(f"{self.url} refuses the request: {_said(wrapper, status)}. Check --site and the key.")

    def _ask(self, path: str, parameters: dict[str, Any]) -> tuple[dict[str, Any], int]:
        query = {"site": self.site, **({"key": self.key} if self.key else {}), **parameters}
        request = urllib.request.Request(
            f"{self.url}/{path}?{urllib.parse.urlencode(query)}",
            headers={"Accept-Encoding": "gzip", "User-Agent": "bench-harness"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return _wrapper(answer.read(LARGEST_ANSWER), answer.headers), answer.status
        except urllib.error.HTTPError as error:
            return _wrapper(error.read(LARGEST_ANSWER), error.headers), error.code
        except (urllib.error.URLError, OSError) as error:
            return {"error_message": str(getattr(error, "reason", error))}, 0


def _wrapper(raw: bytes, headers: Any) -> dict[str, Any]:
    """The JSON of an answer; of a page of an intermediary that is none, only its wish to wait."""
    try:
        plain = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        found = msgspec.json.decode(plain, type=dict[str, Any])
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError):
        found = {"error_id": 503, "error_message": "no JSON"}
    after = headers.get("Retry-After") if headers is not None else None
    return {**found, **({"retry_after": float(after)} if after and after.isdigit() else {})}


def _said(wrapper: dict[str, Any], status: int) -> str:
    message = html.unescape(str(wrapper.get("error_message") or "no message"))[:200]
    return f"HTTP {status}, {wrapper.get('error_name') or 'error'}: {message}" if status else message


def fetch_pairs(
    out: Path,
    most: int,
    site: str,
    *,
    url: str = API_URL,
    key: str | None = None,
    progress: Callable[[int], None] = lambda read: None,
    clock: ApiClock | None = None,
) -> Built:
    """Write `train.jsonl`, `test.jsonl` and `provenance.json` of the `most` highest-voted questions into `out`.

    A session that a quota or the network ends keeps what it has read in `out/.api`; the same call continues it.
    Raises IncompleteRunError then, and DataError for an unknown site or an `out` that holds rows.
    """
    if (out / "train.jsonl").exists() or (out / "test.jsonl").exists():
        raise DataError(f"{out} holds rows already: name another --out.")
    place = out / ".api"
    place.mkdir(parents=True, exist_ok=True)
    posts = Posts(place / "posts.sqlite", progress, durable=True)
    client = Client(url, site, key, clock or ApiClock())
    try:
        _read(client, posts, most)
        rows = write_pairs(posts.best(most), place, site)
        if not sum(rows.values()):
            raise DataError(f"{site}: no question with an answer is left of {posts.read} posts.")
        ids = [row[0] for row in posts.best(most)]
    except IncompleteRunError as error:
        raise IncompleteRunError(
            f"{error}; {posts.count('question'):,} of {most:,} questions are read and kept in {place}: "
            "run the same command again to continue (a key, in STACKEXCHANGE_KEY, raises the quota to 10,000 a day)."
        ) from None
    finally:
        posts.close()
    built = Built(
        dump=f"{url} ({FILTER})",
        sha256=digest(ids),
        site=site,
        built=utc_text(),
        licence=LICENCE,
        read=posts.read,
        dropped=dict(posts.dropped),
        rows=rows,
    )
    write_json(out / "provenance.json", built)
    for split in rows:
        (place / f"{split}.jsonl").replace(out / f"{split}.jsonl")
    (place / "posts.sqlite").unlink()
    place.rmdir()
    return built


def _read(client: Client, posts: Posts, most: int) -> None:
    """Pages of questions by falling votes, each with its answers, until there are enough; every page is kept at once.

    Pages beyond the 25th are asked as first pages of the questions with at most the last one's votes.
    """
    while posts.count("question") < most:
        page, ceiling = int(posts.noted("page") or 1), posts.noted("ceiling")
        if posts.noted("done"):
            return
        more = {"max": ceiling} if ceiling is not None else {}
        wrapper = client.get(
            "questions", "questions", order="desc", sort="votes", filter=FILTER, pagesize=PAGE_SIZE, page=page, **more
        )
        questions = [one for one in wrapper.get("items") or [] if isinstance(one, dict)]
        answered = [one for one in questions if one.get("answer_count")]
        for answer in _answers(client, [int(one["question_id"]) for one in answered]):
            posts.take(_post(answer, "2"))
        for question in answered:
            posts.take(_post(question, "1"))
        last = int(questions[-1].get("score") or 0) if questions else 0
        if not wrapper.get("has_more") or not questions:
            posts.note(done="1")
        elif page >= LAST_PAGE:
            if ceiling is not None and int(ceiling) == last:
                posts.note(done="1")  # more questions of equal votes than can be paged through
            else:
                posts.note(page="1", ceiling=str(last))
        else:
            posts.note(page=str(page + 1))


def _answers(client: Client, questions: list[int]) -> Iterator[dict[str, Any]]:
    """The best answers of up to 100 questions: pages by falling votes until every question has one."""
    missing = set(questions)
    page = 1
    while missing:
        ids = ";".join(map(str, questions))
        wrapper = client.get(
            "answers",
            f"questions/{ids}/answers",
            order="desc",
            sort="votes",
            filter=FILTER,
            pagesize=PAGE_SIZE,
            page=page,
        )
        items = [one for one in wrapper.get("items") or [] if isinstance(one, dict)]
        yield from items
        missing -= {int(one.get("question_id") or 0) for one in items}
        if not wrapper.get("has_more") or not items or page >= LAST_PAGE:
            return
        page += 1


def _post(item: dict[str, Any], kind: str) -> Post:
    """A post of the API under the names of a dump."""
    owner = item.get("owner") if isinstance(item.get("owner"), dict) else {}
    created = datetime.datetime.fromtimestamp(float(item.get("creation_date") or 0), datetime.UTC)
    post = {
        "Id": str(item.get("question_id" if kind == "1" else "answer_id")),
        "PostTypeId": kind,
        "Score": str(item.get("score")),
        "Body": str(item.get("body") or ""),
        "CreationDate": created.isoformat(),
        "Title": html.unescape(str(item.get("title") or "")),
        "Tags": "".join(f"<{tag}>" for tag in item.get("tags") or []),
        "ParentId": str(item.get("question_id")),
        "OwnerDisplayName": html.unescape(str((owner or {}).get("display_name") or "")),
        "OwnerUserId": str((owner or {}).get("user_id") or "unknown"),
    }
    return {**post, **({"ContentLicense": str(item["content_license"])} if item.get("content_license") else {})}
