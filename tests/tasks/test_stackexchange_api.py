"""Stack Exchange's API: a server on loopback that throttles, wants to be left alone, and runs out of quota."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from harness.data.rows import DataSource
from harness.errors import DataError, ExitCode, IncompleteRunError
from harness.task_loading import load_rows
from harness.tasks.crossvalidated import CrossValidated
from harness.tasks.stackexchange_api import LAST_PAGE, ApiClock, fetch_pairs
from tests.support.command import bench

SITE = "stats.stackexchange.com"


class FakeTime:
    """A clock that moves when someone waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> ApiClock:
        return ApiClock(lambda: self.now, self.sleep)


class Site:
    """Questions 1..n by falling votes, each with two answers; what goes wrong is set by a test."""

    def __init__(self, questions: int, time: FakeTime) -> None:
        self.questions = questions
        self.time = time
        self.quota = 300
        self.backoff: dict[str, int] = {}
        self.failures: list[tuple[int, dict[str, Any] | bytes]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.not_before: dict[str, float] = {}
        self.violations = 0

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, Any] | bytes]:
        method = "answers" if path.endswith("/answers") else "questions"
        self.asked.append((method, query))
        if self.failures:
            return self.failures.pop(0)
        if self.time.now < self.not_before.get(method, 0.0):
            self.violations += 1
            return 400, {"error_id": 502, "error_name": "throttle_violation", "error_message": "Violation of backoff"}
        if query.get("site") != SITE:
            return 400, {"error_id": 400, "error_name": "bad_parameter", "error_message": "No site found for name"}
        self.quota -= 1
        items = self._questions(query) if method == "questions" else self._answers(path)
        page, size = int(query["page"]), int(query["pagesize"])
        wait = self.backoff.get(method)
        wrapper: dict[str, Any] = {
            "items": items[(page - 1) * size : page * size],
            "has_more": len(items) > page * size,
            "quota_max": 300,
            "quota_remaining": self.quota,
        }
        if wait:
            wrapper["backoff"] = wait
            self.not_before[method] = self.time.now + wait
        return 200, wrapper

    def _questions(self, query: dict[str, str]) -> list[dict[str, Any]]:
        most = int(query.get("max", 10**9))
        return [
            {
                "question_id": n,
                "score": self.questions - n,
                "title": f"Is question {n} &lt; {n + 1}?",
                "body": f"<p>Why {n}?</p>",
                "tags": ["mean", "variance"],
                "answer_count": 0 if n % 10 == 9 else 2,
                "creation_date": 1_500_000_000 + n,
                "content_license": "CC BY-SA 3.0",
                "link": f"https://{SITE}/questions/{n}",
                "owner": {"display_name": "A &amp; B", "user_id": 7},
            }
            for n in range(1, self.questions + 1)
            if self.questions - n <= most
        ]

    def _answers(self, path: str) -> list[dict[str, Any]]:
        ids = [int(one) for one in path.rsplit("/", 2)[-2].split(";")]
        found = [
            {
                "answer_id": 100_000 + 2 * n + k,
                "question_id": n,
                "score": 5 + k,
                "body": f"<p>Because {n}, {k}.</p>",
                "creation_date": 1_600_000_000,
                "content_license": "CC BY-SA 4.0",
                "owner": {"display_name": f"user {k}"},
            }
            for n in ids
            for k in (0, 1)
        ]
        return sorted(found, key=lambda one: -one["score"])


@contextmanager
def serving(site: Site) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parsed = urlparse(self.path)
            status, body = site.answer(parsed.path, {k: v[0] for k, v in parse_qs(parsed.query).items()})
            raw = body if isinstance(body, bytes) else gzip.compress(json.dumps(body).encode())
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/2.3"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def rows_in(out: Path) -> list[dict[str, Any]]:
    lines = [line for split in ("train", "test") for line in (out / f"{split}.jsonl").read_text().splitlines()]
    return sorted(map(json.loads, lines), key=lambda row: row["question_id"])


def test_rows_have_licences_links_and_the_best_answer(tmp_path: Path) -> None:
    time = FakeTime()
    with serving(Site(60, time)) as url:
        built = fetch_pairs(tmp_path / "rows", 40, SITE, url=url, clock=time.clock())
    rows = rows_in(tmp_path / "rows")
    assert len(rows) == 40 == sum(built.rows.values())
    assert rows[0] == {
        "question_id": 1,
        "title": "Is question 1 < 2?",
        "question": "Why 1?",
        "answer": "Because 1, 1.",
        "question_score": 59,
        "answer_score": 6,
        "tags": "mean variance",
        "date": "2017-07-14",
        "answer_date": "2020-09-13",
        "link": f"https://{SITE}/questions/1",
        "answer_link": f"https://{SITE}/a/100003",
        "author": "A & B",
        "answer_author": "user 1",
        "license": "CC BY-SA 3.0",
        "answer_license": "CC BY-SA 4.0",
    }
    assert not (tmp_path / "rows/.api").exists()
    assert load_rows(CrossValidated(), DataSource(location=str(tmp_path / "rows"), split="train"))


