"""A teacher's answers are taken only where the task's own rules accept them; all else is sent again or dropped."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from harness.backend import RunContext, RunRequirements
from harness.cli.data import data
from harness.data.rows import DataSource
from harness.errors import BackendStopped, IncompleteRunError, UsageError
from harness.hashing import digest
from harness.records import BackendIdentity, Completion, Cost, Failure, Request
from harness.settings import Settings
from harness.synthetic_data import Provenance, SyntheticDataOptions, SyntheticDataRun
from harness.task_loading import load_rows, load_task, task_problems
from harness.tasks.persona_json import read_starters
from harness.workspace import Workspace


class TeacherSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """stop_after: no more money after so many answers; lazy: never a valid answer to rows that hold this word."""

    kind: str
    stop_after: int = 0
    lazy: str = "?never?"


class FakeTeacher:
    """Invents numbered starters, answers personas, explains pairs; the first try of some rows is bad."""

    Settings = TeacherSettings
    asked: list[Request] = []

    def __init__(self, name: str, settings: TeacherSettings, task_name: str, context: RunContext) -> None:
        self.name, self.settings = name, settings

    def identity(self) -> BackendIdentity:
        return BackendIdentity(kind="fake", model="teacher-1", decode="generate")

    async def check(self, needs: RunRequirements) -> None:
        pass

    async def stream(self, requests: AsyncIterator[Request], state_dir: Path) -> AsyncIterator[Completion]:
        done = 0
        async for request in requests:
            if self.settings.stop_after and done >= self.settings.stop_after:
                raise BackendStopped("no money left", kind="quota")
            done += 1
            FakeTeacher.asked.append(request)
            text = self._answer(request)
            if text is None:
                yield Completion(id=request.id, error=Failure(kind="timeout", message="too slow"))
            else:
                yield Completion(id=request.id, text=text, finish="stop", cost=Cost(list=0.01, incurred=0.01))

    def _answer(self, request: Request) -> str | None:
        content = request.messages[-1].content
        again = any(r.id == request.id for r in FakeTeacher.asked[:-1])
        if "conversation" in content:
            themes = request.passage_texts()[0]
            return json.dumps([f"{digest([themes, k])[:24]}, case {k}?" for k in range(9)] + ["What is new?"])
        if self.settings.lazy in content or (not again and int(request.id, 16) % 4 == 0):
            return "I would rather not."
        if not again and int(request.id, 16) % 4 == 1:
            return None
        if "Question 1" in content:
            first, second = (set(re.findall(r"\w+", t.lower())) for t in request.passage_texts())
            alike = len(first & second) > 4
            return f"Both share {len(first & second)} words.\nLabel: {int(alike)}"
        return '[{"text": "Hm.", "emotion": "wry"}]'

    def counters(self) -> dict[str, float]:
        return {}

    async def aclose(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _nothing_asked_yet() -> None:
    FakeTeacher.asked.clear()


def teach(
    tmp_path: Path, task: str, rows: int, *, out: str = "out", source: str = "embedded", **teacher: object
) -> Provenance:
    settings = Settings(backends={"fake": {"kind": "tests.test_teach:FakeTeacher", **teacher}})
    order = SyntheticDataOptions(teacher="fake", rows=rows, data=source)
    return SyntheticDataRun(load_task(task), order, tmp_path / out, settings, Workspace(tmp_path)).run()


def test_a_persona_is_taught_with_invented_starters_no_prompt_twice_or_on_both_sides(tmp_path: Path) -> None:
    taught = teach(tmp_path, "persona-json", 60)
    assert sum(taught.rows.values()) + taught.dropped.get("evaluation rows near a training row", 0) == 60
    assert taught.dropped["asked twice"] == 8  # "What is new?" in each of nine answers
    assert taught.invalid["not JSON"] > 0 and taught.invalid["no answer"] > 0
    source = str(tmp_path / "out")
    task = load_task("persona-json")
    assert task_problems(task, source) == []
    train, test = (load_rows(task, DataSource(location=source, split=s)) for s in ("train", "test"))
    assert not {r.id for r in train} & {r.id for r in test}
    assert len({r.id for r in train + test}) == len(train + test) == sum(taught.rows.values())
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert provenance["teacher"]["model"] == "teacher-1"
    answered = sum(
        1
        for log in (tmp_path / "out" / "teacher").glob("*/fake.jsonl")
        for line in log.read_text().splitlines()
        if '"error":null' in line
    )
    assert taught.cost_incurred == pytest.approx(0.01 * answered)


def test_explanations_are_taken_only_where_the_teacher_finds_the_label_and_never_sees_it(tmp_path: Path) -> None:
    taught = teach(tmp_path, "qqp-explained", 80)
    wrong = taught.invalid["misses the right answer"]
    assert wrong > 0
    assert taught.dropped["no valid answer in 3 rounds"] >= wrong / 3
    rows = load_rows(load_task("qqp"), DataSource(location=str(tmp_path / "out"), split="train"))
    gold = {r.id: r.reference for r in load_rows(load_task("qqp"), DataSource(location="embedded", split="train"))}
    assert len(rows) == taught.rows["train"] > 0
    assert all(gold[r.id] == r.reference for r in rows)
    task = load_task("qqp-explained")
    train = load_rows(task, DataSource(location=str(tmp_path / "out"), split="train"))
    assert task.target(train[0]).startswith("Both share ")
    assert task_problems(task, str(tmp_path / "out"), ("train",)) == []
    texts = [m.content for request in FakeTeacher.asked for m in request.messages]
    assert not any("label is" in text.lower() for text in texts)
    assert all(request.labels == () for request in FakeTeacher.asked)


def test_rows_that_never_get_a_valid_answer_are_dropped_and_counted(tmp_path: Path) -> None:
    taught = teach(tmp_path, "persona-json", 30, lazy="case 3")
    lazy = [
        r for r in FakeTeacher.asked if "case 3" in r.messages[-1].content and "themes" not in r.messages[-1].content
    ]
    assert taught.dropped["no valid answer in 3 rounds"] == len({r.id for r in lazy})
    assert all("case 3" not in line for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines())
    assert {r.seed for r in lazy} == {0, 1, 2}  # a further round is another draw


def test_a_teacher_that_stops_is_gone_on_with_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    with pytest.raises(
        IncompleteRunError, match=r"fake answered 20 of 40 rows: no money left \(the same command continues"
    ):
        teach(tmp_path, "qqp-explained", 40, stop_after=20)
    assert not (tmp_path / "out" / "train.jsonl").exists()
    before = len(FakeTeacher.asked)
    taught = teach(tmp_path, "qqp-explained", 40)
    first_round = [r.id for r in FakeTeacher.asked if r.seed == 0]
    answered_once = 40 + sum(int(i, 16) % 4 == 1 for i in first_round[:20])  # time-outs of the first try are sent again
    assert len(first_round) == answered_once
    assert before == 20 and taught.asked == 40
    with pytest.raises(UsageError, match="holds rows already"):
        teach(tmp_path, "qqp-explained", 40)


def test_a_task_that_cannot_be_taught_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"task 'agnews' does not say how a teacher's answer becomes a row"):
        teach(tmp_path, "agnews", 5)


def test_the_verb_tells_what_was_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bench.toml").write_text('[backends.fake]\nkind = "tests.test_teach:FakeTeacher"\n')
    (tmp_path / "ada.txt").write_text("You are Ada. Answer in JSON.\n")
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    options = ["--system", str(tmp_path / "ada.txt"), "--config", str(tmp_path / "bench.toml"), "--quiet"]
    arguments = [
        "generate",
        "--task",
        "persona-json",
        "--teacher",
        "fake",
        "--rows",
        "20",
        "--out",
        str(tmp_path / "o"),
    ]
    done = CliRunner().invoke(data, arguments + options)
    assert done.exit_code == 0, done.exception
    assert "answers not taken: " in done.output and "not JSON" in done.output
    assert "next: bench train --task persona-json --data" in done.output
    row = json.loads((tmp_path / "o" / "train.jsonl").read_text().splitlines()[0])
    assert row["messages"][0] == {"role": "system", "content": "You are Ada. Answer in JSON."}


@given(st.text() | st.text(alphabet='[]",ab{} ', max_size=40))
def test_no_answer_makes_the_reading_of_starters_raise(text: str) -> None:
    assert all(3 <= len(starter) <= 300 for starter in read_starters(text))


@given(st.lists(st.text(alphabet="abc é?", min_size=3, max_size=50).filter(lambda t: len(" ".join(t.split())) >= 3)))
def test_starters_are_read_as_they_were_written(starters: list[str]) -> None:
    assert list(read_starters(f"Here you are: {json.dumps(starters)}")) == [" ".join(s.split()) for s in starters]
