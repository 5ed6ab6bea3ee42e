"""`bench import`: run directories whose figures are the other tool's own, on which every verb works."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import UsageError
from harness.gating.compare_runs import compare_two_runs
from harness.gating.evaluate import GateSource
from harness.records import Key
from harness.runs.run_log import RunLog
from harness.tool_logs.inspect_ai import ZSTANDARD, ZipEntries
from harness.tool_logs.run_directory import ImportedRun, import_runs, read_evaluations
from harness.workspace import Workspace
from tests.support.command import bench

CHOICES = ("fern", "moss", "oak")
TEXTS = [f"Leaf {n}: {word} edge, {n % 5} veins." for n, word in enumerate(["smooth", "toothed", "lobed", "split"] * 5)]
RIGHT = [n % 3 for n in range(len(TEXTS))]


def picks(*wrong: int) -> list[int]:
    """The choice of every row: the right one but for the rows that are named."""
    return [(right + 1) % 3 if n in wrong else right for n, right in enumerate(RIGHT)]


def lm_eval(folder: Path, chosen: list[int], model: str = "owner/small", **results: Any) -> Path:
    """A multiple-choice task and a written one, as `lm_eval --log_samples` leaves them."""
    place, time = folder / model.replace("/", "__"), "2026-03-01T10-00-00.000001"
    place.mkdir(parents=True)
    lines, written = [], []
    for n, text in enumerate(TEXTS):
        scores = [[-1.0 if k == chosen[n] else -3.0 - k, False] for k in range(3)]
        hit = float(chosen[n] == RIGHT[n])
        line = {
            "doc_id": n,
            "doc": {"text": text, "label": RIGHT[n]},
            "target": str(RIGHT[n]),
            "arguments": {
                f"gen_args_{k}": {"arg_0": f"{text}\nPlant:", "arg_1": f" {c}"} for k, c in enumerate(CHOICES)
            },
            "resps": [[list(map(str, s))] for s in scores],
            "filtered_resps": [list(map(str, s)) for s in scores],
            "filter": "none",
            "metrics": ["acc", "acc_norm", "f1"],
            "acc": hit,
            "acc_norm": hit,
            "f1": [RIGHT[n], chosen[n]],
        }
        lines.append(line)
        for name, strict in (("strict", True), ("loose", False)):
            said = CHOICES[chosen[n]] + ("." if n == 0 else "")
            values = {"exact_match": float(chosen[n] == RIGHT[n] and not (strict and n == 0))}
            written.append(
                {
                    "doc_id": n,
                    "doc": {"text": text},
                    "target": CHOICES[RIGHT[n]],
                    "arguments": {"gen_args_0": {"arg_0": f"Which plant? {text}", "arg_1": {"until": ["\n"]}}},
                    "resps": [[said]],
                    "filtered_resps": [said],
                    "filter": name,
                    "metrics": ["exact_match"],
                    **values,
                }
            )
    hits = sum(c == r for c, r in zip(chosen, RIGHT, strict=True))
    rate, strict_rate = hits / len(TEXTS), (hits - (chosen[0] == RIGHT[0])) / len(TEXTS)
    summary = {
        "results": {
            "plants": {"acc,none": rate, "acc_stderr,none": 0.1, "acc_norm,none": rate, "f1,none": 0.7},
            "plants_written": {"exact_match,strict": strict_rate, "exact_match,loose": rate},
        },
        "configs": {"plants": {"output_type": "multiple_choice"}, "plants_written": {"output_type": "generate_until"}},
        "versions": {"plants": 2, "plants_written": 1},
        "higher_is_better": {"plants": {"acc": True, "acc_norm": True}},
        "model_name": model,
        "config": {"model": "hf", "model_args": {"pretrained": model}},
        "lm_eval_version": "0.4.13",
    }
    (place / f"results_{time}.json").write_text(json.dumps(summary | results))
    for task, own in (("plants", lines), ("plants_written", written)):
        (place / f"samples_{task}_{time}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in own))
    return place


def inspect_log(folder: Path, chosen: list[int], *, epochs: int = 1, model: str = "mock/small") -> dict[str, Any]:
    """A log of Inspect as JSON, with long texts kept as attachments."""
    samples: list[dict[str, Any]] = []
    for epoch in range(1, epochs + 1):
        for n, text in enumerate(TEXTS):
            hit = chosen[n] == RIGHT[n] or (epoch == 2 and n == 0)
            samples.append(
                {
                    "id": n + 1,
                    "epoch": epoch,
                    "input": text,
                    "target": [CHOICES[RIGHT[n]]],
                    "messages": [
                        {"role": "system", "content": "Name the plant.", "source": "input"},
                        {"role": "user", "content": f"attachment://k{n}", "source": "input"},
                        {"role": "assistant", "content": CHOICES[chosen[n]], "source": "generate"},
                    ],
                    "attachments": {f"k{n}": text},
                    "output": {"completion": CHOICES[chosen[n]], "choices": [{"stop_reason": "stop"}]},
                    "scores": {
                        "match": {"value": "C" if hit else "I", "answer": CHOICES[chosen[n]]},
                        "grade": {"value": {"clear": 0.5, "short": 1}},
                    },
                    "metadata": {"source": "wood"},
                    "model_usage": {model: {"input_tokens": 30, "output_tokens": 2}},
                    "working_time": 0.25,
                }
            )
    rate = sum(s["scores"]["match"]["value"] == "C" for s in samples) / len(samples)
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "task": "plants",
            "task_version": 0,
            "model": model,
            "created": "2026-03-01T10:00:00+00:00",
            "dataset": {"samples": len(TEXTS)},
            "config": {"epochs": epochs},
            "packages": {"inspect_ai": "0.3.285"},
        },
        "results": {
            "scores": [
                {
                    "name": "match",
                    "scorer": "match",
                    "metrics": {"accuracy": {"value": rate}, "stderr": {"value": 0.1}},
                },
                {"name": "clear", "scorer": "grade", "metrics": {"mean": {"value": 0.5}}},
            ]
        },
        "samples": samples,
    }


def as_eval(path: Path, log: dict[str, Any]) -> Path:
    """The same log as a ZIP file of JSON."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("header.json", json.dumps({k: v for k, v in log.items() if k != "samples"}))
        for sample in log["samples"]:
            file.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
        file.writestr("summaries.json", "[]")
    return path


