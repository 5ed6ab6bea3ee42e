"""The same rows asked otherwise: with another prompt, with examples, or without their own texts."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

from harness import runner
from harness.data.rows import DataSource
from harness.data.sampling import seeded_order
from harness.errors import UsageError
from harness.prompting.prompt_variants import draw_shots, fill_passages, probe_requests, with_shots
from harness.prompting.templates import PromptTemplate
from harness.records import Request, Sample
from harness.reports.verdict_section import verdict_section
from harness.run_options import Probe
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.task_loading import build_request, load_rows, load_task
from harness.workspace import Workspace

QQP = load_task("qqp")


def rows(split: str = "test", task: str = "qqp") -> list[Sample]:
    return load_rows(load_task(task), DataSource(location="embedded", split=split))


def requests(task: str = "qqp") -> list[Request]:
    plugin = load_task(task)
    return [build_request(plugin, row) for row in rows(task=task)]


@given(st.text(), st.text())
def test_a_prompt_keeps_the_rows_own_texts_apart_whatever_they_hold(first: str, second: str) -> None:
    template = PromptTemplate("A: {{ a }}\nB: {{ b }}.", system="Be {{ 'brief' }}.")
    messages, passages = template.render({"a": first, "b": second})
    assert messages[0].content == "Be brief."
    assert messages[1].content == f"A: {first}\nB: {second}."
    assert [messages[p.message].content[p.start : p.end] for p in passages] == [first, second]


@pytest.mark.parametrize("words", ["\ufdd0\ufdd1", "\ue000 \ue003", "a \ufdd1 b \ufdd0"])
def test_a_text_cannot_pass_for_a_mark(words: str) -> None:
    messages, passages = PromptTemplate("\ufdd2 A: {{ a }}.").render({"a": words})
    assert messages[0].content == f"\ufdd2 A: {words}."
    assert [messages[0].content[p.start : p.end] for p in passages] == [words]


def test_a_block_that_changes_the_words_leaves_no_mark_in_the_prompt() -> None:
    for _ in range(2):
        messages, passages = PromptTemplate("{% filter upper %}is {{ a }} so?{% endfilter %}").render({"a": "bad fee"})
        assert messages[0].content == "IS BAD FEE SO?"
        assert (passages[0].start, passages[0].end) == (3, 10)
    with pytest.raises(UsageError, match="a block of the template cuts a text of the row"):
        PromptTemplate("{% filter truncate(9) %}{{ a }} and so on{% endfilter %}").render({"a": "very long words"})


def test_a_prompt_cannot_run_code_and_ends_without_white_space() -> None:
    template = PromptTemplate("{{ text }}{% if text.__class__ %} {{ text.__class__.__mro__ }}{% endif %}")
    with pytest.raises(UsageError, match="cannot be filled"):
        template.render({"text": "x"})
    messages, passages = PromptTemplate("{{ text }}\n\n").render({"text": "x \n"})
    assert messages[0].content == "x"
    assert (passages[0].start, passages[0].end) == (0, 1)


@pytest.mark.parametrize("template", ["Say: {{ text.strip }}", "{{ text }} {{ range }}", "{{ text }} {{ dict }}"])
def test_a_prompt_that_prints_a_function_is_told(template: str) -> None:
    with pytest.raises(UsageError, match="cannot be filled: it prints a function"):
        PromptTemplate(template).render({"text": "x"})


@pytest.mark.parametrize(
    "template", ["{{ question1 | trim }}", "{% if question1 %}Yes?{% endif %}", "{{ question1[:20] }}"]
)
def test_a_prompt_that_marks_no_text_of_the_row_is_told(template: str) -> None:
    row = rows()[0]
    with pytest.raises(UsageError, match=f"prints no text of row {row.id} unchanged: write {{{{ question1 }}}}"):
        PromptTemplate(template).apply(build_request(QQP, row), row.inputs)


def test_a_template_is_compiled_once_and_not_for_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    template = PromptTemplate("Duplicate? {{ question1 }} | {{ question2 }}", system="Be brief.")
    monkeypatch.setattr(Environment, "compile", None)
    for row in rows():
        assert template.render(row.inputs)[0][0].content == "Be brief."


def test_a_prompt_file_with_a_wrong_name_is_told(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("Same? {{ question_1 }}")
    with pytest.raises(UsageError, match=r"p\.txt names 'question_1'; did you mean 'question1'"):
        PromptTemplate.load(path).render(rows()[0].inputs)
    (tmp_path / "p.toml").write_text("usr = 'x'")
    with pytest.raises(UsageError, match="it holds `user` and, if wanted, `system`"):
        PromptTemplate.load(tmp_path / "p.toml")
    path.write_text("\n")
    with pytest.raises(UsageError, match="is empty"):
        PromptTemplate.load(path)


def test_another_prompt_changes_the_words_and_nothing_else() -> None:
    row = rows()[0]
    own = build_request(QQP, row)
    other = PromptTemplate("Duplicate? {{ question1 }} | {{ question2 }}").apply(own, row.inputs)
    assert other.passage_texts() == own.passage_texts() == list(row.inputs.values())
    assert (other.labels, other.max_tokens, other.id) == (own.labels, own.max_tokens, own.id)
    assert other.hash() != own.hash()


def test_every_row_gets_the_same_examples_and_its_own_passages() -> None:
    asked = requests()
    shots = draw_shots(QQP, lambda s: build_request(QQP, s), rows("train"), asked, 4, seed=1)
    assert sorted(answer for _, answer in shots) == ["0", "0", "1", "1"]  # the classes' own shares
    for before in asked:
        after = with_shots(before, shots)
        assert len(after.messages) == 1 + 2 * 4
        assert after.passage_texts() == before.passage_texts()
        assert [m.content for m in after.messages[1::2]] == [answer for _, answer in shots]
        assert after.messages[-1] == before.messages[-1]
    fewer = draw_shots(QQP, lambda s: build_request(QQP, s), rows("train"), asked, 2, seed=1)
    assert fewer == shots[:2]


def test_a_system_message_stays_first_before_examples() -> None:
    task = load_task("persona-json")
    asked = requests("persona-json")
    shots = draw_shots(task, lambda s: build_request(task, s), rows("train", "persona-json"), asked, 2, seed=0)
    after = with_shots(asked[0], shots)
    assert [m.role for m in after.messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert after.passage_texts() == asked[0].passage_texts()


def test_no_example_shares_a_text_with_an_evaluated_row() -> None:
    training = rows("train")
    asked = [build_request(QQP, row) for row in training[:-3]]
    shared = {text for request in asked for text in request.passage_texts()}
    with pytest.raises(UsageError, match=r"--shots 8: only \d training rows share no text"):
        draw_shots(QQP, lambda s: build_request(QQP, s), training, asked, 8, seed=0)
    few = draw_shots(QQP, lambda s: build_request(QQP, s), rows("test") + training, asked, 8, seed=0)
    assert not shared & {text for request, _ in few for text in request.passage_texts()}


def test_the_classes_keep_their_shares_where_rows_of_one_are_passed_over() -> None:
    training = [Sample.of({"question1": f"a {n}?", "question2": f"b {n}?"}, str(n % 2), "train") for n in range(160)]
    zeros = [row for row in seeded_order(training, 1) if row.reference == "0"]
    asked = [build_request(QQP, row) for row in zeros[:10]]
    shots = draw_shots(QQP, lambda s: build_request(QQP, s), training, asked, 4, seed=1)
    assert sorted(answer for _, answer in shots) == ["0", "0", "1", "1"]


def test_an_empty_text_is_not_shared() -> None:
    """Tickets without a subject are not each other's repeats."""
    asked = [fill_passages(request, ["", request.passage_texts()[1]]) for request in requests()]

    def without_subject(sample: Sample) -> Request:
        return fill_passages(build_request(QQP, sample), [" ", f"{sample.id}?"])

    shots = draw_shots(QQP, without_subject, rows("train"), asked, 4, seed=1)
    assert len(shots) == 4


