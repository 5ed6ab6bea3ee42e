"""`bench estimate`, `bench ask` and `bench cache`, as people type them."""

import json
import subprocess
from pathlib import Path

import pytest

from harness.money.cost_estimate import at_limits, estimate, prompt_tokens
from harness.prompting.token_counts import APPROXIMATE, Counter, counter_for
from harness.records import BackendIdentity, Request
from harness.runs.run_log import RunLog
from tests.openai.asking import LABELS, row
from tests.support import command
from tests.support.openai_server import OpenAIServer, ServerConfig
from tests.support.processes import BENCH


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: OpenAIServer) -> Path:
    """A folder with a workspace of its own, rows, and two backends at the loopback server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server.reset(ServerConfig())
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"text": "item {n}", "label": {n % 4}}}\n' for n in range(8)))
    one = f'kind = "openai"\nmodel = "m"\nbase_url = "{server.url}"\nrpm = 60000\n'
    one += "price = { input = 1.0, output = 2.0 }\n"
    (tmp_path / "bench.toml").write_text(f"[backends.one]\n{one}[backends.two]\n{one}")
    return tmp_path


def bench(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code = command.bench(*words)
    said = capfd.readouterr()
    return code, said.out, said.err


def test_estimate_says_cost_and_time_and_calls_nobody(
    work: Path, server: OpenAIServer, capfd: pytest.CaptureFixture[str]
) -> None:
    words = (
        "estimate",
        "--task",
        "agnews",
        "--backends",
        "one,gpt35",
        "--data",
        "rows.jsonl",
        "--repeats",
        "2",
        "--json",
    )
    code, out, err = bench(capfd, *words)
    assert code == 0
    one, gpt35 = json.loads(out)
    assert one["requests"] == 16
    assert one["cost"] == pytest.approx((one["prompt_tokens"] + 2 * one["answer_tokens"]) / 1e6)
    assert one["cost"] < one["most_cost"]
    assert one["seconds"] == pytest.approx(16 / 60000 * 60)
    assert one["batch_cost"] is None
    assert "shut down on 2026-10-23; name gpt-6-luna instead" in " ".join(gpt35["remarks"])
    assert "~" in err
    assert server.stats().requests == 0


def test_rows_without_a_target_are_estimated_by_the_longest_answer(
    work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("estimate", "--task", "qqp-explained", "--backends", "one", "--data", "embedded", "--limit", "8", "--json")
    code, out, _ = bench(capfd, *words)
    assert code == 0
    [one] = json.loads(out)
    assert one["answer_tokens"] == one["most_answer_tokens"] == 8 * 160


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--limit 5 --seed 3 --repeats 2",
        "--shots 2",
        "--prompt words.txt",
        "--probe blank",
        "--shots 2 --prompt words.txt --probe shuffle --limit 5",
    ],
)
def test_an_estimate_counts_the_requests_that_a_run_of_the_same_words_sends(
    words: str,
    work: Path,
    server: OpenAIServer,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (work / "rows").mkdir()
    for split in ("train", "test"):
        lines = (f'{{"text": "{split} item {n} {"long " * n}", "label": {n % 4}}}\n' for n in range(8))
        (work / "rows" / f"{split}.jsonl").write_text("".join(lines))
    (work / "words.txt").write_text("Which of World, Sports, Business, Sci/Tech: {{ text }}")
    same = ("--task", "agnews", "--backends", "one", "--data", "rows", *words.split())
    counted: list[str] = []

    def count(request: Request, counter: Counter) -> int:
        counted.append(request.hash())
        return prompt_tokens(request, counter)

    monkeypatch.setattr("harness.money.cost_estimate.prompt_tokens", count)
    code, out, _ = bench(capfd, "estimate", *same, "--json")
    assert code == 0
    assert server.stats().requests == 0 and not (work / "home").exists()
    [one] = json.loads(out)

    assert bench(capfd, "run", *same, "--out", "run", "--quiet", "--no-cache")[0] == 0
    log = RunLog.open(work / "run")
    requests = [written.request for written in log.rows()]
    repeats = log.manifest.repeats
    assert counted == [request.hash() for request in requests]
    assert one["requests"] == repeats * len(requests) == server.stats().requests
    assert one["prompt_tokens"] == repeats * sum(prompt_tokens(request, APPROXIMATE) for request in requests)


def test_an_estimate_refuses_what_a_run_of_the_same_words_refuses(
    work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    few = ("--task", "agnews", "--data", "rows.jsonl", "--backends", "one", "--shots", "99")
    said = [bench(capfd, verb, *few) for verb in ("estimate", "run")]
    assert said[0] == said[1]
    assert said[0][0] == 2 and "--shots" in said[0][2]


def test_an_estimate_with_batch_is_at_the_batch_price_and_knows_no_time(
    work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    toml = (work / "bench.toml").read_text()
    batched = toml.replace("output = 2.0", "output = 2.0, batch_input = 0.5, batch_output = 1.0", 1)
    (work / "bench.toml").write_text(batched)
    words = ("estimate", "--task", "agnews", "--data", "rows.jsonl", "--backends", "one,two", "--json")
    at_once = json.loads(bench(capfd, *words)[1])[0]
    one, two = json.loads(bench(capfd, *words, "--batch")[1])
    assert one["cost"] == one["batch_cost"] == at_once["batch_cost"] == pytest.approx(at_once["cost"] / 2)
    assert one["most_cost"] == pytest.approx(at_once["most_cost"] / 2)
    assert one["seconds"] is None and one["remarks"] == []
    assert two["cost"] is None
    assert two["remarks"] == [
        "the price of m in a batch is unknown: set batch_input and batch_output of price in bench.toml"
    ]


def test_an_estimate_names_the_base_that_a_run_would_ask(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (work / "bench.toml").write_text('[backends.mine]\nkind = "local"\nmodel = "some/base"\n')
    words = ("estimate", "--task", "agnews", "--data", "rows.jsonl", "--backends", "mine", "--json")
    code, out, _ = bench(capfd, *words, "--base", "other/base")
    assert code == 0
    assert [one["model"] for one in json.loads(out)] == ["other/base"]


def test_an_estimate_says_which_lines_were_left_out_and_quietly_nothing(
    work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (work / "dev.tsv").write_text("question1\tquestion2\tis_duplicate\nwho?\twhom?\t1\ntorn\n")
    words = ("estimate", "--task", "qqp", "--data", "dev.tsv", "--backends", "gpt35")
    _, out, err = bench(capfd, *words)
    assert "dev.tsv: 1 lines do not hold 3 fields and were left out (line 3)." in out and err == ""
    _, out, err = bench(capfd, *words, "--quiet")
    assert "left out" not in out and "gpt35:" not in out and err == ""


def test_time_is_set_by_the_tighter_limit() -> None:
    settings = {"rpm": 60, "tpm": 6000, "base_url": ["a", "b"]}
    identity = BackendIdentity(kind="openai", model="m", decode="generate", settings=settings)
    assert at_limits(identity, requests=120, tokens=6000) == 60
    assert at_limits(identity, requests=12, tokens=24000) == 120
    assert at_limits(BackendIdentity(kind="openai", model="m", decode="generate"), 1, 1) is None
    file = BackendIdentity(kind="openai", model="m", decode="generate", settings={"rpm": 60, "base_url": "servers.txt"})
    assert at_limits(file, requests=60, tokens=0) == 60  # how many it names is not known before it is read


def test_an_unknown_price_is_an_unknown_cost() -> None:
    found = estimate("x", BackendIdentity(kind="openai", model="m", decode="generate"), [(row("r"), "World")], 1)
    assert found.cost is None
    assert found.remarks == ("the price of m is unknown: set price in bench.toml",)


def test_tokens_are_counted_by_bytes_where_no_encoding_is_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    for model in ("gpt-4.1", "llama-3"):
        assert counter_for(model) == APPROXIMATE
    assert APPROXIMATE.count("é" * 10) == 5


def test_ask_shows_the_answers_side_by_side(
    work: Path, server: OpenAIServer, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = bench(capfd, "ask", "Which section?", "--backends", "one,two", "--system", "Be brief.", "--no-cache")
    assert code == 0
    assert "one (m)" in out and "two (m)" in out
    assert any(label in out for label in LABELS)
    stats = server.stats()
    assert stats.requests == 2
    assert stats.last_bodies[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Which section?"},
    ]


def test_ask_shows_control_codes_and_obeys_none(
    work: Path, server: OpenAIServer, capfd: pytest.CaptureFixture[str]
) -> None:
    server.reset(ServerConfig(answers=("\x1b]0;owned\x07[bold]\u202eevil[/]",)))
    code, out, _ = bench(capfd, "ask", "Which?", "--backends", "one", "--no-cache")
    assert code == 0 and "\x1b" not in out and "\x07" not in out
    assert "␛]0;owned␇[bold]⟨U+202E⟩evil" in "".join(out.split("│"))


def test_ask_wants_a_prompt_that_is_text(work: Path) -> None:
    for typed, said in ((b"", "the prompt is empty"), (b"a\xff", "is not UTF-8 (byte 1)")):
        done = subprocess.run(
            [*BENCH, "ask", "-", "--backends", "one"],
            input=typed,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2 and said in done.stderr.decode()


def test_ask_tells_which_backend_failed_and_shows_the_others(
    work: Path, server: OpenAIServer, capfd: pytest.CaptureFixture[str]
) -> None:
    with (work / "bench.toml").open("a") as file:
        file.write(
            '[backends.dead]\nkind = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:1/v1"\nmax_attempts = 1\n'
        )
    code, out, _ = bench(capfd, "ask", "Which?", "--backends", "one,dead", "--json")
    assert code == 3
    one, dead = json.loads(out)
    assert one["completion"]["text"] in LABELS
    assert dead["completion"]["error"]["kind"] == "connection"


def test_cache_stats_and_clear(work: Path, server: OpenAIServer, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert bench(capfd, "ask", "Which?", "--backends", "one")[0] == 0
    assert server.stats().requests == 1
    assert json.loads(bench(capfd, "cache", "stats", "--json")[1])["by_model"] == {"m": 1}
    assert bench(capfd, "cache", "clear", "--model", "other")[1] == "forgot 0 answers of other.\n"
    assert bench(capfd, "cache", "clear")[1] == "forgot 1 answers.\n"
    assert "0 answers" in bench(capfd, "cache", "stats")[1]