def test_a_backoff_is_obeyed_and_requests_are_spaced(tmp_path: Path) -> None:
    time = FakeTime()
    site = Site(350, time)
    site.backoff = {"questions": 10, "answers": 3}
    with serving(site) as url:
        fetch_pairs(tmp_path / "rows", 200, SITE, url=url, clock=time.clock())
    assert site.violations == 0 and len(rows_in(tmp_path / "rows")) == 200
    assert sum(time.slept) >= 20 and min(time.slept) > 0


def test_a_quota_that_ends_keeps_what_was_read_and_is_continued(tmp_path: Path) -> None:
    time = FakeTime()
    site = Site(500, time)
    site.quota = 4
    with serving(site) as url:
        with pytest.raises(
            IncompleteRunError, match=r"quota of today is used up; \d+ of 300 questions are read and kept"
        ):
            fetch_pairs(tmp_path / "rows", 300, SITE, url=url, clock=time.clock())
        assert not (tmp_path / "rows/train.jsonl").exists()
        first = len(site.asked)
        site.quota = 300
        built = fetch_pairs(tmp_path / "rows", 300, SITE, url=url, clock=time.clock())
    assert len(rows_in(tmp_path / "rows")) == 300 and sum(built.rows.values()) == 300
    assert built.read >= 600, "both sessions are counted"
    pages = [query["page"] for method, query in site.asked[first:] if method == "questions"]
    assert "1" not in pages, "pages that are kept are not asked again"


def test_throttled_and_broken_answers_are_asked_again_and_refusals_are_not(tmp_path: Path) -> None:
    time = FakeTime()
    site = Site(30, time)
    site.failures = [
        (
            400,
            {
                "error_id": 502,
                "error_name": "throttle_violation",
                "error_message": "more requests available in 40 seconds",
            },
        ),
        (503, b"<html>unavailable</html>"),
        (500, {"error_id": 500, "error_name": "internal_error", "error_message": "oops"}),
    ]
    with serving(site) as url:
        fetch_pairs(tmp_path / "rows", 10, SITE, url=url, clock=time.clock())
        assert max(time.slept) >= 40
        site.failures = [(400, {"error_id": 502, "error_message": "more requests available in 70000 seconds"})]
        with pytest.raises(IncompleteRunError, match="no request for 70,000 seconds"):
            fetch_pairs(tmp_path / "b", 10, SITE, url=url, clock=time.clock())
        with pytest.raises(DataError, match=r"No site found for name. Check --site"):
            fetch_pairs(tmp_path / "c", 10, "nowhere", url=url, clock=time.clock())
        with pytest.raises(DataError, match="holds rows already"):
            fetch_pairs(tmp_path / "rows", 10, SITE, url=url, clock=time.clock())


def test_a_server_that_is_away_keeps_the_place(tmp_path: Path) -> None:
    time = FakeTime()
    with pytest.raises(IncompleteRunError, match="has refused 5 times"):
        fetch_pairs(tmp_path / "rows", 10, SITE, url="http://127.0.0.1:9/2.3", clock=time.clock())
    assert (tmp_path / "rows/.api/posts.sqlite").is_file()


def test_pages_beyond_the_last_one_are_asked_by_votes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.tasks.stackexchange_api.LAST_PAGE", 2)
    monkeypatch.setattr("harness.tasks.stackexchange_api.PAGE_SIZE", 20)
    time = FakeTime()
    site = Site(120, time)
    with serving(site) as url:
        fetch_pairs(tmp_path / "rows", 90, SITE, url=url, clock=time.clock())
    asked = [query for method, query in site.asked if method == "questions"]
    assert max(int(query["page"]) for query in asked) == 2 < LAST_PAGE
    assert [row["question_id"] for row in rows_in(tmp_path / "rows")] == [n for n in range(1, 101) if n % 10 != 9][:90]


def test_the_command_wants_one_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("data", "crossvalidated", "--out", str(tmp_path)) == ExitCode.USAGE
    assert "name one source" in capsys.readouterr().err
    assert bench("data", "crossvalidated", "--api", "--out", str(tmp_path)) == ExitCode.USAGE
    assert "--api needs --pairs" in capsys.readouterr().err
    with serving(Site(20, FakeTime())) as url:
        words = ("--api", "--api-url", url, "--pairs", "5", "--out", str(tmp_path / "r"), "--json", "--quiet")
        assert bench("data", "crossvalidated", *words) == 0
    assert json.loads(capsys.readouterr().out)["rows"]
