"""What goes wrong in a user's own task is reported as theirs, with file and line, and never as a bug of Bench."""

from pathlib import Path

import pytest

from harness.records import Sample
from tests.support.command import bench

TASK = """from harness.metrics import CLASSIFICATION
from harness.records import Completion, Message, InputSpan, Request, Sample, Score
{above}

class Mine:
    name, version, labels, metrics, recipe = "mine", "1", ("a", "b"), CLASSIFICATION, "agnews-generate"

    def samples(self, source):
        {samples}

    def request(self, sample):
        {request}

    def score(self, sample, completion):
        {score}

    def target(self, sample):
        return sample.reference
"""

WHOLE = {
    "above": "",
    "samples": 'yield Sample.of({"text": "x"}, "a", source.split)',
    "request": "passages = (InputSpan(message=0, start=0, end=1),)\n"
    "        return Request(id=sample.id, messages=(Message(role='user', content='x'),), passages=passages)",
    "score": 'return Score(answer="a", correct=True)',
}


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, **parts: str) -> int:
    (folder / "mine.py").write_text(TASK.format(**{**WHOLE, **parts}))
    row = Sample.of({"text": "x"}, "a", "test")
    (folder / "said.jsonl").write_text(f'{{"id": "{row.id}", "text": "a"}}\n')
    (folder / "bench.toml").write_text('[backends.said]\nkind = "replay"\npath = "said.jsonl"\n')
    monkeypatch.setenv("BENCH_HOME", str(folder / "home"))
    monkeypatch.chdir(folder)
    return bench("run", "--task", "./mine.py:Mine", "--backends", "said", "--quiet")


def test_the_task_of_these_tests_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, monkeypatch) == 0


@pytest.mark.parametrize(
    ("part", "code", "said"),
    [
        ("samples", 'yield {}["team"]', "mine.py:9, in samples: KeyError: 'team'"),
        (
            "samples",
            "import json; json.loads('{'); yield",
            "mine.py:9, in samples: JSONDecodeError: Expecting property",
        ),
        ("request", "return 1 / 0", "mine.py:12, in request: ZeroDivisionError: division by zero"),
        ("request", "return Request(id=sample.id, message='x')", "mine.py:12, in request: TypeError: "),
        ("score", "return completion.txt", "mine.py:16, in score: AttributeError: "),
        (
            "above",
            "import nothing_of_this_name",
            "mine.py cannot be loaded: ModuleNotFoundError: No module named 'nothing_of_this_name' (mine.py:3)",
        ),
    ],
)
def test_an_exception_in_a_users_file_names_its_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    part: str,
    code: str,
    said: str,
) -> None:
    assert run(tmp_path, monkeypatch, **{part: code}) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    assert "bug in Bench" not in told


@pytest.mark.parametrize(
    ("part", "code", "said"),
    [
        (
            "samples",
            'yield Sample.of({"text": 5}, "a", source.split)',
            "task 'mine': samples(): row 1 of the split 'test': input 'text' holds an int, not text",
        ),
        ("samples", 'yield Sample.of({"text": "x"}, 1, source.split)', "the reference is an int, not text"),
        ("samples", 'yield Sample.of({"text": "x"}, "a", source.split, group=7)', "the group is an int, not text"),
        ("samples", 'yield {"text": "x"}', "it is an object, not a Sample"),
        ("request", "return 'x'", "task 'mine': request(): row "),
        ("score", "return True", "score(): row 2d711642b726b044: returns a bool, not a Score"),
        ("score", "return Score(answer=1, correct=True)", "the answer is an int, not text"),
    ],
)
def test_what_a_task_returns_must_be_what_it_promised(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    part: str,
    code: str,
    said: str,
) -> None:
    assert run(tmp_path, monkeypatch, **{part: code}) == 2
    assert said.replace("2d711642b726b044", Sample.of({"text": "x"}, "a", "test").id) in capsys.readouterr().err
