"""Tasks and backends passed to `run` as objects: which word the run keeps of them, and how it is resumed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import DataSource, Run, Sample, Settings, Task, UsageError, load_run, load_task, resume, run
from harness.registry import BACKENDS, PASSED, TASKS, find, spec_of
from tests.support.fakes import FakeBackend, Parity

FAKE = "tests.support.fakes:FakeBackend"


class Multiples(Parity):
    """A task with a state: rows up to a number of its own."""

    name = "multiples"

    def __init__(self, most: int) -> None:
        self.most = most

    def samples(self, source: DataSource) -> list[Sample]:
        return list(super().samples(source))[: self.most]


def asked(task: Task | type[Task], folder: Path, **fake: Any) -> Run:
    return run(task, {"fake": {"kind": FakeBackend, **fake}}, config=Settings(backends={}), workspace=folder)


def test_a_class_that_can_be_imported_is_kept_by_its_name(tmp_path: Path) -> None:
    made = asked(Parity, tmp_path)
    assert made.complete
    assert made.manifest.task_spec == "tests.support.fakes:Parity"
    assert made.manifest.backend_settings["fake"]["kind"] == FAKE


def test_an_object_without_a_state_is_kept_as_its_class() -> None:
    assert spec_of(TASKS, Parity()) == "tests.support.fakes:Parity"


def test_a_task_that_was_loaded_by_a_word_is_kept_by_this_word(tmp_path: Path) -> None:
    file = tmp_path / "quiz.toml"
    file.write_text('prompt = "{{ text }}"\nreference = "label"\nlabels = ["a", "b"]\n')
    assert spec_of(TASKS, load_task("agnews")) == "agnews"
    assert spec_of(TASKS, load_task(str(file))) == str(file)
    assert spec_of(TASKS, load_task("tests.support.fakes:Parity")) == "tests.support.fakes:Parity"


def test_a_registered_class_is_kept_by_its_registered_name() -> None:
    assert spec_of(TASKS, type(load_task("agnews"))) == "agnews"


def test_objects_with_a_state_are_known_to_this_process_each_by_its_own_word(tmp_path: Path) -> None:
    three, five = Multiples(3), Multiples(5)
    words = [spec_of(TASKS, task) for task in (three, five, three)]
    assert words[0] == words[2] != words[1]
    assert all(word.startswith(PASSED) for word in words)
    assert find(TASKS, words[1]) is five
    made = asked(five, tmp_path)
    assert (len(list(made.rows())), made.complete) == (5, True)


def test_a_run_of_a_local_class_is_resumed_in_the_same_process(tmp_path: Path) -> None:
    class Local(Parity):
        pass

    made = asked(Local, tmp_path, stop_after=20)
    assert not made.complete
    assert len(resume(made, config=Settings(backends={}), workspace=tmp_path).lines("fake")) > 0


def test_another_process_says_what_to_pass_and_takes_it(tmp_path: Path) -> None:
    script = tmp_path / "notebook.py"
    script.write_text(
        "import sys\n"
        "from harness import Settings, load_run, resume, run\n"
        "from tests.support.fakes import Parity\n"
        "class Cell(Parity):\n"
        "    name = 'cell'\n"
        "again = dict(config=Settings(backends={}), workspace=sys.argv[1])\n"
        "if sys.argv[2] == 'run':\n"
        "    run(Cell, {'fake': {'kind': 'tests.support.fakes:FakeBackend', 'stop_after': 20}}, **again)\n"
        "elif sys.argv[2] == 'resume':\n"
        "    resume('last', **again)\n"
        "else:\n"
        "    print(len(resume('last', task=Cell, **again).lines('fake')))\n"
    )

    def process(step: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(script), str(tmp_path / "ws"), step]
        environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)

    assert process("run").returncode == 0
    refused = process("resume")
    assert "the task '__main__.Cell' is an object of the Python program that passed it" in refused.stderr
    assert int(process("pass").stdout) > 0


def test_an_object_that_the_run_does_not_need_is_refused(tmp_path: Path) -> None:
    made = asked(Parity, tmp_path, stop_after=20)
    with pytest.raises(UsageError, match="its task is found by its name"):
        resume(made, task=Parity(), workspace=tmp_path)
    with pytest.raises(UsageError, match="asks no backend 'fak'"):
        resume(made, backends={"fak": FakeBackend}, workspace=tmp_path)


def test_tables_are_laid_over_those_of_the_settings(tmp_path: Path) -> None:
    settings = Settings(backends={"fake": {"kind": FAKE, "wrong_every": 2, "delay_s": 0.0}})
    made = run(Parity, {"fake": {"wrong_every": 3}, "bare": FakeBackend}, config=settings, workspace=tmp_path)
    assert made.manifest.backend_settings["fake"] == {"kind": FAKE, "wrong_every": 3, "delay_s": 0.0}
    assert made.manifest.backend_settings["bare"] == {"kind": spec_of(BACKENDS, FakeBackend)}
    assert load_run(made.id, workspace=tmp_path).backends == ("fake", "bare")
    assert settings.backends["fake"]["wrong_every"] == 2


def test_a_wrong_key_in_a_table_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="wrong_evry"):
        asked(Parity, tmp_path, wrong_evry=2)
