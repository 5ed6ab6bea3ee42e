"""Fine-tuning at a provider, through the real client against a loopback server: the whole story, and its ends."""

import json
import logging
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.adapter_manifest import find_current, learned_rows, read_manifest
from harness.adapters import inspection
from harness.adapters.hosted.hosted_training import cancel_hosted
from harness.adapters.text_summary import training_summary
from harness.data.contamination import read_findings
from harness.errors import ExitCode, IncompleteRunError, InterruptedRunError, UsageError
from harness.runner import run
from harness.settings import Settings
from harness.workspace import Workspace
from tests.adapters.hosting import ANSWER, KEY, MODEL, RECIPE, conversations, notes, options, train
from tests.support.openai_server import OpenAIServer, ServerConfig


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def content(server: OpenAIServer, file_id: str) -> list[Any]:
    request = urllib.request.Request(
        f"{server.url}/files/{file_id}/content", headers={"Authorization": f"Bearer {KEY}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


def table(server: OpenAIServer, **more: Any) -> Settings:
    backend = {"kind": "openai", "model": MODEL, "adapter": "auto", "base_url": server.url}
    return Settings(backends={"tuned": {**backend, **more}})


def test_rows_become_a_model_at_the_provider_that_run_asks(
    server: OpenAIServer, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.reset(ServerConfig(key=KEY, answers=(ANSWER,)))
    home = tmp_path / "home"
    folder, manifest, said = train(options(server, "embedded"), home)

    stats = server.stats()
    (asked,) = stats.jobs
    assert (asked["model"], asked["seed"], asked["suffix"]) == (MODEL, 0, "persona-json")
    assert asked["method"] == {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}
    learned, held = content(server, asked["training_file"]), content(server, asked["validation_file"])
    assert (len(stats.uploads), len(held)) == (2, 5)
    assert [m["role"] for m in learned[0]["messages"]] == ["system", "user", "assistant"]

    assert manifest.hosted is not None
    tokens = sum(len(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()) // 4 for row in learned) * 3
    assert (manifest.hosted.trained_tokens, manifest.tokens) == (tokens, tokens)
    assert (manifest.hosted.epochs, manifest.hosted.learning_rate_multiplier) == (3, 2.0)
    assert manifest.training_cost_usd == pytest.approx(tokens * 8 / 1e6)
    assert (manifest.model, manifest.hosted.job) == (f"ft:{MODEL}:acme:persona-json:ftjob-1", "ftjob-1")
    assert (manifest.data["rows"], manifest.selection["rows"]) == (len(learned), 5)
    assert (manifest.steps, manifest.metrics["training_loss"]) == (30, pytest.approx(1 / 30))
    assert len(learned_rows(folder) or ()) == len(learned) + 5
    history = json.loads((folder / "history.json").read_text())
    assert history[0] == {"step": 1, "loss": 1.0, "eval_loss": 2.0}
    assert "nothing has been uploaded" in said and "8 USD a million trained tokens" in said
    assert said.index("nothing has been uploaded") < said.index("uploaded 35 training rows")
    assert "training: step 30/30" in said and "\x1b" not in said

    log = run("persona-json", ["tuned"], data="embedded", settings=table(server), workspace=Workspace(home))
    assert server.stats().last_bodies[-1]["model"] == manifest.model
    identity = log.manifest.backends["tuned"]
    assert (identity.adapter, identity.training_usd) == (manifest.id, manifest.training_cost_usd)
    assert "tuned" in read_findings(log.path).overlaps

    for path in home.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    heard = capfd.readouterr()
    assert KEY not in said + heard.out + heard.err + caplog.text


def test_a_file_holds_the_very_messages_that_run_sends(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(answers=(ANSWER,)))
    data = conversations(tmp_path / "rows.jsonl", 18)
    train(options(server, data), tmp_path)
    asked = server.stats().jobs[0]
    lines = content(server, asked["training_file"]) + content(server, asked["validation_file"])
    run("persona-json", ["tuned"], data=str(data), settings=table(server), workspace=Workspace(tmp_path))
    sent = {json.dumps(body["messages"]) for body in server.stats().last_bodies}
    assert sent == {json.dumps(line["messages"][:-1]) for line in lines}
    assert {line["messages"][-1]["content"] for line in lines} == {ANSWER}


def test_a_run_knows_the_rows_that_a_hosted_model_has_learned(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(answers=(ANSWER,)))
    data = conversations(tmp_path / "rows.jsonl", 20)
    train(options(server, data), tmp_path)
    common: dict[str, Any] = {"data": str(data), "settings": table(server), "workspace": Workspace(tmp_path)}
    log = run("persona-json", ["tuned"], **common)
    assert len(read_findings(log.path).overlaps["tuned"].exact) == 20
    with pytest.raises(UsageError, match="20 of 20 evaluated rows are also in the training rows of"):
        run("persona-json", ["tuned"], fail_on_contamination=True, **common)


def test_the_same_command_pays_once_and_another_seed_anew(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(tune_s=0.1))
    data = conversations(tmp_path / "rows.jsonl", 20)
    folder, manifest, _ = train(options(server, data), tmp_path)
    again, same, said = train(options(server, data), tmp_path)
    assert (again.resolve(), same) == (folder.resolve(), manifest)
    assert "nothing is sent or paid" in said
    inspection.remove(Workspace(tmp_path), folder)
    rebuilt, _, _ = train(options(server, data), tmp_path)  # the job is known: its adapter is written once more
    assert read_manifest(rebuilt).model == manifest.model
    assert len(server.stats().jobs) == 1
    assert not list((tmp_path / "adapters").glob(".training-*/*.jsonl")), "texts stay no longer than they are needed"
    train(options(server, data, "seed=1"), tmp_path)
    assert [job["seed"] for job in server.stats().jobs] == [0, 1]


def test_a_failed_job_says_the_providers_sentence_and_may_be_begun_again(server: OpenAIServer, tmp_path: Path) -> None:
    config = ServerConfig(tune_s=0.1, tune_fail="The file has \x1b[2J unsafe rows")
    server.reset(config)
    asked = options(server, conversations(tmp_path / "rows.jsonl", 20))
    with pytest.raises(
        IncompleteRunError, match=r"job ftjob-1 failed: The file has .\[2J unsafe rows; the same command"
    ):
        train(asked, tmp_path)
    assert not list((tmp_path / "adapters").glob("persona-json-*"))
    with pytest.raises(IncompleteRunError, match="job ftjob-2 failed"):
        train(asked, tmp_path)
    assert (len(server.stats().uploads), len(server.stats().jobs)) == (2, 2)


def test_a_job_cancelled_elsewhere_is_told(
    server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.reset(ServerConfig(tune_s=-1))
    asked = options(server, conversations(tmp_path / "rows.jsonl", 20))
    monkeypatch.setattr("harness.adapters.hosted.hosted_training.follow", _interrupted)
    with pytest.raises(
        InterruptedRunError, match=r"job ftjob-1 goes on at .* and is billed: .* --cancel it ends it"
    ) as e:
        train(asked, tmp_path)
    assert e.value.exit_code == ExitCode.INTERRUPTED
    monkeypatch.undo()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    request = urllib.request.Request(f"{server.url}/fine_tuning/jobs/ftjob-1/cancel", method="POST")
    urllib.request.urlopen(request, timeout=60).close()
    with pytest.raises(IncompleteRunError, match="job ftjob-1 was cancelled") as error:
        train(asked, tmp_path)
    assert error.value.exit_code == ExitCode.INCOMPLETE


async def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_cancel_ends_the_job_of_this_very_training(
    server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.reset(ServerConfig(tune_s=-1))
    asked = options(server, conversations(tmp_path / "rows.jsonl", 20))
    with pytest.raises(UsageError, match="no job of this training"):
        cancel_hosted(asked, Workspace(tmp_path))
    monkeypatch.setattr("harness.adapters.hosted.hosted_training.follow", _interrupted)
    with pytest.raises(InterruptedRunError):
        train(asked, tmp_path)
    assert "job ftjob-1 is cancelled" in cancel_hosted(asked, Workspace(tmp_path))
    with pytest.raises(UsageError, match="no job of this training"):
        cancel_hosted(asked, Workspace(tmp_path))


def test_max_cost_refuses_before_anything_is_sent(server: OpenAIServer, tmp_path: Path) -> None:
    data = conversations(tmp_path / "rows.jsonl", 20)
    with pytest.raises(UsageError, match=r"could cost 0\.\d+ USD .* and pass --max-cost 0\.001: nothing was sent"):
        train(options(server, data, max_cost=0.001), tmp_path)
    with pytest.raises(UsageError, match="the price of training some-llama is unknown, so --max-cost cannot be kept"):
        train(options(server, data, "model=some-llama", max_cost=5.0), tmp_path)
    with pytest.raises(UsageError, match="the provider would choose the epochs"):
        train(options(server, data, "epochs=auto", max_cost=5.0), tmp_path)
    assert server.stats().uploads == server.stats().jobs == []
    assert not notes(tmp_path)
    _, manifest, _ = train(options(server, data, max_cost=5.0), tmp_path)
    assert 0 < (manifest.training_cost_usd or 0) < 5


def test_an_unknown_price_is_unknown_and_never_0(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(tune_s=0.1))
    data = conversations(tmp_path / "rows.jsonl", 20)
    folder, manifest, said = train(options(server, data, "model=some-llama"), tmp_path)
    assert "the price of training some-llama is unknown" in said
    assert manifest.training_cost_usd is None
    assert "price unknown" in training_summary(folder, manifest) and "price unknown" in inspection.described(
        Workspace(tmp_path), folder
    )
    _, told, said = train(options(server, data, "model=some-llama", "training_usd=2", "seed=1"), tmp_path)
    assert "2 USD a million trained tokens (as the recipe says)" in said
    assert told.training_cost_usd == pytest.approx(told.tokens * 2 / 1e6)


@pytest.mark.parametrize(
    ("config", "settings", "said"),
    [
        (ServerConfig(key="another"), (), "the key in OPENAI_API_KEY was not accepted"),
        (ServerConfig(tune_refuse="403"), (), "the key in OPENAI_API_KEY may not fine-tune here"),
        (ServerConfig(tune_refuse="404"), (), "offers no fine-tuning: --set base_url=.. names"),
        (ServerConfig(tunable=("other",)), (), "does not tune gpt-3.5-turbo-1106: --set model=.. names another"),
        (ServerConfig(tune_refuse="insufficient_quota"), (), "the account has no money or quota left"),
        (ServerConfig(), ("base_url=http://127.0.0.1:9/v1",), "cannot be asked while looking for fine-tuning"),
    ],
    ids=["401", "403", "404", "not tunable", "no money", "nobody there"],
)
def test_what_a_provider_refuses_is_a_sentence(
    server: OpenAIServer, tmp_path: Path, config: ServerConfig, settings: tuple[str, ...], said: str
) -> None:
    server.reset(config)
    with pytest.raises((UsageError, IncompleteRunError), match=said) as error:
        train(options(server, conversations(tmp_path / "rows.jsonl", 20), *settings), tmp_path)
    assert KEY not in str(error.value)
    assert not server.stats().uploads or config.tunable


def test_a_page_that_is_no_api_is_told(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(tune_refuse="html"))
    with pytest.raises(UsageError, match="answers, but not as an OpenAI-compatible server"):
        train(options(server, conversations(tmp_path / "rows.jsonl", 20)), tmp_path)


def test_what_was_made_although_the_answer_was_lost_is_not_made_twice(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(tune_s=0.1, tune_lose=True))
    train(options(server, conversations(tmp_path / "rows.jsonl", 20)), tmp_path)
    assert (len(server.stats().uploads), len(server.stats().jobs)) == (2, 1)


def test_openai_without_a_key_and_models_that_are_gone_are_refused_unsent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: OpenAIServer
) -> None:
    data = conversations(tmp_path / "rows.jsonl", 20)
    with pytest.raises(UsageError, match=r"gpt-3\.5-turbo-1106 was shut down on 2026-09-28"):
        train(options(server, data, "base_url=https://api.openai.com/v1"), tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setattr("harness.adapters.hosted.preparation.HostedPreparation.refuse_retired", lambda job: None)
    with pytest.raises(UsageError, match="environment variable OPENAI_API_KEY is not set"):
        train(options(server, data, "base_url=https://api.openai.com/v1"), tmp_path)


def test_what_people_read_names_the_next_step(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(tune_s=0.1))
    data = conversations(tmp_path / "rows.jsonl", 20)
    folder, manifest, _ = train(options(server, data), tmp_path)
    said = training_summary(folder, manifest)
    assert f'base_url = "{server.url}"' in said and "bench run --task persona-json --backends tuned" in said
    shown = inspection.described(Workspace(tmp_path), folder)
    assert "answers, at a provider" in shown and "3 epochs" in shown and "GPT-3.5-turbo, tuned by its provider" in shown
    assert inspection.check(folder) == []
    assert find_current(Workspace(tmp_path), "persona-json", MODEL) == tmp_path / "adapters" / manifest.id
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=type(manifest)) == manifest


def test_a_backend_at_openai_is_not_sent_to_an_address_out_of_a_manifest(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(tune_s=0.1))
    data = conversations(tmp_path / "rows.jsonl", 20)
    train(options(server, data), tmp_path)
    settings = table(server, base_url="https://api.openai.com/v1")
    with pytest.raises(UsageError, match=f"was tuned at {server.url}, not at OpenAI: set base_url"):
        run("persona-json", ["tuned"], data=str(data), settings=settings, workspace=Workspace(tmp_path))


def test_an_out_folder_is_not_current(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(tune_s=0.1))
    data = conversations(tmp_path / "rows.jsonl", 20)
    folder, _, _ = train(options(server, data, out=tmp_path / "mine"), tmp_path / "home")
    assert folder == tmp_path / "mine" and read_manifest(folder).recipe_name == RECIPE
    with pytest.raises(UsageError, match="no adapter for task"):
        find_current(Workspace(tmp_path / "home"), "persona-json", MODEL)