def test_no_example_shows_a_format_error_as_the_answer() -> None:
    task = load_task("persona-json")
    training = rows("train", "persona-json")
    broken = [msgspec.structs.replace(s, reference="[]") if n % 2 else s for n, s in enumerate(training)]
    shots = draw_shots(task, lambda s: build_request(task, s), broken, requests("persona-json"), 10, seed=0)
    assert "[]" not in {answer for _, answer in shots}
    unexplained = [msgspec.structs.replace(s, columns={}) for s in rows("train")]
    with pytest.raises(UsageError, match="--shots 1: only 0 training rows"):
        draw_shots(load_task("qqp-explained"), lambda s: build_request(QQP, s), unexplained, [], 1, seed=0)


def test_a_blank_probe_keeps_only_the_instruction() -> None:
    asked = requests()
    blank = list(probe_requests(asked, "blank", 0))
    assert {r.messages[0].content for r in blank} == {blank[0].messages[0].content}
    assert all(r.passage_texts() == ["", ""] for r in blank)
    assert [r.id for r in blank] == [r.id for r in asked]


def test_a_shuffle_probe_gives_every_row_the_texts_of_another() -> None:
    asked = requests()
    shuffled = list(probe_requests(asked, "shuffle", 3))
    assert sorted(r.passage_texts() for r in shuffled) == sorted(r.passage_texts() for r in asked)
    assert all(a.id == b.id and a.passage_texts() != b.passage_texts() for a, b in zip(asked, shuffled, strict=True))
    assert list(probe_requests(asked, "shuffle", 3)) == shuffled


