"""Rows from a Stack Exchange dump: streamed, cleaned, with provenance and licence."""

import json
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.data import data
from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.task_loading import load_rows
from harness.tasks.crossvalidated import CrossValidated
from harness.tasks.stackexchange import Built, build_pairs, plain_text, to_ascii


def post(**attributes: object) -> str:
    return "  <row " + " ".join(f"{k}={quoteattr(str(v))}" for k, v in attributes.items()) + " />\n"


def question(number: int, votes: int, body: str = "<p>Why?</p>", **more: object) -> str:
    fields = {"Title": f"Title {number}", "Tags": "<mean><variance>", "CreationDate": "2012-01-02T03:04:05", **more}
    return post(Id=number, PostTypeId=1, Score=votes, Body=body, **fields)


def answer(number: int, parent: int, votes: int, body: str = "<p>So.</p>", **more: object) -> str:
    return post(Id=number, PostTypeId=2, ParentId=parent, Score=votes, Body=body, CreationDate="2019-01-01", **more)


def dump(folder: Path, *posts: str) -> Path:
    path = folder / "Posts.xml"
    path.write_text(
        '\ufeff<?xml version="1.0" encoding="utf-8"?>\n<posts>\n' + "".join(posts) + "</posts>\n", encoding="utf-8"
    )
    return path


def build(path: Path, out: Path, most: int | None = None) -> tuple[Built, list[dict[str, object]]]:
    built = build_pairs(path, out, most, "stats.stackexchange.com", lambda read: None)
    lines = [*(out / "train.jsonl").read_text().splitlines(), *(out / "test.jsonl").read_text().splitlines()]
    return built, sorted(map(json.loads, lines), key=lambda row: -row["question_score"])


POSTS = (
    answer(11, 1, 3, "<p>Low</p>"),  # an answer may stand before its question
    question(1, 5, "<p>Why <b>n - 1</b>?</p><ul><li>one</li><li>two &lt; three</li></ul>"),
    answer(12, 1, 9, "<p>Because of \u201cb\u00e9ta\u201d: \u03b2 \u2265 0</p>", OwnerDisplayName="Ren\u00e9"),
    answer(13, 1, 99, "<p>Run this:</p><pre><code>x = 1</code></pre>"),
    question(2, 50, "<p>Inline <code>mean</code> is no block.</p>", ContentLicense="CC BY-SA 3.0", OwnerUserId=7),
    answer(21, 2, 1),
    answer(22, 2, 1, "<p>Later, as many votes</p>"),
    question(3, 70, "<pre>code</pre>"),
    answer(31, 3, 1),
    question(4, 60),  # nobody answered
    question(5, 1, "<p> </p>"),
    post(Id=6, PostTypeId=4, Score=0, Body="tag wiki"),
    post(Id="x", PostTypeId=1, Score=0, Body="<p>a</p>"),
    question(2, 50),
)


def test_the_best_answer_of_each_question_is_kept_and_every_drop_is_counted(tmp_path: Path) -> None:
    built, rows = build(dump(tmp_path, *POSTS), tmp_path / "out")
    assert [row["question_id"] for row in rows] == [2, 1]
    first, second = rows
    assert second["question"] == "Why n - 1?\none\ntwo < three"
    assert second["answer"] == 'Because of "beta": &beta; >= 0'
    assert second["answer_score"] == 9
    assert (second["answer_author"], second["answer_license"], second["license"]) == (
        "Rene",
        "CC BY-SA 4.0",
        "CC BY-SA 3.0",
    )
    assert (second["link"], second["answer_link"]) == (
        "https://stats.stackexchange.com/questions/1",
        "https://stats.stackexchange.com/a/12",
    )
    assert (first["answer"], first["tags"], first["author"]) == ("So.", "mean variance", "user 7")
    assert built.read == len(POSTS)
    assert built.dropped == {
        "answer with a code block": 1,
        "question with a code block": 1,
        "question without text": 1,
        "neither question nor answer": 1,
        "question without a number": 1,
        "question given twice": 1,
    }
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert (provenance["dump"], sum(provenance["rows"].values()), len(provenance["sha256"])) == ("Posts.xml", 2, 64)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["provenance.json", "test.jsonl", "train.jsonl"]


def test_only_the_highest_voted_questions_are_taken_when_asked(tmp_path: Path) -> None:
    _, rows = build(dump(tmp_path, *POSTS), tmp_path / "out", most=1)
    assert [row["question_id"] for row in rows] == [2]


