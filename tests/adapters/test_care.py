"""Trained adapters can be shown, checked, merged and removed."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from harness.adapter_manifest import find_current
from harness.adapters.inspection import check
from harness.adapters.lora_training import train
from harness.adapters.train_options import TrainOptions
from harness.cli.adapter import adapter
from harness.cli.list import listing
from harness.errors import BenchError, UsageError
from harness.peft_folder import WEIGHTS
from harness.workspace import Workspace

SETTINGS = ("batch=8", "accumulate=1", "max_steps=6", "validation_rows=16", "evaluations=1", "lora.r=2")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    return Workspace.current()


@pytest.fixture
def trained(base: Path, rows: Path, workspace: Workspace) -> Path:
    options = TrainOptions("agnews", str(base), "tiny-agnews", SETTINGS, str(rows))
    return train(options, workspace, Console(file=io.StringIO()))[0]


def said(*args: str) -> str:
    result = CliRunner().invoke(adapter, list(args), catch_exceptions=False, standalone_mode=False)
    return result.output


def test_show_tells_what_it_is_and_how_it_was_made(trained: Path, rows: Path) -> None:
    text = said("show", trained.name)
    assert f"{trained.name} (current)" in text
    assert f"104 of {rows}" in text
    assert "held back from training" in text
    assert json.loads(said("show", trained.name, "--json"))["steps"] == 6


def test_check_finds_a_changed_weight_a_missing_list_and_another_base(
    trained: Path, base: Path, tmp_path: Path
) -> None:
    assert check(trained) == []
    assert "is complete" in said("check", trained.name)
    (trained / "rows.json").unlink()
    with (trained / WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    manifest = json.loads((trained / "manifest.json").read_text())
    other = tmp_path / "other"
    shutil.copytree(base, other)
    with (other / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    (trained / "manifest.json").write_text(json.dumps({**manifest, "base": str(other)}))
    wrong = " ".join(check(trained))
    assert "is not the file that was trained" in wrong
    assert "rows.json is missing" in wrong
    assert "has other weights" in wrong


def test_rm_takes_it_away_and_no_adapter_is_current(trained: Path, base: Path, workspace: Workspace) -> None:
    assert "removed" in said("rm", trained.name)
    assert not trained.exists()
    with pytest.raises(UsageError, match="bench train"):
        find_current(workspace, "agnews", str(base))
    with pytest.raises(UsageError, match="no adapter"):
        said("rm", trained.name)


def test_rm_takes_the_folder_one_stands_in(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    with monkeypatch.context() as patch:
        patch.setenv("BENCH_HOME", str(trained.parent.parent))
        assert "removed" in said("rm", ".")
    assert not trained.exists()


def test_an_adapter_from_elsewhere_is_shown_without_its_escapes_or_told_to_be_broken(trained: Path) -> None:
    path = trained / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "recipe_name": "\x1b[2Jgone\nbase  another"}))
    assert "\x1b" not in said("show", str(trained)) and "gone base another" in said("show", str(trained))
    broken: dict[str, Any]
    for broken in ({"created": "yesterday"}, {"data": {"rows": "many"}}, {"recipe": {"claims": [{}]}}):
        path.write_text(json.dumps({**manifest, **broken}))
        with pytest.raises(UsageError, match="holds what Bench does not write"):
            said("show", str(trained))


def test_a_broken_adapter_is_listed_as_such_and_one_half_made_is_none(trained: Path, workspace: Workspace) -> None:
    shutil.copytree(trained, workspace.adapters / ".new-half")
    shutil.copytree(trained, workspace.adapters / "a-broken-one")
    (workspace.adapters / "a-broken-one" / "manifest.json").write_text("{")
    listed = CliRunner().invoke(listing, ["adapters", "--json"], catch_exceptions=False, standalone_mode=False)
    rows = json.loads(listed.stdout)
    assert [row["id"] for row in rows] == ["a-broken-one", trained.name]
    assert rows[0]["base"].startswith("unreadable: ")
    with pytest.raises(UsageError, match=r"no adapter 'new-half'.*known: a-broken-one, agnews"):
        said("show", "new-half")


def test_merge_opens_no_other_weights_than_those_that_were_trained(trained: Path, tmp_path: Path) -> None:
    (trained / WEIGHTS).rename(trained / "adapter_model.bin")
    with pytest.raises(UsageError, match="is not the file that was trained"):
        said("merge", trained.name, "--out", str(tmp_path / "merged"))
    manifest = json.loads((trained / "manifest.json").read_text())
    (trained / "manifest.json").write_text(json.dumps({**manifest, "objective": "tfidf", "base": "tfidf"}))
    with pytest.raises(UsageError, match="is a classical baseline: nothing to merge"):
        said("merge", trained.name, "--out", str(tmp_path / "merged"))


def test_merge_writes_a_model_that_answers_as_the_adapter_does(trained: Path, base: Path, tmp_path: Path) -> None:
    assert "on all of 8 rows" in said("merge", trained.name, "--out", str(tmp_path / "merged"), "--rows", "8")
    assert (tmp_path / "merged" / "model.safetensors").read_bytes() != (base / "model.safetensors").read_bytes()
    assert (tmp_path / "merged" / "tokenizer.json").is_file()
    with pytest.raises(UsageError, match="not an empty folder"):
        said("merge", trained.name, "--out", str(tmp_path / "merged"))


def test_merge_writes_nothing_where_an_answer_differs(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import PeftModel

    def without_the_adapter(self: PeftModel) -> object:
        model = self.unload()
        model.model.norm.weight.data.zero_()  # all logits equal: it says the first token for ever
        return model

    monkeypatch.setattr(PeftModel, "merge_and_unload", without_the_adapter, raising=False)
    with pytest.raises(BenchError, match=r"differently .* Nothing was written"):
        said("merge", trained.name, "--out", str(tmp_path / "merged"))
    assert not (tmp_path / "merged").exists()


TOML = """prompt = "Topic? {{ text }}"
reference = "label"
labels = ["World", "Sports", "Business", "Sci/Tech"]
"""


def test_an_adapter_of_a_task_file_is_shown_checked_and_merged_from_another_folder(
    base: Path, rows: Path, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "topics.toml").write_text(TOML)
    shutil.copytree(base, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    options = TrainOptions("./topics.toml", "model", "tiny-agnews", SETTINGS, "rows", out=Path("mine"))
    train(options, workspace, Console(file=io.StringIO()))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "topics (version 1/" in said("show", "../mine")
    assert check(Path("../mine")) == []
    assert "on all of 4 rows" in said("merge", "../mine", "--out", "merged", "--rows", "4")
    (tmp_path / "topics.toml").rename(tmp_path / "moved.toml")
    with pytest.raises(UsageError, match="learned the task 'topics': name its file with --task"):
        said("merge", "../mine", "--out", "again")
    with pytest.raises(UsageError, match="learned the task 'topics', not 'moved'"):
        said("merge", "../mine", "--out", "again", "--task", "../moved.toml")
    (tmp_path / "moved.toml").write_text('name = "topics"\n' + TOML)
    assert "on all of 4 rows" in said("merge", "../mine", "--out", "again", "--rows", "4", "--task", "../moved.toml")
