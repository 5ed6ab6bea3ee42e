"""Files that users wrote before modules were renamed still work, and say what to import instead."""

import importlib
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import harness
from harness import Settings, load_task, run
from harness._moved import MODULES, NAMES, PACKAGES

STORED = Path(__file__).parent / "before_the_move"
ROWS = {"red": "warm", "blue": "cold", "orange": "warm", "green": "cold", "yellow": "warm", "violet": "cold"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The stored task, test and backend as files, with rows."""
    for stored in STORED.glob("*.txt"):
        (tmp_path / stored.stem).write_text(stored.read_text("utf-8"), "utf-8")
    rows = tmp_path / "colours_rows"
    rows.mkdir()
    for split in ("train", "test"):
        lines = [json.dumps({"colour": f"{split} {colour}", "label": label}) for colour, label in ROWS.items()]
        (rows / f"{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return tmp_path


def test_an_old_task_and_an_old_backend_make_a_run(files: Path) -> None:
    warm = [f"test {colour}" for colour, label in ROWS.items() if label == "warm"]
    tables = {"words": {"kind": f"{files / 'thermometer.py'}:Thermometer", "warm": warm}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made = run(f"{files / 'colours.py'}:Colours", ["words"], config=Settings(backends=tables), workspace=files)
    assert made.summary.backends["words"].metrics["accuracy"].value == 1.0


def test_the_test_of_an_old_task_passes(files: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_colours.py"],
        cwd=files,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    assert "harness.asking.plan.ask has moved: write `from harness import build_request`." in done.stdout


def test_a_warning_names_the_line_and_the_import_to_write(files: Path) -> None:
    with pytest.warns(DeprecationWarning) as caught:
        load_task(f"{files / 'colours.py'}:Colours")
    said = {str(warning.message).partition(": ")[2]: Path(warning.filename).name for warning in caught}
    assert said == {
        "write `from harness import score_label`.": "colours.py",
        "write `from harness import user_message`.": "colours.py",
    }


@pytest.mark.parametrize(("module", "name"), [*NAMES, ("harness.runlog", "RunLog")])
def test_a_renamed_class_is_the_class_of_today(module: str, name: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"{module}.{name} has moved"):
        found = getattr(importlib.import_module(module), name)
    assert found is getattr(harness, NAMES.get((module, name), name))


@pytest.mark.parametrize("module", MODULES)
def test_what_a_module_became_exists_and_nothing_is_in_its_old_place(module: str) -> None:
    importlib.import_module(MODULES[module])
    folder = Path(harness.__file__).parent
    assert not (folder / Path(*module.split(".")[1:])).with_suffix(".py").exists()
    assert module.rpartition(".")[0] in (*PACKAGES, "harness", "harness.prompting")


def test_a_name_that_there_never_was_is_still_an_import_error() -> None:
    with pytest.raises(ImportError, match="nothing_here"):
        exec("from harness.answers.labels import nothing_here")
    with pytest.raises(ImportError, match="nothing_here"):
        exec("from harness.records import nothing_here")
    with pytest.raises(ModuleNotFoundError, match="nothing_here"):
        importlib.import_module("harness.answers.nothing_here")


def test_a_module_of_today_is_never_looked_up_among_the_moved_ones() -> None:
    finders = [type(finder).__name__ for finder in sys.meta_path if hasattr(finder, "find_spec")]
    assert finders.count("MovedModuleFinder") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(importlib.import_module("harness.hashing"))