@pytest.mark.parametrize("probe", ["blank", "shuffle"])
def test_what_cannot_be_probed_is_refused(tmp_path: Path, probe: Probe) -> None:
    """Else the rows would be sent unchanged, and right answers be called a leak."""
    unmarked = [msgspec.structs.replace(request, passages=()) for request in requests()]
    with pytest.raises(UsageError, match=f"--probe {probe}: the prompt of row {unmarked[0].id} marks no text"):
        list(probe_requests(unmarked, probe, 0))
    settings = Settings(backends={"taped": {"kind": "replay", "path": str(tmp_path / "answers.jsonl")}})
    with pytest.raises(UsageError, match=f"--probe {probe} .* 'taped' answers from a recording"):
        runner.run("qqp", ["taped"], data="embedded", probe=probe, settings=settings, workspace=Workspace(tmp_path))


FIRST = requests()[0]


@given(st.lists(st.text(), min_size=2, max_size=2))
def test_filled_passages_read_back_as_they_were_given(texts: list[str]) -> None:
    filled = fill_passages(FIRST, texts)
    assert filled.passage_texts() == texts
    assert fill_passages(filled, FIRST.passage_texts()) == FIRST


def run(tmp_path: Path, name: str, **options: object) -> RunLog:
    """Parity asked of a fake; passages are the numbers."""
    settings = Settings(backends={"fake": {"kind": "tests.support.fakes:FakeBackend"}})
    place = {"settings": settings, "workspace": Workspace(tmp_path), "out": tmp_path / name}
    return runner.run("tests.support.fakes:Parity", ["fake"], **place, **options)  # type: ignore[arg-type]


def test_prompt_shots_and_probe_stand_in_the_manifest_and_change_the_request_hash(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("Say even or odd: {{ number }}")
    plain = run(tmp_path, "plain")
    prompted = run(tmp_path, "prompted", prompt=str(tmp_path / "p.txt"))
    probed = run(tmp_path, "probed", probe="shuffle")
    assert len({log.manifest.request_hash for log in (plain, prompted, probed)}) == 3
    assert prompted.manifest.data["prompt"]["file"] == str(tmp_path / "p.txt")
    assert next(prompted.rows()).request.messages[0].content.startswith("Say even or odd: ")
    assert probed.manifest.data["probe"] == "shuffle"
    summary = probed.summary()
    assert summary is not None
    assert any("probe for leaks (shuffle)" in w for w in summary.warnings)
    assert "60 rows of the leak probe (shuffle)" in verdict_section(summary).sentence
    assert plain.manifest.data["label"] == ""
    accuracy = summary.backends["fake"].metrics["accuracy"].value
    assert accuracy is not None and accuracy < 0.9  # the fake answers what it reads, which is another row's number


def test_shots_need_training_rows_that_are_not_asked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--shots 2: only 0 training rows"):
        run(tmp_path, "all", shots=2)  # parity's training rows are its evaluation rows
    log = run(tmp_path, "few", shots=2, limit=20)
    assert log.manifest.shots == 2
    first = [row.request.messages[:4] for row in log.rows()]
    assert all(lead == first[0] for lead in first)
    assert len({msgspec.json.encode(row.request.messages[-1]) for row in log.rows()}) == 20
