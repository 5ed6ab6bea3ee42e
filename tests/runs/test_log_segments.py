"""A long log stands in segments: rolled while it is written, compacted when it has ended, read in either form."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from harness.errors import UsageError
from harness.records import (
    Completion,
    Cost,
    Failure,
    Key,
    Lenient,
    Message,
    Request,
    Sample,
    Score,
    Timing,
    Usage,
)
from harness.runs import backend_log, log_parquet
from harness.runs.run_log import Manifest, RunLog

ROWS = 95


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_log, "SEGMENT_LINES", 10)


def make(path: Path, rows: int = ROWS) -> RunLog:
    samples = [Sample.of({"text": str(n)}, "a", "test") for n in range(rows)]
    requests = [Request(id=s.id, messages=(Message(role="user", content="?"),)) for s in samples]
    manifest = Manifest(id="x", task="t", task_spec="t", parser="1", rows=rows)
    return RunLog.create(path, manifest, zip(samples, requests, strict=True))


def answer(text: str = "a") -> Completion:
    return Completion(id="i", text=text, finish="stop", cost=Cost(list=0.25, incurred=0.25))


ERROR = Completion(id="i", error=Failure(kind="timeout", message="60 s"), cost=Cost(incurred=0.125))


def fill(log: RunLog, rows: range, completion: Completion | None = None) -> None:
    with log.writer("b") as writer:
        for n in rows:
            done = completion or answer(f"answer {n}")
            writer.append(n, done, None if done.error else Score(answer="a", correct=n % 2 == 0))


def names(log: RunLog) -> list[str]:
    return sorted(p.name for p in (log.path / "b").iterdir() if p.name != ".lock")


def test_a_run_of_ordinary_size_keeps_one_file(tmp_path: Path) -> None:
    log = make(tmp_path, rows=10)
    fill(log, range(10))
    assert log.log_path("b").is_file() and not (tmp_path / "b").exists()


def test_a_log_begun_as_one_file_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = make(tmp_path)
    monkeypatch.setattr(backend_log, "SEGMENT_LINES", 1000)
    fill(log, range(20))
    monkeypatch.setattr(backend_log, "SEGMENT_LINES", 10)
    fill(log, range(20, 40))
    assert len(log.lines("b")) == 40 and not (tmp_path / "b").exists()


def test_a_full_segment_is_closed_and_the_next_one_begun(tmp_path: Path) -> None:
    log = make(tmp_path)
    fill(log, range(25))
    assert names(log) == ["00000.jsonl", "00001.jsonl", "00002.jsonl"]
    fill(log, range(25, 31))
    assert [len((tmp_path / "b" / n).read_bytes().splitlines()) for n in names(log)] == [10, 10, 10, 1]


@pytest.mark.parametrize("compacted", [False, True])
def test_the_last_line_wins_across_segments_and_every_line_was_paid_for(tmp_path: Path, compacted: bool) -> None:
    log = make(tmp_path)
    fill(log, range(15), ERROR)
    fill(log, range(5, 40))
    if compacted:
        log.compact("b")
        assert names(log) == [f"{k:05}.parquet" for k in range(5)]
    fill(log, range(3))
    again = RunLog.open(tmp_path)
    answered = again.backend_log("b").answered()
    assert np.flatnonzero(answered[:, 0]).tolist() == [*range(3), *range(5, 40)]
    assert again.incurred("b") == 15 * 0.125 + 38 * 0.25
    lines = again.lines("b")
    assert list(lines) == [Key(n, 0) for n in range(40)]
    assert lines[Key(7, 0)].text == "answer 7" and lines[Key(3, 0)].error == ERROR.error
    streamed = list(again.backend_log("b").each_last())
    assert sorted(line.n for line in streamed) == list(range(40))
    assert {Key(line.n, 0): line for line in streamed} == lines


def test_a_torn_tail_stands_only_in_the_last_segment_and_is_cut(tmp_path: Path) -> None:
    log = make(tmp_path)
    fill(log, range(14))
    with (tmp_path / "b" / "00001.jsonl").open("ab") as file:
        file.write(b'{"n":14,"te')
    assert len(log.lines("b")) == 14
    fill(log, range(14, 16))
    assert list(log.lines("b")) == [Key(n, 0) for n in range(16)]


def test_two_processes_cannot_write_one_segmented_log(tmp_path: Path) -> None:
    log = make(tmp_path)
    with log.writer("b"):
        with pytest.raises(UsageError, match="being written by another"):
            log.writer("b")
        with pytest.raises(UsageError, match="being written by another"):
            log.compact("b")
    log.writer("b").close()


def odd_lines(count: int) -> list[tuple[Completion, Score | None]]:
    rng = random.Random(0)
    texts = ["", "a\nb", '\u2028</script>\x00\U0001f600 \\ "', "a" * 5000]
    made: list[tuple[Completion, Score | None]] = []
    for k in range(count):
        text = texts[k % 4]
        if k % 7 == 0:
            made.append((Completion(id=f"{k}", error=Failure(kind="timeout", message=text), attempts=3), None))
            continue
        completion = Completion(
            id=f"{k}-2",
            text=text,
            finish=rng.choice(["stop", "length", None]),
            reasoning=rng.choice(["", text]),
            usage=Usage(prompt_tokens=k, cached_tokens=k % 3, completion_tokens=9, reasoning_tokens=k % 5),
            timing=Timing(service_s=rng.random(), first_token_s=rng.choice([None, rng.random()])),
            cost=Cost(list=rng.choice([None, 0.1]), incurred=rng.choice([None, 1e-17])),
            label_scores=rng.choice([None, {}, {"World": -0.1, "": -1e300}]),
            prompt_hash=rng.choice([None, "ab"]),
            prompt_truncated=rng.random() < 0.5,
            cached=rng.random() < 0.5,
            notes=rng.choice([{}, {"system_fingerprint": text}]),
        )
        lenient = Lenient(answer=rng.choice([None, text]), correct=rng.choice([None, True]))
        values = rng.choice([{}, {"chrf": rng.random(), "rouge": 0.0}])
        made.append((completion, Score(answer=text, correct=None, format="empty", lenient=lenient, values=values)))
    return made


def test_parquet_gives_back_every_line_as_it_was(tmp_path: Path) -> None:
    log = make(tmp_path)
    with log.writer("b") as writer:
        written = [writer.append(k, *line) for k, line in enumerate(odd_lines(ROWS))]
    marks = log.backend_log("b")
    before = (marks.answered().tolist(), marks.incurred())
    log.compact("b")
    assert list(log.backend_log("b").lines()) == written
    assert (marks.answered().tolist(), marks.incurred()) == before


def test_a_segment_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    log = make(tmp_path / "run", 3)
    fill(log, range(3), Completion(id="i", text="a", finish="stop", usage=Usage(prompt_tokens=5)))
    lines, columns = log.log_path("b"), tmp_path / "old.parquet"
    log_parquet.write(lines, columns)
    table = pq.read_table(columns)
    kept = [f.name for f in table.schema.field("usage").type if f.name != "reasoning_tokens"]
    usage = pa.StructArray.from_arrays([pc.struct_field(table["usage"], name).combine_chunks() for name in kept], kept)
    at = table.schema.get_field_index("usage")
    pq.write_table(table.set_column(at, "usage", usage).drop_columns(["reasoning"]), columns)
    assert list(log_parquet.read(columns)) == list(log.lines("b").values())


def test_a_kill_between_the_forms_of_a_segment_loses_nothing(tmp_path: Path) -> None:
    log = make(tmp_path)
    fill(log, range(35))
    before = log.lines("b")
    lines = tmp_path / "b" / "00001.jsonl"
    log_parquet.write(lines, lines.with_suffix(".parquet"))  # and the lines were not yet removed
    (tmp_path / "b" / ".00002.parquet.aside").write_bytes(b"half")
    assert RunLog.open(tmp_path).lines("b") == before
    fill(log, range(35, 37))
    log.compact("b")
    log.compact("b")
    assert [n for n in names(log) if not n.startswith(".")] == [f"{k:05}.parquet" for k in range(4)]
    assert len(log.lines("b")) == 37


def test_without_pyarrow_segments_stay_lines_and_parquet_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make(tmp_path)
    fill(log, range(25))
    log.compact("b")
    fill(log, range(25, 40))
    monkeypatch.setattr(log_parquet, "available", lambda: False)
    log.compact("b")
    assert "00003.jsonl" in names(log)
    with pytest.raises(UsageError, match=r"00000\.parquet: reading it needs pyarrow: python -m pip install"):
        log.lines("b")


def test_a_segment_that_is_not_readable_is_named(tmp_path: Path) -> None:
    log = make(tmp_path)
    fill(log, range(12))
    log.compact("b")
    (tmp_path / "b" / "00000.parquet").write_bytes(b"not Parquet")
    for look in (lambda: log.lines("b"), lambda: log.incurred("b")):
        with pytest.raises(UsageError, match=r"00000\.parquet is not a readable segment"):
            look()


def test_a_line_about_no_row_of_the_run_is_told(tmp_path: Path) -> None:
    log = make(tmp_path, rows=3)
    fill(log, range(2, 4))
    with pytest.raises(UsageError, match=r"line 2 is about row 3, repeat 0; this run has 3 rows"):
        list(log.backend_log("b").each_last())


KILLED = """
import sys
from pathlib import Path
from harness.runs import backend_log
backend_log.SEGMENT_LINES = 10
from tests.runs.test_log_segments import answer, fill
from harness.runs.run_log import RunLog
log = RunLog.open(Path(sys.argv[1]))
with log.writer("b") as writer:
    for n in range(95):
        writer.append(n, answer(f"answer {n}"), None)
        print(n, flush=True)
while True:
    log.compact("b")
    print("compacted", flush=True)
    fill(log, range(95))
"""


@pytest.mark.parametrize("after", [3, 10, 31, 95, 96, 97])
def test_a_kill_at_any_moment_leaves_what_was_written(tmp_path: Path, after: int) -> None:
    log = make(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    for _ in range(after):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    lines = log.lines("b")
    assert list(lines)[: min(after, 95)] == [Key(n, 0) for n in range(min(after, 95))]
    assert all(line.text == f"answer {key.n}" for key, line in lines.items())
    fill(log, range(len(lines), 95))
    log.compact("b")
    assert len(log.lines("b")) == 95 and all(n.endswith(".parquet") for n in names(log))
