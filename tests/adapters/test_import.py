"""PEFT folders in `bench adapter import`, `show`, `check` and `run --adapter`: contamination is unknown until said."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the `local` extra")

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM

import harness
from harness.adapter_manifest import find_current, read_manifest
from harness.adapters.importing import ImportOptions, import_adapter
from harness.adapters.inspection import check, described
from harness.adapters.merging import merge
from harness.errors import UsageError
from harness.execution.preflight import read_training_file
from harness.reports.terminal_table import print_summary
from harness.task_loading import load_task
from harness.workspace import Workspace
from tests.support.tiny_llama import make_base

TASK = """
prompt = "Is this review good or bad?\\n\\n{{ text }}\\n\\nAnswer:"
reference = "label"
labels = ["good", "bad"]
data = "rows"
"""
REVIEWS = [
    ("The hinges held through a winter of gales, and the varnish still shines.", "good"),
    ("Two screws were missing and nobody answered my three letters.", "bad"),
    ("Quiet, light and quick to charge: exactly what the attic needed.", "good"),
    ("The lid cracked on the second day, with tea inside.", "bad"),
    ("My neighbour borrowed it and bought one on the way home.", "good"),
    ("Colour like wet cardboard, smell like wet cardboard.", "bad"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task with test rows, a base, and a PEFT adapter for it."""
    folder = tmp_path_factory.mktemp("import")
    (folder / "reviews.toml").write_text(TASK)
    (folder / "rows").mkdir()
    lines = [json.dumps({"text": text, "label": label}) for text, label in REVIEWS]
    (folder / "rows/test.jsonl").write_text("\n".join(lines) + "\n")
    base = make_base(folder / "base")
    torch.manual_seed(0)
    tuned = get_peft_model(
        LlamaForCausalLM.from_pretrained(base, dtype=torch.float32),
        LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"),
    )
    tuned.save_pretrained(str(folder / "lora"))
    (folder / "lora/README.md").write_text("A model card.")
    return folder


def chat_line(text: str, label: str) -> str:
    """A row of a chat file with another prompt around the same text."""
    turns = [
        ("system", "You judge reviews."),
        ("user", f"Read this review:\n{text}\nGood or bad?"),
        ("assistant", label),
    ]
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]})


def test_a_run_says_that_contamination_is_unknown_until_it_is_told(place: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"adapter": place / "lora", "workspace": tmp_path, "progress": False}
    run = harness.run(str(place / "reviews.toml"), "llama-ft", **asked)
    said = "\n".join(run.summary.warnings)
    assert "llama-ft: contamination unknown: the rows that it was trained on are not at hand" in said
    assert "(--trained-on FILE)" in said
    page = harness.report(run, workspace=tmp_path).read_text()
    assert page.count("contamination unknown") >= 2, "in the warnings and beside the adapter"
    compared = harness.compare(run, run, workspace=tmp_path)
    assert any("contamination unknown" in note for note in compared.notes)
    from io import StringIO

    from rich.console import Console

    out = StringIO()
    print_summary(run.summary, Console(file=out, width=80))
    assert "contamination unknown" in " ".join(out.getvalue().split())

    trained = tmp_path / "trained.jsonl"
    trained.write_text("\n".join(chat_line(*row) for row in REVIEWS[:2]))
    told = harness.run(str(place / "reviews.toml"), "llama-ft", trained_on=trained, **asked)
    assert told.summary.backends["llama-ft"].contaminated == 2
    assert not any("unknown" in warning for warning in told.summary.warnings)
    with pytest.raises(UsageError, match="2 of 6 evaluated rows are also in the training rows in"):
        harness.run(str(place / "reviews.toml"), "llama-ft", trained_on=trained, fail_on_contamination=True, **asked)


