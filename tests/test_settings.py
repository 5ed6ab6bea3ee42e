"""bench.toml: found upwards, overlaid on the defaults, and never silently misread."""

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.settings import decode_table, load_settings
from tests.support.fakes import FakeSettings


def write(folder: Path, text: str) -> Path:
    path = folder / "bench.toml"
    path.write_text(text)
    return path


def test_the_built_in_backends_are_there() -> None:
    assert {"llama-ft", "llama-base", "gpt4", "gpt35"} <= set(load_settings(None).backends)


def test_the_nearest_file_upwards_wins_over_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, '[backends.gpt4]\nrpm = 7\n[backends.mine]\nkind = "replay"\n')
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    settings = load_settings()
    assert settings.backend("gpt4") == {"kind": "openai", "model": "gpt-4.1", "rpm": 7}
    assert settings.backend("mine") == {"kind": "replay"}


def test_another_kind_under_a_built_in_name_starts_from_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, '[backends.llama-ft]\nkind = "replay"\npath = "a.jsonl"\n')
    assert load_settings(path).backend("llama-ft") == {"kind": "replay", "path": "a.jsonl"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[backend.x]\n", "unknown key 'backend'; did you mean 'backends'"),
        ("backends = 3\n", "must be a table"),
        ("[backends]\nx = 3\n", r"\[backends\.x\] must be a table"),
        ("[backends.x\n", "not valid TOML"),
    ],
)
def test_faults_are_sentences(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_settings(write(tmp_path, text))


def test_unknown_backends_and_keys_are_told_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="no backend 'gpt5'; did you mean 'gpt35'"):
        load_settings(None).backend("gpt5")
    with pytest.raises(UsageError, match="unknown key 'modle'; did you mean 'model'"):
        decode_table({"kind": "fake", "modle": "x"}, FakeSettings, "[backends.x]")
    with pytest.raises(UsageError, match=r"\[backends\.x\]: delay_s: a number is expected, not text in quotes"):
        decode_table({"kind": "fake", "delay_s": "soon"}, FakeSettings, "[backends.x]")


def test_a_wrong_type_is_told_with_file_table_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.support.command import bench

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    for line, said in (
        ('model = "m"\nrpm = "fast"', "[backends.y]: rpm: a number is expected, not text in quotes."),
        ("rpm = 3", "[backends.y]: the key 'model' is missing."),
        ('model = "m"\nprice = { input = "free" }', "[backends.y]: price.input: a number is expected, not text"),
    ):
        write(tmp_path, f'[backends.y]\nkind = "openai"\n{line}\n')
        assert bench("run", "--task", "agnews", "--data", "embedded", "--backends", "y") == 2
        assert f"{tmp_path / 'bench.toml'}: {said}" in capsys.readouterr().err
