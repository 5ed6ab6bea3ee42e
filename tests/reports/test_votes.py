"""Blind votes: the page hides who wrote what, its export is read back, and the tally is an exact sign test."""

import base64
import gzip
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import UsageError
from harness.judging.answer_pairs import Judgement, read_judgements
from harness.judging.votes import add_votes, agreements, preferences
from harness.reports.run_page import write_report
from harness.reports.voting_page import write_voting
from harness.runs.run_log import RunLog
from tests.gate.building import make_run
from tests.support.command import bench


def rows_of(page: Path) -> list[dict[str, Any]]:
    packed = re.search(r'id="v-data">([^<]*)<', page.read_text("utf-8"))
    assert packed is not None
    found = msgspec.json.decode(gzip.decompress(base64.b64decode(packed.group(1))))["rows"]
    assert isinstance(found, list)
    return found


@pytest.fixture
def copy(log: RunLog, tmp_path: Path) -> RunLog:
    """A run that a test may write to."""
    return RunLog.open(Path(shutil.copytree(log.path, tmp_path / "run")))


def vote_file(log: RunLog, path: Path, by: str, choices: list[tuple[int, str]], **other: Any) -> Path:
    ids = {row.n: row.sample.id for row in log.rows()}
    votes = [{"n": n, "id": ids[n], "choice": choice, "first": "a"} for n, choice in choices]
    file = {"schema": 1, "run": log.manifest.id, "a": "gpt4", "b": "llama-ft", "by": by, "votes": votes, **other}
    path.write_bytes(msgspec.json.encode(file))
    return path


def test_the_order_of_the_two_answers_is_drawn_for_every_row(log: RunLog, tmp_path: Path) -> None:
    rows = rows_of(write_voting(log, "gpt4", "llama-ft", tmp_path / "v.html"))
    first = sum(row["first"] == "a" for row in rows)
    assert len(rows) > 50 and 0.3 < first / len(rows) < 0.7
    lines = {name: log.lines(name) for name in ("gpt4", "llama-ft")}
    for row in rows:
        order = ("gpt4", "llama-ft") if row["first"] == "a" else ("llama-ft", "gpt4")
        assert row["answers"] == [lines[name][row["n"], 0].text for name in order]  # type: ignore[index]
        assert row["answers"][0] != row["answers"][1]


def test_answers_that_differ_in_white_space_around_them_are_the_same(tmp_path: Path) -> None:
    log = make_run(
        tmp_path / "run", {"a": lambda k, row, repeat: row.reference, "b": lambda k, row, repeat: f" {row.reference}\n"}
    )
    with pytest.raises(UsageError, match="no two different answers"):
        write_voting(log, "a", "b", tmp_path / "v.html")


def test_the_page_names_no_backend_and_is_the_same_every_time(log: RunLog, tmp_path: Path) -> None:
    page = write_voting(log, "gpt4", "llama-ft", tmp_path / "v.html").read_text("utf-8")
    assert "gpt4" not in page and "llama" not in page
    assert write_voting(log, "gpt4", "llama-ft", tmp_path / "w.html").read_text("utf-8") == page


def test_votes_are_read_back_tallied_and_shown(copy: RunLog, tmp_path: Path) -> None:
    ann = [(n, "b") for n in range(9)] + [(9, "a"), (10, "tie")]
    bob = [(n, "b") for n in range(8)] + [(8, "a"), (9, "a"), (10, "tie")]
    for by, choices in (("ann", ann), ("bob", bob)):
        assert add_votes(copy, vote_file(copy, tmp_path / f"{by}.json", by, choices)) == 11
    (found,) = preferences(read_judgements(copy.path))
    assert (found.a, found.b, found.wins_a, found.wins_b, found.ties) == ("gpt4", "llama-ft", 1, 8, 2)
    assert found.p == pytest.approx(2 * (1 + 9) / 2**9)
    (agreement,) = agreements(read_judgements(copy.path))
    assert agreement.rows == 11 and agreement.share == pytest.approx(10 / 11)
    chance = (9 * 8 + 1 * 2 + 1 * 1) / 11**2
    assert agreement.kappa == pytest.approx((10 / 11 - chance) / (1 - chance))
    page = write_report(copy, tmp_path / "r.html").read_text("utf-8")
    assert "Which answer is better" in page and "ann, bob" in page and "Cohen&#39;s kappa" in page


def test_a_vote_changed_later_counts_once(copy: RunLog, tmp_path: Path) -> None:
    for choice in ("a", "b"):
        add_votes(copy, vote_file(copy, tmp_path / "ann.json", "ann", [(0, choice)]))
    (found,) = preferences(read_judgements(copy.path))
    assert (found.wins_a, found.wins_b) == (0, 1)


def test_people_and_a_judging_model_are_tallied_apart_whichever_stands_first() -> None:
    one = Judgement(n=0, id="x", a="p", b="q", winner="a", by="ann", kind="person")
    two = Judgement(n=1, id="y", a="q", b="p", winner="b", by="bob", kind="person")
    model = Judgement(n=0, id="x", a="q", b="p", winner="a", by="judge")
    none = Judgement(n=2, id="z", a="q", b="p", winner=None, by="judge")
    people, judge = preferences([one, two, model, none])
    assert (people.wins_a, people.wins_b, people.judges) == (2, 0, ("ann", "bob"))
    assert (judge.wins_a, judge.wins_b, judge.judges) == (0, 1, ("judge",))
    (found,) = agreements([one, two, model, none])
    assert (found.one, found.two, found.rows, found.share) == ("ann", "judge", 1, 0.0)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"run": "another"}, "holds votes on run another"),
        ({"b": "gpt5"}, "no backend 'gpt5'; did you mean"),
        ({"votes": [{"n": 0, "id": "f00", "choice": "a", "first": "b"}]}, "row 0 of this run is not f00"),
        ({"votes": [{"n": 0, "id": "f00", "choice": "maybe", "first": "b"}]}, "is not readable"),
        ({"schema": 9}, "schema 9"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_whole(
    copy: RunLog, tmp_path: Path, other: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        add_votes(copy, vote_file(copy, tmp_path / "v.json", "ann", [(0, "a")], **other))
    assert read_judgements(copy.path) == []


def test_the_verb_writes_the_page_and_reads_votes(
    copy: RunLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def report(*argv: str) -> int:
        return bench("report", str(copy.path), *argv)

    assert report("--vote", "gpt4,llama-ft", "--out", str(tmp_path / "v.html")) == 0
    assert (tmp_path / "v.html").is_file()
    votes = vote_file(copy, tmp_path / "ann.json", "ann", [(0, "a")])
    assert report("--votes", str(votes), "--out", str(tmp_path / "r.html"), "--quiet") == 0
    assert len(read_judgements(copy.path)) == 1
    assert report("--vote", "gpt4") == 2 and report("--vote", "gpt4,gpt4x") == 2
    err = capsys.readouterr().err
    assert "two backends" in err and "no backend 'gpt4x'; did you mean 'gpt4'?" in err
    assert report("--vote", "gpt4,llama-ft", "--out", str(tmp_path / "v.html"), "--json") == 0
    assert msgspec.json.decode(capsys.readouterr().out) == {"page": str(tmp_path / "v.html")}
    assert report("--vote", "gpt4,llama-ft", "--redact") == 2
    assert "leave out --redact" in capsys.readouterr().err
