"""What is sent fits the model: schemas, log-probabilities, renamed and refused parameters, Azure, hosted fine-tunes."""

from pathlib import Path
from typing import Any

import pytest

from harness.adapter_manifest import AdapterManifest, mark_current, write_manifest
from harness.backends.openai.request_body import family_of
from harness.errors import UsageError
from harness.workspace import Workspace
from tests.openai.asking import LABELS, ask, make, row
from tests.support.openai_server import OpenAIServer, ServerConfig


def test_labels_are_asked_as_a_schema_and_come_back_as_plain_text(server: OpenAIServer, tmp_path: Path) -> None:
    answer = ask(server.url, tmp_path, [row("r0")], decode="json").by_id["r0"]
    assert answer.text in LABELS
    (body,) = server.stats().last_bodies
    asked = body["response_format"]["json_schema"]
    assert asked["strict"] is True
    assert asked["schema"]["properties"]["answer"] == {"type": "string", "enum": list(LABELS)}


def test_a_schema_with_an_object_at_the_root_is_sent_as_it_is(server: OpenAIServer, tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
        "additionalProperties": False,
    }
    answer = ask(server.url, tmp_path, [row("r0", schema=schema, labels=())], decode="json").by_id["r0"]
    assert server.stats().last_bodies[0]["response_format"]["json_schema"]["schema"] == schema
    assert answer.text.startswith('{"text": "text ')


def test_an_array_at_the_root_is_wrapped_and_unwrapped(server: OpenAIServer, tmp_path: Path) -> None:
    schema = {"type": "array", "items": {"type": "string"}}
    answer = ask(server.url, tmp_path, [row("r0", schema=schema, labels=())], decode="json").by_id["r0"]
    assert answer.text.startswith('["text ')


def test_a_server_that_ignores_the_schema_is_not_mended(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(when={"r0": "length"}))
    assert ask(server.url, tmp_path, [row("r0")], decode="json").by_id["r0"].text == "{"


@pytest.mark.parametrize("model", ["gpt-3.5-turbo", "gpt-4-turbo", "gpt-4"])
def test_old_models_take_no_schema(server: OpenAIServer, tmp_path: Path, model: str) -> None:
    with pytest.raises(UsageError, match=f"{model} takes no JSON schema"):
        ask(server.url, tmp_path, [row("r0")], decode="json", model=model)
    assert server.stats().requests == 0


def test_json_without_schema_or_labels_is_refused(server: OpenAIServer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a task with a schema or labels"):
        ask(server.url, tmp_path, [row("r0", labels=())], decode="json")


def test_label_log_probabilities_are_kept_where_the_server_gives_them(server: OpenAIServer, tmp_path: Path) -> None:
    answer = ask(server.url, tmp_path, [row("r0")], logprobs=True).by_id["r0"]
    assert answer.label_scores == {label: -0.2 if label == answer.text else -2.0 for label in LABELS}
    server.reset(ServerConfig(logprobs=False))
    assert ask(server.url, tmp_path, [row("r0")], logprobs=True).by_id["r0"].label_scores is None


def test_new_models_get_renamed_parameters_and_those_they_refuse_are_named(
    server: OpenAIServer, tmp_path: Path
) -> None:
    ask(server.url, tmp_path, [row("r0")], model="gpt-6-luna")
    (body,) = server.stats().last_bodies
    assert body["max_completion_tokens"] == 8
    assert "max_tokens" not in body
    assert body["reasoning_effort"] == "none"
    assert body["temperature"] == 0.0

    server.reset(ServerConfig())
    settings: dict[str, Any] = {
        "model": "gpt-6-luna",
        "extra_body": {"reasoning_effort": "low", "max_completion_tokens": 900},
    }
    ask(server.url, tmp_path, [row("r0")], **settings)
    (body,) = server.stats().last_bodies
    assert "temperature" not in body
    assert body["max_completion_tokens"] == 900
    facts = make(server.url, tmp_path, **settings).identity().settings
    assert facts["not_sent"] == ["temperature"]
    assert facts["reasoning_effort"] == "low"


def test_a_field_that_a_server_refuses_can_be_left_out_and_that_is_on_record(
    server: OpenAIServer, tmp_path: Path
) -> None:
    ask(server.url, tmp_path, [row("r0")], omit=["temperature", "seed"])
    (body,) = server.stats().last_bodies
    assert not {"temperature", "seed"} & set(body)
    assert make(server.url, tmp_path, omit=["temperature"]).identity().settings["not_sent"] == ["temperature"]


def test_a_field_can_be_left_out_by_the_name_under_which_it_is_sent(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig())
    ask(server.url, tmp_path, [row("r0")], model="gpt-5", omit=["max_completion_tokens"])
    (body,) = server.stats().last_bodies
    assert "max_completion_tokens" not in body
    left_out = make(server.url, tmp_path, model="gpt-5", omit=["max_completion_tokens"]).identity().settings["not_sent"]
    assert "max_tokens" in left_out


def test_fine_tunes_are_as_their_base() -> None:
    assert family_of("ft:gpt-3.5-turbo-0125:acme::x") == family_of("gpt-3.5-turbo")
    assert family_of("gpt-4o").schema and not family_of("gpt-4").schema
    assert family_of("my-own-model").refuses("none") == ()


def test_azure_names_deployment_and_version_in_the_address(
    server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_KEY", "azure-key")
    server.reset(ServerConfig(key="azure-key"))
    azure = {"deployment": "my-gpt", "api_version": "2026-10-01"}
    asked = ask(server.url.removesuffix("/v1"), tmp_path, [row("r0")], azure=azure, api_key_env="AZURE_KEY")
    assert asked.errors == {}
    assert asked.stop is None


def test_extra_headers_and_body_fields_are_sent(server: OpenAIServer, tmp_path: Path) -> None:
    ask(server.url, tmp_path, [row("r0")], extra_headers={"X-Team": "news"}, extra_body={"user": "bench"})
    stats = server.stats()
    assert stats.last_headers[0]["x-team"] == "news"
    assert stats.last_bodies[0]["user"] == "bench"


def test_a_proxy_is_asked_instead_of_the_server(server: OpenAIServer, tmp_path: Path) -> None:
    proxy = server.url.removesuffix("/v1")  # it answers any absolute URL by its path, as a proxy would
    asked = ask("http://nowhere.invalid/v1", tmp_path, [row("r0")], proxy=proxy)
    assert asked.errors == {}
    assert server.stats().requests == 1


def test_a_hosted_fine_tune_takes_its_model_from_the_adapter(server: OpenAIServer, tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    model = "ft:gpt-4o-mini-2024-07-18:acme::abc"
    manifest = AdapterManifest(
        id="hosted-1", task="news", task_version="1", base="gpt-4o-mini-2024-07-18", decode="generate", model=model
    )
    write_manifest(place.adapters / "hosted-1", manifest)
    mark_current(place, manifest)
    ask(server.url, tmp_path, [row("r0")], model="gpt-4o-mini-2024-07-18", adapter="auto")
    assert server.stats().last_bodies[0]["model"] == model
    identity = make(server.url, tmp_path, model="gpt-4o-mini-2024-07-18", adapter="hosted-1").identity()
    assert (identity.model, identity.adapter) == (model, "hosted-1")


def test_a_missing_hosted_adapter_says_how_to_train_one(server: OpenAIServer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bench train --task news"):
        make(server.url, tmp_path, adapter="auto")
