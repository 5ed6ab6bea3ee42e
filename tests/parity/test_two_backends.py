"""`bench parity` between two backends of any kind: verdicts, exit codes, JSON and the page."""

import html
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.deployment.answered_rows import words
from harness.deployment.parity_result import ParityResult
from harness.deployment.prompt_lengths import NO_SYSTEM, prompt_finding, prompt_lengths
from harness.deployment.server_facts import ServedModelFacts, read_models
from harness.deployment.weight_faults import weight_finding
from harness.metrics import Estimate
from harness.reports.run_page import write_report
from harness.runs.run_log import RunLog
from harness.statistics.proportions import wilson
from tests.support.command import bench
from tests.support.openai_server import OpenAIServer
from tests.support.processes import ROOT

ROWS = 40


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.fixture
def work(tmp_path: Path, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two names of one server, and two recordings of which one is wrong on a quarter of the rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    labels = ("good", "bad")
    rows = [{"text": f"Parcel {n} came on day {n}.", "label": labels[n % 2]} for n in range(ROWS)]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "parcels.toml").write_text(
        'prompt = "Good or bad news? {{ text }}"\nreference = "label"\nlabels = ["good", "bad"]\ndata = "test.jsonl"\n'
    )
    for name, wrong in (("right", 0), ("worse", 4)):
        answers = [row["label"] if not wrong or n % wrong else "bad" for n, row in enumerate(rows)]
        lines = [
            json.dumps(
                {"messages": [message("user", f"Good or bad news? {row['text']}"), message("assistant", answer)]}
            )
            for row, answer in zip(rows, answers, strict=True)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    api = f'kind = "openai"\nmodel = "m"\nbase_url = "{server.url}"\n'
    (tmp_path / "bench.toml").write_text(f"[backends.direct]\n{api}\n[backends.proxied]\n{api}")
    return tmp_path


def parity(capfd: pytest.CaptureFixture[str], *options: str, code: int = 0) -> ParityResult:
    capfd.readouterr()
    asked = ("parity", "direct", "--served", "proxied", "--task", "./parcels.toml", "--rows", str(ROWS), "--json")
    assert bench(*asked, "--latency-probe", "0", *options) == code
    return msgspec.json.decode(capfd.readouterr().out, type=ParityResult)


def test_one_server_under_two_names_is_alike(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = parity(capfd, "--margin", "10")
    assert found.verdict == "alike" and found.exit_code == 0
    assert found.agreement.value == 1.0 and found.agreement.n == ROWS
    assert {check.metric for check in found.checks if check.gated} == {"accuracy", "format_error_rate"}
    assert found.headline == "Alike: accuracy and format errors differ by less than 10 points."
    page = (Path(found.served.run) / "parity.html").read_text("utf-8")
    assert found.headline in page and "Reference and served copy" in page


def test_two_servers_are_compared_without_pytorch() -> None:
    code = "import sys; sys.modules.update(torch=None, transformers=None); import harness.deployment.parity_run"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_too_few_rows_say_how_many_would_do(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = parity(capfd, "--margin", "1", "--on-inconclusive", "block", code=5)
    assert found.verdict == "not shown yet"
    assert found.needed_rows == 268, "of rates without any difference: Tango's bound"
    assert "about 270 rows would probably show it" in found.headline


def test_another_model_is_not_alike(work: Path, server: OpenAIServer, capfd: pytest.CaptureFixture[str]) -> None:
    replay = "".join(f'[backends.{n}]\nkind = "replay"\npath = "{n}.jsonl"\n' for n in ("right", "worse"))
    (work / "bench.toml").write_text(replay)
    words_of = ("parity", "right", "--served", "worse", "--task", "./parcels.toml", "--rows", str(ROWS), "--json")
    capfd.readouterr()
    code = bench(*words_of, "--latency-probe", "0", "--out", "page.html", "--redact")
    found = msgspec.json.decode(capfd.readouterr().out, type=ParityResult)
    assert (code, found.verdict) == (1, "not alike")
    assert found.different == 10 and found.agreement.value == 0.75
    assert found.headline.startswith("Not alike: other weights answer: at least 14 % of the answers differ")
    assert "the prompts could not be compared" in found.headline, "recordings count no tokens"
    assert found.checks[0].difference == -0.25 and found.checks[0].verdict == "not alike"
    assert found.examples[0].reference_token == "good" and found.examples[0].served_token == "bad"
    assert found.examples[0].id not in (work / "page.html").read_text("utf-8"), "a redacted page shows no row"
    log = RunLog.open(Path(found.served.run))
    lines = log.lines("worse").items()
    assert found.different_rows == tuple(sorted(key.n for key, line in lines if line.score and not line.score.correct))
    report = html.unescape(write_report(log, work / "report.html").read_text("utf-8"))
    assert "Parity with right" in report and found.headline in report
    (log.path / "parity.json").write_text('{"schema": 99}')
    assert "Parity with" not in write_report(log, work / "report.html").read_text("utf-8"), "of another version"


class SamplingHandler(BaseHTTPRequestHandler):
    """Right answers under the seed 0 of a run, and those that other seeds draw."""

    def do_GET(self) -> None:
        self._send({"object": "list", "data": [{"id": "m", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        row, seed = int(body["messages"][-1]["content"].split()[-1].strip(".")), body["seed"]
        text = ("good", "bad")[(row + (seed > 3)) % 2]
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 9, "completion_tokens": 1}
        self._send({"id": "1", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})

    def _send(self, content: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_a_server_that_samples_is_found_behind_a_fixed_seed(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SamplingHandler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        copy = f'kind = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:{web.server_port}/v1"\n'
        recorded = '[backends.direct]\nkind = "replay"\npath = "right.jsonl"\n'
        (work / "bench.toml").write_text(f"{recorded}\n[backends.proxied]\n{copy}")
        found = parity(capfd, "--margin", "10", code=1)
        web.shutdown()
    assert found.agreement.value == 1.0, "one seed, one answer"
    assert [finding.kind for finding in found.findings] == ["sampling"]
    assert "8 requests of 8 sent again at temperature 0 got another answer" in found.findings[0].sentence


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("direct", "--served", "direct", "--task", "./parcels.toml"), "would be compared with itself"),
        (("direct", "--served", "proxied"), "name the task whose rows are asked"),
        (("direct", "--served", "proxyed", "--task", "./parcels.toml"), "did you mean 'proxied'?"),
        (("derict", "--served", "proxied"), "did you mean 'direct'?"),
        (("direct", "--served", "proxied", "--task", "./parcels.toml", "--margin", "0"), "between 0 and 100 points"),
        (("direct", "--served", "proxied", "--task", "./parcels.toml", "--rows", "3"), "10 rows at least"),
    ],
)
def test_a_mistake_is_one_sentence(
    work: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...], sentence: str
) -> None:
    assert bench("parity", *options) == 2
    assert sentence in " ".join(capfd.readouterr().err.split())


def test_cut_prompts_are_told_from_another_template() -> None:
    expected = [20, 35, 50, 65, 80, 95, 30, 40]
    cut = [min(n, 64) for n in expected]
    lengths = prompt_lengths(expected, cut, {})
    assert lengths is not None
    finding = prompt_finding(expected, cut, lengths)
    assert finding is not None and finding.kind == "truncation" and finding.count == 3
    longer = [n + 7 for n in expected]
    lengths = prompt_lengths(expected, longer, {NO_SYSTEM: [n - 9 for n in expected]})
    assert lengths is not None and lengths.matches == ""
    finding = prompt_finding(expected, longer, lengths)
    assert finding is not None and finding.kind == "chat template" and "+7 tokens" in finding.sentence
    assert prompt_lengths(expected, [0] * 8, {}) is None, "a server that counts nothing"


@pytest.mark.parametrize(
    ("bits", "equal", "kind"),
    [
        (8.5, 97, "quantisation"),
        (8.5, 80, "other weights"),
        (4.6, 80, "quantisation"),
        (16.0, 97, None),
        (16.0, 80, "other weights"),
    ],
)
def test_eight_bits_do_not_explain_what_four_bits_do(bits: float, equal: int, kind: str | None) -> None:
    low, high = wilson(equal, 100, 0.95)
    agreement = Estimate(value=equal / 100, low=low, high=high, n=100)
    finding = weight_finding([], ServedModelFacts(bits=bits), "m", agreement, prompts_known=True)
    assert (None if finding is None else finding.kind) == kind
    assert finding is None or finding.level == ("fault" if kind == "other weights" else "note")


def test_a_servers_own_account_of_a_model_is_read() -> None:
    llama_cpp = b'{"data": [{"id": "m", "meta": {"n_params": 1000, "size": 562, "n_ctx": 2048}}]}'
    facts = read_models(llama_cpp, "m")
    assert facts is not None and facts.bits == pytest.approx(4.496) and facts.context == 2048
    vllm = b'{"data": [{"id": "b", "root": "x", "parent": null}, {"id": "tuned", "parent": "b", "max_model_len": 512}]}'
    facts = read_models(vllm, "b")
    assert facts is not None and facts.adapters == ("tuned",) and facts.parent is None and facts.root == "x"
    for body in (b"", b"[]", b'{"data": 3}', b'{"data": [{"id": "m", "meta": {"n_params": 0, "size": "big"}}]}'):
        facts = read_models(body, "m")
        assert facts is None or facts.bits is None


def test_words_carry_their_blanks() -> None:
    assert words("Sci/Tech, yes") == ["Sci", "/", "Tech", ",", " yes"]