def test_an_option_for_adapters_needs_a_backend_that_takes_one(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--adapter .*lora applies to none of the backends gpt4"):
        harness.run(str(place / "reviews.toml"), "gpt4", adapter=place / "lora", workspace=tmp_path)
    with pytest.raises(UsageError, match=r"--trained-on .* applies to none of the backends llama-base"):
        harness.run(str(place / "reviews.toml"), "llama-base", trained_on=place / "rows/test.jsonl", workspace=tmp_path)


def test_an_import_is_found_as_the_current_adapter_and_knows_its_rows(place: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    options = ImportOptions(task=str(place / "reviews.toml"), trained_on=place / "rows/test.jsonl")
    folder, manifest = import_adapter(place / "lora", options, workspace)
    assert sorted(p.name for p in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "manifest.json",
        "rows.npz",
    ]
    assert (manifest.task, manifest.origin, manifest.data["rows"]) == ("reviews", "peft", 6)
    assert find_current(workspace, "reviews", str(place / "base")) == folder
    assert check(folder) == []
    shown = described(workspace, folder)
    assert "trained elsewhere" in shown and "contamination unknown" not in shown and "6 rows of" in shown
    run = harness.run(
        str(place / "reviews.toml"), "llama-ft", base=str(place / "base"), workspace=tmp_path, progress=False
    )
    assert run.summary.backends["llama-ft"].contaminated == 6
    with pytest.raises(UsageError, match="is in the workspace already"):
        import_adapter(place / "lora", ImportOptions(), workspace)


def test_what_is_said_at_an_import_must_fit(place: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    rows = place / "rows/test.jsonl"
    with pytest.raises(UsageError, match="--trained-on needs --task"):
        import_adapter(place / "lora", ImportOptions(trained_on=rows), workspace)
    with pytest.raises(UsageError, match="--labels is for a classification head"):
        import_adapter(place / "lora", ImportOptions(labels=("good", "bad")), workspace)
    assert not [path for path in workspace.adapters.iterdir() if path.is_dir()], "nothing is left behind"


def test_a_folder_that_was_not_imported_can_be_shown_and_checked(place: Path, tmp_path: Path) -> None:
    shown = described(Workspace(tmp_path), place / "lora")
    assert "contamination unknown" in shown and "LORA (r 2, lora_alpha 8)" in shown
    assert check(place / "lora") == []
    assert read_manifest(place / "lora").id.startswith("lora-")


def test_a_foreign_adapter_is_merged_and_verified(place: Path, tmp_path: Path) -> None:
    done = merge(place / "lora", tmp_path / "merged", 3)
    assert done.rows == 3 and (tmp_path / "merged/model.safetensors").is_file()


CHAT_FORMS = {
    "openai": lambda text, label: chat_line(text, label),
    "sharegpt": lambda text, label: json.dumps(
        {"conversations": [{"from": "human", "value": f"Judge this: {text}"}, {"from": "gpt", "value": label}]}
    ),
    "alpaca": lambda text, label: json.dumps({"instruction": "Good or bad?", "input": text, "output": label}),
    "trl": lambda text, label: json.dumps(
        {
            "prompt": [{"role": "user", "content": f"Judge: {text}"}],
            "completion": [{"role": "assistant", "content": label}],
        }
    ),
    "completion": lambda text, label: json.dumps({"prompt": f"Review: {text}\nVerdict:", "completion": label}),
}


@pytest.mark.parametrize("form", CHAT_FORMS)
def test_training_files_of_other_trainers_are_compared_by_their_texts(form: str, place: Path, tmp_path: Path) -> None:
    task = load_task(str(place / "reviews.toml"))
    ours = read_training_file(task, place / "rows/test.jsonl")
    (tmp_path / "chat.jsonl").write_text("\n".join(CHAT_FORMS[form](*row) for row in REVIEWS))
    theirs = read_training_file(task, tmp_path / "chat.jsonl")
    assert set(ours.exact.tolist()) == set(theirs.exact.tolist())


def test_a_training_file_that_cannot_be_read_is_told(place: Path, tmp_path: Path) -> None:
    task = load_task(str(place / "reviews.toml"))
    (tmp_path / "odd.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(UsageError, match=r"can be read neither as rows of reviews .* nor as a chat file"):
        read_training_file(task, tmp_path / "odd.jsonl")
    with pytest.raises(UsageError, match="there is no such file"):
        read_training_file(task, tmp_path / "none.jsonl")
