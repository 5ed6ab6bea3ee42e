"""What is installed is complete: every file of the packages is in the wheel, and `bench` reports what shadows it."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ROOMS = {"harness": "harness", "tasks": "harness/tasks", "adapters": "harness/adapters", "reports": "harness/reports"}


def tracked(*folders: str) -> list[str]:
    done = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout:
        pytest.skip("needs the git checkout")
    return done.stdout.split()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of what is tracked, built by setuptools as pip would call it, away from the checkout."""
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip("needs setuptools 77, as pyproject.toml says")
    source = tmp_path_factory.mktemp("source")
    for name in tracked(*ROOMS, "bench_harness.py", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("dist")
    code = f"from setuptools import build_meta as b; b.build_sdist({str(out)!r}); print(b.build_wheel({str(out)!r}))"
    built = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, timeout=240, check=False
    )
    assert built.returncode == 0, built.stderr
    assert list(out.glob("*.tar.gz"))
    return out / built.stdout.splitlines()[-1]


def test_every_folder_of_modules_is_named_as_a_package() -> None:
    folders = {str(Path(path).parent) for path in tracked(*ROOMS) if path.endswith(".py") and (ROOT / path).is_file()}
    room = {folder: folder.split("/", 1)[0] for folder in folders}
    wanted = {folder.replace(room[folder], ROOMS[room[folder]], 1).replace("/", ".") for folder in folders}
    named = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    assert set(named) == wanted


@pytest.mark.slow
def test_every_tracked_file_of_the_rooms_is_in_the_wheel(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.replace(room, package, 1)
        for room, package in ROOMS.items()
        for path in tracked(room)
        if (ROOT / path).is_file()
    }
    assert wanted - inside == set(), "name them in pyproject.toml: packages, or package-data"


@pytest.mark.slow
def test_nothing_but_the_package_and_its_first_step_is_installed(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"harness", "bench_harness.py"}


@pytest.mark.slow
def test_the_wheel_works_where_there_is_no_checkout(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(installed)
    for words in (
        "list tasks",
        "list recipes",
        "new-task mine --kind toml",
        "data check --task agnews --data embedded",
    ):
        done = start(words.split(), tmp_path, installed)
        assert done.returncode == 0, done.stderr
    assert str(ROOT) not in start(["doctor", "--json"], tmp_path, installed).stdout


def start(words: list[str], cwd: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from bench_harness import main; main()", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("file", ["harness.py", "harness/__init__.py", "harness/notes.txt"])
def test_another_package_in_the_way_is_told_with_its_path(file: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("")
    beside = tmp_path / "beside"
    beside.mkdir()
    shutil.copy(ROOT / "bench_harness.py", beside)
    done = subprocess.run(  # -S: without the checkout's own editable finder, which would fix it
        [sys.executable, "-S", "-c", "from bench_harness import main; main()", "list", "tasks"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(beside)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert str(tmp_path / "harness") in done.stderr
    assert "shadows Bench's own package" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_workflow_runs_what_a_person_runs() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text("utf-8"))["jobs"]
    assert ".ci/run" in [step.get("run") for step in jobs["everything"]["steps"]]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_hooks_are_parts_of_the_check() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    entries = {hook["id"]: hook["entry"] for hook in hooks}
    check = (ROOT / "check").read_text("utf-8")
    assert entries["types"] in check
    assert "ruff format" in check
    assert entries["lint"] in check
    assert entries["spelling"] in check
    assert entries["prose"] in check
