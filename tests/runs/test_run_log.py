"""The run directory: append-only, last line wins, torn tails are cut, newer schemas are refused."""

import json
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.records import Completion, Failure, Key, Message, Request, Sample, Score
from harness.runs.run_log import Manifest, RunLog, Session


def make(path: Path, rows: int = 3) -> RunLog:
    samples = [Sample.of({"text": str(n)}, "a", "test") for n in range(rows)]
    requests = [Request(id=s.id, messages=(Message(role="user", content="?"),)) for s in samples]
    manifest = Manifest(id="x", task="t", task_spec="t", parser="1", rows=rows)
    return RunLog.create(path, manifest, zip(samples, requests, strict=True))


def answer(text: str = "a", repeat: int = 0) -> Completion:
    return Completion(id="i", repeat=repeat, text=text, finish="stop")


ERROR = Completion(id="i", error=Failure(kind="timeout", message="60 s"))


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    log = make(tmp_path)
    with log.writer("b") as writer:
        writer.append(2, answer("z"), Score(answer="z", correct=False, format="no label"))
        writer.append(0, answer("a"), Score(answer="a", correct=True))
    lines = RunLog.open(tmp_path).lines("b")
    assert list(lines) == [Key(0, 0), Key(2, 0)]
    assert lines[Key(2, 0)].text == "z"
    assert lines[Key(2, 0)].score == Score(answer="z", correct=False, format="no label")
    assert [row.sample.inputs["text"] for row in log.rows()] == ["0", "1", "2"]


def test_every_line_has_the_documented_fields(tmp_path: Path) -> None:
    log = make(tmp_path)
    with log.writer("b") as writer:
        writer.append(0, answer(), None)
    line = json.loads(log.log_path("b").read_text())
    assert {"n", "id", "repeat", "text", "finish", "usage", "timing", "cost", "attempts", "error", "score"} <= set(line)
    assert line["error"] is None


def test_the_last_line_wins_and_only_errors_are_asked_again(tmp_path: Path) -> None:
    log = make(tmp_path)
    with log.writer("b") as writer:
        writer.append(0, ERROR, None)
        writer.append(1, answer(), Score(answer="a", correct=True))
        assert log.answered("b") == {Key(1, 0)}
        writer.append(0, answer("late"), Score(answer=None, correct=False))
    assert log.answered("b") == {Key(0, 0), Key(1, 0)}
    assert log.lines("b")[Key(0, 0)].text == "late"


def test_repeats_are_answers_of_their_own(tmp_path: Path) -> None:
    log = make(tmp_path)
    with log.writer("b") as writer:
        writer.append(0, answer("first", 0), None)
        writer.append(0, answer("second", 1), None)
    assert [line.text for line in log.lines("b").values()] == ["first", "second"]


@pytest.mark.parametrize("torn", [b"{", b'{"n":1,"id":"i"', b'{"n":1,"text":"' + b"x" * 200_000])
def test_a_torn_tail_is_not_a_line_and_is_cut_before_appending(tmp_path: Path, torn: bytes) -> None:
    log = make(tmp_path)
    with log.writer("b") as writer:
        writer.append(0, answer(), None)
    with log.log_path("b").open("ab") as file:
        file.write(torn)
    assert list(log.lines("b")) == [Key(0, 0)]
    with log.writer("b") as writer:
        writer.append(1, answer(), None)
    assert list(log.lines("b")) == [Key(0, 0), Key(1, 0)]


def test_a_log_that_is_only_a_torn_tail_starts_anew(tmp_path: Path) -> None:
    log = make(tmp_path)
    log.log_path("b").write_bytes(b'{"n":0')
    with log.writer("b") as writer:
        writer.append(0, answer(), None)
    assert list(log.lines("b")) == [Key(0, 0)]


def test_two_processes_cannot_write_one_log(tmp_path: Path) -> None:
    log = make(tmp_path)
    with log.writer("b"), pytest.raises(UsageError, match="being written by another"):
        log.writer("b")
    log.writer("b").close()


