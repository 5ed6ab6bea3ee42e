"""Rows that a candidate was trained on are counted, shown, taken out of a second set of figures, or refused."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import runner
from harness.adapter_manifest import AdapterManifest, write_manifest
from harness.data.contamination import Findings, Overlap, Signatures, find_overlap, read_findings, write_findings
from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.records import Sample
from harness.reports.exports import summary_of as summary
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.task import invalid_targets
from harness.task_loading import build_request, load_rows
from harness.tasks.persona_json import PersonaJson
from harness.tasks.qqp import QqpExplained
from harness.workspace import Workspace
from tests.support.shared import SHARED, needs_shared

PERSONA = SHARED / "persona"


def overlap(asked: list[list[str]], learned: list[list[str]]) -> Overlap:
    return find_overlap(Signatures.of(asked), Signatures.of(learned), "the training rows")


def words(seed: int, count: int = 30) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(3, 9))) for _ in range(count)]


def test_case_white_space_and_order_do_not_hide_a_row() -> None:
    found = overlap([["Why is  the sky BLUE?", "What colour is it?"]], [["what colour is it?", "why is the sky blue?"]])
    assert (found.exact, found.near, found.training_rows) == ((0,), (), 1)


def test_a_text_with_one_word_changed_is_near_and_another_text_is_not() -> None:
    learned = [[" ".join(words(k))] for k in range(200)]
    changed = [" ".join([*words(7)[:-1], "changed"])]
    found = overlap([changed, [" ".join(words(999))], learned[3]], learned)
    assert (found.near, found.exact) == ((0,), (2,))


def test_near_duplicates_are_those_whose_true_similarity_is_high() -> None:
    """Against the definition: Jaccard similarity of the sets of five-character runs."""

    def runs(text: str) -> set[str]:
        return {text[i : i + 5] for i in range(len(text) - 4)}

    def similarity(a: str, b: str) -> float:
        return len(runs(a) & runs(b)) / len(runs(a) | runs(b))

    base = [" ".join(words(k)) for k in range(60)]
    asked = []
    for k, text in enumerate(base):
        parts = text.split()
        parts[: k % 12] = words(1000 + k, k % 12)  # from no word changed to eleven of thirty
        asked.append(" ".join(parts))
    found = overlap([[t] for t in asked], [[t] for t in base])
    flagged = {*found.exact, *found.near}
    truth = [max(similarity(t, b) for b in base) for t in asked]
    assert {n for n, s in enumerate(truth) if s >= 0.95} <= flagged
    assert flagged <= {n for n, s in enumerate(truth) if s >= 0.65}
    assert {n for n, s in enumerate(truth) if s == 1.0} == set(found.exact)


def test_short_and_empty_texts_are_compared_too() -> None:
    assert overlap([["ab"], [""], ["b"]], [["ab"], [""]]).exact == (0, 1)
    assert overlap([["ab"]], []).rows == []
    assert overlap([], [["ab"]]).rows == []


def test_rows_that_mark_no_text_are_not_taken_for_each_other() -> None:
    assert overlap([[], ["ab"], []], [[], ["ab"]]).rows == [1]


def test_signatures_survive_the_disk_and_hold_no_text(tmp_path: Path) -> None:
    before = Signatures.of([["a secret sentence that nobody may read"], ["b"]])
    before.save(tmp_path)
    after = Signatures.load(tmp_path)
    assert after is not None
    assert np.array_equal(before.exact, after.exact)
    assert np.array_equal(before.minhash, after.minhash)
    assert b"secret" not in (tmp_path / "rows.npz").read_bytes()
    for torn in ((tmp_path / "rows.npz").read_bytes()[:-40], b"torn", b""):
        (tmp_path / "rows.npz").write_bytes(torn)
        with pytest.raises(UsageError, match=r"rows\.npz is not readable"):
            Signatures.load(tmp_path)
    assert Signatures.load(tmp_path / "elsewhere") is None


def test_findings_survive_the_disk(tmp_path: Path) -> None:
    findings = Findings(overlaps={"a": Overlap(source="s", training_rows=3, exact=(1,), near=(0,))}, remarks=("r",))
    write_findings(tmp_path, findings)
    assert read_findings(tmp_path) == findings
    assert read_findings(tmp_path).overlaps["a"].rows == [0, 1]
    assert read_findings(tmp_path / "elsewhere") == Findings()


TASK = "tests.support.fakes:Parity"


def run(tmp_path: Path, *, learned: list[str], **options: Any) -> RunLog:
    """A run of a fake that names an adapter which learned the given numbers."""
    from tests.support.fakes import Parity

    task = Parity()
    folder = tmp_path / "adapters" / "parity-1"
    write_manifest(folder, AdapterManifest(id="parity-1", task="parity", task_version="1", base="b"))
    samples = [Sample.of({"number": n}, "", "train") for n in learned]
    (folder / "rows.json").write_text(json.dumps({"train": [s.id for s in samples], "validation": []}))
    Signatures.of(build_request(task, s).passage_texts() for s in samples).save(folder)
    table = {"kind": "tests.support.fakes:FakeBackend", "adapter": "parity-1", "wrong_every": 2}
    settings = Settings(backends={"tuned": table, "plain": {"kind": "tests.support.fakes:FakeBackend"}})
    return runner.run(
        TASK, ["tuned", "plain"], settings=settings, workspace=Workspace(tmp_path), out=tmp_path / "run", **options
    )


def test_a_run_counts_the_rows_an_adapter_has_seen_and_shows_the_figures_without_them(tmp_path: Path) -> None:
    seen = [str(n) for n in range(0, 40, 2)]  # the fake is wrong on all even numbers
    log = run(tmp_path, learned=seen)
    tuned = summary(log).backends["tuned"]
    assert tuned.contaminated == 20
    assert tuned.metrics["accuracy"].value == pytest.approx(0.5)
    assert tuned.clean["accuracy"].value == pytest.approx(30 / 40)
    assert tuned.clean["accuracy"].n == 40
    [warning] = [w for w in summary(log).warnings if "training rows" in w]
    assert warning.startswith("tuned: 20 of 60 evaluated rows are also in the training rows; on the 40 others")
    assert summary(log).backends["plain"].contaminated is None
    assert summary(log).backends["plain"].clean == {}


def test_a_run_without_shared_rows_says_that_it_has_looked(tmp_path: Path) -> None:
    log = run(tmp_path, learned=["1000", "1001"], fail_on_contamination=True)
    tuned = summary(log).backends["tuned"]
    assert tuned.contaminated == 0
    assert tuned.clean == {}


def test_contamination_can_be_made_an_error_before_anything_is_asked(tmp_path: Path) -> None:
    from tests.support.fakes import FakeBackend

    FakeBackend.asked.clear()
    with pytest.raises(UsageError, match=r"tuned: 1 of 60 evaluated rows are also in the training rows of parity-1"):
        run(tmp_path, learned=["7"], fail_on_contamination=True)
    assert not FakeBackend.asked
    assert not (tmp_path / "run").exists()


def test_targets_that_teach_a_format_error_are_found() -> None:
    rows = load_rows(PersonaJson(), DataSource(location="embedded", split="train"))
    assert invalid_targets(PersonaJson(), rows) == {}
    broken = [Sample.of({"user": "x"}, "no json", "train"), Sample.of({"user": "y"}, "[]", "train")]
    assert invalid_targets(PersonaJson(), broken) == {broken[0].id: "not JSON", broken[1].id: "empty"}
    unexplained = [Sample.of({"question1": "a", "question2": "b"}, "1", "train")]
    assert invalid_targets(QqpExplained(), unexplained) == {unexplained[0].id: "no target"}


def persona(tmp_path: Path, **options: object) -> RunLog:
    recorded = {
        "untuned": {"kind": "replay", "path": str(PERSONA / "recorded_llama-3.1-8b.jsonl")},
        "tuned": {"kind": "replay", "path": str(PERSONA / "recorded_llama-3.1-8b-ft.jsonl")},
    }
    return runner.run(
        "persona-json",
        ["untuned", "tuned"],
        data=str(PERSONA),
        settings=Settings(backends=recorded),
        workspace=Workspace(tmp_path),
        out=tmp_path / "run",
        **options,  # type: ignore[arg-type]
    )


needs_persona = needs_shared("persona")


@needs_persona
def test_the_published_format_error_rates_come_out_with_intervals_and_a_paired_test(tmp_path: Path) -> None:
    found = summary(persona(tmp_path))
    untuned, tuned = (found.backends[n].metrics["format_error_rate"] for n in ("untuned", "tuned"))
    assert (untuned.n, tuned.n) == (39, 39)
    assert untuned.value == pytest.approx(12 / 39)
    assert tuned.value == 0.0
    # 36 of the 39 prompts are distinct: rows with equal inputs are one group
    assert (untuned.low, untuned.high) == (pytest.approx(0.171, abs=1e-3), pytest.approx(0.488, abs=1e-3))
    assert (tuned.low, tuned.high) == (0.0, pytest.approx(0.102, abs=1e-3))
    assert found.backends["untuned"].format_errors == {"several arrays": 8, "not JSON": 3, "cut off": 1}
    [pair] = [p for p in found.pairs if p.metric == "format_error_rate"]
    assert pair.p == pytest.approx(0.00085, abs=1e-5)
    assert "36 groups, 33.8 effective" in pair.difference.method
    better = pair.a if pair.verdict == "a better" else pair.b
    assert better == "tuned"
    assert found.headline == "format_error_rate"
    assert found.complete


@needs_persona
def test_the_published_data_is_told_to_be_contaminated_and_partly_invalid(tmp_path: Path) -> None:
    log = persona(tmp_path)
    found = summary(log)
    distinct = {row.sample.inputs["user"] for row in log.rows()}
    seen = {row.sample.inputs["user"] for row in log.rows() if row.n in read_findings(log.path).overlaps["tuned"].exact}
    assert (len(seen), len(distinct)) == (33, 36)
    assert found.backends["tuned"].contaminated == 33
    assert found.backends["tuned"].clean["format_error_rate"].n == 6
    assert any("33 of 39 evaluated rows are also in the training rows" in w for w in found.warnings)
    assert sum("33 of the 36 distinct evaluated rows are also in the training split" in w for w in found.warnings) == 1
    assert any("2 of 153 targets in the training split" in w and "not JSON" in w for w in found.warnings)
    with pytest.raises(UsageError, match="33 of 39 evaluated rows are also in the training split of"):
        persona(tmp_path / "again", fail_on_contamination=True)