def promptfoo(path: Path, columns: dict[str, list[int]]) -> Path:
    """Results of promptfoo: every provider is asked every test; the last test of each ends in an error."""
    rows: list[dict[str, Any]] = []
    prompts = []
    for number, (provider, chosen) in enumerate(columns.items()):
        for n, text in enumerate(TEXTS):
            failed = n == len(TEXTS) - 1
            hit = chosen[n] == RIGHT[n] and not failed
            rows.append(
                {
                    "promptIdx": number,
                    "testIdx": n,
                    "provider": {"id": provider, "label": ""},
                    "prompt": {"raw": json.dumps([{"role": "user", "content": f"Plant? {text}"}]), "label": "p"},
                    "vars": {"text": text},
                    "testCase": {"vars": {"text": text}, "assert": [{"type": "equals", "value": CHOICES[RIGHT[n]]}]},
                    "response": {"output": CHOICES[chosen[n]], "tokenUsage": {"prompt": 9, "completion": 1}},
                    "success": hit,
                    "score": float(hit),
                    "failureReason": 2 if failed else 0 if hit else 1,
                    "error": "429" if failed else None,
                    "namedScores": {"brief": 0.5},
                    "latencyMs": 120,
                    "cost": 0.0002,
                }
            )
        passed = sum(r["success"] for r in rows if r["promptIdx"] == number)
        metrics = {"testPassCount": passed, "testFailCount": len(TEXTS) - 1 - passed, "testErrorCount": 1}
        prompts.append({"provider": provider, "raw": "..", "metrics": metrics})
    whole = {
        "evalId": "e",
        "results": {"version": 3, "timestamp": "2026-03-01T10:00:00Z", "prompts": prompts, "results": rows},
        "config": {"description": "plants"},
    }
    path.write_text(json.dumps(whole))
    return path


