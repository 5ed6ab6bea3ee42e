"""The entry point: fast to start, and every mistake is one sentence with exit code 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import bench_harness
from harness.errors import ExitCode
from harness.reports.exports import summary_of
from harness.runs.run_log import RunLog
from tests.support.processes import BENCH
from tests.support.synthetic_run import synthetic_run

HEAVY = (
    *("torch", "pandas", "openai", "transformers", "datasets", "numpy", "scipy", "sklearn", "matplotlib", "aiohttp"),
    "importlib.metadata",
)


def bench(*args: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BENCH, *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
        timeout=120,
        check=False,
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom harness.cli.main import _run\n_run(['--help'])\n"
        f"heavy = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "assert not heavy, heavy\nassert not [m for m in sys.modules if m.startswith('harness.cli.run')]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["rum"], "there is no verb 'rum'; did you mean 'run'"),
        (["run"], "specify what to run"),
        (["run", "--task", "agnewz", "--backends", "gpt4"], "no task 'agnewz'; did you mean 'agnews'"),
        (["run", "--task", "agnews", "--backends", "gpt5"], "no backend 'gpt5'; did you mean 'gpt35'"),
        (["run", "--task", "agnews", "--backends", "gpt4,gpt4"], "names 'gpt4' twice"),
        (["run", "--task", "agnews", "--backends", "gpt4", "--lmit", "3"], "No such option"),
        (["run", "--task", "agnews", "--backends", "gpt4", "--limit", "0"], "--limit"),
        (["run", "--task", "./no.py:T", "--backends", "gpt4"], "there is no such file"),
        (["run", "--resume", "nothing"], "no run 'nothing'"),
        (["run", "--resume", "last", "--limit", "3"], "takes --limit from the run's manifest"),
    ],
)
def test_mistakes_are_sentences(tmp_path: Path, args: list[str], said: str) -> None:
    done = bench(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("args", [[], ["data"]])
def test_a_command_that_lacks_its_verb_shows_the_page(args: list[str], tmp_path: Path) -> None:
    done = bench(*args, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("Usage: bench")


def test_a_plugin_that_cannot_be_loaded_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import nothing_of_that_name\n")
    done = bench("run", "--task", "./mine.py:Mine", "--backends", "gpt4", cwd=tmp_path)
    assert done.returncode == 2
    assert "mine.py cannot be loaded: ModuleNotFoundError" in done.stderr
    (tmp_path / "mine.py").write_text("class Mine:\n    name = 'mine'\n")
    done = bench("run", "--task", "./mine.py:Mine", "--backends", "gpt4", cwd=tmp_path)
    assert done.returncode == 2
    assert "is not a task: it has no version, labels, metrics" in done.stderr


def test_a_broken_plugin_that_is_installed_is_reported_and_disturbs_nobody(tmp_path: Path) -> None:
    info = tmp_path / "site" / "stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bench.tasks]\nodd = nothing_of_that_name:Odd\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    listed = bench("list", "tasks", cwd=tmp_path, env=env)
    assert listed.returncode == 0
    lines = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert "broken: task 'odd'" in lines["odd"] and "ModuleNotFoundError" in lines["odd"]
    assert "World, Sports" in lines["agnews"]
    other = bench("data", "check", "--task", "agnews", "--data", "embedded", cwd=tmp_path, env=env)
    assert (other.returncode, "nothing_of_that_name" in other.stderr) == (0, False)
    asked = bench("run", "--task", "odd", "--backends", "gpt4", cwd=tmp_path, env=env)
    assert asked.returncode == 2 and "task 'odd' (nothing_of_that_name:Odd) cannot be loaded" in asked.stderr


def test_data_files_are_told_by_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text('"1","t","d"\n"9","t","d"\n')
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "bench.toml").write_text('[backends.gold]\nkind = "replay"\npath = "none.jsonl"\n')
    for name, said in {
        "bad.csv": "bad.csv:2: class '9'",
        "empty.csv": "holds no rows",
        "no.csv": "no such file",
    }.items():
        done = bench("run", "--task", "agnews", "--backends", "gold", "--data", name, cwd=tmp_path)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_lists_are_for_people_and_for_machines(tmp_path: Path) -> None:
    assert "agnews" in bench("list", "tasks", cwd=tmp_path).stdout
    rows = json.loads(bench("list", "backends", "--json", cwd=tmp_path).stdout)
    assert {"name": "gpt4", "kind": "openai", "model": "gpt-4.1"} in rows
    assert bench("list", "runs", cwd=tmp_path).stderr == "no runs here yet.\n"


def test_one_unreadable_adapter_does_not_hide_the_others(tmp_path: Path) -> None:
    for name, text in (("a-1", "{"), ("a-2", '{"schema": 99}')):
        (tmp_path / ".bench" / "adapters" / name).mkdir(parents=True)
        (tmp_path / ".bench" / "adapters" / name / "manifest.json").write_text(text)
    done = bench("list", "adapters", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert [(row["id"], row["base"].split(":")[0]) for row in json.loads(done.stdout)] == [
        ("a-1", "unreadable"),
        ("a-2", "unreadable"),
    ]


def test_an_unknown_run_is_told_the_newest_whatever_its_task(tmp_path: Path) -> None:
    for k, name in enumerate(("qqp-20260101-000000-aaaa", "agnews-20260102-000000-bbbb")):
        run = tmp_path / ".bench" / "runs" / name
        run.mkdir(parents=True)
        (run / "manifest.json").write_text("{}")
        os.utime(run / "manifest.json", (k, k))
    said = bench("report", "nothing", cwd=tmp_path).stderr
    assert "the newest is agnews-20260102-000000-bbbb" in said


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        f"{' '.join(BENCH)} list tasks | true",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""


def test_the_doctor_looks_at_every_extra_and_never_fails(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text("[backends")
    done = bench("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 0
    found = {f["what"]: f for f in json.loads(done.stdout)}
    assert {"extra hub", "extra local", "extra json", "extra text", "extra dump"} <= set(found)
    assert not {"extra dev", "extra docs"} & set(found)
    assert found["bench.toml"]["state"] == "wrong"


def test_ctrl_c_while_modules_are_imported_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def __getattr__(self, name: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "harness.cli.main", Interrupted())
    with pytest.raises(SystemExit) as end:
        bench_harness.main()
    assert end.value.code == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "bench: interrupted.\n"


def test_the_list_of_runs_has_dates_scores_and_commits(tmp_path: Path) -> None:
    log = synthetic_run(tmp_path / "home" / "runs" / "one", 40)
    begun = msgspec.structs.replace(log.manifest, id="agnews-20260109-000000-be9a", created="2026-01-09T00:00:00Z")
    RunLog.create(tmp_path / "home" / "runs" / "two", begun, [])
    (tmp_path / "home" / "runs" / "bad").mkdir()
    (tmp_path / "home" / "runs" / "bad" / "manifest.json").write_text("{}")
    env = os.environ | {"BENCH_HOME": str(tmp_path / "home")}
    two, one, bad = json.loads(bench("list", "runs", "--json", cwd=tmp_path, env=env).stdout)
    accuracy = {n: b.metrics["accuracy"].value for n, b in summary_of(log).backends.items()}
    assert one["scores"] == accuracy and one["score"] == max(v for v in accuracy.values() if v is not None)
    assert (one["rows"], one["created"], one["commit"]) == (40, "2026-01-02T03:04:05Z", "0123456789abcdef")
    assert (two["rows"], two["score"], two["complete"]) == (40, None, False)
    assert bad["rows"] is None and "unreadable" in bad["backends"]
    first, second, third = bench("list", "runs", cwd=tmp_path, env=env).stdout.splitlines()
    assert "not finished" in first and "unreadable" in third
    assert "2026-01-02 03:04:05" in second and "40 rows" in second and "accuracy 9" in second and "0123456 " in second
