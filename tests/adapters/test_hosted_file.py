"""What would be uploaded is checked, counted and priced before; `--dry-run` calls nobody."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.adapters.dispatch import cancel, dry_run, train
from harness.adapters.hosted.hosted_job import progress_of
from harness.adapters.hosted.hosted_recipe import load_hosted
from harness.adapters.hosted.preparation import prepare
from harness.adapters.hosted.training_file import flaw_of
from harness.adapters.train_options import TrainOptions
from harness.errors import UsageError
from harness.records import Message
from harness.workspace import Workspace
from tests.adapters.hosting import ANSWER, MODEL, RECIPE, conversations
from tests.support.command import bench

NOBODY = "base_url=http://127.0.0.1:9/v1"


def asked(data: Path, *settings: str, **more: Any) -> TrainOptions:
    return TrainOptions("persona-json", recipe=RECIPE, overrides=(NOBODY, *settings), data=str(data), **more)


def test_the_reference_case_is_as_published() -> None:
    recipe = load_hosted(RECIPE)
    assert (recipe.model, recipe.epochs, recipe.max_length) == (MODEL, 3, 16385)
    assert {c.metric for c in recipe.claims} == {"format_error_rate"}
    assert {c.value for c in recipe.claims if "GPT" in c.who} == {0.02}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("lora.r=8", "unknown field 'lora'"),
        ("learning_rate=1", "did you mean 'learning_rate_multiplier'"),
        ("epochs=many", "epochs"),
        ("epochs=0", "epochs must be more than 0"),
        ("base_url=ftp://x", "must be an http"),
        ("base_url=https://me:secret@host/v1", "holds a password"),
        (f"suffix={'x' * 65}", "1 to 64 characters"),
    ],
)
def test_a_recipe_that_could_not_work_is_refused(setting: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_hosted(RECIPE, (setting,))


def test_any_endpoint_and_model_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f'extends = "{RECIPE}"\nbase_url = "http://localhost:1/v1/"\nbatch = 4\n')
    recipe = load_hosted(str(tmp_path / "mine.toml"), ("model=a",), "b")
    assert (recipe.url, recipe.model, recipe.batch, recipe.epochs) == ("http://localhost:1/v1", "b", 4, 3)


def test_flags_of_another_kind_of_training_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a provider reports only its loss: start hosted trainings one by one"):
        dry_run(asked(conversations(tmp_path / "rows.jsonl", 40)), ("epochs=1,2",))
    with pytest.raises(UsageError, match="--cancel is for hosted fine-tuning"):
        cancel(TrainOptions("agnews", recipe="tfidf", data="embedded"), Workspace(tmp_path))
    with pytest.raises(UsageError, match="--max-cost is for hosted fine-tuning"):
        dry_run(TrainOptions("agnews", recipe="tfidf", data="embedded", max_cost=1.0))


def test_a_dry_run_prices_and_shows_what_would_be_sent(tmp_path: Path) -> None:
    record, text = dry_run(asked(conversations(tmp_path / "rows.jsonl", 40), "validation_rows=5"))
    assert isinstance(record, dict)
    assert record["rows"] == {"training": 35, "validation": 5}
    price = record["price"]
    assert price["cost_usd"] == pytest.approx(price["tokens"] * 3 * 8 / 1e6)
    assert price["most_cost_usd"] >= price["cost_usd"]
    assert record["job"]["method"]["supervised"]["hyperparameters"] == {"n_epochs": 3}
    assert record["examples"][0][-1] == {"role": "assistant", "content": ANSWER}
    assert "8 USD a million trained tokens (price table of 2025)" in text and "nothing was sent" in text
    assert msgspec.json.encode(record)


def test_the_command_line_says_it_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    words = ["train", "--task", "persona-json", "--recipe", RECIPE, "--data", "embedded", "--dry-run", "--json"]
    assert bench(*words) == 0
    record = json.loads(capsys.readouterr().out)
    assert any("OpenAI makes new fine-tuning jobs only until 2027-01-06" in r for r in record["remarks"])
    assert not (tmp_path / "home").exists()


def test_invalid_targets_and_shared_prompts_are_listed_before_anything_starts(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    conversations(folder / "train.jsonl", 40)
    rows = (folder / "train.jsonl").read_text().splitlines()
    broken = json.loads(rows[0])
    broken["messages"][-1]["content"] = "no JSON"
    (folder / "train.jsonl").write_text("\n".join([json.dumps(broken), *rows[1:]]) + "\n")
    (folder / "test.jsonl").write_text("\n".join(rows[1:4]) + "\n")
    job = prepare(asked(folder))
    assert any("1 of 40 targets are invalid and are left out" in r and "not JSON" in r for r in job.remarks)
    assert any("3 training rows are also in the evaluation split and are left out" in r for r in job.remarks)
    assert len(job.train.rows) + len(job.held.rows) == 36


def test_rows_of_one_prompt_stay_on_one_side(tmp_path: Path) -> None:
    data = conversations(tmp_path / "rows.jsonl", 20)
    data.write_text(data.read_text() * 3)
    job = prepare(asked(data, "validation_rows=9"))
    learned, held = ({r.messages[:-1] for r in file.rows} for file in (job.train, job.held))
    assert held and not learned & held


def test_too_few_rows_and_rows_too_long_are_refused(tmp_path: Path) -> None:
    few = conversations(tmp_path / "few.jsonl", 9)
    with pytest.raises(UsageError, match=r"8 training rows are left, a provider requires 10 or more"):
        prepare(asked(few))
    many = conversations(tmp_path / "many.jsonl", 40)
    with pytest.raises(UsageError, match=r"training rows need more than 50 tokens \(counted as bytes / 4\)"):
        prepare(asked(many, "max_length=50"))
    job = prepare(asked(many, "max_length=50", "too_long=drop"))
    assert 10 <= len(job.train.rows) < 40 and max(r.tokens for r in job.train.rows) <= 50
    assert any("are left out" in remark for remark in job.remarks)


@pytest.mark.parametrize(
    ("roles", "flaw"),
    [
        (["system", "user", "assistant"], None),
        (["user", "assistant", "user", "assistant"], None),
        (["tool", "user", "assistant"], "unknown role 'tool'"),
        (["system", "assistant"], "no user message"),
        (["user", "system", "assistant"], "not the first"),
    ],
)
def test_conversations_are_checked(roles: list[str], flaw: str | None) -> None:
    found = flaw_of(tuple(Message(role=role, content="text") for role in roles))
    assert found == flaw if flaw is None else flaw in str(found)
    assert flaw_of((Message(role="user", content="text"), Message(role="assistant", content=" "))) == (
        "empty assistant message"
    )


class Event:
    def __init__(self, message: str, data: object = None) -> None:
        self.message = message
        self.data = data


@pytest.mark.parametrize(
    ("event", "found"),
    [
        (Event("Step 3/9: training loss=1"), (3, 9, {})),
        (Event("", {"step": 3, "train_loss": 0.5}), (3, None, {"loss": 0.5})),
        (Event("x", {"step": 3.0, "total_steps": 9, "train_loss": "nan"}), None),
        (Event("Fine-tuning job started", None), None),
        (Event("", {"step": None, "train_loss": 1}), None),
        (Event("", ["step"]), None),
    ],
)
def test_events_are_read_whatever_they_hold(event: Any, found: object) -> None:
    assert progress_of(event) == found


def test_nobody_is_called_without_rows(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no training row is left|requires 10 or more"):
        train(asked(conversations(tmp_path / "none.jsonl", 1)), Workspace(tmp_path), None)  # type: ignore[arg-type]
