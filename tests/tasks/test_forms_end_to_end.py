"""Tasks of many labels, label sets, fields and levels from a file to the gate and the report, on recordings."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from harness import runner
from harness.data.rows import DataSource
from harness.gating.evaluate import GateSource, evaluate_gate, match_names
from harness.gating.gate_settings import gate_settings
from harness.reports import detail_tables
from harness.reports.run_charts import confusion
from harness.reports.run_page import write_report
from harness.results import Summary
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.task_loading import load_rows, load_task
from harness.workspace import Workspace

MANY = 'prompt = "Which? {{ text }}"\nreference = "a"\nlabels = "train"\ndata = "rows"\n'
SETS = 'prompt = "Which? {{ text }}"\nreference = "a"\nform = "multi-label"\nlabels = ["x", "y", "z"]\ndata = "rows"\n'
FIELDS = 'prompt = "Read {{ text }}"\nreference = "a"\ndata = "rows"\n[fields]\nshop = "casefold"\ntotal = "number"\n'
LEVELS = 'prompt = "Stars? {{ text }}"\nreference = "a"\nform = "ordinal"\nlabels = [1, 2, 3, 4, 5]\ndata = "rows"\n'


def finished(folder: Path, toml: str, answers: list[Any], wrong: dict[str, float]) -> RunLog:
    """A run of two recorded candidates, each of which gives another row's answer to a share of the rows."""
    (folder / "rows").mkdir()
    lines = [json.dumps({"text": f"row {n}", "a": answer}) + "\n" for n, answer in enumerate(answers)]
    for split in ("train", "test"):
        (folder / "rows" / f"{split}.jsonl").write_text("".join(lines))
    (folder / "t.toml").write_text(toml)
    spec = str(folder / "t.toml")
    task = load_task(spec)
    rows = load_rows(task, DataSource())
    for name, share in wrong.items():
        chance = random.Random(name)
        said = [task.target(chance.choice(rows) if chance.random() < share else row) for row in rows]
        recorded = (json.dumps({"id": row.id, "text": text}) + "\n" for row, text in zip(rows, said, strict=True))
        (folder / f"{name}.jsonl").write_text("".join(recorded))
    settings = Settings(backends={n: {"kind": "replay", "path": str(folder / f"{n}.jsonl")} for n in wrong})
    return runner.run(spec, list(wrong), settings=settings, workspace=Workspace(folder), out=folder / "run")


def summary_of(log: RunLog) -> Summary:
    summary = log.summary()
    assert summary is not None
    return summary


def verdicts(log: RunLog, margins: dict[str, float]) -> dict[str, str]:
    source = GateSource.of_run(log)
    table = {name: {"margin": margin} for name, margin in margins.items()}
    settings = gate_settings(table, source.evaluation.metrics)
    result = evaluate_gate(source, source, match_names(source, source, "a", "b"), settings)
    return {check.metric: check.verdict for check in result.checks}


def test_150_labels_go_through_summary_gate_and_report(tmp_path: Path) -> None:
    answers = [f"label {n % 150:03}" for n in range(750)]
    log = finished(tmp_path, MANY, answers, {"a": 0.05, "b": 0.05})
    summary = summary_of(log)
    estimate = summary.backends["a"].metrics["macro_f1"]
    assert estimate.low is not None and estimate.value is not None and estimate.low < estimate.value
    assert verdicts(log, {"macro_f1": 0.2, "accuracy": 0.2}) == {"macro_f1": "pass", "accuracy": "pass"}
    (first, _) = detail_tables.confusions(summary)
    assert first.matrix is None and first.height == 150 and first.top is not None
    assert len(first.top.rows) <= 40 and [c.title for c in first.top.columns][:2] == ["reference", "answer"]
    assert confusion(summary, "a") is None, "no picture of 150 x 151 cells"
    page = write_report(log, tmp_path / "r.html").read_text()
    assert "label 149" in page


def test_label_sets_have_a_table_by_label_and_a_gate_on_micro_f1(tmp_path: Path) -> None:
    sets = [["x"], ["x", "y"], [], ["z"], ["y", "z"]]
    log = finished(tmp_path, SETS, [sets[n % 5] for n in range(150)], {"a": 0.1, "b": 0.08})
    summary = summary_of(log)
    assert set(summary.backends["a"].per_class) == {"x", "y", "z"} and summary.backends["a"].confusion is None
    assert set(verdicts(log, {"micro_f1": 0.2, "jaccard": 0.3}).values()) == {"pass"}
    pair = {p.metric: p for p in summary.pairs}
    assert pair["micro_f1"].difference.method.startswith("paired bias-corrected bootstrap")
    grid = detail_tables.classes(summary)
    assert grid is not None and (grid.caption, grid.columns[0].title) == ("Per label", "label")


def test_fields_have_a_table_by_field_with_intervals(tmp_path: Path) -> None:
    records = [{"shop": f"s{n % 9}", "total": n % 7} for n in range(120)]
    log = finished(tmp_path, FIELDS, records, {"a": 0.1, "b": 0.1})
    grid = detail_tables.classes(summary_of(log))
    assert grid is not None and grid.caption == "Per field"
    assert [c.title for c in grid.columns] == [
        "field",
        "backend",
        "accuracy %",
        "precision %",
        "recall %",
        "F1 %",
        "rows",
    ]
    assert grid.rows[0][2].note.startswith("["), "the accuracy of a field has an interval"
    page = write_report(log, tmp_path / "r.html").read_text()
    assert "Per field" in page and "every field" in page


def test_levels_are_gated_on_kappa(tmp_path: Path) -> None:
    log = finished(tmp_path, LEVELS, [1 + n % 5 for n in range(200)], {"a": 0.2, "b": 0.2})
    found = summary_of(log).backends["a"].metrics["quadratic_kappa"]
    assert found.low is not None and found.high is not None and found.low < (found.value or 0) < found.high
    assert verdicts(log, {"quadratic_kappa": 0.5, "level_error": 2.0}) == {
        "quadratic_kappa": "pass",
        "level_error": "pass",
    }


def test_answers_that_are_owed_count_as_nothing_found(tmp_path: Path) -> None:
    """Rows without an answer lower the candidate's micro-F1 in the gate by their share."""
    from harness.gating.pairing import fill_missing
    from harness.summary.label_units import label_units
    from harness.summary.log_aggregate import tally_of
    from harness.summary.outcomes import RowTable

    log = finished(tmp_path, SETS, [["x"], ["y", "z"]] * 30, {"a": 0.0, "b": 0.0})
    metrics = summary_of(log).metrics
    side = tally_of(log, "a", metrics, 60).outcomes.build()
    owing = side.answers.copy()
    owing[:20] = -1
    from dataclasses import replace

    import numpy as np

    lost = replace(
        side, answers=owing, values={k: np.where(np.arange(60) < 20, np.nan, v) for k, v in side.values.items()}
    )
    filled = fill_missing(lost, side, metrics, 0)
    rows = RowTable.of(log.rows(), ())
    family = next(iter(label_units(metrics, rows, (filled,))))
    hits, references, answers = family.units.total[0].sum(axis=-1)
    assert references == pytest.approx(90) and hits == pytest.approx(60) and answers == pytest.approx(60)
