"""The tab key knows verbs, options and names, and loads none of what it names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from harness.cli.main import VERBS, cli


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_HOME", raising=False)
    for kind, name in (("runs", "agnews-1-aaaa"), ("runs", "agnews-2-bbbb"), ("adapters", "agnews-1-cccc")):
        (tmp_path / ".bench" / kind / name).mkdir(parents=True)
        (tmp_path / ".bench" / kind / name / "manifest.json").write_text("{}")
    (tmp_path / "bench.toml").write_text('[backends.mine]\nkind = "replay"\npath = "a.jsonl"\n')


def offered(*words: str) -> list[str]:
    *before, incomplete = words
    return [
        item.value for item in ShellComplete(cli, {}, "bench", "_BENCH_COMPLETE").get_completions(before, incomplete)
    ]


def test_verbs_and_options() -> None:
    assert offered("") == list(VERBS)
    assert offered("r") == [verb for verb in VERBS if verb.startswith("r")]
    assert "--latency-probe" in offered("run", "--l")
    assert offered("baseline", "a") == ["accept"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("run", "--task", "qqp"), ["qqp", "qqp-explained"]),
        (("run", "--backends", "m"), ["mine"]),
        (("run", "--backends", "gpt4,mi"), ["gpt4,mine"]),
        (("run", "--backends", "gpt4,gpt"), ["gpt4,gpt35"]),
        (("judge", "last", "--judge", "gpt"), ["gpt4", "gpt35"]),
        (("train", "--recipe", "ti"), ["tiny-agnews"]),
        (("report", ""), ["last", "agnews-2-bbbb", "agnews-1-aaaa"]),
        (("compare", "last", "agnews-1"), ["agnews-1-aaaa"]),
        (("run", "--resume", "agnews-2"), ["agnews-2-bbbb"]),
        (("adapter", "show", ""), ["agnews-1-cccc"]),
    ],
)
def test_names(words: tuple[str, ...], names: list[str]) -> None:
    assert offered(*words) == names


def test_a_broken_bench_toml_offers_nothing_and_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text("[backends")
    assert offered("run", "--backends", "g") == []


def test_a_path_that_is_begun_is_left_to_the_shell() -> None:
    found = ShellComplete(cli, {}, "bench", "_BENCH_COMPLETE").get_completions(["run", "--task"], "./mi")
    assert [item.type for item in found] == ["file"]


def complete(**environment: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys\nfrom harness.cli.main import main\n"
        "try:\n    main()\nfinally:\n"
        "    heavy = {'torch', 'transformers', 'openai', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "    print('heavy:', sorted(heavy), file=sys.stderr)"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_shell_gets_its_script_and_its_answers() -> None:
    script = complete(_BENCH_COMPLETE="zsh_source")
    assert "compdef _bench_completion bench" in script.stdout
    for words, word in (("bench report ", "last"), ("bench train --recipe ", "tfidf"), ("bench run --task ", "agnews")):
        answer = complete(COMP_WORDS=words, COMP_CWORD=str(len(words.split())), _BENCH_COMPLETE="bash_complete")
        assert f"plain,{word}" in answer.stdout
        assert answer.stderr.strip() == "heavy: []"