def deepeval(path: Path, chosen: list[int]) -> Path:
    """A test run of DeepEval with one metric."""
    cases: list[dict[str, Any]] = [
        {
            "name": f"test_case_{n}",
            "input": text,
            "actualOutput": CHOICES[chosen[n]],
            "expectedOutput": CHOICES[RIGHT[n]],
            "success": chosen[n] == RIGHT[n],
            "metricsData": [{"name": "Exact Match", "score": float(chosen[n] == RIGHT[n]), "success": True}],
        }
        for n, text in enumerate(TEXTS)
    ]
    passed = sum(case["success"] for case in cases)
    run = {"testFile": "tests/test_plants.py", "testCases": cases, "testPassed": passed}
    path.write_text(
        json.dumps({"testRunData": {**run, "testFailed": len(cases) - passed, "hyperparameters": {"model": "small"}}})
    )
    return path


def imported(place: Path | list[Path], tool: str, workspace: Path, **options: Any) -> list[ImportedRun]:
    paths = place if isinstance(place, list) else [place]
    return import_runs(read_evaluations(paths, tool), Workspace(workspace), **options)


def figures(run: ImportedRun) -> dict[str, dict[str, float | None]]:
    summary = RunLog.open(run.path).summary()
    assert summary is not None
    return {name: {k: e.value for k, e in r.metrics.items()} for name, r in summary.backends.items()}


def test_lm_evals_figures_are_the_imported_ones(tmp_path: Path) -> None:
    choice, written = imported(lm_eval(tmp_path, picks(1, 4, 9)), "lm-eval", tmp_path / "w")
    assert figures(choice) == {"small": {"acc": 0.85, "acc_norm": 0.85}}
    assert figures(written) == {"small": {"exact_match_strict": pytest.approx(0.8), "exact_match_loose": 0.85}}
    log = RunLog.open(choice.path)
    assert log.manifest.labels == CHOICES and log.manifest.backends["small"].decode == "choose"
    first = next(iter(log.rows()))
    assert first.request.messages[0].content == f"{TEXTS[0]}\nPlant:" and first.sample.reference == "fern"
    assert log.lines("small")[Key(1, 0)].text == CHOICES[picks(1)[1]]


def test_a_metric_that_is_no_mean_of_rows_is_left_out_and_named(tmp_path: Path) -> None:
    place = lm_eval(tmp_path, picks(1), results={"plants": {"acc,none": 0.95, "acc_norm,none": 0.5}})
    evaluation = read_evaluations([place / "samples_plants_2026-03-01T10-00-00.000001.jsonl"], "lm-eval")
    (run,) = import_runs(evaluation, Workspace(tmp_path))
    assert set(figures(run)["small"]) == {"acc"}
    assert "acc_norm: lm-eval reports 0.5, the mean over its rows is 0.95" in run.remarks[0]


def test_models_that_were_asked_the_same_rows_become_one_run(tmp_path: Path) -> None:
    places = [
        lm_eval(tmp_path / "a", picks(1, 2)),
        lm_eval(
            tmp_path / "b", picks(5), "owner/large", config={"model_args": "pretrained=owner/large,peft=out/lora-3"}
        ),
    ]
    choice, _ = imported(places, "lm-eval", tmp_path / "w")
    assert choice.backends == ("small", "large-lora-3")
    summary = RunLog.open(choice.path).summary()
    assert summary is not None and summary.pairs[0].only_b == 2 and summary.pairs[0].only_a == 1
    assert any("large-lora-3: contamination unknown" in warning for warning in summary.warnings)


def test_prompts_of_chat_templates_are_matched_by_their_documents(tmp_path: Path) -> None:
    place = lm_eval(tmp_path, picks(1), chat_template="{{ messages }}", chat_template_sha="ab")
    choice, _ = imported(place, "lm-eval", tmp_path / "w")
    assert next(iter(RunLog.open(choice.path).rows())).request.messages[0].content.startswith('{"text":"Leaf 0')
    assert "rows are matched by their documents" in choice.remarks[0]


