"""An adapter's folder as a training leaves it, made without training: with everything, or with a manifest alone."""

from pathlib import Path

from harness.adapter_group import GROUP, Group, Training, rank
from harness.adapter_manifest import AdapterManifest, write_manifest
from harness.files import write_json
from harness.training_record import EXAMPLES, LENGTHS, Examples, Lengths, SampledAnswer, StepAnswers, Target

SCORES = ((0.90, 0.94, 0.92), (0.85, 0.91, 0.80))


def manifest(**more: object) -> AdapterManifest:
    """The manifest of a small training."""
    facts = {
        "id": "agnews-1", "task": "agnews", "task_version": "1", "base": "tiny", "recipe_name": "tiny-agnews",
        "recipe": {"epochs": 1.0, "batch": 16, "learning_rate": 0.005, "lora": {"r": 8, "alpha": 16, "dropout": 0.0}},
        "data": {"source": "rows/", "split": "train", "rows": 600, "remarks": ["2 of 602 targets are invalid."]},
        "selection": {"rows": 200, "from": "train", "metric": "accuracy", "step": 20},
        "steps": 40, "tokens": 12_000, "duration_s": 31.0, "created": "2026-01-02T03:04:05+00:00",
        "metrics": {"validation_accuracy": 0.94, "validation_loss": 0.2},
    }  # fmt: skip
    return AdapterManifest(**{**facts, **more})  # type: ignore[arg-type]


def bare_adapter(folder: Path, **more: object) -> Path:
    """A manifest and nothing else, as a hosted training leaves it."""
    folder.mkdir(parents=True)
    write_manifest(folder, manifest(**more))
    return folder


def trained_adapter(folder: Path, text: str = "a row's own text") -> Path:
    """Everything a training in a group keeps; `text` stands wherever the data's own texts stand."""
    bare_adapter(folder)
    lines: list[dict[str, float]] = [
        {"step": s, "loss": 2.0 / s, "learning_rate": 0.005 * (1 - s / 40)} for s in range(4, 41, 4)
    ]
    lines += [{"step": s, "eval_loss": 1 / s, "eval_accuracy": a} for s, a in ((10, 0.8), (20, 0.94), (40, 0.93))]
    write_json(folder / "history.json", [*lines, {"step": 40, "train_runtime": 31.0}])
    write_json(folder / LENGTHS, Lengths(room=64, counts={20: 100, 21: 300, 35: 180, 60: 20}))
    answer = SampledAnswer(id="x", asked=text, target=text, answer=text, value=0.0, format="no label")
    answers = StepAnswers(rows=200, sample=(answer, answer), worst=(answer,))
    write_json(folder / EXAMPLES, Examples(targets=(Target(read=text, learned=text),), answers=answers))
    write_json(folder / GROUP, group())
    return folder


def group() -> Group:
    """Two candidates with three seeds each; the second one's last seed failed."""
    trainings = [
        Training(number=1 + 3 * i + s, settings={"lora.r": r}, seed=s, adapter=f"agnews-{i}{s}", score=score)
        for i, (r, scores) in enumerate(zip((8, 16), SCORES, strict=True))
        for s, score in enumerate(scores)
    ]
    last = Training(number=6, settings={"lora.r": 16}, seed=2, failed="the loss became nan at step 3")
    return Group(
        id="agnews-group-1", task="agnews", metric="accuracy", direction="higher", seeds=(0, 1, 2), swept=("lora.r",),
        rows=200, fingerprint="f" * 64, evaluations=3, chosen="agnews-01",
        candidates=rank([*trainings[:-1], last], "higher", proportion=True),
    )  # fmt: skip