def test_the_rows_are_what_the_task_reads_and_splits_are_stable(tmp_path: Path) -> None:
    posts = [p for k in range(1, 201) for p in (question(k, k, f"<p>Why {k}?</p>"), answer(1000 + k, k, k))]
    built, _ = build(dump(tmp_path, *posts), tmp_path / "all")
    again, _ = build(dump(tmp_path, *posts[200:]), tmp_path / "half")
    assert 1 <= built.rows["test"] <= 25
    train, test = (
        load_rows(CrossValidated(), DataSource(location=str(tmp_path / "all"), split=s)) for s in ("train", "test")
    )
    assert (len(train), len(test)) == (built.rows["train"], built.rows["test"])
    assert {s.columns["score"] for s in train} <= {str(k) for k in range(1, 201)}
    half = load_rows(CrossValidated(), DataSource(location=str(tmp_path / "half"), split="test"))
    assert len(half) == again.rows["test"]
    assert {s.id for s in half} <= {s.id for s in test}


def test_an_archive_reads_like_the_file_it_holds(tmp_path: Path) -> None:
    py7zr = pytest.importorskip("py7zr")
    path = dump(tmp_path, *POSTS)
    with py7zr.SevenZipFile(tmp_path / "dump.7z", "w") as archive:
        archive.write(path, "Posts.xml")
        archive.writestr("<badges />", "Badges.xml")
    _, plain = build(path, tmp_path / "plain")
    _, packed = build(tmp_path / "dump.7z", tmp_path / "packed")
    assert packed == plain
    with py7zr.SevenZipFile(tmp_path / "other.7z", "w") as archive:
        archive.writestr("<badges />", "Badges.xml")
    with pytest.raises(UsageError, match=r"other\.7z holds 0 files called Posts\.xml"):
        build(tmp_path / "other.7z", tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("Posts.xml", b"<posts><row Id='1'", "is not the XML of a dump"),
        ("Posts.xml", b"no xml", "is not the XML of a dump"),
        ("Posts.xml", b"<posts></posts>", "no question with an answer is left of 0 posts"),
        ("dump.7z", b"no archive", r"dump\.7z is not a 7z archive"),
    ],
)
def test_a_dump_that_is_none_is_told(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    if name.endswith(".7z"):
        pytest.importorskip("py7zr")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=said):
        build(tmp_path / name, tmp_path / "out")


def test_a_build_that_fails_leaves_no_rows_behind(tmp_path: Path) -> None:
    (tmp_path / "Posts.xml").write_bytes(b"<posts></posts>")
    with pytest.raises(UsageError, match="no question with an answer"):
        build(tmp_path / "Posts.xml", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    assert sum(build(dump(tmp_path, *POSTS), tmp_path / "out")[0].rows.values()) == 2


def test_rows_are_never_overwritten(tmp_path: Path) -> None:
    build(dump(tmp_path, *POSTS), tmp_path / "out")
    with pytest.raises(UsageError, match="holds rows already"):
        build(tmp_path / "Posts.xml", tmp_path / "out")


def test_the_verb_says_what_it_read_and_dropped(tmp_path: Path) -> None:
    arguments = ["crossvalidated", "--dump", str(dump(tmp_path, *POSTS)), "--out", str(tmp_path / "out"), "--quiet"]
    done = CliRunner().invoke(data, arguments)
    assert done.exit_code == 0, done.exception
    assert "14 posts read; dropped: 1 answer with a code block" in done.output


@given(st.text())
def test_whatever_is_written_becomes_ascii(text: str) -> None:
    assert to_ascii(text).isascii()
    assert to_ascii(to_ascii(text)) == to_ascii(text)


@given(st.text(alphabet="<>pre/&;lt \n\"'code!-"))
def test_no_html_makes_the_reader_raise(body: str) -> None:
    text = plain_text(body)
    assert text is None or "\n\n" not in text


@pytest.mark.slow
def test_memory_does_not_grow_with_the_dump(tmp_path: Path) -> None:
    """Peak memory of a process that reads 20,000 and 200,000 posts."""

    def peak(posts: int) -> int:
        folder = tmp_path / str(posts)
        folder.mkdir()
        with (folder / "Posts.xml").open("w") as file:
            file.write("<posts>\n")
            for k in range(1, posts + 1, 2):
                file.write(question(k, k, "<p>" + "Why is that so? " * 30 + "</p>") + answer(k + 1, k, k))
            file.write("</posts>\n")
        code = (
            "import resource, sys\nfrom pathlib import Path\nfrom harness.tasks.stackexchange import build_pairs\n"
            "build_pairs(Path(sys.argv[1]), Path(sys.argv[2]), None, 'x', lambda n: None)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder / "Posts.xml"), str(folder / "out")],
            capture_output=True,
            text=True,
            check=True,
            timeout=280,
        )
        return int(done.stdout)

    small, large = peak(20_000), peak(200_000)
    assert large < 1.2 * small