@pytest.mark.parametrize("form", ["json", "eval"])
def test_inspects_figures_are_the_imported_ones(form: str, tmp_path: Path) -> None:
    log = inspect_log(tmp_path, picks(2, 3), epochs=2)
    path = tmp_path / f"log.{form}"
    as_eval(path, log) if form == "eval" else path.write_text(json.dumps(log))
    (run,) = imported(path, "inspect", tmp_path / "w")
    assert figures(run) == {"small": {"match": pytest.approx(0.9), "clear": 0.5, "short": 1.0}}
    opened = RunLog.open(run.path)
    row = next(iter(opened.rows()))
    assert [m.content for m in row.request.messages] == ["Name the plant.", TEXTS[0]]
    assert opened.manifest.repeats == 2 and row.sample.columns == {"source": "wood"}
    line = opened.lines("small")[Key(0, 1)]
    assert (line.usage.prompt_tokens, line.timing.service_s, line.score and line.score.answer) == (30, 0.25, "fern")


def test_entries_compressed_by_zstandard_are_read(tmp_path: Path) -> None:
    """Written by hand: Python's zipfile does not write method 93."""
    pa = pytest.importorskip("pyarrow")
    plain = tmp_path / "plain.eval"
    log = inspect_log(tmp_path, picks(7))
    as_eval(plain, log)
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(plain) as source, path.open("wb") as file:
        directory = b""
        for info in source.infolist():
            raw, name = source.read(info), info.filename.encode()
            packed = pa.compress(raw, codec="zstd", asbytes=True)
            fields = ZSTANDARD.to_bytes(2, "little") + bytes(4) + info.CRC.to_bytes(4, "little")
            fields += len(packed).to_bytes(4, "little") + len(raw).to_bytes(4, "little")
            fields += len(name).to_bytes(2, "little") + bytes(2)
            at = file.tell()
            file.write(b"PK\x03\x04" + bytes([63, 0, 0, 0]) + fields + name + packed)
            entry = (
                b"PK\x01\x02" + bytes([63, 0, 63, 0, 0, 0]) + fields + bytes(2) + bytes(8) + at.to_bytes(4, "little")
            )
            directory += entry + name
        at, count = file.tell(), len(source.infolist()).to_bytes(2, "little")
        file.write(directory + b"PK\x05\x06" + bytes(4) + count * 2)
        file.write(len(directory).to_bytes(4, "little") + at.to_bytes(4, "little") + bytes(2))
    with ZipEntries(path) as entries:
        assert "header.json" in entries.names() and entries.read("nothing") is None
    (run,) = imported(path, "inspect", tmp_path / "w")
    assert figures(run)["small"]["match"] == pytest.approx(0.95)


def test_an_evaluation_that_did_not_end_says_so(tmp_path: Path) -> None:
    log = inspect_log(tmp_path, picks())
    log |= {"status": "error", "samples": log["samples"][:4], "results": None}
    log["samples"][3] |= {"error": {"message": "connection lost"}, "scores": {}}
    (tmp_path / "log.json").write_text(json.dumps(log))
    (run,) = imported(tmp_path / "log.json", "inspect", tmp_path / "w")
    assert "status error: 4 of 20 answers" in run.remarks[0]
    summary = RunLog.open(run.path).summary()
    assert summary is not None and summary.backends["small"].errors == {"sample error": 1}


def test_promptfoos_columns_are_backends_and_its_errors_no_answers(tmp_path: Path) -> None:
    path = promptfoo(tmp_path / "out.json", {"openai:gpt-small": picks(1, 2), "ollama:tiny": picks(1, 2, 3)})
    (run,) = imported(path, "promptfoo", tmp_path / "w")
    assert run.backends == ("gpt-small", "tiny")
    found = figures(run)
    assert found["gpt-small"] == {"pass": pytest.approx(17 / 19), "score": pytest.approx(17 / 19), "brief": 0.5}
    summary = RunLog.open(run.path).summary()
    assert summary is not None and summary.backends["tiny"].errors == {"provider error": 1}
    assert summary.backends["tiny"].cost.per_1000 == pytest.approx(0.2)