def test_a_newer_schema_is_refused_in_a_sentence(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99, "of_the_future": 1}))
    with pytest.raises(UsageError, match="is of schema 99, this Bench reads up to 1: update Bench"):
        RunLog.open(tmp_path)


def test_a_summary_of_a_newer_schema_is_refused_in_a_sentence(tmp_path: Path) -> None:
    log = make(tmp_path)
    (tmp_path / "summary.json").write_text('{"schema": 99, "of_the_future": 1}')
    with pytest.raises(UsageError, match=r"summary\.json is of schema 99, .*: update Bench"):
        log.summary()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"id": "x"}'])
def test_a_broken_manifest_is_refused_in_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UsageError, match=r"manifest\.json"):
        RunLog.open(tmp_path)


def test_a_broken_line_is_named_by_file_and_line(tmp_path: Path) -> None:
    log = make(tmp_path)
    log.log_path("b").write_text("{}\n")
    with pytest.raises(UsageError, match=r"b\.jsonl:1"):
        log.lines("b")
    log.log_path("b").write_bytes(b'{"n": "\xff"}\n')  # no UTF-8
    with pytest.raises(UsageError, match=r"b\.jsonl:1"):
        log.lines("b")


@pytest.mark.parametrize("n", [-1, 1 << 40, 1 << 80])
def test_a_line_of_a_row_that_cannot_be_is_named_by_file_and_line(tmp_path: Path, n: int) -> None:
    log = make(tmp_path)
    log.log_path("b").write_text(f'{{"n": {n}, "id": "x", "cost": {{"incurred": 1.0}}}}\n')
    with pytest.raises(UsageError, match=r"b\.jsonl:1"):
        log.incurred("b")


def test_a_run_directory_is_never_overwritten(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(UsageError, match="already holds a run"):
        make(tmp_path)


def test_answers_of_any_kind_survive_the_log(tmp_path: Path) -> None:
    log = make(tmp_path)
    hostile = '\u2028\u202e</script>\x00\U0001f600 \\ "\n'
    with log.writer("b") as writer:
        writer.append(0, answer(hostile), None)
    assert log.lines("b")[Key(0, 0)].text == hostile


def test_a_lone_surrogate_is_replaced_and_the_line_survives(tmp_path: Path) -> None:
    log = make(tmp_path)
    with log.writer("b") as writer:
        writer.append(0, answer("a\ud800b"), Score(answer="\udc00", correct=False))
    line = log.lines("b")[Key(0, 0)]
    assert line.text == "a\ufffdb"
    assert line.score == Score(answer="\ufffd", correct=False)


def test_a_lone_surrogate_in_an_error_or_a_note_does_not_end_the_run(tmp_path: Path) -> None:
    log = make(tmp_path)
    failed = Completion(id="i", error=Failure(kind="server", message="\ud800!"), notes={"fingerprint": "\udfff"})
    with log.writer("b") as writer:
        writer.append(0, failed, None)
    line = log.lines("b")[Key(0, 0)]
    assert line.error == Failure(kind="server", message="\ufffd!") and line.notes == {"fingerprint": "\ufffd"}


def test_sessions_are_kept_in_order(tmp_path: Path) -> None:
    log = make(tmp_path)
    sessions = [Session(started="now", wall_s=float(k), rows=k) for k in range(2)]
    for session in sessions:
        log.note_session("b", session)
    assert log.sessions("b") == sessions
    assert log.sessions("never ran") == []


def test_a_session_that_a_full_disk_has_torn_does_not_spoil_the_others(tmp_path: Path) -> None:
    log = make(tmp_path)
    sessions = [Session(started="now", wall_s=float(k), rows=k) for k in range(2)]
    log.note_session("b", sessions[0])
    with (log.state_dir("b") / "sessions.jsonl").open("ab") as file:
        file.write(b'{"started": "no')
    assert log.sessions("b") == sessions[:1]
    log.note_session("b", sessions[1])
    assert log.sessions("b") == sessions