def test_deepevals_cases_are_rows(tmp_path: Path) -> None:
    (run,) = imported(deepeval(tmp_path / "run.json", picks(0)), "deepeval", tmp_path / "w")
    assert (run.task, run.backends) == ("test_plants", ("small",))
    assert figures(run) == {"small": {"success": 0.95, "Exact_Match": 0.95}}


def test_compare_gate_power_report_and_leaderboard_work_on_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "w"))
    monkeypatch.chdir(tmp_path)
    for name, chosen in (("a", picks(1)), ("b", picks(1, 2, 3, 4, 5, 6, 7, 8))):
        (tmp_path / f"{name}.json").write_text(json.dumps(inspect_log(tmp_path, chosen)))
        assert bench("import", f"{name}.json", "--from", "inspect", "--out", name, "--name", "model", "--json") == 0
        assert json.loads(capsys.readouterr().out)[0]["backends"] == ["model"]
    assert bench("compare", "a", "b") == 0
    assert "95.0" in capsys.readouterr().out
    first, second = (GateSource.of_run(RunLog.open(tmp_path / n)) for n in "ab")
    found = compare_two_runs(first, second, None, None)
    assert (found.pairs[0].only_a, found.pairs[0].only_b, found.pairs[0].metric) == (7, 0, "match")
    assert bench("gate", "b", "--baseline", "a", "--margin", "match", "0.02") == 1
    assert bench("power", "a") == 0
    assert bench("report", "a", "--out", "a.html") == 0 and "match" in (tmp_path / "a.html").read_text()
    assert bench("leaderboard", "a", "b", "--out", "board") == 0
    capsys.readouterr()


BROKEN: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "lm-eval: another file": ("lm-eval", lambda p: _text(p / "x.jsonl", "{}"), "calls its files samples_TASK_TIME"),
    "lm-eval: no sample": (
        "lm-eval",
        lambda p: _text(p / "samples_a_2026-03-01T10-00-00.1.jsonl", '{"a": 1}\n'),
        ":1: not a line of lm-eval's samples",
    ),
    "inspect: no log": ("inspect", lambda p: _text(p / "x.json", '{"a": 1}'), "not a log of Inspect"),
    "inspect: no zip": ("inspect", lambda p: _text(p / "x.eval", "PK"), "not a readable log"),
    "promptfoo: no results": ("promptfoo", lambda p: _text(p / "x.json", '{"results": {}}'), "promptfoo eval -o"),
    "deepeval: no cases": ("deepeval", lambda p: _text(p / "x.json", "{}"), "not a test run of DeepEval"),
    "nothing there": ("inspect", lambda p: p / "none", "there is no such file"),
    "empty folder": ("lm-eval", lambda p: p, "holds no logs of lm-eval"),
}


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_such_log_is_told(case: str, tmp_path: Path) -> None:
    tool, make, sentence = BROKEN[case]
    with pytest.raises(UsageError, match=sentence):
        read_evaluations([make(tmp_path)], tool)


def test_options_that_name_one_thing_are_refused_for_several(tmp_path: Path) -> None:
    places = [lm_eval(tmp_path / "a", picks(1)), lm_eval(tmp_path / "b", picks(2), "owner/large")]
    for option, words in (("name", "--name names one model"), ("task", "--task names one"), ("out", "--out names one")):
        with pytest.raises(UsageError, match=words):
            imported(places, "lm-eval", tmp_path / "w", **{option: tmp_path / "x" if option == "out" else "x"})


def test_truncated_logs_end_in_a_sentence(tmp_path: Path) -> None:
    raw = msgspec.json.encode(inspect_log(tmp_path, picks(1)))
    for cut in range(0, len(raw), 997):
        (tmp_path / "log.json").write_bytes(raw[:cut])
        with pytest.raises(UsageError):
            read_evaluations([tmp_path / "log.json"], "inspect")
